//! What holders tell of their jobs while they run: kept by `longshore.note`, whoever holds the lease; and what is read of it.

use serde::{Deserialize, Serialize};
use tokio_postgres::{Row, error::SqlState};

use super::{Collisions, Statement, Store, StoreError, claim::Lease, field, statement};
use crate::{json::RawJson, notes::Notes};

const KEEP: Statement = statement!("keep what attempts tell", "notes/keep.sql");
const CHECKPOINT: Statement = statement!("read a checkpoint", "notes/checkpoint.sql");
const LOGS: Statement = statement!("read the logs of a job", "notes/logs.sql");

/// How a lease stands whose holder told something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub lease: Lease,
    /// False: it is lost, and nothing was kept.
    pub stands: bool,
    /// Somebody asked for the job to be cancelled. The lease still stands, so that its holder can clean up and report.
    pub cancel_requested: bool,
}

/// What the handlers of one job logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobLogs {
    /// The job's queue, for whoever may not see all of them.
    #[serde(skip)]
    pub queue: String,
    /// The last 20 attempts that logged, oldest first: more are not kept.
    pub items: Vec<AttemptLog>,
}

/// What one attempt logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptLog {
    /// Its number, from 1. One that was snoozed or handed back is not counted: the next has the same number.
    pub attempt: i16,
    /// At most 64 KiB: where it was longer, the beginning is cut, and it says so.
    pub text: String,
}

impl Standing {
    pub(super) fn from_row(row: &Row) -> Self {
        Self { lease: Lease { id: row.get(0), lease: row.get(1) }, stands: row.get(2), cancel_requested: row.get(3) }
    }
}

/// What holders tell, column by column, as the functions take it.
pub(super) struct Columns<'a> {
    pub ids: Vec<i64>,
    pub leases: Vec<i64>,
    pub progresses: Vec<Option<&'a RawJson>>,
    pub checkpoints: Vec<Option<&'a RawJson>>,
    pub logs: Vec<Option<String>>,
}

impl<'a> Columns<'a> {
    pub fn of(told: &'a [(Lease, Notes)]) -> Self {
        Self {
            ids: told.iter().map(|(lease, _)| lease.id).collect(),
            leases: told.iter().map(|(lease, _)| lease.lease).collect(),
            progresses: told.iter().map(|(_, notes)| notes.progress.as_ref()).collect(),
            checkpoints: told.iter().map(|(_, notes)| notes.checkpoint.as_ref()).collect(),
            logs: told.iter().map(|(_, notes)| notes.storable_log()).collect(),
        }
    }
}

impl Store {
    /// Keeps what holders tell of their jobs, and says how their leases stand, each once. `None`: the schema is of the version
    /// before, which keeps nothing of the kind.
    ///
    /// # Errors
    /// Where the database is away; then it is not known whether anything was kept. Telling it again does no harm but to logs,
    /// which may then say it twice.
    pub async fn note(&self, told: &[(Lease, Notes)]) -> Result<Option<Vec<Standing>>, StoreError> {
        let columns = Columns::of(told);
        let mut collisions = Collisions::none();
        loop {
            match self.query(KEEP, &[&columns.ids, &columns.leases, &columns.progresses, &columns.checkpoints, &columns.logs]).await {
                Ok(rows) => return Ok(Some(rows.iter().map(Standing::from_row).collect())),
                Err(error) if error.code() == Some(&SqlState::UNDEFINED_FUNCTION) => return Ok(None),
                Err(error) if collisions.again(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The checkpoint of a job; `None`: no attempt kept one, or the last one that did kept null.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn checkpoint(&self, id: i64) -> Result<Option<RawJson>, StoreError> {
        match self.query(CHECKPOINT, &[&id]).await {
            Ok(rows) => {
                let kept: Option<Option<RawJson>> = rows.first().map(|row| field(row, "checkpoint", "notes", id)).transpose()?;
                Ok(kept.flatten().filter(|kept| kept.as_str() != "null"))
            }
            // the schema is of the version before
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the attempts of a job logged; `None`: there is no job with that id.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn logs(&self, id: i64) -> Result<Option<JobLogs>, StoreError> {
        let rows = self.query(LOGS, &[&id]).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let mut items = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(attempt) = field(row, "attempt", "logs", id)? {
                items.push(AttemptLog { attempt, text: field(row, "text", "logs", id)? });
            }
        }
        Ok(Some(JobLogs { queue: field(first, "queue", "queues", id)?, items }))
    }
}
