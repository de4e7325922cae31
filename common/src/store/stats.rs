//! Figures for dashboards: what stands where, and what happened within the last minute.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Statement, Store, StoreError, field,
    queues::{Counts, QueueView},
    statement,
};

const ACTIVITY: Statement = statement!("read what happened lately", "stats/activity.sql");
const UNHANDLED: Statement = statement!("look for jobs that nobody can run", "stats/unhandled.sql");
const TIME: Statement = statement!("ask for the time", "stats/time.sql");

/// All figures, and what those of some queues are made of.
#[derive(Debug, Clone)]
pub struct Sample {
    at: Timestamp,
    queues: Vec<(QueueStats, Spells)>,
    /// What each live worker serves: names of queues, `*` for every other one.
    workers: Vec<Vec<String>>,
    unhandled: Vec<Unhandled>,
}

/// Waiting jobs of a kind for which no live worker of their queue has a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unhandled {
    /// Where they wait.
    pub queue: String,
    /// What they are.
    pub kind: String,
    /// How many, counted to 1,000.
    pub jobs: i64,
}

/// Waits and runs of a queue's newest finished jobs, in seconds.
#[derive(Debug, Clone, Default)]
struct Spells {
    waits: Vec<f64>,
    runs: Vec<f64>,
}

/// What there is and what happened, in some queues.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stats {
    /// When, by the database's clock.
    pub at: Timestamp,
    /// By name.
    pub queues: Vec<QueueStats>,
    /// Of all of them.
    pub totals: Totals,
}

/// Of one queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueStats {
    /// Its name.
    pub name: String,
    /// Whether it takes jobs and starts none.
    pub paused: bool,
    /// The figures.
    #[serde(flatten)]
    pub figures: Totals,
}

/// Of one queue, or of several.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Jobs by state.
    pub counts: Counts,
    /// Whether one of the counts of waiting jobs is an estimate.
    pub estimated: bool,
    /// Seconds that the longest waiting available job has waited; null: none waits.
    pub oldest_available_age: Option<f64>,
    /// Live workers that serve it.
    pub workers: i64,
    /// What happens.
    pub rates: Rates,
    /// How long it takes.
    pub latency: Latencies,
}

/// Jobs a second, within the last minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// New ones.
    pub enqueued: f64,
    /// Attempts that started.
    pub started: f64,
    /// Jobs that succeeded.
    pub succeeded: f64,
    /// Jobs that failed for good.
    pub failed: f64,
    /// Jobs that were cancelled.
    pub cancelled: f64,
    /// Attempts that failed and are followed by another.
    pub retried: f64,
}

/// How long jobs took that finished within the last minute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// From when the last attempt was due to its start.
    pub wait: Latency,
    /// From its start to its end.
    pub run: Latency,
}

/// Seconds; null where no job has finished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the jobs took no longer.
    pub p50: Option<f64>,
    /// Of a hundred jobs, 95 took no longer.
    pub p95: Option<f64>,
    /// Of a hundred jobs, 99 took no longer.
    pub p99: Option<f64>,
}

impl Store {
    /// Counts all figures.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn stats(&self) -> Result<Sample, StoreError> {
        let at = self.query_one(TIME, &[]).await?.get(0);
        let workers = self.workers().await?.into_iter().map(|worker| worker.queues.iter().map(|share| served(share).to_owned()).collect()).collect();
        let mut activity = HashMap::new();
        for row in self.query(ACTIVITY, &[]).await? {
            let name: String = field(&row, "queue", "queues", 0)?;
            let rates =
                Rates { enqueued: row.get(1), started: row.get(2), succeeded: row.get(3), failed: row.get(4), cancelled: row.get(5), retried: row.get(6) };
            activity.insert(name, (rates, Spells { waits: row.get(7), runs: row.get(8) }));
        }
        let queues = self.queues(None).await?.into_iter().map(|queue| {
            let (rates, spells) = activity.remove(&queue.name).unwrap_or_default();
            (QueueStats::of(queue, rates, &spells), spells)
        });
        let queues = queues.collect();
        let unhandled = self.query(UNHANDLED, &[]).await?.iter().map(|row| Unhandled { queue: row.get(0), kind: row.get(1), jobs: row.get(2) }).collect();
        Ok(Sample { at, queues, workers, unhandled })
    }
}

impl Sample {
    /// Jobs that nobody can run, of the queues that `reaches` says yes to; 200 kinds at most.
    pub fn unhandled(&self, reaches: impl Fn(&str) -> bool) -> impl Iterator<Item = &Unhandled> {
        self.unhandled.iter().filter(move |unhandled| reaches(&unhandled.queue))
    }

