//! `longshore jobs`

mod bulk;
pub mod control;
mod failures;
mod filter;
mod list;
mod logs;
pub mod show;
mod tail;

use std::process::ExitCode;

use clap::Subcommand;
use longshore_common::job::Call;

use crate::backend::Place;

/// Lists jobs, newest first; shows and explains one, and its logs; watches them; cancels, retries, deletes, one or many; groups what failed.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: list::ListArgs,
}

const AFTER_HELP: &str = "\
Examples:
  longshore jobs                                     the newest 50
  longshore jobs --state failed --state retryable    what went wrong
  longshore jobs --queue emails --tag eu --limit 5
  longshore jobs show 42                             one job, with every attempt
  longshore jobs logs 42                             what its handler logged
  longshore jobs explain 42                          why it is not running
  longshore jobs tail --queue emails                 what happens, as it happens
  longshore jobs retry 42 43                         and cancel, delete
  longshore jobs failures                            what failed, by kind and by what the errors have in common
  longshore jobs retry --fingerprint 3f1c2a9be05d7716 --dry-run
  longshore jobs retry --fingerprint 3f1c2a9be05d7716 --rate 10/s
  longshore jobs cancel --queue emails --tag eu --yes";

#[derive(Debug, Subcommand)]
enum Command {
    /// List jobs, which is what happens without a word too
    List(list::ListArgs),
    /// Show one job: its fields, args, result and attempts
    Show(show::ShowArgs),
    /// Show what the handler of a job logged, attempt by attempt
    Logs(logs::LogsArgs),
    /// Say why a job is not running, and what would change it
    Explain(control::ExplainArgs),
    /// Watch what happens to jobs, as it happens
    Tail(tail::TailArgs),
    /// List what failed, or waits for another attempt, by kind and by what the errors have in common
    Failures(failures::FailureArgs),
    /// Cancel jobs: at once where they wait; where they run, their workers stop them
    Cancel(bulk::CallArgs),
    /// Let finished and retryable jobs run again, with one more attempt
    Retry(bulk::RetryArgs),
    /// Forget jobs that do not run
    Delete(bulk::CallArgs),
}

pub async fn run(args: &Args, place: &Place) -> anyhow::Result<ExitCode> {
    match &args.command {
        None => list::run(&args.list, place).await,
        Some(Command::List(args)) => list::run(args, place).await,
        Some(Command::Show(args)) => show::run(args, place).await,
        Some(Command::Logs(args)) => logs::run(args, place).await,
        Some(Command::Explain(args)) => control::explain(args, place).await,
        Some(Command::Tail(args)) => tail::run(args, place).await,
        Some(Command::Failures(args)) => failures::run(args, place).await,
        Some(Command::Cancel(args)) => bulk::run(Call::Cancel, args, None, place).await,
        Some(Command::Retry(args)) => bulk::run(Call::Retry, &args.call, args.rate, place).await,
        Some(Command::Delete(args)) => bulk::run(Call::Delete, args, None, place).await,
    }
}
