//! Where an attempt is done: in the worker, in a process of its own, or in a trial. What its handler tells, asks and enqueues
//! goes there.

use std::sync::{Arc, Mutex, OnceLock};

use longshore_common::{
    job::NewJob,
    json::RawJson,
    notes::Notes,
    store::{
        Store, StoreError,
        claim::Lease,
        enqueue::{Enqueued, Origin},
        listen::Waker,
    },
};
use tokio::sync::Semaphore;

use crate::{apart::Line, notes::Notebook};

/// Where an attempt is done. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Desk {
    /// In the worker's process.
    Worker { notebook: Notebook, database: Database },
    /// In a process of its own, which a worker has started.
    Apart { line: Arc<Line>, database: Database },
    /// In a test, without a database.
    Trial(Arc<Mutex<Told>>),
}

/// The database, as handlers use it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub store: Store,
    pub waker: Waker,
    /// How many transactions of handlers there may be more.
    pub transactions: Arc<Semaphore>,
}

/// What an attempt told in a trial.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub notes: Notes,
    pub enqueued: Vec<NewJob>,
}

/// The result with which an attempt was completed in a transaction of its handler; it counts, whatever comes after. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Completed(Arc<OnceLock<Option<RawJson>>>);

impl Completed {
    pub fn with(&self, result: Option<RawJson>) {
        let _ = self.0.set(result); // twice is refused by the database
    }

    pub fn result(&self) -> Option<&Option<RawJson>> {
        self.0.get()
    }
}

impl Database {
    /// On a pool of so many connections, of which half serve for transactions.
    pub fn new(store: Store, waker: Waker, pool: usize) -> Self {
        Self { store, waker, transactions: Arc::new(Semaphore::new((pool / 2).max(1))) }
    }

    pub async fn enqueue(&self, job: NewJob, origin: &Origin) -> Result<i64, StoreError> {
        let enqueued = self.store.enqueue(std::slice::from_ref(&job), origin).await?;
        self.waker.wake(&job.queue);
        Ok(enqueued.first().map_or(0, Enqueued::id)) // one answer a job
    }
}

impl Desk {
    /// Notes something of the attempt.
    pub fn note(&self, lease: Lease, note: impl FnOnce(&mut Notes)) {
        match self {
            Self::Worker { notebook, .. } => notebook.add(lease, note),
            Self::Apart { line, .. } => line.note(note),
            Self::Trial(told) => note(&mut told.lock().expect("no panic while held").notes),
        }
    }

    /// The checkpoint as it will be once everything is written.
    pub async fn checkpoint(&self, lease: Lease) -> Result<Option<RawJson>, StoreError> {
        match self {
            Self::Worker { notebook, .. } => notebook.checkpoint(lease).await,
            Self::Apart { line, .. } => Ok(line.checkpoint()),
            Self::Trial(told) => {
                let checkpoint = told.lock().expect("no panic while held").notes.checkpoint.clone();
                Ok(checkpoint.filter(|checkpoint| checkpoint.as_str() != "null"))
            }
        }
    }

    pub fn database(&self) -> Option<&Database> {
        match self {
            Self::Worker { database, .. } | Self::Apart { database, .. } => Some(database),
            Self::Trial(_) => None,
        }
    }

    /// Where there is no database: keeps the job, and returns a number that may pass for its id.
    pub fn pretend_to_enqueue(&self, job: NewJob) -> i64 {
        let Self::Trial(told) = self else { return 0 };
        let enqueued = &mut told.lock().expect("no panic while held").enqueued;
        enqueued.push(job);
        i64::try_from(enqueued.len()).unwrap_or(i64::MAX)
    }

    /// Returns when what was noted is written, or cannot be for now: nothing can be told under a lease that has ended.
    pub async fn write_notes(&self, lease: Lease) {
        match self {
            Self::Worker { notebook, .. } => notebook.write_of([lease]).await,
            Self::Apart { line, .. } => line.write_notes().await,
            Self::Trial(_) => {}
        }
    }

    /// The attempt was completed by its handler: whoever reports it must know.
    pub fn tell_completed(&self, result: Option<&RawJson>) {
        if let Self::Apart { line, .. } = self {
            line.tell_completed(result);
        }
    }
}
