//! `longshore dev`: PostgreSQL, API and a worker in one process.

mod banner;
mod reset;

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use longshore_api::{RunningApi, StartError};
use longshore_common::{
    program::{Exit, Failure, Program},
    settings::{SettingError, Settings},
};
use longshore_worker::{WorkerError, handlers};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::private_postgres::{self, Options, PrivatePostgres, PrivatePostgresError, Purpose};

/// How often the parts are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// All in one process: PostgreSQL, the HTTP API and a worker, ready to use. Nothing is to be installed or set up first;
/// the data stay for the next time. Ctrl-C stops everything.
///
/// With `LONGSHORE_DATABASE__URL` set, that database is used and no PostgreSQL is started.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The folder of the private PostgreSQL [default: ~/.local/share/longshore/dev; root: /var/lib/longshore/dev]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// First forget all jobs: begin with an empty database
    #[arg(long, requires = "yes")]
    reset: bool,
    /// Yes, forget them
    #[arg(long, requires = "reset")]
    yes: bool,
}

const AFTER_HELP: &str = "\
Examples:
  longshore dev
  longshore dev --reset --yes                        begin anew
  LONGSHORE_API__LISTEN=127.0.0.1:9000 longshore     on another port";

/// Why it could not run, or did not go on.
#[derive(Debug, thiserror::Error)]
enum DevError {
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error("{0}")]
    WrongUse(String),
    #[error("cannot listen on {addr}: {why}; set LONGSHORE_API__LISTEN to another address, such as 127.0.0.1:{other}, or stop what listens there", other = addr.port().wrapping_add(1).max(1024))]
    Listen { addr: SocketAddr, why: std::io::Error },
    #[error(transparent)]
    Postgres(#[from] PrivatePostgresError),
    #[error(transparent)]
    Reset(#[from] reset::ResetError),
    #[error(transparent)]
    Start(StartError),
    #[error("the API ended")]
    Api(#[source] StartError),
    #[error("the worker ended")]
    Worker(#[source] WorkerError),
    #[error("a part of it panicked")]
    Panicked(#[from] JoinError),
}

impl Failure for DevError {
    fn exit(&self) -> Exit {
        match self {
            Self::Setting(_) | Self::WrongUse(_) | Self::Listen { .. } | Self::Reset(_) | Self::Postgres(PrivatePostgresError::InUse { .. }) => Exit::Usage,
            Self::Start(error) | Self::Api(error) => error.exit(),
            Self::Worker(error) => error.exit(),
            Self::Postgres(_) | Self::Panicked(_) => Exit::Failed,
        }
    }
}

/// Runs until a signal stops it.
pub fn main(args: Args) -> ExitCode {
    let program = Program { name: "longshore dev", about: "Longshore, all in one process." };
    program.run(async |settings, stop| run(args, settings.clone(), stop).await)
}

async fn run(args: Args, mut settings: Settings, stop: CancellationToken) -> Result<(), DevError> {
    if longshore_worker::runs_one_attempt() {
        let handlers = handlers::configured(&settings.worker)?;
        return longshore_worker::run(&settings, handlers, stop).await.map_err(DevError::Worker);
    }
    if settings.database.url.is_some() && (args.data.is_some() || args.reset) {
        return Err(DevError::WrongUse("LONGSHORE_DATABASE__URL is set, so there is no private PostgreSQL for --data or --reset to mean".to_owned()));
    }
    check_free(settings.api.listen)?;
    let postgres = match settings.database.url {
        Some(_) => None,
        None => Some(start_postgres(args).await?),
    };
    if let Some(postgres) = &postgres {
        settings.database.url = Some(postgres.url(private_postgres::DATABASE).into());
        settings.database.direct_url = None;
    }
    let result = serve(settings, postgres.as_ref(), &stop).await;
    if let Some(postgres) = postgres {
        tokio::task::spawn_blocking(|| postgres.stop()).await?;
    }
    result
}

/// Before anything else is started: the commonest of faults should be told at once.
fn check_free(addr: SocketAddr) -> Result<(), DevError> {
    TcpListener::bind(addr).map(drop).map_err(|why| DevError::Listen { addr, why })
}

async fn start_postgres(args: Args) -> Result<PrivatePostgres, DevError> {
    let no_home = || DevError::WrongUse("there is no home directory for the data; name a folder with --data".to_owned());
    let data = args.data.or_else(private_postgres::default_dev_dir).ok_or_else(no_home)?;
    let started = tokio::task::spawn_blocking(move || {
        if args.reset {
            reset::forget(&data)?;
        }
        Ok::<_, DevError>(PrivatePostgres::start(Options::new(data, Purpose::Dev))?)
    });
    started.await?
}

/// Runs API and worker until `stop`, or until a part of the whole ends; then ends the rest: first the worker, which has
/// outcomes to record, then the API.
async fn serve(mut settings: Settings, postgres: Option<&PrivatePostgres>, stop: &CancellationToken) -> Result<(), DevError> {
    let (stop_api, stop_worker) = (CancellationToken::new(), CancellationToken::new());
    let handlers = handlers::configured(&settings.worker)?;
    let api = longshore_api::start(&settings, stop_api.clone()).map_err(DevError::Start)?;
    settings.api.listen = api.address; // port 0 has become one
    let api = tokio::spawn(RunningApi::wait(api));
    let (worker_settings, worker_stop) = (settings.clone(), stop_worker.clone());
    let worker = tokio::spawn(async move { longshore_worker::run(&worker_settings, handlers, worker_stop).await });

    let ended = || api.is_finished() || worker.is_finished() || postgres.is_some_and(|postgres| postgres.failure().is_some());
    let mut greeted = false;
    while !stop.is_cancelled() && !ended() {
        if !greeted && longshore_api::health(&settings).await.is_ok() && longshore_worker::health(&settings).await.is_ok() {
            banner::print(&settings, postgres);
            greeted = true;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
    let failure = postgres.and_then(PrivatePostgres::failure);
    if failure.is_some() {
        tracing::error!("PostgreSQL ended; stopping"); // the last line says how
    }
    stop_worker.cancel();
    let worker = worker.await?;
    stop_api.cancel();
    let api = api.await?;
    failure.map_or(Ok(()), |error| Err(error.into())).and(api.map_err(DevError::Api)).and(worker.map_err(DevError::Worker))
}
