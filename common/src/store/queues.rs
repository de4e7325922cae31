//! Queues: what waits where, and what is set for them.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Collisions, Statement, Store, StoreError, enqueue::millis, field, statement};
use crate::{
    job::{
        JobDefaults, JobState, QueueName, QueueSettings, Retention, RetryPolicy,
        queue_settings::{Rate, template},
        view::Seconds,
    },
    json::RawJson,
};

const QUEUES: Statement = statement!("list the queues", "queues/list.sql");
const PAUSE: Statement = statement!("pause or resume a queue", "queues/pause.sql");
const PUT: Statement = statement!("set up a queue", "queues/put.sql");
const DELETE: Statement = statement!("delete a queue", "queues/delete.sql");
const PURGE: Statement = statement!("forget the jobs of a queue", "queues/purge.sql");

/// Jobs that a purge forgets in one statement, so that none is long.
const PURGE_BATCH: i32 = 250;

/// A queue, as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueView {
    /// Its name.
    pub name: String,
    /// Whether it takes jobs and starts none.
    pub paused: bool,
    /// How many of its jobs may run at once; null: any number.
    pub max_running: Option<i32>,
    /// How many of its jobs with one concurrency key may run at once; null: any number.
    pub max_running_per_key: Option<i32>,
    /// How many of its jobs may start in a time; null: any number.
    pub rate: Option<Rate>,
    /// How many of its jobs may wait; null: any number.
    pub max_waiting: Option<i32>,
    /// Whether its concurrency keys take turns.
    pub fair: bool,
    /// What counts where its jobs are silent.
    pub defaults: JobDefaults,
    /// How long its finished jobs are kept.
    pub retention: Retention,
    /// The job that follows each one of it that fails.
    pub on_failed: Option<RawJson>,
    /// Jobs by state.
    pub counts: Counts,
    /// Whether one of the counts of waiting jobs is an estimate.
    pub estimated: bool,
    /// Seconds that the longest waiting available job has waited; null: none waits.
    pub oldest_available_age: Option<f64>,
    /// Live workers that serve it.
    pub workers: i64,
}

/// Jobs by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the states")]
pub struct Counts {
    pub scheduled: i64,
    pub available: i64,
    pub running: i64,
    pub retryable: i64,
    pub blocked: i64,
    pub succeeded: i64,
    pub failed: i64,
    pub cancelled: i64,
}

impl Counts {
    /// One more in that state.
    pub(super) fn count(&mut self, state: JobState) {
        let counted = match state {
            JobState::Scheduled => &mut self.scheduled,
            JobState::Available => &mut self.available,
            JobState::Running => &mut self.running,
            JobState::Retryable => &mut self.retryable,
            JobState::Blocked => &mut self.blocked,
            JobState::Succeeded => &mut self.succeeded,
            JobState::Failed => &mut self.failed,
            JobState::Cancelled => &mut self.cancelled,
        };
        *counted += 1;
    }

    /// Each state's word with its count.
    pub fn each(&self) -> [(&'static str, i64); 8] {
        [
            (JobState::Scheduled.word(), self.scheduled),
            (JobState::Available.word(), self.available),
            (JobState::Running.word(), self.running),
            (JobState::Retryable.word(), self.retryable),
            (JobState::Blocked.word(), self.blocked),
            (JobState::Succeeded.word(), self.succeeded),
            (JobState::Failed.word(), self.failed),
            (JobState::Cancelled.word(), self.cancelled),
        ]
    }

    /// Adds those of another queue.
    pub(super) fn add(&mut self, other: &Self) {
        self.scheduled += other.scheduled;
        self.available += other.available;
        self.running += other.running;
        self.retryable += other.retryable;
        self.blocked += other.blocked;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
    }
}

/// What became of a queue that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Gone,
    /// There is no such queue.
    NotThere,
    /// It holds jobs, and stays as it is.
    Holds {
        /// How many, counted to 10,001.
        jobs: i32,
    },
    /// Jobs of it run: it stays, with what has not been forgotten before.
    Runs {
        /// How many run.
        running: i32,
    },
    /// There was no time for all of its jobs; call again.
    More {
        /// Jobs that were forgotten.
        deleted: i64,
    },
}

