//! What counts for a new job where it is silent, by the schema that is spoken to.

use tokio_postgres::{Row, error::SqlState};

use crate::{
    job::{JobDefaults, NewJob, Timeout, view::Seconds},
    store::StoreError,
};

/// The timeout of a silent job, in milliseconds: null is none.
const SILENT: i32 = 0;

/// What counts for a job: what it says, or its queue's defaults where it was silent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Lower first.
    pub priority: i16,
    /// Attempts at most.
    pub max_attempts: i16,
    /// How long one attempt may run; `None`: for ever.
    pub timeout: Option<Seconds>,
}

impl Rules {
    /// As they were stored.
    pub(super) fn stored(row: &Row) -> Self {
        let timeout = row.get::<_, Option<i32>>(8).map(|millis| Seconds(f64::from(millis) / 1000.0));
        Self { priority: row.get(6), max_attempts: row.get(7), timeout }
    }

    /// Where queues have no defaults.
    pub(super) fn said_by(job: &NewJob) -> Self {
        let contract = JobDefaults::default();
        Self {
            priority: job.priority.unwrap_or(contract.priority),
            max_attempts: job.max_attempts.unwrap_or(contract.max_attempts),
            timeout: match job.timeout {
                Timeout::OfQueue => contract.timeout,
                Timeout::Never => None,
                Timeout::After(duration) => Some(Seconds(duration.as_secs_f64())),
            },
        }
    }
}

/// Which schema is spoken to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Schema {
    /// This program's.
    Own,
    /// The version's before, in which queues have neither defaults nor limits: jobs are not silent there.
    Older,
}

impl Schema {
    /// Whether the error says that the schema is not this program's.
    pub(super) fn is_older_than(self, error: &StoreError) -> bool {
        self == Self::Own && error.code() == Some(&SqlState::UNDEFINED_FUNCTION)
    }

    /// As it is sent; `None`: silent.
    pub(super) fn max_attempts(self, job: &NewJob) -> Option<i16> {
        if self == Self::Older { Some(Rules::said_by(job).max_attempts) } else { job.max_attempts }
    }

    /// As it is sent; `None`: none.
    pub(super) fn timeout_ms(self, job: &NewJob) -> Option<i32> {
        if self == Self::Own && job.timeout == Timeout::OfQueue { Some(SILENT) } else { Rules::said_by(job).timeout.map(millis) }
    }
}

/// As it is stored: in whole milliseconds.
#[expect(clippy::cast_possible_truncation, reason = "a timeout is 7 days at most")]
pub(in crate::store) fn millis(seconds: Seconds) -> i32 {
    (seconds.0 * 1000.0).round() as i32
}
