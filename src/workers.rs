//! `longshore workers`

use std::process::ExitCode;

use clap::Subcommand;
use longshore_common::store::workers::WorkerView;

use crate::{
    backend::Place,
    output::{self, List},
};

/// Lists the workers that are alive: those whose heartbeats come.
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
    /// List the workers, which is what happens without a word too
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Print the list as the API gives it
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &Args, place: &Place) -> anyhow::Result<ExitCode> {
    let list = args.command.as_ref().map_or(&args.list, |Word::List(list)| list);
    let workers = place.open().await?.workers().await?;
    if list.json {
        output::print_json(&List::whole(workers))?;
    } else if workers.is_empty() {
        output::print("No worker is alive: jobs are taken and wait. Start one with `longshore worker`, or everything with `longshore dev`.")?;
    } else {
        output::print(&for_people(&workers))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn for_people(workers: &[WorkerView]) -> String {
    let mut table = output::table(&["WORKER", "VERSION", "QUEUES", "KINDS", "RUNNING", "SINCE", "LAST SEEN"]);
    for worker in workers {
        table.add_row([
            worker.id.clone(),
            worker.version.clone(),
            worker.queues.join(","),
            output::shortened(&worker.kinds.join(","), 40),
            worker.running.to_string(),
            output::time(worker.since),
            output::time(worker.last_seen),
        ]);
    }
    output::lines(&table)
}
