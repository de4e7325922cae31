//! Millions of jobs at once, straight into the tables, and the views over them: what `longshore bench --only browse` reads.

use std::time::Duration;

use super::super::{
    Statement, Store, StoreError, statement,
    workers::{Registration, WorkerNumber},
};
use crate::job::{Kind, QueueName};

const WAITING: Statement = statement!("make waiting jobs", "bench/fill_waiting.sql");
const FINISHED: Statement = statement!("make finished jobs", "bench/fill_finished.sql");
const SETTLE: [Statement; 3] = [
    statement!("vacuum the small tables", "bench/settle.sql"),
    statement!("vacuum finished", "bench/settle_finished.sql"),
    statement!("vacuum job_data", "bench/settle_job_data.sql"),
];

/// Which jobs are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filling {
    /// Available, scheduled and retryable ones.
    Waiting,
    /// Succeeded, failed and cancelled ones.
    Finished,
}

/// What they are made on.
#[derive(Debug)]
pub struct Ground {
    finished: i64,
    waiting: i64,
    lanes: Vec<i32>,
    worker: WorkerNumber,
}

/// A view for people.
#[derive(Debug, Clone, Copy)]
pub struct View(&'static str, Statement);

/// All but `violations`, which reads everything.
pub const VIEWS: [View; 4] = [
    View("longshore.jobs", statement!("look at jobs", "bench/view_jobs.sql")),
    View("longshore.failures", statement!("look at failures", "bench/view_failures.sql")),
    View("longshore.queues_overview", statement!("look at queues", "bench/view_queues_overview.sql")),
    View("longshore.workers_overview", statement!("look at workers", "bench/view_workers_overview.sql")),
];

impl View {
    /// Its name.
    pub fn name(self) -> &'static str {
        self.0
    }
}

impl Store {
    /// Makes four queues with three kinds each, and a worker that has run what is finished.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn prepare_filling(&self, finished: u64, waiting: u64) -> Result<Ground, StoreError> {
        let corrupt = |why: String| StoreError::Corrupt { table: "lanes", id: 0, why };
        let mut names = Vec::new();
        for queue in 1..=4 {
            for kind in 1..=3 {
                let queue = QueueName::new(&format!("browse-{queue}")).map_err(|why| corrupt(why.to_string()))?;
                names.push((queue, Kind::new(&format!("kind-{kind}")).map_err(|why| corrupt(why.to_string()))?));
            }
        }
        let lanes = self.lanes_of(&names.iter().map(|(queue, kind)| (queue, kind)).collect::<Vec<_>>()).await?;
        let text = |text: &str| text.to_owned();
        let registration = Registration {
            name: format!("bench:{}", std::process::id()),
            host: text("bench"),
            version: text("bench"),
            queues: vec![text("none=1")],
            kinds: vec![text("none")],
            lease: Duration::from_secs(30),
        };
        let worker = self.register_worker(&registration).await?;
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Ok(Ground { finished: signed(finished), waiting: signed(waiting), lanes, worker })
    }

    /// Makes jobs number `from` to `to`; they are spread over the last twenty hours.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn fill(&self, what: Filling, ground: &Ground, from: u64, to: u64) -> Result<(), StoreError> {
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let statement = if what == Filling::Waiting { WAITING } else { FINISHED };
        let Ground { finished, waiting, lanes, worker } = ground;
        self.query(statement, &[&signed(from), &signed(to), finished, waiting, lanes, &worker.0]).await.map(|_| ())
    }

    /// Does what autovacuum would have done by then.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn settle(&self) -> Result<(), StoreError> {
        for statement in SETTLE {
            self.query(statement, &[]).await?;
        }
        Ok(())
    }

    /// The first fifty rows of a view.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn look_at(&self, view: View) -> Result<(), StoreError> {
        self.query(view.1, &[]).await.map(|_| ())
    }
}