impl Store {
    /// All queues, by name; with a name, that one.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn queues(&self, name: Option<&str>) -> Result<Vec<QueueView>, StoreError> {
        self.query(QUEUES, &[&name]).await?.iter().map(view).collect()
    }

    /// Lets a queue start jobs, or not; false: there is no such queue. What runs goes on; a claim that is under way may
    /// still bring jobs.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn pause_queue(&self, name: &str, paused: bool) -> Result<bool, StoreError> {
        Ok(!self.query(PAUSE, &[&name, &paused]).await?.is_empty())
    }

    /// Makes a queue, or replaces its settings; whether it was made.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn put_queue(&self, name: &QueueName, settings: &QueueSettings) -> Result<bool, StoreError> {
        let QueueSettings { paused, max_running, max_running_per_key, rate, fair, max_waiting, defaults, retention, on_failed } = settings;
        if let Some(job) = on_failed {
            // here, so that no report has to wait for somebody else who is making the same lane
            self.lanes_of(&[(&job.queue, &job.kind)]).await?;
        }
        let retry = (defaults.retry != RetryPolicy::default()).then(|| RawJson::from_value(&defaults.retry).ok()).flatten();
        let seconds = |kept: Option<Seconds>| kept.map(|kept| kept.0);
        let row = self
            .query_one(
                PUT,
                &[
                    &&**name,
                    paused,
                    &defaults.priority,
                    &defaults.max_attempts,
                    &defaults.timeout.map(millis),
                    &retry,
                    max_waiting,
                    &seconds(retention.succeeded),
                    &seconds(retention.cancelled),
                    &seconds(retention.failed),
                    &on_failed.as_ref().map(template),
                    max_running,
                    max_running_per_key,
                    &rate.map(|rate| rate.limit),
                    &rate.map(|rate| rate.per.0),
                    fair,
                ],
            )
            .await?;
        Ok(row.get(0))
    }

    /// Deletes a queue that holds no job; with `purge`, its waiting and finished jobs first, in steps, for as long as half
    /// the time that one statement may take. An enqueue at the same time is not lost: its job shows the queue again.
    ///
    /// # Errors
    /// Where the database is away; what was forgotten until then is gone.
    pub async fn delete_queue(&self, name: &str, purge: bool) -> Result<Deleted, StoreError> {
        let began = Instant::now();
        let mut deleted: i64 = 0;
        loop {
            let row = self.query_one(DELETE, &[&name]).await?;
            let (there, jobs, running): (bool, i32, i32) = (row.get(0), row.get(1), row.get(2));
            if !there {
                return Ok(if deleted > 0 { Deleted::Gone } else { Deleted::NotThere });
            } else if jobs == 0 {
                return Ok(Deleted::Gone);
            } else if !purge {
                return Ok(Deleted::Holds { jobs });
            } else if running > 0 {
                return Ok(Deleted::Runs { running });
            } else if began.elapsed() > self.0.timeout / 2 {
                return Ok(Deleted::More { deleted });
            }
            deleted += i64::from(self.purge(name).await?);
        }
    }

    /// One step of a purge; returns how many jobs were forgotten.
    async fn purge(&self, name: &str) -> Result<i32, StoreError> {
        let mut collisions = Collisions::none();
        loop {
            match self.query_one(PURGE, &[&name, &PURGE_BATCH]).await {
                Err(error) if collisions.again(&error) => {}
                result => return Ok(result?.get(0)),
            }
        }
    }
}

fn view(row: &tokio_postgres::Row) -> Result<QueueView, StoreError> {
    let kept = |column| row.get::<_, Option<f64>>(column).map(Seconds);
    let retry = field::<Option<RawJson>>(row, "default_retry", "queues", 0)?;
    let retry = retry.map_or_else(|| Ok(RetryPolicy::default()), |retry| retry.read());
    Ok(QueueView {
        name: row.get(0),
        paused: row.get(11),
        max_running: row.get(22),
        max_running_per_key: row.get(23),
        rate: row.get::<_, Option<i32>>(24).zip(row.get::<_, Option<f64>>(25)).map(|(limit, per)| Rate { limit, per: Seconds(per) }),
        max_waiting: row.get(12),
        fair: row.get(26),
        defaults: JobDefaults {
            priority: row.get(13),
            max_attempts: row.get(14),
            timeout: row.get::<_, Option<i32>>(15).map(|millis| Seconds(f64::from(millis) / 1000.0)),
            retry: retry.map_err(|error| StoreError::Corrupt { table: "queues", id: 0, why: error.to_string() })?,
        },
        retention: Retention { succeeded: kept(17), cancelled: kept(18), failed: kept(19) },
        on_failed: row.get(20),
        counts: Counts {
            available: row.get(1),
            running: row.get(2),
            scheduled: row.get(3),
            retryable: row.get(4),
            blocked: row.get(21),
            succeeded: row.get(5),
            failed: row.get(6),
            cancelled: row.get(7),
        },
        estimated: row.get(8),
        oldest_available_age: row.get(9),
        workers: row.get(10),
    })
}
