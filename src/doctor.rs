//! `longshore doctor`

use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};
use longshore_common::{
    log,
    settings::Settings,
    store::{
        Store, StoreError,
        bench::Server,
        migrate::{MAJOR, MINOR, SchemaState},
    },
};
use serde::Serialize;
use serde_json::json;

use crate::{command, database, output};

/// The oldest PostgreSQL that has all we use.
const OLDEST: i32 = 15;
/// A clock that differs by more than this makes logs and answers hard to compare.
const CLOCK: SignedDuration = SignedDuration::from_secs(5);

/// Checks settings, database, schema, clock, workers and the data themselves. Each line is ok or FAIL, and then says what
/// to do. Exits with 1 where something fails.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print {"ok": …, "checks": […]}
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

fn good(name: &'static str, detail: impl Into<String>) -> Check {
    Check { name, ok: true, detail: detail.into(), remedy: None }
}

fn bad(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { name, ok: false, detail: detail.into(), remedy: Some(remedy.into()) }
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut checks = Vec::new();
    if let Some((settings, store)) = set_up(&mut checks) {
        examine(&settings, &store, &mut checks).await;
    }
    let ok = checks.iter().all(|check| check.ok);
    if args.json {
        output::print_json(&json!({"ok": ok, "checks": checks}))?;
    } else {
        let line = |check: &Check| {
            let remedy = check.remedy.as_ref().map_or_else(String::new, |remedy| format!("\n                   → {remedy}"));
            format!("{:<4}  {:<11}  {}{remedy}", if check.ok { "ok" } else { "FAIL" }, check.name, check.detail)
        };
        output::print(&checks.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn set_up(checks: &mut Vec<Check>) -> Option<(Settings, Store)> {
    let settings = match command::settings() {
        Ok(settings) => settings,
        Err(error) => {
            checks.push(bad("settings", error.0, "correct it: `longshore.toml` in the repository lists all settings"));
            return None;
        }
    };
    checks.push(good("settings", "all are known and read well"));
    match database::from_settings(&settings) {
        Ok(store) => Some((settings, store)),
        Err(error) => {
            checks.push(bad("database", error.0, "set LONGSHORE_DATABASE__URL=postgres://user:password@host:5432/name, or start `longshore dev`"));
            None
        }
    }
}

async fn examine(settings: &Settings, store: &Store, checks: &mut Vec<Check>) {
    let server = match store.server().await {
        Ok(server) => server,
        Err(error) => {
            let remedy = match &error {
                StoreError::Unavailable { source, .. } => source.cause.remedy(),
                _ => "is it a PostgreSQL that Longshore knows, and has the user of LONGSHORE_DATABASE__URL its rights there?",
            };
            checks.push(bad("database", log::chain(&error), remedy));
            return;
        }
    };
    checks.push(good("database", format!("{} answers", store.shown())));
    checks.push(version(&server));
    checks.push(clock(&server));
    checks.push(connections(&server, settings));
    let schema = schema(store).await;
    let known = schema.ok;
    checks.push(schema);
    if known {
        checks.push(workers(store).await);
        checks.push(violations(store).await);
    }
}

fn version(server: &Server) -> Check {
    let name = "postgresql";
    if server.version_num / 10_000 >= OLDEST {
        good(name, &server.version)
    } else {
        bad(name, format!("{} is too old", server.version), format!("use PostgreSQL {OLDEST} or newer"))
    }
}

fn clock(server: &Server) -> Check {
    #[expect(clippy::disallowed_methods, reason = "this machine's clock is what is looked at")]
    let off = Timestamp::now().duration_since(server.now);
    if off.abs() <= CLOCK {
        good("clock", "this machine's is the database's")
    } else {
        bad("clock", format!("this machine's is {off:#} off the database's"), "synchronise both (chrony, ntpd). Jobs are not affected: the database's counts")
    }
}

fn connections(server: &Server, settings: &Settings) -> Check {
    let (most, pool) = (server.max_connections, settings.database.pool);
    let each = i64::try_from(pool).unwrap_or(i64::MAX).saturating_add(2); // and one to listen, one to notify
    let programs = i64::from(most) / each;
    if programs >= 2 {
        good("connections", format!("the server takes {most}: room for {programs} programs of {each} (LONGSHORE_DATABASE__POOL={pool})"))
    } else {
        bad(
            "connections",
            format!("the server takes {most}, an API and a worker of {each} each do not fit"),
            "lower LONGSHORE_DATABASE__POOL or raise max_connections",
        )
    }
}

async fn schema(store: &Store) -> Check {
    let name = "schema";
    match store.schema().await {
        Ok(SchemaState::Known) => good(name, format!("works with this program, which has {MAJOR}.{MINOR}")),
        Ok(SchemaState::Missing) => bad(name, "there is none, or an old one", "run `longshore migrate`, or start the API, which does it"),
        Ok(SchemaState::TooNew { major }) => bad(name, format!("has major version {major}, this program knows {MAJOR}"), "install a newer Longshore"),
        Err(error) => bad(name, log::chain(&error), "may this user read the schema longshore?"),
    }
}

async fn workers(store: &Store) -> Check {
    let name = "workers";
    match store.workers().await {
        Ok(workers) if workers.is_empty() => {
            bad(name, "none is alive: jobs are taken, and wait", "start `longshore worker` with the same LONGSHORE_DATABASE__URL")
        }
        Ok(workers) => good(name, format!("{} alive", workers.len())),
        Err(error) => bad(name, log::chain(&error), "may this user read the tables of the schema longshore?"),
    }
}

async fn violations(store: &Store) -> Check {
    let name = "data";
    match store.violations(5).await {
        Ok(found) if found.is_empty() => good(name, "longshore.violations is empty: every job stands in one place"),
        Ok(found) => {
            bad(name, found.join("; "), "this is a fault of ours, or a table was changed by hand: please report it with `select * from longshore.violations`")
        }
        Err(error) => good(name, format!("not checked: {}", log::chain(&error))),
    }
}
