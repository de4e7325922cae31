//! Why a job is not running: `longshore.explain`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Statement, Store, StoreError, field, statement};
use crate::job::JobState;

const EXPLAIN: Statement = statement!("explain a job", "jobs/explain.sql");

/// Why a job is not running, with what would change it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The job.
    pub id: i64,
    /// Its queue, for whoever may not see all of them.
    #[serde(skip)]
    pub queue: String,
    /// Where it stands.
    pub state: JobState,
    /// Whether nothing holds it back: it runs, or is only waiting for its turn.
    pub runnable: bool,
    /// What it waits for; none of one that runs or is finished.
    pub because: Vec<Reason>,
    /// What is to be said of a job that waits for nothing: since when it runs, or is finished.
    pub note: Option<String>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// The contract's word, such as `no_worker`.
    pub reason: String,
    /// In a sentence, with what would change it.
    pub detail: String,
    /// When it ends by itself; `None`: that is not known.
    pub until: Option<Timestamp>,
}

impl Explanation {
    /// The reason of those that only wait for their turn.
    const BEHIND: &str = "behind";

    fn of(id: i64, queue: String, state: JobState, said: Vec<Reason>) -> Self {
        let waits = state != JobState::Running && !state.is_finished();
        let (because, note) = if waits { (said, None) } else { (Vec::new(), said.into_iter().next().map(|one| one.detail)) };
        let runnable = state == JobState::Running || state == JobState::Available && because.iter().all(|one| one.reason == Self::BEHIND);
        Self { id, queue, state, runnable, because, note }
    }
}

impl Store {
    /// Why a job is not running; `None`: there is none with that id. For a caller who may know these queues only, no other is
    /// named.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn explain(&self, id: i64, queues: Option<&[String]>) -> Result<Option<Explanation>, StoreError> {
        let rows = self.query(EXPLAIN, &[&id, &queues]).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let word: Option<&str> = field(first, "state", "jobs", id)?;
        let state = word.and_then(JobState::from_word).ok_or_else(|| StoreError::Corrupt {
            table: "jobs",
            id,
            why: "it stands in no place; see longshore.violations".to_owned(),
        })?;
        let mut said = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(reason) = field::<Option<String>>(row, "reason", "jobs", id)? {
                said.push(Reason { reason, detail: field(row, "detail", "jobs", id)?, until: field(row, "until", "jobs", id)? });
            }
        }
        Ok(Some(Explanation::of(id, field(first, "queue", "jobs", id)?, state, said)))
    }
}
