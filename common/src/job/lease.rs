//! What users' own workers say over HTTP: that they want jobs, that they still have them, and what became of them.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    fields::{Object, type_of},
    name::{Kind, QueueName},
    parse::{self, InvalidJob, MAX_AHEAD},
};
use crate::{
    fault::Faults,
    json::RawJson,
    notes::{Notes, checkpoint_fault, progress_fault},
    outcome::Outcome,
};

/// Jobs that are leased, extended or reported in one call at most.
pub const MAX_LEASES: usize = 1000;
/// How long a lease may last without being extended.
pub const LEASE_FOR: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_hours(1);
/// How long a request may wait for jobs.
pub const MAX_WAIT: Duration = Duration::from_mins(1);
/// Queues, and kinds, that a request may name.
pub const MAX_NAMES: usize = 1000;
/// Bytes of a worker's name.
pub const MAX_WORKER_BYTES: usize = 255;

/// The right to one attempt of one job. Every later write names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lease {
    /// The job.
    pub id: i64,
    /// The number that fences.
    pub lease: i64,
}

impl Lease {
    /// The token by which whoever leases over HTTP names it: the number in decimal. It fences; it is no secret.
    pub fn token(&self) -> String {
        self.lease.to_string()
    }

    /// A token that is none is that of no lease there ever was.
    fn of(id: i64, token: &str) -> Self {
        Self { id, lease: token.parse().ok().filter(|lease: &i64| lease.to_string() == token).unwrap_or(0) }
    }
}

/// What `POST /v1/leases` asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseRequest {
    /// Of which queues.
    pub queues: Vec<QueueName>,
    /// Of which kinds; `None`: of any.
    pub kinds: Option<Vec<Kind>>,
    /// How many at most.
    pub limit: usize,
    /// How long each lease lasts unless it is extended.
    pub lease_for: Duration,
    /// How long to wait where there are none.
    pub wait: Duration,
    /// How the worker calls itself.
    pub worker: Option<String>,
}

impl LeaseRequest {
    /// Whether a job of that kind is wanted.
    pub fn wants(&self, kind: &Kind) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(kind))
    }

    /// Reads the body.
    ///
    /// # Errors
    /// [`InvalidJob`]: what is wrong, all at once.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidJob> {
        whole(text, |value, faults| {
            let mut fields = Object::read(value, "", faults)?;
            let queues = read_names(&mut fields, "queues", QueueName::new, faults).unwrap_or_else(|| vec![QueueName::default()]);
            let kinds = read_names(&mut fields, "kinds", Kind::new, faults);
            let expected = format!("an integer from 1 to {MAX_LEASES}");
            let limit = fields.take_as::<u64>("limit", "", &expected, faults).unwrap_or(10);
            let limit = usize::try_from(limit).ok().filter(|limit| (1..=MAX_LEASES).contains(limit));
            if limit.is_none() {
                faults.add("/limit", format!("must be {expected}"));
            }
            let lease_for = parse::read_duration(&mut fields, "lease_for", "", LEASE_FOR, faults).unwrap_or(Duration::from_secs(30));
            let wait = parse::read_duration(&mut fields, "wait", "", Duration::ZERO..=MAX_WAIT, faults).unwrap_or_default();
            let worker = fields.take_as::<String>("worker", "", "a text", faults);
            if worker.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_WORKER_BYTES || name.chars().any(char::is_control)) {
                faults.add("/worker", format!("must have 1 to {MAX_WORKER_BYTES} bytes, and no control characters"));
            }
            fields.refuse_rest("", "queues, kinds, limit, lease_for, wait, worker", faults);
            Some(Self { queues, kinds, limit: limit?, lease_for, wait, worker })
        })
    }
}

/// What `POST /v1/leases/heartbeat` says.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// The leases that are held, each once, with what their holder tells.
    pub leases: Vec<(Lease, Notes)>,
    /// How long from now they last.
    pub extend: Duration,
}

impl Heartbeat {
    /// Reads the body.
    ///
    /// # Errors
    /// [`InvalidJob`]: what is wrong, all at once.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidJob> {
        whole(text, |value, faults| {
            let mut fields = Object::read(value, "", faults)?;
            let extend = parse::read_duration(&mut fields, "extend", "", LEASE_FOR, faults).unwrap_or(Duration::from_secs(30));
            let items = read_items(&mut fields, "leases", faults);
            fields.refuse_rest("", "leases, extend", faults);
            let mut leases = Once::default();
            for (index, item) in items.into_iter().enumerate() {
                let path = format!("/leases/{index}");
                let Some(mut fields) = Object::read(item, &path, faults) else { continue };
                let lease = read_lease(&mut fields, &path, faults);
                let progress = read_checked(&mut fields, "progress", &path, progress_fault, faults);
                let checkpoint = read_checked(&mut fields, "checkpoint", &path, checkpoint_fault, faults);
                let mut notes = Notes { progress, checkpoint, log: String::new() };
                notes.log(&fields.take_as::<String>("log", &path, "a text", faults).unwrap_or_default());
                fields.refuse_rest(&path, "id, lease, progress, checkpoint, log", faults);
                if let Some(lease) = lease {
                    leases.add(lease, notes, &path, faults);
                }
            }
            Some(Self { leases: leases.0.into_iter().collect(), extend })
        })
    }
}

