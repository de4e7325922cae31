//! `longshore queues`

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use longshore_common::store::queues::QueueView;

use crate::{
    backend::Place,
    output::{self, List},
};

/// Lists the queues, pauses and resumes one. A queue appears when it is first used.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Word>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// List the queues, which is what happens without a word too
    List(ListArgs),
    /// Let a queue take jobs and start none; those that run go on
    Pause(NameArgs),
    /// Let a paused queue start jobs again
    Resume(NameArgs),
}

#[derive(Debug, clap::Args)]
struct NameArgs {
    /// The queue
    name: String,
    /// Print the queue as the API gives it
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Print the list as the API gives it
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &Args, place: &Place) -> anyhow::Result<ExitCode> {
    match &args.command {
        None => list(&args.list, place).await,
        Some(Word::List(args)) => list(args, place).await,
        Some(Word::Pause(args)) => pause(args, place, true).await,
        Some(Word::Resume(args)) => pause(args, place, false).await,
    }
}

async fn pause(args: &NameArgs, place: &Place, paused: bool) -> anyhow::Result<ExitCode> {
    let backend = place.open().await?;
    let Some(queue) = backend.pause_queue(&args.name, paused).await? else {
        bail!("there is no queue \"{}\" in {}; `longshore queues` lists those that there are", args.name, backend.shown());
    };
    if args.json {
        output::print_json(&queue)?;
    } else if paused {
        output::print(&format!("Queue \"{0}\" takes jobs and starts none, until: longshore queues resume {0}", args.name))?;
    } else {
        output::print(&format!("Queue \"{}\" starts jobs.", args.name))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(list: &ListArgs, place: &Place) -> anyhow::Result<ExitCode> {
    let queues = place.open().await?.queues().await?;
    if list.json {
        output::print_json(&List::whole(queues))?;
    } else if queues.is_empty() {
        output::print("No queues yet: one appears with the first job that names it. Try: longshore enqueue echo '{\"hello\": \"world\"}'")?;
    } else {
        output::print(&for_people(&queues))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn for_people(queues: &[QueueView]) -> String {
    let mut table = output::table(&["QUEUE", "AVAILABLE", "RUNNING", "SCHEDULED", "RETRYABLE", "SUCCEEDED", "FAILED", "CANCELLED", "OLDEST WAITS", "WORKERS"]);
    for queue in queues {
        let counts = queue.counts;
        let count = |n: i64| output::grouped(n.unsigned_abs());
        let waiting = |n: i64| format!("{}{}", if queue.estimated && n > 0 { "~" } else { "" }, count(n));
        table.add_row([
            if queue.paused { format!("{} (paused)", queue.name) } else { queue.name.clone() },
            waiting(counts.available),
            count(counts.running),
            waiting(counts.scheduled),
            waiting(counts.retryable),
            count(counts.succeeded),
            count(counts.failed),
            count(counts.cancelled),
            queue.oldest_available_age.map_or_else(|| "-".to_owned(), |age| format!("{:.1} s", age.max(0.0))),
            queue.workers.to_string(),
        ]);
    }
    output::align_right(&mut table, 1..10);
    let note = if queues.iter().any(|queue| queue.estimated) { "\n\n~ an estimate: exact counts end at 10,000" } else { "" };
    output::lines(&table) + note
}
