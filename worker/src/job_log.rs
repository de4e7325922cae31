//! What the log says of jobs. A learner wants a line a job; a busy worker would write nothing else. So the first lines of
//! each second are written, the rest are counted and told in one. `LONGSHORE_LOG=info,longshore_worker=debug` shows all.

use std::time::{Duration, Instant};

use longshore_common::{job::JobState, outcome::Outcome, store::claim::LeasedJob};

/// Lines a second at most, for successes and for all other outcomes each.
const LINES: usize = 20;

/// Counts lines.
#[derive(Debug)]
pub(crate) struct JobLog {
    second: Instant,
    succeeded: usize,
    others: usize,
}

impl Default for JobLog {
    fn default() -> Self {
        Self { second: Instant::now(), succeeded: 0, others: 0 }
    }
}

impl JobLog {
    /// An attempt has ended and its outcome is stored; `state` is where the job stands now, `None` where this was known
    /// before.
    pub fn ended(&mut self, job: &LeasedJob, outcome: &Outcome, state: Option<JobState>) {
        if self.second.elapsed() >= Duration::from_secs(1) {
            self.tell_rest();
        }
        let count = if matches!(outcome, Outcome::Succeeded { .. }) { &mut self.succeeded } else { &mut self.others };
        *count += 1;
        let quiet = *count > LINES;
        let (id, kind, queue, attempt) = (job.lease.id, &*job.lane.kind, &*job.lane.queue, job.attempt);
        let request_id = job.request_id.as_deref().unwrap_or("-");
        let state = state.map_or("known", JobState::word);
        match outcome {
            Outcome::Succeeded { .. } if quiet => tracing::debug!(job.id = id, kind, queue, attempt, request_id, "succeeded"),
            Outcome::Succeeded { .. } => tracing::info!(job.id = id, kind, queue, attempt, request_id, "succeeded"),
            Outcome::Failed { .. } | Outcome::TimedOut { .. } | Outcome::Discarded { .. } if !quiet => {
                let error = outcome.error().unwrap_or_default();
                tracing::warn!(job.id = id, kind, queue, attempt, max_attempts = job.max_attempts, request_id, state, error, "{}", outcome.word());
            }
            _ if quiet => tracing::debug!(job.id = id, kind, queue, attempt, request_id, state, "{}", outcome.word()),
            _ => tracing::info!(job.id = id, kind, queue, attempt, request_id, state, "{}", outcome.word()),
        }
    }

    fn tell_rest(&mut self) {
        let (succeeded, others) = (self.succeeded.saturating_sub(LINES), self.others.saturating_sub(LINES));
        if succeeded + others > 0 {
            tracing::info!(succeeded, others, "and more attempts ended, not told one by one");
        }
        (self.second, self.succeeded, self.others) = (Instant::now(), 0, 0);
    }
}
