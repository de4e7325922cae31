//! Workflows: made, read, added to, cancelled and retried. `sql/routines/18_workflows.sql` holds what happens to them.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Collisions, Statement, Store, StoreError,
    enqueue::{Enqueued, Origin, Schema, enqueue_within_transaction},
    field,
    once::{FirstAnswer, OnceError, OnceRequest, Work},
    query_on,
    queues::Counts,
    statement,
};
use crate::{
    job::{JobState, NewTask, NewWorkflow, TaskName, Upstream, workflow::TaskView},
    json::RawJson,
};

const MAKE: Statement = statement!("make a workflow", "workflows/make.sql");
const IDS: Statement = statement!("number the jobs of a workflow", "workflows/ids.sql");
const OPEN: Statement = statement!("lock a workflow", "workflows/open.sql");
const RELEASE: Statement = statement!("close edges of a workflow", "workflows/release.sql");
const GET: Statement = statement!("read a workflow", "workflows/get.sql");
const TASKS: Statement = statement!("read the jobs of a workflow", "workflows/tasks.sql");
const CANCEL: Statement = statement!("cancel a workflow", "workflows/cancel.sql");
const RETRY: Statement = statement!("retry a workflow", "workflows/retry.sql");

/// A workflow, as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct WorkflowView {
    /// Its id.
    pub id: i64,
    /// What people call it.
    pub name: Option<String>,
    /// How it stands.
    pub state: WorkflowState,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its jobs by state.
    pub counts: Counts,
    /// Its jobs, each behind those that it comes after.
    pub jobs: Vec<TaskView>,
    /// The queues of its jobs.
    #[serde(skip)]
    pub queues: HashSet<String>,
}

/// How a workflow stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowState {
    /// A job of it is not finished.
    Running,
    /// All succeeded.
    Succeeded,
    /// All are finished, and one failed.
    Failed,
    /// All are finished, none failed, and one was cancelled.
    Cancelled,
}

impl WorkflowState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    fn of(counts: &Counts) -> Self {
        let Counts { scheduled, available, running, retryable, blocked, failed, cancelled, .. } = counts;
        if scheduled + available + running + retryable + blocked > 0 {
            Self::Running
        } else if *failed > 0 {
            Self::Failed
        } else if *cancelled > 0 {
            Self::Cancelled
        } else {
            Self::Succeeded
        }
    }
}

/// Why a call of a workflow changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowError {
    /// There is no such workflow.
    #[error("there is no workflow {0}")]
    NotThere(i64),
    /// All of its jobs are finished.
    #[error("workflow {0} is over")]
    Over(i64),
    /// None of its jobs has failed.
    #[error("no job of workflow {0} has failed")]
    NothingFailed(i64),
    /// A job that is to be retried needs a unique key that another one holds.
    #[error("the unique key of job {id} is held by job {standing}")]
    KeyHeld {
        /// The job.
        id: i64,
        /// Who holds its key.
        standing: i64,
    },
    /// What was read of it a moment ago is not so any more: a job of that name was added, or one was deleted.
    #[error("workflow {0} was changed meanwhile")]
    Changed(i64),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far a workflow was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelledWorkflow {
    /// Jobs that waited and are cancelled.
    pub cancelled: i32,
    /// Jobs that run and were asked for.
    pub asked: i32,
}

struct MakeWorkflow<'a> {
    lanes: Vec<i32>,
    new: &'a NewWorkflow,
    origin: &'a Origin,
    queues: Option<&'a [String]>,
}

impl Work for MakeWorkflow<'_> {
    async fn on(&self, transaction: &deadpool_postgres::Transaction<'_>) -> Result<Result<(u16, RawJson), OnceError>, StoreError> {
        let Self { lanes, new, origin, queues } = self;
        let row = query_on(transaction, MAKE, &[&new.name, &origin.enqueued_by, &origin.request_id, &count(new.tasks.len())]).await?;
        let (id, ids): (i64, Vec<i64>) = row.first().map(|row| (row.get(0), row.get(1))).ok_or_else(|| no_ids(0))?;
        let afters = afters(&new.tasks, &ids, &HashMap::new());
        let enqueued = enqueue_tasks(transaction, lanes, id, &new.tasks, &ids, &afters, origin, *queues).await?;
        let view = fresh(id, new, &enqueued);
        Ok(Ok((201, RawJson::from_value(&view).unwrap_or_else(|_| RawJson::empty_object()))))
    }
}

