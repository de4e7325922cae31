//! Thousands of random walks, one call after the other. After each, every job is compared with the model, and every field of
//! those that the call was not about with what it was before; a call that is refused leaves every row of every table as it was.

mod calls;
mod crew;
mod duties;

use std::collections::{BTreeMap, BTreeSet};

use longshore_common::{
    outcome::Outcome,
    store::{Store, claim::Lease},
};
use proptest::{
    collection::vec,
    prop_assert_eq,
    sample::Index,
    test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner},
};
use tokio::{runtime::Runtime, sync::Mutex};

use self::crew::Crew;
use crate::{
    fixture::{Fixture, job},
    model::Model,
    step::{Step, any_step},
    support::postgres::connect,
    tables::{Row, Shown, Tables, WITH_JOBS},
};

/// Walks of each thread.
const WALKS: u32 = 1000;
/// Steps of a walk.
const STEPS: std::ops::RangeInclusive<usize> = 1..=40;

/// What a step came to, or how it differed from the model.
type Walked<T = ()> = Result<T, TestCaseError>;

/// One walk: the store, the model, and what the last look at the database showed.
struct Walk<'a> {
    store: &'a Store,
    tables: &'a Tables,
    fixture: &'a Fixture,
    crew: &'a mut Crew,
    model: Model,
    /// All jobs there ever were.
    ids: Vec<i64>,
    /// All leases there ever were.
    leases: Vec<Lease>,
    seen: BTreeMap<i64, Row>,
    /// Jobs that the present step may change, and those that the one before may have changed.
    touched: BTreeSet<i64>,
    recent: BTreeSet<i64>,
}

/// Walks in two threads, each with a database of its own.
#[test]
fn every_walk_goes_as_the_model_says() {
    let both = [std::thread::spawn(walk_often), std::thread::spawn(walk_often)];
    for one in both {
        if let Err(panic) = one.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

fn walk_often() {
    let ground = Ground::new();
    let found = FileFailurePersistence::Direct("tests/model/found.txt");
    let config = Config { cases: WALKS, failure_persistence: Some(Box::new(found)), ..Config::default() };
    if let Err(error) = TestRunner::new(config).run(&vec(any_step(), STEPS), |steps| ground.walk(&steps)) {
        panic!("{error}");
    }
}

/// Where walks take place, one after the other.
struct Ground {
    runtime: Runtime,
    fixture: Fixture,
    tables: Tables,
    crew: Mutex<Crew>,
}

impl Ground {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (fixture, tables, crew) = runtime.block_on(async {
            let fixture = Fixture::new().await;
            fixture.enqueue_one(job("echo")).await; // its queue and lane stay, also where the enqueue is refused
            let tables = Tables::new(connect(fixture.database.url()).await).await;
            let crew = Mutex::new(Crew::new(&fixture).await);
            (fixture, tables, crew)
        });
        Self { runtime, fixture, tables, crew }
    }

    fn walk(&self, steps: &[Step]) -> Walked {
        self.runtime.block_on(async {
            let mut crew = self.crew.lock().await;
            let mut walk = Walk::begin(&self.fixture, &self.tables, &mut crew).await;
            for step in steps {
                walk.step(step).await.map_err(|error| TestCaseError::fail(format!("at {step:?}: {error}")))?;
            }
            walk.end().await
        })
    }
}

impl<'a> Walk<'a> {
    async fn begin(fixture: &'a Fixture, tables: &'a Tables, crew: &'a mut Crew) -> Self {
        // what a walk that failed has left behind
        tables.run(&WITH_JOBS.map(|table| format!("delete from longshore.{table};")).concat()).await;
        tables.run("delete from longshore.uniques; update longshore.queues set paused_at = null where paused_at is not null").await;
        crew.recover(fixture, tables).await;
        Walk {
            store: &fixture.store,
            tables,
            fixture,
            crew,
            model: Model::default(),
            ids: Vec::new(),
            leases: Vec::new(),
            seen: BTreeMap::new(),
            touched: BTreeSet::new(),
            recent: BTreeSet::new(),
        }
    }

    async fn step(&mut self, step: &Step) -> Walked {
        self.recent = std::mem::take(&mut self.touched);
        match step {
            Step::Enqueue(new) => self.enqueue(new).await?,
            Step::Claim { worker, n } => self.claim(*worker, *n).await?,
            Step::Report { standing, lease, outcome, waits } => self.report(*standing, *lease, *outcome, *waits).await?,
            Step::Call { call, job } => self.call(*call, *job).await?,
            Step::Change { job, due, max_attempts } => self.change(*job, *due, *max_attempts).await?,
            Step::Pause(paused) => self.pause(*paused).await?,
            Step::FallDue(job) => self.fall_due(*job).await,
            Step::Promote => self.promote().await?,
            Step::Overdue(job) => self.overdue(*job).await,
            Step::Expire => self.expire().await?,
            Step::GrowOld(job) => self.grow_old(*job).await,
            Step::FallSilent(worker) => self.crew.fall_silent(*worker, self.tables).await,
            Step::Rescue => self.rescue().await?,
            Step::Lose { worker, times } => {
                for _ in 0..*times {
                    self.lose(*worker).await?;
                    self.compare().await?;
                }
            }
            Step::Prune(job) => self.prune(*job).await?,
            Step::Fold => drop(self.store.fold_tally().await.expect("fold")),
        }
        self.compare().await
    }

    /// The database against the model.
    async fn compare(&mut self) -> Walked {
        let rows = self.tables.jobs().await;
        let now: BTreeMap<i64, Shown> = rows.iter().map(|(id, row)| (*id, row.shown.clone())).collect();
        let expected: BTreeMap<i64, Shown> = self.model.jobs.iter().map(|(id, job)| (*id, job.shown())).collect();
        prop_assert_eq!(now, expected);
        for (id, before) in self.seen.iter().filter(|(id, _)| !self.touched.contains(id)) {
            if let Some(after) = rows.get(id) {
                prop_assert_eq!(&after.hash, &before.hash, "job {} was not meant, and has changed", id);
            }
        }
        self.seen = rows;
        Ok(())
    }

    /// Everything is as the law of conservation says; then all is deleted, and nothing is left of it.
    async fn end(self) -> Walked {
        prop_assert_eq!(self.tables.found("select id, what from longshore.violations").await, Vec::<String>::new());
        let running: Vec<(Lease, Outcome)> =
            self.model.jobs.iter().filter_map(|(id, job)| Some((Lease { id: *id, lease: job.held?.0 }, Outcome::HandedBack))).collect();
        let reported = self.store.report(&running).await.expect("report");
        prop_assert_eq!(reported.states.len(), running.len());
        prop_assert_eq!(self.tables.forget_all_jobs().await, Vec::<String>::new());
        Ok(())
    }

    /// A job that there is or was; more often one that the last step was about, so that what belongs together happens to one.
    fn id(&self, index: Index) -> Option<i64> {
        let recent = self.recent.iter().flat_map(|id| std::iter::repeat_n(id, self.ids.len()));
        let ids: Vec<i64> = self.ids.iter().chain(recent).copied().collect();
        (!ids.is_empty()).then(|| *index.get(&ids))
    }
}
