//! Cancel, retry, change and delete jobs that are there: `sql/routines/09_control.sql`.

use jiff::Timestamp;
use tokio_postgres::{error::SqlState, types::ToSql};

use super::{Collisions, Statement, Store, StoreError, claim::Lease, statement, workers::WorkerNumber};
use crate::{
    job::{Call, Change, Effect, JobState, NotNow},
    json::RawJson,
};

pub(super) const CANCEL: Statement = statement!("cancel jobs", "jobs/cancel.sql");
pub(super) const RETRY: Statement = statement!("retry jobs", "jobs/retry.sql");
pub(super) const DELETE: Statement = statement!("delete jobs", "jobs/delete.sql");
const CHANGE: Statement = statement!("change a job", "jobs/change.sql");
const TO_CANCEL: Statement = statement!("ask which jobs to stop", "workers/to_cancel.sql");

/// Why a call changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such job.
    #[error("there is no job {0}")]
    NoJob(i64),
    /// The call does not go with the state that the job is in.
    #[error("job {id}")]
    NotNow {
        /// The job.
        id: i64,
        /// Its state, and what is wanted.
        #[source]
        why: NotNow,
    },
    /// Another job holds the unique key of the one that is to be retried.
    #[error("the unique key of job {id} is held by job {standing}")]
    KeyHeld {
        /// The job.
        id: i64,
        /// Who holds its key.
        standing: i64,
    },
    /// It has had as many attempts as it is to have at most.
    #[error("job {id} has had {attempt} attempts")]
    TooFewAttempts {
        /// The job.
        id: i64,
        /// Attempts that it has had.
        attempt: i16,
    },
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Cancels a job that waits ([`Effect::Becomes`]), or asks for the cancellation of one that runs ([`Effect::Asked`]).
    ///
    /// # Errors
    /// [`ControlError`]; nothing was changed, unless the database is away, when that is not known.
    pub async fn cancel(&self, id: i64) -> Result<Effect, ControlError> {
        self.call(Call::Cancel, id, CANCEL, &[&[id].as_slice()]).await
    }

    /// Makes a finished or retryable job available, with one more attempt allowed.
    ///
    /// # Errors
    /// As [`Store::cancel`].
    pub async fn retry(&self, id: i64) -> Result<Effect, ControlError> {
        let now: &[Timestamp] = &[];
        self.call(Call::Retry, id, RETRY, &[&[id].as_slice(), &now]).await
    }

    /// Forgets a job that does not run.
    ///
    /// # Errors
    /// As [`Store::cancel`].
    pub async fn delete(&self, id: i64) -> Result<Effect, ControlError> {
        self.call(Call::Delete, id, DELETE, &[&[id].as_slice()]).await
    }

    /// Changes fields of a job that waits.
    ///
    /// # Errors
    /// As [`Store::cancel`].
    pub async fn change(&self, id: i64, change: &Change) -> Result<Effect, ControlError> {
        let tags = change.tags.as_ref().and_then(|tags| RawJson::from_value(tags).ok());
        let rows = self.again(CHANGE, &[&id, &change.priority, &change.run_at, &change.args, &change.max_attempts, &tags, &change.meta]).await?;
        let row = rows.first().ok_or(ControlError::NoJob(id))?;
        let effect = effect(id, Call::Change, row.get(0))?;
        match (row.get::<_, Option<i16>>(1), change.max_attempts) {
            (Some(attempt), Some(most)) if most <= attempt => Err(ControlError::TooFewAttempts { id, attempt }),
            _ => Ok(effect),
        }
    }

    /// Which of its jobs a worker is to stop.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn to_cancel(&self, worker: WorkerNumber) -> Result<Vec<Lease>, StoreError> {
        match self.query(TO_CANCEL, &[&worker.0]).await {
            Ok(rows) => Ok(rows.iter().map(|row| Lease { id: row.get(0), lease: row.get(1) }).collect()),
            // the schema is of the version before, in which running jobs cannot be cancelled
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_COLUMN) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn call(&self, call: Call, id: i64, statement: Statement, params: &[&(dyn ToSql + Sync)]) -> Result<Effect, ControlError> {
        let rows = self.again(statement, params).await?;
        let row = rows.first().ok_or(ControlError::NoJob(id))?;
        let effect = effect(id, call, row.get(1))?;
        row.get::<_, Option<i64>>(2).map_or(Ok(effect), |standing| Err(ControlError::KeyHeld { id, standing }))
    }

    /// Runs a statement, again where it met another transaction.
    pub(super) async fn again(&self, statement: Statement, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let mut collisions = Collisions::none();
        loop {
            match self.query(statement, params).await {
                Err(error) if collisions.again(&error) => {}
                result => return result,
            }
        }
    }
}

/// What came of a call, by the state that it met the job in.
fn effect(id: i64, call: Call, met: Option<&str>) -> Result<Effect, ControlError> {
    let word = met.ok_or(ControlError::NoJob(id))?;
    let state = JobState::from_word(word).ok_or_else(|| StoreError::Corrupt { table: "jobs", id, why: format!("its state is {word}") })?;
    state.on(call).map_err(|why| ControlError::NotNow { id, why })
}
