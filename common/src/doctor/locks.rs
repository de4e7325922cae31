//! Whoever holds up others: an open transaction that has locked what they need.

use super::{Facts, Faults, Finding, Level, Locker, lasting, or_unnamed, session};

/// Seconds after which a statement that waits is told: on a busy system they wait for milliseconds.
const WAITED: f64 = 2.0;
/// Seconds after which a table that is locked is told, though nobody happens to wait.
const HELD: f64 = 10.0;

/// Whether it hurts: also at once where nobody can read a table, since that was looked at for longer than a moment.
fn hurts(locker: &Locker) -> bool {
    locker.waiting > 0 && locker.waited >= WAITED || locker.tables.is_some() && (locker.barred || locker.age.unwrap_or(0.0) >= HELD)
}

/// Locks that others wait for.
pub(super) fn judge(facts: &Facts) -> Finding {
    let mut faults = Faults::new();
    for locker in facts.lockers.iter().filter(|locker| hurts(locker)) {
        let holds = locker.tables.as_ref().map_or_else(|| "holds what others need".to_owned(), |tables| format!("has locked {tables}"));
        let waiting = match locker.waiting {
            0 => String::new(),
            1 => format!("; a statement has waited {} for it", lasting(locker.waited)),
            waiting => format!("; {waiting} statements wait for it, one for {}", lasting(locker.waited)),
        };
        let Some(pid) = locker.pid else {
            let remedy = "`select gid, owner, prepared from pg_prepared_xacts`, then `rollback prepared '…'`, or commit it";
            faults.add(Level::Fail, format!("a prepared transaction {holds}{waiting}"), remedy);
            continue;
        };
        faults.add(
            Level::Fail,
            format!(
                "{} {holds}, has had a transaction open for {} and is {}{waiting}; its last statement: {}",
                session(pid, locker.user.as_deref(), locker.application.as_deref()),
                lasting(locker.age.unwrap_or(0.0)),
                locker.state.as_deref().unwrap_or("at work"),
                or_unnamed(locker.query.as_deref().unwrap_or_default()),
            ),
            format!("end it: `select pg_terminate_backend({pid})`"),
        );
    }
    faults.finding("locks", || "nobody waits for a lock".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    #[test]
    fn a_moment_is_nothing() {
        let mut facts = samples::facts();
        for (tables, age, waiting, waited, barred, level) in [
            (None, 1000.0, 1, WAITED - 0.1, true, Level::Ok),
            (None, 0.5, 1, WAITED, false, Level::Fail),
            (Some("ready"), HELD - 0.1, 3, WAITED - 0.1, false, Level::Ok),
            (Some("ready"), HELD, 0, 0.0, false, Level::Fail),
            (Some("ready"), 2.5, 0, 0.0, true, Level::Fail),
        ] {
            facts.lockers = vec![Locker {
                pid: Some(7),
                user: None,
                application: None,
                state: None,
                age: Some(age),
                query: None,
                tables: tables.map(str::to_owned),
                waiting,
                waited,
                barred,
            }];
            assert_eq!(judge(&facts).level, level, "{:?}", facts.lockers);
        }
    }
}
