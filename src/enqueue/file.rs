//! A file of jobs: a line a job, a transaction for every thousand.

use std::{
    collections::BTreeSet,
    io::IsTerminal,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use longshore_common::job::{NewJob, parse::MAX_ARGS_BYTES};
use serde_json::json;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

use super::parse;
use crate::{
    backend::{Backend, NotStored, Place, Waking},
    command::WrongUse,
    output,
};

/// Jobs a transaction.
const BATCH: usize = 1000;
/// Bytes of a transaction's jobs, give or take one: an API takes 32 MiB at once.
const BATCH_BYTES: usize = 8 << 20;
/// Bytes of a line at most: args and meta at their longest, with room for every escape.
const MAX_LINE: u64 = 2 * MAX_ARGS_BYTES as u64;

/// Stores the jobs of a file, or of the input.
pub async fn run(file: &str, json: bool, place: &Place) -> anyhow::Result<ExitCode> {
    let (mut lines, bytes) = open(file).await?;
    let backend = place.open().await?;
    let progress = if json || !std::io::stderr().is_terminal() { ProgressBar::hidden() } else { bar(bytes) };
    let mut stored = Stored::default();
    let started = Instant::now();
    let result = store_all(&mut lines, &backend, &progress, &mut stored).await;
    progress.finish_and_clear();
    backend.wake(&stored.queues).await;
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

async fn store_all(lines: &mut Lines, backend: &Backend, progress: &ProgressBar, stored: &mut Stored) -> anyhow::Result<()> {
    let waking = Waking::start(backend);
    let mut batch = Batch::default();
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
            batch.add(number, job, String::from_utf8_lossy(text.trim_ascii()).into_owned());
        }
        if batch.is_full() || end && !batch.jobs.is_empty() {
            store_batch(std::mem::take(&mut batch), backend, &waking, stored).await?;
            let rate = stored.jobs * 1000 / u64::try_from(progress.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
            progress.set_message(format!("{} jobs, {} a second", output::grouped(stored.jobs), output::grouped(rate)));
        }
        if end {
            return Ok(());
        }
    }
}

/// Jobs that are stored together.
#[derive(Default)]
struct Batch {
    jobs: Vec<NewJob>,
    /// What each was read from.
    texts: Vec<String>,
    /// In which line.
    lines: Vec<u64>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, line: u64, job: NewJob, text: String) {
        self.bytes += text.len();
        self.jobs.push(job);
        self.texts.push(text);
        self.lines.push(line);
    }

    fn is_full(&self) -> bool {
        self.jobs.len() == BATCH || self.bytes > BATCH_BYTES
    }
}

async fn store_batch(batch: Batch, backend: &Backend, waking: &Waking, stored: &mut Stored) -> anyhow::Result<()> {
    let Batch { jobs, texts, lines, .. } = batch;
    let (first, last) = (lines[0], lines[lines.len() - 1]);
    let batch = backend.enqueue_batch(&jobs, &texts).await.map_err(|why| match why {
        NotStored::One(index, error) => anyhow!("line {}: {error}", lines.get(index).unwrap_or(&first)),
        NotStored::All(error) => error.context(format!("lines {first} to {last}")),
        NotStored::Unknown(error) => error.context(format!("whether lines {first} to {last} were stored, too, is not known")),
    })?;
    for job in &jobs {
        if stored.queues.insert(job.queue.to_string()) || stored.jobs.is_multiple_of(10 * BATCH as u64) {
            waking.wake(&job.queue);
        }
    }
    stored.duplicates += batch.duplicates.len() as u64;
    stored.jobs += batch.ids.len() as u64;
    stored.first_id = stored.first_id.or(batch.ids.first().copied());
    stored.last_id = batch.ids.last().copied().or(stored.last_id);
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
