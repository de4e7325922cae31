//! `/livez`, `/readyz`, `/health`: for whoever starts and stops the process.

use std::{sync::Arc, time::Duration};

use longshore_common::{
    program::VERSION,
    store::{Cause, StoreError},
};
use poem_openapi::{ApiResponse, OpenApi};
use serde::Serialize;

use crate::{openapi::Output, state::State};

/// How long the database may take to answer before it counts as away: probes want to know soon.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The routes of probes.
#[derive(Debug)]
pub struct HealthRoutes(pub Arc<State>);

/// A sign of life.
#[derive(Debug, Serialize)]
pub struct Life {
    status: &'static str,
}

/// How the API is.
#[derive(Debug, Serialize)]
pub struct Health {
    status: &'static str,
    version: &'static str,
    database: &'static str,
}

/// Whether the API can do its work.
#[derive(Debug, ApiResponse)]
pub enum HealthAnswer {
    /// It can.
    #[oai(status = 200)]
    Well(Output<Health>),
    /// It cannot: the database is away or takes no writes, or its schema is not there.
    #[oai(status = 503)]
    Unwell(Output<Health>),
}

#[OpenApi]
impl HealthRoutes {
    /// Is the process up?
    #[oai(path = "/livez", method = "get")]
    #[expect(clippy::unused_async, reason = "poem-openapi asks for it")]
    async fn livez(&self) -> Output<Life> {
        Output(Life { status: "ok" })
    }

    /// Can it do its work?
    ///
    /// That is: the database answers and has its schema.
    #[oai(path = "/readyz", method = "get")]
    async fn readyz(&self) -> HealthAnswer {
        self.ask().await
    }

    /// How is it?
    #[oai(path = "/health", method = "get")]
    async fn health(&self) -> HealthAnswer {
        self.ask().await
    }
}

impl HealthRoutes {
    async fn ask(&self) -> HealthAnswer {
        let answers = tokio::time::timeout(PATIENCE, self.0.bare_store().ping()).await;
        let answer = |status, database| Output(Health { status, version: VERSION, database });
        match (answers, self.0.knows_schema()) {
            (Ok(Ok(())), true) => HealthAnswer::Well(answer("ok", "ok")),
            (Ok(Ok(())), false) => HealthAnswer::Unwell(answer("unavailable", "no schema")),
            (Ok(Err(StoreError::Unavailable { source, .. })), _) if source.cause == Cause::ReadOnly => HealthAnswer::Unwell(answer("unavailable", "read-only")),
            _ => HealthAnswer::Unwell(answer("unavailable", "away")),
        }
    }
}
