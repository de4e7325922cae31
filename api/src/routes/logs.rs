//! `/v1/jobs/{id}/logs`: what the handler logged.

use std::sync::Arc;

use longshore_common::store::notes::JobLogs;
use poem_openapi::{OpenApi, param::Path};

use super::jobs::{job_id, no_job};
use crate::{
    openapi::{Caller, Output, Read, Reading, Refusal},
    state::State,
};

/// The route of a job's logs.
#[derive(Debug)]
pub struct LogRoutes(pub Arc<State>);

#[OpenApi]
impl LogRoutes {
    /// Read a job's logs
    ///
    /// What its handler logged, the last 64 KiB of each of the last 20 attempts that did. Scope: `read`.
    #[oai(path = "/v1/jobs/:id/logs", method = "get")]
    async fn logs(&self, caller: Caller<Read>, id: Path<String>) -> Result<Output<JobLogs>, Refusal<Reading>> {
        let found = self.0.store()?.logs(job_id(&id.0)?).await?;
        // those of another queue's job are told as if it was not there
        let logs = found.filter(|logs| caller.reaches(&logs.queue)).ok_or_else(|| no_job(&id.0))?;
        Ok(Output(logs))
    }
}
