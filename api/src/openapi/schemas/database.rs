//! The database's health.

use poem_openapi::registry::MetaSchema;
use serde_json::json;

use super::super::schema::{Schema, count, flag, inline, integer, list, nullable, number, object, text, time, word};
use super::with_optional;
use crate::routes::database::DatabaseHealth;

impl Schema for DatabaseHealth {
    const NAME: &'static str = "Database";
    fn schema() -> MetaSchema {
        let server = object(
            "",
            vec![
                ("version", text(), "Such as 17.5."),
                ("now", time(), "Its clock, when this was read: at most 5 s ago."),
                ("started_at", time(), "When it was started."),
                ("standby", flag(), "Whether it is in recovery, and so read-only."),
            ],
        );
        let sessions = object(
            "",
            vec![
                ("application", text(), "Its application_name; empty: none, or not seen."),
                ("user", text(), "Its user."),
                ("state", text(), "active, idle, idle in transaction …; unknown: not seen."),
                ("count", count(), "How many are alike."),
            ],
        );
        let connections = object(
            "",
            vec![
                ("max", count(), "max_connections."),
                ("reserved", count(), "Of these, for superusers and the like alone."),
                ("used", count(), "In use."),
                ("by", list(inline(sessions)), "Whose they are, most first."),
            ],
        );
        let holder = object(
            "",
            vec![
                ("sort", word(["transaction", "prepared", "slot", "standby"]), "What it is."),
                ("pid", nullable(integer(0.0, 2_147_483_647.0)), "Its process."),
                ("name", nullable(text()), "The name of a prepared transaction or a slot, the address of a standby."),
                ("user", nullable(text()), "Whose it is."),
                ("application", nullable(text()), "Its application_name."),
                ("state", nullable(text()), "What it does; of a slot: active or inactive."),
                ("age", nullable(number()), "Seconds that it has been open; null: not known of its sort."),
                ("xmin_age", nullable(count()), "Transactions that have begun since its snapshot: of what died since, nothing can be removed."),
                ("query", nullable(text()), "The beginning of its last statement."),
            ],
        );
        let table = object(
            "",
            vec![
                ("name", text(), "In the schema longshore."),
                ("live", count(), "Live rows, estimated."),
                ("dead", count(), "Dead rows that are not removed yet, estimated."),
                ("bytes", count(), "On the disk, without indexes."),
                ("last_autovacuum", nullable(time()), "When autovacuum was last there."),
            ],
        );
        let finding = with_optional(
            object(
                "",
                vec![
                    ("name", text(), "The check: docs/doctor.md lists all."),
                    ("level", word(["ok", "warn", "fail"]), "fail: it hurts now, or durability is at stake."),
                    ("detail", text(), "What was seen, and who it is."),
                ],
            ),
            vec![("remedy", text(), "What helps, where something does.")],
        );
        let schema = object(
            "How the database is.",
            vec![
                ("server", server, "The server."),
                ("connections", connections, "Its connections."),
                ("horizon", object("", vec![("holders", list(inline(holder)), "Oldest first.")]), "What may keep vacuum from removing dead rows."),
                ("tables", list(inline(table)), "The tables of the schema, those with most dead rows first."),
                ("findings", list(inline(finding)), "What the doctor says."),
            ],
        );
        MetaSchema {
            example: Some(json!({
                "server": {"version": "17.5", "now": "2030-01-31T12:00:00Z", "started_at": "2030-01-01T00:00:00Z", "standby": false},
                "connections": {"max": 100, "reserved": 3, "used": 24, "by": [{"application": "longshore-worker", "user": "demo", "state": "idle", "count": 9}]},
                "horizon": {"holders": [{"sort": "transaction", "pid": 4711, "name": null, "user": "demo", "application": "psql", "state": "idle in transaction",
                    "age": 4210.5, "xmin_age": 1_204_113, "query": "select count(*) from orders"}]},
                "tables": [{"name": "ready", "live": 120, "dead": 480_000, "bytes": 33_554_432, "last_autovacuum": "2030-01-31T11:59:30Z"}],
                "findings": [{"name": "transactions", "level": "fail", "detail": "pid 4711 (user demo, application psql) has had a transaction open for 1h10m10s …",
                    "remedy": "end it: `select pg_terminate_backend(4711)`; …"}]
            })),
            ..schema
        }
    }
}
