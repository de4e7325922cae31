//! `/v1/jobs`: enqueue one, list them, read one.

use std::{slice, sync::Arc};

use jiff::Timestamp;
use longshore_common::{
    job::{AttemptView, JobView, NewJob, OnConflict, cursor, filter::MAX_ID},
    json::RawJson,
    key::Scope,
    store::{
        StoreError,
        enqueue::{Enqueued, Origin, Rules},
        once::OnceRequest,
        read::JobPage,
    },
};
use poem::http::StatusCode;
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path},
};
use serde::{Deserialize, Serialize};

use super::{Page, list::List, origin};
use crate::{
    auth::Access,
    body,
    idempotency::{self, Answered},
    openapi::{Awaiting, Caller, Enqueue, Enqueuing, IdempotencyKey, JobBody, Listing, Output, Query, Read, Refusal},
    problem::ApiError,
    state::State,
    waiting::AskedWait,
};

/// The routes of jobs.
#[derive(Debug)]
pub struct JobRoutes(pub Arc<State>);

/// What became of a job that was to be enqueued.
#[derive(Debug, ApiResponse)]
pub enum EnqueueAnswer {
    /// It is stored.
    #[oai(status = 201)]
    Created(
        Output<Answered<EnqueuedJob>>,
        /// Where it can be read.
        #[oai(header = "Location")]
        String,
        /// There, and true, where this is the first answer again.
        #[oai(header = "idempotent-replayed")]
        Option<bool>,
    ),
    /// Its unique key is held: this is the job that holds it, with `duplicate: true`.
    #[oai(status = 200)]
    Standing(
        Output<Answered<EnqueuedJob>>,
        /// There, and true, where this is the first answer again.
        #[oai(header = "idempotent-replayed")]
        Option<bool>,
    ),
}

/// The job that is now there.
#[derive(Debug, Serialize)]
pub struct EnqueuedJob {
    #[serde(flatten)]
    job: JobView,
    #[serde(flatten)]
    notes: Notes,
}

/// What an answer says beside the job.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Notes {
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

/// What has to be known of a first answer.
#[derive(Deserialize)]
struct Known {
    id: i64,
    #[serde(flatten)]
    notes: Notes,
}

/// What an enqueue came to, before anything is waited for.
struct Done {
    id: i64,
    /// Whether this request, or its first, made it.
    new: bool,
    replayed: bool,
    notes: Notes,
    shown: Shown,
}

/// The job, as it can be shown then.
enum Shown {
    Job(Box<JobView>),
    FirstAnswer(RawJson),
    /// It has to be read.
    Unread,
}

/// A job, with its attempts.
#[derive(Debug, Serialize)]
pub struct JobWithHistory {
    #[serde(flatten)]
    job: JobView,
    history: Vec<AttemptView>,
}

#[OpenApi]
impl JobRoutes {
    /// Enqueue a job
    ///
    /// When the answer comes, the job is durable; with `wait`, it comes when the job has ended. The same request again with the
    /// same `Idempotency-Key` gets the first answer, for 24 hours. Scope: `enqueue`.
    #[oai(path = "/v1/jobs", method = "post")]
    async fn enqueue(
        &self,
        caller: Caller<Enqueue>,
        wait: Query<AskedWait>,
        body: JobBody,
        #[oai(name = "idempotency-key")] key: IdempotencyKey,
        #[oai(name = "x-request-id")] request_id: Header<Option<String>>,
        traceparent: Header<Option<String>>,
    ) -> Result<EnqueueAnswer, Refusal<Enqueuing>> {
        let state = &*self.0;
        let store = state.store()?;
        let once = idempotency::once(&caller, key, "POST /v1/jobs");
        let held_until_enqueued = state.job_bodies.take(body.declared, body::MAX_JOB_BODY).await?;
        let text = body::read(body.body, body::MAX_JOB_BODY).await?;
        let job = NewJob::parse(&text, "").map_err(ApiError::from)?;
        caller.want_queue(&job.queue, Scope::Enqueue, || "/queue".to_owned())?;
        let origin = origin(&caller, request_id.0, traceparent.0);
        if wait.0.0.is_some() {
            state.waiting.prepare(store).await?;
        }
        let mut done = match once {
            None => self.enqueue_one(&caller, job, origin).await?,
            Some(mut once) => {
                once.hash.add(&text);
                self.enqueue_once(&caller, &once, job, &origin).await?
            }
        };
        drop((text, held_until_enqueued));
        if let Some(wait) = wait.0.0 {
            // it is stored: whatever comes of the waiting, that is the answer
            let ended = state.when_ended(done.id, wait, || store.job(done.id), |job| job.state.is_finished()).await.unwrap_or_default();
            if let Some(job) = ended {
                done.notes.warning = done.notes.warning.filter(|_| job.started_at.is_none()); // it was started after all
                done.shown = Shown::Job(job.into());
            }
        }
        let Done { id, new, replayed, notes, shown } = done;
        let body = match shown {
            Shown::FirstAnswer(body) => Answered::First(body),
            Shown::Job(job) => Answered::Now(EnqueuedJob { job: *job, notes }),
            // forgotten since: to the caller it makes no difference whether it was before or after
            Shown::Unread => Answered::Now(EnqueuedJob { job: store.job(id).await?.ok_or_else(|| no_job(&id.to_string()))?, notes }),
        };
        let replayed = replayed.then_some(true);
        Ok(if new { EnqueueAnswer::Created(Output(body), format!("/v1/jobs/{id}"), replayed) } else { EnqueueAnswer::Standing(Output(body), replayed) })
    }

