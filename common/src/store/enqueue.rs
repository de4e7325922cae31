//! The one way in: jobs are written by `longshore.enqueue_batch`, however they come.

mod coalescer;
mod rules;

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::{Row, types::ToSql};

pub(super) use self::rules::{Schema, millis};
pub use self::{coalescer::Coalescer, rules::Rules};
use super::{Collisions, Statement, Store, StoreError, query_on, statement, workflows::Tasks};
use crate::{
    job::{IfFailed, JobState, NewJob, When},
    json::RawJson,
};

const ENQUEUE: Statement = statement!("enqueue jobs", "jobs/enqueue.sql");
const ENQUEUE_OLDER: Statement = statement!("enqueue jobs", "jobs/enqueue_older.sql");
const ENQUEUE_TASKS: Statement = statement!("enqueue jobs of a workflow", "workflows/enqueue.sql");
const OUTSIDE: Statement = statement!("look whose unique keys those are", "jobs/outside.sql");

/// Jobs a statement at most: large enough to be cheap, small enough to be short.
const CHUNK_JOBS: usize = 1000;
/// Bytes of args a statement at most, so that a batch of large jobs is not encoded all at once.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Where jobs come from: written beside each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Name of the API key.
    pub enqueued_by: Option<String>,
    /// Id of the request.
    pub request_id: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

/// What became of a new job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Enqueued {
    /// It is stored.
    New {
        /// Its id.
        id: i64,
        /// When it is due.
        run_at: Timestamp,
        /// When it was stored.
        created_at: Timestamp,
        /// When it expires.
        expires_at: Option<Timestamp>,
        /// What counts for it: its own, or its queue's where it was silent.
        rules: Rules,
    },
    /// Its unique key is held; `replaced`: by a job that waits and has now become this one.
    Duplicate {
        /// The standing job.
        id: i64,
        /// Whether it was overwritten.
        replaced: bool,
    },
}

impl Enqueued {
    /// The job that is now there.
    pub fn id(&self) -> i64 {
        match self {
            Self::New { id, .. } | Self::Duplicate { id, .. } => *id,
        }
    }

    /// The state of a new job.
    pub fn state(run_at: Timestamp, created_at: Timestamp) -> JobState {
        JobState::of_new(run_at <= created_at)
    }
}

/// What the statement said of one job.
#[derive(Clone, Copy)]
enum Verdict {
    Done(Enqueued),
    KeyHeld { standing: i64 },
    QueueFull,
}

impl Verdict {
    /// The job that was there before, where there was one.
    fn standing(self) -> Option<i64> {
        match self {
            Self::Done(Enqueued::New { .. }) | Self::QueueFull => None,
            Self::Done(Enqueued::Duplicate { id, .. }) | Self::KeyHeld { standing: id } => Some(id),
        }
    }
}

impl Store {
    /// Enqueues jobs, all or nothing, and returns what became of each, in their order. When it returns, they are durable.
    ///
    /// # Errors
    /// [`StoreError::KeyHeld`] where a unique key with `on_conflict: reject` is held, [`StoreError::QueueFull`]; nothing is
    /// stored then.
    pub async fn enqueue(&self, jobs: &[NewJob], origin: &Origin) -> Result<Vec<Enqueued>, StoreError> {
        self.enqueue_within(jobs, origin, None).await
    }

    /// The same for a caller who may know these queues only. Unique keys reach over all queues of a kind: where one of the
    /// new jobs meets a job of another queue, nothing is stored, nothing replaced, and nothing of that job is told.
    ///
    /// # Errors
    /// [`StoreError::KeyHeld`], [`StoreError::KeyHeldElsewhere`] and [`StoreError::QueueFull`]; nothing is stored then.
    pub async fn enqueue_within(&self, jobs: &[NewJob], origin: &Origin, queues: Option<&[String]>) -> Result<Vec<Enqueued>, StoreError> {
        let names: Vec<_> = jobs.iter().map(|job| (&job.queue, &job.kind)).collect();
        let lanes = self.lanes_of(&names).await?;
        let (mut collisions, mut schema) = (Collisions::none(), Schema::Own);
        loop {
            let result = self.bounded("enqueue jobs", async {
                let mut connection = self.connection("enqueue jobs").await?;
                let enqueued = enqueue_all(&mut connection, schema, &lanes, jobs, origin, queues).await;
                connection.settle(enqueued)
            });
            match result.await {
                Err(error) if collisions.again(&error) => {}
                Err(error) if schema.is_older_than(&error) => schema = Schema::Older,
                result => return result,
            }
        }
    }

