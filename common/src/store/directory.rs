//! Which lane is which: kinds and queues by their short numbers. Lanes are few, and are never changed once made, so each
//! process remembers them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, RwLock},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{Statement, Store, StoreError, statement};
use crate::job::{Kind, QueueName};

const LANE_OF: Statement = statement!("make the lanes of new kinds", "queues/lane_of.sql");
const LANES_AFTER: Statement = statement!("read the new lanes", "queues/lanes_after.sql");
const COUNT_LANES: Statement = statement!("count the lanes", "queues/count_lanes.sql");

/// How often the lanes are counted at most: ten thousand take a millisecond.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// One kind in one queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Its short number.
    pub lane: i32,
    /// Its queue.
    pub queue: QueueName,
    /// Its kind.
    pub kind: Kind,
}

/// A lane in a job that is written and read: as if it were not shared.
pub(super) mod shared {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Arc, Lane};

    pub fn serialize<S: Serializer>(lane: &Arc<Lane>, serializer: S) -> Result<S::Ok, S::Error> {
        (**lane).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Lane>, D::Error> {
        Lane::deserialize(deserializer).map(Arc::new)
    }
}

#[derive(Default)]
pub(super) struct Directory {
    lanes: RwLock<Lanes>,
    counted: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Lanes {
    by_name: HashMap<QueueName, HashMap<Kind, i32>>,
    by_number: HashMap<i32, Arc<Lane>>,
    highest: i32,
}

impl Directory {
    fn get(&self, queue: &QueueName, kind: &Kind) -> Option<i32> {
        self.lanes.read().expect("no panic while held").by_name.get(queue)?.get(kind).copied()
    }

    fn add(&self, lane: Lane) {
        let mut lanes = self.lanes.write().expect("no panic while held");
        lanes.highest = lanes.highest.max(lane.lane);
        lanes.by_name.entry(lane.queue.clone()).or_default().insert(lane.kind.clone(), lane.lane);
        lanes.by_number.insert(lane.lane, Arc::new(lane));
    }

    fn highest(&self) -> i32 {
        self.lanes.read().expect("no panic while held").highest
    }

    fn known(&self) -> i64 {
        i64::try_from(self.lanes.read().expect("no panic while held").by_number.len()).unwrap_or(i64::MAX)
    }

    /// Whether the last count was long enough ago; then it is said to one caller only.
    fn count_is_due(&self) -> bool {
        let mut counted = self.counted.lock().expect("no panic while held");
        let due = counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY);
        if due {
            *counted = Some(Instant::now());
        }
        due
    }
}

impl Store {
    /// The lanes of jobs that are about to be enqueued; those that are new are made first, in a transaction of their own.
    pub(super) async fn lanes_of(&self, jobs: &[(&QueueName, &Kind)]) -> Result<Vec<i32>, StoreError> {
        let directory = &self.0.directory;
        let mut unknown: Vec<(&QueueName, &Kind)> = jobs.iter().copied().filter(|(queue, kind)| directory.get(queue, kind).is_none()).collect();
        unknown.sort_unstable();
        unknown.dedup();
        for some in unknown.chunks(1000) {
            let (queues, kinds): (Vec<&str>, Vec<&str>) = some.iter().map(|(queue, kind)| (&***queue, &***kind)).unzip();
            let rows = self.query(LANE_OF, &[&queues, &kinds]).await?;
            for ((queue, kind), row) in some.iter().zip(&rows) {
                directory.add(Lane { lane: row.get(0), queue: (*queue).clone(), kind: (*kind).clone() });
            }
        }
        Ok(jobs.iter().map(|(queue, kind)| directory.get(queue, kind).expect("was made above")).collect())
    }

    /// Learns of lanes that others have made; returns whether there were any. One whose transaction stayed open while others made
    /// lanes with higher numbers is found about a second after its commit, all others at once.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn learn_lanes(&self) -> Result<bool, StoreError> {
        let highest = self.0.directory.highest();
        // a lower number is often committed shortly after a higher one, so look a little back
        let mut learnt = self.learn_lanes_after(highest.saturating_sub(100)).await?;
        if self.0.directory.count_is_due() {
            // those that are known are never removed: if there are as many, they are all
            let there: i64 = self.query_one(COUNT_LANES, &[]).await?.get(0);
            if there != self.0.directory.known() {
                learnt |= self.learn_lanes_after(0).await?;
            }
        }
        Ok(learnt)
    }

    async fn learn_lanes_after(&self, number: i32) -> Result<bool, StoreError> {
        let rows = self.query(LANES_AFTER, &[&number]).await?;
        let mut learnt = false;
        for row in rows {
            let number: i32 = row.get(0);
            if self.lane(number).is_some() {
                continue;
            }
            let corrupt = |why: &str| StoreError::Corrupt { table: "lanes", id: number.into(), why: why.to_owned() };
            let queue = QueueName::new(row.get(1)).map_err(|why| corrupt(&format!("its queue {why}")))?;
            let kind = Kind::new(row.get(2)).map_err(|why| corrupt(&format!("its kind {why}")))?;
            self.0.directory.add(Lane { lane: number, queue, kind });
            learnt = true;
        }
        Ok(learnt)
    }

    /// The lane with that number, if it is known.
    pub fn lane(&self, number: i32) -> Option<Arc<Lane>> {
        self.0.directory.lanes.read().expect("no panic while held").by_number.get(&number).cloned()
    }

    /// The lanes of a queue that are known.
    pub fn lanes_in(&self, queue: &QueueName) -> Vec<(Kind, i32)> {
        let lanes = self.0.directory.lanes.read().expect("no panic while held");
        lanes.by_name.get(queue).into_iter().flatten().map(|(kind, lane)| (kind.clone(), *lane)).collect()
    }

    /// All lanes that are known.
    pub fn known_lanes(&self) -> Vec<Arc<Lane>> {
        self.0.directory.lanes.read().expect("no panic while held").by_number.values().cloned().collect()
    }
}
