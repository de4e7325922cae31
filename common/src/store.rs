//! The store: every SQL statement, and nothing but. Statements lie in `sql/`, one a file; functions and views, which
//! hold the transitions, in `sql/routines`.
//!
//! It does not know HTTP or handlers, and decides nothing by a clock of its own: what is due or expired is the
//! database's word.

mod away;
pub mod bench;
pub mod bulk;
pub mod claim;
pub mod connect;
pub mod control;
pub mod directory;
mod doctor;
pub mod enqueue;
mod error;
pub mod events;
pub mod explain;
pub mod failures;
mod filter;
mod health;
pub mod keys;
pub mod leases;
pub mod listen;
pub mod migrate;
pub mod notes;
pub mod once;
pub mod queues;
pub mod read;
pub mod report;
pub mod schedules;
pub mod stats;
pub mod transaction;
pub mod upkeep;
pub mod watch;
pub mod workers;
pub mod workflows;

use std::{
    future::Future,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_postgres::{Object, Pool};
use tokio_postgres::{
    Row,
    types::{FromSql, ToSql},
};

pub use self::{
    away::{Away, Cause},
    error::StoreError,
};
use self::{connect::Target, directory::Directory, health::Health, schedules::Unreadable};
use crate::settings::{DatabaseSettings, SettingError};

/// A statement with the name it is known by in messages; the text bears the same name for `pg_stat_activity`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement {
    what: &'static str,
    text: &'static str,
}

/// `statement!("enqueue jobs", "jobs/enqueue.sql")`
macro_rules! statement {
    ($what:literal, $file:literal) => {
        $crate::store::Statement { what: $what, text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/sql/", $file)) }
    };
}
pub(crate) use statement;

/// PostgreSQL, as Longshore uses it. Cheap to clone; connects when it is first used.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    pool: Pool,
    direct: Target,
    shown: String,
    timeout: Duration,
    directory: Directory,
    health: Health,
    unreadable: Unreadable,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.0.shown)
    }
}

impl Store {
    /// A store on the database that the settings name. Its connections live on the runtime where this is called. `timeout` bounds every statement; `program` is what
    /// `pg_stat_activity` calls its connections.
    ///
    /// # Errors
    /// Where the URL is missing or TLS cannot be set up. That the database is away is found when it is used.
    pub fn new(settings: &DatabaseSettings, program: &str, timeout: Duration) -> Result<Self, SettingError> {
        let url = settings.required_url()?;
        let target = Target::from_setting(url, program)?;
        let direct = match &settings.direct_url {
            Some(url) => Target::from_setting(url, program)?,
            None => target.clone(),
        };
        Ok(Self(Arc::new(Inner {
            pool: target.pool(settings, timeout)?,
            shown: target.shown(),
            direct,
            timeout,
            directory: Directory::default(),
            health: Health::new(),
            unreadable: Unreadable::default(),
        })))
    }

    /// Host, port and database, for messages.
    pub fn shown(&self) -> &str {
        &self.0.shown
    }

