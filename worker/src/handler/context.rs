//! What a handler may know of its attempt, and tell of it.

use std::{fmt::Display, sync::Arc};

use longshore_common::{
    json::RawJson,
    notes::{checkpoint_fault, progress_fault},
    store::{StoreError, claim::LeasedJob, enqueue::Origin, until_available},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    desk::{Completed, Desk},
    transaction::{Transaction, TransactionError},
};
use crate::{
    job::{EnqueueError, Job},
    job_log::log_job,
};

/// What a handler may know of its attempt, and tell of it. Cheap to clone.
///
/// What it tells (progress, checkpoint, log) is written about once a second, and before its outcome is reported; telling
/// never waits for the database. While that is away, the newest progress and checkpoint are kept, and the end of the log.
#[derive(Debug, Clone)]
pub struct Context {
    pub(crate) job: Arc<LeasedJob>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) cancellation: CancellationToken,
    pub(crate) completed: Completed,
    pub(crate) desk: Desk,
}

/// Why something could not be told or read.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// It breaks a limit.
    #[error("the {what} {why}")]
    Invalid {
        /// `progress` or `checkpoint`.
        what: &'static str,
        /// What is wrong, and what is allowed.
        why: String,
    },
    /// It cannot be written as JSON, or what was kept does not fit the type that is wanted.
    #[error("the {what} does not fit")]
    Unfit {
        /// `progress`, `checkpoint` or `parents' results`.
        what: &'static str,
        /// Why.
        #[source]
        source: longshore_common::json::Error,
    },
    /// The attempt was cancelled while the database was away.
    #[error("the attempt was cancelled before its checkpoint could be read")]
    Cancelled,
    /// The database refused to read it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Context {
    /// The job: id, kind, queue, attempt and the rest.
    pub fn job(&self) -> &LeasedJob {
        &self.job
    }

    /// Number of this attempt, from 1.
    pub fn attempt(&self) -> i16 {
        self.job.attempt
    }

    /// When the attempt is ended; `None`: it may run for ever.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Is cancelled when somebody cancels the job: the handler then has 5 s to end by itself. A success still counts, any
    /// error ends the job as cancelled.
    ///
    /// It is cancelled, too, when the attempt is over although the handler still runs: past its deadline, handed back by a
    /// stopping worker, or its lease is lost. The handler's future is dropped right after; hand this to what runs outside
    /// of it.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.cancellation
    }

    /// Tells how far the job is: a number from 0 to 1, or an object of up to 4 KiB. It is shown until another is told,
    /// whether by this attempt or a later one.
    ///
    /// # Errors
    /// Where it is anything else.
    pub fn progress(&self, progress: impl Serialize) -> Result<(), NoteError> {
        let progress = checked("progress", &progress, progress_fault)?;
        self.desk.note(self.job.lease, |notes| notes.progress = Some(progress));
        Ok(())
    }

    /// What this attempt, or else the last one that did, kept by [`set_checkpoint`](Self::set_checkpoint); `None`: there is
    /// nothing, or null. While the database is away, this waits.
    ///
    /// # Errors
    /// Where what was kept is no `T`, or the attempt was cancelled meanwhile.
    pub async fn checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, NoteError> {
        let kept = until_available(&self.cancellation, || self.desk.checkpoint(self.job.lease)).await.ok_or(NoteError::Cancelled)??;
        kept.map(|kept| kept.read()).transpose().map_err(|source| NoteError::Unfit { what: "checkpoint", source })
    }

    /// The results of the jobs that it comes after in its workflow, by name: `parents::<HashMap<String, u64>>()`, or a struct with a
    /// field each. null of one that did not succeed (`if_failed: run`); `{}` where it comes after none.
    ///
    /// # Errors
    /// Where they are no `T`.
    pub fn parents<T: DeserializeOwned>(&self) -> Result<T, NoteError> {
        let parents = self.job.parents.clone().unwrap_or_else(RawJson::empty_object);
        parents.read().map_err(|source| NoteError::Unfit { what: "parents' results", source })
    }

    /// Keeps something for the next attempt, in place of what was kept before: any JSON of up to 64 KiB; null forgets it. It
    /// is written within about a second: what a killed worker kept last may be lost.
    ///
    /// # Errors
    /// Where it is longer, or nothing that can be stored.
    pub fn set_checkpoint(&self, checkpoint: impl Serialize) -> Result<(), NoteError> {
        let checkpoint = checked("checkpoint", &checkpoint, checkpoint_fault)?;
        self.desk.note(self.job.lease, |notes| notes.checkpoint = Some(checkpoint));
        Ok(())
    }

    /// Lets somebody else go on with the job, and report under its lease: that lasts until the attempt's timeout from now on,
    /// and hangs on this worker no more. The handler then ends with [`Handled::GivenAway`](super::Handled). `None`: it has lost
    /// its lease, or was cancelled while the database was away.
    pub(crate) async fn give_away(&self) -> Option<()> {
        let database = self.desk.database()?;
        match until_available(&self.cancellation, || database.store.give_away(self.job.lease)).await? {
            Ok(given) => given.then_some(()),
            Err(error) => {
                log_job!(error, self.job, { error = longshore_common::log::chain(&error), }, "a job that was handed on could not be let go of");
                None
            }
        }
    }

    /// Enqueues a job, in a transaction of its own, and returns its id; that of the job that holds its unique key. It is there
    /// whatever becomes of this attempt, which may run again: where that must not enqueue it twice, give it a unique key, or use
    /// [`transaction`](Self::transaction).
    ///
    /// # Errors
    /// Where the job breaks a rule, the database refuses it, or is away: it is not known then whether it was enqueued.
    pub async fn enqueue(&self, job: &Job) -> Result<i64, EnqueueError> {
        let job = job.check()?;
        match self.desk.database() {
            Some(database) => Ok(database.enqueue(job, &self.origin()).await?),
            None => Ok(self.desk.pretend_to_enqueue(job)),
        }
    }

    /// Opens a transaction of this attempt: for writes of the handler that are to be committed together with the success of its
    /// job, or not at all ([`Transaction::complete`]).
    ///
    /// Its connection is one of the worker's own, so what is written must lie in the same database. Half of the pool
    /// (`LONGSHORE_DATABASE__POOL`) serves for transactions, so that what the worker has to report never waits for them; where all
    /// of these are in use, or the database is away, this waits.
    ///
    /// # Errors
    /// Where the database refuses, the attempt was cancelled meanwhile, or there is no database, as in a trial.
    pub async fn transaction(&self) -> Result<Transaction, TransactionError> {
        Transaction::begin(self).await
    }

    /// Written beside jobs that this one enqueues: the request and the trace that it belongs to, in which they are below it.
    pub(super) fn origin(&self) -> Origin {
        Origin { enqueued_by: None, request_id: self.job.request_id.clone(), traceparent: self.job.traceparent.clone() }
    }

    /// Adds a line to the log of this attempt, of which the last 64 KiB are kept. It is for whoever looks at the job; the
    /// worker's own log does not have it.
    pub fn log(&self, line: impl Display) {
        let line = format!("{line}\n");
        self.desk.note(self.job.lease, |notes| notes.log(&line));
    }
}

fn checked(what: &'static str, value: &impl Serialize, fault: impl Fn(&RawJson) -> Option<String>) -> Result<RawJson, NoteError> {
    let json = RawJson::from_value(value).map_err(|source| NoteError::Unfit { what, source })?;
    match fault(&json) {
        Some(why) => Err(NoteError::Invalid { what, why }),
        None => Ok(json),
    }
}