impl Store {
    /// Makes a workflow, all or nothing; with `once`, if no request with that key was done in the last 24 hours.
    ///
    /// # Errors
    /// [`OnceError`]; where it is a [`StoreError`] with an index, that is the place of a job in the request. Nothing is stored then.
    pub async fn make_workflow(
        &self,
        once: Option<&OnceRequest>,
        new: &NewWorkflow,
        origin: &Origin,
        queues: Option<&[String]>,
    ) -> Result<FirstAnswer, OnceError> {
        let lanes = self.lanes_of_tasks(&new.tasks).await?;
        self.in_one_transaction("make a workflow", once, &MakeWorkflow { lanes, new, origin, queues }).await
    }

    /// Adds jobs to a workflow of which a job is unfinished; all or nothing.
    ///
    /// # Errors
    /// [`WorkflowError`]; nothing is stored then.
    pub async fn add_to_workflow(&self, id: i64, tasks: &[NewTask], origin: &Origin, queues: Option<&[String]>) -> Result<(), WorkflowError> {
        let lanes = self.lanes_of_tasks(tasks).await?;
        let mut collisions = Collisions::none();
        loop {
            let work = self.bounded("add to a workflow", async {
                let mut connection = self.connection("add to a workflow").await?;
                let added = add_on(&mut connection, &lanes, id, tasks, origin, queues).await;
                connection.settle(added)
            });
            match work.await {
                Err(error) if collisions.again(&error) => {}
                Err(error) => return Err(error.into()),
                Ok(added) => return added,
            }
        }
    }

    /// A workflow with all of its jobs; `None`: it is not there, or all of them were forgotten.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn workflow(&self, id: i64) -> Result<Option<WorkflowView>, StoreError> {
        let Some(row) = self.query(GET, &[&id]).await?.pop() else { return Ok(None) };
        let mut names: HashMap<i64, String> = HashMap::new();
        let (mut counts, mut jobs, mut queues) = (Counts::default(), Vec::new(), HashSet::new());
        for row in self.query(TASKS, &[&id]).await? {
            let job: i64 = field(&row, "id", "job_data", id)?;
            let name: String = field(&row, "task", "job_data", job)?;
            let word: Option<&str> = field(&row, "state", "jobs", job)?;
            let state = word.and_then(JobState::from_word).ok_or_else(|| StoreError::Corrupt {
                table: "jobs",
                id: job,
                why: "it stands in no place; see longshore.violations".to_owned(),
            })?;
            let after: Option<Vec<i64>> = field(&row, "after", "job_data", job)?;
            let after = after.unwrap_or_default().iter().filter_map(|parent| names.get(parent).cloned()).collect();
            names.insert(job, name.clone());
            queues.insert(field(&row, "queue", "jobs", job)?);
            counts.count(state);
            jobs.push(TaskView { name, id: job, state, after });
        }
        if jobs.is_empty() {
            return Ok(None);
        }
        Ok(Some(WorkflowView { id, name: row.get(0), created_at: row.get(1), state: WorkflowState::of(&counts), counts, jobs, queues }))
    }

    /// Cancels what waits, and asks for the cancellation of what runs.
    ///
    /// # Errors
    /// [`WorkflowError`].
    pub async fn cancel_workflow(&self, id: i64) -> Result<CancelledWorkflow, WorkflowError> {
        let rows = self.again(CANCEL, &[&id]).await?;
        let row = rows.first().ok_or(WorkflowError::NotThere(id))?;
        match (row.get(0), row.get(1)) {
            (Some(0), Some(0)) => Err(WorkflowError::Over(id)),
            (Some(cancelled), Some(asked)) => Ok(CancelledWorkflow { cancelled, asked }),
            _ => Err(WorkflowError::NotThere(id)),
        }
    }

    /// Runs again what failed, and what was cancelled because of that.
    ///
    /// # Errors
    /// [`WorkflowError`]; nothing was changed, unless the database is away, when that is not known.
    pub async fn retry_workflow(&self, id: i64) -> Result<(), WorkflowError> {
        let mut collisions = Collisions::none();
        loop {
            let work = self.bounded("retry a workflow", async {
                let mut connection = self.connection("retry a workflow").await?;
                let retried = retry_on(&mut connection, id).await;
                connection.settle(retried)
            });
            match work.await {
                Err(error) if collisions.again(&error) => {}
                Err(error) => return Err(error.into()),
                Ok(retried) => return retried,
            }
        }
    }

    async fn lanes_of_tasks(&self, tasks: &[NewTask]) -> Result<Vec<i32>, StoreError> {
        let names: Vec<_> = tasks.iter().map(|task| (&task.job.queue, &task.job.kind)).collect();
        self.lanes_of(&names).await
    }
}

