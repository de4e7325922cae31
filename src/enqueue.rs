//! `longshore enqueue`: one job from the command line, or a file of them. The job is written as `POST /v1/jobs` wants it
//! and read by the same rules.

mod file;
mod flags;

use std::{collections::BTreeSet, process::ExitCode};

use anyhow::Context;
use longshore_common::{
    fault::Fault,
    job::{InvalidJob, NewJob},
};
use serde_json::json;

use crate::{
    backend::{Became, Place},
    command::WrongUse,
    output,
};

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

pub async fn run(args: &Args, place: &Place) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.file {
        return file::run(file, args.json, place).await;
    }
    let (job, text) = args.job.read()?;
    let backend = place.open().await?;
    let became = backend.enqueue(&job, text).await.context("nothing was enqueued")?;
    backend.wake(&BTreeSet::from([job.queue.to_string()])).await;
    if args.json {
        let (id, duplicates) = match became {
            Became::New { id, .. } => (id, Vec::new()),
            Became::Standing { id, .. } => (id, vec![0]),
        };
        output::print_json(&json!({"ids": [id], "duplicates": duplicates}))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::print(&match became {
        Became::New { id, due: Some(due) } => format!("job {id} is enqueued in queue {}, due {due}", job.queue),
        Became::New { id, due: None } => format!("job {id} is enqueued in queue {}", job.queue),
        Became::Standing { id, replaced: true } => format!("job {id} had this unique key and waits; it was replaced"),
        Became::Standing { id, replaced: false } => format!("job {id} has this unique key already; nothing was enqueued"),
    })?;
    Ok(ExitCode::SUCCESS)
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
