//! Events: what happens to jobs and queues, numbered in the order of commits, for whoever watches.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;

use super::{Statement, Store, StoreError, statement};
use crate::json::RawJson;

const WATCH: Statement = statement!("watch for events", "events/watch.sql");
const COLLECT: Statement = statement!("number events", "events/collect.sql");
const AFTER: Statement = statement!("read events", "events/after.sql");
const LAST: Statement = statement!("look for the last event", "events/last.sql");

/// What an event is called where some before it are not known.
pub const GAP: &str = "gap";

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number: one that is committed later has a higher one.
    #[serde(skip)]
    pub pos: i64,
    /// What: `job.enqueued`, `job.started`, `queue.paused` …
    pub event: String,
    /// When.
    pub at: Timestamp,
    /// The job, where it is about one.
    pub job_id: Option<i64>,
    /// The job's kind.
    pub kind: Option<String>,
    /// The queue.
    pub queue: Option<String>,
    /// The job's attempt.
    pub attempt: Option<i16>,
    /// How far the job is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<RawJson>,
    /// What went wrong: its beginning.
    pub error: Option<String>,
}

/// Which events are wanted; each that is not empty must hold.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// Of these queues.
    pub queues: BTreeSet<String>,
    /// Of jobs of these kinds.
    pub kinds: BTreeSet<String>,
    /// Of these jobs.
    pub job_ids: BTreeSet<i64>,
}

impl EventFilter {
    /// Whether it wants this one.
    pub fn wants(&self, event: &Event) -> bool {
        let one_of = |wanted: &BTreeSet<String>, value: &Option<String>| wanted.is_empty() || value.as_ref().is_some_and(|value| wanted.contains(value));
        one_of(&self.queues, &event.queue)
            && one_of(&self.kinds, &event.kind)
            && (self.job_ids.is_empty() || event.job_id.is_some_and(|id| self.job_ids.contains(&id)))
    }
}

impl Store {
    /// Statements say what they do for the next ten minutes, at least.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn watch_events(&self) -> Result<(), StoreError> {
        self.query(WATCH, &[]).await.map(|_| ())
    }

    /// Numbers at most `n` events that are committed; returns how many.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn collect_events(&self, n: i32) -> Result<i32, StoreError> {
        match self.query_one(COLLECT, &[&n]).await {
            // the schema is of the version before, which has no events
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_FUNCTION) => Ok(0),
            row => Ok(row?.get(0)),
        }
    }

    /// At most `n` numbered events after one, in order.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn events_after(&self, pos: i64, n: i64) -> Result<Vec<Event>, StoreError> {
        let rows = self.query(AFTER, &[&pos, &n]).await?;
        let event = |row: &tokio_postgres::Row| Event {
            pos: row.get(0),
            at: row.get(1),
            event: row.get(2),
            queue: row.get(3),
            kind: row.get(4),
            job_id: row.get(5),
            attempt: row.get(6),
            progress: row.get(7),
            error: row.get(8),
        };
        Ok(rows.iter().map(event).collect())
    }

    /// The number of the last event that was numbered; 0: there was none.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn last_event(&self) -> Result<i64, StoreError> {
        Ok(self.query_one(LAST, &[]).await?.get(0))
    }
}
