//! `longshore api` and `longshore worker`: the roles, as their own programs run them.

use std::process::ExitCode;

use clap::Subcommand;
use longshore_common::program::Program;
use longshore_worker::handlers;

const API: Program = Program { name: "longshore api", about: "Longshore's HTTP API." };
const WORKER: Program = Program { name: "longshore worker", about: "Longshore's worker." };

/// Runs the role until a signal stops it. It is set up by longshore.toml and LONGSHORE_… in the environment.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    question: Option<Question>,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Exit with 0 if one is up and well, else with 1
    Health,
}

/// Runs the API, or asks the running one how it is.
pub fn api(args: &Args) -> ExitCode {
    match args.question {
        None => API.run(async |settings, stop| longshore_api::run(settings, stop).await),
        Some(Question::Health) => API.health(async |settings| longshore_api::health(settings).await),
    }
}

/// Runs a worker, or asks for the running one.
pub fn worker(args: &Args) -> ExitCode {
    match args.question {
        None => WORKER.run(async |settings, stop| longshore_worker::run(settings, handlers::configured(&settings.worker)?, stop).await),
        Some(Question::Health) => WORKER.health(async |settings| longshore_worker::health(settings).await),
    }
}
