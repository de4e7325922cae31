//! Outcomes on their way to the database: whatever has come while a statement was under way goes into the next one, and
//! nothing is dropped while the database is away.
//!
//! Where the database is there and a statement fails all the same, one outcome is at fault: somebody's open transaction may hold
//! what it needs, for as long as they like. So these outcomes are set aside, each on its own, and all others go on.

use std::{
    collections::HashSet,
    slice,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use longshore_common::{
    job::JobState,
    outcome::Outcome,
    store::{
        Store, StoreError,
        claim::{Lease, LeasedJob},
        listen::Waker,
        report::Reported,
        until_available,
    },
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    job_log::{JobLog, log_job},
    metrics::WorkerMetrics,
    notes::Notebook,
    slots::Slots,
};

/// Outcomes a statement at most.
const BATCH: usize = 1000;

/// Outcomes that may be set aside before all others have to wait, too.
const ASIDE: usize = 10_000;
/// Statements at once for outcomes that were set aside just now, and as many for those that are tried again.
const TURNS: usize = 2;
/// Until one is tried again: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long a job is put off whose failure the database refuses.
const PUT_OFF: Duration = Duration::from_mins(1);

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
    pub async fn run(self, reports: mpsc::Receiver<Report>, give_up: CancellationToken) -> usize {
        let (aside, set_aside) = mpsc::channel(BATCH);
        let (unstored, of_those_aside) = tokio::join!(self.together(reports, aside, &give_up), self.apart(set_aside, &give_up));
        unstored + of_those_aside
    }

    /// As many outcomes a statement as there are.
    async fn together(&self, mut reports: mpsc::Receiver<Report>, aside: mpsc::Sender<Report>, give_up: &CancellationToken) -> usize {
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
                match self.store.report(&outcomes).await {
                    Err(error) if error.is_locked() => Ok(Err(error)),
                    result => result.map(Ok),
                }
            };
            let mut unstored = 0;
            match until_available(give_up, report).await.map(Result::flatten) {
                Some(Ok(reported)) => {
                    self.metrics.reported(began.elapsed());
                    self.recorded(reported, &attempts, &outcomes, &mut log);
                    continue;
                }
                Some(Err(error)) => {
                    if outcomes.len() > 1 {
                        tracing::warn!(error = longshore_common::log::chain(&error), "recording {} outcomes failed; trying them one by one", outcomes.len());
                    }
                    for (attempt, (lease, outcome)) in attempts.into_iter().zip(outcomes) {
                        // who tries them has gone where `give_up` was cancelled
                        unstored += usize::from(aside.send(Report { lease, attempt, outcome }).await.is_err());
                    }
                }
                None => unstored = outcomes.len(),
            }
            if unstored > 0 {
                while let Ok(_left) = reports.try_recv() {
                    unstored += 1;
                }
                return unstored;
            }
        }
    }

    /// Outcomes that were set aside, each in a statement of its own, until it is stored.
    async fn apart(&self, mut set_aside: mpsc::Receiver<Report>, give_up: &CancellationToken) -> usize {
        let (first, again) = (Semaphore::new(TURNS), Semaphore::new(TURNS));
        let mut trying = FuturesUnordered::new();
        let (mut log, mut more) = (JobLog::default(), true);
        while more || !trying.is_empty() {
            tokio::select! {
                came = set_aside.recv(), if more && trying.len() < ASIDE => match came {
                    Some(report) => trying.push(self.alone(report, &first, &again)),
                    None => more = false,
                },
                Some(ended) = trying.next() => if let Some((reported, attempt, outcome)) = ended {
                    self.recorded(reported, slice::from_ref(&attempt), slice::from_ref(&outcome), &mut log);
                },
                () = give_up.cancelled() => return trying.len() + set_aside.len(),
            }
        }
        0
    }

    /// One outcome until it is stored, or another in its stead. `None`: nothing can be, and the lease is let go.
    async fn alone(&self, report: Report, first: &Semaphore, again: &Semaphore) -> Option<(Reported, Attempt, (Lease, Outcome))> {
        let Report { lease, attempt, outcome } = report;
        let job = &attempt.job;
        let mut report = (lease, outcome);
        let (mut turns, mut pause) = (first, PAUSE.0);
        loop {
            let turn = turns.acquire().await;
            let result = self.store.report_if_free(&report).await;
            drop(turn);
            match result {
                Ok(reported) => return Some((reported, attempt, report)),
                Err(error) if error.may_pass() => {
                    if pause == PAUSE.0 {
                        let why = if error.is_locked() {
                            "somebody's open transaction holds what it needs, `longshore doctor` names it"
                        } else {
                            "it is tried again"
                        };
                        log_job!(warn, job, { error = longshore_common::log::chain(&error), }, "the outcome of this attempt waits: {why}");
                    }
                    tokio::time::sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
                    (turns, pause) = (again, (pause * 2).min(PAUSE.1));
                }
                Err(error) => {
                    let instead = instead_of(&report.1, &error);
                    let becomes = match &instead {
                        Some(Outcome::Snoozed { .. }) => "the job is put off by a minute, uncounted",
                        Some(_) => "it counts as a failure",
                        None => "the job is handed back, uncounted",
                    };
                    log_job!(error, job, { error = longshore_common::log::chain(&error), }, "the outcome of this attempt, {}, cannot be stored: {becomes}", report.1.word());
                    let Some(instead) = instead else {
                        self.unreported.remove([lease]); // the fetch loop finds what is leased and not in hand
                        return None;
                    };
                    report.1 = instead;
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
}

/// What is reported where the database refuses an outcome for good, so that the job does not stay leased for ever.
fn instead_of(outcome: &Outcome, error: &StoreError) -> Option<Outcome> {
    match outcome {
        Outcome::Succeeded { .. } | Outcome::Cancelled { .. } => {
            let error = format!("its outcome, {}, could not be stored: {}", outcome.word(), longshore_common::log::chain(error));
            Some(Outcome::Failed { error, retry_in: None })
        }
        Outcome::Failed { .. } | Outcome::TimedOut { .. } | Outcome::Lost { .. } | Outcome::Discarded { .. } => Some(Outcome::Snoozed { delay: PUT_OFF }),
        Outcome::Snoozed { .. } | Outcome::HandedBack | Outcome::Expired => None,
    }
}
