//! `longshore queues`

use std::process::ExitCode;

use clap::Subcommand;
use longshore_common::store::read::QueueView;

use crate::{
    database,
    output::{self, List},
};

/// Lists the queues. A queue appears when it is first used.
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
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Print the list as the API gives it
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let list = args.command.as_ref().map_or(&args.list, |Word::List(list)| list);
    let queues = database::connect_to_schema().await?.queues(None).await?;
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
            queue.name.clone(),
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
