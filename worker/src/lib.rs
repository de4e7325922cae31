//! Longshore's worker: leases jobs, runs their handlers, records the outcomes.
//!
//! ```text
//! fetch: free slots → store.claim → running: a task an attempt → attempt: handler → Outcome → report: store.report
//! ```
//!
//! It does not know HTTP or SQL. Write a [`Handler`], put it into [`Handlers`], call [`run`].

mod attempt;
mod fetch;
pub mod handler;
pub mod handlers;
mod job_log;
mod notes;
mod presence;
mod report;
mod running;
mod slots;

use std::{sync::Arc, time::Duration};

use longshore_common::{
    duties,
    program::{Exit, Failure},
    settings::{SettingError, Settings},
    store::{
        Store, StoreError,
        listen::{Channel, Waker},
        migrate::SchemaState,
        until_available,
        workers::{Registration, WorkerNumber},
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use crate::handler::{Context, Handler, HandlerError, Handlers, NoteError};
use crate::{fetch::Fetcher, notes::Notebook, presence::Polled, report::Unreported, running::Running, slots::Slots};

/// Longest wait for one statement. Outcomes are tried again until they are stored, so this only bounds one try.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// What a stopping worker may spend on recording its last outcomes, beyond the grace of its jobs.
const LAST_REPORTS: Duration = Duration::from_secs(5);

/// Why a worker could not run.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A setting is wrong.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The database refused what a worker cannot do without.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The schema is of a newer major version.
    #[error("the schema has major version {0}, which this worker does not know: install a newer Longshore; nothing was changed")]
    SchemaTooNew(i32),
    /// A part of the worker that must not end has panicked; the panic is in the log above.
    #[error("the worker's {0} panicked, which is a fault in Longshore; its jobs come back after the lease time")]
    Panicked(&'static str),
    /// No worker of this host sends heartbeats.
    #[error("no worker on this host is alive: its last heartbeat is older than its lease, or it never sent one")]
    NotAlive,
}

impl Failure for WorkerError {
    fn exit(&self) -> Exit {
        match self {
            Self::Setting(_) => Exit::Usage,
            Self::SchemaTooNew(_) => Exit::SchemaTooNew,
            Self::Store(_) | Self::Panicked(_) | Self::NotAlive => Exit::Failed,
        }
    }
}

/// How one registration ended.
enum Ended {
    Stopped,
    DeclaredDead,
}

/// Works until `stop` is cancelled: then leases no more, lets running jobs finish for the grace period, hands the rest
/// back, and returns.
///
/// # Errors
/// [`WorkerError`]. That the database is away is not an error: it is waited for.
pub async fn run(settings: &Settings, handlers: Handlers, stop: CancellationToken) -> Result<(), WorkerError> {
    let store = Store::new(&settings.database, "longshore-worker", STATEMENT_TIMEOUT)?;
    let queues = settings.worker.queues.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let kinds = handlers.kinds().map(ToString::to_string).collect::<Vec<_>>().join(",");
    tracing::info!(version = env!("CARGO_PKG_VERSION"), queues, kinds, database = store.shown(), "longshore-worker starts");
    if !wait_for_schema(&store, &stop).await? {
        return Ok(());
    }
    let waker = Waker::start(&store);
    let duties = tokio::spawn(duties::run(store.clone(), waker.clone(), settings.worker.poll, stop.clone()));
    while !stop.is_cancelled() {
        let registration = presence::registration(&settings.worker, &handlers);
        let Some(worker) = until_available(&stop, || store.register_worker(&registration)).await else { break };
        match serve(settings, &store, &waker, &handlers, worker?, &registration, &stop).await? {
            Ended::Stopped => break,
            Ended::DeclaredDead => {}
        }
    }
    let _ = duties.await; // ends with `stop`; that it panicked was logged
    tracing::info!("stopped");
    Ok(())
}

/// What `longshore-worker health` asks: is a worker of this host alive?
///
/// # Errors
/// Where none is, a setting is wrong, or the database is away.
pub async fn health(settings: &Settings) -> Result<(), WorkerError> {
    let store = Store::new(&settings.database, "longshore-worker-health", Duration::from_secs(3))?;
    if store.worker_alive_on(&presence::host()).await? { Ok(()) } else { Err(WorkerError::NotAlive) }
}

/// False: stopped while waiting.
async fn wait_for_schema(store: &Store, stop: &CancellationToken) -> Result<bool, WorkerError> {
    let mut told = false;
    loop {
        let Some(schema) = until_available(stop, || store.schema()).await else { return Ok(false) };
        match schema? {
            SchemaState::Known => return Ok(true),
            SchemaState::TooNew { major } => return Err(WorkerError::SchemaTooNew(major)),
            SchemaState::Missing => {
                if !told {
                    tracing::info!("waiting for the schema: longshore-api makes it when it starts, or `longshore migrate`");
                    told = true;
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(false),
            () = tokio::time::sleep(Duration::from_millis(500).mul_f64(0.75 + fastrand::f64() / 2.0)) => {}
        }
    }
}

/// Works under one registration.
async fn serve(
    settings: &Settings,
    store: &Store,
    waker: &Waker,
    handlers: &Handlers,
    worker: WorkerNumber,
    registration: &Registration,
    stop: &CancellationToken,
) -> Result<Ended, WorkerError> {
    tracing::info!(worker = registration.name, "ready for work");
    let slots = Arc::new(Slots::new(&settings.worker.queues));
    let polled = Polled::new();
    let (reports, received) = mpsc::channel(slots.total().max(1000));
    let unreported = Unreported::default();
    let notebook = Notebook::new(store.clone());
    let running = Running::new(reports, unreported.clone(), notebook.clone());
    let give_up = CancellationToken::new();
    let write_until = CancellationToken::new();
    let _stop_writing = write_until.clone().drop_guard();
    tokio::spawn(notebook.clone().write(write_until));
    let reporter = tokio::spawn(report::run(store.clone(), waker.clone(), received, unreported, notebook, give_up.clone()));
    let (fetch_until, beat_until) = (stop.child_token(), CancellationToken::new());
    let fetcher = Fetcher {
        store: store.clone(),
        worker,
        handlers: handlers.clone(),
        slots,
        running: running.clone(),
        poll: settings.worker.poll,
        polled: polled.clone(),
    };
    let fetching = tokio::spawn(fetcher.run(store.listen(Channel::Work, fetch_until.clone()), fetch_until.clone()));

    let work = async {
        fetching.await.map_err(|_| WorkerError::Panicked("fetch loop"))?; // ends with `stop`, after the claim that is under way
        wind_down(&running, settings.worker.grace).await;
        Ok::<_, WorkerError>(Ended::Stopped)
    };
    let ended = tokio::select! {
        ended = work => ended?,
        () = presence::beat(store, worker, settings.worker.lease, &polled, &beat_until) => Ended::DeclaredDead,
        never = running.watch_for_stuck() => match never {},
        never = running.watch_for_cancelled(store, worker) => match never {},
    };
    fetch_until.cancel();
    if matches!(ended, Ended::DeclaredDead) {
        let lost = running.forget_all();
        tracing::warn!(
            worker = registration.name,
            jobs = lost,
            "this worker was not heard of in time and was declared dead; its jobs are stopped here, since others have them; starting anew"
        );
        give_up.cancel();
        drop(running);
        let _ = reporter.await;
        return Ok(ended);
    }
    // The last outcomes, and while they are on their way the heartbeats that keep their leases.
    drop(running);
    let last = async {
        tokio::select! {
            unstored = reporter => unstored.unwrap_or(0),
            () = async { tokio::time::sleep(LAST_REPORTS).await; give_up.cancel(); std::future::pending().await } => 0,
        }
    };
    let unstored = tokio::select! {
        unstored = last => unstored,
        () = presence::beat(store, worker, settings.worker.lease, &polled, &beat_until) => 0,
    };
    if unstored > 0 {
        tracing::warn!(outcomes = unstored, "the database is away, so the last outcomes could not be stored; these jobs run again after the lease time");
    }
    if let Err(error) = store.stop_worker(worker).await {
        tracing::warn!(error = longshore_common::log::chain(&error), "could not sign off; what was handed back is not affected");
    }
    Ok(ended)
}

/// Lets running jobs finish for the grace period, then hands the rest back.
async fn wind_down(running: &Running, grace: Duration) {
    let count = running.count();
    if count > 0 {
        tracing::info!(jobs = count, grace_s = grace.as_secs_f64(), "stopping: no more jobs are leased, running ones may finish");
    }
    if tokio::time::timeout(grace, running.idle()).await.is_err() {
        let handed_back = running.hand_back_all().await;
        tracing::info!(jobs = handed_back, "the grace period is over: the rest is handed back, uncounted, for others to run");
    }
}
