//! Which queues have a live worker, remembered: an enqueue may say that nobody serves its queue, but does not ask the
//! database each time.

use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use longshore_common::store::{Store, workers::WorkerView};
use tokio_util::sync::CancellationToken;

/// How old what is remembered may become.
const REFRESH: Duration = Duration::from_secs(1);

/// The queues that live workers serve.
#[derive(Debug, Default)]
pub struct LiveQueues(RwLock<Option<Served>>);

#[derive(Debug, Default)]
struct Served {
    /// Names of queues, `*` for every other one.
    queues: BTreeSet<String>,
}

impl LiveQueues {
    /// Keeps up with the workers until `stop`.
    pub async fn keep_up(&self, store: &Store, stop: CancellationToken) {
        loop {
            // while the database is away, what was known last is as good as anything
            if let Ok(workers) = store.workers().await {
                *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Served::by(&workers));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(REFRESH.mul_f64(1.0 + fastrand::f64() / 4.0)) => {}
            }
        }
    }

    /// What to tell somebody who enqueues into a queue that no live worker serves.
    pub fn warning(&self, queue: &str) -> Option<String> {
        let served = self.0.read().unwrap_or_else(PoisonError::into_inner);
        served.as_ref()?.warning(queue)
    }
}

impl Served {
    fn by(workers: &[WorkerView]) -> Self {
        let name = |share: &String| share.split_once('=').map_or(share.as_str(), |(name, _)| name).to_owned();
        Self { queues: workers.iter().flat_map(|worker| &worker.queues).map(name).collect() }
    }

    fn warning(&self, queue: &str) -> Option<String> {
        if self.queues.contains("*") || self.queues.contains(queue) {
            return None;
        }
        let others = match self.queues.len() {
            0 => "there is no live worker".to_owned(),
            _ => format!("live workers serve: {}", self.queues.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
        };
        Some(format!("no live worker serves queue \"{queue}\"; {others}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(queues: &[&str]) -> Served {
        Served { queues: queues.iter().map(|q| (*q).to_owned()).collect() }
    }

    #[test]
    fn warns_of_queues_that_nobody_serves() {
        assert_eq!(served(&[]).warning("a").as_deref(), Some("no live worker serves queue \"a\"; there is no live worker"));
        assert_eq!(served(&["b", "c"]).warning("a").as_deref(), Some("no live worker serves queue \"a\"; live workers serve: b, c"));
        assert_eq!(served(&["a"]).warning("a"), None);
        assert_eq!(served(&["*"]).warning("a"), None);
        assert_eq!(LiveQueues::default().warning("a"), None, "nothing is known yet");
    }
}
