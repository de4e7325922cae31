//! What keeps vacuum from removing dead rows, and the write-ahead log from being recycled: open transactions, prepared ones,
//! replication slots, standbys.

use super::{Facts, Faults, Finding, Holder, HolderSort, Level, lasting, or_unnamed, quoted, session, size};

/// Seconds from which on an open transaction is told.
const LONG: f64 = 60.0;
/// Seconds from which on it fails: five minutes of dead rows slow claims down on any busy system.
const TOO_LONG: f64 = 300.0;
/// With so many transactions begun since its snapshot it fails …
const MANY: i64 = 100_000;
/// … after so many seconds already.
const SHORT: f64 = 10.0;
/// So many transactions on a slot that nobody reads from, or a standby, ten times MANY: what is read from is seldom quite fresh.
const VERY_MANY: i64 = 1_000_000;

fn level(holder: &Holder) -> Level {
    let (age, xmin_age) = (holder.age.unwrap_or(0.0), holder.xmin_age.unwrap_or(0));
    if age >= TOO_LONG || age >= SHORT && xmin_age >= MANY {
        Level::Fail
    } else if age >= LONG {
        Level::Warn
    } else {
        Level::Ok
    }
}

/// Those of a sort that are told, oldest first.
fn told(facts: &Facts, sort: HolderSort) -> Vec<(Level, &Holder)> {
    let mut told: Vec<_> = facts.holders.iter().filter(|holder| holder.sort == sort).map(|holder| (level(holder), holder)).collect();
    told.retain(|(level, _)| *level > Level::Ok);
    told.sort_by(|(_, one), (_, other)| other.age.unwrap_or(0.0).total_cmp(&one.age.unwrap_or(0.0)));
    told
}

/// What a snapshot costs, in words.
fn since(holder: &Holder) -> String {
    holder.xmin_age.map_or_else(String::new, |age| format!("; {age} transactions have begun since, of which no dead row can be removed"))
}

/// Open transactions.
pub(super) fn transactions(facts: &Facts) -> Finding {
    let mut faults = Faults::new();
    for (level, holder) in told(facts, HolderSort::Transaction) {
        let pid = holder.pid.unwrap_or(0);
        faults.add(
            level,
            format!(
                "{} has had a transaction open for {} and is {}{}; its last statement: {}",
                session(pid, holder.user.as_deref(), holder.application.as_deref()),
                lasting(holder.age.unwrap_or(0.0)),
                holder.state.as_deref().unwrap_or("at work"),
                since(holder),
                or_unnamed(holder.query.as_deref().unwrap_or_default()),
            ),
            format!("end it: `select pg_terminate_backend({pid})`; for the next time: `alter system set idle_in_transaction_session_timeout = '1min'`"),
        );
    }
    faults.finding("transactions", || {
        let seen =
            if facts.server.sees_all { String::new() } else { format!(", as far as {0} sees: `grant pg_read_all_stats to {0}` shows all", facts.server.user) };
        format!("none has been open for long{seen}")
    })
}

/// Prepared transactions.
pub(super) fn prepared(facts: &Facts) -> Finding {
    let mut faults = Faults::new();
    for (level, holder) in told(facts, HolderSort::Prepared) {
        let (gid, owner) = (quoted(holder.name.as_deref().unwrap_or_default()), holder.user.as_deref().unwrap_or_default());
        faults.add(
            level,
            format!("the prepared transaction {gid} of {owner} has waited for its end for {}{}", lasting(holder.age.unwrap_or(0.0)), since(holder)),
            format!("`rollback prepared {gid}`, or `commit prepared {gid}`, as whoever prepared it says"),
        );
    }
    faults.finding("prepared", || "no prepared transaction is forgotten".to_owned())
}