/// The ids that each job comes after.
fn afters(tasks: &[NewTask], ids: &[i64], standing: &HashMap<TaskName, i64>) -> Vec<Vec<i64>> {
    let id_of = |upstream: &Upstream| match upstream {
        Upstream::New(index) => ids.get(*index).copied(),
        Upstream::Standing(name) => standing.get(name).copied(),
    };
    tasks.iter().map(|task| task.after.iter().filter_map(id_of).collect()).collect()
}

#[expect(clippy::too_many_arguments, reason = "what an enqueue needs, and what a workflow adds to it")]
async fn enqueue_tasks(
    transaction: &deadpool_postgres::Transaction<'_>,
    lanes: &[i32],
    workflow: i64,
    tasks: &[NewTask],
    ids: &[i64],
    afters: &[Vec<i64>],
    origin: &Origin,
    queues: Option<&[String]>,
) -> Result<Vec<Enqueued>, StoreError> {
    let jobs: Vec<_> = tasks.iter().map(|task| task.job.clone()).collect();
    let of_workflow = Tasks { workflow, all: tasks, ids, afters };
    let enqueued = enqueue_within_transaction(transaction, Schema::Own, lanes, &jobs, origin, queues, Some(of_workflow))
        .await
        .map_err(|error| in_request(error, tasks))?;
    match enqueued.iter().position(|job| matches!(job, Enqueued::Duplicate { .. })) {
        None => Ok(enqueued),
        Some(index) => {
            let key = tasks[index].job.unique.as_ref().map(|unique| unique.key.clone()).unwrap_or_default();
            Err(StoreError::KeyHeld { index: tasks[index].place, key, standing: enqueued[index].id() })
        }
    }
}

/// The index of a job in the request instead of that among the sorted ones.
fn in_request(error: StoreError, tasks: &[NewTask]) -> StoreError {
    let place = |index: usize| tasks.get(index).map_or(index, |task| task.place);
    match error {
        StoreError::KeyHeld { index, key, standing } => StoreError::KeyHeld { index: place(index), key, standing },
        StoreError::KeyHeldElsewhere { index, key } => StoreError::KeyHeldElsewhere { index: place(index), key },
        error => error,
    }
}

fn fresh(id: i64, new: &NewWorkflow, enqueued: &[Enqueued]) -> WorkflowView {
    let (mut counts, mut created) = (Counts::default(), Timestamp::UNIX_EPOCH);
    let mut jobs = Vec::with_capacity(enqueued.len());
    for (task, enqueued) in new.tasks.iter().zip(enqueued) {
        let Enqueued::New { id, run_at, created_at, .. } = *enqueued else { continue };
        created = created_at;
        let state = if task.after.is_empty() { Enqueued::state(run_at, created_at) } else { JobState::Blocked };
        counts.count(state);
        let after = task.after.iter().filter_map(|upstream| if let Upstream::New(index) = upstream { Some(new.tasks[*index].name.to_string()) } else { None });
        jobs.push(TaskView { name: task.name.to_string(), id, state, after: after.collect() });
    }
    let queues = new.tasks.iter().map(|task| task.job.queue.to_string()).collect();
    WorkflowView { id, name: new.name.clone(), state: WorkflowState::of(&counts), created_at: created, counts, jobs, queues }
}

