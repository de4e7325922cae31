//! `/v1/failures`: what failed, by group.

use std::sync::Arc;

use longshore_common::{job::JobFilter, key::Scope, store::failures::FailureGroup};
use poem_openapi::{OpenApi, registry::MetaSchemaRef};

use super::{
    Page,
    list::{DEFAULT_LIMIT, limit},
};
use crate::{
    openapi::{self, Caller, FromQuery, Listing, Output, Query, Read, Refusal, each_parameter},
    problem::ApiError,
    state::State,
};

/// The routes of failures.
#[derive(Debug)]
pub struct FailureRoutes(pub Arc<State>);

/// What was asked for.
#[derive(Debug)]
pub struct FailureList {
    filter: JobFilter,
    most: i64,
}

impl FromQuery for FailureList {
    fn parameters() -> MetaSchemaRef {
        openapi::failure_query()
    }

    fn parse(query: &str) -> Result<Self, ApiError> {
        let mut list = Self { filter: JobFilter::default(), most: DEFAULT_LIMIT };
        each_parameter(query, JobFilter::repeats, |key, value| {
            match key {
                "queue" | "kind" => drop(list.filter.take(key, value)?),
                "limit" => list.most = limit(value)?,
                _ => return Err("is not known; there are queue, kind, limit".to_owned()),
            }
            Ok(())
        })?;
        Ok(list)
    }
}

#[OpenApi]
impl FailureRoutes {
    /// List failures
    ///
    /// Failed and retryable jobs by kind and by what their errors have in common; the group that failed last first. With a key
    /// that is limited to queues: the jobs of those. Scope: `read`.
    #[oai(path = "/v1/failures", method = "get")]
    async fn list(&self, caller: Caller<Read>, query: Query<FailureList>) -> Result<Output<Page<FailureGroup>>, Refusal<Listing>> {
        let FailureList { mut filter, most } = query.0;
        caller.narrow(&mut filter, Scope::Read, "/queue")?;
        let store = self.0.store()?;
        let groups = if filter.of_none { Vec::new() } else { store.failures(&filter.queues, &filter.kinds, most).await? };
        Ok(Output(Page::whole(groups)))
    }
}
