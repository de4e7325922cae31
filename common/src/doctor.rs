//! What hurts, with cause and remedy: facts become findings. The command line and the HTTP API tell the same.
//!
//! Pure, but for [`disk`], which asks the file system: the facts come from [`Store::facts`](crate::store::Store::facts), and each
//! threshold stands here once. `docs/doctor.md` has a line on every check.

mod activity;
pub mod disk;
mod facts;
mod horizon;
mod locks;
pub mod objects;
#[cfg(test)]
mod samples;
mod server;
mod tables;

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;
use serde::Serialize;

use self::disk::Disk;
pub use self::{
    facts::{Facts, Holder, HolderSort, Jobs, Locker, Overdue, Schema, Server, Sessions, Slot, Table, Undone, Waiting, WorkerLife},
    server::{clock, notifications},
};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// All is well, or it could not be looked at; the detail says which.
    Ok,
    /// It may be meant, or will hurt later.
    Warn,
    /// It hurts now, or durability is at stake.
    Fail,
}

/// What one check found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The check; `docs/doctor.md#name` tells more.
    pub name: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was seen, with the culprit's name.
    pub detail: String,
    /// What helps; `None`: nothing is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, level: Level::Ok, detail: detail.into(), remedy: None }
    }

    /// It is not.
    pub fn bad(name: &'static str, level: Level, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, level, detail: detail.into(), remedy: Some(remedy.into()) }
    }
}

/// What a judgement needs besides the database's own facts.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// This machine's clock, at the moment of [`Server::now`].
    pub here: Timestamp,
    /// The disk of the database.
    pub disk: Disk,
    /// Connections that a program's pool may take.
    pub pool: usize,
}

impl Surroundings {
    /// Those of this machine, just after the facts were read.
    #[expect(clippy::disallowed_methods, reason = "this machine's clock is what is looked at")]
    pub fn of(server: &Server, pool: usize) -> Self {
        Self { here: Timestamp::now() - jiff::SignedDuration::try_from(server.read.elapsed()).unwrap_or_default(), disk: disk::look(server), pool }
    }
}

/// Judges all facts, in the order in which people read them.
pub fn judge(facts: &Facts, around: &Surroundings) -> Vec<Finding> {
    let server = &facts.server;
    let mut findings = vec![
        server::version(server),
        clock(around.here, server.now),
        server::settings(server),
        server::connections(facts, around.pool),
        locks::judge(facts),
        horizon::transactions(facts),
        horizon::prepared(facts),
        horizon::replication(facts),
        server::wal(facts),
        disk::judge(&around.disk),
        objects::schema(&facts.schema),
    ];
    if matches!(facts.schema, Schema::Known { .. }) {
        findings.extend([objects::judge(facts), tables::bloat(facts)]);
        match &facts.jobs {
            Some(jobs) => findings.extend([activity::workers(jobs), activity::stuck(jobs), activity::due(jobs), activity::kinds(jobs), activity::paused(jobs)]),
            None => findings.push(Finding::good(
                "workers",
                format!(
                    "jobs and workers were not looked at: {} may not read the tables of the schema longshore; `grant longshore_reader to {}`",
                    server.user, server.user
                ),
            )),
        }
    }
    findings
}

/// Several faults as one finding: the worst level, at most three of them by name.
struct Faults(Vec<(Level, String, String)>);

impl Faults {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn add(&mut self, level: Level, detail: String, remedy: impl Into<String>) {
        self.0.push((level, detail, remedy.into()));
    }

    /// One finding; `good` where there is no fault.
    fn finding(mut self, name: &'static str, good: impl FnOnce() -> String) -> Finding {
        const NAMED: usize = 3;
        self.0.sort_by_key(|(level, ..)| std::cmp::Reverse(*level)); // stable: the first of a level stays the first
        let Some((level, ..)) = self.0.first() else { return Finding::good(name, good()) };
        let (level, count) = (*level, self.0.len());
        let mut details: Vec<String> = Vec::new();
        let mut remedies: Vec<String> = Vec::new();
        for (_, detail, remedy) in self.0.into_iter().take(NAMED) {
            details.push(detail);
            if !remedies.contains(&remedy) {
                remedies.push(remedy);
            }
        }
        if count > NAMED {
            details.push(format!("and {} more", count - NAMED));
        }
        Finding::bad(name, level, details.join("; "), remedies.join("; "))
    }
}

/// Seconds, for people: whole ones, since these are long.
fn lasting(seconds: f64) -> String {
    crate::duration::display(Duration::from_secs(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default().as_secs()))
}

/// Bytes, for people.
fn size(bytes: i64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "it is rounded to a tenth anyway")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A text as SQL has it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A noun with its number: `1 job`, `2 jobs`.
fn many(count: i64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A name of the database's as a person would type it.
fn or_unnamed(name: &str) -> Cow<'_, str> {
    if name.is_empty() { "without a name".into() } else { name.into() }
}

/// Who a process of the database's is.
fn session(pid: i32, user: Option<&str>, application: Option<&str>) -> String {
    format!("pid {pid} (user {}, application {})", or_unnamed(user.unwrap_or_default()), or_unnamed(application.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_become_one_finding_with_the_worst_first() {
        let mut faults = Faults::new();
        for (level, what) in [(Level::Warn, "a"), (Level::Fail, "b"), (Level::Warn, "c"), (Level::Fail, "d")] {
            faults.add(level, what.to_owned(), "mend it");
        }
        let finding = faults.finding("x", || unreachable!("there are some"));
        assert_eq!((finding.level, &finding.detail[..], finding.remedy.as_deref()), (Level::Fail, "b; d; a; and 1 more", Some("mend it")));
        assert_eq!(Faults::new().finding("x", || "fine".to_owned()).level, Level::Ok);
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!((size(512), size(1024 * 1024 * 3 / 2), size(5 << 30)), ("0.5 KiB".to_owned(), "1.5 MiB".to_owned(), "5.0 GiB".to_owned()));
        assert_eq!((quoted("o'clock"), many(1, "job"), many(0, "job")), ("'o''clock'".to_owned(), "1 job".to_owned(), "0 jobs".to_owned()));
    }
}
