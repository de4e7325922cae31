//! A backlog that one worker drains.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Size;
use crate::bench::{
    check,
    figures::{Figures, number},
    http::Connection,
    load::{self, BatchForm},
    scenarios::batch,
    stage::Stage,
};

/// How often is looked how far it is.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Without a single job for so long, it has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// What runs the jobs.
#[derive(Debug, Clone, Copy)]
pub struct Handler<'a> {
    /// The worker's settings file. Jobs are of the kind `echo`; it may say what else than the built-in runs them.
    pub settings: &'a str,
    /// What to say of it.
    pub about: &'a str,
}

/// A worker starts on a backlog and works it off, by its built-in handler.
pub async fn run(name: &str, stage: &Stage, size: Size) -> anyhow::Result<Figures> {
    run_by(name, stage, size, Handler { settings: "", about: "" }).await
}

/// The same, by another handler.
pub async fn run_by(name: &str, stage: &Stage, size: Size, handler: Handler<'_>) -> anyhow::Result<Figures> {
    let api = stage.api().await?;
    let mut connection = Connection::open(api.addr).await?;
    fill(&mut connection, size.backlog).await?;
    let (watch, began) = (stage.watch_memory(), Instant::now());
    let before = stage.meter(Some(&api.program), None).await?;
    let worker = stage.worker_with(&format!("*={}", size.slots), handler.settings)?;
    wait_for(stage, size.backlog).await?;
    let wall = began.elapsed().as_secs_f64();
    let after = stage.meter(Some(&api.program), Some(&worker)).await?;
    let span = stage.store().totals().await?.span.unwrap_or(wall);
    let mut figures = Figures::of(name, size.backlog, span, before, after);
    let about = if handler.about.is_empty() { String::new() } else { format!("{}; ", handler.about) };
    figures.notes.push(format!(
        "{about}{} slots; by the clock on the wall, the worker's start included: {:.0} jobs/s",
        size.slots,
        number(size.backlog) / wall
    ));
    figures.note_memory(stage, Some(&api.program), Some(&worker), &watch);
    worker.stop().await?;
    api.program.stop().await?;
    figures.faults = check::faults(stage, size.backlog, size.backlog).await?;
    Ok(figures)
}

/// Enqueues so many jobs.
pub async fn fill(connection: &mut Connection, backlog: u64) -> anyhow::Result<()> {
    let whole = load::batch(batch::JOBS, BatchForm::Ndjson);
    let mut left = backlog;
    while left > 0 {
        let jobs = left.min(batch::JOBS as u64);
        if jobs == batch::JOBS as u64 {
            connection.expect(&whole, 201).await?;
        } else {
            connection.expect(&load::batch(usize::try_from(jobs)?, BatchForm::Ndjson), 201).await?;
        }
        left -= jobs;
    }
    Ok(())
}

/// Waits until so many jobs have succeeded.
pub async fn wait_for(stage: &Stage, jobs: u64) -> anyhow::Result<()> {
    let (mut seen, mut progress) = (0, Instant::now());
    loop {
        let succeeded = u64::try_from(stage.store().succeeded().await?)?;
        if succeeded >= jobs {
            return Ok(());
        }
        if succeeded > seen {
            (seen, progress) = (succeeded, Instant::now());
        }
        ensure!(progress.elapsed() < PATIENCE, "{succeeded} of {jobs} jobs have succeeded, and not one more within {PATIENCE:?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
