//! `/v1/database`: how the database is, and what hurts.

use std::sync::Arc;

use jiff::Timestamp;
use longshore_common::{
    doctor::{Facts, Finding, Holder, Sessions, Surroundings, Table, judge},
    store::{Store, StoreError},
};
use poem_openapi::OpenApi;
use serde::Serialize;

use crate::{
    openapi::{Caller, Nothing, Output, Read, Refusal},
    state::State,
};

/// How the database is.
#[derive(Debug, Clone, Serialize)]
pub struct DatabaseHealth {
    server: ServerView,
    connections: ConnectionsView,
    horizon: Horizon,
    tables: Vec<Table>,
    findings: Vec<Finding>,
}

#[derive(Debug, Clone, Serialize)]
struct ServerView {
    version: String,
    now: Timestamp,
    started_at: Timestamp,
    standby: bool,
}

#[derive(Debug, Clone, Serialize)]
struct ConnectionsView {
    max: i32,
    reserved: i32,
    used: i64,
    by: Vec<Sessions>,
}

#[derive(Debug, Clone, Serialize)]
struct Horizon {
    holders: Vec<Holder>,
}

impl DatabaseHealth {
    /// Looks at the database, and judges what is seen.
    async fn of(store: &Store) -> Result<Self, StoreError> {
        let facts = store.facts().await?;
        let around = Surroundings::of(&facts.server, store.connections().max);
        Ok(Self::judged(facts, &around))
    }

    /// What is shown of these facts.
    pub fn judged(facts: Facts, around: &Surroundings) -> Self {
        let findings = judge(&facts, around);
        let holders = facts.all_holders();
        let Facts { server, connections, tables, .. } = facts;
        Self {
            server: ServerView { version: server.version, now: server.now, started_at: server.started_at, standby: server.standby },
            connections: ConnectionsView {
                max: server.max_connections,
                reserved: server.reserved_connections,
                used: connections.iter().map(|sessions| sessions.count).sum(),
                by: connections,
            },
            horizon: Horizon { holders },
            tables,
            findings,
        }
    }
}

/// The routes of the database.
#[derive(Debug)]
pub struct DatabaseRoutes(pub Arc<State>);

#[OpenApi]
impl DatabaseRoutes {
    /// Read the database's health
    ///
    /// Its connections, what keeps vacuum from its work, its tables, and what `longshore doctor` finds there, but for what concerns the
    /// place from which it is called. It is looked at every 5 s at most, however many ask. A key that is limited to queues gets 403: statements of
    /// others are shown. Scope: `read`.
    #[oai(path = "/v1/database", method = "get")]
    async fn read(&self, caller: Caller<Read>) -> Result<Output<DatabaseHealth>, Refusal<Nothing>> {
        caller.want_all_queues()?;
        let store = self.0.store()?;
        Ok(Output(self.0.database.get(async || DatabaseHealth::of(store).await).await?.as_ref().clone()))
    }
}
