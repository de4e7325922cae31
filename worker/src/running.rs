//! The attempts that run here. Each is settled exactly once: by its own end, by the guard against handlers that ignore
//! their deadline, or when the worker stops. Who takes it out of the table reports it.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use longshore_common::{
    outcome::Outcome,
    store::{
        Store,
        claim::{Lease, LeasedJob},
        workers::WorkerNumber,
    },
    trace::Span,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc},
    task::{AbortHandle, JoinHandle},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    apart::Apart,
    attempt::{self, Ended},
    handler::{
        AnyHandler, Context,
        desk::{Completed, Desk},
    },
    job_log::log_job,
    report::{Attempt, Report, Unreported},
    slots::Slot,
    span,
};

/// A handler that goes on for that long after its deadline blocks its thread: it cannot be ended from outside.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// From so many losses in a row on, a job runs in a process of its own.
const LOSSES_TO_RUN_APART: i32 = 2;

/// How often to ask which jobs are to be cancelled: a worker is told within a second.
const CANCELLED_EVERY: Duration = Duration::from_millis(600);

#[derive(Debug)]
struct Entry {
    job: Arc<LeasedJob>,
    began: Instant,
    deadline: Option<Instant>,
    cancellation: CancellationToken,
    completed: Completed,
    task: Option<AbortHandle>,
    slot: Slot,
    span: Span,
}

/// A job that was claimed, with what runs it.
pub(crate) struct Claimed {
    pub job: LeasedJob,
    pub handler: Arc<dyn AnyHandler>,
    pub slot: Slot,
}

/// What attempts run on.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// The runtime of users' handlers, which may block its threads.
    pub handlers: Handle,
    pub desk: Desk,
    /// For jobs that run apart from all others.
    pub apart: Arc<Apart>,
}

/// The table of running attempts. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Running(Arc<Inner>);

/// Running attempts, to be counted: the reporter ends when nobody else has the table any more.
#[derive(Debug)]
pub(crate) struct Watched(Weak<Inner>);

impl Watched {
    /// How many run, and of how many the outcome is not recorded yet.
    pub fn counts(&self) -> (usize, usize) {
        let Some(inner) = self.0.upgrade() else { return (0, 0) };
        let running = Running(inner);
        (running.count(), running.0.unreported.count())
    }
}

#[derive(Debug)]
struct Inner {
    entries: Mutex<HashMap<Lease, Entry>>,
    ended: Notify,
    reports: mpsc::Sender<Report>,
    unreported: Unreported,
    ground: Ground,
}

impl Running {
    pub fn new(reports: mpsc::Sender<Report>, unreported: Unreported, ground: Ground) -> Self {
        Self(Arc::new(Inner { entries: Mutex::default(), ended: Notify::new(), reports, unreported, ground }))
    }

    /// The table, for who only counts.
    pub fn watched(&self) -> Watched {
        Watched(Arc::downgrade(&self.0))
    }

    /// Whether the worker still has this lease in hand: its attempt runs, or its report is still to come.
    pub fn holds(&self, lease: Lease) -> bool {
        // in the order in which a lease passes from the one to the other
        self.entries().contains_key(&lease) || self.0.unreported.has(lease)
    }