/// One way to say what became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is done.
    Complete,
    /// It did not work.
    Fail,
    /// Not now.
    Snooze,
}

impl Ending {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Complete, Self::Fail, Self::Snooze];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Fail => "fail",
            Self::Snooze => "snooze",
        }
    }

    /// The fields beside the lease.
    fn fields(self) -> &'static str {
        match self {
            Self::Complete => "result",
            Self::Fail => "error, retry_in, discard",
            Self::Snooze => "for",
        }
    }

    fn read(self, fields: &mut Object<'_>, path: &str, faults: &mut Faults) -> Option<Outcome> {
        match self {
            Self::Complete => {
                let result = fields.take("result", path, faults).filter(|value| value.get() != "null");
                Some(Outcome::Succeeded { result: result.map(RawJson::from) })
            }
            Self::Fail => {
                let given = fields.has("error");
                let error = fields.take("error", path, faults).filter(|_| given).and_then(|value| text_of(value, &format!("{path}/error"), faults));
                if !given {
                    faults.add(&format!("{path}/error"), "is missing: say why it failed");
                }
                let retry_in = parse::read_duration(fields, "retry_in", path, Duration::ZERO..=MAX_AHEAD, faults);
                let discard = fields.take_as::<bool>("discard", path, "true or false", faults).unwrap_or(false);
                if discard && retry_in.is_some() {
                    faults.add(&format!("{path}/retry_in"), "and discard exclude each other");
                }
                let error = error?;
                Some(if discard { Outcome::Discarded { error } } else { Outcome::Failed { error, retry_in } })
            }
            Self::Snooze => {
                let given = fields.has("for");
                let delay = parse::read_duration(fields, "for", path, Duration::ZERO..=MAX_AHEAD, faults);
                if !given {
                    faults.add(&format!("{path}/for"), "is missing: say for how long");
                }
                Some(Outcome::Snoozed { delay: delay? })
            }
        }
    }

    /// Reads the body of a call for one job.
    ///
    /// # Errors
    /// [`InvalidJob`]: what is wrong, all at once.
    pub fn parse(self, id: i64, text: &[u8]) -> Result<(Lease, Outcome), InvalidJob> {
        whole(text, |value, faults| {
            let mut fields = Object::read(value, "", faults)?;
            let lease = read_token(&mut fields, "", faults);
            let outcome = self.read(&mut fields, "", faults);
            fields.refuse_rest("", &format!("lease, {}", self.fields()), faults);
            Some((Lease::of(id, &lease?), outcome?))
        })
    }
}

/// Reads the body of `POST /v1/leases/report`: each lease once.
///
/// # Errors
/// [`InvalidJob`]: what is wrong, all at once.
pub fn parse_reports(text: &[u8]) -> Result<Vec<(Lease, Outcome)>, InvalidJob> {
    whole(text, |value, faults| {
        let mut fields = Object::read(value, "", faults)?;
        let items = read_items(&mut fields, "reports", faults);
        fields.refuse_rest("", "reports", faults);
        let mut reports = Once::default();
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("/reports/{index}");
            let Some(mut fields) = Object::read(item, &path, faults) else { continue };
            let lease = read_lease(&mut fields, &path, faults);
            let given = fields.has("outcome");
            let word = fields.take_as::<String>("outcome", &path, "a text", faults);
            let ending = word.as_ref().and_then(|word| Ending::ALL.into_iter().find(|ending| ending.word() == word));
            match (&word, ending) {
                (_, Some(ending)) => {
                    let outcome = ending.read(&mut fields, &path, faults);
                    fields.refuse_rest(&path, &format!("id, lease, outcome, {}", ending.fields()), faults);
                    if let (Some(lease), Some(outcome)) = (lease, outcome) {
                        reports.add(lease, outcome, &path, faults);
                    }
                }
                (Some(word), None) => faults.add(&format!("{path}/outcome"), format!("must be complete, fail or snooze, is \"{word}\"")),
                (None, None) if !given => faults.add(&format!("{path}/outcome"), "is missing"),
                (None, None) => {}
            }
        }
        Some(reports.0.into_iter().collect())
    })
}

