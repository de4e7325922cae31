//! `longshore doctor`

use std::process::ExitCode;

use longshore_common::{
    doctor::{Finding, Level, Surroundings, judge, notifications},
    log,
    settings::Settings,
    store::{Store, StoreError},
};
use serde::Serialize;
use serde_json::json;

use crate::{command, database, output};

/// Checks settings, database, schema, disk, workers, jobs and the data themselves. Each line is ok, warn or FAIL, and then says
/// what to do. Exits with 1 where something fails.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print {"ok": …, "checks": […]}
    #[arg(long)]
    json: bool,
}

/// A finding as it is printed; `ok` is false where it makes the command fail.
#[derive(Serialize)]
struct Check<'a> {
    ok: bool,
    #[serde(flatten)]
    finding: &'a Finding,
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut findings = Vec::new();
    if let Some((settings, store)) = set_up(&mut findings) {
        examine(&settings, &store, &mut findings).await;
    }
    let ok = findings.iter().all(|finding| finding.level < Level::Fail);
    if args.json {
        let checks: Vec<Check> = findings.iter().map(|finding| Check { ok: finding.level < Level::Fail, finding }).collect();
        output::print_json(&json!({"ok": ok, "checks": checks}))?;
    } else {
        output::print(&findings.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(finding: &Finding) -> String {
    let level = match finding.level {
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::Fail => "FAIL",
    };
    let remedy = finding.remedy.as_ref().map_or_else(String::new, |remedy| format!("\n{:21}→ {remedy}", ""));
    format!("{level:<4}  {:<13}  {}{remedy}", finding.name, finding.detail)
}

fn fail(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding::bad(name, Level::Fail, detail, remedy)
}

fn set_up(findings: &mut Vec<Finding>) -> Option<(Settings, Store)> {
    let settings = match command::settings() {
        Ok(settings) => settings,
        Err(error) => {
            findings.push(fail("settings", error.0, "correct it: `longshore.example.toml` in the repository lists all settings"));
            return None;
        }
    };
    findings.push(Finding::good("settings", "all are known and read well"));
    match database::from_settings(&settings) {
        Ok(store) => Some((settings, store)),
        Err(error) => {
            findings.push(fail("database", error.0, "set LONGSHORE_DATABASE__URL=postgres://user:password@host:5432/name, or start `longshore dev`"));
            None
        }
    }
}

async fn examine(settings: &Settings, store: &Store, findings: &mut Vec<Finding>) {
    let facts = match store.facts().await {
        Ok(facts) => facts,
        Err(error) => {
            let remedy = match &error {
                StoreError::Unavailable { source, .. } => source.cause.remedy(),
                _ => "is it a PostgreSQL that Longshore knows, and has the user of LONGSHORE_DATABASE__URL its rights there?",
            };
            findings.push(fail("database", log::chain(&error), remedy));
            return;
        }
    };
    findings.push(Finding::good("database", format!("{} answers", store.shown())));
    let heard = store.notifications_arrive().await.map_err(|error| log::chain(&error));
    findings.extend(judge(&facts, &Surroundings::of(&facts.server, settings.database.pool)));
    findings.push(notifications(heard, settings.database.direct_url.is_some()));
    if facts.jobs.is_some() {
        findings.push(violations(store).await);
    }
}

async fn violations(store: &Store) -> Finding {
    let name = "data";
    match store.violations(5).await {
        Ok(found) if found.is_empty() => Finding::good(name, "longshore.violations is empty: every job stands in one place"),
        Ok(found) => {
            fail(name, found.join("; "), "this is a fault of ours, or a table was changed by hand: please report it with `select * from longshore.violations`")
        }
        Err(error) => Finding::good(name, format!("not checked: {}", log::chain(&error))),
    }
}
