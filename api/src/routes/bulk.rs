//! `/v1/jobs/cancel`, `/v1/jobs/retry`, `/v1/jobs/delete`: what is done to many jobs by filter.

use std::sync::Arc;

use jiff::Timestamp;
use longshore_common::{
    job::{Bulk, Call, JobView},
    key::Scope,
};
use poem_openapi::OpenApi;
use serde::Serialize;

use crate::{
    body,
    openapi::{Admin, BulkCall, BulkRetry, Caller, JsonBody, Output, Refusal, Sweeping},
    problem::ApiError,
    state::State,
};

/// The routes that control many jobs.
#[derive(Debug)]
pub struct BulkRoutes(pub Arc<State>);

/// What was done to many jobs, or would be.
#[derive(Debug, Serialize)]
pub struct BulkAnswer {
    count: usize,
    more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<JobView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run_at: Option<Timestamp>,
}

#[OpenApi]
impl BulkRoutes {
    /// Cancel many jobs
    ///
    /// Those that the filter names and that wait or run, 10,000 at most; call again while there are more. Counted are those that
    /// wait, which are cancelled, and those that run and are asked for the first time. Scope: `admin`.
    #[oai(path = "/v1/jobs/cancel", method = "post")]
    async fn cancel(&self, caller: Caller<Admin>, body: JsonBody<BulkCall>) -> Result<Output<BulkAnswer>, Refusal<Sweeping>> {
        Ok(Output(self.call(Call::Cancel, &caller, body).await?))
    }

    /// Retry many jobs
    ///
    /// Those that the filter names and that are finished or wait for their next attempt, 10,000 at most; call again while there
    /// are more. Those whose unique key another job holds are left as they are. With a rate, only finished ones are taken, and
    /// are due one after the other. Scope: `admin`.
    #[oai(path = "/v1/jobs/retry", method = "post")]
    async fn retry(&self, caller: Caller<Admin>, body: JsonBody<BulkRetry>) -> Result<Output<BulkAnswer>, Refusal<Sweeping>> {
        Ok(Output(self.call(Call::Retry, &caller, body).await?))
    }

    /// Delete many jobs
    ///
    /// Those that the filter names, with their histories, 10,000 at most; call again while there are more. Those that run are
    /// left as they are. Scope: `admin`.
    #[oai(path = "/v1/jobs/delete", method = "post")]
    async fn delete(&self, caller: Caller<Admin>, body: JsonBody<BulkCall>) -> Result<Output<BulkAnswer>, Refusal<Sweeping>> {
        Ok(Output(self.call(Call::Delete, &caller, body).await?))
    }
}

impl BulkRoutes {
    async fn call<T>(&self, call: Call, caller: &Caller<Admin>, body: JsonBody<T>) -> Result<BulkAnswer, ApiError> {
        let state = &*self.0;
        let _held_until_answered = state.job_bodies.take(body.declared, body::MAX_JOB_BODY).await?;
        let text = body::read(body.body, body::MAX_JOB_BODY).await?;
        let mut bulk = Bulk::parse(&text, call)?;
        caller.narrow(&mut bulk.filter, Scope::Admin, "/filter/queue")?;
        let store = state.store()?;
        if bulk.dry_run {
            let found = store.rehearse(&bulk).await?;
            return Ok(BulkAnswer { count: found.count, more: found.more, items: Some(found.items), last_run_at: None });
        }
        let done = store.bulk(&bulk, |_| ()).await?;
        if call == Call::Retry {
            done.queues.iter().for_each(|queue| state.waker.wake(queue));
        }
        state.waker.ended(done.ended);
        Ok(BulkAnswer { count: done.count, more: done.more, items: None, last_run_at: done.last_run_at })
    }
}
