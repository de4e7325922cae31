//! Dead rows in the tables of the schema, and whether anybody removes them.

use jiff::SignedDuration;

use super::{Facts, Faults, Finding, Level, Table, lasting, size};

/// So many dead rows are five times what makes autovacuum come to a hot table.
const DEAD: i64 = 100_000;
/// Autovacuum comes within a minute or so; who has not been seen for so long does not come.
const COMES_WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// The places through which every job goes: few rows, and a claim walks over their beginning.
const HOT: [&str; 4] = ["ready", "running", "scheduled", "held"];
/// A hot table as large as this is told where its rows would fit into a fiftieth of it.
const LARGE: i64 = 1 << 30;
/// Bytes of a row in a hot table, generously.
const ROW: i64 = 100;

/// Dead rows, and tables much larger than their rows.
pub(super) fn bloat(facts: &Facts) -> Finding {
    let server = &facts.server;
    let comes = server.autovacuum && server.track_counts;
    let mut faults = Faults::new();
    for table in &facts.tables {
        let Table { name, live, dead, bytes, .. } = table;
        let seen = format!("longshore.{name} has {dead} dead rows beside {live} live ones, {}", size(*bytes));
        if !table.autovacuum {
            let detail = format!("autovacuum is disabled for longshore.{name}: {seen}");
            faults.add(Level::Fail, detail, format!("`alter table longshore.{name} reset (autovacuum_enabled); vacuum longshore.{name}`"));
            continue;
        }
        let last = table.last_vacuum.unwrap_or(server.started_at).max(server.started_at);
        let silent = server.now.duration_since(last);
        if *dead >= DEAD && *dead > live.saturating_mul(2) && (silent >= COMES_WITHIN || !comes) {
            faults.add(
                Level::Fail,
                format!("{seen}, and nobody has vacuumed it for {}", lasting(silent.as_secs_f64())),
                format!("`vacuum (verbose) longshore.{name}`; rows that stay are held (see transactions, prepared, replication); then see why autovacuum does not come"),
            );
        } else if HOT.contains(&&name[..]) && *bytes >= LARGE && *bytes / 50 > (live + dead).saturating_mul(ROW) {
            faults.add(
                Level::Warn,
                format!("{seen}: it has grown once, and its empty pages stay"),
                format!("in a quiet hour, since it stops all jobs for seconds: `vacuum (full, analyze) longshore.{name}`"),
            );
        }
    }
    faults.finding("bloat", || {
        let dead: i64 = facts.tables.iter().map(|table| table.dead).sum();
        format!("{dead} dead rows in {} tables, which autovacuum removes", facts.tables.len())
    })
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    #[test]
    fn dead_rows_count_where_nobody_comes() {
        let mut facts = samples::facts();
        let ago = |minutes| Some(facts.server.now - SignedDuration::from_mins(minutes));
        let vacuumed = |table: Table, last_vacuum| Table { last_vacuum, ..table };
        for (table, level, said) in [
            (samples::table("ready", 0, DEAD - 1, 0), Level::Ok, "dead rows in 1 tables"),
            (samples::table("ready", 0, DEAD, 0), Level::Fail, "nobody has vacuumed it for 10h"), // since the server was started
            (samples::table("job_data", DEAD, DEAD, 0), Level::Ok, ""),
            (vacuumed(samples::table("ready", 0, 10 * DEAD, 0), ago(9)), Level::Ok, ""),
            (vacuumed(samples::table("ready", 0, DEAD, 0), ago(10)), Level::Fail, "for 10m"),
            (vacuumed(samples::table("ready", 100, 0, LARGE), ago(1)), Level::Warn, "its empty pages stay"),
            (vacuumed(samples::table("ready", 1_000_000, 0, LARGE), ago(1)), Level::Ok, ""),
            (vacuumed(samples::table("finished", 100, 0, LARGE), ago(1)), Level::Ok, ""),
        ] {
            facts.tables = vec![table];
            let finding = bloat(&facts);
            assert!(finding.level == level && finding.detail.contains(said), "{:?}: {finding:?}", facts.tables);
        }
        facts.server.autovacuum = false;
        facts.tables = vec![vacuumed(samples::table("ready", 0, DEAD, 0), ago(1))];
        assert_eq!(bloat(&facts).level, Level::Fail, "it will not come");
    }
}
