//! The one way out of running: outcomes are recorded by `longshore.report`, whoever holds the lease.

use std::{collections::HashSet, time::Duration};

use tokio_postgres::error::SqlState;

use super::{Collisions, Statement, Store, StoreError, claim::Lease, statement};
use crate::{job::JobState, outcome::Outcome};

const REPORT: Statement = statement!("record outcomes", "jobs/report.sql");
const REPORT_1_1: Statement = statement!("record outcomes", "jobs/report_1_1.sql");

/// How long reports wait for a lock: longer than PostgreSQL takes to find a deadlock, and short for whoever waits behind them.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long one waits of which it is known that somebody has locked what it needs.
const LITTLE_PATIENCE: Duration = Duration::from_millis(50);

/// What became of the reports of one call.
#[derive(Debug, Default)]
pub struct Reported {
    /// New states, of those that were recorded by this call.
    pub states: Vec<(Lease, JobState)>,
    /// Those whose lease was lost: nothing was changed. Whatever is in neither list was recorded before.
    pub stale: HashSet<Lease>,
    /// Queues that got work, since jobs of workflows have ended: say so ([`Waker::wake`](super::listen::Waker::wake)).
    pub released: Vec<String>,
    /// Somebody waits for outcomes: say which jobs have ended ([`Waker::ended`](super::listen::Waker::ended)).
    pub watched: bool,
}

impl Store {
    /// Records outcomes. A report may be repeated: the same lease with the same outcome is accepted again.
    ///
    /// # Errors
    /// Where the database is away; then it is not known whether they were recorded, and they should be reported again. And where
    /// somebody's open transaction holds what one of them needs ([`StoreError::is_locked`]): then nothing was recorded.
    pub async fn report(&self, reports: &[(Lease, Outcome)]) -> Result<Reported, StoreError> {
        self.report_within(PATIENCE, reports).await
    }

    /// The same for one outcome for which [`Store::report`] has waited in vain: hardly waits for locks.
    ///
    /// # Errors
    /// As those of [`Store::report`].
    pub async fn report_if_free(&self, report: &(Lease, Outcome)) -> Result<Reported, StoreError> {
        self.report_within(LITTLE_PATIENCE, std::slice::from_ref(report)).await
    }

    async fn report_within(&self, patience: Duration, reports: &[(Lease, Outcome)]) -> Result<Reported, StoreError> {
        let ids: Vec<i64> = reports.iter().map(|(lease, _)| lease.id).collect();
        let leases: Vec<i64> = reports.iter().map(|(lease, _)| lease.lease).collect();
        let outcomes: Vec<&str> = reports.iter().map(|(_, outcome)| outcome.word()).collect();
        let results = optional(reports.iter().map(|(_, outcome)| outcome.result()));
        let errors = optional(reports.iter().map(|(_, outcome)| outcome.error()));
        let delays = optional(reports.iter().map(|(_, outcome)| match outcome {
            Outcome::Failed { retry_in, .. } => retry_in.map(|d| d.as_secs_f64()),
            Outcome::Snoozed { delay } => Some(delay.as_secs_f64()),
            _ => None,
        }));
        let patience = format!("{}ms", patience.as_millis());
        let mut collisions = Collisions::none();
        let mut statement = REPORT;
        let rows = loop {
            match self.query(statement, &[&ids, &leases, &outcomes, &results, &errors, &delays, &patience]).await {
                // the schema is of the version before
                Err(error) if error.code() == Some(&SqlState::UNDEFINED_COLUMN) => statement = REPORT_1_1,
                Err(error) if collisions.again(&error) => {}
                result => break result?,
            }
        };
        let mut reported = Reported::default();
        for row in rows {
            if let Some(queue) = row.get::<_, Option<String>>(4) {
                reported.released.push(queue);
                continue;
            }
            let lease = Lease { id: row.get(0), lease: row.get(1) };
            reported.watched |= row.get::<_, bool>(3);
            match row.get::<_, Option<&str>>(2).and_then(JobState::from_word) {
                Some(state) => reported.states.push((lease, state)),
                None => drop(reported.stale.insert(lease)),
            }
        }
        Ok(reported)
    }
}

/// An array parameter: empty where there is no value in it.
fn optional<T>(values: impl Iterator<Item = Option<T>>) -> Vec<Option<T>> {
    let values: Vec<Option<T>> = values.collect();
    if values.iter().any(Option::is_some) { values } else { Vec::new() }
}