/// Leases, each once: said twice, what is said might differ.
struct Once<T>(BTreeMap<Lease, T>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Once<T> {
    fn add(&mut self, lease: Lease, said: T, path: &str, faults: &mut Faults) {
        if self.0.insert(lease, said).is_some() {
            faults.add(path, "is of the same lease as one before");
        }
    }
}

fn whole<T>(text: &[u8], read: impl FnOnce(&RawValue, &mut Faults) -> Option<T>) -> Result<T, InvalidJob> {
    let value: &RawValue = serde_json::from_slice(text).map_err(|error| InvalidJob::Malformed(parse::malformed(&error)))?;
    let mut faults = Faults::default();
    match read(value, &mut faults) {
        Some(read) if faults.is_empty() => Ok(read),
        _ => Err(InvalidJob::Faults(faults.into_vec())),
    }
}

/// A text of a holder's. What is no text for PostgreSQL in it is replaced, not refused: it may be an error message of anywhere.
fn text_of(value: &RawValue, pointer: &str, faults: &mut Faults) -> Option<String> {
    let mended = crate::json::mended(value.get());
    let text = serde_json::from_str(mended.as_ref().map_or(value.get(), RawJson::as_str)).ok();
    if text.is_none() {
        faults.add(pointer, format!("must be a text, is {}", type_of(value)));
    }
    text
}

/// A list of 1 to [`MAX_LEASES`] things.
fn read_items<'a>(fields: &mut Object<'a>, name: &str, faults: &mut Faults) -> Vec<&'a RawValue> {
    let pointer = format!("/{name}");
    let expected = format!("an array of 1 to {MAX_LEASES}");
    let Some(value) = fields.take(name, "", faults) else {
        faults.add(&pointer, "is missing");
        return Vec::new();
    };
    match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
        Ok(items) if (1..=MAX_LEASES).contains(&items.len()) => return items,
        Ok(items) => faults.add(&pointer, format!("must be {expected}, has {}", items.len())),
        Err(_) => faults.add(&pointer, format!("must be {expected}, is {}", type_of(value))),
    }
    Vec::new()
}

/// `None`: it is not given.
fn read_names<T>(fields: &mut Object<'_>, name: &str, new: impl Fn(&str) -> Result<T, &'static str>, faults: &mut Faults) -> Option<Vec<T>> {
    let value = fields.take(name, "", faults).filter(|value| value.get() != "null")?;
    let names: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
    if !(1..=MAX_NAMES).contains(&names.len()) {
        faults.add(&format!("/{name}"), format!("must be an array of 1 to {MAX_NAMES} names"));
    }
    let mut read = Vec::with_capacity(names.len());
    for (index, value) in names.into_iter().enumerate().take(MAX_NAMES) {
        let pointer = format!("/{name}/{index}");
        match serde_json::from_str::<String>(value.get()) {
            Ok(text) => match new(&text) {
                Ok(name) => read.push(name),
                Err(why) => faults.add(&pointer, why),
            },
            Err(_) => faults.add(&pointer, format!("must be a text, is {}", type_of(value))),
        }
    }
    Some(read)
}

fn read_lease(fields: &mut Object<'_>, path: &str, faults: &mut Faults) -> Option<Lease> {
    let given = fields.has("id");
    let id = fields.take_as::<i64>("id", path, "the id of a job", faults);
    if !given {
        faults.add(&format!("{path}/id"), "is missing");
    }
    let token = read_token(fields, path, faults);
    Some(Lease::of(id?, &token?))
}

fn read_token(fields: &mut Object<'_>, path: &str, faults: &mut Faults) -> Option<String> {
    let given = fields.has("lease");
    let token = fields.take_as::<String>("lease", path, "the text that came with the job", faults);
    if !given {
        faults.add(&format!("{path}/lease"), "is missing: it came with the job");
    }
    token
}