    /// Starts attempts, each in a task of its own, on the handlers' runtime. Ends when they were started there and those that do
    /// not wait have run once: the runtime is woken once for all of them. Where handlers block all its threads, that lasts.
    pub fn start(&self, jobs: Vec<Claimed>) -> JoinHandle<()> {
        let mut attempts = Vec::with_capacity(jobs.len());
        for Claimed { mut job, handler, slot } in jobs {
            let span = span::begin(&mut job);
            let job = Arc::new(job);
            let lease = job.lease;
            let deadline = job.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
            let cancellation = CancellationToken::new();
            // a token of its own, below the job's: what the handler hears
            let context = Context {
                job: job.clone(),
                deadline,
                cancellation: cancellation.child_token(),
                completed: Completed::default(),
                desk: self.0.ground.desk.clone(),
            };
            let entry = Entry {
                job: job.clone(),
                began: Instant::now(),
                deadline,
                cancellation: cancellation.clone(),
                completed: context.completed.clone(),
                task: None,
                slot,
                span: span.clone(),
            };
            self.entries().insert(lease, entry);
            if job.losses >= LOSSES_TO_RUN_APART && handler.is_dangerous() {
                // the process is a child of this thread
                let apart = self.0.ground.apart.clone();
                self.spawn(&Handle::current(), lease, span.around(self.clone().attempt(context, apart, cancellation)));
            } else {
                attempts.push((lease, span.around(self.clone().attempt(context, handler, cancellation))));
            }
        }
        let (running, handlers) = (self.clone(), self.0.ground.handlers.clone());
        self.0.ground.handlers.spawn(async move {
            for (lease, attempt) in attempts {
                running.spawn(&handlers, lease, attempt);
            }
            tokio::task::yield_now().await;
        })
    }

    /// Ends when a thread of the handlers' runtime is free.
    pub fn free_thread(&self) -> JoinHandle<()> {
        self.0.ground.handlers.spawn(std::future::ready(()))
    }

    /// Unless it was taken out meanwhile.
    fn spawn(&self, runtime: &Handle, lease: Lease, attempt: impl Future<Output = ()> + Send + 'static) {
        if let Some(entry) = self.entries().get_mut(&lease) {
            entry.task = Some(runtime.spawn(attempt).abort_handle());
        }
    }

    async fn attempt(self, context: Context, handler: Arc<dyn AnyHandler>, cancellation: CancellationToken) {
        let lease = context.job.lease;
        match attempt::run(context, &*handler, cancellation).await {
            Ended::With(outcome) => self.settle(lease, outcome).await,
            Ended::GivenAway => self.let_go(lease),
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
            log_job!(info, entry.job, {}, "is to be cancelled: its handler is told to end");
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
                log_job!(
                    error,
                    entry.job,
                    {},
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

    /// Ends all that run, and hands them back as soon as what they have started has `settled`. Returns how many.
    pub async fn hand_back_all(&self, settled: impl Future<Output = ()>) -> usize {
        let leases: Vec<Lease> = self.entries().keys().copied().collect();
        let ended: Vec<Entry> = leases.into_iter().filter_map(|lease| self.take(lease)).inspect(abort).collect();
        settled.await;
        let handed_back = ended.len();
        for entry in ended {
            self.report(entry, Outcome::HandedBack).await;
        }
        handed_back
    }

    /// Ends all that run without reporting: their leases are lost. Returns how many.
    pub fn forget_all(&self) -> usize {
        let entries = std::mem::take(&mut *self.entries());
        for entry in entries.values() {
            abort(entry);
            span::end_as(&entry.span, "lost");
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

    /// Somebody else reports it.
    fn let_go(&self, lease: Lease) {
        if let Some(entry) = self.entries().remove(&lease) {
            span::end_as(&entry.span, "given_away");
        }
        self.0.ended.notify_waiters();
    }

    /// The slot is held until the report is on its way, so that a database that is away holds up new work. What the handler has
    /// completed in a transaction of its own counts, whatever came after.
    async fn report(&self, entry: Entry, outcome: Outcome) {
        let outcome = match entry.completed.result() {
            Some(result) => {
                if !matches!(outcome, Outcome::Succeeded { .. } | Outcome::HandedBack) {
                    log_job!(warn, entry.job, { error = outcome.error(), },
                        "the handler completed its job in a transaction and then ended as {}: the job has succeeded all the same", outcome.word());
                }
                Outcome::Succeeded { result: result.clone() }
            }
            None => outcome,
        };
        span::end(&entry.span, &outcome);
        let _ = self.0.reports.send(Report { lease: entry.job.lease, attempt: Attempt { job: entry.job, ran: entry.began.elapsed() }, outcome }).await; // the reporter outlives all attempts
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
