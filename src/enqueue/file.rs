//! A file of jobs: a line a job, a transaction for every thousand.

use std::{
    collections::BTreeSet,
    io::IsTerminal,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use longshore_common::{
    job::{NewJob, parse::MAX_ARGS_BYTES},
    store::{
        Store, StoreError,
        enqueue::{Enqueued, Origin},
        listen::Waker,
    },
};
use serde_json::json;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

use super::{parse, wake};
use crate::{command::WrongUse, database, output};

/// Jobs a transaction.
const BATCH: usize = 1000;
/// Bytes of a line at most: args and meta at their longest, with room for every escape.
const MAX_LINE: u64 = 2 * MAX_ARGS_BYTES as u64;

/// Stores the jobs of a file, or of the input.
pub async fn run(file: &str, json: bool) -> anyhow::Result<ExitCode> {
    let (mut lines, bytes) = open(file).await?;
    let store = database::connect_to_schema().await?;
    let progress = if json || !std::io::stderr().is_terminal() { ProgressBar::hidden() } else { bar(bytes) };
    let mut stored = Stored::default();
    let started = Instant::now();
    let result = store_all(&mut lines, &store, &progress, &mut stored).await;
    progress.finish_and_clear();
    wake(&store, &stored.queues).await;
    let Stored { jobs, duplicates, .. } = stored;
    result.with_context(|| match stored.line {
        0 => format!("nothing of {file} was stored"),
        line => format!("{jobs} jobs of {file} were stored, those of lines 1 to {line}"),
    })?;
    if json {
        output::print_json(&json!({"stored": jobs, "duplicates": duplicates, "first_id": stored.first_id, "last_id": stored.last_id}))?;
    } else {
        let (seconds, count) = (started.elapsed().as_secs_f64(), output::grouped);
        let duplicates = if duplicates > 0 { format!(", {} of them stood already (unique)", count(duplicates)) } else { String::new() };
        let ids = stored.first_id.zip(stored.last_id).map(|(first, last)| format!(", ids {first} to {last}")).unwrap_or_default();
        output::print(&format!("{} jobs are enqueued in {seconds:.1} s{duplicates}{ids}", count(jobs)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What has been stored so far.
#[derive(Default)]
struct Stored {
    jobs: u64,
    duplicates: u64,
    first_id: Option<i64>,
    last_id: Option<i64>,
    queues: BTreeSet<String>,
    /// The last line that is certainly in the database.
    line: u64,
}

type Lines = Box<dyn AsyncBufRead + Unpin>;

/// The lines, and how many bytes there are, where that is known.
async fn open(file: &str) -> anyhow::Result<(Lines, Option<u64>)> {
    if file == "-" {
        return Ok((Box::new(BufReader::new(tokio::io::stdin())), None));
    }
    let opened = tokio::fs::File::open(file).await.with_context(|| format!("could not open {file} to read jobs"))?;
    let metadata = opened.metadata().await.with_context(|| format!("could not look at {file}"))?;
    Ok((Box::new(BufReader::with_capacity(1 << 18, opened)), metadata.is_file().then_some(metadata.len())))
}

async fn store_all(lines: &mut Lines, store: &Store, progress: &ProgressBar, stored: &mut Stored) -> anyhow::Result<()> {
    let waker = Waker::start(store);
    let mut batch: Vec<(u64, NewJob)> = Vec::with_capacity(BATCH);
    let mut text = Vec::new();
    let mut number = 0;
    loop {
        text.clear();
        let read = (&mut *lines).take(MAX_LINE).read_until(b'\n', &mut text).await.with_context(|| format!("could not read line {}", number + 1))?;
        let end = read == 0;
        if !end {
            number += 1;
            progress.inc(u64::try_from(read).unwrap_or(0));
            if read as u64 == MAX_LINE {
                return Err(WrongUse(format!("line {number}: is longer than {MAX_LINE} bytes, which no job is")).into());
            }
            if text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let job = parse(&text, str::to_owned).map_err(|fault| WrongUse(format!("line {number}: {fault}")))?;
            batch.push((number, job));
        }
        if batch.len() == BATCH || end && !batch.is_empty() {
            store_batch(&mut batch, store, &waker, stored).await?;
            let rate = stored.jobs * 1000 / u64::try_from(progress.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
            progress.set_message(format!("{} jobs, {} a second", output::grouped(stored.jobs), output::grouped(rate)));
        }
        if end {
            return Ok(());
        }
    }
}

async fn store_batch(batch: &mut Vec<(u64, NewJob)>, store: &Store, waker: &Waker, stored: &mut Stored) -> anyhow::Result<()> {
    let (lines, jobs): (Vec<u64>, Vec<NewJob>) = batch.drain(..).unzip();
    let (first, last) = (lines[0], lines[lines.len() - 1]);
    let enqueued = store.enqueue(&jobs, &Origin::default()).await.map_err(|error| match error {
        StoreError::KeyHeld { index, .. } => anyhow!("line {}: {error}", lines[index]),
        away if away.is_unavailable() => anyhow::Error::from(away).context(format!("whether lines {first} to {last} were stored, too, is not known")),
        error => anyhow::Error::from(error).context(format!("lines {first} to {last}")),
    })?;
    for job in &jobs {
        if stored.queues.insert(job.queue.to_string()) || stored.jobs.is_multiple_of(10 * BATCH as u64) {
            waker.wake(&job.queue);
        }
    }
    stored.duplicates += enqueued.iter().filter(|e| matches!(e, Enqueued::Duplicate { .. })).count() as u64;
    stored.jobs += enqueued.len() as u64;
    stored.first_id = stored.first_id.or(enqueued.first().map(Enqueued::id));
    stored.last_id = enqueued.last().map(Enqueued::id).or(stored.last_id);
    stored.line = last;
    Ok(())
}

fn bar(bytes: Option<u64>) -> ProgressBar {
    let style = |template: &str| ProgressStyle::with_template(template).expect("a template of ours");
    let bar = match bytes {
        Some(bytes) => ProgressBar::new(bytes).with_style(style("{wide_bar} {percent}%  {msg}  {eta} left")),
        None => ProgressBar::new_spinner().with_style(style("{spinner} {msg}")),
    };
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