    /// The figures of the queues that `reaches` says yes to.
    pub fn of(&self, reaches: impl Fn(&str) -> bool) -> Stats {
        let shown: Vec<&(QueueStats, Spells)> = self.queues.iter().filter(|(queue, _)| reaches(&queue.name)).collect();
        let mut totals = Totals::default();
        let mut spells = Spells::default();
        for (queue, of_queue) in &shown {
            totals.add(&queue.figures);
            spells.waits.extend(&of_queue.waits);
            spells.runs.extend(&of_queue.runs);
        }
        let serves = |queues: &&Vec<String>| queues.iter().any(|name| name == "*" || reaches(name));
        totals.workers = i64::try_from(self.workers.iter().filter(serves).count()).unwrap_or(i64::MAX);
        totals.latency = spells.latencies();
        Stats { at: self.at, queues: shown.into_iter().map(|(queue, _)| queue.clone()).collect(), totals }
    }
}

impl QueueStats {
    fn of(queue: QueueView, rates: Rates, spells: &Spells) -> Self {
        let QueueView { name, paused, counts, estimated, oldest_available_age, workers, .. } = queue;
        Self { name, paused, figures: Totals { counts, estimated, oldest_available_age, workers, rates, latency: spells.latencies() } }
    }
}

impl Totals {
    /// Adds what can be added; latencies cannot.
    pub fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        self.estimated |= other.estimated;
        self.oldest_available_age = [self.oldest_available_age, other.oldest_available_age].into_iter().flatten().reduce(f64::max);
        let (sum, part) = (&mut self.rates, &other.rates);
        sum.enqueued += part.enqueued;
        sum.started += part.started;
        sum.succeeded += part.succeeded;
        sum.failed += part.failed;
        sum.cancelled += part.cancelled;
        sum.retried += part.retried;
    }
}

impl Spells {
    fn latencies(&self) -> Latencies {
        Latencies { wait: Latency::of(&self.waits), run: Latency::of(&self.runs) }
    }
}

impl Latency {
    fn of(seconds: &[f64]) -> Self {
        let mut sorted = seconds.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        // the nearest rank: the first of which so many of a hundred are no longer
        let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Self { p50: at(50), p95: at(95), p99: at(99) }
    }
}

/// The queue of what a worker says it serves: `default` of `default=50`.
fn served(share: &str) -> &str {
    share.split_once('=').map_or(share, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        assert_eq!(Latency::of(&[]), Latency::default(), "nothing is known");
        assert_eq!(Latency::of(&[7.0]), Latency { p50: Some(7.0), p95: Some(7.0), p99: Some(7.0) });
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(Latency::of(&hundred), Latency { p50: Some(50.0), p95: Some(95.0), p99: Some(99.0) });
        assert_eq!(Latency::of(&[2.0, 1.0, 3.0]), Latency { p50: Some(2.0), p95: Some(3.0), p99: Some(3.0) });
    }

    #[test]
    fn totals_are_of_the_queues_that_are_reached() {
        let queue = |name: &str, n: i64, age: Option<f64>, waits: &[f64]| {
            let counts = Counts { available: n, failed: 2 * n, ..Counts::default() };
            let rates = Rates { enqueued: 0.5, retried: 0.25, ..Rates::default() };
            let figures = Totals { counts, oldest_available_age: age, rates, workers: 2, estimated: n > 5, ..Totals::default() };
            (QueueStats { name: name.to_owned(), paused: false, figures }, Spells { waits: waits.to_vec(), runs: vec![] })
        };
        let queues = vec![queue("a", 1, Some(3.0), &[1.0, 2.0]), queue("b", 2, None, &[9.0]), queue("c", 10, Some(50.0), &[])];
        let workers = vec![vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()], vec!["*".to_owned()]];
        let sample = Sample { at: Timestamp::UNIX_EPOCH, queues, workers, unhandled: Vec::new() };
        let all = sample.of(|_| true).totals;
        assert_eq!((all.counts.available, all.counts.failed, all.workers, all.estimated), (13, 26, 3, true));
        assert_eq!((all.oldest_available_age, all.latency.wait.p99, all.latency.run.p50, all.rates.enqueued), (Some(50.0), Some(9.0), None, 1.5));
        let some = sample.of(|name| name != "c");
        assert_eq!(some.queues.iter().map(|queue| &queue.name[..]).collect::<Vec<_>>(), ["a", "b"]);
        let some = some.totals;
        assert_eq!((some.counts.available, some.workers, some.estimated, some.oldest_available_age), (3, 2, false, Some(3.0)));
        assert_eq!((some.latency.wait.p50, some.rates.retried), (Some(2.0), 0.5));
    }
}
