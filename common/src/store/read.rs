//! Reading: one job, lists of jobs. All of it is the view `longshore.jobs`, driven by the narrowest index that a
//! filter has.

use tokio_postgres::Row;

use super::{Statement, Store, StoreError, field, filter, query_on, statement};
use crate::{
    job::{AttemptView, JobFilter, JobState, JobView, OutcomeKind, view::Seconds},
    json::RawJson,
};

const GET: Statement = statement!("read a job", "jobs/get.sql");
const HISTORY: Statement = statement!("read the history of a job", "jobs/history.sql");

/// Which of the large fields a list shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fields {
    /// `args`
    pub args: bool,
    /// `result`
    pub result: bool,
}

impl Store {
    /// One job; `None`: there is none with that id.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn job(&self, id: i64) -> Result<Option<JobView>, StoreError> {
        let rows = self.query(GET, &[&id]).await?;
        rows.first().map(|row| view(row, Fields { args: true, result: true })).transpose()
    }

    /// One job with its last 20 attempts, oldest first; one that runs is among them.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn job_with_history(&self, id: i64) -> Result<Option<(JobView, Vec<AttemptView>)>, StoreError> {
        self.bounded("read a job", async {
            let connection = self.connection("read a job").await?;
            // pipelined: two statements, one round trip; a job that moves between them shows in one place or the other
            let read = futures_util::future::try_join(query_on(&*connection, GET, &[&id]), query_on(&*connection, HISTORY, &[&id])).await;
            let (job, history) = connection.settle(read)?;
            let Some(row) = job.first() else { return Ok(None) };
            let history = history.iter().map(|row| attempt(id, row)).collect::<Result<_, _>>()?;
            Ok(Some((view(row, Fields { args: true, result: true })?, history)))
        })
        .await
    }

    /// Jobs by filter, newest first, with ids below `before`.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn list_jobs(&self, filter: &JobFilter, fields: Fields, before: Option<i64>, limit: i64) -> Result<Vec<JobView>, StoreError> {
        if filter.of_none {
            return Ok(Vec::new());
        }
        let rows = self.select("list jobs", &filter::list(filter, before.unwrap_or(i64::MAX), limit)).await?;
        rows.iter().map(|row| view(row, fields)).collect()
    }
}

/// One job, in somebody's transaction.
pub(super) async fn job_on<C: deadpool_postgres::GenericClient>(transaction: &C, id: i64) -> Result<Option<JobView>, StoreError> {
    let rows = query_on(transaction, GET, &[&id]).await?;
    rows.first().map(|row| view(row, Fields { args: true, result: true })).transpose()
}

/// The columns of the view that [`view`] reads, in its order; `sql/jobs/get.sql` and `some.sql` name the same.
pub(super) const COLUMNS: &str = "id, kind, queue, state::text, args, priority, run_at, expires_at, attempt, max_attempts, timeout::float8, tags, meta, unique_key, \
                       concurrency_key, progress, checkpoint, result, error, worker, enqueued_by, request_id, created_at, started_at, finished_at, cancel_requested_at";

pub(super) fn view(row: &Row, fields: Fields) -> Result<JobView, StoreError> {
    let id: i64 = field(row, "id", "jobs", 0)?;
    let corrupt = |why: &str| StoreError::Corrupt { table: "jobs", id, why: why.to_owned() };
    let state = field::<Option<&str>>(row, "state", "jobs", id)?.ok_or_else(|| corrupt("it stands in no place; see longshore.violations"))?;
    Ok(JobView {
        id,
        kind: field(row, "kind", "jobs", id)?,
        queue: field(row, "queue", "jobs", id)?,
        state: JobState::from_word(state).ok_or_else(|| corrupt("its state is unknown"))?,
        args: if fields.args { Some(field(row, "args", "jobs", id)?) } else { None },
        priority: field(row, "priority", "jobs", id)?,
        run_at: field(row, "run_at", "jobs", id)?,
        expires_at: field(row, "expires_at", "jobs", id)?,
        attempt: field::<Option<i16>>(row, "attempt", "jobs", id)?.unwrap_or(0),
        max_attempts: field(row, "max_attempts", "jobs", id)?,
        timeout: field::<Option<f64>>(row, "timeout", "jobs", id)?.map(Seconds),
        tags: field::<Option<Vec<String>>>(row, "tags", "jobs", id)?.unwrap_or_default(),
        meta: field::<Option<RawJson>>(row, "meta", "jobs", id)?.unwrap_or_else(RawJson::empty_object),
        unique_key: field(row, "unique_key", "jobs", id)?,
        concurrency_key: field(row, "concurrency_key", "jobs", id)?,
        workflow_id: None,
        schedule: None,
        scheduled_for: None,
        progress: field(row, "progress", "jobs", id)?,
        checkpoint: field(row, "checkpoint", "jobs", id)?,
        result: if fields.result { Some(field(row, "result", "jobs", id)?) } else { None },
        error: field(row, "error", "jobs", id)?,
        worker: field(row, "worker", "jobs", id)?,
        cancel_requested_at: field(row, "cancel_requested_at", "jobs", id)?,
        enqueued_by: field(row, "enqueued_by", "jobs", id)?,
        request_id: field(row, "request_id", "jobs", id)?,
        created_at: field(row, "created_at", "jobs", id)?,
        started_at: field(row, "started_at", "jobs", id)?,
        finished_at: field(row, "finished_at", "jobs", id)?,
    })
}

fn attempt(id: i64, row: &Row) -> Result<AttemptView, StoreError> {
    let outcome: Option<&str> = row.get(4);
    let outcome = outcome
        .map(|word| {
            OutcomeKind::ALL.into_iter().find(|o| o.word() == word).ok_or_else(|| StoreError::Corrupt { table: "attempts", id, why: format!("outcome {word}") })
        })
        .transpose()?;
    Ok(AttemptView { attempt: row.get(0), worker: row.get(1), started_at: row.get(2), finished_at: row.get(3), outcome, error: row.get(5) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn get_reads_the_same_columns_as_lists() {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        for statement in [GET.text, include_str!("../../sql/jobs/some.sql")] {
            assert!(words(statement).contains(&words(COLUMNS)));
        }
    }
}
