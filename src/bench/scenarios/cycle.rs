//! The full cycle: batches come in over HTTP while a worker runs them, for as long as is measured.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{Size, Window, all_end, drain};
use crate::bench::{
    check,
    figures::{Figures, Latency},
    http::Connection,
    load::{self, BatchForm, Record},
    stage::Stage,
};

/// Jobs a request.
const BATCH: u64 = 500;
/// Connections.
const CONNECTIONS: usize = 2;
/// Jobs that may wait, about.
const AHEAD: u64 = 20_000;
/// How often is looked how far the worker is.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Enqueued and worked off at the same time.
pub async fn run(name: &str, stage: &Stage, size: Size) -> anyhow::Result<Figures> {
    let api = stage.api().await?;
    let worker = stage.worker(&format!("*={}", size.slots)).await?;
    let (watch, record, window) = (stage.watch_memory(), Record::new(), Window::begin(size));
    let done = Arc::new(AtomicU64::new(0));
    let request = load::batch(usize::try_from(BATCH)?, BatchForm::Ndjson);
    let mut senders = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(api.addr).await?;
        let (request, record, done) = (request.clone(), record.clone(), done.clone());
        senders.spawn(async move {
            while !window.is_over() {
                if record.acknowledged() >= done.load(Ordering::Relaxed) + AHEAD {
                    tokio::time::sleep(LOOK_AGAIN / 10).await;
                    continue;
                }
                let sent = Instant::now();
                connection.expect(&request, 201).await?;
                record.note(BATCH, sent, window.is_open());
            }
            Ok(())
        });
    }
    let mut before = None;
    while !window.is_over() {
        let succeeded = u64::try_from(stage.store().succeeded().await?)?;
        done.store(succeeded, Ordering::Relaxed);
        if before.is_none() && window.is_open() {
            before = Some((succeeded, Instant::now(), stage.meter(Some(&api.program), Some(&worker)).await?));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let (first, began, before) = before.unwrap_or((0, Instant::now(), stage.meter(None, None).await?));
    let last = u64::try_from(stage.store().succeeded().await?)?;
    let seconds = began.elapsed().as_secs_f64();
    let after = stage.meter(Some(&api.program), Some(&worker)).await?;
    all_end(senders).await?;
    let mut figures = Figures::of(name, last - first, seconds, before, after);
    figures.latency.push(Latency::of("request of 500", &record.latency()));
    figures.notes.push(format!("{} slots", size.slots));
    drain::wait_for(stage, record.acknowledged()).await?;
    figures.note_memory(stage, Some(&api.program), Some(&worker), &watch);
    worker.stop().await?;
    api.program.stop().await?;
    figures.faults = check::faults(stage, record.acknowledged(), record.acknowledged()).await?;
    Ok(figures)
}
