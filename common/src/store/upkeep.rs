//! What the duties do, a call each.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::{error::SqlState, types::ToSql};

use super::{Statement, Store, StoreError, statement};

const PROMOTE: Statement = statement!("promote jobs that are due", "duties/promote.sql");
const RESCUE: Statement = statement!("rescue jobs of dead workers", "duties/rescue.sql");
const EXPIRE: Statement = statement!("expire jobs", "duties/expire.sql");
const PRUNE: Statement = statement!("prune finished jobs", "duties/prune.sql");
const LOOK_AFTER_WORKFLOWS: Statement = statement!("look after workflows", "duties/look_after_workflows.sql");
const RELEASE_HELD: Statement = statement!("let go jobs whose limit was lifted", "duties/release_held.sql");
const COUNT_WAITING: Statement = statement!("count waiting jobs", "duties/count_waiting.sql");
const PRUNE_WORKERS: Statement = statement!("prune workers that stopped long ago", "duties/prune_workers.sql");
const FOLD_TALLY: Statement = statement!("fold the tally", "duties/fold_tally.sql");

/// Jobs that became due.
#[derive(Debug)]
pub struct Promoted {
    /// How many.
    pub count: usize,
    /// The due time of the last one.
    pub upto: Option<Timestamp>,
    /// Queues that have work now.
    pub queues: Vec<String>,
}

/// A worker that was declared dead.
#[derive(Debug)]
pub struct Rescued {
    /// Which.
    pub worker: String,
    /// How long it had been silent.
    pub silent: Duration,
    /// Jobs that it held.
    pub jobs: i64,
}

impl Store {
    /// Moves at most `n` due jobs to ready. `after` is the due time of the last one promoted before: the scan starts
    /// there; `None` looks from the beginning.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn promote(&self, n: i32, after: Option<Timestamp>) -> Result<Promoted, StoreError> {
        let row = self.query_one(PROMOTE, &[&n, &after]).await?;
        let count: i32 = row.get(0);
        Ok(Promoted { count: usize::try_from(count).unwrap_or(0), upto: row.get(1), queues: row.get(2) })
    }

    /// Gives back the jobs of workers that have missed their heartbeats.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn rescue(&self) -> Result<Vec<Rescued>, StoreError> {
        let rows = self.query(RESCUE, &[]).await?;
        Ok(rows
            .iter()
            .map(|row| Rescued { worker: row.get(0), silent: Duration::try_from_secs_f64(row.get(1)).unwrap_or_default(), jobs: row.get(2) })
            .collect())
    }

    /// Looks at `n` jobs at most whose time to start is over, and cancels those that have not; returns at how many it looked.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn expire(&self, n: i32) -> Result<i32, StoreError> {
        Ok(self.query_one(EXPIRE, &[&n]).await?.get(0))
    }

    /// Forgets at most `n` finished jobs that are older than their queue keeps them; returns how many.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn prune(&self, n: i32) -> Result<i32, StoreError> {
        self.of_this_schema(PRUNE, &[&n]).await
    }

    /// Counts how many jobs wait in the queues whose limit is too high for an enqueue to count; returns how many queues.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn count_waiting(&self) -> Result<i32, StoreError> {
        self.of_this_schema(COUNT_WAITING, &[]).await
    }

    /// Notes which workflows are over, `n` at most, and forgets those whose jobs are gone.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn look_after_workflows(&self, n: i32) -> Result<i32, StoreError> {
        self.of_this_schema(LOOK_AFTER_WORKFLOWS, &[&n]).await
    }

    /// Lets go at most `n` jobs that wait in queues which limit keys no more; returns how many, and the queues.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn release_held(&self, n: i32) -> Result<(i32, Vec<String>), StoreError> {
        match self.query_one(RELEASE_HELD, &[&n]).await {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_FUNCTION) => Ok((0, Vec::new())),
            row => row.map(|row| (row.get(0), row.get(1))),
        }
    }

    /// What a duty did that the version before did not have: nothing on the schema of that one, whose own programs see to it.
    async fn of_this_schema(&self, statement: Statement, params: &[&(dyn ToSql + Sync)]) -> Result<i32, StoreError> {
        match self.query_one(statement, params).await {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_FUNCTION) => Ok(0),
            result => Ok(result?.get(0)),
        }
    }

    /// Forgets workers that stopped longer ago than `age` and that no job's history names.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn prune_workers(&self, age: Duration) -> Result<(), StoreError> {
        self.query(PRUNE_WORKERS, &[&age.as_secs_f64()]).await.map(|_| ())
    }

    /// Folds at most 10,000 rows of the tally; returns how many.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn fold_tally(&self) -> Result<i32, StoreError> {
        Ok(self.query_one(FOLD_TALLY, &[]).await?.get(0))
    }
}
