//! The server itself: its version, clock, settings, connections, write-ahead log, and whether notifications come through.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Facts, Faults, Finding, Level, Server, lasting, or_unnamed, quoted, size};

/// The oldest PostgreSQL that has all we use.
const OLDEST: i32 = 15;
/// A clock that differs by more than this makes logs and answers hard to compare.
const CLOCK: SignedDuration = SignedDuration::from_secs(5);
/// Of a hundred connections, so many in use are told, and so many fail.
const NEARLY: i64 = 75;
const USED_UP: i64 = 90;

pub(super) fn version(server: &Server) -> Finding {
    let name = "postgresql";
    if server.version_num / 10_000 < OLDEST {
        return Finding::bad(name, Level::Fail, format!("{} is too old", server.version), format!("use PostgreSQL {OLDEST} or newer"));
    }
    if server.standby {
        return Finding::bad(
            name,
            Level::Fail,
            format!("{} is a standby, which cannot be written to", server.version),
            "let LONGSHORE_DATABASE__URL name the primary, or all hosts and target_session_attrs=read-write",
        );
    }
    Finding::good(name, server.version.clone())
}

/// This machine's clock against the database's.
pub fn clock(here: Timestamp, there: Timestamp) -> Finding {
    let off = here.duration_since(there);
    if off.abs() <= CLOCK {
        return Finding::good("clock", "this machine's is the database's");
    }
    let way = if off.is_positive() { "ahead of" } else { "behind" };
    Finding::bad(
        "clock",
        Level::Fail,
        format!("this machine's is {} {way} the database's", lasting(off.abs().as_secs_f64())),
        "synchronise both (chrony, ntpd). Jobs are not affected: the database's counts",
    )
}

/// Settings that lose data, or leave dead rows.
pub(super) fn settings(server: &Server) -> Finding {
    let mut faults = Faults::new();
    let reload = |name: &str| format!("`alter system set {name} = on; select pg_reload_conf()`, where no command line, database or user sets it");
    for (on, name, cost) in [
        (server.fsync, "fsync", "a power cut loses acknowledged jobs, and may break the whole database"),
        (server.full_page_writes, "full_page_writes", "a power cut may break the whole database"),
        (server.synchronous_commit, "synchronous_commit", "a crash of the server loses jobs that were acknowledged up to a second before"),
        (server.autovacuum, "autovacuum", "dead rows stay, and every claim gets slower"),
        (server.track_counts, "track_counts", "autovacuum does not know where dead rows are, and does not come"),
    ] {
        if !on {
            faults.add(Level::Fail, format!("{name} is off: {cost}"), reload(name));
        }
    }
    faults.finding("server", || {
        let advice = if server.idle_in_transaction_session_timeout == "0" {
            "; idle_in_transaction_session_timeout = '1min' would end forgotten transactions"
        } else {
            ""
        };
        format!("no setting endangers jobs{advice}")
    })
}

/// Who holds connections, and whether enough are left.
pub(super) fn connections(facts: &Facts, pool: usize) -> Finding {
    let (name, server) = ("connections", &facts.server);
    let usable = i64::from(server.max_connections - server.reserved_connections).max(1);
    let used: i64 = facts.connections.iter().map(|sessions| sessions.count).sum();
    let each = i64::try_from(pool).unwrap_or(i64::MAX).saturating_add(2); // and one to listen, one to notify
    let share = used.saturating_mul(100) / usable;
    if share >= NEARLY {
        let mut by: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for sessions in &facts.connections {
            *by.entry((&sessions.application, &sessions.user)).or_default() += sessions.count;
        }
        let mut by: Vec<_> = by.into_iter().collect();
        by.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let who = by.iter().take(3).map(|((application, user), count)| format!("{count} by {} of {user}", or_unnamed(application)));
        let ((most, of), _) = by.first().copied().unwrap_or_default();
        return Finding::bad(
            name,
            if share >= USED_UP { Level::Fail } else { Level::Warn },
            format!("{used} of {usable} are in use ({})", who.collect::<Vec<_>>().join(", ")),
            format!(
                "end or bound what should not hold so many: `select pg_terminate_backend(pid) from pg_stat_activity where usename = {} and application_name = {}`; \
                 or raise max_connections, or lower LONGSHORE_DATABASE__POOL",
                quoted(of),
                quoted(most)
            ),
        );
    }
    let workers = facts.jobs.as_ref().map_or(0, |jobs| jobs.workers.iter().filter(|worker| worker.alive && !worker.pulls).count());
    let wanted = each.saturating_mul(i64::try_from(workers).unwrap_or(i64::MAX).saturating_add(1).max(2));
    if wanted > usable {
        return Finding::bad(
            name,
            Level::Warn,
            format!(
                "the server takes {usable}, and an API and {} of {each} each may want {wanted}",
                super::many(i64::try_from(workers.max(1)).unwrap_or(1), "worker")
            ),
            "lower LONGSHORE_DATABASE__POOL or raise max_connections",
        );
    }
    Finding::good(name, format!("{used} of {usable} are in use; room for {} programs of {each} (LONGSHORE_DATABASE__POOL={pool})", usable / each))
}

