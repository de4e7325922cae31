//! The full cycle: batches come in over HTTP while a worker runs them, for as long as is measured.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use tokio::task::JoinSet;

use super::{Size, Window, all_end, drain};
use crate::bench::{
    check,
    figures::{Figures, Latency},
    http::{Connection, Request},
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

/// What the jobs need besides being run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Nothing.
    Plain,
    /// A unique key each.
    Unique,
    /// One of 500 concurrency keys, in a queue that runs 10 jobs of each.
    Key,
    /// A queue with a rate that they do not reach: what the reckoning costs, and not the waiting.
    Rate,
    /// Four and four are a diamond, 125 of them one workflow.
    Workflow,
}

impl Sort {
    /// The queue's settings, where it has one of its own, so that others do without.
    fn queue(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Plain | Self::Unique | Self::Workflow => None,
            Self::Key => Some(("bench-key", r#"{"max_running_per_key": 10}"#)),
            Self::Rate => Some(("bench-rate", r#"{"rate": {"limit": 1000000, "per": "1s"}}"#)),
        }
    }

    /// A request of [`BATCH`] jobs; `first` is the number of the first of them.
    fn request(self, first: u64) -> Request {
        let jobs = |more: &dyn Fn(u64) -> String| load::lines(&(0..BATCH).map(|n| load::job_with(&more(n))).collect::<Vec<_>>());
        match self {
            Self::Plain => load::batch(usize::try_from(BATCH).unwrap_or(0), BatchForm::Ndjson),
            Self::Unique => jobs(&|n| format!(r#","unique":{{"key":"order-{}"}}"#, first + n)),
            Self::Key => jobs(&|n| format!(r#","queue":"bench-key","concurrency_key":"customer-{n}""#)),
            Self::Rate => jobs(&|_| r#","queue":"bench-rate""#.to_owned()),
            Self::Workflow => {
                let job = |n: u64| {
                    let (top, after) = (n - n % 4, |names: String| format!(r#","name":"n{n}","after":[{names}]"#));
                    load::job_with(&match n % 4 {
                        0 => after(String::new()),
                        1 | 2 => after(format!(r#""n{top}""#)),
                        _ => after(format!(r#""n{}","n{}""#, top + 1, top + 2)),
                    })
                };
                let jobs = (0..BATCH).map(job).collect::<Vec<_>>().join(",");
                Request::post("/v1/workflows", "application/json", format!("{{\"jobs\":[{jobs}]}}").as_bytes())
            }
        }
    }
}

/// Enqueued and worked off at the same time.
pub async fn run(name: &str, stage: &Stage, size: Size, sort: Sort) -> anyhow::Result<Figures> {
    let api = stage.api().await?;
    if let Some((queue, settings)) = sort.queue() {
        let status = Connection::open(api.addr).await?.send(&Request::put(&format!("/v1/queues/{queue}"), settings)).await?;
        ensure!(matches!(status, 200 | 201), "the API answered {status} where the queue {queue} was to be set up");
    }
    let worker = stage.worker(&format!("*={}", size.slots)).await?;
    let (watch, record, window) = (stage.watch_memory(), Record::new(), Window::begin(size));
    let done = Arc::new(AtomicU64::new(0));
    let next = Arc::new(AtomicU64::new(0));
    let same = sort.request(0);
    let mut senders = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(api.addr).await?;
        let (same, next, record, done) = (same.clone(), next.clone(), record.clone(), done.clone());
        senders.spawn(async move {
            while !window.is_over() {
                if record.acknowledged() >= done.load(Ordering::Relaxed) + AHEAD {
                    tokio::time::sleep(LOOK_AGAIN / 10).await;
                    continue;
                }
                let unique = (sort == Sort::Unique).then(|| sort.request(next.fetch_add(BATCH, Ordering::Relaxed)));
                let sent = Instant::now();
                connection.expect(unique.as_ref().unwrap_or(&same), 201).await?;
                record.note(BATCH, sent, window.is_open());
            }
            Ok(())
        });
    }
    let (mut before, mut functions) = (None, HashMap::new());
    while !window.is_over() {
        let succeeded = u64::try_from(stage.store().succeeded().await?)?;
        done.store(succeeded, Ordering::Relaxed);
        if before.is_none() && window.is_open() {
            functions = stage.store().function_times().await?;
            before = Some((succeeded, Instant::now(), stage.meter(Some(&api.program), Some(&worker)).await?));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let (first, began, before) = before.unwrap_or((0, Instant::now(), stage.meter(None, None).await?));
    let last = u64::try_from(stage.store().succeeded().await?)?;
    let seconds = began.elapsed().as_secs_f64();
    let after = stage.meter(Some(&api.program), Some(&worker)).await?;
    let functions = dearest(&functions, &stage.store().function_times().await?);
    all_end(senders).await?;
    let mut figures = Figures::of(name, last - first, seconds, before, after);
    figures.latency.push(Latency::of("request of 500", &record.latency()));
    figures.notes.push(format!("{} slots", size.slots));
    figures.notes.extend(functions);
    drain::wait_for(stage, record.acknowledged()).await?;
    figures.note_memory(stage, Some(&api.program), Some(&worker), &watch);
    worker.stop().await?;
    api.program.stop().await?;
    figures.faults = check::faults(stage, record.acknowledged(), record.acknowledged()).await?;
    Ok(figures)
}

/// Which functions PostgreSQL spent its time in, in words; nothing where it does not say.
fn dearest(before: &HashMap<String, f64>, after: &HashMap<String, f64>) -> Option<String> {
    let mut spent: Vec<(&str, f64)> = after.iter().map(|(name, ms)| (&**name, ms - before.get(name).unwrap_or(&0.0))).filter(|(_, ms)| *ms > 0.0).collect();
    spent.sort_by(|a, b| b.1.total_cmp(&a.1));
    let all: f64 = spent.iter().map(|(_, ms)| ms).sum();
    let told: Vec<String> = spent.iter().take(4).map(|(name, ms)| format!("{name} {:.0} %", 100.0 * ms / all)).collect();
    (!told.is_empty()).then(|| format!("time in functions: {}", told.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_longest_is_told_first() {
        let times = |times: &[(&str, f64)]| times.iter().map(|(name, ms)| ((*name).to_owned(), *ms)).collect::<HashMap<_, _>>();
        let (before, after) = (times(&[("claim_1", 10.0), ("old", 5.0)]), times(&[("claim_1", 40.0), ("report", 70.0), ("old", 5.0)]));
        assert_eq!(dearest(&before, &after).as_deref(), Some("time in functions: report 70 %, claim_1 30 %"));
        assert_eq!(dearest(&after, &after), None);
    }
}
