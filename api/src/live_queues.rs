//! Which queues have a live worker, remembered: an enqueue may say that nobody serves its queue, but does not ask the
//! database each time.

use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use longshore_common::store::{Store, workers::WorkerView};
use tokio_util::sync::CancellationToken;

use crate::auth::Access;

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

    /// What to tell somebody who enqueues into a queue that no live worker serves; of other queues, only those that `access`
    /// reaches are named.
    pub fn warning(&self, queue: &str, access: &Access) -> Option<String> {
        let served = self.0.read().unwrap_or_else(PoisonError::into_inner);
        served.as_ref()?.warning(queue, access)
    }
}

impl Served {
    fn by(workers: &[WorkerView]) -> Self {
        let name = |share: &String| share.split_once('=').map_or(share.as_str(), |(name, _)| name).to_owned();
        Self { queues: workers.iter().flat_map(|worker| &worker.queues).map(name).collect() }
    }

    fn warning(&self, queue: &str, access: &Access) -> Option<String> {
        if self.queues.contains("*") || self.queues.contains(queue) {
            return None;
        }
        let named: Vec<&str> = self.queues.iter().map(String::as_str).filter(|queue| access.reaches(queue)).collect();
        let others = match (self.queues.len(), named.len()) {
            (0, _) => "there is no live worker".to_owned(),
            (_, 0) => "live workers serve others".to_owned(),
            _ => format!("live workers serve: {}", named.join(", ")),
        };
        Some(format!("no live worker serves queue \"{queue}\"; {others}"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use longshore_common::key::ApiKey;

    use super::*;

    fn served(queues: &[&str]) -> Served {
        Served { queues: queues.iter().map(|q| (*q).to_owned()).collect() }
    }

    #[test]
    fn names_no_queue_that_the_caller_does_not_reach() {
        let key = |queues: &[&str]| {
            let queues = queues.iter().map(|queue| (*queue).to_owned()).collect();
            Access::by(Arc::new(ApiKey { name: "k".to_owned(), prefix: String::new(), hash: vec![], scopes: vec![], queues: Some(queues) }))
        };
        let served = served(&["b", "c"]);
        assert_eq!(served.warning("a", &key(&["a", "c"])).as_deref(), Some("no live worker serves queue \"a\"; live workers serve: c"));
        assert_eq!(served.warning("a", &key(&["a"])).as_deref(), Some("no live worker serves queue \"a\"; live workers serve others"));
    }

    #[test]
    fn warns_of_queues_that_nobody_serves() {
        assert_eq!(served(&[]).warning("a", &Access::open()).as_deref(), Some("no live worker serves queue \"a\"; there is no live worker"));
        assert_eq!(served(&["b", "c"]).warning("a", &Access::open()).as_deref(), Some("no live worker serves queue \"a\"; live workers serve: b, c"));
        assert_eq!(served(&["a"]).warning("a", &Access::open()), None);
        assert_eq!(served(&["*"]).warning("a", &Access::open()), None);
        assert_eq!(LiveQueues::default().warning("a", &Access::open()), None, "nothing is known yet");
    }
}
