//! Users' own workers, which lease jobs over HTTP: at full speed, and idle.

use std::{fmt::Write as _, time::Instant};

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::task::JoinSet;

use super::{Size, all_end, drain::fill};
use crate::bench::{
    check,
    figures::Figures,
    http::{Connection, Request},
    stage::{Api, Meter, Stage},
};

/// Workers that lease at once.
const PULLERS: usize = 8;
/// Jobs that each leases and reports at once.
const BATCH: usize = 100;
/// Workers that wait.
const IDLE: usize = 1000;

/// What is looked at of an answer.
#[derive(Deserialize)]
struct Leased {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    id: i64,
    lease: String,
}

/// They lease and report until nothing is left.
pub async fn run(name: &str, stage: &Stage, size: Size) -> anyhow::Result<Figures> {
    let api = stage.api().await?;
    fill(&mut Connection::open(api.addr).await?, size.backlog).await?;
    let watch = stage.watch_memory();
    let before = stage.meter(Some(&api.program), None).await?;
    let began = Instant::now();
    let mut pullers = JoinSet::new();
    for puller in 0..PULLERS {
        let mut connection = Connection::open(api.addr).await?;
        let asked = format!("{{\"limit\":{BATCH},\"worker\":\"bench-{puller}\"}}");
        let lease = Request::post("/v1/leases", "application/json", asked.as_bytes());
        pullers.spawn(async move {
            loop {
                connection.expect(&lease, 200).await?;
                let leased: Leased = serde_json::from_slice(connection.body()).context("an answer of the API is no list of jobs")?;
                if leased.jobs.is_empty() {
                    return Ok(());
                }
                connection.expect(&report(&leased.jobs), 200).await?;
            }
        });
    }
    all_end(pullers).await?;
    let wall = began.elapsed().as_secs_f64();
    let after = stage.meter(Some(&api.program), None).await?;
    let mut figures = Figures::of(name, size.backlog, wall, before, after);
    figures.notes.push(format!("{PULLERS} workers over HTTP, each with {BATCH} jobs at once"));
    figures.note_memory(stage, Some(&api.program), None, &watch);
    api.program.stop().await?;
    figures.faults = check::faults(stage, size.backlog, size.backlog).await?;
    Ok(figures)
}

fn report(jobs: &[Job]) -> Request {
    let mut body = String::with_capacity(jobs.len() * 80);
    for job in jobs {
        let comma = if body.is_empty() { "{\"reports\":[" } else { "," };
        let _ = write!(body, "{comma}{{\"id\":{},\"lease\":\"{}\",\"outcome\":\"complete\",\"result\":true}}", job.id, job.lease);
    }
    body += "]}";
    Request::post("/v1/leases/report", "application/json", body.as_bytes())
}

/// They wait, and there is nothing.
pub async fn idle(name: &str, stage: &Stage, size: Size) -> anyhow::Result<Figures> {
    let api = stage.api().await?;
    tokio::time::sleep(size.warm_up).await;
    let (.., alone) = over(stage, &api, size).await?;
    let mut pullers: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for puller in 0..IDLE {
        let mut connection = Connection::open(api.addr).await?;
        let asked = format!("{{\"wait\":\"60s\",\"worker\":\"idle-{puller}\"}}");
        let lease = Request::post("/v1/leases", "application/json", asked.as_bytes());
        pullers.spawn(async move {
            loop {
                connection.expect(&lease, 200).await?;
            }
        });
    }
    // until all of them wait
    tokio::time::sleep(size.warm_up * 3).await;
    let (before, after, together) = over(stage, &api, size).await?;
    if let Some(ended) = pullers.try_join_next() {
        ended??; // a fault of one
    }
    ensure!(stage.store().workers().await?.len() >= IDLE, "not all of them are seen to live");
    pullers.shutdown().await;
    let mut figures = Figures::of(name, 0, size.measured.as_secs_f64(), before, after);
    figures.notes.push(format!(
        "{IDLE} wait: the API takes {:.2} % of a core, PostgreSQL {:.2} %; before they came, {:.2} % and {:.2} %",
        together.api, together.server, alone.api, alone.server
    ));
    api.program.stop().await?;
    figures.faults = check::faults(stage, 0, 0).await?;
    Ok(figures)
}

/// Percent of a core.
struct Used {
    api: f64,
    server: f64,
}

/// What is used while nothing happens.
async fn over(stage: &Stage, api: &Api, size: Size) -> anyhow::Result<(Meter, Meter, Used)> {
    let (before, began) = (stage.meter(Some(&api.program), None).await?, Instant::now());
    tokio::time::sleep(size.measured).await;
    let (after, seconds) = (stage.meter(Some(&api.program), None).await?, began.elapsed().as_secs_f64());
    let used = |of: fn(&Meter) -> Option<f64>| of(&after).zip(of(&before)).map_or(f64::NAN, |(after, before)| (after - before) / seconds * 100.0);
    let used = Used { api: used(|meter| meter.api), server: used(|meter| meter.server) };
    Ok((before, after, used))
}
