//! `/v1/failures`: what failed, by group.

use std::sync::Arc;

use longshore_common::{job::JobFilter, key::Scope, store::failures::FailureGroup};
use poem_openapi::OpenApi;

use super::{
    Page,
    list::{DEFAULT_LIMIT, each_parameter, limit},
};
use crate::{
    openapi::{Caller, FailureQuery, Listing, Output, Read, Refusal},
    state::State,
};

/// The routes of failures.
#[derive(Debug)]
pub struct FailureRoutes(pub Arc<State>);

#[OpenApi]
impl FailureRoutes {
    /// List failures
    ///
    /// Failed and retryable jobs by kind and by what their errors have in common; the group that failed last first. With a key
    /// that is limited to queues: the jobs of those. Scope: `read`.
    #[oai(path = "/v1/failures", method = "get")]
    async fn list(&self, caller: Caller<Read>, query: FailureQuery) -> Result<Output<Page<FailureGroup>>, Refusal<Listing>> {
        let (mut filter, mut most) = (JobFilter::default(), DEFAULT_LIMIT);
        each_parameter(&query.0, JobFilter::repeats, |key, value| {
            match key {
                "queue" | "kind" => drop(filter.take(key, value)?),
                "limit" => most = limit(value)?,
                _ => return Err("is not known; there are queue, kind, limit".to_owned()),
            }
            Ok(())
        })?;
        caller.narrow(&mut filter, Scope::Read, "/queue")?;
        let store = self.0.store()?;
        let groups = if filter.of_none { Vec::new() } else { store.failures(&filter.queues, &filter.kinds, most).await? };
        Ok(Output(Page::whole(groups)))
    }
}
