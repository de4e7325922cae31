//! `/v1/queues`: what waits where.

use std::sync::Arc;

use longshore_common::store::read::QueueView;
use poem_openapi::{OpenApi, param::Path};

use super::Page;
use crate::{
    openapi::{Nothing, Output, Reading, Refusal},
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
    /// All that were ever used, by name.
    #[oai(path = "/v1/queues", method = "get")]
    async fn list(&self) -> Result<Output<Page<QueueView>>, Refusal<Nothing>> {
        Ok(Output(Page::whole(self.0.store()?.queues(None).await?)))
    }

    /// Read a queue
    #[oai(path = "/v1/queues/:name", method = "get")]
    async fn read(&self, name: Path<String>) -> Result<Output<QueueView>, Refusal<Reading>> {
        let store = self.0.store()?;
        // a name that no queue may have is not asked for: PostgreSQL would refuse some
        let found = match longshore_common::job::QueueName::new(&name.0) {
            Ok(name) => store.queues(Some(&name)).await?.into_iter().next(),
            Err(_) => None,
        };
        Ok(Output(found.ok_or(ApiError::NotFound { what: "queue", name: name.0 })?))
    }
}
