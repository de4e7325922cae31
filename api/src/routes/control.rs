//! `/v1/jobs/{id}/cancel`, `/retry`, and PATCH and DELETE of a job: what is done to a job that is there.

use std::sync::Arc;

use longshore_common::{
    job::{Change, Effect, JobView},
    store::control::ControlError,
};
use poem_openapi::{ApiResponse, OpenApi, param::Path};

use super::jobs::{job_id, no_job};
use crate::{
    body,
    openapi::{Admin, Caller, ChangeBody, Changing, Controlling, Output, Refusal},
    problem::ApiError,
    state::State,
};

/// The routes that control a job.
#[derive(Debug)]
pub struct ControlRoutes(pub Arc<State>);

/// What became of a job that was to be cancelled.
#[derive(Debug, ApiResponse)]
pub enum CancelAnswer {
    /// It waited, and is cancelled.
    #[oai(status = 200)]
    Cancelled(Output<JobView>),
    /// It runs: its worker is told within a second and stops the handler. A success that comes before still counts.
    #[oai(status = 202)]
    Asked(Output<JobView>),
}

/// What became of a job that was to be deleted.
#[derive(Debug, ApiResponse)]
pub enum DeleteAnswer {
    /// It is forgotten.
    #[oai(status = 204)]
    Deleted,
}

#[OpenApi]
impl ControlRoutes {
    /// Cancel a job
    ///
    /// One that waits is cancelled at once. One that runs is asked for: whatever its attempt then reports but a success makes
    /// it cancelled, and it is not tried again. Asking again changes nothing. Scope: `admin`.
    #[oai(path = "/v1/jobs/:id/cancel", method = "post")]
    async fn cancel(&self, caller: Caller<Admin>, id: Path<String>) -> Result<CancelAnswer, Refusal<Controlling>> {
        let id = self.reached(&caller, &id.0).await?;
        let effect = self.0.store()?.cancel(id).await?;
        if effect != Effect::Asked {
            self.0.waker.ended([id]);
        }
        let job = Output(self.job(id).await?);
        Ok(if effect == Effect::Asked { CancelAnswer::Asked(job) } else { CancelAnswer::Cancelled(job) })
    }

    /// Retry a job
    ///
    /// One that is finished, or waits for its next attempt, is available now, with one more attempt allowed; losses are counted
    /// anew, and it does not expire any more. Scope: `admin`.
    #[oai(path = "/v1/jobs/:id/retry", method = "post")]
    async fn retry(&self, caller: Caller<Admin>, id: Path<String>) -> Result<Output<JobView>, Refusal<Controlling>> {
        let id = self.reached(&caller, &id.0).await?;
        match self.0.store()?.retry(id).await {
            // unique keys reach over all queues of a kind; of a job beyond the caller's, nothing is told
            Err(ControlError::KeyHeld { standing, .. }) if !self.reaches(&caller, standing).await? => {
                return Err(ApiError::RetryKeyHeld { id, standing: None }.into());
            }
            retried => retried?,
        };
        let job = self.job(id).await?;
        self.0.waker.wake(&job.queue);
        Ok(Output(job))
    }

    /// Change a job
    ///
    /// Of a job that waits: what is not given stays as it is. Scope: `admin`.
    #[oai(path = "/v1/jobs/:id", method = "patch")]
    async fn change(&self, caller: Caller<Admin>, id: Path<String>, body: ChangeBody) -> Result<Output<JobView>, Refusal<Changing>> {
        let state = &*self.0;
        let id = self.reached(&caller, &id.0).await?;
        let _held_until_answered = state.job_bodies.take(body.declared, body::MAX_JOB_BODY).await?;
        let text = body::read(body.body, body::MAX_JOB_BODY).await?;
        let change = Change::parse(&text).map_err(ApiError::from)?;
        drop(text);
        state.store()?.change(id, &change).await?;
        let job = self.job(id).await?;
        state.waker.wake(&job.queue);
        Ok(Output(job))
    }

    /// Delete a job
    ///
    /// With its history; one that runs has to be cancelled first. Scope: `admin`.
    #[oai(path = "/v1/jobs/:id", method = "delete")]
    async fn delete(&self, caller: Caller<Admin>, id: Path<String>) -> Result<DeleteAnswer, Refusal<Controlling>> {
        let id = self.reached(&caller, &id.0).await?;
        self.0.store()?.delete(id).await?;
        self.0.waker.ended([id]);
        Ok(DeleteAnswer::Deleted)
    }
}

impl ControlRoutes {
    /// The id, if it is one. For a key that is limited to queues, a job of another one is not there; a job's queue never changes.
    async fn reached(&self, caller: &Caller<Admin>, id: &str) -> Result<i64, ApiError> {
        let number = job_id(id)?;
        if self.reaches(caller, number).await? { Ok(number) } else { Err(no_job(id)) }
    }

    /// Whether a job is of a queue that the caller may know.
    async fn reaches(&self, caller: &Caller<Admin>, id: i64) -> Result<bool, ApiError> {
        Ok(caller.queues().is_none() || self.0.store()?.job(id).await?.is_some_and(|job| caller.reaches(&job.queue)))
    }

    /// The job as it now is.
    async fn job(&self, id: i64) -> Result<JobView, ApiError> {
        // forgotten since: to the caller it makes no difference whether it was before or after
        self.0.store()?.job(id).await?.ok_or_else(|| no_job(&id.to_string()))
    }
}
