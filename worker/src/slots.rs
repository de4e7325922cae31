//! Slots: how many jobs run at once. Queues share them as the setting `worker.queues` says; a kind may be held to fewer.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use longshore_common::{
    job::{Kind, QueueName},
    settings::{QueuePattern, QueueShare},
};
use tokio::sync::Notify;

/// So many at once.
#[derive(Debug)]
pub(crate) struct Room {
    free: AtomicUsize,
    total: usize,
    freed: Arc<Notify>,
}

/// All slots of this worker.
#[derive(Debug)]
pub(crate) struct Slots {
    /// What each entry of `worker.queues` has.
    shares: Vec<(QueuePattern, Arc<Room>)>,
    /// What kinds with a limit of their own have, whatever their queue.
    limits: HashMap<Kind, Arc<Room>>,
    freed: Arc<Notify>,
    /// Queues with limits of which jobs have ended, reports and all.
    ended: Mutex<HashSet<QueueName>>,
    room_made: Notify,
    total: usize,
}

impl Slots {
    pub fn new(shares: &[QueueShare], limits: impl IntoIterator<Item = (Kind, usize)>) -> Self {
        let freed = Arc::new(Notify::new());
        let room = |n| Arc::new(Room { free: AtomicUsize::new(n), total: n, freed: freed.clone() });
        Self {
            total: shares.iter().map(|s| s.slots).sum(),
            shares: shares.iter().map(|s| (s.pattern.clone(), room(s.slots))).collect(),
            limits: limits.into_iter().map(|(kind, n)| (kind, room(n))).collect(),
            freed,
            ended: Mutex::default(),
            room_made: Notify::new(),
        }
    }

    /// The room that a queue takes its slots from; `None`: this worker does not serve it.
    pub fn share_of(&self, queue: &str) -> Option<&Arc<Room>> {
        let named = self.shares.iter().find(|(pattern, _)| matches!(pattern, QueuePattern::Named(name) if **name == *queue));
        named.or_else(|| self.shares.iter().find(|(pattern, _)| *pattern == QueuePattern::Other)).map(|(_, room)| room)
    }

    /// The room of a kind that has a limit of its own.
    pub fn limit_of(&self, kind: &Kind) -> Option<&Arc<Room>> {
        self.limits.get(kind)
    }

    /// Slots in all.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Of each entry of `worker.queues` its name, how many slots are taken, and how many there are.
    pub fn use_of_each(&self) -> impl Iterator<Item = (String, usize, usize)> {
        self.shares.iter().map(|(pattern, room)| (pattern.to_string(), room.total.saturating_sub(room.free()), room.total))
    }

    /// A job of a queue with limits has ended, and its report is stored: there may be room for another.
    pub fn ended_in(&self, queue: &QueueName) {
        let mut ended = self.ended.lock().expect("no panic while held");
        if !ended.contains(queue) {
            ended.insert(queue.clone());
        }
        self.room_made.notify_one();
    }

    /// Waits for queues with limits of which jobs have ended since the last call.
    pub async fn room_made(&self) -> HashSet<QueueName> {
        self.room_made.notified().await;
        std::mem::take(&mut *self.ended.lock().expect("no panic while held"))
    }

    /// Returns when a slot has become free since the last call.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Room {
    pub fn free(&self) -> usize {
        self.free.load(Ordering::Relaxed)
    }

    /// Takes a place. Only the fetch loop takes, and no more than were free.
    fn take(self: &Arc<Self>) -> Place {
        self.free.fetch_sub(1, Ordering::Relaxed);
        Place(self.clone())
    }
}

#[derive(Debug)]
struct Place(Arc<Room>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Relaxed);
        self.0.freed.notify_one();
    }
}

/// A slot that is taken; free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _of_queue: Place,
    _of_kind: Option<Place>,
}

impl Slot {
    /// Takes a slot of a queue, and one of its kind where that has a limit.
    pub fn take(share: &Arc<Room>, limit: Option<&Arc<Room>>) -> Self {
        Self { _of_queue: share.take(), _of_kind: limit.map(Room::take) }
    }
}
