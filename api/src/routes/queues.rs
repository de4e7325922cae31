//! `/v1/queues`: what waits where.

use std::sync::Arc;

use longshore_common::{job::QueueName, store::queues::QueueView};
use poem_openapi::{OpenApi, param::Path};

use super::Page;
use crate::{
    auth::Access,
    openapi::{Admin, Caller, Nothing, Output, Read, Reading, Refusal},
    problem::ApiError,
    state::State,
};

/// The routes of queues.
#[derive(Debug)]
pub struct QueueRoutes(pub Arc<State>);

#[OpenApi]
impl QueueRoutes {
    /// List queues
    ///
    /// All that were ever used, by name; with a key that is limited to queues, those. Scope: `read`.
    #[oai(path = "/v1/queues", method = "get")]
    async fn list(&self, caller: Caller<Read>) -> Result<Output<Page<QueueView>>, Refusal<Nothing>> {
        let mut queues = self.0.store()?.queues(None).await?;
        queues.retain(|queue| caller.reaches(&queue.name));
        Ok(Output(Page::whole(queues)))
    }

    /// Read a queue
    ///
    /// Scope: `read`.
    #[oai(path = "/v1/queues/:name", method = "get")]
    async fn read(&self, caller: Caller<Read>, name: Path<String>) -> Result<Output<QueueView>, Refusal<Reading>> {
        let name = reached(&caller, &name.0)?;
        Ok(Output(queue(&self.0, &name).await?))
    }

    /// Pause a queue
    ///
    /// It takes jobs and starts none; those that run go on. One that is paused already stays so. Scope: `admin`.
    #[oai(path = "/v1/queues/:name/pause", method = "post")]
    async fn pause(&self, caller: Caller<Admin>, name: Path<String>) -> Result<Output<QueueView>, Refusal<Reading>> {
        Ok(Output(self.set_paused(&caller, &name.0, true).await?))
    }

    /// Resume a queue
    ///
    /// It starts jobs again, at once. One that is not paused stays so. Scope: `admin`.
    #[oai(path = "/v1/queues/:name/resume", method = "post")]
    async fn resume(&self, caller: Caller<Admin>, name: Path<String>) -> Result<Output<QueueView>, Refusal<Reading>> {
        let queue = self.set_paused(&caller, &name.0, false).await?;
        self.0.waker.wake(&queue.name);
        Ok(Output(queue))
    }
}

impl QueueRoutes {
    async fn set_paused(&self, access: &Access, name: &str, paused: bool) -> Result<QueueView, ApiError> {
        let name = reached(access, name)?;
        if !self.0.store()?.pause_queue(&name, paused).await? {
            return Err(no_queue(&name));
        }
        queue(&self.0, &name).await
    }
}

/// The queue as it now is.
pub(super) async fn queue(state: &State, name: &QueueName) -> Result<QueueView, ApiError> {
    state.store()?.queues(Some(name)).await?.into_iter().next().ok_or_else(|| no_queue(name))
}

/// A name that no queue may have is not asked for: PostgreSQL would refuse some; nor is one beyond the key's limit, which is
/// told as if it was not there.
pub(super) fn reached(access: &Access, name: &str) -> Result<QueueName, ApiError> {
    QueueName::new(name).ok().filter(|name| access.reaches(name)).ok_or_else(|| no_queue(name))
}

pub(super) fn no_queue(name: &str) -> ApiError {
    ApiError::NotFound { what: "queue", name: name.to_owned() }
}