fn read_checked(fields: &mut Object<'_>, name: &str, path: &str, fault: impl Fn(&RawJson) -> Option<String>, faults: &mut Faults) -> Option<RawJson> {
    let json = RawJson::from(fields.take(name, path, faults)?);
    if name == "progress" && json.as_str() == "null" {
        return None;
    }
    match fault(&json) {
        Some(why) => {
            faults.add(&format!("{path}/{name}"), why);
            None
        }
        None => Some(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers<T: std::fmt::Debug>(read: Result<T, InvalidJob>) -> Vec<String> {
        match read {
            Err(InvalidJob::Faults(faults)) => faults.into_iter().map(|fault| fault.pointer).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_has_the_defaults_of_the_contract() {
        let asked = LeaseRequest::parse(b"{}").expect("fine");
        let queues = vec![QueueName::default()];
        let (lease_for, wait) = (Duration::from_secs(30), Duration::ZERO);
        assert_eq!(asked, LeaseRequest { queues, kinds: None, limit: 10, lease_for, wait, worker: None });
        assert!(asked.wants(&Kind::new("any").expect("fine")));
    }

    #[test]
    fn every_fault_of_a_request_at_once() {
        let text = br#"{"queues": ["a b", 7], "kinds": [], "limit": 1001, "lease_for": "4s", "wait": "61s", "worker": "a\nb", "x": 1}"#;
        assert_eq!(pointers(LeaseRequest::parse(text)), ["/queues/0", "/queues/1", "/kinds", "/limit", "/lease_for", "/wait", "/worker", "/x"]);
        assert_eq!(pointers(LeaseRequest::parse(br#"{"limit": 0, "queues": "a"}"#)), ["/queues", "/limit"]);
        assert!(matches!(LeaseRequest::parse(b"{"), Err(InvalidJob::Malformed(_))));
    }

    #[test]
    fn reports_are_read_and_refused_as_a_whole() {
        let text = br#"{"reports": [{"id": 1, "lease": "7", "outcome": "complete", "result": {"a": 1.0}},
                                    {"id": 2, "lease": "8", "outcome": "fail", "error": "a\u0000b\ud800", "retry_in": "5s"},
                                    {"id": 3, "lease": "9", "outcome": "fail", "error": "no", "discard": true},
                                    {"id": 4, "lease": "nonsense", "outcome": "snooze", "for": 60}]}"#;
        let reports = parse_reports(text).expect("fine");
        assert_eq!(reports[0], (Lease { id: 1, lease: 7 }, Outcome::Succeeded { result: RawJson::parse(r#"{"a": 1.0}"#.to_owned()).ok() }));
        assert!(
            matches!(&reports[1].1, Outcome::Failed { error, retry_in: Some(wait) } if error.contains('b') && *wait == Duration::from_secs(5)),
            "{reports:?}"
        );
        assert_eq!(reports[2].1, Outcome::Discarded { error: "no".to_owned() });
        assert_eq!(reports[3], (Lease { id: 4, lease: 0 }, Outcome::Snoozed { delay: Duration::from_mins(1) }));
        let text = br#"{"reports": [{"lease": 7, "outcome": "complete", "error": "x"}, {"id": 1, "lease": "1", "outcome": "done"}, {"id": 1, "lease": "1"},
                                    {"id": 1, "lease": "1", "outcome": "fail", "discard": true, "retry_in": 1}, {"id": 1, "lease": "1", "outcome": "snooze"},
                                    {"id": 5, "lease": "1", "outcome": "complete"}, {"id": 5, "lease": "1", "outcome": "complete"}, 7]}"#;
        assert_eq!(
            pointers(parse_reports(text)),
            [
                "/reports/0/id",
                "/reports/0/lease",
                "/reports/0/error",
                "/reports/1/outcome",
                "/reports/2/outcome",
                "/reports/3/error",
                "/reports/3/retry_in",
                "/reports/4/for",
                "/reports/6",
                "/reports/7"
            ]
        );
        for text in [&b"{}"[..], br#"{"reports": []}"#, br#"{"reports": 7}"#] {
            assert_eq!(pointers(parse_reports(text)), ["/reports"]);
        }
    }

    #[test]
    fn a_heartbeat_tells_what_a_handler_may() {
        let text = br#"{"leases": [{"id": 1, "lease": "7", "progress": 0.5, "checkpoint": [1], "log": "line\n"}, {"id": 2, "lease": "8"}], "extend": "1m"}"#;
        let heartbeat = Heartbeat::parse(text).expect("fine");
        let json = |text: &str| RawJson::parse(text.to_owned()).ok();
        assert_eq!(heartbeat.extend, Duration::from_mins(1));
        assert_eq!(heartbeat.leases[0].1, Notes { progress: json("0.5"), checkpoint: json("[1]"), log: "line\n".to_owned() });
        assert!(heartbeat.leases[1].1.is_empty());
        let text = br#"{"leases": [{"id": 1, "lease": "7", "progress": 2, "log": 7, "x": 1}, {"id": 1, "lease": "7"}], "extend": "2h"}"#;
        assert_eq!(pointers(Heartbeat::parse(text)), ["/extend", "/leases/0/progress", "/leases/0/log", "/leases/0/x", "/leases/1"]);
    }

    #[test]
    fn a_token_is_the_number_and_nothing_that_looks_like_it() {
        let lease = Lease { id: 5, lease: 42 };
        assert_eq!(Lease::of(5, &lease.token()), lease);
        for token in ["", "042", "+42", " 42", "42.0", "x", "99999999999999999999"] {
            assert_eq!(Lease::of(5, token), Lease { id: 5, lease: 0 }, "{token}");
        }
    }
}
