//! PUT and DELETE of `/v1/queues/{name}`: what is set for a queue, and its end.

use std::sync::Arc;

use longshore_common::{
    fault::Fault,
    job::{QueueName, QueueSettings},
    key::Scope,
    store::queues::{Deleted, QueueView},
};
use poem_openapi::{ApiResponse, OpenApi, param::Path, registry::MetaSchemaRef};
use serde::Serialize;

use super::queues::{no_queue, queue, reached};
use crate::{
    body,
    openapi::{self, Admin, Caller, Deleting, FromQuery, Output, Putting, Query, QueueBody, Refusal, each_parameter},
    problem::ApiError,
    state::State,
};

/// The routes that set up queues.
#[derive(Debug)]
pub struct QueueSettingsRoutes(pub Arc<State>);

/// What became of a queue that was to be set up.
#[derive(Debug, ApiResponse)]
pub enum PutAnswer {
    /// It was there: its settings are these now.
    #[oai(status = 200)]
    Replaced(Output<QueueView>),
    /// It was not there: it is made.
    #[oai(status = 201)]
    Created(Output<QueueView>),
}

/// What became of a queue that was to be deleted.
#[derive(Debug, ApiResponse)]
pub enum DeleteAnswer {
    /// It is gone, and its settings are forgotten.
    #[oai(status = 204)]
    Gone,
    /// There was no time for all of its jobs: call again.
    #[oai(status = 202)]
    Purging(Output<Purged>),
}

/// How far a purge came.
#[derive(Debug, Serialize)]
pub struct Purged {
    /// Jobs that were forgotten by this call.
    pub deleted: i64,
    /// Whether there are more: always.
    pub more: bool,
}

#[OpenApi]
impl QueueSettingsRoutes {
    /// Set up a queue
    ///
    /// Makes it, or replaces its settings: what is not given gets its default, but for `paused`, which stays. What GET shows may
    /// be put back: what nobody sets is ignored. Scope: `admin`.
    #[oai(path = "/v1/queues/:name", method = "put")]
    async fn put(&self, caller: Caller<Admin>, name: Path<String>, body: QueueBody) -> Result<PutAnswer, Refusal<Putting>> {
        let state = &*self.0;
        let name = QueueName::new(&name.0).map_err(|why| ApiError::Invalid(vec![Fault { pointer: "/name".to_owned(), detail: why.into() }]))?;
        caller.want_queue(&name, Scope::Admin, || "/name".to_owned())?;
        let store = state.store()?;
        let _held_until_answered = state.job_bodies.take(body.declared, body::MAX_JOB_BODY).await?;
        let text = body::read(body.body, body::MAX_JOB_BODY).await?;
        let settings = QueueSettings::parse(&text, &name).map_err(ApiError::from)?;
        drop(text);
        if let Some(job) = &settings.on_failed {
            caller.want_queue(&job.queue, Scope::Admin, || "/on_failed/queue".to_owned())?;
        }
        let created = store.put_queue(&name, &settings).await?;
        state.waker.wake(&name); // it may have been paused until now
        let queue = Output(queue(state, &name).await?);
        Ok(if created { PutAnswer::Created(queue) } else { PutAnswer::Replaced(queue) })
    }

    /// Delete a queue
    ///
    /// One that holds no job in any state; with `purge=true`, its waiting and finished jobs are forgotten first, unless one of
    /// it runs. Its settings are forgotten. A job that is enqueued at the same time is not lost: the queue is there again.
    /// Scope: `admin`.
    #[oai(path = "/v1/queues/:name", method = "delete")]
    async fn delete(&self, caller: Caller<Admin>, name: Path<String>, query: Query<Purge>) -> Result<DeleteAnswer, Refusal<Deleting>> {
        let Purge(purge) = query.0;
        let name = reached(&caller, &name.0)?;
        match self.0.store()?.delete_queue(&name, purge).await? {
            Deleted::Gone => Ok(DeleteAnswer::Gone),
            Deleted::More { deleted } => Ok(DeleteAnswer::Purging(Output(Purged { deleted, more: true }))),
            Deleted::NotThere => Err(no_queue(&name).into()),
            Deleted::Holds { jobs } => Err(ApiError::QueueHolds { queue: name.to_string(), jobs }.into()),
            Deleted::Runs { running } => Err(ApiError::QueueRuns { queue: name.to_string(), running }.into()),
        }
    }
}

/// Whether a queue's jobs are to be forgotten first.
#[derive(Debug)]
pub struct Purge(bool);

impl FromQuery for Purge {
    fn parameters() -> MetaSchemaRef {
        openapi::purge_query()
    }

    fn parse(query: &str) -> Result<Self, ApiError> {
        let mut purge = false;
        each_parameter(
            query,
            |_| false,
            |key, value| match (key, value) {
                ("purge", "true" | "false") => {
                    purge = value == "true";
                    Ok(())
                }
                ("purge", _) => Err("must be true or false".to_owned()),
                _ => Err("is not known here; allowed is purge".to_owned()),
            },
        )?;
        Ok(Self(purge))
    }
}
