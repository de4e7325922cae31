//! Slots: how many jobs run at once. Queues share them as the setting `worker.queues` says.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use longshore_common::settings::{QueuePattern, QueueShare};
use tokio::sync::Notify;

/// The slots of one entry of `worker.queues`.
#[derive(Debug)]
pub(crate) struct Share {
    pattern: QueuePattern,
    free: AtomicUsize,
    freed: Arc<Notify>,
}

/// All slots of this worker.
#[derive(Debug)]
pub(crate) struct Slots {
    shares: Vec<Arc<Share>>,
    freed: Arc<Notify>,
    total: usize,
}

impl Slots {
    pub fn new(shares: &[QueueShare]) -> Self {
        let freed = Arc::new(Notify::new());
        Self {
            total: shares.iter().map(|s| s.slots).sum(),
            shares: shares.iter().map(|s| Arc::new(Share { pattern: s.pattern.clone(), free: AtomicUsize::new(s.slots), freed: freed.clone() })).collect(),
            freed,
        }
    }

    /// The share that a queue takes its slots from; `None`: this worker does not serve it.
    pub fn share_of(&self, queue: &str) -> Option<&Arc<Share>> {
        let named = self.shares.iter().find(|s| matches!(&s.pattern, QueuePattern::Named(name) if **name == *queue));
        named.or_else(|| self.shares.iter().find(|s| s.pattern == QueuePattern::Other))
    }

    /// Slots in all.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Returns when a slot has become free since the last call.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Share {
    pub fn free(&self) -> usize {
        self.free.load(Ordering::Relaxed)
    }

    /// Takes a slot. Only the fetch loop takes, and no more than were free.
    pub fn take(self: &Arc<Self>) -> Slot {
        self.free.fetch_sub(1, Ordering::Relaxed);
        Slot(self.clone())
    }
}

/// A slot that is taken; free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Share>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Relaxed);
        self.0.freed.notify_one();
    }
}
