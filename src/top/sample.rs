//! What `longshore top` shows, read at one time.

use std::collections::VecDeque;

use jiff::Timestamp;
use longshore_common::{
    job::{JobFilter, JobState, JobView},
    store::{
        queues::QueueView,
        read::Fields,
        stats::{Rates, Stats},
        workers::WorkerView,
    },
};
use serde::Serialize;

use crate::backend::Backend;

/// Jobs that run, and as many that fail, at most.
const JOBS: i64 = 50;
/// Rates that are kept for a sparkline: five minutes.
const KEPT: usize = 300;

/// All figures of one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// By the database's clock.
    pub at: Timestamp,
    /// What answered.
    pub server: String,
    /// The version of Longshore there.
    pub version: String,
    /// Counts, rates and latencies.
    pub stats: Stats,
    /// The queues, with what is set for them.
    pub queues: Vec<QueueView>,
    /// The workers that are alive.
    pub workers: Vec<WorkerView>,
    /// The newest jobs that run.
    pub running: Vec<JobView>,
    /// The newest jobs that failed, or wait for another attempt.
    pub failing: Vec<JobView>,
}

impl Sample {
    /// Reads it.
    pub async fn take(backend: &Backend, server: (String, String)) -> anyhow::Result<Self> {
        let jobs = async |states: &[JobState]| {
            let filter = JobFilter { states: states.to_vec(), ..JobFilter::default() };
            Box::pin(backend.jobs(&filter, Fields::default(), None, JOBS)).await
        };
        let (stats, queues, workers, running, failing) = tokio::try_join!(
            Box::pin(backend.stats()),
            Box::pin(backend.queues()),
            Box::pin(backend.workers()),
            jobs(&[JobState::Running]),
            jobs(&[JobState::Retryable, JobState::Failed]),
        )?;
        let (server, version) = server;
        Ok(Self { at: stats.at, server, version, stats, queues, workers, running: running.items, failing: failing.items })
    }

    /// Those that run, then those that fail.
    pub fn jobs(&self) -> impl Iterator<Item = &JobView> {
        self.running.iter().chain(&self.failing)
    }
}

/// The rates of the last samples, oldest first.
#[derive(Debug, Default)]
pub struct History(VecDeque<Rates>);

impl History {
    /// Keeps one more.
    pub fn add(&mut self, rates: Rates) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(rates);
    }

    /// The last of one rate as bars, at most so many, the newest at the right.
    pub fn spark(&self, width: usize, of: impl Fn(&Rates) -> f64) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let shown: Vec<f64> = self.0.iter().skip(self.0.len().saturating_sub(width)).map(of).collect();
        let most = shown.iter().copied().fold(0.0, f64::max);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 7")]
        let bar = |rate: f64| if most > 0.0 { BARS[(rate / most * 7.0).round().clamp(0.0, 7.0) as usize] } else { BARS[0] };
        shown.into_iter().map(bar).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_the_highest() {
        let mut history = History::default();
        assert_eq!(history.spark(5, |rates| rates.started), "");
        for started in [0.0, 0.0, 3.5, 7.0] {
            history.add(Rates { started, ..Rates::default() });
        }
        assert_eq!(history.spark(3, |rates| rates.started), "▁▅█");
        assert_eq!(history.spark(9, |rates| rates.failed), "▁▁▁▁", "nothing happens");
        (0..2 * KEPT).for_each(|_| history.add(Rates::default()));
        assert_eq!(history.spark(usize::MAX, |rates| rates.started).chars().count(), KEPT);
    }
}