    /// Whether the database answers, and takes writes.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let what = "ask the database for a sign of life";
        if self.query_one(statement!("ask the database for a sign of life", "schema/ping.sql"), &[]).await?.get("read_only") {
            return Err(StoreError::Unavailable { what, source: Away::new(Cause::ReadOnly, "it takes no writes (transaction_read_only)") });
        }
        Ok(())
    }

    /// Runs one statement.
    async fn query(&self, statement: Statement, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        self.bounded(statement.what, async {
            let connection = self.connection(statement.what).await?;
            let rows = query_on(&*connection, statement, params).await;
            connection.settle(rows)
        })
        .await
    }

    /// Runs one statement that gives one row.
    async fn query_one(&self, statement: Statement, params: &[&(dyn ToSql + Sync)]) -> Result<Row, StoreError> {
        let rows = self.query(statement, params).await?;
        rows.into_iter().next().ok_or_else(|| StoreError::Corrupt { table: "the answer", id: 0, why: format!("no row came back from: {}", statement.what) })
    }

    /// A connection from the pool. It is closed unless [`Connection::settle`] gives it back.
    async fn connection(&self, what: &'static str) -> Result<Connection, StoreError> {
        let object = self.0.pool.get().await.map_err(|error| StoreError::from_pool(what, &error))?;
        Ok(Connection(Some(object)))
    }

    /// Bounds some work with the database by the store's timeout, and notes whether the database is there.
    async fn bounded<T>(&self, what: &'static str, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let began = Instant::now();
        let result = tokio::time::timeout(self.0.timeout, work).await;
        self.saw(began, result.unwrap_or(Err(StoreError::Unavailable { what, source: Away::silent(self.0.timeout) })))
    }

    /// How long the database has been back after it was away; `None` where it never was, as far as this process knows.
    pub fn back_for(&self) -> Option<Duration> {
        self.0.health.back_for()
    }

    /// Whether the database is there, as far as this process knows.
    pub fn is_there(&self) -> bool {
        !self.0.health.is_away()
    }

    /// The pool's connections.
    pub fn connections(&self) -> Connections {
        let status = self.0.pool.status();
        Connections { used: status.size.saturating_sub(status.available), idle: status.available, max: status.max_size, waiting: status.waiting }
    }

    /// Notes whether the database is there, and says so when that changes.
    fn saw<T>(&self, began: Instant, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            // who says that something is locked is there
            Err(error @ StoreError::Unavailable { source, .. }) if !error.is_locked() => self.0.health.went(&self.0.shown, began, error, source),
            _ => self.0.health.came(&self.0.shown),
        }
        result
    }
}

/// Connections of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// At work.
    pub used: usize,
    /// Open, and not at work.
    pub idle: usize,
    /// At most.
    pub max: usize,
    /// Who waits for one.
    pub waiting: usize,
}

/// A connection that is at work. Whoever drops it in the middle (a timeout, a caller that has gone) leaves something going
/// on there, which the next user would wait for: so it is closed then.
struct Connection(Option<Object>);

impl Connection {
    /// The work is done: the connection goes back to the pool, unless it seems to be broken.
    fn settle<T>(mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if !result.as_ref().is_err_and(|error| error.is_unavailable() && !error.is_locked()) {
            self.0 = None; // an Object returns to its pool when dropped
        }
        result
    }
}

impl Deref for Connection {
    type Target = Object;
    fn deref(&self) -> &Object {
        self.0.as_ref().expect("taken only by settle and drop")
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Object {
        self.0.as_mut().expect("taken only by settle and drop")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}

/// How often something that met another transaction (a deadlock, a serialization failure) is done again.
struct Collisions(u8);

impl Collisions {
    fn none() -> Self {
        Self(0)
    }

    /// Whether to do it again after this error.
    fn again(&mut self, error: &StoreError) -> bool {
        self.0 += 1;
        error.is_collision() && self.0 <= 3
    }
}

async fn query_on<C: deadpool_postgres::GenericClient>(connection: &C, statement: Statement, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
    let failed = |error: tokio_postgres::Error| StoreError::from_postgres(statement.what, &error);
    let prepared = connection.prepare_cached(statement.text).await.map_err(failed)?;
    connection.query(&prepared, params).await.map_err(failed)
}

/// Reads a column. One that does not fit its type is a [`StoreError::Corrupt`], never a panic: people may change tables by
/// hand.
fn field<'a, T: FromSql<'a>>(row: &'a Row, column: &str, table: &'static str, id: i64) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| StoreError::Corrupt { table, id, why: crate::log::chain(&error) })
}

/// Calls `future` until it succeeds or `stop` is over; waits between, longer each time up to 2 s, with jitter.
pub async fn until_available<T, F: Future<Output = Result<T, StoreError>>>(
    stop: &tokio_util::sync::CancellationToken,
    mut call: impl FnMut() -> F,
) -> Option<Result<T, StoreError>> {
    let mut wait = Duration::from_millis(100);
    loop {
        match call().await {
            Err(error) if error.is_unavailable() => {}
            result => return Some(result),
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(wait.mul_f64(0.75 + fastrand::f64() / 2.0)) => {}
        }
        wait = (wait * 2).min(Duration::from_secs(2));
    }
}
