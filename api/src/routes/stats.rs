//! `/v1/stats`: figures for dashboards.

use std::sync::Arc;

use longshore_common::store::stats::Stats;
use poem_openapi::OpenApi;

use crate::{
    openapi::{Caller, Nothing, Output, Read, Refusal},
    state::State,
};

/// The routes of figures.
#[derive(Debug)]
pub struct StatsRoutes(pub Arc<State>);

#[OpenApi]
impl StatsRoutes {
    /// Read figures
    ///
    /// Counts, rates of the last minute and latencies, by queue and in all; with a key that is limited to queues, of those. They are
    /// counted at most once a second, however many ask. Scope: `read`.
    #[oai(path = "/v1/stats", method = "get")]
    async fn read(&self, caller: Caller<Read>) -> Result<Output<Stats>, Refusal<Nothing>> {
        let store = self.0.store()?;
        let sample = self.0.stats.get(async || store.stats().await).await?;
        Ok(Output(sample.of(|queue| caller.reaches(queue))))
    }
}