    /// List jobs
    ///
    /// Newest first. args and results are left out unless `fields` asks for them. Where few of very many jobs meet the filter, a
    /// page may hold fewer than `limit`, none even, and have a `next_cursor`: the search goes on there. With a key that is limited
    /// to queues: the jobs of those. Scope: `read`.
    #[oai(path = "/v1/jobs", method = "get")]
    async fn list(&self, caller: Caller<Read>, query: Query<List>) -> Result<Output<Page<JobView>>, Refusal<Listing>> {
        let mut list = query.0;
        list.narrow(&caller)?;
        let List { filter, fields, before, limit } = list;
        let store = self.0.store()?;
        let JobPage { items, next } = store.list_jobs(&filter, fields, before, limit).await?;
        Ok(Output(Page { items, next_cursor: next.map(cursor::encode) }))
    }

    /// Read a job
    ///
    /// With `wait`, when it has ended. Scope: `read`.
    #[oai(path = "/v1/jobs/:id", method = "get")]
    async fn read(&self, caller: Caller<Read>, id: Path<String>, wait: Query<AskedWait>) -> Result<Output<JobWithHistory>, Refusal<Awaiting>> {
        let state = &*self.0;
        let number = job_id(&id.0)?;
        // one of another queue is told as if it was not there
        let reached = |(job, _): &(JobView, Vec<AttemptView>)| caller.reaches(&job.queue);
        let store = state.store()?;
        let mut found = store.job_with_history(number).await?.filter(reached);
        if let (Some(wait), Some((job, _))) = (wait.0.0, &found)
            && !job.state.is_finished()
        {
            state.waiting.prepare(store).await?;
            found = state.when_ended(number, wait, || store.job_with_history(number), |(job, _)| job.state.is_finished()).await?;
        }
        let (job, history) = found.ok_or_else(|| no_job(&id.0))?;
        Ok(Output(JobWithHistory { job, history }))
    }
}

impl JobRoutes {
    async fn enqueue_one(&self, caller: &Access, job: NewJob, origin: Origin) -> Result<Done, ApiError> {
        let state = &*self.0;
        let enqueued = match caller.queues() {
            // a transaction of its own, which can be taken back where the unique key leads to a job of another queue
            Some(queues) if job.unique.is_some() => state.store()?.enqueue_within(slice::from_ref(&job), &origin, Some(queues)).await.map(|all| all[0]),
            _ => state.coalescer()?.enqueue(job.clone(), origin.clone()).await,
        };
        let enqueued = enqueued.map_err(unique_key_held)?;
        if !matches!(enqueued, Enqueued::Duplicate { replaced: false, .. }) {
            state.waker.wake(&job.queue);
        }
        let (id, notes) = (enqueued.id(), self.notes(caller, &job, &enqueued));
        Ok(match enqueued {
            Enqueued::New { id, run_at, created_at, expires_at, rules } => {
                let job = as_enqueued(job, origin, id, run_at, created_at, expires_at, rules);
                Done { id, new: true, replayed: false, notes, shown: Shown::Job(job.into()) }
            }
            Enqueued::Duplicate { .. } => Done { id, new: false, replayed: false, notes, shown: Shown::Unread },
        })
    }

