//! What can be typed. Each command's own file has its arguments and what it does.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{bench, command, dev, doctor, enqueue, jobs, keys, migrate, queues, roles, schedules, workers};

/// A durable job server whose only dependency is PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "longshore", version, about, after_help = AFTER_HELP, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "\
Without a command it does what `dev` does: everything in one process, nothing to install first.

Try it, in two terminals:
  longshore
  longshore enqueue echo '{\"hello\": \"world\"}' && longshore jobs

Commands that look at jobs talk to the database: the one that LONGSHORE_DATABASE__URL names, else the
one of a `longshore dev` that runs on this machine.

Settings: defaults < longshore.toml < LONGSHORE_… in the environment. `longshore doctor` checks them.
Exit codes: 0 done, 1 failed, 2 wrong use or setting, 3 the schema is newer than this program.";

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
enum Command {
    /// All in one process, for trying and developing: PostgreSQL, API and a worker
    Dev(dev::Args),
    /// The HTTP API, as longshore-api runs it
    Api(roles::Args),
    /// A worker, as longshore-worker runs it
    Worker(roles::Args),
    /// Bring the database's schema up to this version
    Migrate(migrate::Args),
    /// Enqueue a job, or a file of jobs
    Enqueue(enqueue::Args),
    /// List jobs, or show one
    Jobs(jobs::Args),
    /// List queues, with how many jobs of each stand where
    Queues(queues::Args),
    /// List schedules, show when one is due, enqueue its job now
    Schedules(schedules::Args),
    /// List the workers that are alive
    Workers(workers::Args),
    /// Create, list and revoke API keys
    Keys(keys::Args),
    /// Check settings, database, schema, clock and workers, and say what to do
    Doctor(doctor::Args),
    /// Measure this machine: throughput, latency, memory, CPU time a job
    Bench(bench::Args),
}

/// The whole program.
pub fn main() -> ExitCode {
    match Cli::parse().command.unwrap_or_else(|| Command::Dev(dev::Args::default())) {
        Command::Dev(args) => dev::main(args),
        Command::Api(args) => roles::api(&args),
        Command::Worker(args) => roles::worker(&args),
        Command::Migrate(args) => command::run(async || migrate::run(&args).await),
        Command::Enqueue(args) => command::run(async || enqueue::run(&args).await),
        Command::Jobs(args) => command::run(async || jobs::run(&args).await),
        Command::Queues(args) => command::run(async || queues::run(&args).await),
        Command::Schedules(args) => command::run(async || schedules::run(&args).await),
        Command::Workers(args) => command::run(async || workers::run(&args).await),
        Command::Keys(args) => command::run(async || keys::run(&args).await),
        Command::Doctor(args) => command::run(async || doctor::run(&args).await),
        Command::Bench(args) => command::run(async || bench::run(&args).await),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lists_need_no_word() {
        for line in [
            "longshore jobs",
            "longshore jobs list --state failed",
            "longshore jobs --state failed --json",
            "longshore queues list",
            "longshore schedules",
            "longshore schedules preview nightly -n 3",
            "longshore workers",
            "longshore keys",
            "longshore keys list --json",
        ] {
            Cli::try_parse_from(line.split(' ')).expect(line);
        }
    }
}
