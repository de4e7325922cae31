//! The worker as the others see it: its name, and the heartbeat that keeps its leases.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use longshore_common::{
    settings::WorkerSettings,
    store::{
        Store,
        workers::{Registration, WorkerNumber},
    },
};
use tokio_util::sync::CancellationToken;

use crate::handler::Handlers;

/// Between two tries of a heartbeat while the database is away: short, since at its return every lease may be at its end.
const RETRY: Duration = Duration::from_millis(500);

/// This host's name; in a container that is the container's id.
pub(crate) fn host() -> String {
    longshore_common::program::host()
}

/// What this worker says of itself. Its name is new at every start.
pub(crate) fn registration(settings: &WorkerSettings, handlers: &Handlers) -> Registration {
    let host = host();
    // A name, not a time that anything is decided by.
    #[expect(clippy::disallowed_methods, reason = "only makes the name unique")]
    let start = Timestamp::now().as_millisecond();
    Registration {
        name: format!("{host}:{}:{start}", std::process::id()),
        host,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        queues: settings.queues.iter().map(ToString::to_string).collect(),
        kinds: handlers.kinds().map(ToString::to_string).collect(),
        lease: settings.lease,
    }
}

/// When this worker last looked for work. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Polled {
    start: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Polled {
    pub fn new() -> Self {
        Self { start: Instant::now(), last_ms: Arc::default() }
    }

    pub fn now(&self) {
        self.last_ms.store(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn ago(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }
}

/// Sends heartbeats until `stop`, four in a lease. Returns early where the worker was declared dead.
pub(crate) async fn beat(store: &Store, worker: WorkerNumber, lease: Duration, polled: &Polled, stop: &CancellationToken) {
    let period = (lease / 4).min(Duration::from_secs(10));
    let mut wait = period;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait.mul_f64(0.9 + fastrand::f64() / 10.0)) => {}
        }
        wait = match store.heartbeat(worker, polled.ago()).await {
            Ok(true) => period,
            Ok(false) => return,
            Err(error) => {
                if !error.is_unavailable() {
                    tracing::error!(error = longshore_common::log::chain(&error), "a heartbeat failed; trying again");
                }
                RETRY
            }
        };
    }
}
