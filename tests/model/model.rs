//! All jobs of a walk in memory, and the rules that are about several of them: unique keys and the order of claims.

use std::collections::BTreeMap;

use longshore_common::job::{JobState, OnConflict, UniqueWhile};

use crate::{
    job::Job,
    step::{Key, New},
};

/// What there is.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub jobs: BTreeMap<i64, Job>,
    pub paused: bool,
}

/// What becomes of a new job.
#[derive(Debug, PartialEq, Eq)]
pub enum Met {
    /// It is stored.
    Nobody,
    /// Its key is held: that is the answer.
    Holder { id: i64, replaced: bool },
    /// Its key is held: all is refused.
    Refused { by: i64 },
}

impl Model {
    /// Who holds the key of a new job, by its own rule: the newest that counts.
    fn holder(&self, key: &Key) -> Option<i64> {
        let counts = |job: &Job| {
            let by_rule = key.rule.is_some_and(|rule| match rule {
                UniqueWhile::Waiting => job.waits(),
                UniqueWhile::Active => !job.state.is_finished(),
                UniqueWhile::Kept => true,
            });
            by_rule || key.for_an_hour && !job.old
        };
        self.with_key(key.text).rev().find(|(_, job)| counts(job)).map(|(id, _)| id)
    }

    fn with_key(&self, key: &str) -> impl DoubleEndedIterator<Item = (i64, &Job)> {
        self.jobs.iter().map(|(id, job)| (*id, job)).filter(move |(_, job)| job.key.as_ref().is_some_and(|k| k.text == key))
    }

    /// Enqueues one more job, with the id that it will have if it meets nobody.
    pub fn enqueue(&mut self, new: &New, id: i64) -> Met {
        let Some((holder, key)) = new.key.as_ref().and_then(|key| Some((self.holder(key)?, key))) else {
            self.jobs.insert(id, Job::new(new));
            return Met::Nobody;
        };
        let standing = self.jobs.get_mut(&holder).expect("it holds the key");
        match key.on_conflict {
            OnConflict::Reject => Met::Refused { by: holder },
            OnConflict::Replace if standing.waits() => {
                standing.move_to(new.due);
                standing.priority = new.priority;
                Met::Holder { id: holder, replaced: true }
            }
            OnConflict::Return | OnConflict::Replace => Met::Holder { id: holder, replaced: false },
        }
    }

    /// The job that holds the unique key of a finished one, so that it cannot be retried.
    pub fn key_holder(&self, id: i64) -> Option<i64> {
        let job = &self.jobs[&id];
        let key = job.key.as_ref().filter(|_| job.state.is_finished())?;
        let waiting_only = |key: &Key| key.rule == Some(UniqueWhile::Waiting);
        let holds = |other: &Job| {
            let both = waiting_only(key) && other.key.as_ref().is_some_and(waiting_only);
            if both { other.waits() } else { !other.state.is_finished() }
        };
        self.with_key(key.text).rev().find(|(other, job)| *other != id && holds(job)).map(|(other, _)| other)
    }

    /// The jobs that a claim takes, best first; `run_at` is when each is due.
    pub fn best<T: Ord>(&self, n: usize, run_at: impl Fn(i64) -> T) -> Vec<i64> {
        if self.paused {
            return Vec::new();
        }
        let mut available: Vec<_> =
            self.jobs.iter().filter(|(_, job)| job.state == JobState::Available).map(|(id, job)| (job.priority, run_at(*id), *id)).collect();
        available.sort();
        available.into_iter().take(n).map(|(_, _, id)| id).collect()
    }
}
