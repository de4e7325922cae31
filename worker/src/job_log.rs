//! What the log says of jobs. A learner wants a line a job; a busy worker would write nothing else. So the first lines of
//! each second are written, the rest are counted and told in one. `LONGSHORE_LOG=info,longshore_worker=debug` shows all.

use std::time::{Duration, Instant};

use longshore_common::{job::JobState, outcome::Outcome, store::claim::LeasedJob};

/// A line of the log about a job: the level, the job, more fields, and what is said of it. Every such line says which job and which
/// attempt it is about, and which request and trace that came from.
macro_rules! log_job {
    ($level:ident, $job:expr, { $($fields:tt)* }, $($message:tt)+) => {{
        let job: &longshore_common::store::claim::LeasedJob = &$job;
        tracing::$level!(
            job.id = job.lease.id,
            kind = &*job.lane.kind,
            queue = &*job.lane.queue,
            attempt = job.attempt,
            $($fields)*
            request_id = job.request_id.as_deref(),
            trace_id = job.traceparent.as_deref().and_then(longshore_common::trace::trace_id),
            $($message)+
        )
    }};
}
pub(crate) use log_job;

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
        let state = state.map_or("known", JobState::word);
        match outcome {
            Outcome::Succeeded { .. } if quiet => log_job!(debug, job, {}, "succeeded"),
            Outcome::Succeeded { .. } => log_job!(info, job, {}, "succeeded"),
            Outcome::Failed { .. } | Outcome::TimedOut { .. } | Outcome::Discarded { .. } if !quiet => {
                let error = outcome.error().unwrap_or_default();
                log_job!(warn, job, { max_attempts = job.max_attempts, state, error, }, "{}", outcome.word());
            }
            _ if quiet => log_job!(debug, job, { state, }, "{}", outcome.word()),
            _ => log_job!(info, job, { state, }, "{}", outcome.word()),
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