    /// Enqueues jobs that do not belong together: one statement, one commit, and each gets its own answer. Waits for a lock no
    /// longer than `patience`; `None`: as all statements do.
    async fn enqueue_together(&self, jobs: &[(NewJob, Origin)], patience: Option<Duration>) -> Result<Vec<Verdict>, StoreError> {
        let patience = patience.map(|patience| format!("{}ms", patience.as_millis()));
        let names: Vec<_> = jobs.iter().map(|(job, _)| (&job.queue, &job.kind)).collect();
        let lanes = self.lanes_of(&names).await?;
        let batch: Vec<(&NewJob, &Origin)> = jobs.iter().map(|(job, origin)| (job, origin)).collect();
        let (mut collisions, mut schema) = (Collisions::none(), Schema::Own);
        loop {
            let result = self.bounded("enqueue jobs", async {
                let connection = self.connection("enqueue jobs").await?;
                let verdicts = enqueue_chunk(&*connection, schema, &lanes, &batch, None, patience.as_deref()).await;
                connection.settle(verdicts)
            });
            match result.await {
                Err(error) if collisions.again(&error) => {}
                Err(error) if schema.is_older_than(&error) => schema = Schema::Older,
                result => return result,
            }
        }
    }
}

/// All or nothing: as many statements as the jobs need, one transaction.
async fn enqueue_all(
    connection: &mut deadpool_postgres::Object,
    schema: Schema,
    lanes: &[i32],
    jobs: &[NewJob],
    origin: &Origin,
    queues: Option<&[String]>,
) -> Result<Vec<Enqueued>, StoreError> {
    let failed = |error: tokio_postgres::Error| StoreError::from_postgres("enqueue jobs", &error);
    let transaction = connection.transaction().await.map_err(failed)?;
    let enqueued = enqueue_within_transaction(&transaction, schema, lanes, jobs, origin, queues, None).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(enqueued)
}

/// As many statements as the jobs need; an error has to roll the transaction back.
pub(super) async fn enqueue_within_transaction<C: deadpool_postgres::GenericClient>(
    transaction: &C,
    schema: Schema,
    lanes: &[i32],
    jobs: &[NewJob],
    origin: &Origin,
    queues: Option<&[String]>,
    tasks: Option<Tasks<'_>>,
) -> Result<Vec<Enqueued>, StoreError> {
    let mut enqueued = Vec::with_capacity(jobs.len());
    while enqueued.len() < jobs.len() {
        let start = enqueued.len();
        let end = start + chunk_length(jobs[start..].iter());
        let batch: Vec<(&NewJob, &Origin)> = jobs[start..end].iter().map(|job| (job, origin)).collect();
        let verdicts = enqueue_chunk(transaction, schema, &lanes[start..end], &batch, tasks.map(|tasks| tasks.part(start..end)), None).await?;
        if let Some(queues) = queues {
            look_outside(transaction, &verdicts, queues, start, &batch).await?;
        }
        for (offset, verdict) in verdicts.into_iter().enumerate() {
            enqueued.push(accept(verdict, start + offset, batch[offset].0)?);
        }
    }
    Ok(enqueued)
}