/// Replication slots, and standbys without one.
pub(super) fn replication(facts: &Facts) -> Finding {
    let mut faults = Faults::new();
    for slot in &facts.slots {
        let (retained, xmin_age) = (slot.retained.unwrap_or(0), slot.xmin_age.unwrap_or(0));
        let fails = slot.lost
            || retained > facts.server.max_wal_bytes
            || xmin_age >= if slot.active { VERY_MANY } else { MANY }
            || !slot.active && slot.catalog_xmin_age.unwrap_or(0) >= VERY_MANY;
        let level = match (fails, slot.active) {
            (true, _) => Level::Fail,
            (false, false) => Level::Warn,
            (false, true) => continue,
        };
        let mut detail = format!(
            "the {} replication slot {} {} and keeps {} of write-ahead log (max_wal_size: {})",
            slot.sort,
            quoted(&slot.name),
            if slot.active { "is read from" } else { "is read by nobody" },
            size(retained),
            size(facts.server.max_wal_bytes)
        );
        for (what, age) in [("rows", slot.xmin_age), ("rows of the catalogs", slot.catalog_xmin_age)] {
            if let Some(age) = age {
                detail += &format!(", and {what} that died within the last {age} transactions");
            }
        }
        if slot.lost {
            detail += "; what it needs is gone already";
        }
        let drop = format!("`select pg_drop_replication_slot({})`", quoted(&slot.name));
        faults.add(
            level,
            detail,
            if slot.active {
                format!("see why its reader is slow; a reader that may start anew: {drop}, then `alter system set max_slot_wal_keep_size = …`")
            } else {
                format!("start its reader; where that is gone for good: {drop}; max_slot_wal_keep_size bounds what is kept")
            },
        );
    }
    for holder in facts.holders.iter().filter(|holder| holder.sort == HolderSort::Standby && holder.xmin_age.unwrap_or(0) >= MANY) {
        let application = holder.application.as_deref().unwrap_or_default();
        faults.add(
            if holder.xmin_age.unwrap_or(0) >= VERY_MANY { Level::Fail } else { Level::Warn },
            format!(
                "the standby {application} at {} has queries with an old snapshot (hot_standby_feedback){}",
                holder.name.as_deref().unwrap_or_default(),
                since(holder)
            ),
            format!("on {application}: end them (`select pid, query from pg_stat_activity order by xact_start`), or set hot_standby_feedback = off there"),
        );
    }
    faults.finding("replication", || match facts.slots.len() {
        0 => "no slot keeps anything".to_owned(),
        slots => format!("{slots} in use, none of which keeps too much"),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Slot, samples},
        *,
    };

    #[test]
    fn a_transaction_may_be_open_for_a_while() {
        let holder = |age, xmin_age| Holder {
            sort: HolderSort::Transaction,
            pid: Some(1),
            name: None,
            user: None,
            application: None,
            state: None,
            age: Some(age),
            xmin_age: Some(xmin_age),
            query: None,
        };
        for (age, xmin_age, expected) in [
            (0.0, 0, Level::Ok),
            (59.0, MANY - 1, Level::Ok),
            (9.0, 10 * MANY, Level::Ok),
            (60.0, 0, Level::Warn),
            (299.0, MANY - 1, Level::Warn),
            (10.0, MANY, Level::Fail),
            (300.0, 0, Level::Fail),
        ] {
            assert_eq!(level(&holder(age, xmin_age)), expected, "{age} s, {xmin_age} transactions");
        }
    }

    #[test]
    fn slots_are_judged_by_what_they_keep() {
        let slot = |active, retained, xmin_age, catalog_xmin_age| Slot {
            name: "s".to_owned(),
            sort: "physical".to_owned(),
            active,
            xmin_age,
            catalog_xmin_age,
            retained: Some(retained),
            lost: false,
        };
        let mut facts = samples::facts();
        let most = facts.server.max_wal_bytes;
        for (slot, level) in [
            (slot(true, most, Some(VERY_MANY - 1), None), Level::Ok),
            (slot(true, most + 1, None, None), Level::Fail),
            (slot(true, 0, Some(VERY_MANY), None), Level::Fail),
            (slot(true, 0, None, Some(VERY_MANY)), Level::Ok),
            (slot(false, 0, None, None), Level::Warn),
            (slot(false, 0, Some(MANY), None), Level::Fail),
            (slot(false, 0, None, Some(VERY_MANY)), Level::Fail),
            (Slot { lost: true, ..slot(false, 0, None, None) }, Level::Fail),
        ] {
            facts.slots = vec![slot];
            let finding = replication(&facts);
            assert_eq!(finding.level, level, "{:?}: {finding:?}", facts.slots);
        }
    }

    #[test]
    fn a_standby_with_old_queries_is_named() {
        let mut facts = samples::facts();
        for (xmin_age, level) in [(MANY - 1, Level::Ok), (MANY, Level::Warn), (VERY_MANY, Level::Fail)] {
            facts.holders = vec![Holder {
                sort: HolderSort::Standby,
                pid: Some(7),
                name: Some("10.0.0.7".to_owned()),
                user: Some("replicator".to_owned()),
                application: Some("reports".to_owned()),
                state: Some("streaming".to_owned()),
                age: None,
                xmin_age: Some(xmin_age),
                query: None,
            }];
            let finding = replication(&facts);
            assert_eq!(finding.level, level, "{xmin_age}");
            assert!(level == Level::Ok || finding.detail.contains("standby reports at 10.0.0.7"), "{finding:?}");
        }
    }
}
