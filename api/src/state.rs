//! What all requests share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use longshore_common::store::{Store, StoreError, enqueue::Coalescer, listen::Waker, stats::Sample};
use tokio::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::{
    auth::Keys, body::Budget, feed::Feed, last::Last, live_queues::LiveQueues, metrics::ApiMetrics, problem::ApiError, pull::Pull,
    routes::database::DatabaseHealth, waiting::Waiting,
};

/// Bytes that the bodies of single jobs may take together.
const JOB_BODIES: usize = 64 * 1024 * 1024;
/// Bytes that the bodies of batches may take together: four of the largest.
const BATCH_BODIES: usize = 128 * 1024 * 1024;
/// Bytes that heartbeats, reports and requests for leases may take together: two of the largest. A budget of their own, since
/// leases end while one waits.
const LEASE_BODIES: usize = 64 * 1024 * 1024;
/// How old figures may become.
const STATS_REFRESH: Duration = Duration::from_secs(1);
/// How old the database's health may become.
const DATABASE_REFRESH: Duration = Duration::from_secs(5);
/// What is kept of a request's time limit for saying that the database did not answer within it.
const TO_SAY_SO: f64 = 0.9;

/// What all requests share.
#[derive(Debug)]
pub struct State {
    store: Store,
    coalescer: Coalescer,
    /// Tells workers of new jobs.
    pub waker: Waker,
    /// Which queues have a live worker.
    pub live_queues: LiveQueues,
    /// Requests that wait for jobs to end.
    pub waiting: Waiting,
    /// Users' own workers, which lease jobs.
    pub pull: Arc<Pull>,
    /// Events for those who watch.
    pub feed: Arc<Feed>,
    /// Figures for dashboards.
    pub stats: Last<Sample>,
    /// How the database is.
    pub database: Last<DatabaseHealth>,
    /// What is counted for Prometheus.
    pub metrics: Arc<ApiMetrics>,
    /// The API keys.
    pub keys: Arc<Keys>,
    /// For bodies of single jobs.
    pub job_bodies: Budget,
    /// For bodies of batches.
    pub batch_bodies: Budget,
    /// For bodies of heartbeats, reports and requests for leases.
    pub lease_bodies: Budget,
    schema_known: AtomicBool,
}

impl State {
    /// Starts what works in the background for requests. `stop` ends what would go on for long.
    pub fn new(store: Store, keys: Keys, stop: &CancellationToken) -> Self {
        Self {
            coalescer: Coalescer::start(&store),
            waker: Waker::start(&store),
            live_queues: LiveQueues::default(),
            waiting: Waiting::new(stop.clone()),
            pull: Arc::new(Pull::new(stop.clone())),
            feed: Arc::new(Feed::new(stop.clone())),
            stats: Last::within(STATS_REFRESH),
            database: Last::within(DATABASE_REFRESH),
            metrics: Arc::default(),
            keys: Arc::new(keys),
            job_bodies: Budget::of(JOB_BODIES),
            batch_bodies: Budget::of(BATCH_BODIES),
            lease_bodies: Budget::of(LEASE_BODIES),
            schema_known: AtomicBool::new(false),
            store,
        }
    }

    /// How long a statement may take where a request may take `timeout`.
    pub fn statement_timeout(timeout: Duration) -> Duration {
        timeout.mul_f64(TO_SAY_SO)
    }

    /// The store, for what needs no schema.
    pub fn bare_store(&self) -> &Store {
        &self.store
    }

    /// The store.
    ///
    /// # Errors
    /// [`ApiError::NoSchema`] until the schema is there.
    pub fn store(&self) -> Result<&Store, ApiError> {
        if self.knows_schema() { Ok(&self.store) } else { Err(ApiError::NoSchema) }
    }

    /// The way in for single jobs.
    ///
    /// # Errors
    /// [`ApiError::NoSchema`] until the schema is there.
    pub fn coalescer(&self) -> Result<&Coalescer, ApiError> {
        self.store().map(|_| &self.coalescer)
    }

    /// A job when it is `over`, or as it is when the time is up or the server stops; `None`: there is none (any more).
    ///
    /// # Errors
    /// Where too many wait, or the database is away.
    pub async fn when_ended<T, F: Future<Output = Result<Option<T>, StoreError>>>(
        &self,
        id: i64,
        wait: Duration,
        look: impl FnMut() -> F,
        over: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, ApiError> {
        let begun = self.waiting.begin(id)?;
        Ok(begun.until(Instant::now() + wait, look, |seen| seen.as_ref().is_none_or(&over)).await?)
    }

    /// Whether the schema has been seen.
    pub fn knows_schema(&self) -> bool {
        self.schema_known.load(Ordering::Relaxed)
    }

    /// The schema is there, and who may use it is known.
    pub fn open(&self) {
        self.schema_known.store(true, Ordering::Relaxed);
    }
}