/// Whether a unique key led to a job outside these queues. Asked before the commit: the error takes all of it back.
async fn look_outside<C: deadpool_postgres::GenericClient>(
    transaction: &C,
    verdicts: &[Verdict],
    queues: &[String],
    start: usize,
    batch: &[(&NewJob, &Origin)],
) -> Result<(), StoreError> {
    let met: Vec<(usize, i64)> = verdicts.iter().enumerate().filter_map(|(offset, verdict)| Some((offset, verdict.standing()?))).collect();
    if met.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = met.iter().map(|(_, id)| *id).collect();
    let outside: Vec<i64> = query_on(transaction, OUTSIDE, &[&ids, &queues]).await?.iter().map(|row| row.get(0)).collect();
    match met.into_iter().find(|(_, id)| outside.contains(id)) {
        None => Ok(()),
        Some((offset, _)) => Err(StoreError::KeyHeldElsewhere { index: start + offset, key: key_of(batch[offset].0) }),
    }
}

fn key_of(job: &NewJob) -> String {
    job.unique.as_ref().map(|unique| unique.key.clone()).unwrap_or_default()
}

fn accept(verdict: Verdict, index: usize, job: &NewJob) -> Result<Enqueued, StoreError> {
    match verdict {
        Verdict::Done(enqueued) => Ok(enqueued),
        Verdict::KeyHeld { standing } => Err(StoreError::KeyHeld { index, key: key_of(job), standing }),
        Verdict::QueueFull => Err(StoreError::QueueFull { queue: job.queue.to_string() }),
    }
}

/// How many of the next jobs go into one statement.
fn chunk_length<'a>(jobs: impl Iterator<Item = &'a NewJob>) -> usize {
    let mut bytes = 0;
    let fits = jobs.take(CHUNK_JOBS).take_while(|job| {
        let first = bytes == 0;
        bytes += job.args.as_str().len();
        first || bytes <= CHUNK_BYTES
    });
    fits.count()
}

/// One column of a batch: empty where no job uses the field, which PostgreSQL pads with nulls for next to nothing.
fn column<'a, T>(batch: &[(&'a NewJob, &'a Origin)], value: impl Fn(&'a NewJob, &'a Origin) -> Option<T>) -> Vec<Option<T>> {
    let mut column: Vec<Option<T>> = Vec::new();
    for (index, (job, origin)) in batch.iter().enumerate() {
        let value = value(job, origin);
        if value.is_some() && column.is_empty() {
            column.reserve_exact(batch.len());
            column.extend((0..index).map(|_| None));
        }
        if value.is_some() || !column.is_empty() {
            column.push(value);
        }
    }
    column
}

