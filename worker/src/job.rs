//! Jobs that handlers and other Rust programs enqueue.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use longshore_common::{
    job::{Backoff, InvalidJob, NewJob, OnConflict, RetryPolicy, UniqueWhile},
    json::RawJson,
    postgres::GenericClient,
    store::{StoreError, transaction::enqueue_on},
};
use serde::Serialize;

/// A job that is to be enqueued: a kind, args, and whatever else a job may have. Where it is silent, its queue's defaults count.
///
/// ```
/// use std::time::Duration;
/// use longshore_worker::Job;
///
/// let job = Job::new("send_email", ("ann@example.org", "Welcome"))
///     .queue("emails")
///     .delay(Duration::from_secs(60))
///     .tag("welcome")
///     .unique("welcome:ann@example.org");
/// assert!(job.check().is_ok());
/// ```
///
/// Nothing of it is checked before it is enqueued, or [`check`](Self::check) is called; then all faults are named at once.
#[derive(Debug, Clone)]
pub struct Job {
    fields: BTreeMap<&'static str, RawJson>,
    unique: BTreeMap<&'static str, RawJson>,
    /// Why args or meta cannot be written as JSON.
    unfit: Option<String>,
}

/// Why a job was not enqueued.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// It breaks rules: all of them, each with the place.
    #[error("the job is not valid: {0}")]
    Invalid(String),
    /// The database refused it, or is away: then it is not known whether it was enqueued.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Job {
    /// A job with nothing but its kind (1 to 128 of the characters `A-Z a-z 0-9 _ . : -`) and args (1 MiB of JSON at most).
    pub fn new(kind: &str, args: impl Serialize) -> Self {
        let mut job = Self { fields: BTreeMap::new(), unique: BTreeMap::new(), unfit: None };
        job.put("kind", &kind);
        job.put("args", &args);
        job
    }

    /// Where it waits; "default" where this is not said.
    #[must_use]
    pub fn queue(self, queue: &str) -> Self {
        self.with("queue", &queue)
    }

    /// Lower first.
    #[must_use]
    pub fn priority(self, priority: i16) -> Self {
        self.with("priority", &priority)
    }

    /// Not before that time.
    #[must_use]
    pub fn run_at(self, time: Timestamp) -> Self {
        self.with("run_at", &time)
    }

    /// That long after it is enqueued, at most 36,500 days.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        self.with("delay", &delay.as_secs_f64())
    }

    /// Not started that long after it is enqueued, it is cancelled.
    #[must_use]
    pub fn expires_in(self, length: Duration) -> Self {
        self.with("expires_in", &length.as_secs_f64())
    }

    /// Attempts at most, 1 to 1000.
    #[must_use]
    pub fn max_attempts(self, attempts: u16) -> Self {
        self.with("max_attempts", &attempts)
    }

    /// How long one attempt may run, 1 s to 7 days; `None`: for ever.
    #[must_use]
    pub fn timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.with("timeout", &timeout.into().map(|length| length.as_secs_f64()))
    }

    /// Adds a tag, for searching: at most 20, of 1 to 64 characters.
    #[must_use]
    pub fn tag(self, tag: &str) -> Self {
        let mut tags: Vec<String> = self.fields.get("tags").and_then(|tags| tags.read().ok()).unwrap_or_default();
        tags.push(tag.to_owned());
        self.with("tags", &tags)
    }

    /// For searching, and notes of one's own: an object of at most 16 KiB.
    #[must_use]
    pub fn meta(self, meta: impl Serialize) -> Self {
        self.with("meta", &meta)
    }

    /// Jobs of one key share a limit of their queue: 1 to 255 bytes.
    #[must_use]
    pub fn concurrency_key(self, key: &str) -> Self {
        self.with("concurrency_key", &key)
    }

    /// When a failed attempt is followed by another one: after `base`, which grows as `backoff` says to `max`; give or take a
    /// tenth.
    #[must_use]
    pub fn retry(self, backoff: Backoff, base: Duration, max: Duration) -> Self {
        self.with("retry", &RetryPolicy { backoff, base: base.as_secs_f64(), max: max.as_secs_f64(), ..RetryPolicy::default() })
    }

    /// No other job of this kind with this key (1 to 255 bytes) waits or runs: where one does, it is the answer, and this one is
    /// not enqueued.
    #[must_use]
    pub fn unique(mut self, key: &str) -> Self {
        self.put_unique("key", &key);
        self
    }

    /// What another job must be doing for the unique key to count.
    #[must_use]
    pub fn unique_while(mut self, rule: UniqueWhile) -> Self {
        self.put_unique("while", &rule.word());
        self
    }

    /// The unique key counts for that long after the other job was enqueued, whatever has become of it.
    #[must_use]
    pub fn unique_for(mut self, length: Duration) -> Self {
        self.put_unique("for", &length.as_secs_f64());
        self
    }

    /// What is done where the unique key is held.
    #[must_use]
    pub fn on_conflict(mut self, what: OnConflict) -> Self {
        self.put_unique("on_conflict", &what.word());
        self
    }

    /// The job, where it satisfies every rule.
    ///
    /// # Errors
    /// [`EnqueueError::Invalid`], with all faults.
    pub fn check(&self) -> Result<NewJob, EnqueueError> {
        if let Some(why) = &self.unfit {
            return Err(EnqueueError::Invalid(why.clone()));
        }
        let mut fields = self.fields.clone();
        if !self.unique.is_empty() {
            fields.extend(RawJson::from_value(&self.unique).ok().map(|unique| ("unique", unique)));
        }
        let text = RawJson::from_value(&fields).map_err(|error| EnqueueError::Invalid(error.to_string()))?;
        NewJob::parse(text.as_str().as_bytes(), "").map_err(|error| {
            EnqueueError::Invalid(match error {
                InvalidJob::Malformed(malformed) => malformed.to_string(),
                InvalidJob::Faults(faults) => faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect::<Vec<_>>().join("; "),
            })
        })
    }

    fn with(mut self, field: &'static str, value: &impl Serialize) -> Self {
        self.put(field, value);
        self
    }

    fn put(&mut self, field: &'static str, value: &impl Serialize) {
        match RawJson::from_value(value) {
            Ok(json) => drop(self.fields.insert(field, json)),
            Err(error) => self.unfit = Some(format!("/{field} cannot be written as JSON: {error}")),
        }
    }

    fn put_unique(&mut self, field: &'static str, value: &impl Serialize) {
        self.unique.extend(RawJson::from_value(value).ok().map(|json| (field, json)));
    }
}

