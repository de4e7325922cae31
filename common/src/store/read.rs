//! Reading: one job, lists of jobs. All of it is the view `longshore.jobs`, driven by the narrowest index that a
//! filter has.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;
use tokio_postgres::{Row, types::Json};

use super::{
    Statement, Store, StoreError, field,
    filter::{self, Step},
    query_on, statement,
};
use crate::{
    job::{AttemptView, JobFilter, JobState, JobView, OutcomeKind, view::Seconds},
    json::RawJson,
};

const GET: Statement = statement!("read a job", "jobs/get.sql");
const GET_WITH_HISTORY: Statement = statement!("read a job and its attempts", "jobs/get_with_history.sql");
const ID_AT: Statement = statement!("find the jobs of a time", "jobs/id_at.sql");

/// How long a page is looked for.
const SEARCH: Duration = Duration::from_secs(1);
/// Ids that one statement of a list looks at, at most.
const WINDOW: i64 = 20_000;
/// How long a transaction that enqueues may stand open and its jobs still be found by the time at which they were enqueued,
/// among more than [`NEAR`] others.
const APART: Duration = Duration::from_mins(1);
/// Ids beyond that, between which jobs are looked for whatever their times are.
const NEAR: i64 = 5000;

/// Which of the large fields a list shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fields {
    /// `args`
    pub args: bool,
    /// `result`
    pub result: bool,
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct JobPage {
    /// Newest first.
    pub items: Vec<JobView>,
    /// It goes on below this id; `None`: that was all.
    pub next: Option<i64>,
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
        let rows = self.query(GET_WITH_HISTORY, &[&id]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let history: Option<Json<Vec<Past>>> = field(row, "history", "attempts", id)?;
        let history = history.map_or_else(Vec::new, |history| history.0).into_iter().map(|past| past.view(id)).collect::<Result<_, _>>()?;
        Ok(Some((view(row, Fields { args: true, result: true })?, history)))
    }

    /// Jobs by filter, newest first, with ids below `before`.
    ///
    /// It walks the narrowest index that the filter has in steps, and ends early where that takes longer than [`SEARCH`]: then
    /// the page holds less than it could, and the next one goes on from there.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn list_jobs(&self, filter: &JobFilter, fields: Fields, before: Option<i64>, limit: i64) -> Result<JobPage, StoreError> {
        let began = Instant::now();
        let mut page = JobPage { items: Vec::new(), next: None };
        if filter.of_none || filter.is_timed() && filter.possible_states().is_empty() {
            return Ok(page);
        }
        let ended = filter.is_timed() && self.few_ended(filter).await?;
        let (mut before, after) = self.ids_of(filter, before.unwrap_or(i64::MAX)).await?;
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut window = (limit + 1) * 4;
        loop {
            // one more than asked for says whether there is more
            let step = Step { before, after, window, limit: limit + 1 - i64::try_from(page.items.len()).unwrap_or(limit) };
            let rows = self.select("list jobs", &filter::list(filter, step, ended)).await?;
            let Some(first) = rows.first() else { return Ok(page) };
            let (reached, seen): (i64, i64) = (first.get("reached"), first.get("seen"));
            for row in rows.iter().filter(|row| row.get::<_, Option<i64>>("id").is_some()) {
                page.items.push(view(row, fields)?);
            }
            if page.items.len() > most {
                page.items.truncate(most);
                page.next = page.items.last().map(|job| job.id);
                return Ok(page);
            } else if seen < window || reached <= after {
                return Ok(page);
            } else if began.elapsed() > SEARCH {
                page.next = Some(reached);
                return Ok(page);
            }
            before = reached;
            window = (window * 8).min(WINDOW);
        }
    }

    /// Whether so little finished within the filter's times that it is best read by that.
    async fn few_ended(&self, filter: &JobFilter) -> Result<bool, StoreError> {
        let rows = self.select("count finished jobs", &filter::ended(filter, WINDOW)).await?;
        Ok(rows.first().is_some_and(|row| row.get::<_, i64>(0) < WINDOW))
    }

    /// Between which ids the jobs are that were enqueued in the filter's times: below the first, above the second. Ids and
    /// times go together but for jobs whose transaction stood open for long, so it is [`APART`] and [`NEAR`] ids more.
    async fn ids_of(&self, filter: &JobFilter, before: i64) -> Result<(i64, i64), StoreError> {
        let id_at = async |time: Timestamp| -> Result<Option<i64>, StoreError> { Ok(self.query_one(ID_AT, &[&time]).await?.get(0)) };
        // what has finished before a time was enqueued before it
        let below = match [filter.created_before, filter.finished_before].into_iter().flatten().min().map(|time| time.saturating_add(APART)) {
            Some(Ok(time)) => id_at(time).await?.map_or(before, |id| before.min(id.saturating_add(NEAR))),
            _ => before,
        };
        let above = match filter.created_after.map(|time| time.saturating_sub(APART)) {
            Some(Ok(time)) => id_at(time).await?.map_or(0, |id| id - NEAR),
            _ => 0,
        };
        Ok((below, above))
    }
}

/// One job, in somebody's transaction.
pub(super) async fn job_on<C: deadpool_postgres::GenericClient>(transaction: &C, id: i64) -> Result<Option<JobView>, StoreError> {
    let rows = query_on(transaction, GET, &[&id]).await?;
    rows.first().map(|row| view(row, Fields { args: true, result: true })).transpose()
}

/// The columns of the view that [`view`] reads, in its order; `sql/jobs/get.sql`, `get_with_history.sql` and `some.sql` name the same.
pub(super) const COLUMNS: &str = "id, kind, queue, state::text, args, priority, run_at, expires_at, attempt, max_attempts, timeout::float8, tags, meta, unique_key, \
                       concurrency_key, progress, checkpoint, result, error, worker, enqueued_by, request_id, created_at, started_at, finished_at, cancel_requested_at, schedule, scheduled_for, workflow_id";

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
        workflow_id: field(row, "workflow_id", "jobs", id)?,
        schedule: field(row, "schedule", "jobs", id)?,
        scheduled_for: field(row, "scheduled_for", "jobs", id)?,
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

/// An attempt as the database tells it.
#[derive(Debug, Deserialize)]
struct Past {
    attempt: i16,
    worker: Option<String>,
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
    outcome: Option<String>,
    error: Option<String>,
}

impl Past {
    fn view(self, id: i64) -> Result<AttemptView, StoreError> {
        let Self { attempt, worker, started_at, finished_at, outcome, error } = self;
        let known = |word: String| {
            let kind = OutcomeKind::ALL.into_iter().find(|kind| kind.word() == word);
            kind.ok_or_else(|| StoreError::Corrupt { table: "attempts", id, why: format!("outcome {word}") })
        };
        Ok(AttemptView { attempt, worker, started_at, finished_at, outcome: outcome.map(known).transpose()?, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn get_reads_the_same_columns_as_lists() {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        for statement in [GET.text, GET_WITH_HISTORY.text, include_str!("../../sql/jobs/some.sql")] {
            assert!(words(statement).contains(&words(COLUMNS)));
        }
    }
}
