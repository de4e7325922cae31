//! `/v1/queues`: what waits where.

use std::sync::Arc;

use longshore_common::store::read::QueueView;
use poem_openapi::{OpenApi, param::Path};

use super::Page;
use crate::{
    openapi::{Caller, Nothing, Output, Read, Reading, Refusal},
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
        let store = self.0.store()?;
        // a name that no queue may have is not asked for: PostgreSQL would refuse some; nor is one beyond the key's limit,
        // which is told as if it was not there
        let found = match longshore_common::job::QueueName::new(&name.0) {
            Ok(name) if caller.reaches(&name) => store.queues(Some(&name)).await?.into_iter().next(),
            _ => None,
        };
        Ok(Output(found.ok_or(ApiError::NotFound { what: "queue", name: name.0 })?))
    }
}
