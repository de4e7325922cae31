//! Transactions that others fill: a handler's own writes and the success of its job, together or not at all. And enqueuing
//! within a transaction that somebody else has opened.

use std::ops::Deref;

use tokio_postgres::{Client, GenericClient, Row, types::ToSql};

use super::{
    Connection, Statement, Store, StoreError,
    claim::Lease,
    enqueue::{Enqueued, Origin, Schema, enqueue_within_transaction},
    query_on, statement,
};
use crate::{
    job::{NewJob, Timeout, When},
    json::RawJson,
    outcome::Outcome,
};

const COMPLETE: Statement = statement!("complete a job in a transaction", "jobs/complete.sql");
const ENQUEUE_ON: Statement = statement!("enqueue a job in a transaction", "jobs/enqueue_on.sql");

/// What became of a success that was reported in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completed {
    /// All was committed.
    Done {
        /// Somebody waits for outcomes: say that the job has ended.
        watched: bool,
    },
    /// The lease is lost: all was rolled back.
    Stale,
}

/// An open transaction on a connection of the pool. Dropped, it is rolled back, at the price of the connection.
pub struct OpenTransaction {
    store: Store,
    connection: Connection,
}

impl std::fmt::Debug for OpenTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenTransaction({})", self.store.shown())
    }
}

/// The connection, for statements of one's own.
impl Deref for OpenTransaction {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.connection
    }
}

impl Store {
    /// Opens a transaction.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn begin(&self) -> Result<OpenTransaction, StoreError> {
        let connection = self
            .bounded("begin a transaction", async {
                let connection = self.connection("begin a transaction").await?;
                connection.batch_execute("begin").await.map_err(|error| StoreError::from_postgres("begin a transaction", &error))?;
                Ok(connection)
            })
            .await?;
        Ok(OpenTransaction { store: self.clone(), connection })
    }
}

impl OpenTransaction {
    /// Enqueues jobs: they are there when the transaction is committed.
    ///
    /// # Errors
    /// As those of [`Store::enqueue`]. The transaction is good for nothing more then.
    pub async fn enqueue(&self, jobs: &[NewJob], origin: &Origin) -> Result<Vec<Enqueued>, StoreError> {
        let names: Vec<_> = jobs.iter().map(|job| (&job.queue, &job.kind)).collect();
        let lanes = self.store.lanes_of(&names).await?;
        let enqueued = enqueue_within_transaction(&*self.connection, Schema::Own, &lanes, jobs, origin, None, None);
        self.store.bounded("enqueue jobs", enqueued).await
    }

    /// Reports the success of an attempt, and commits it with all that was done in the transaction.
    ///
    /// # Errors
    /// Where the database refuses it or is away. All is rolled back then, except that where it went away just now, it is not
    /// known whether it was committed: the lease tells, since it ends with the commit.
    pub async fn complete(self, lease: Lease, result: Option<RawJson>) -> Result<Completed, StoreError> {
        let Self { store, connection } = self;
        let result = Outcome::Succeeded { result }.result();
        let work = async {
            let completed = async {
                let rows = query_on(&*connection, COMPLETE, &[&lease.id, &lease.lease, &result]).await?;
                let watched: Option<bool> = rows.first().and_then(|row| row.get::<_, Option<&str>>(0).map(|_| row.get(1)));
                let end = if watched.is_some() { "commit" } else { "rollback" };
                connection.batch_execute(end).await.map_err(|error| StoreError::from_postgres("complete a job in a transaction", &error))?;
                Ok(watched.map_or(Completed::Stale, |watched| Completed::Done { watched }))
            };
            match completed.await {
                // nothing is going on there any more: it may go back to the pool
                Ok(completed) => connection.settle(Ok(completed)),
                Err(error) => Err(error),
            }
        };
        store.bounded("complete a job in a transaction", work).await
    }

    /// Runs one statement.
    pub(super) async fn query(&self, statement: Statement, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        self.store.bounded(statement.what, query_on(&*self.connection, statement, params)).await
    }

    /// Commits.
    ///
    /// # Errors
    /// Where the database is away: it is not known then whether it was committed.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        let Self { store, connection } = self;
        let work = async {
            let ended = connection.batch_execute("commit").await.map_err(|error| StoreError::from_postgres("commit a transaction", &error));
            connection.settle(ended)
        };
        store.bounded("commit a transaction", work).await
    }

    /// Takes all back, and keeps the connection for others.
    ///
    /// # Errors
    /// Where the database is away; all is rolled back then, too.
    pub async fn rollback(self) -> Result<(), StoreError> {
        let Self { store, connection } = self;
        let work = async {
            let ended = connection.batch_execute("rollback").await.map_err(|error| StoreError::from_postgres("roll back a transaction", &error));
            connection.settle(ended)
        };
        store.bounded("roll back a transaction", work).await
    }
}

/// Enqueues a job by `longshore.enqueue` on somebody else's connection, or within their transaction, and returns its id; that of
/// the standing job, where its unique key is held. Workers find it within their poll interval after the commit.
///
/// # Errors
/// What the database says; in a transaction, that is good for nothing more then.
pub async fn enqueue_on(client: &impl GenericClient, job: &NewJob) -> Result<i64, StoreError> {
    let run_at = if let When::At(time) = job.when { Some(time) } else { None };
    let delay_s = if let When::After(delay) = job.when { Some(delay.as_secs_f64()) } else { None };
    let timeout_s = match job.timeout {
        Timeout::OfQueue => Some(0.0),
        Timeout::Never => None,
        Timeout::After(length) => Some(length.as_secs_f64()),
    };
    let tags = (!job.tags.is_empty()).then_some(&job.tags);
    let retry = job.retry.as_ref().and_then(|retry| RawJson::from_value(retry).ok());
    let unique = job.unique.as_ref();
    let row = client
        .query_one(
            ENQUEUE_ON.text,
            &[
                &&*job.kind,
                &job.args,
                &&*job.queue,
                &job.priority.map(i32::from),
                &run_at,
                &delay_s,
                &job.expires_in.map(|length| length.as_secs_f64()),
                &job.max_attempts.map(i32::from),
                &timeout_s,
                &tags,
                &job.meta,
                &job.concurrency_key,
                &retry,
                &unique.map(|unique| &unique.key),
                &unique.and_then(|unique| unique.rule).map(crate::job::UniqueWhile::word),
                &unique.and_then(|unique| unique.lasts).map(|length| length.as_secs_f64()),
                &unique.map(|unique| unique.on_conflict.word()),
            ],
        )
        .await
        .map_err(|error| StoreError::from_postgres(ENQUEUE_ON.what, &error))?;
    row.try_get(0).map_err(|error| StoreError::from_postgres(ENQUEUE_ON.what, &error))
}
