//! The attempts that run here. Each is settled exactly once: by its own end, by the guard against handlers that ignore
//! their deadline, or when the worker stops. Who takes it out of the table reports it.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use longshore_common::{
    outcome::Outcome,
    store::{
        Store,
        claim::{Lease, LeasedJob},
        workers::WorkerNumber,
    },
};
use tokio::{
    sync::{Notify, mpsc},
    task::AbortHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    attempt,
    handler::{AnyHandler, Context},
    notes::Notebook,
    report::{Report, Unreported},
    slots::Slot,
};

/// A handler that goes on for that long after its deadline blocks its thread: it cannot be ended from outside.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// How often to ask which jobs are to be cancelled: a worker is told within a second.
const CANCELLED_EVERY: Duration = Duration::from_millis(600);

#[derive(Debug)]
struct Entry {
    job: Arc<LeasedJob>,
    deadline: Option<Instant>,
    cancellation: CancellationToken,
    task: Option<AbortHandle>,
    slot: Slot,
}

/// The table of running attempts. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Running(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    entries: Mutex<HashMap<Lease, Entry>>,
    ended: Notify,
    reports: mpsc::Sender<Report>,
    unreported: Unreported,
    notebook: Notebook,
}

impl Running {
    pub fn new(reports: mpsc::Sender<Report>, unreported: Unreported, notebook: Notebook) -> Self {
        Self(Arc::new(Inner { entries: Mutex::default(), ended: Notify::new(), reports, unreported, notebook }))
    }

    /// Whether the worker still has this lease in hand: its attempt runs, or its report is still to come.
    pub fn holds(&self, lease: Lease) -> bool {
        // in the order in which a lease passes from the one to the other
        self.entries().contains_key(&lease) || self.0.unreported.has(lease)
    }

    /// Starts an attempt in a task of its own.
    pub fn start(&self, job: LeasedJob, handler: Arc<dyn AnyHandler>, slot: Slot) {
        let job = Arc::new(job);
        let lease = job.lease;
        let deadline = job.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let cancellation = CancellationToken::new();
        self.entries().insert(lease, Entry { job: job.clone(), deadline, cancellation: cancellation.clone(), task: None, slot });
        let running = self.clone();
        let task = tokio::spawn(async move {
            // a token of its own, below the job's: what the handler hears
            let context = Context { job, deadline, cancellation: cancellation.child_token(), notebook: running.0.notebook.clone() };
            let outcome = attempt::run(context, &*handler, cancellation).await;
            running.settle(lease, outcome).await;
        });
        if let Some(entry) = self.entries().get_mut(&lease) {
            entry.task = Some(task.abort_handle());
        }
    }

    /// How many run.
    pub fn count(&self) -> usize {
        self.entries().len()
    }

    /// Returns when none runs.
    pub async fn idle(&self) {
        loop {
            let ended = self.0.ended.notified();
            if self.count() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Asks, for as long as it is polled, which jobs are to be cancelled, and tells their handlers. By asking alone, so that it
    /// holds without LISTEN, too; the index that is asked is empty but for such jobs.
    pub async fn watch_for_cancelled(&self, store: &Store, worker: WorkerNumber) -> Infallible {
        loop {
            tokio::time::sleep(CANCELLED_EVERY.mul_f64(0.75 + fastrand::f64() / 4.0)).await;
            if self.count() == 0 {
                continue;
            }
            match store.to_cancel(worker).await {
                Ok(leases) => leases.into_iter().for_each(|lease| self.cancel(lease)),
                Err(error) if error.is_unavailable() => {} // said by the store
                Err(error) => tracing::error!(error = longshore_common::log::chain(&error), "asking which jobs to stop failed; trying again"),
            }
        }
    }

    /// Tells the handler; one that blocks its thread is stuck a while after.
    fn cancel(&self, lease: Lease) {
        if let Some(entry) = self.entries().get_mut(&lease)
            && !entry.cancellation.is_cancelled()
        {
            tracing::info!(job.id = lease.id, kind = %entry.job.lane.kind, "is to be cancelled: its handler is told to end");
            entry.cancellation.cancel();
            let end = Instant::now() + attempt::TO_END;
            entry.deadline = Some(entry.deadline.map_or(end, |deadline| deadline.min(end)));
        }
    }

    /// Watches, for as long as it is polled, for handlers that ignore their deadline: they lose their slot.
    pub async fn watch_for_stuck(&self) -> Infallible {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = Instant::now();
            let stuck: Vec<Lease> = self.entries().iter().filter(|(_, e)| e.deadline.is_some_and(|d| d + STUCK_AFTER < now)).map(|(lease, _)| *lease).collect();
            for lease in stuck {
                let Some(entry) = self.take(lease) else { continue };
                tracing::error!(
                    job.id = lease.id,
                    kind = %entry.job.lane.kind,
                    "the handler blocks its thread and ignores its deadline; its attempt is reported as timed out, its slot is given to others, \
                     but its thread is lost until it returns: use spawn_blocking in it"
                );
                abort(&entry);
                let outcome = if entry.cancellation.is_cancelled() {
                    Outcome::Cancelled { error: Some("it is stuck: it ignored that it was cancelled".to_owned()) }
                } else {
                    Outcome::TimedOut { error: format!("{}; it is stuck: it ignored its deadline", attempt::timed_out(entry.job.timeout)) }
                };
                self.report(entry, outcome).await;
            }
        }
    }

    /// Ends all that run, and hands them back. Returns how many.
    pub async fn hand_back_all(&self) -> usize {
        let leases: Vec<Lease> = self.entries().keys().copied().collect();
        let mut handed_back = 0;
        for lease in leases {
            if let Some(entry) = self.take(lease) {
                handed_back += 1;
                abort(&entry);
                self.report(entry, Outcome::HandedBack).await;
            }
        }
        handed_back
    }

    /// Ends all that run without reporting: their leases are lost. Returns how many.
    pub fn forget_all(&self) -> usize {
        let entries = std::mem::take(&mut *self.entries());
        for entry in entries.values() {
            abort(entry);
        }
        self.0.ended.notify_waiters();
        entries.len()
    }

    /// The attempt's own end.
    async fn settle(&self, lease: Lease, outcome: Outcome) {
        if let Some(entry) = self.take(lease) {
            self.report(entry, outcome).await;
        }
    }

    /// The slot is held until the report is on its way, so that a database that is away holds up new work.
    async fn report(&self, entry: Entry, outcome: Outcome) {
        let _ = self.0.reports.send(Report { job: entry.job, outcome }).await; // the reporter outlives all attempts
        drop(entry.slot);
        self.0.ended.notify_waiters();
    }

    /// Whoever gets the entry reports it.
    fn take(&self, lease: Lease) -> Option<Entry> {
        let mut entries = self.entries();
        let entry = entries.remove(&lease)?;
        self.0.unreported.add(lease);
        Some(entry)
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<Lease, Entry>> {
        self.0.entries.lock().expect("no panic while held")
    }
}

fn abort(entry: &Entry) {
    if let Some(task) = &entry.task {
        task.abort();
    }
}
