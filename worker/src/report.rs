//! Outcomes on their way to the database: whatever has come while a statement was under way goes into the next one, and
//! nothing is dropped while the database is away.

use std::{
    collections::HashSet,
    slice,
    sync::{Arc, Mutex},
    time::Duration,
};

use longshore_common::{
    job::JobState,
    outcome::Outcome,
    store::{
        Store,
        claim::{Lease, LeasedJob},
        listen::Waker,
        report::Reported,
        until_available,
    },
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    job_log::{JobLog, log_job},
    metrics::WorkerMetrics,
    notes::Notebook,
    slots::Slots,
};

/// Outcomes a statement at most.
const BATCH: usize = 1000;

/// Leases of attempts that have ended here and are not reported yet. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unreported(Arc<Mutex<HashSet<Lease>>>);

impl Unreported {
    /// The attempt has ended.
    pub fn add(&self, lease: Lease) {
        self.leases().insert(lease);
    }

    /// The database knows how.
    fn remove(&self, leases: impl IntoIterator<Item = Lease>) {
        let mut unreported = self.leases();
        for lease in leases {
            unreported.remove(&lease);
        }
    }

    /// Whether its report is still to come.
    pub fn has(&self, lease: Lease) -> bool {
        self.leases().contains(&lease)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.leases().len()
    }

    fn leases(&self) -> std::sync::MutexGuard<'_, HashSet<Lease>> {
        self.0.lock().expect("no panic while held")
    }
}

/// An attempt that has ended here.
#[derive(Debug)]
pub(crate) struct Report {
    pub lease: Lease,
    pub attempt: Attempt,
    pub outcome: Outcome,
}

/// What was tried.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub job: Arc<LeasedJob>,
    /// For how long.
    pub ran: Duration,
}

/// Records outcomes.
pub(crate) struct Reporter {
    pub store: Store,
    pub waker: Waker,
    pub slots: Arc<Slots>,
    pub unreported: Unreported,
    pub notebook: Notebook,
    pub metrics: WorkerMetrics,
}

impl Reporter {
    /// Records outcomes until all senders are gone and everything is stored, or `give_up` is cancelled. Returns how many
    /// could not be stored.
    pub async fn run(self, mut reports: mpsc::Receiver<Report>, give_up: CancellationToken) -> usize {
        let mut batch = Vec::with_capacity(BATCH);
        let mut log = JobLog::default();
        loop {
            // a handler that blocks its thread keeps the channel open: then `give_up` ends it
            let came = tokio::select! {
                biased;
                came = reports.recv_many(&mut batch, BATCH) => came,
                () = give_up.cancelled() => 0,
            };
            if came == 0 {
                return 0;
            }
            let (attempts, outcomes): (Vec<Attempt>, Vec<(Lease, Outcome)>) =
                batch.drain(..).map(|Report { lease, attempt, outcome }| (attempt, (lease, outcome))).unzip();
            let began = Instant::now();
            let report = async || {
                self.notebook.write_of(outcomes.iter().map(|(lease, _)| *lease)).await;
                self.store.report(&outcomes).await
            };
            match until_available(&give_up, report).await {
                Some(Ok(reported)) => {
                    self.metrics.reported(began.elapsed());
                    self.recorded(reported, &attempts, &outcomes, &mut log);
                }
                Some(Err(error)) if outcomes.len() > 1 => {
                    // one of them is at fault: each on its own, so that only that one is lost
                    tracing::error!(error = longshore_common::log::chain(&error), "recording {} outcomes failed; trying them one by one", outcomes.len());
                    for (attempt, outcome) in attempts.iter().zip(outcomes) {
                        self.one(&give_up, attempt, outcome, &mut log).await;
                    }
                }
                Some(Err(error)) => refused(&attempts[0].job, &error),
                None => {
                    let mut lost = outcomes.len();
                    while let Ok(_left) = reports.try_recv() {
                        lost += 1;
                    }
                    return lost;
                }
            }
        }
    }

    /// The database has them: tells whom it concerns.
    fn recorded(&self, reported: Reported, attempts: &[Attempt], outcomes: &[(Lease, Outcome)], log: &mut JobLog) {
        self.notebook.forget(outcomes);
        self.unreported.remove(outcomes.iter().map(|(lease, _)| *lease));
        let mut states = reported.states;
        reported.released.iter().for_each(|queue| self.waker.wake(queue));
        if reported.watched {
            self.waker.ended(states.iter().filter(|(_, state)| state.is_finished()).map(|(lease, _)| lease.id));
        }
        states.sort_unstable_by_key(|(lease, _)| *lease);
        attempts.iter().filter(|attempt| attempt.job.limited).for_each(|attempt| self.slots.ended_in(&attempt.job.lane.queue));
        for (Attempt { job, ran }, (lease, outcome)) in attempts.iter().zip(outcomes) {
            let too_late = reported.stale.contains(lease);
            self.metrics.ended(job, outcome, *ran, too_late);
            if too_late {
                log_job!(
                    warn,
                    job,
                    {},
                    "the lease was lost before this attempt ended, so its outcome does not count: the job was given to another worker, or ended otherwise"
                );
                continue;
            }
            let state = states.binary_search_by_key(lease, |(lease, _)| *lease).ok().map(|at| states[at].1);
            if state == Some(JobState::Available) {
                self.waker.wake(&job.lane.queue);
            }
            log.ended(job, outcome, state);
        }
    }

    async fn one(&self, give_up: &CancellationToken, attempt: &Attempt, outcome: (Lease, Outcome), log: &mut JobLog) {
        let outcome = slice::from_ref(&outcome);
        match until_available(give_up, || self.store.report(outcome)).await {
            Some(Ok(reported)) => self.recorded(reported, slice::from_ref(attempt), outcome, log),
            Some(Err(error)) => refused(&attempt.job, &error),
            None => {}
        }
    }
}

/// The job stays leased until this worker stops, and is then tried again: no outcome is invented for it.
fn refused(job: &LeasedJob, error: &longshore_common::store::StoreError) {
    log_job!(error, job, { error = longshore_common::log::chain(error), }, "the outcome of this attempt cannot be stored");
}
