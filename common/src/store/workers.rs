//! Workers: one row a start, kept alive by its heartbeat.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Statement, Store, StoreError, claim::Lease, statement};

const REGISTER: Statement = statement!("register the worker", "workers/register.sql");
const HEARTBEAT: Statement = statement!("send a heartbeat", "workers/heartbeat.sql");
const HOLDS: Statement = statement!("read what the worker holds", "workers/holds.sql");
const STOP: Statement = statement!("sign the worker off", "workers/stop.sql");
const LIVE: Statement = statement!("list the workers", "workers/live.sql");
const HEARD_OF: Statement = statement!("look for this host's worker", "workers/heard_of.sql");

/// A worker's short number: valid from its registration until it stops or is declared dead, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkerNumber(pub(super) i32);

/// What a worker says of itself.
#[derive(Debug, Clone)]
pub struct Registration {
    /// `host:pid:start`, its id everywhere.
    pub name: String,
    /// The host it runs on.
    pub host: String,
    /// Version of its program.
    pub version: String,
    /// Queues it serves, with their slots, as in the settings.
    pub queues: Vec<String>,
    /// Kinds it has a handler for.
    pub kinds: Vec<String>,
    /// How long it may be silent.
    pub lease: Duration,
}

/// A live worker, as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerView {
    /// `host:pid:start`.
    pub id: String,
    /// The host it runs on.
    pub host: String,
    /// Version of its program.
    pub version: String,
    /// Queues it serves.
    pub queues: Vec<String>,
    /// Kinds it has a handler for.
    pub kinds: Vec<String>,
    /// Jobs it runs.
    pub running: i64,
    /// When it started.
    pub since: Timestamp,
    /// Its last heartbeat.
    pub last_seen: Timestamp,
    /// When it last looked for work.
    pub last_poll: Option<Timestamp>,
}

impl Store {
    /// Makes a worker known; jobs may be leased to it from now on.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn register_worker(&self, worker: &Registration) -> Result<WorkerNumber, StoreError> {
        let row = self.query_one(REGISTER, &[&worker.name, &worker.host, &worker.version, &worker.queues, &worker.kinds, &worker.lease.as_secs_f64()]).await?;
        Ok(WorkerNumber(row.get(0)))
    }

    /// Keeps all leases of a worker alive; `polled` is how long ago it last looked for work. False: it was declared dead,
    /// its jobs are no longer its own.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn heartbeat(&self, worker: WorkerNumber, polled: Duration) -> Result<bool, StoreError> {
        Ok(!self.query(HEARTBEAT, &[&worker.0, &polled.as_secs_f64()]).await?.is_empty())
    }

    /// All that is leased to a worker, as the database has it.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn held_by(&self, worker: WorkerNumber) -> Result<Vec<Lease>, StoreError> {
        Ok(self.query(HOLDS, &[&worker.0]).await?.iter().map(|row| Lease { id: row.get(0), lease: row.get(1) }).collect())
    }

    /// Nothing is leased to the worker any more. What it still holds comes back as lost.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn stop_worker(&self, worker: WorkerNumber) -> Result<(), StoreError> {
        self.query(STOP, &[&worker.0]).await.map(|_| ())
    }

    /// The workers that are alive.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn workers(&self) -> Result<Vec<WorkerView>, StoreError> {
        let rows = self.query(LIVE, &[]).await?;
        Ok(rows
            .iter()
            .map(|row| WorkerView {
                id: row.get(0),
                host: row.get(1),
                version: row.get(2),
                queues: row.get(3),
                kinds: row.get(4),
                running: row.get(5),
                since: row.get(6),
                last_seen: row.get(7),
                last_poll: row.get(8),
            })
            .collect())
    }

    /// Whether a worker on that host is alive.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn worker_alive_on(&self, host: &str) -> Result<bool, StoreError> {
        Ok(!self.query(HEARD_OF, &[&host]).await?.is_empty())
    }
}
