//! Single jobs over many connections at once.

use super::{Size, Window, all_end, senders};
use crate::bench::{
    check,
    figures::{Figures, Latency},
    load::{self, Record},
    stage::Stage,
};

/// Single jobs, over connections that are kept.
pub async fn run(name: &str, stage: &Stage, size: Size, connections: usize) -> anyhow::Result<Figures> {
    measure(name, stage, size, connections, &load::single(), 1).await
}

/// One request again and again, while no worker runs.
pub async fn measure(name: &str, stage: &Stage, size: Size, connections: usize, request: &crate::bench::http::Request, jobs: u64) -> anyhow::Result<Figures> {
    let api = stage.api().await?;
    let (watch, record, window) = (stage.watch_memory(), Record::new(), Window::begin(size));
    let senders = senders(&api, connections, request, jobs, window, &record).await?;
    window.opens().await;
    let before = stage.meter(Some(&api.program), None).await?;
    window.closes().await;
    let after = stage.meter(Some(&api.program), None).await?;
    all_end(senders).await?;
    let mut figures = Figures::of(name, record.measured(), window.length().as_secs_f64(), before, after);
    figures.latency.push(Latency::of("request", &record.latency()));
    figures.note_memory(stage, Some(&api.program), None, &watch);
    api.program.stop().await?;
    figures.faults = check::faults(stage, record.acknowledged(), 0).await?;
    Ok(figures)
}
