//! Leases of single jobs: each has an end of its own, which its holder puts off by heartbeats. Held by users' own workers,
//! which pull jobs over HTTP, and by whoever was handed a job by a worker and reports it by itself.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio_postgres::error::SqlState;

use super::{
    Collisions, Statement, Store, StoreError,
    claim::Lease,
    notes::{Columns, Standing},
    read::{Fields, view},
    statement,
    workers::WorkerNumber,
};
use crate::{job::JobView, notes::Notes};

const MEET: Statement = statement!("make pulling workers known", "workers/meet.sql");
const SEE: Statement = statement!("show that pulling workers live", "workers/see.sql");
const EXTEND: Statement = statement!("extend leases", "jobs/extend_leases.sql");
const GIVE_AWAY: Statement = statement!("let a lease outlive its worker", "jobs/give_away.sql");
const SOME: Statement = statement!("read leased jobs", "jobs/some.sql");
const OUTSIDE: Statement = statement!("look for jobs of other queues", "jobs/outside.sql");
const RESCUE: Statement = statement!("rescue jobs whose lease has ended", "duties/rescue_leases.sql");

/// What is known of a worker that pulls.
#[derive(Debug, Clone)]
pub struct Puller {
    /// As it calls itself; its id everywhere.
    pub name: String,
    /// Where its requests come from.
    pub host: String,
    /// What it says of itself: its user agent.
    pub version: String,
    /// Queues it asks for.
    pub queues: Vec<String>,
    /// Kinds it asks for; `*`: any.
    pub kinds: Vec<String>,
}

/// A job that was given back since its lease had ended.
#[derive(Debug)]
pub struct EndedLease {
    /// The job.
    pub id: i64,
    /// Who held it, or handed it on.
    pub worker: String,
    /// How long ago it ended.
    pub silent: Duration,
}

impl Store {
    /// Makes workers that pull known, or known again, and shows that they live for `lives` from now on. The answer is in the
    /// order of `pullers`; `None`: that is the id of one of Longshore's own workers.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn meet_pullers(&self, pullers: &[Puller], lives: Duration) -> Result<Vec<Option<WorkerNumber>>, StoreError> {
        let column = |of: fn(&Puller) -> String| pullers.iter().map(of).collect::<Vec<String>>();
        let names = column(|p| p.name.clone());
        let (hosts, versions) = (column(|p| p.host.clone()), column(|p| p.version.clone()));
        let (queues, kinds) = (column(|p| p.queues.join(",")), column(|p| p.kinds.join(",")));
        let rows = self.query(MEET, &[&names, &hosts, &versions, &queues, &kinds, &lives.as_secs_f64()]).await?;
        let known: HashMap<&str, i32> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(names.iter().map(|name| known.get(name.as_str()).map(|number| WorkerNumber(*number))).collect())
    }

    /// Shows that workers that were met live still, at a tenth of the cost of meeting them. Returns those for which that held; any
    /// other is to be met anew.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn see_pullers(&self, pullers: &[WorkerNumber]) -> Result<HashSet<WorkerNumber>, StoreError> {
        let numbers: Vec<i32> = pullers.iter().map(|number| number.0).collect();
        Ok(self.query(SEE, &[&numbers]).await?.iter().map(|row| WorkerNumber(row.get(0))).collect())
    }

    /// Puts off the end of leases to `by` from now, never to an earlier time, and keeps what their holders tell. A lease that
    /// hangs on a worker's heartbeats stands as long as those come.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn extend_leases(&self, told: &[(Lease, Notes)], by: Duration) -> Result<Vec<Standing>, StoreError> {
        let columns = Columns::of(told);
        let seconds = by.as_secs_f64();
        let mut collisions = Collisions::none();
        loop {
            match self.query(EXTEND, &[&columns.ids, &columns.leases, &seconds, &columns.progresses, &columns.checkpoints, &columns.logs]).await {
                Err(error) if collisions.again(&error) => {}
                result => return Ok(result?.iter().map(Standing::from_row).collect()),
            }
        }
    }

    /// Jobs as they are shown, by id, newest first; one that is forgotten is missing.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn jobs(&self, ids: &[i64]) -> Result<Vec<JobView>, StoreError> {
        let rows = self.query(SOME, &[&ids]).await?;
        rows.iter().map(|row| view(row, Fields { args: true, result: true })).collect()
    }

    /// Which of these jobs are of other queues than these.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn outside(&self, ids: &[i64], queues: &[String]) -> Result<HashSet<i64>, StoreError> {
        Ok(self.query(OUTSIDE, &[&ids, &queues]).await?.iter().map(|row| row.get(0)).collect())
    }

    /// The job was handed to somebody who reports it by itself: its lease lasts until the attempt's timeout (an hour where it
    /// has none), whatever becomes of this worker. False: it was reported already, or lost.
    ///
    /// # Errors
    /// Where the database is away; then it is not known whether it was done, and it should be tried again.
    pub async fn give_away(&self, lease: Lease) -> Result<bool, StoreError> {
        Ok(self.query_one(GIVE_AWAY, &[&lease.id, &lease.lease]).await?.get(0))
    }

    /// Gives back at most `n` jobs whose own lease has ended.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn rescue_leases(&self, n: i32) -> Result<Vec<EndedLease>, StoreError> {
        match self.query(RESCUE, &[&n]).await {
            // the schema of the version before knows no such leases
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_FUNCTION) => Ok(Vec::new()),
            result => Ok(result?
                .iter()
                .map(|row| EndedLease { id: row.get(0), worker: row.get(1), silent: Duration::try_from_secs_f64(row.get(2)).unwrap_or_default() })
                .collect()),
        }
    }
}
