//! A handler's own transaction: its writes, the jobs it enqueues and the success of its job, together or not at all.

use std::{collections::BTreeSet, ops::Deref};

use longshore_common::{
    job::QueueName,
    json::RawJson,
    postgres::Client,
    store::{
        StoreError,
        enqueue::Enqueued,
        transaction::{Completed, OpenTransaction},
        until_available,
    },
};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::{Context, desk::Database};
use crate::job::{EnqueueError, Job};

/// A transaction of an attempt, from [`Context::transaction`]. It is a client of PostgreSQL ([`crate::postgres`]) for
/// statements of your own; do not `commit` by one of them. Dropped, or where its attempt ends before
/// [`complete`](Self::complete), it is rolled back.
///
/// A statement may take 30 s, and wait 10 s for a lock. Behind a pooler that does not carry prepared statements over, use
/// `query_typed` and `execute_typed`.
///
/// ```
/// use longshore_worker::{Context, Handler, HandlerError, Job};
///
/// /// Moves money once, however often it runs: the transfer and the job's success are committed together.
/// struct Transfer;
///
/// impl Handler for Transfer {
///     type Args = (i64, i64, i64);
///     type Output = ();
///
///     async fn handle(&self, (from, to, cents): (i64, i64, i64), context: Context) -> Result<(), HandlerError> {
///         let mut transaction = context.transaction().await?;
///         transaction.execute("update accounts set cents = cents - $1 where id = $2", &[&cents, &from]).await?;
///         transaction.execute("update accounts set cents = cents + $1 where id = $2", &[&cents, &to]).await?;
///         transaction.enqueue(&Job::new("send_receipt", (from, cents))).await?;
///         transaction.complete(()).await?;
///         Ok(())
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Transaction {
    open: OpenTransaction,
    context: Context,
    database: Database,
    /// Queues that get work by the commit.
    queues: BTreeSet<QueueName>,
    _permit: OwnedSemaphorePermit,
}

/// Why a transaction could not be opened, or was not committed.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// The handler runs in a trial ([`testing`](crate::testing)), which has no database.
    #[error("there is no database here: a trial has none")]
    NoDatabase,
    /// The attempt was cancelled before there was a connection.
    #[error("the attempt was cancelled before its transaction was opened")]
    Cancelled,
    /// The lease is lost: the job was given to another worker, or has ended. All was rolled back.
    #[error("the lease of this attempt is lost: all that was done in its transaction was rolled back")]
    Stale,
    /// The result cannot be written as JSON. All was rolled back.
    #[error("the result is not JSON")]
    Result(#[source] longshore_common::json::Error),
    /// The database refused, or went away: then it is not known whether it was committed, and the next attempt, if there is one,
    /// has to bear both.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Deref for Transaction {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.open
    }
}

impl Transaction {
    pub(super) async fn begin(context: &Context) -> Result<Self, TransactionError> {
        let database = context.desk.database().ok_or(TransactionError::NoDatabase)?;
        let permit = tokio::select! {
            permit = database.transactions.clone().acquire_owned() => permit.map_err(|_| TransactionError::Cancelled)?, // it is never closed
            () = context.cancellation.cancelled() => return Err(TransactionError::Cancelled),
        };
        let open = until_available(&context.cancellation, || database.store.begin()).await.ok_or(TransactionError::Cancelled)??;
        Ok(Self { open, context: context.clone(), database: database.clone(), queues: BTreeSet::new(), _permit: permit })
    }

    /// Enqueues a job, which is there when the transaction is committed, and returns its id; that of the job that holds its
    /// unique key.
    ///
    /// # Errors
    /// Where the job breaks a rule: nothing has happened then. Where the database refuses it or is away: the transaction is good
    /// for nothing more.
    pub async fn enqueue(&mut self, job: &Job) -> Result<i64, EnqueueError> {
        let job = job.check()?;
        let enqueued = self.open.enqueue(std::slice::from_ref(&job), &self.context.origin()).await?;
        self.queues.insert(job.queue);
        Ok(enqueued.first().map_or(0, Enqueued::id)) // one answer a job
    }

    /// Commits all that was done in the transaction, and with it that the job has succeeded, with this result. The handler has
    /// nothing more to do than to return; the job has succeeded, whatever it returns.
    ///
    /// # Errors
    /// [`TransactionError`]: all was rolled back, unless the database went away in the very moment.
    pub async fn complete(self, result: impl Serialize) -> Result<(), TransactionError> {
        let result = RawJson::from_value(&result).map_err(TransactionError::Result)?;
        let result = (result.as_str() != "null").then_some(result);
        let Self { open, context, database, queues, _permit } = self;
        let lease = context.job.lease;
        context.desk.write_notes(lease).await;
        match open.complete(lease, result.clone()).await? {
            Completed::Stale => Err(TransactionError::Stale),
            Completed::Done { watched } => {
                context.desk.tell_completed(result.as_ref());
                context.completed.with(result);
                for queue in queues {
                    database.waker.wake(&queue);
                }
                if watched {
                    database.waker.ended([lease.id]);
                }
                Ok(())
            }
        }
    }

    /// Takes all back that was done in the transaction, and keeps the connection for others; a drop costs it.
    ///
    /// # Errors
    /// Where the database is away; all is rolled back then, too.
    pub async fn rollback(self) -> Result<(), TransactionError> {
        Ok(self.open.rollback().await?)
    }
}
