//! Waking workers, where no API does it for us.

use std::{collections::BTreeSet, time::Duration};

use longshore_common::store::{
    Store,
    listen::{Channel, Waker},
};
use tokio_util::sync::CancellationToken;

use super::Backend;

/// Longest wait for the word that workers were woken. They find the job at their next poll anyway.
const WITHIN: Duration = Duration::from_millis(500);

/// Wakes workers while jobs are enqueued one after the other.
pub struct Waking(Option<Waker>);

impl Waking {
    /// Begins.
    pub fn start(backend: &Backend) -> Self {
        Self(match backend {
            Backend::Database(store) => Some(Waker::start(store)),
            Backend::Http(_) => None,
        })
    }

    /// Jobs of this queue have come.
    pub fn wake(&self, queue: &str) {
        if let Some(waker) = &self.0 {
            waker.wake(queue);
        }
    }
}

/// Wakes the workers of these queues, and returns when that was heard: this program's end would cut it off.
pub(super) async fn wake(store: &Store, queues: &BTreeSet<String>) {
    let stop = CancellationToken::new();
    let mut heard = store.listen(Channel::Work, stop.clone());
    let mut unheard = queues.clone();
    let woken = async {
        heard.recv().await; // it listens
        let waker = Waker::start(store);
        for queue in queues {
            waker.wake(queue);
        }
        while let Some(note) = heard.recv().await {
            if note.is_some_and(|queue| unheard.remove(&queue)) && unheard.is_empty() {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(WITHIN, woken).await;
    stop.cancel();
}
