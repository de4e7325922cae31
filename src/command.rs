//! The shell of a command that does one thing and ends: a runtime, a quiet log, errors as a line and an exit code.

use std::process::ExitCode;

use longshore_common::{
    log::{self, Target},
    program::{Exit, Failure, farewell},
    settings::{SettingError, Settings},
    store::migrate::MigrateError,
};

use crate::output;

/// What a command says in its log unless `LONGSHORE_LOG` is set: its own error line tells the rest.
const QUIET: &str = "error,longshore_common::store=off,longshore_common::store::migrate=warn";

/// The command was called wrongly.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUse(pub String);

/// The schema is of a newer major version.
#[derive(Debug, thiserror::Error)]
#[error("the schema has major version {0}, which this program does not know: install a newer Longshore; nothing was changed")]
pub struct SchemaTooNew(pub i32);

/// Runs a command to its end.
pub fn run(work: impl AsyncFnOnce() -> anyhow::Result<ExitCode>) -> ExitCode {
    // one thread: a command waits more than it works, and the bench must leave the processors to the others
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error.into()),
    };
    let result = runtime.block_on(async {
        let result = work().await;
        farewell().await;
        result
    });
    // not its drop, which would wait for a read of a terminal that nobody types into
    runtime.shutdown_background();
    result.unwrap_or_else(|error| complain(&error))
}

/// The settings, and a log on stderr for as long as the program runs.
pub fn settings() -> Result<Settings, SettingError> {
    let mut settings = Settings::load()?;
    if settings.log.filter == "info" {
        QUIET.clone_into(&mut settings.log.filter);
    }
    std::mem::forget(log::start(&settings.log, Target::Stderr)); // its thread writes until the program ends
    Ok(settings)
}

fn complain(error: &anyhow::Error) -> ExitCode {
    eprintln!("longshore: {}", output::harmless(&format!("{error:#}")));
    exit(error).into()
}

fn exit(error: &anyhow::Error) -> Exit {
    if error.chain().any(|cause| cause.downcast_ref::<SchemaTooNew>().is_some()) {
        Exit::SchemaTooNew
    } else if error.chain().any(|cause| cause.is::<WrongUse>() || cause.is::<SettingError>()) {
        Exit::Usage
    } else {
        error.downcast_ref::<MigrateError>().map_or(Exit::Failed, Failure::exit)
    }
}
