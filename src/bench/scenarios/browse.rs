//! Millions of jobs, and everything that is looked at: the lists with each filter, queues, figures, failures, the views.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use indicatif::ProgressBar;
use jiff::Timestamp;
use longshore_common::store::bench::{Filling, VIEWS};
use serde_json::Value;

use super::Size;
use crate::{
    bench::{
        figures::{Figures, Latency},
        http::{Connection, Request},
        load,
        stage::Stage,
    },
    output,
};

/// Jobs that one statement makes.
const STEP: u64 = 50_000;
/// Each is looked at so often, or for so long.
const ROUNDS: u32 = 100;
const PATIENCE: Duration = Duration::from_secs(3);
/// What nobody should wait longer for, in milliseconds.
const WANTED_MS: f64 = 100.0;

/// Fills the tables, past the API, and reads them through it.
pub async fn run(name: &str, stage: &Stage, size: Size, progress: &ProgressBar) -> anyhow::Result<Figures> {
    let began = Instant::now();
    let filled = fill(stage, size, progress).await?;
    let mut figures = Figures { name: name.to_owned(), jobs: size.finished + size.waiting, seconds: began.elapsed().as_secs_f64(), ..Figures::default() };
    figures.faults = filled;
    let api = stage.api().await?;
    let watch = stage.watch_memory();
    let mut connection = Connection::open(api.addr).await?;
    let mut slow = Vec::new();
    for path in paths(&mut connection, stage.store().server().await?.now, size.waiting).await? {
        progress.set_message(format!("{name}: GET {path}"));
        let request = Request::get(&path);
        let (mut micros, first) = (load::histogram(), Instant::now());
        while micros.len() < ROUNDS.into() && first.elapsed() < PATIENCE {
            let asked = Instant::now();
            connection.expect(&request, 200).await?;
            micros.saturating_record(load::micros(asked.elapsed()));
        }
        figures.latency.push(Latency::of(shown(&path), &micros));
    }
    for view in VIEWS {
        progress.set_message(format!("{name}: {}", view.name()));
        let (mut micros, first) = (load::histogram(), Instant::now());
        while micros.len() < ROUNDS.into() && first.elapsed() < PATIENCE {
            let asked = Instant::now();
            stage.store().look_at(view).await?;
            micros.saturating_record(load::micros(asked.elapsed()));
        }
        figures.latency.push(Latency::of(format!("{}, limit 50", view.name()), &micros));
    }
    slow.extend(figures.latency.iter().filter(|latency| latency.p99_ms > WANTED_MS).map(|latency| latency.what.to_string()));
    figures.notes.push(format!(
        "{} finished and {} waiting jobs, made past the API; {}",
        output::grouped(size.finished),
        output::grouped(size.waiting),
        if slow.is_empty() { "each p99 is under 100 ms".to_owned() } else { format!("above 100 ms at p99: {}", slow.join(", ")) }
    ));
    figures.note_memory(stage, Some(&api.program), None, &watch);
    api.program.stop().await?;
    Ok(figures)
}

/// Waiting jobs first, then finished ones. Returns what is wrong with the first of them: to look at all takes too long.
async fn fill(stage: &Stage, size: Size, progress: &ProgressBar) -> anyhow::Result<Vec<String>> {
    let store = stage.store();
    let ground = store.prepare_filling(size.finished, size.waiting).await?;
    let mut faults = Vec::new();
    let mut made = 0;
    let parts = [(Filling::Waiting, 1, size.waiting), (Filling::Finished, size.waiting + 1, size.waiting + size.finished)];
    for (what, from, to) in parts {
        let mut at = from;
        while at <= to {
            let until = to.min(at + STEP - 1);
            store.fill(what, &ground, at, until).await?;
            made += until + 1 - at;
            progress.set_message(format!("makes jobs: {} of {}", output::grouped(made), output::grouped(size.finished + size.waiting)));
            if at == from {
                faults.extend(store.violations(10).await?);
            }
            at = until + 1;
        }
    }
    progress.set_message("vacuum");
    store.settle().await?;
    Ok(faults)
}

/// What is read. A cursor and a fingerprint are taken from answers.
async fn paths(connection: &mut Connection, now: Timestamp, waiting: u64) -> anyhow::Result<Vec<String>> {
    let ago = |minutes: i64| -> anyhow::Result<String> { Ok(now.checked_sub(jiff::SignedDuration::from_mins(minutes))?.to_string()) };
    let mut answer = async |path: String| -> anyhow::Result<Value> {
        connection.expect(&Request::get(&path), 200).await?;
        Ok(serde_json::from_slice(connection.body())?)
    };
    let middle = answer(format!("/v1/jobs?limit=1&created_before={}", ago(600)?)).await?;
    let cursor = middle["next_cursor"].as_str().context("there are older jobs")?;
    let id = middle["items"][0]["id"].as_i64().context("there is an older job")?;
    let failures = answer("/v1/failures".to_owned()).await?;
    let fingerprint = failures["items"][0]["fingerprint"].as_str().context("some have failed")?;
    ensure!(waiting > 0, "some must wait");
    let mut paths: Vec<String> = [
        "/v1/queues",
        "/v1/queues/browse-1",
        "/v1/stats",
        "/v1/failures",
        "/v1/workers",
        "/v1/schedules",
        "/v1/database",
        "/metrics",
        "/",
        "/v1/jobs",
        "/v1/jobs?limit=1000",
    ]
    .map(str::to_owned)
    .to_vec();
    for state in ["scheduled", "available", "running", "retryable", "succeeded", "failed", "cancelled"] {
        paths.extend(["", "&queue=browse-1", "&queue=browse-2&kind=kind-2"].map(|more| format!("/v1/jobs?state={state}{more}")));
    }
    paths.extend([
        "/v1/jobs?queue=browse-1".to_owned(),
        "/v1/jobs?kind=kind-2".to_owned(),
        "/v1/jobs?tag=batch-3".to_owned(),
        "/v1/jobs?tag=none".to_owned(),
        "/v1/jobs?meta.customer=13".to_owned(),
        format!("/v1/jobs?unique_key=order-{}", waiting - waiting % 100 + 107),
        format!("/v1/jobs?fingerprint={fingerprint}"),
        format!("/v1/jobs?fingerprint={fingerprint}&state=retryable"),
        format!("/v1/jobs?created_after={}", ago(10)?),
        format!("/v1/jobs?created_before={}", ago(600)?),
        format!("/v1/jobs?created_after={}&created_before={}", ago(301)?, ago(300)?),
        format!("/v1/jobs?finished_after={}", ago(10)?),
        format!("/v1/jobs?finished_before={}", ago(600)?),
        format!("/v1/jobs?finished_after={}&finished_before={}", ago(301)?, ago(300)?),
        format!("/v1/jobs?cursor={cursor}"),
        format!("/v1/jobs?queue=browse-1&cursor={cursor}"),
        format!("/v1/jobs?state=failed&cursor={cursor}"),
        format!("/v1/jobs/{id}"),
        format!("/v1/jobs/{id}/explain"),
        format!("/v1/jobs/{id}/logs"),
    ]);
    Ok(paths)
}

/// A path without what differs from one run to the next.
fn shown(path: &str) -> String {
    let Some((path, query)) = path.split_once('?') else { return path.to_owned() };
    let parts: Vec<String> = query
        .split('&')
        .map(|part| match part.split_once('=') {
            Some((key @ ("cursor" | "fingerprint" | "created_after" | "created_before" | "finished_after" | "finished_before"), _)) => format!("{key}=…"),
            _ => part.to_owned(),
        })
        .collect();
    format!("{path}?{}", parts.join("&"))
}
