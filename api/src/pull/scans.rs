//! What claims remember of each queue, from one to the next.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use longshore_common::{job::QueueName, store::claim::QueueScan};
use tokio::time::Instant;

/// How long it is kept where nobody claims: what is forgotten costs the next claim one look from the beginning.
const KEPT: Duration = Duration::from_mins(1);

/// One for each queue that is claimed from.
#[derive(Debug, Default)]
pub struct Scans(Mutex<HashMap<QueueName, Kept>>);

#[derive(Debug)]
struct Kept {
    scan: Arc<tokio::sync::Mutex<QueueScan>>,
    used: Instant,
}

impl Scans {
    /// That of a queue. Its claims take turns, so that they do not get in each other's way. Those of queues that nobody claims from
    /// any more are dropped when another queue comes.
    pub fn of(&self, queue: &QueueName) -> Arc<tokio::sync::Mutex<QueueScan>> {
        let mut all = self.0.lock().expect("no panic while held");
        let used = Instant::now();
        if let Some(kept) = all.get_mut(queue) {
            kept.used = used;
            return kept.scan.clone();
        }
        // whoever claims just now has the other reference
        all.retain(|_, kept| Arc::strong_count(&kept.scan) > 1 || kept.used.elapsed() < KEPT);
        let scan = Arc::default();
        all.insert(queue.clone(), Kept { scan: Arc::clone(&scan), used });
        scan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_kept_and_the_rest_is_dropped() {
        let scans = Scans::default();
        let queue = |name: &str| QueueName::new(name).expect("fine");
        let known = || {
            let mut names: Vec<String> = scans.0.lock().expect("no panic").keys().map(ToString::to_string).collect();
            names.sort_unstable();
            names
        };
        let held = scans.of(&queue("held"));
        assert!(Arc::ptr_eq(&held, &scans.of(&queue("held"))), "one for all who claim from it");
        scans.of(&queue("idle"));
        scans.of(&queue("fresh"));
        let long_ago = Instant::now().checked_sub(2 * KEPT).expect("the machine has run for that long");
        for name in ["held", "idle"] {
            scans.0.lock().expect("no panic").get_mut(&queue(name)).expect("it is there").used = long_ago;
        }
        scans.of(&queue("fresh"));
        assert_eq!(known(), ["fresh", "held", "idle"]);
        scans.of(&queue("new"));
        assert_eq!(known(), ["fresh", "held", "new"]);
    }
}