async fn add_on(
    connection: &mut deadpool_postgres::Object,
    lanes: &[i32],
    id: i64,
    tasks: &[NewTask],
    origin: &Origin,
    queues: Option<&[String]>,
) -> Result<Result<(), WorkflowError>, StoreError> {
    let failed = |error: tokio_postgres::Error| StoreError::from_postgres("add to a workflow", &error);
    let transaction = connection.transaction().await.map_err(failed)?;
    // first without its lock, to know whom to pin; names and ids of what stands there never change
    let mut standing: HashMap<TaskName, (i64, bool)> = HashMap::new();
    for row in query_on(&transaction, TASKS, &[&id]).await? {
        let finished = row.get::<_, Option<&str>>(3).and_then(JobState::from_word).is_some_and(JobState::is_finished);
        if let Ok(name) = TaskName::new(row.get(1)) {
            standing.insert(name, (row.get(0), finished));
        }
    }
    let ids_of: HashMap<TaskName, i64> = standing.iter().map(|(name, (id, _))| (name.clone(), *id)).collect();
    let named: Vec<&TaskName> =
        tasks.iter().flat_map(|task| &task.after).filter_map(|up| if let Upstream::Standing(name) = up { Some(name) } else { None }).collect();
    let Some(parents) = named.iter().map(|name| ids_of.get(*name).copied()).collect::<Option<Vec<i64>>>() else {
        return refuse(transaction, WorkflowError::Changed(id)).await;
    };
    let row = query_on(&transaction, OPEN, &[&id, &parents]).await?;
    match row.first().map(|row| (row.get::<_, bool>(0), row.get::<_, Option<bool>>(1))) {
        Some((true, Some(false))) => {}
        Some((true, _)) => return refuse(transaction, WorkflowError::Over(id)).await,
        _ if standing.is_empty() => return refuse(transaction, WorkflowError::NotThere(id)).await,
        _ => return refuse(transaction, WorkflowError::Changed(id)).await,
    }
    // under the lock nobody else adds any
    for row in query_on(&transaction, TASKS, &[&id]).await? {
        if tasks.iter().any(|task| *task.name == *row.get::<_, &str>(1)) {
            return refuse(transaction, WorkflowError::Changed(id)).await;
        }
    }
    let ids: Vec<i64> = query_on(&transaction, IDS, &[&count(tasks.len())]).await?.first().map(|row| row.get(0)).ok_or_else(|| no_ids(id))?;
    enqueue_tasks(&transaction, lanes, id, tasks, &ids, &afters(tasks, &ids, &ids_of), origin, queues).await?;
    query_on(&transaction, RELEASE, &[&parents]).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(Ok(()))
}

async fn retry_on(connection: &mut deadpool_postgres::Object, id: i64) -> Result<Result<(), WorkflowError>, StoreError> {
    let failed = |error: tokio_postgres::Error| StoreError::from_postgres("retry a workflow", &error);
    let transaction = connection.transaction().await.map_err(failed)?;
    let rows = query_on(&transaction, RETRY, &[&id]).await?;
    let why = match rows.first().map(|row| (row.get(0), row.get(1), row.get(2))) {
        None | Some((None, _, _)) => WorkflowError::NotThere(id),
        Some((_, Some(standing), Some(held))) => WorkflowError::KeyHeld { id: held, standing },
        Some((Some(0), _, _)) => WorkflowError::NothingFailed(id),
        Some((Some::<i32>(_), None::<i64>, _) | (_, _, None::<i64>)) => {
            transaction.commit().await.map_err(failed)?;
            return Ok(Ok(()));
        }
    };
    refuse(transaction, why).await
}

/// Takes all back before anybody is told.
async fn refuse(transaction: deadpool_postgres::Transaction<'_>, why: WorkflowError) -> Result<Result<(), WorkflowError>, StoreError> {
    transaction.rollback().await.map_err(|error| StoreError::from_postgres("roll back", &error))?;
    Ok(Err(why))
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn no_ids(id: i64) -> StoreError {
    StoreError::Corrupt { table: "workflows", id, why: "no ids came back for its jobs".to_owned() }
}

/// That jobs belong to a workflow: one entry a job.
#[derive(Clone, Copy)]
pub(super) struct Tasks<'a> {
    /// Which.
    pub workflow: i64,
    /// What they are in it.
    pub all: &'a [NewTask],
    /// Their ids, ascending.
    pub ids: &'a [i64],
    /// The ids that they come after.
    pub afters: &'a [Vec<i64>],
}

impl Tasks<'_> {
    pub(super) fn part(&self, range: std::ops::Range<usize>) -> Self {
        Self { workflow: self.workflow, all: &self.all[range.clone()], ids: &self.ids[range.clone()], afters: &self.afters[range] }
    }
}