/// The write-ahead log on the disk, and whether it is archived.
pub(super) fn wal(facts: &Facts) -> Finding {
    let server = &facts.server;
    let most = server.max_wal_bytes.saturating_mul(2).saturating_add(server.wal_keep_bytes);
    let mut faults = Faults::new();
    if let Some(file) = &server.unarchived {
        faults.add(
            Level::Warn,
            format!("{file} could not be archived, nor any after it: all of them are kept in pg_wal"),
            "mend `archive_command`: PostgreSQL's own log says how it fails (`select * from pg_stat_archiver`)",
        );
    }
    if let Some(bytes) = facts.wal_bytes.filter(|bytes| *bytes > most) {
        faults.add(
            Level::Warn,
            format!("pg_wal has {}, more than twice max_wal_size ({})", size(bytes), size(server.max_wal_bytes)),
            "a slot keeps it (see replication), its archive falls behind (`select * from pg_stat_archiver`), or max_wal_size is too small for what is written",
        );
    }
    faults.finding("wal", || match facts.wal_bytes {
        None => format!("not looked at: {0} may not; `grant pg_monitor to {0}`", server.user),
        Some(bytes) => format!("pg_wal has {}, max_wal_size is {}", size(bytes), size(server.max_wal_bytes)),
    })
}

/// Whether a notification that was sent through the pool was heard by whoever listens; `Err` says why nobody could.
pub fn notifications(heard: Result<bool, String>, direct_url_is_set: bool) -> Finding {
    let remedy = if direct_url_is_set {
        "let LONGSHORE_DATABASE__DIRECT_URL lead to PostgreSQL itself and the same database: through a transaction pooler nobody hears anything"
    } else {
        "where LONGSHORE_DATABASE__URL leads through a transaction pooler, set LONGSHORE_DATABASE__DIRECT_URL to PostgreSQL itself"
    };
    // without a way past the pooler it may be meant; one that was set and does not work is not
    let level = if direct_url_is_set { Level::Fail } else { Level::Warn };
    let cost = "workers find new jobs by polling alone (LONGSHORE_WORKER__POLL), and requests that wait hear of ends late";
    match heard {
        Ok(true) => Finding::good("notifications", "they come through"),
        Ok(false) => Finding::bad("notifications", level, format!("one that was sent did not arrive within two seconds: {cost}"), remedy),
        Err(why) => Finding::bad("notifications", level, format!("nobody can listen: {why}; {cost}"), remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_a_little() {
        let there = Timestamp::UNIX_EPOCH;
        for (off, level, said) in [(5, Level::Ok, "is the database's"), (-5, Level::Ok, ""), (3600, Level::Fail, "1h ahead of"), (-6, Level::Fail, "6s behind")]
        {
            let finding = clock(there + SignedDuration::from_secs(off), there);
            assert!(finding.level == level && finding.detail.contains(said), "{off}: {finding:?}");
        }
    }

    #[test]
    fn the_remedy_of_lost_notifications_is_the_direct_url() {
        for (heard, set, level, said) in [
            (Ok(false), false, Level::Warn, "set LONGSHORE_DATABASE__DIRECT_URL"),
            (Err("x".to_owned()), true, Level::Fail, "let LONGSHORE_DATABASE__DIRECT_URL lead"),
        ] {
            let finding = notifications(heard, set);
            assert!(finding.level == level && finding.remedy.as_deref().is_some_and(|remedy| remedy.contains(said)), "{finding:?}");
        }
        assert_eq!(notifications(Ok(true), false).level, Level::Ok);
    }
}
