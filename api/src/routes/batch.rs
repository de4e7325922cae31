//! `/v1/jobs/batch`: many jobs, all or none.

use std::{collections::BTreeSet, sync::Arc};

use longshore_common::{job::QueueName, key::Scope, store::enqueue::Enqueued};
use poem_openapi::{ApiResponse, OpenApi, param::Header};
use serde::Serialize;

use super::{jobs::held, origin};
use crate::{
    body::{MAX_BATCH_BODY, batch},
    openapi::{BatchBody, Caller, Enqueue, Enqueuing, Output, Refusal},
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
    Created(Output<EnqueuedBatch>),
}

/// What became of the jobs of a batch.
#[derive(Debug, Serialize)]
pub struct EnqueuedBatch {
    ids: Vec<i64>,
    duplicates: Vec<usize>,
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
        #[oai(name = "x-request-id")] request_id: Header<Option<String>>,
        traceparent: Header<Option<String>>,
    ) -> Result<BatchAnswer, Refusal<Enqueuing>> {
        let state = &*self.0;
        let store = state.store()?;
        let _held_until_answered = state.batch_bodies.take(body.declared, MAX_BATCH_BODY).await?;
        let jobs = batch::read(body.body, body.format).await?;
        for (index, job) in jobs.iter().enumerate() {
            caller.want_queue(&job.queue, Scope::Enqueue, || format!("/jobs/{index}/queue"))?;
        }
        let origin = origin(&caller, request_id.0, traceparent.0);
        let enqueued = store.enqueue_within(&jobs, &origin, caller.queues()).await.map_err(|error| held(error, |index| format!("/jobs/{index}/unique/key")))?;
        for queue in jobs.iter().map(|job| &job.queue).collect::<BTreeSet<&QueueName>>() {
            state.waker.wake(queue);
        }
        let duplicates = enqueued.iter().enumerate().filter(|(_, job)| matches!(job, Enqueued::Duplicate { .. })).map(|(index, _)| index).collect();
        Ok(BatchAnswer::Created(Output(EnqueuedBatch { ids: enqueued.iter().map(Enqueued::id).collect(), duplicates })))
    }
}
