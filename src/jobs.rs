//! `longshore jobs`

mod list;
mod show;

use std::process::ExitCode;

use clap::Subcommand;

/// Lists jobs, newest first, or shows one with its history.
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
  longshore jobs show 42                             one job, with every attempt";

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
enum Command {
    /// List jobs, which is what happens without a word too
    List(list::ListArgs),
    /// Show one job: its fields, args, result and attempts
    Show(show::ShowArgs),
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        None => list::run(&args.list).await,
        Some(Command::List(args)) => list::run(args).await,
        Some(Command::Show(args)) => show::run(args).await,
    }
}
