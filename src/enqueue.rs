//! `longshore enqueue`: one job from the command line, or a file of them. The job is written as `POST /v1/jobs` wants it
//! and read by the same rules.

mod file;
mod flags;

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use anyhow::Context;
use longshore_common::{
    fault::Fault,
    job::{InvalidJob, NewJob},
    store::{
        Store,
        enqueue::{Enqueued, Origin},
        listen::{Channel, Waker},
    },
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{command::WrongUse, database, output};

/// Enqueues a job, or a file of jobs. When it returns, they are durable.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    job: flags::Flags,
    /// Read jobs from a file, one JSON object a line as in POST /v1/jobs; - reads them from the input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kind", "flags"])]
    file: Option<String>,
    /// Print what was stored as JSON
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  longshore enqueue echo '{\"hello\": \"world\"}'
  longshore enqueue send_email @mail.json --queue emails --delay 5m --tag welcome
  echo '[1, 2]' | longshore enqueue sum - --priority -10
  longshore enqueue report --unique-key daily --unique-for 1d --on-conflict reject
  longshore enqueue --file jobs.ndjson        lines such as {\"kind\": \"echo\", \"args\": {\"n\": 1}}

Durations are seconds, or such as 200ms, 30s, 5m, 1h30m, 7d.";

/// Longest wait for the word that workers were woken. They find the job at their next poll anyway.
const WAKE_WITHIN: Duration = Duration::from_millis(500);

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.file {
        return file::run(file, args.json).await;
    }
    let job = args.job.read()?;
    let store = database::connect_to_schema().await?;
    let enqueued = store.enqueue(std::slice::from_ref(&job), &Origin::default()).await.context("nothing was enqueued")?;
    wake(&store, &BTreeSet::from([job.queue.to_string()])).await;
    let duplicates: Vec<usize> = enqueued.iter().enumerate().filter(|(_, e)| matches!(e, Enqueued::Duplicate { .. })).map(|(index, _)| index).collect();
    if args.json {
        output::print_json(&json!({"ids": enqueued.iter().map(Enqueued::id).collect::<Vec<_>>(), "duplicates": duplicates}))?;
        return Ok(ExitCode::SUCCESS);
    }
    for enqueued in &enqueued {
        output::print(&match enqueued {
            Enqueued::New { id, run_at, created_at, .. } if run_at > created_at => format!("job {id} is enqueued in queue {}, due {run_at}", job.queue),
            Enqueued::New { id, .. } => format!("job {id} is enqueued in queue {}", job.queue),
            Enqueued::Duplicate { id, replaced: true } => format!("job {id} had this unique key and waits; it was replaced"),
            Enqueued::Duplicate { id, replaced: false } => format!("job {id} has this unique key already; nothing was enqueued"),
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Wakes the workers of these queues, and returns when that was heard: this program's end would cut it off.
pub async fn wake(store: &Store, queues: &BTreeSet<String>) {
    let stop = CancellationToken::new();
    let mut heard = store.listen(Channel::Work, stop.clone());
    let mut unheard = queues.clone();
    let woken = async {
        heard.recv().await; // it listens
        let waker = Waker::start(store);
        for queue in queues {
            waker.wake(queue);
        }
        while let Some(note) = heard.recv().await {
            if note.is_some_and(|queue| unheard.remove(&queue)) && unheard.is_empty() {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(WAKE_WITHIN, woken).await;
    stop.cancel();
}

/// Reads a job; the complaint names each fault's place as `name` makes it.
fn parse(text: &[u8], name: impl Fn(&str) -> String) -> Result<NewJob, WrongUse> {
    let line = |fault: &Fault| format!("{} {}", name(&fault.pointer), fault.detail).trim_start().to_owned();
    NewJob::parse(text, "").map_err(|invalid| {
        WrongUse(match invalid {
            InvalidJob::Malformed(malformed) => malformed.to_string(),
            InvalidJob::Faults(faults) => faults.iter().map(line).collect::<Vec<_>>().join("; "),
        })
    })
}
