//! What can be typed. Each command's own file has its arguments and what it does.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    backend::Place,
    bench,
    command::{self, WrongUse},
    completions, dev, doctor, enqueue, jobs, keys, migrate, queues, roles, schedules, top, workers,
};

/// A durable job server whose only dependency is PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "longshore", version, about, after_help = AFTER_HELP, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    place: Place,
}

const AFTER_HELP: &str = "\
Without a command it does what `dev` does: everything in one process, nothing to install first.

Try it, in two terminals:
  longshore
  longshore enqueue echo '{\"hello\": \"world\"}' && longshore jobs

Commands that look at jobs ask the database: the one that LONGSHORE_DATABASE__URL names, else the one of a
`longshore dev` that runs on this machine. With --api URL, or LONGSHORE_CLIENT__URL, they ask an API, with
the API key in LONGSHORE_CLIENT__KEY (or in the file that LONGSHORE_CLIENT__KEY_FILE names).

Settings: defaults < longshore.toml < LONGSHORE_… in the environment. `longshore doctor` checks them.

Exit codes:
  0  done
  1  failed: the job, queue or schedule is not there, a call was refused, the database or the API is away
  2  wrong use, or a wrong setting: nothing was done
  3  the schema is newer than this program: nothing was done";

/// What the help of such a command says, and whoever names an API all the same.
const AT_DATABASE: &str = "It works on the database alone, never over HTTP: --api is not for it.";

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
    /// List, show, explain, tail, cancel, retry and delete jobs
    Jobs(jobs::Args),
    /// List queues, with how many jobs of each stand where; pause and resume one
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
    /// Watch queues, workers and jobs in the terminal
    Top(top::Args),
    /// Print what lets a shell complete commands and flags
    Completions(completions::Args),
}

impl Command {
    /// The name of one that no API can answer.
    fn at_database(&self) -> Option<&'static str> {
        match self {
            Self::Dev(_) => Some("dev"),
            Self::Api(_) => Some("api"),
            Self::Worker(_) => Some("worker"),
            Self::Migrate(_) => Some("migrate"),
            Self::Keys(_) => Some("keys"),
            Self::Doctor(_) => Some("doctor"),
            Self::Bench(_) => Some("bench"),
            Self::Enqueue(_) | Self::Jobs(_) | Self::Queues(_) | Self::Schedules(_) | Self::Workers(_) | Self::Top(_) | Self::Completions(_) => None,
        }
    }
}

/// All that can be typed: what is parsed, completed and documented.
pub fn command() -> clap::Command {
    const ALONE: [&str; 7] = ["dev", "api", "worker", "migrate", "keys", "doctor", "bench"];
    Cli::command().mut_subcommands(|command| {
        if !ALONE.contains(&command.get_name()) {
            return command;
        }
        let help = command.get_after_help().map_or_else(String::new, |help| format!("{help}\n\n"));
        command.after_help(help + AT_DATABASE)
    })
}

/// The whole program.
pub fn main() -> ExitCode {
    let matches = command().get_matches();
    let Cli { command, place } = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let command = command.unwrap_or_else(|| Command::Dev(dev::Args::default()));
    if let (Some(_), Some(name)) = (&place.api, command.at_database()) {
        return command::run(async || Err(WrongUse(format!("`longshore {name}`: {AT_DATABASE}")).into()));
    }
    match command {
        Command::Dev(args) => dev::main(args),
        Command::Api(args) => roles::api(&args),
        Command::Worker(args) => roles::worker(&args),
        Command::Migrate(args) => command::run(async || migrate::run(&args).await),
        Command::Enqueue(args) => command::run(async || enqueue::run(&args, &place).await),
        Command::Jobs(args) => command::run(async || jobs::run(&args, &place).await),
        Command::Queues(args) => command::run(async || queues::run(&args, &place).await),
        Command::Schedules(args) => command::run(async || schedules::run(&args, &place).await),
        Command::Workers(args) => command::run(async || workers::run(&args, &place).await),
        Command::Keys(args) => command::run(async || keys::run(&args).await),
        Command::Doctor(args) => command::run(async || doctor::run(&args).await),
        Command::Bench(args) => command::run(async || bench::run(&args).await),
        Command::Top(args) => command::run(async || top::run(&args, &place).await),
        Command::Completions(args) => command::run(async || completions::run(&args)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn those_that_work_on_the_database_alone_say_so() {
        for one in command().get_subcommands() {
            let says = one.get_after_help().is_some_and(|help| help.to_string().ends_with(AT_DATABASE));
            // what a command needs to be parsed is not asked for here
            let words = ["longshore", one.get_name()];
            let alone = Cli::try_parse_from(words).ok().and_then(|cli| cli.command).map_or(says, |command| command.at_database() == Some(one.get_name()));
            assert_eq!(says, alone, "{}", one.get_name());
        }
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
            "longshore --api http://127.0.0.1:1 jobs",
            "longshore jobs tail --api http://127.0.0.1:1 --queue a --job 7",
        ] {
            Cli::try_parse_from(line.split(' ')).expect(line);
        }
    }
}
