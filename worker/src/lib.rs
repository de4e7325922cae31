//! Longshore's worker: leases jobs, runs their handlers, records the outcomes.
//!
//! A worker of your own, in a program of your own:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use longshore_worker::{Context, Handler, HandlerError, Handlers, Kind, program::Program};
//!
//! struct Greet;
//!
//! impl Handler for Greet {
//!     type Args = String;
//!     type Output = String;
//!
//!     async fn handle(&self, name: String, _: Context) -> Result<String, HandlerError> {
//!         Ok(format!("Good morning, {name}"))
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     let handlers = Handlers::new().with(Kind::new("greet").expect("a kind"), Greet);
//!     Program { name: "greeter", about: "Greets." }.run(async |settings, stop| longshore_worker::run(settings, handlers, stop).await)
//! }
//! ```
//!
//! [`Program`](program::Program) reads the settings (`longshore.toml`, `LONGSHORE_…`), starts the log, and stops on SIGTERM and
//! SIGINT. A program that has all that calls [`run`] on its own runtime: with [`Settings::load`] and a [`CancellationToken`].
//!
//! What a handler can do is in [`Context`]: progress, checkpoints, logs, cancellation; jobs that follow ([`Context::enqueue`]), and
//! writes that are committed with the job's success ([`Context::transaction`]). [`enqueue`] enqueues within a transaction of
//! any program, and [`testing`] runs a handler without a server.
//!
//! How it works:
//!
//! ```text
//! fetch: free slots → store.claim → running: a task an attempt → attempt: handler → Outcome → report: store.report
//! ```
//!
//! It does not know HTTP or SQL.

mod apart;
mod attempt;
mod death;
mod fetch;
pub mod handler;
pub mod handlers;
pub mod job;
mod job_log;
pub mod metrics;
mod notes;
mod presence;
mod probe;
mod report;
mod running;
mod slots;
mod span;
pub mod testing;

use std::{io, net::SocketAddr, sync::Arc, thread, time::Duration};

use longshore_common::{
    duties,
    program::{Exit, Failure},
    settings::SettingError,
    store::{
        Store, StoreError,
        listen::{Channel, Waker},
        migrate::SchemaState,
        until_available,
        workers::{Registration, WorkerNumber},
    },
};
pub use longshore_common::{
    job::{Backoff, Kind, OnConflict, UniqueWhile},
    json::RawJson,
    outcome::Outcome,
    postgres, program,
    settings::Settings,
};
use tokio::{
    runtime::{self, Handle},
    sync::{mpsc, oneshot},
};
pub use tokio_util::sync::CancellationToken;

use crate::{
    apart::Apart,
    fetch::Fetcher,
    handler::desk::{Database, Desk},
    metrics::WorkerMetrics,
    notes::Notebook,
    presence::Polled,
    probe::Probe,
    report::{Reporter, Unreported},
    running::{Ground, Running},
    slots::Slots,
};
pub use crate::{
    apart::runs_one_attempt,
    handler::{Context, Handler, HandlerError, Handlers, NoteError, Transaction, TransactionError},
    job::{EnqueueError, Job, enqueue},
};

/// Longest wait for one statement. Outcomes are tried again until they are stored, so this only bounds one try.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// What a stopping worker may spend on recording its last outcomes, beyond the grace of its jobs.
const LAST_REPORTS: Duration = Duration::from_secs(5);

