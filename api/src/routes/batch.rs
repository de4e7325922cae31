//! `/v1/jobs/batch`: many jobs, all or none.

use std::{collections::BTreeSet, sync::Arc};

use longshore_common::{job::QueueName, json::RawJson, key::Scope, store::enqueue::Enqueued};
use poem_openapi::{ApiResponse, OpenApi, param::Header};
use serde::Serialize;

use super::{jobs::held, origin};
use crate::{
    body::{MAX_BATCH_BODY, batch},
    idempotency::{self, Answered},
    openapi::{BatchBody, Caller, Enqueue, Enqueuing, IdempotencyKey, Output, Refusal},
    state::State,
};

/// The routes of batches.
#[derive(Debug)]
pub struct BatchRoutes(pub Arc<State>);

/// What became of a batch.
#[derive(Debug, ApiResponse)]
pub enum BatchAnswer {
    /// All its jobs are there.
    #[oai(status = 201)]
    Created(
        Output<Answered<EnqueuedBatch>>,
        /// There, and true, where this is the first answer again.
        #[oai(header = "idempotent-replayed")]
        Option<bool>,
    ),
}

/// What became of the jobs of a batch.
#[derive(Debug, Serialize)]
pub struct EnqueuedBatch {
    ids: Vec<i64>,
    duplicates: Vec<usize>,
}

impl EnqueuedBatch {
    fn of(enqueued: &[Enqueued]) -> Self {
        let duplicates = enqueued.iter().enumerate().filter(|(_, job)| matches!(job, Enqueued::Duplicate { .. })).map(|(index, _)| index);
        Self { ids: enqueued.iter().map(Enqueued::id).collect(), duplicates: duplicates.collect() }
    }
}

#[OpenApi]
impl BatchRoutes {
    /// Enqueue many jobs
    ///
    /// All or none; when the answer comes, they are durable. Scope: `enqueue`.
    #[oai(path = "/v1/jobs/batch", method = "post")]
    async fn enqueue(
        &self,
        caller: Caller<Enqueue>,
        body: BatchBody,
        #[oai(name = "idempotency-key")] key: IdempotencyKey,
        #[oai(name = "x-request-id")] request_id: Header<Option<String>>,
        traceparent: Header<Option<String>>,
    ) -> Result<BatchAnswer, Refusal<Enqueuing>> {
        let state = &*self.0;
        let store = state.store()?;
        let _held_until_answered = state.batch_bodies.take(body.declared, MAX_BATCH_BODY).await?;
        let mut once = idempotency::once(&caller, key, "POST /v1/jobs/batch");
        let jobs = batch::read(body.body, body.format, |part| {
            if let Some(once) = &mut once {
                once.hash.add(part);
            }
        });
        let jobs = jobs.await?;
        for (index, job) in jobs.iter().enumerate() {
            caller.want_queue(&job.queue, Scope::Enqueue, || format!("/jobs/{index}/queue"))?;
        }
        let origin = origin(&caller, request_id.0, traceparent.0);
        let refused = |error| held(error, |index| format!("/jobs/{index}/unique/key"));
        let (answer, replayed) = match once {
            None => (Answered::Now(EnqueuedBatch::of(&store.enqueue_within(&jobs, &origin, caller.queues()).await.map_err(refused)?)), false),
            Some(once) => {
                let answer = |enqueued: &[Enqueued], _| (201, RawJson::from_value(&EnqueuedBatch::of(enqueued)).unwrap_or_else(|_| RawJson::empty_object()));
                let first = store.enqueue_once(&once, &jobs, &origin, caller.queues(), answer).await.map_err(|error| idempotency::refusal(error, refused))?;
                (Answered::First(first.body), first.replayed)
            }
        };
        for queue in jobs.iter().map(|job| &job.queue).collect::<BTreeSet<&QueueName>>() {
            state.waker.wake(queue);
        }
        Ok(BatchAnswer::Created(Output(answer), replayed.then_some(true)))
    }
}
