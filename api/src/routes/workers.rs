//! `/v1/workers`: who is alive.

use std::sync::Arc;

use longshore_common::store::workers::WorkerView;
use poem_openapi::OpenApi;

use super::Page;
use crate::{
    openapi::{Caller, Nothing, Output, Read, Refusal},
    state::State,
};

/// The routes of workers.
#[derive(Debug)]
pub struct WorkerRoutes(pub Arc<State>);

#[OpenApi]
impl WorkerRoutes {
    /// List workers
    ///
    /// Those that are alive, oldest first, whatever queues they serve. Scope: `read`.
    #[oai(path = "/v1/workers", method = "get")]
    async fn list(&self, _caller: Caller<Read>) -> Result<Output<Page<WorkerView>>, Refusal<Nothing>> {
        Ok(Output(Page::whole(self.0.store()?.workers().await?)))
    }
}
