//! `longshore jobs`

mod control;
mod list;
mod show;

use std::process::ExitCode;

use clap::Subcommand;

use self::control::Asked;

/// Lists jobs, newest first; shows and explains one; cancels, retries, deletes.
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
  longshore jobs explain 42                          why it is not running
  longshore jobs retry 42 43                         and cancel, delete";

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
enum Command {
    /// List jobs, which is what happens without a word too
    List(list::ListArgs),
    /// Show one job: its fields, args, result and attempts
    Show(show::ShowArgs),
    /// Say why a job is not running, and what would change it
    Explain(control::ExplainArgs),
    /// Cancel jobs: at once where they wait; where they run, their workers stop them
    Cancel(control::ControlArgs),
    /// Make finished and retryable jobs available, with one more attempt
    Retry(control::ControlArgs),
    /// Forget jobs that do not run
    Delete(control::ControlArgs),
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        None => list::run(&args.list).await,
        Some(Command::List(args)) => list::run(args).await,
        Some(Command::Show(args)) => show::run(args).await,
        Some(Command::Explain(args)) => control::explain(args).await,
        Some(Command::Cancel(args)) => control::run(Asked::Cancel, args).await,
        Some(Command::Retry(args)) => control::run(Asked::Retry, args).await,
        Some(Command::Delete(args)) => control::run(Asked::Delete, args).await,
    }
}
