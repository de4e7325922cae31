//! The states of a job, and what leads from one to the next. The one table of it: the store's statements do the same in
//! SQL, and a test walks every state and transition through both.

use serde::{Deserialize, Serialize};

/// Losses in a row after which a job is failed: whatever it does to its workers, it does not do it for ever.
pub const MAX_LOSSES: u32 = 3;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Due later, for the first time.
    Scheduled,
    /// Due: may be claimed.
    Available,
    /// Held by a worker.
    Running,
    /// An attempt failed; due later, for another one.
    Retryable,
    /// Waits for other jobs.
    Blocked,
    /// Done.
    Succeeded,
    /// Attempts used up, or discarded. Kept, and may be retried by hand.
    Failed,
    /// Cancelled by hand, expired, or an upstream job failed.
    Cancelled,
}

impl JobState {
    /// All, in the order of a job's life.
    pub const ALL: [Self; 8] =
        [Self::Scheduled, Self::Available, Self::Running, Self::Retryable, Self::Blocked, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The word of the contract, as in the type `longshore.job_state`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Available => "available",
            Self::Running => "running",
            Self::Retryable => "retryable",
            Self::Blocked => "blocked",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether nothing happens to the job any more by itself.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// How an attempt ended: the words of the contract's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Done.
    Succeeded,
    /// The handler said no, or panicked.
    Failed,
    /// It ran longer than its timeout.
    TimedOut,
    /// Its worker was not heard of any more.
    Lost,
    /// Not now; not counted.
    Snoozed,
    /// Its worker stopped and gave it back; not counted.
    HandedBack,
    /// It stopped because it was cancelled.
    Cancelled,
    /// Trying again is of no use.
    Discarded,
    /// It was leased too late and never ran.
    Expired,
}

impl OutcomeKind {
    /// All of them.
    pub const ALL: [Self; 9] =
        [Self::Succeeded, Self::Failed, Self::TimedOut, Self::Lost, Self::Snoozed, Self::HandedBack, Self::Cancelled, Self::Discarded, Self::Expired];

    /// The word, as in the type `longshore.outcome`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Lost => "lost",
            Self::Snoozed => "snoozed",
            Self::HandedBack => "handed_back",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
            Self::Expired => "expired",
        }
    }

    /// Whether the attempt counts towards `max_attempts`.
    pub fn counts(self) -> bool {
        !matches!(self, Self::Snoozed | Self::HandedBack)
    }
}

/// What happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Its time has come.
    Promote,
    /// A worker takes it.
    Claim,
    /// Its attempt ends.
    End {
        /// How.
        outcome: OutcomeKind,
        /// Number of the attempt that ended, from 1.
        attempt: u32,
        /// Attempts that it may have.
        max_attempts: u32,
        /// Losses in a row, this one included.
        losses: u32,
        /// Whether it waits before it is tried again.
        waits: bool,
    },
    /// The last of those that it waits for has ended.
    Release {
        /// Whether it is due.
        due: bool,
    },
    /// One of those that it waits for has failed or was cancelled, and it is not to run all the same.
    Doom,
    /// It has not started in time.
    Expire {
        /// Whether an attempt has counted: then it has started, and does not expire any more.
        started: bool,
    },
}

/// The transition does not exist from this state; nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {} job does not change by {transition:?}", state.word())]
pub struct NotAllowed {
    /// Where the job stands.
    pub state: JobState,
    /// What was to happen.
    pub transition: Transition,
}

impl JobState {
    /// The state of a job that has just been enqueued.
    pub fn of_new(due_now: bool) -> Self {
        if due_now { Self::Available } else { Self::Scheduled }
    }

    /// The state after a transition.
    ///
    /// # Errors
    /// [`NotAllowed`] where the state does not know the transition.
    #[expect(clippy::match_same_arms, reason = "a table reads best line by line")]
    pub fn after(self, transition: Transition) -> Result<Self, NotAllowed> {
        use JobState::{Available, Blocked, Cancelled, Failed, Retryable, Running, Scheduled, Succeeded};
        use OutcomeKind as O;
        match (self, transition) {
            (Scheduled | Retryable, Transition::Promote) => Ok(Available),
            (Available, Transition::Claim) => Ok(Running),
            (Scheduled | Available | Retryable | Blocked, Transition::Expire { started: false }) => Ok(Cancelled),
            (Running, Transition::End { outcome, attempt, max_attempts, losses, waits }) => Ok(match outcome {
                O::Succeeded => Succeeded,
                O::Cancelled | O::Expired => Cancelled,
                O::Discarded => Failed,
                O::HandedBack => Available,
                O::Snoozed if !waits => Available,
                O::Snoozed if attempt == 1 => Scheduled,
                O::Snoozed => Retryable,
                O::Failed | O::TimedOut | O::Lost if attempt >= max_attempts => Failed,
                O::Lost if losses >= MAX_LOSSES => Failed,
                O::Failed | O::TimedOut | O::Lost if waits => Retryable,
                O::Failed | O::TimedOut | O::Lost => Available,
            }),
            (Blocked, Transition::Release { due }) => Ok(Self::of_new(due)),
            (Blocked, Transition::Doom) => Ok(Cancelled),
            (state, transition) => Err(NotAllowed { state, transition }),
        }
    }
}