/// Enqueues a job on a connection of your own; within a transaction, it is there when you commit and gone when you roll back.
/// Returns its id, or that of the job that holds its unique key. Workers find it within their poll interval.
///
/// It takes any client, transaction or pooled client that is one of `tokio_postgres` ([`longshore_worker::postgres`](crate::postgres)), and the role needs no more
/// rights than `longshore_producer` has.
///
/// ```no_run
/// # async fn example(client: &mut longshore_worker::postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use longshore_worker::Job;
///
/// let transaction = client.transaction().await?;
/// transaction.execute("insert into users (email) values ($1)", &[&"ann@example.org"]).await?;
/// longshore_worker::enqueue(&transaction, &Job::new("send_email", "ann@example.org")).await?;
/// transaction.commit().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where the job breaks a rule, or the database refuses it. A transaction is good for nothing more after the latter.
pub async fn enqueue(client: &impl GenericClient, job: &Job) -> Result<i64, EnqueueError> {
    Ok(enqueue_on(client, &job.check()?).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_arrives() {
        let second = Duration::from_secs(1);
        let job = Job::new("a", [1])
            .queue("q")
            .priority(-1)
            .delay(second)
            .expires_in(second)
            .max_attempts(3)
            .timeout(None)
            .tag("x")
            .tag("y")
            .meta(BTreeMap::from([("a", 1)]))
            .concurrency_key("c")
            .retry(Backoff::Fixed, second, second)
            .unique("u")
            .unique_while(UniqueWhile::Kept)
            .unique_for(second)
            .on_conflict(OnConflict::Reject);
        let text = r#"{"kind":"a","args":[1],"queue":"q","priority":-1,"delay":1,"expires_in":1,"max_attempts":3,"timeout":null,"tags":["x","y"],"meta":{"a":1},
            "concurrency_key":"c","retry":{"backoff":"fixed","base":1,"max":1},"unique":{"key":"u","while":"kept","for":1,"on_conflict":"reject"}}"#;
        assert_eq!(job.check().expect("fine"), NewJob::parse(text.as_bytes(), "").expect("fine"));
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let error = Job::new("no spaces", ()).queue("").max_attempts(0).unique_for(Duration::ZERO).check().expect_err("refused").to_string();
        for named in ["/kind must", "/queue must", "/max_attempts must", "/unique/key is missing", "/unique/for must"] {
            assert!(error.contains(named), "{error}");
        }
        let error = Job::new("a", BTreeMap::from([((1, 2), 3)])).check().expect_err("refused").to_string();
        assert!(error.starts_with("the job is not valid: /args cannot be written as JSON"), "{error}");
    }
}
