//! What every program has around its role: settings, log, runtime, signals, exit codes. Small on purpose: the role is the
//! program.

use std::{error::Error, process::ExitCode};

use tokio_util::sync::CancellationToken;

use crate::{
    log,
    settings::{SettingError, Settings},
    store::migrate::MigrateError,
};

/// The version of all programs of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// This host's name; in a container that is the container's id.
pub fn host() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".to_owned())
}

/// What a program tells whoever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It could not do its work.
    Failed = 1,
    /// It was called wrongly, or a setting is wrong.
    Usage = 2,
    /// The schema is of a newer major version.
    SchemaTooNew = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that ends a program.
pub trait Failure: Error + 'static {
    /// The code with which the program exits.
    fn exit(&self) -> Exit;
}

impl Failure for SettingError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Failure for MigrateError {
    fn exit(&self) -> Exit {
        match self {
            Self::TooNew(_) => Exit::SchemaTooNew,
            Self::Store(_) | Self::OfAnother(_) | Self::Failed(_) => Exit::Failed,
        }
    }
}

/// A program of one role: no argument runs it, `health` asks a running one how it is.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// As it is called.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub about: &'static str,
}

impl Program {
    /// The whole `main` of a program: looks at the arguments, then runs the role or asks for its health.
    pub fn main<R: Failure, H: Failure>(
        self,
        run: impl AsyncFnOnce(&Settings, CancellationToken) -> Result<(), R>,
        health: impl AsyncFnOnce(&Settings) -> Result<(), H>,
    ) -> ExitCode {
        let arguments: Vec<String> = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => self.run(run),
            ["health"] => self.health(health),
            ["--version" | "-V"] => {
                println!("{} {VERSION}", self.name);
                ExitCode::SUCCESS
            }
            ["--help" | "-h" | "help"] => {
                println!("{}", self.usage());
                ExitCode::SUCCESS
            }
            _ => {
                eprintln!("{}: does not know \"{}\"\n{}", self.name, arguments.join(" "), self.usage());
                Exit::Usage.into()
            }
        }
    }

    /// Runs a role until it ends by itself or a signal stops it. The last line says why it failed, with all causes.
    pub fn run<E: Failure>(self, role: impl AsyncFnOnce(&Settings, CancellationToken) -> Result<(), E>) -> ExitCode {
        let settings = match Settings::load() {
            Ok(settings) => settings,
            Err(error) => return self.complain(&error),
        };
        // "longshore api" and longshore-api are the same to whoever looks at traces
        let _written_when_dropped = match log::start_with_traces(&settings, &self.name.replace(' ', "-"), log::Target::Stdout) {
            Ok(guard) => guard,
            Err(error) => return self.complain(&error),
        };
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return self.end(&error, Exit::Failed),
        };
        let result = runtime.block_on(async {
            let stop = match stop_on_signals() {
                Ok(stop) => stop,
                Err(error) => return Err(self.end(&error, Exit::Failed)),
            };
            role(&settings, stop).await.map_err(|error| match error.exit() {
                // known before anything was done: for the person who has just started it
                Exit::Usage => self.complain(&error),
                exit => self.end(&error, exit),
            })
        });
        // not its drop, which would wait for whatever a blocking thread is doing
        runtime.shutdown_background();
        result.err().unwrap_or(ExitCode::SUCCESS)
    }

    /// Asks a running program how it is: success where all is well.
    pub fn health<E: Failure>(self, ask: impl AsyncFnOnce(&Settings) -> Result<(), E>) -> ExitCode {
        let settings = match Settings::load() {
            Ok(settings) => settings,
            Err(error) => return self.complain(&error),
        };
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return self.end(&error, Exit::Failed),
        };
        let result = runtime.block_on(async {
            let result = ask(&settings).await;
            farewell().await;
            result
        });
        result.map_or_else(|error| self.complain(&error), |()| ExitCode::SUCCESS)
    }

    fn usage(self) -> String {
        format!("{}\n\nusage: {} [health | --version | --help]\n\nSettings: longshore.toml and LONGSHORE_… in the environment.", self.about, self.name)
    }

    /// For a person, before there is a log.
    fn complain(self, error: &impl Failure) -> ExitCode {
        eprintln!("{}: {}", self.name, log::chain(error));
        error.exit().into()
    }

    /// Into the log.
    fn end(self, error: &(dyn Error + 'static), exit: Exit) -> ExitCode {
        let causes = log::chain(error);
        tracing::error!("{} ends: {causes}", self.name);
        exit.into()
    }
}

/// Lets connections that nobody uses any more say goodbye before a short-lived program ends: where they are cut off
/// instead, PostgreSQL notes each as broken ("could not receive data from client"), a line for every probe.
pub async fn farewell() {
    let runtime = tokio::runtime::Handle::current();
    for _ in 0..20 {
        if runtime.metrics().num_alive_tasks() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// A token that SIGTERM or SIGINT cancels.
///
/// # Errors
/// Where the signals cannot be waited for.
pub fn stop_on_signals() -> std::io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal, "stopping");
        stopped.cancel();
    });
    Ok(stop)
}
