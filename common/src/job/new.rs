//! A job that is to be enqueued. One that satisfies every rule comes from [`NewJob::parse`].

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{
    name::{Kind, QueueName},
    retry::RetryPolicy,
    view::Seconds,
};
use crate::json::RawJson;

/// When a job is due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// As soon as it is stored.
    Now,
    /// At a time; one in the past means now.
    At(Timestamp),
    /// That long after it is stored, by the database's clock.
    After(Duration),
}

/// How long one attempt may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// The job is silent: as long as its queue's default says.
    OfQueue,
    /// For ever.
    Never,
    /// That long.
    After(Duration),
}

impl Serialize for Timeout {
    /// As it stands in a job: seconds, or null for ever. A silent one is left out by whoever writes the job.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::After(duration) => Seconds(duration.as_secs_f64()).serialize(serializer),
            Self::Never | Self::OfQueue => serializer.serialize_none(),
        }
    }
}

/// What a standing job must be doing for its unique key to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UniqueWhile {
    /// It waits: scheduled, available, retryable, blocked.
    Waiting,
    /// It waits or runs.
    Active,
    /// It is kept at all.
    Kept,
}

impl UniqueWhile {
    /// The word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Kept => "kept",
        }
    }
}

/// What happens to a new job that meets a standing one with its unique key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// The standing job is the answer.
    #[default]
    Return,
    /// The new job is refused.
    Reject,
    /// The standing job, if it waits, becomes the new one.
    Replace,
}

impl OnConflict {
    /// The word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Self::Return => "return",
            Self::Reject => "reject",
            Self::Replace => "replace",
        }
    }
}

/// A key that is unique within the job's kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Unique {
    /// The key, 1 to 255 bytes.
    pub key: String,
    /// While what. `None` only where `lasts` is given.
    pub rule: Option<UniqueWhile>,
    /// For how long after the standing job's creation, whatever its state. With `rule`, either suffices.
    pub lasts: Option<Duration>,
    /// What then.
    pub on_conflict: OnConflict,
}

/// A job that satisfies every rule and may be stored. Where it is silent, its queue's defaults count.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// What to do.
    pub kind: Kind,
    /// Where it waits.
    pub queue: QueueName,
    /// What the handler gets.
    pub args: RawJson,
    /// Lower first; `None`: silent.
    pub priority: Option<i16>,
    /// When.
    pub when: When,
    /// Not started that long after it is stored: cancelled.
    pub expires_in: Option<Duration>,
    /// 1 to 1000; `None`: silent.
    pub max_attempts: Option<i16>,
    /// How long one attempt may run.
    pub timeout: Timeout,
    /// For searching.
    pub tags: Vec<String>,
    /// For searching, and the caller's own notes: an object. `None`: `{}`.
    pub meta: Option<RawJson>,
    /// Jobs of one key share a limit of their queue.
    pub concurrency_key: Option<String>,
    /// Its own backoff; `None`: silent.
    pub retry: Option<RetryPolicy>,
    /// Its unique key.
    pub unique: Option<Unique>,
}

impl NewJob {
    /// A job with nothing but its kind and args.
    pub fn new(kind: Kind, args: RawJson) -> Self {
        Self {
            kind,
            queue: QueueName::default(),
            args,
            priority: None,
            when: When::Now,
            expires_in: None,
            max_attempts: None,
            timeout: Timeout::OfQueue,
            tags: Vec::new(),
            meta: None,
            concurrency_key: None,
            retry: None,
            unique: None,
        }
    }
}