    async fn enqueue_once(&self, caller: &Access, once: &OnceRequest, job: NewJob, origin: &Origin) -> Result<Done, ApiError> {
        let state = &*self.0;
        let answer = |enqueued: &[Enqueued], standing: Option<JobView>| {
            let (status, shown) = match (enqueued, standing) {
                ([Enqueued::New { id, run_at, created_at, expires_at, rules }], _) => {
                    (StatusCode::CREATED, Some(as_enqueued(job.clone(), origin.clone(), *id, *run_at, *created_at, *expires_at, *rules)))
                }
                (_, standing) => (StatusCode::OK, standing),
            };
            let notes = enqueued.first().map(|enqueued| self.notes(caller, &job, enqueued)).unwrap_or_default();
            let body = shown.and_then(|job| RawJson::from_value(&EnqueuedJob { job, notes }).ok());
            (status.as_u16(), body.unwrap_or_else(RawJson::empty_object))
        };
        let first = state.store()?.enqueue_once(once, slice::from_ref(&job), origin, caller.queues(), answer).await;
        let first = first.map_err(|error| idempotency::refusal(error, unique_key_held))?;
        state.waker.wake(&job.queue);
        let Known { id, notes } = first
            .body
            .read()
            .map_err(|error| ApiError::Store(StoreError::Corrupt { table: "idempotency", id: 0, why: format!("an answer cannot be read: {error}") }))?;
        let new = first.status == StatusCode::CREATED.as_u16();
        Ok(Done { id, new, replayed: first.replayed, notes, shown: Shown::FirstAnswer(first.body) })
    }

    fn notes(&self, caller: &Access, job: &NewJob, enqueued: &Enqueued) -> Notes {
        let warning = self.0.live_queues.warning(&job.queue, caller);
        match enqueued {
            Enqueued::New { .. } => Notes { duplicate: None, replaced: None, warning },
            Enqueued::Duplicate { replaced, .. } => {
                Notes { duplicate: Some(true), replaced: (on_conflict(job) == OnConflict::Replace).then_some(*replaced), warning }
            }
        }
    }
}

fn unique_key_held(error: StoreError) -> ApiError {
    held(error, |_| "/unique/key".to_owned())
}

/// An id as it stands in a path.
pub(super) fn job_id(text: &str) -> Result<i64, ApiError> {
    text.parse().ok().filter(|number| (0..=MAX_ID).contains(number) && !text.starts_with('+')).ok_or_else(|| no_job(text))
}

pub(super) fn no_job(id: &str) -> ApiError {
    ApiError::NotFound { what: "job", name: id.to_owned() }
}

fn on_conflict(job: &NewJob) -> OnConflict {
    job.unique.as_ref().map_or(OnConflict::Return, |unique| unique.on_conflict)
}

/// A held key is the caller's to know, with a pointer to it; `pointer` makes it from the job's index. So is a full queue.
pub(crate) fn held(error: StoreError, pointer: impl FnOnce(usize) -> String) -> ApiError {
    match error {
        StoreError::KeyHeldElsewhere { index, key } => ApiError::KeyHeldElsewhere { pointer: pointer(index), key },
        StoreError::KeyHeld { index, key, standing } => ApiError::KeyHeld { pointer: pointer(index), key, standing },
        StoreError::QueueFull { queue } => ApiError::QueueFull { queue },
        other => ApiError::Store(other),
    }
}

/// The job as it now is, without asking the database: nothing but this is known of a new job.
pub(crate) fn as_enqueued(
    job: NewJob,
    origin: Origin,
    id: i64,
    run_at: Timestamp,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    rules: Rules,
) -> JobView {
    JobView {
        id,
        kind: job.kind.to_string(),
        queue: job.queue.to_string(),
        state: Enqueued::state(run_at, created_at),
        args: Some(job.args),
        priority: rules.priority,
        run_at,
        expires_at,
        attempt: 0,
        max_attempts: rules.max_attempts,
        timeout: rules.timeout,
        tags: job.tags,
        meta: job.meta.unwrap_or_else(RawJson::empty_object),
        unique_key: job.unique.map(|unique| unique.key),
        concurrency_key: job.concurrency_key,
        workflow_id: None,
        schedule: None,
        scheduled_for: None,
        progress: None,
        checkpoint: None,
        result: Some(None),
        error: None,
        worker: None,
        cancel_requested_at: None,
        enqueued_by: origin.enqueued_by,
        request_id: origin.request_id,
        created_at,
        started_at: None,
        finished_at: None,
    }
}
