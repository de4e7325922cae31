//! `/metrics`: figures for Prometheus.

use std::sync::Arc;

use poem_openapi::OpenApi;

use crate::{
    metrics,
    openapi::{Caller, Exposition, Nothing, Read, Refusal},
    state::State,
};

/// The route of metrics.
#[derive(Debug)]
pub struct MetricsRoutes(pub Arc<State>);

#[OpenApi]
impl MetricsRoutes {
    /// Read figures as Prometheus does
    ///
    /// What this process counts, and what stands in the queues; the latter is read from the database at most once a second, however
    /// many ask, and is left out while the database is away (`longshore_database_up` is 0 then). With a key that is limited to
    /// queues, of those. Scope: `read`.
    #[oai(path = "/metrics", method = "get")]
    async fn read(&self, caller: Caller<Read>) -> Result<Exposition, Refusal<Nothing>> {
        // the queues first: whether the database answers is known after it was asked
        let of_queues = match self.0.store() {
            Ok(store) => self
                .0
                .stats
                .get(async || store.stats().await)
                .await
                .map(|sample| metrics::of_queues(&sample, |queue| caller.reaches(queue)))
                .unwrap_or_default(),
            Err(_) => String::new(),
        };
        Ok(Exposition(self.0.metrics.text(self.0.bare_store()) + &of_queues))
    }
}