async fn enqueue_chunk<C: deadpool_postgres::GenericClient>(
    connection: &C,
    schema: Schema,
    lanes: &[i32],
    batch: &[(&NewJob, &Origin)],
    tasks: Option<Tasks<'_>>,
    patience: Option<&str>,
) -> Result<Vec<Verdict>, StoreError> {
    let args: Vec<&RawJson> = batch.iter().map(|(job, _)| &job.args).collect();
    let priorities = column(batch, |job, _| job.priority);
    let max_attempts = column(batch, |job, _| schema.max_attempts(job));
    let timeouts = column(batch, |job, _| schema.timeout_ms(job));
    let run_ats = column(batch, |job, _| if let When::At(time) = job.when { Some(time) } else { None });
    let delays = column(batch, |job, _| if let When::After(delay) = job.when { Some(delay.as_secs_f64()) } else { None });
    let expires_in = column(batch, |job, _| job.expires_in.map(|d| d.as_secs_f64()));
    let concurrency_keys = column(batch, |job, _| job.concurrency_key.as_deref());
    let retries = column(batch, |job, _| job.retry.as_ref().and_then(|retry| RawJson::from_value(retry).ok()));
    let tags = column(batch, |job, _| (!job.tags.is_empty()).then(|| RawJson::from_value(&job.tags).ok()).flatten());
    let metas = column(batch, |job, _| job.meta.as_ref());
    let enqueued_by = column(batch, |_, origin| origin.enqueued_by.as_deref());
    let request_ids = column(batch, |_, origin| origin.request_id.as_deref());
    let traceparents = column(batch, |_, origin| origin.traceparent.as_deref());
    let unique_keys = column(batch, |job, _| job.unique.as_ref().map(|u| u.key.as_str()));
    let unique_whiles = column(batch, |job, _| job.unique.as_ref().and_then(|u| u.rule).map(crate::job::UniqueWhile::word));
    let unique_fors = column(batch, |job, _| job.unique.as_ref().and_then(|u| u.lasts).map(|d: Duration| d.as_secs_f64()));
    let on_conflicts = column(batch, |job, _| job.unique.as_ref().map(|u| u.on_conflict.word()));
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![
        &lanes,
        &args,
        &priorities,
        &max_attempts,
        &timeouts,
        &run_ats,
        &delays,
        &expires_in,
        &concurrency_keys,
        &retries,
        &tags,
        &metas,
        &enqueued_by,
        &request_ids,
        &traceparents,
        &unique_keys,
        &unique_whiles,
        &unique_fors,
        &on_conflicts,
    ];
    let names: Vec<&str> = tasks.iter().flat_map(|tasks| tasks.all).map(|task| &*task.name).collect();
    let afters: Vec<Option<String>> = tasks.iter().flat_map(|tasks| tasks.afters).map(|after| array(after)).collect();
    let if_faileds: Vec<Option<&str>> = tasks.iter().flat_map(|tasks| tasks.all).map(|task| (task.if_failed == IfFailed::Run).then_some("run")).collect();
    if let Some(tasks) = &tasks {
        params.extend([&tasks.workflow as &(dyn ToSql + Sync), &tasks.ids, &names, &afters, &if_faileds]);
    } else {
        params.push(&patience);
    }
    let statement = match (&tasks, schema) {
        (Some(_), _) => ENQUEUE_TASKS,
        (None, Schema::Own) => ENQUEUE,
        (None, Schema::Older) => ENQUEUE_OLDER,
    };
    let rows = query_on(connection, statement, &params).await?;
    verdicts(&rows, schema, batch)
}

/// As the text of an array of PostgreSQL, of which an array cannot consist otherwise; `None`: it is empty.
fn array(ids: &[i64]) -> Option<String> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    (!ids.is_empty()).then(|| format!("{{{}}}", ids.join(",")))
}

/// Puts the rows into the order of the jobs: those with an `ord` say which they are; the others were numbered by the
/// sequence in the order of the jobs.
fn verdicts(rows: &[Row], schema: Schema, batch: &[(&NewJob, &Origin)]) -> Result<Vec<Verdict>, StoreError> {
    let jobs = batch.len();
    let mut verdicts: Vec<Option<Verdict>> = (0..jobs).map(|_| None).collect();
    let mut new: Vec<(i64, &Row)> = Vec::with_capacity(jobs);
    for row in rows {
        let (ord, id): (Option<i32>, i64) = (row.get(0), row.get(1));
        let Some(place) = ord.map(|ord| usize::try_from(ord - 1).unwrap_or(usize::MAX)) else {
            new.push((id, row));
            continue;
        };
        if let Some(verdict) = verdicts.get_mut(place) {
            *verdict = Some(match row.get::<_, &str>(2) {
                "conflict" => Verdict::KeyHeld { standing: id },
                "full" => Verdict::QueueFull,
                verdict => Verdict::Done(Enqueued::Duplicate { id, replaced: verdict == "replaced" }),
            });
        }
    }
    new.sort_unstable_by_key(|(id, _)| *id);
    let mut new = new.into_iter();
    for (verdict, (job, _)) in verdicts.iter_mut().zip(batch).filter(|(verdict, _)| verdict.is_none()) {
        *verdict = new.next().map(|(id, row)| {
            let rules = if schema == Schema::Older { Rules::said_by(job) } else { Rules::stored(row) };
            Verdict::Done(Enqueued::New { id, run_at: row.get(3), created_at: row.get(4), expires_at: row.get(5), rules })
        });
    }
    let complete = rows.len() == jobs;
    verdicts.into_iter().collect::<Option<Vec<_>>>().filter(|_| complete).ok_or_else(|| StoreError::Corrupt {
        table: "enqueue_batch",
        id: 0,
        why: format!("{} answers for {jobs} jobs", rows.len()),
    })
}
