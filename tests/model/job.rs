//! A job in memory: where it stands and what it has been through. Every new state comes from `JobState::after` and `on`.

use longshore_common::job::{
    JobState, OutcomeKind,
    state::{MAX_LOSSES, Transition},
};

use crate::{
    step::{Due, Key, New},
    tables::Shown,
};

/// An attempt that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub lease: i64,
    pub attempt: i16,
    pub outcome: OutcomeKind,
    pub error: Option<String>,
}

/// The time by which a job is to have started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    Never,
    Ahead,
    /// It has passed, and the duty that expires has not been there yet.
    Passed,
    /// It has passed, and the duty has looked at the job for the last time.
    Seen,
}

/// What is known of a job. What it will be like is told by its methods; they expect that the step is allowed.
#[derive(Debug, Clone)]
pub struct Job {
    pub state: JobState,
    /// The number of the attempt that runs, else how many have counted.
    pub attempt: i16,
    pub max_attempts: i16,
    pub priority: i16,
    pub history: Vec<Ended>,
    /// Its holder's lease and worker.
    pub held: Option<(i64, usize)>,
    /// Somebody wants it cancelled while it runs.
    pub asked: bool,
    pub key: Option<Key>,
    /// It is scheduled or retryable, and its time has come.
    pub due: bool,
    pub expiry: Expiry,
    /// Older than any `for`.
    pub old: bool,
    /// Why it finished, where it has.
    error: Option<String>,
    /// Attempts before the last retry by hand: their losses do not count.
    before_retry: usize,
}

impl Job {
    pub fn new(new: &New) -> Self {
        Self {
            state: JobState::of_new(new.due == Due::Now),
            attempt: 0,
            max_attempts: new.max_attempts,
            priority: new.priority,
            history: Vec::new(),
            held: None,
            asked: false,
            key: new.key.clone(),
            due: false,
            expiry: if new.expires { Expiry::Ahead } else { Expiry::Never },
            old: false,
            error: None,
            before_retry: 0,
        }
    }

    pub fn is_overdue(&self) -> bool {
        matches!(self.expiry, Expiry::Passed | Expiry::Seen)
    }

    pub fn waits(&self) -> bool {
        !self.state.is_finished() && self.state != JobState::Running
    }

    /// As the database is to show it.
    pub fn shown(&self) -> Shown {
        Shown {
            state: self.state.word().to_owned(),
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            priority: self.priority,
            error: self.shown_error().map(str::to_owned),
            asked: self.asked,
            history: self.history.iter().map(|ended| format!("{} {}", ended.attempt, ended.outcome.word())).collect(),
        }
    }

    /// The error that is shown: why it finished, or what its last attempt said.
    fn shown_error(&self) -> Option<&str> {
        if self.state.is_finished() { self.error.as_deref() } else { self.last_error() }
    }

    fn last_error(&self) -> Option<&str> {
        self.history.iter().rev().find_map(|ended| ended.error.as_deref()).filter(|_| self.attempt > 0)
    }

    pub fn claim(&mut self, lease: i64, worker: usize) {
        self.state = self.state.after(Transition::Claim).expect("it is available");
        (self.attempt, self.held) = (self.attempt + 1, Some((lease, worker)));
    }

    /// True: it was due.
    pub fn promote(&mut self) -> bool {
        let due = std::mem::take(&mut self.due);
        if due {
            self.state = self.state.after(Transition::Promote).expect("it waits for its time");
        }
        due
    }

    pub fn fall_due(&mut self) {
        self.due = matches!(self.state, JobState::Scheduled | JobState::Retryable);
    }

    /// Its place by a new due time.
    pub fn move_to(&mut self, due: Due) {
        self.due = false;
        self.state = match due {
            Due::Now => JobState::Available,
            Due::Later if self.attempt > 0 => JobState::Retryable,
            Due::Later => JobState::Scheduled,
        };
    }

    /// The duty sees it; true: it was overdue, and is now cancelled.
    pub fn expire(&mut self) -> bool {
        if self.expiry != Expiry::Passed {
            return false;
        }
        self.expiry = Expiry::Seen;
        let started = self.history.iter().any(|ended| ended.outcome.counts());
        let Ok(state) = self.state.after(Transition::Expire { started }) else { return false };
        (self.state, self.error, self.due) = (state, Some("expired".to_owned()), false);
        true
    }

    pub fn cancel(&mut self, state: JobState) {
        self.error = self.last_error().map(str::to_owned);
        (self.state, self.due) = (state, false);
    }

    pub fn retry(&mut self, state: JobState) {
        self.before_retry = self.history.len();
        (self.state, self.due, self.error, self.asked) = (state, false, None, false);
        self.expiry = Expiry::Never;
        self.max_attempts = self.max_attempts.max(self.attempt + 1);
    }

    /// Its attempt ends.
    pub fn end(&mut self, outcome: OutcomeKind, said: Option<String>, waits: bool) {
        let (lease, _) = self.held.take().expect("it runs");
        let in_a_row = self.history[self.before_retry..].iter().rev().take_while(|e| matches!(e.outcome, OutcomeKind::Lost | OutcomeKind::HandedBack));
        let losses = in_a_row.filter(|e| e.outcome == OutcomeKind::Lost).count() + usize::from(outcome == OutcomeKind::Lost);
        let losses = u32::try_from(losses).expect("few");
        let number = |n: i16| u32::try_from(n).expect("positive");
        let transition = Transition::End { outcome, attempt: number(self.attempt), max_attempts: number(self.max_attempts), losses, waits };
        let state = self.state.after(transition).expect("it runs");
        // whoever asked for its end gets it, unless it was done
        self.state = if self.asked && outcome != OutcomeKind::Succeeded { JobState::Cancelled } else { state };
        let error = match outcome {
            OutcomeKind::Expired if self.state.is_finished() => Some("expired".to_owned()),
            OutcomeKind::Lost if self.state == JobState::Failed && self.attempt < self.max_attempts => Some(format!("its worker died {MAX_LOSSES} times")),
            _ => said,
        };
        self.history.push(Ended { lease, attempt: self.attempt, outcome, error: error.clone() });
        if self.state.is_finished() {
            self.error = error;
        } else if !outcome.counts() {
            self.attempt -= 1;
        }
    }
}
