//! `/v1/jobs/{id}/explain`: why a job is not running.

use std::sync::Arc;

use longshore_common::store::explain::Explanation;
use poem_openapi::{OpenApi, param::Path};

use super::jobs::{job_id, no_job};
use crate::{
    openapi::{Caller, Output, Read, Reading, Refusal},
    state::State,
};

/// The route that explains a job.
#[derive(Debug)]
pub struct ExplainRoutes(pub Arc<State>);

#[OpenApi]
impl ExplainRoutes {
    /// Explain a job
    ///
    /// Why it is not running, each reason with what would change it. Scope: `read`.
    #[oai(path = "/v1/jobs/:id/explain", method = "get")]
    async fn explain(&self, caller: Caller<Read>, id: Path<String>) -> Result<Output<Explanation>, Refusal<Reading>> {
        let found = self.0.store()?.explain(job_id(&id.0)?, caller.queues()).await?;
        // one of another queue is told as if it was not there
        let explanation = found.filter(|explanation| caller.reaches(&explanation.queue)).ok_or_else(|| no_job(&id.0))?;
        Ok(Output(explanation))
    }
}
