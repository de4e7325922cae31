//! Failures by group: `sql/failures/list.sql`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Statement, Store, StoreError, field, statement};
use crate::job::Fingerprint;

const LIST: Statement = statement!("list the failures", "failures/list.sql");
/// Jobs of a group that are counted, in each of its two states.
const MAX_COUNTED: i64 = 10_000;
/// Groups at most.
pub const MAX_GROUPS: i64 = 1000;

/// Failed and retryable jobs of one kind with errors of one cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureGroup {
    /// What they were to do.
    pub kind: String,
    /// What their errors have in common.
    pub fingerprint: Fingerprint,
    /// How many they are.
    pub count: i64,
    /// Whether they are more: neither state is counted beyond 10,000.
    pub estimated: bool,
    /// How many of them are failed.
    pub failed: i64,
    /// How many of them wait for another attempt.
    pub retryable: i64,
    /// When the first of them failed.
    pub first: Option<Timestamp>,
    /// When the last of them failed.
    pub last: Option<Timestamp>,
    /// The one that failed last.
    pub example: Example,
}

/// One job of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Which.
    pub id: i64,
    /// Its queue.
    pub queue: String,
    /// Its error.
    pub error: Option<String>,
}

impl Store {
    /// Failed and retryable jobs by kind and fingerprint, the group that failed last first. Empty lists of queues and kinds mean
    /// all.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn failures(&self, queues: &[String], kinds: &[String], limit: i64) -> Result<Vec<FailureGroup>, StoreError> {
        let given = |names: &'_ [String]| (!names.is_empty()).then(|| names.to_vec());
        let rows = self.query(LIST, &[&given(queues), &given(kinds), &limit]).await?;
        rows.iter()
            .map(|row| {
                let id: i64 = field(row, "id", "finished", 0)?;
                let (failed, retryable): (i64, i64) = (row.get(2), row.get(3));
                Ok(FailureGroup {
                    kind: field(row, "kind", "finished", id)?,
                    fingerprint: Fingerprint(field(row, "fingerprint", "finished", id)?),
                    count: failed.min(MAX_COUNTED) + retryable.min(MAX_COUNTED),
                    estimated: failed > MAX_COUNTED || retryable > MAX_COUNTED,
                    failed: failed.min(MAX_COUNTED),
                    retryable: retryable.min(MAX_COUNTED),
                    first: field(row, "first", "finished", id)?,
                    last: field(row, "last", "finished", id)?,
                    example: Example { id, queue: field(row, "queue", "finished", id)?, error: field(row, "error", "finished", id)? },
                })
            })
            .collect()
    }
}