/// What a stopping worker waits for programs that its handlers have started, which it has told to end.
const TO_SETTLE: Duration = Duration::from_secs(5);

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
    /// The thread that leases and reports could not be started.
    #[error("the worker's own thread could not be started")]
    Thread(#[source] io::Error),
    /// Nobody may listen there, or somebody does.
    #[error("cannot listen on {address} (LONGSHORE_WORKER__LISTEN)")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// In a process that was started to run one attempt: the line to its worker is broken.
    #[error("this process was to run one attempt for a worker, which does not answer")]
    Apart(#[source] io::Error),
    /// No worker of this host sends heartbeats.
    #[error("no worker on this host is alive: its last heartbeat is older than its lease, or it never sent one")]
    NotAlive,
}

impl Failure for WorkerError {
    fn exit(&self) -> Exit {
        match self {
            Self::Setting(_) => Exit::Usage,
            Self::SchemaTooNew(_) => Exit::SchemaTooNew,
            Self::Store(_) | Self::Panicked(_) | Self::Thread(_) | Self::Listen { .. } | Self::Apart(_) | Self::NotAlive => Exit::Failed,
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
/// Handlers run where this is called: on the caller's runtime, which should have several threads. All else (leasing, heartbeats,
/// reports, the connections to PostgreSQL) has a thread of its own, so that a handler that blocks its thread holds up nothing.
///
/// A job that was running when two workers in a row died is run in a process of its own: this program is started again with the
/// same arguments, and this function then runs that one attempt and returns. What a program does before it calls this, such a
/// process does, too; [`runs_one_attempt`] tells it.
///
/// # Errors
/// [`WorkerError`]. That the database is away is not an error: it is waited for.
pub async fn run(settings: &Settings, handlers: Handlers, stop: CancellationToken) -> Result<(), WorkerError> {
    if runs_one_attempt() {
        return apart::attempt(&handlers).await;
    }
    // stops the thread, too, where this future is dropped
    let stop = stop.child_token();
    let _stopped = stop.clone().drop_guard();
    let (settings, handlers_run_on, ended) = (settings.clone(), Handle::current(), oneshot::channel());
    let work = move || {
        let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(ended.0.send(Err(WorkerError::Thread(error)))),
        };
        let result = runtime.block_on(work(&settings, &handlers, handlers_run_on, stop));
        runtime.shutdown_background();
        drop(handlers); // with the folders that they hold: the program may end as soon as it hears
        let _ = ended.0.send(result); // whoever has dropped the future does not want it
    };
    thread::Builder::new().name("longshore-worker".to_owned()).spawn(work).map_err(WorkerError::Thread)?;
    ended.1.await.unwrap_or(Err(WorkerError::Panicked("own thread")))
}

async fn work(settings: &Settings, handlers: &Handlers, handlers_run_on: Handle, stop: CancellationToken) -> Result<(), WorkerError> {
    let store = Store::new(&settings.database, "longshore-worker", STATEMENT_TIMEOUT)?;
    let queues = settings.worker.queues.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let kinds = handlers.kinds().map(ToString::to_string).collect::<Vec<_>>().join(",");
    tracing::info!(version = env!("CARGO_PKG_VERSION"), queues, kinds, database = store.shown(), "longshore-worker starts");
    let metrics = WorkerMetrics::new();
    if let Some(address) = settings.worker.listen {
        let listener = probe::listen(address).await.map_err(|source| WorkerError::Listen { address, source })?;
        tokio::spawn(Probe { store: store.clone(), metrics: metrics.clone() }.serve(listener, stop.clone()));
    }
    if !wait_for_schema(&store, &stop).await? {
        return Ok(());
    }
    let waker = Waker::start(&store);
    let database = Database::new(store.clone(), waker.clone(), settings.database.pool);
    let worker = Worker { settings, store: &store, waker: &waker, handlers, handlers_run_on, database, metrics };
    let duties = tokio::spawn(duties::run(store.clone(), waker.clone(), settings.worker.poll, stop.clone()));
    while !stop.is_cancelled() {
        let registration = presence::registration(&settings.worker, handlers);
        let Some(number) = until_available(&stop, || store.register_worker(&registration)).await else { break };
        match worker.serve(number?, &registration, &stop).await? {
            Ended::Stopped => break,
            Ended::DeclaredDead => {}
        }
    }
    settled(handlers).await;
    let _ = duties.await; // ends with `stop`; that it panicked was logged
    tracing::info!("stopped");
    Ok(())
}

/// What stays the same from one registration to the next.
struct Worker<'a> {
    settings: &'a Settings,
    store: &'a Store,
    waker: &'a Waker,
    handlers: &'a Handlers,
    handlers_run_on: Handle,
    database: Database,
    metrics: WorkerMetrics,
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

impl Worker<'_> {
    /// Works under one registration.
    async fn serve(&self, worker: WorkerNumber, registration: &Registration, stop: &CancellationToken) -> Result<Ended, WorkerError> {
        let Self { settings, store, waker, handlers, .. } = *self;
        tracing::info!(worker = registration.name, "ready for work");
        let slots = Arc::new(Slots::new(&settings.worker.queues, handlers.limits()));
        let polled = Polled::new();
        let (reports, received) = mpsc::channel(slots.total().max(1000));
        let unreported = Unreported::default();
        let notebook = Notebook::new(store.clone());
        let ground = Ground {
            handlers: self.handlers_run_on.clone(),
            desk: Desk::Worker { notebook: notebook.clone(), database: self.database.clone() },
            apart: Arc::new(Apart(Arc::new(settings.database.clone()))),
        };
        let running = Running::new(reports, unreported.clone(), ground);
        self.metrics.watch(slots.clone(), running.watched());
        let give_up = CancellationToken::new();
        let write_until = CancellationToken::new();
        let _stop_writing = write_until.clone().drop_guard();
        tokio::spawn(notebook.clone().write(write_until));
        let reporter = Reporter { store: store.clone(), waker: waker.clone(), slots: slots.clone(), unreported, notebook, metrics: self.metrics.clone() };
        let reporter = tokio::spawn(reporter.run(received, give_up.clone()));
        let (fetch_until, beat_until) = (stop.child_token(), CancellationToken::new());
        let fetcher = Fetcher {
            store: store.clone(),
            worker,
            handlers: handlers.clone(),
            slots,
            running: running.clone(),
            poll: settings.worker.poll,
            polled: polled.clone(),
            metrics: self.metrics.clone(),
        };
        let fetching = tokio::spawn(fetcher.run(store.listen(Channel::Work, fetch_until.clone()), fetch_until.clone()));

        let work = async {
            fetching.await.map_err(|_| WorkerError::Panicked("fetch loop"))?; // ends with `stop`, after the claim that is under way
            wind_down(&running, self.handlers, settings.worker.grace).await;
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
            tracing::warn!(outcomes = unstored, "the last outcomes could not be stored in time; these jobs run again after the lease time");
        }
        if let Err(error) = store.stop_worker(worker).await {
            tracing::warn!(error = longshore_common::log::chain(&error), "could not sign off; what was handed back is not affected");
        }
        Ok(ended)
    }
}

/// Waits until what handlers have started is at its end, for a while.
async fn settled(handlers: &Handlers) {
    if tokio::time::timeout(TO_SETTLE, handlers.settled()).await.is_err() {
        tracing::warn!("what handlers had started outside of this program is not at its end yet; it is killed with this program where the system can do so");
    }
}

/// Lets running jobs finish for the grace period, then hands the rest back.
async fn wind_down(running: &Running, handlers: &Handlers, grace: Duration) {
    let count = running.count();
    if count > 0 {
        tracing::info!(jobs = count, grace_s = grace.as_secs_f64(), "stopping: no more jobs are leased, running ones may finish");
    }
    if tokio::time::timeout(grace, running.idle()).await.is_err() {
        let handed_back = running.hand_back_all(settled(handlers)).await;
        tracing::info!(jobs = handed_back, "the grace period is over: the rest is handed back, uncounted, for others to run");
    }
}

/// The guide, of which `cargo test` runs the examples.
#[cfg(doctest)]
#[doc = include_str!("../../docs/handlers/rust.md")]
struct Guide;
