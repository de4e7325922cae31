//! Reading: one job, lists of jobs. All of it is the view `longshore.jobs`, driven by the narrowest index that a
//! filter has.

use jiff::Timestamp;
use tokio_postgres::{Row, types::ToSql};

use super::{Statement, Store, StoreError, field, query_on, statement};
use crate::{
    job::{AttemptView, JobState, JobView, OutcomeKind, view::Seconds},
    json::RawJson,
};

const GET: Statement = statement!("read a job", "jobs/get.sql");
const HISTORY: Statement = statement!("read the history of a job", "jobs/history.sql");

/// What a list of jobs is narrowed to; everything that is given must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobFilter {
    /// One of these states.
    pub states: Vec<JobState>,
    /// One of these queues.
    pub queues: Vec<String>,
    /// One of these kinds.
    pub kinds: Vec<String>,
    /// All of these labels: `t:tag`, `m:key=value`.
    pub labels: Vec<String>,
    /// This unique key.
    pub unique_key: Option<String>,
    /// This concurrency key.
    pub concurrency_key: Option<String>,
    /// Enqueued at or after.
    pub created_after: Option<Timestamp>,
    /// Enqueued before.
    pub created_before: Option<Timestamp>,
    /// Finished at or after.
    pub finished_after: Option<Timestamp>,
    /// Finished before.
    pub finished_before: Option<Timestamp>,
}

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
        let (text, params) = list_statement(filter, before.unwrap_or(i64::MAX), limit);
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| &**p as &(dyn ToSql + Sync)).collect();
        let rows = self
            .bounded("list jobs", async {
                let connection = self.connection("list jobs").await?;
                let rows = list_on(&connection, &text, &params).await;
                connection.settle(rows)
            })
            .await?;
        rows.iter().map(|row| view(row, fields)).collect()
    }
}

/// One job, in somebody's transaction.
pub(super) async fn job_on<C: deadpool_postgres::GenericClient>(transaction: &C, id: i64) -> Result<Option<JobView>, StoreError> {
    let rows = query_on(transaction, GET, &[&id]).await?;
    rows.first().map(|row| view(row, Fields { args: true, result: true })).transpose()
}

async fn list_on(connection: &deadpool_postgres::Object, text: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
    let failed = |error: tokio_postgres::Error| StoreError::from_postgres("list jobs", &error);
    let prepared = connection.prepare_cached(text).await.map_err(failed)?;
    connection.query(&prepared, params).await.map_err(failed)
}

type Param = Box<dyn ToSql + Sync + Send>;

/// The one statement whose text depends on its input: its WHERE is put together from constant fragments, since
/// `$n is null or …` would defeat the index under a generic plan. The driver is the narrowest index the filter has; the
/// other conditions are tested on each of its rows.
fn list_statement(filter: &JobFilter, before: i64, limit: i64) -> (String, Vec<Param>) {
    let mut params: Vec<Param> = vec![Box::new(before), Box::new(limit)];
    let mut param = |value: Param| {
        params.push(value);
        params.len()
    };
    let mut labels = filter.labels.iter();
    let unhappy_alone = match filter.states[..] {
        [state @ (JobState::Failed | JobState::Cancelled)] => Some(state),
        _ => None,
    };
    // Each driver gives ids, newest first, below $1. A row comparison instead of an equality keeps the planner on the
    // index that is meant: with `lane = $n` it would walk the primary key for a rare kind.
    let driver = if let Some(label) = labels.next() {
        format!("select id from longshore.labels where label = ${} and id < $1 order by label desc, id desc", param(Box::new(label.clone())))
    } else if let Some(key) = &filter.unique_key {
        format!("select id from longshore.job_data where unique_key = ${} and id < $1 order by unique_key desc, id desc", param(Box::new(key.clone())))
    } else if let Some(key) = &filter.concurrency_key {
        format!(
            "select id from longshore.job_data where concurrency_key = ${} and id < $1 order by concurrency_key desc, id desc",
            param(Box::new(key.clone()))
        )
    } else if let Some(state) = unhappy_alone {
        format!("select id from longshore.finished where state <> 'succeeded' and state = '{}' and id < $1 order by state desc, id desc", state.word())
    } else if filter.states == [JobState::Running] {
        "select id from longshore.running where id < $1 order by id desc".to_owned()
    } else if filter.states == [JobState::Succeeded] && filter.queues.is_empty() && filter.kinds.is_empty() {
        "select id from longshore.finished where state = 'succeeded' and id < $1 order by id desc".to_owned()
    } else if !filter.queues.is_empty() || !filter.kinds.is_empty() {
        let mut of = Vec::new();
        if !filter.queues.is_empty() {
            of.push(format!("q.name = any(${})", param(Box::new(filter.queues.clone()))));
        }
        if !filter.kinds.is_empty() {
            of.push(format!("l.kind = any(${})", param(Box::new(filter.kinds.clone()))));
        }
        format!(
            "select x.id from longshore.lanes l join longshore.queues q using (queue) cross join lateral
               (select i.id from longshore.job_data i where i.lane >= l.lane and (i.lane, i.id) < (l.lane, $1) order by i.lane desc, i.id desc) x
              where {} order by x.id desc",
            of.join(" and ")
        )
    } else {
        "select id from longshore.job_data where id < $1 order by id desc".to_owned()
    };
    let mut conditions = vec!["true".to_owned()];
    if !filter.states.is_empty() {
        let words: Vec<String> = filter.states.iter().map(|s| s.word().to_owned()).collect();
        conditions.push(format!("v.state = any(${})", param(Box::new(words))));
    }
    if !filter.queues.is_empty() {
        conditions.push(format!("v.queue = any(${})", param(Box::new(filter.queues.clone()))));
    }
    if !filter.kinds.is_empty() {
        conditions.push(format!("v.kind = any(${})", param(Box::new(filter.kinds.clone()))));
    }
    for label in labels {
        conditions.push(format!("exists (select from longshore.labels b where b.label = ${} and b.id = v.id)", param(Box::new(label.clone()))));
    }
    for (column, key) in [("unique_key", &filter.unique_key), ("concurrency_key", &filter.concurrency_key)] {
        if let Some(key) = key {
            conditions.push(format!("v.{column} = ${}", param(Box::new(key.clone()))));
        }
    }
    for (condition, time) in [
        ("v.created_at >=", filter.created_after),
        ("v.created_at <", filter.created_before),
        ("v.finished_at >=", filter.finished_after),
        ("v.finished_at <", filter.finished_before),
    ] {
        if let Some(time) = time {
            conditions.push(format!("{condition} ${}", param(Box::new(time))));
        }
    }
    let text = format!(
        "-- jobs/list\nselect v.* from ({driver}) d cross join lateral (select {COLUMNS} from longshore.jobs v where v.id = d.id offset 0) v where {} limit $2",
        conditions.join(" and ")
    );
    (text, params)
}

/// The columns of the view that [`view`] reads, in its order; `sql/jobs/get.sql` names the same.
const COLUMNS: &str = "id, kind, queue, state::text, args, priority, run_at, expires_at, attempt, max_attempts, timeout::float8, tags, meta, unique_key, \
                       concurrency_key, result, error, worker, enqueued_by, request_id, created_at, started_at, finished_at, cancel_requested_at";

fn view(row: &Row, fields: Fields) -> Result<JobView, StoreError> {
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
        progress: None,
        checkpoint: None,
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
        assert!(words(GET.text).contains(&words(COLUMNS)));
    }
}
