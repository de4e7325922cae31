//! Who waits for jobs, in the order in which they came.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use longshore_common::job::{Kind, LeaseRequest, QueueName};
use tokio::sync::Notify;

use crate::problem::ApiError;

/// Requests that may wait at once.
const MOST: usize = 20_000;

/// Those who wait.
#[derive(Debug, Default)]
pub struct Line {
    waiters: Mutex<Waiters>,
    /// Somebody begins to wait.
    came: Notify,
}

#[derive(Debug, Default)]
struct Waiters {
    next: u64,
    count: usize,
    by_queue: HashMap<QueueName, BTreeMap<u64, Arc<Waiter>>>,
}

#[derive(Debug)]
struct Waiter {
    asked: Arc<LeaseRequest>,
    is_woken: AtomicBool,
    told: Notify,
}

/// One's place, until it is dropped.
#[derive(Debug)]
pub struct Place<'a> {
    line: &'a Line,
    number: u64,
    waiter: Arc<Waiter>,
}

impl Line {
    /// Goes to the end.
    ///
    /// # Errors
    /// [`ApiError::TooManyWait`].
    pub fn join(&self, asked: Arc<LeaseRequest>) -> Result<Place<'_>, ApiError> {
        let mut waiters = self.waiters();
        if waiters.count >= MOST {
            return Err(ApiError::TooManyWait);
        }
        waiters.count += 1;
        waiters.next += 1;
        let number = waiters.next;
        let waiter = Arc::new(Waiter { asked, is_woken: AtomicBool::new(false), told: Notify::new() });
        for queue in &waiter.asked.queues {
            waiters.by_queue.entry(queue.clone()).or_default().insert(number, waiter.clone());
        }
        drop(waiters);
        self.came.notify_one();
        Ok(Place { line: self, number, waiter })
    }

    /// Returns when somebody has begun to wait.
    pub async fn came(&self) {
        self.came.notified().await;
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiters().count == 0
    }

    /// The queues that are waited for, each with its kinds; `None`: any.
    pub fn wanted(&self) -> HashMap<QueueName, Option<Vec<Kind>>> {
        let of = |waiters: &BTreeMap<u64, Arc<Waiter>>| {
            let kinds: Option<Vec<&[Kind]>> = waiters.values().map(|waiter| waiter.asked.kinds.as_deref()).collect();
            kinds.map(|kinds| {
                let mut all: Vec<Kind> = kinds.concat();
                all.sort_unstable();
                all.dedup();
                all
            })
        };
        self.waiters().by_queue.iter().map(|(queue, waiters)| (queue.clone(), of(waiters))).collect()
    }

    /// Wakes the first who waits for this queue, wants what there is, and is not woken yet.
    pub fn wake(&self, queue: &QueueName, wants: impl Fn(&LeaseRequest) -> bool) {
        let waiters = self.waiters();
        let in_line = waiters.by_queue.get(queue).into_iter().flat_map(BTreeMap::values);
        if let Some(first) = in_line.filter(|waiter| wants(&waiter.asked)).find(|waiter| !waiter.is_woken.swap(true, Ordering::Relaxed)) {
            first.told.notify_one();
        }
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().expect("no panic while held")
    }
}

impl Place<'_> {
    /// Returns when there may be something.
    pub async fn woken(&self) {
        self.waiter.told.notified().await;
        self.waiter.is_woken.store(false, Ordering::Relaxed);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiters = self.line.waiters();
        waiters.count -= 1;
        for queue in &self.waiter.asked.queues {
            if let Some(in_line) = waiters.by_queue.get_mut(queue) {
                in_line.remove(&self.number);
                if in_line.is_empty() {
                    waiters.by_queue.remove(queue);
                }
            }
        }
        drop(waiters);
        if self.waiter.is_woken.load(Ordering::Relaxed) {
            // it was woken and did not come: that is the next one's
            self.waiter.asked.queues.iter().for_each(|queue| self.line.wake(queue, |_| true));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn asked(text: &str) -> Arc<LeaseRequest> {
        Arc::new(LeaseRequest::parse(text.as_bytes()).expect("fine"))
    }

    fn queue(name: &str) -> QueueName {
        QueueName::new(name).expect("fine")
    }

    #[test]
    fn who_came_first_is_woken_first_and_only_for_what_it_wants() {
        let line = Line::default();
        let first = line.join(asked(r#"{"queues": ["a"], "kinds": ["x"]}"#)).expect("room");
        let second = line.join(asked(r#"{"queues": ["b", "a"]}"#)).expect("room");
        let third = line.join(asked(r#"{"queues": ["a"], "kinds": ["x"]}"#)).expect("room");
        let is_woken = |place: &Place<'_>| place.woken().now_or_never().is_some();
        let kind = |name: &str| Kind::new(name).expect("fine");
        line.wake(&queue("a"), |asked| asked.wants(&kind("y")));
        assert_eq!([is_woken(&first), is_woken(&second), is_woken(&third)], [false, true, false]);
        line.wake(&queue("a"), |asked| asked.wants(&kind("x")));
        line.wake(&queue("a"), |asked| asked.wants(&kind("x")));
        assert_eq!([is_woken(&first), is_woken(&second), is_woken(&third)], [true, true, false], "one for each wake");
        line.wake(&queue("a"), |_| true);
        drop(first);
        assert!(is_woken(&second), "whose turn was lost hands it on");
        assert_eq!(line.wanted(), [(queue("a"), None), (queue("b"), None)].into());
        drop(second);
        assert_eq!(line.wanted(), [(queue("a"), Some(vec![kind("x")]))].into());
        drop(third);
        assert!(line.is_empty() && line.wanted().is_empty());
    }
}
