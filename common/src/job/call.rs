//! What may be asked of a job that is there, and what comes of it in each state. The one table of it: the HTTP API answers by
//! it, the store's functions do the same in SQL, and a test holds every state and call against both.

use super::state::JobState;

/// What is asked of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// It is not to run, or not any further.
    Cancel,
    /// It is to run once more, now.
    Retry,
    /// Some of its fields are to be others.
    Change,
    /// It is to be forgotten.
    Delete,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It has a new state.
    Becomes(JobState),
    /// Its worker is told, and stops it.
    Asked,
    /// Its fields are changed. It is available or scheduled, as its `run_at` then says.
    Changed,
    /// It is gone.
    Forgotten,
}

/// The call does not go with the state; nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is {}; {}", state.word(), call.wants())]
pub struct NotNow {
    /// Where the job stands.
    pub state: JobState,
    /// What was asked.
    pub call: Call,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cancel, Self::Retry, Self::Change, Self::Delete];

    /// Which jobs it is for.
    pub fn wants(self) -> &'static str {
        match self {
            Self::Cancel => "only a job that waits or runs can be cancelled",
            Self::Retry => "only a job that is finished, or waits for its next attempt, can be retried",
            Self::Change => "only a job that waits can be changed",
            Self::Delete => "a job that runs cannot be deleted; cancel it first",
        }
    }
}

impl JobState {
    /// What comes of a call in this state.
    ///
    /// # Errors
    /// [`NotNow`] where the call does not go with it.
    pub fn on(self, call: Call) -> Result<Effect, NotNow> {
        use JobState::{Available, Blocked, Cancelled, Failed, Retryable, Running, Scheduled, Succeeded};
        match (call, self) {
            (Call::Cancel, Scheduled | Available | Retryable | Blocked) => Ok(Effect::Becomes(Cancelled)),
            (Call::Cancel, Running) => Ok(Effect::Asked),
            (Call::Retry, Retryable | Succeeded | Failed | Cancelled) => Ok(Effect::Becomes(Available)),
            (Call::Change, Scheduled | Available | Retryable | Blocked) => Ok(Effect::Changed),
            (Call::Delete, Scheduled | Available | Retryable | Blocked | Succeeded | Failed | Cancelled) => Ok(Effect::Forgotten),
            (call, state) => Err(NotNow { state, call }),
        }
    }
}
