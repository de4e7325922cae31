//! What is set for a queue: `PUT /v1/queues/{name}`.

use std::{ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    fields::Object,
    name::QueueName,
    new::{NewJob, OnConflict, Timeout, When},
    parse::{self, InvalidJob, MAX_AHEAD},
    retry::RetryPolicy,
    view::Seconds,
};
use crate::{fault::Faults, json::RawJson};

/// Waiting jobs that a queue may be limited to at most.
pub const MAX_MAX_WAITING: i64 = 1_000_000_000;
/// Running jobs, or starts in a time, that a queue may be limited to at most.
pub const MAX_LIMIT: i64 = 1_000_000;
/// The time of a rate.
pub const RATE_PER: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(24);

const FIELDS: &str = "name, paused, max_running, max_running_per_key, rate, max_waiting, fair, defaults, retention, on_failed";
/// What a queue is shown with and nobody sets: taken, so that what was read can be put back.
const SHOWN: [&str; 4] = ["counts", "estimated", "oldest_available_age", "workers"];
/// The key that a job which follows a failed one finds in its args.
const FAILED: &str = "failed";

/// What counts where a job of the queue is silent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct JobDefaults {
    /// Lower first.
    pub priority: i16,
    /// 1 to 1000.
    pub max_attempts: i16,
    /// How long one attempt may run, 1 second to 7 days; `None`: for ever.
    pub timeout: Option<Seconds>,
    /// Its backoff.
    pub retry: RetryPolicy,
}

impl Default for JobDefaults {
    fn default() -> Self {
        Self { priority: 0, max_attempts: 25, timeout: Some(Seconds(300.0)), retry: RetryPolicy::default() }
    }
}

/// How long a finished job is kept, by its state; `None`: for ever. Gone within a minute after that.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Retention {
    /// A succeeded one.
    pub succeeded: Option<Seconds>,
    /// A cancelled one.
    pub cancelled: Option<Seconds>,
    /// A failed one.
    pub failed: Option<Seconds>,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: f64 = 86_400.0;
        Self { succeeded: Some(Seconds(DAY)), cancelled: Some(Seconds(7.0 * DAY)), failed: Some(Seconds(30.0 * DAY)) }
    }
}

/// So many starts in a time: a token bucket that holds `limit` tokens at most and is refilled evenly. Each start takes one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// 1 to [`MAX_LIMIT`].
    pub limit: i32,
    /// In which time, of [`RATE_PER`].
    pub per: Seconds,
}

/// What is set for a queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueSettings {
    /// Whether it takes jobs and starts none; `None`: as it is.
    pub paused: Option<bool>,
    /// How many of its jobs may run at once, 1 to [`MAX_LIMIT`]; `None`: any number.
    pub max_running: Option<i32>,
    /// How many of its jobs with one concurrency key may run at once, 1 to [`MAX_LIMIT`]; `None`: any number.
    pub max_running_per_key: Option<i32>,
    /// How many of its jobs may start in a time; `None`: any number.
    pub rate: Option<Rate>,
    /// Whether its concurrency keys take turns.
    pub fair: bool,
    /// How many of its jobs may wait, 0 to [`MAX_MAX_WAITING`]; `None`: any number.
    pub max_waiting: Option<i32>,
    /// What counts where its jobs are silent.
    pub defaults: JobDefaults,
    /// How long its finished jobs are kept.
    pub retention: Retention,
    /// The job that follows each one of it that fails.
    pub on_failed: Option<NewJob>,
}

impl QueueSettings {
    /// Reads the settings of the queue with that name. What is absent, or null where null is no value, gets its default.
    ///
    /// # Errors
    /// [`InvalidJob`]: what is wrong, all at once.
    pub fn parse(text: &[u8], name: &QueueName) -> Result<Self, InvalidJob> {
        let value: &RawValue = serde_json::from_slice(text).map_err(|error| InvalidJob::Malformed(parse::malformed(&error)))?;
        let mut faults = Faults::default();
        match Self::read(value, name, &mut faults) {
            Some(settings) if faults.is_empty() => Ok(settings),
            _ => Err(InvalidJob::Faults(faults.into_vec())),
        }
    }

    fn read(value: &RawValue, name: &QueueName, faults: &mut Faults) -> Option<Self> {
        let mut fields = Object::read(value, "", faults)?;
        if fields.take_as::<String>("name", "", "a text", faults).is_some_and(|given| *given != **name) {
            faults.add("/name", format!("must be \"{name}\", as in the path: a queue is not renamed"));
        }
        let paused = fields.take_as("paused", "", "true or false", faults);
        let max_waiting = read_limit(&mut fields, "max_waiting", 0..=MAX_MAX_WAITING, faults);
        let max_running = read_limit(&mut fields, "max_running", 1..=MAX_LIMIT, faults);
        let max_running_per_key = read_limit(&mut fields, "max_running_per_key", 1..=MAX_LIMIT, faults);
        let fair = fields.take_as("fair", "", "true or false", faults).unwrap_or(false);
        let mut part = |name: &str, faults: &mut Faults| fields.take(name, "", faults).filter(|value| value.get() != "null");
        let defaults = part("defaults", faults).and_then(|value| faults.below("/defaults", |faults| read_defaults(value, faults))).unwrap_or_default();
        let retention = part("retention", faults).and_then(|value| faults.below("/retention", |faults| read_retention(value, faults))).unwrap_or_default();
        let rate = part("rate", faults).and_then(|value| faults.below("/rate", |faults| read_rate(value, faults)));
        let on_failed = part("on_failed", faults).and_then(|value| faults.below("/on_failed", |faults| read_on_failed(value, faults)));
        for field in SHOWN {
            fields.take(field, "", faults);
        }
        fields.refuse_rest("", FIELDS, faults);
        Some(Self { paused, max_running, max_running_per_key, rate, fair, max_waiting, defaults, retention, on_failed })
    }
}

/// `None`: no limit, or one that is at fault.
fn read_limit(fields: &mut Object<'_>, name: &str, range: RangeInclusive<i64>, faults: &mut Faults) -> Option<i32> {
    let expected = format!("an integer from {} to {}, or null", range.start(), range.end());
    let number = fields.take_as::<i64>(name, "", &expected, faults)?;
    if !range.contains(&number) {
        faults.add(&format!("/{name}"), format!("must be {expected}, is {number}"));
    }
    i32::try_from(number).ok()
}

fn read_rate(value: &RawValue, faults: &mut Faults) -> Option<Rate> {
    let mut fields = Object::read(value, "", faults)?;
    for name in ["limit", "per"] {
        if !fields.has(name) {
            faults.add(&format!("/{name}"), "is missing");
        }
    }
    let limit = read_limit(&mut fields, "limit", 1..=MAX_LIMIT, faults);
    let per = parse::read_duration(&mut fields, "per", "", RATE_PER, faults).map(seconds);
    fields.refuse_rest("", "limit, per", faults);
    Some(Rate { limit: limit?, per: per? })
}

fn read_defaults(value: &RawValue, faults: &mut Faults) -> Option<JobDefaults> {
    let mut fields = Object::read(value, "", faults)?;
    let contract = JobDefaults::default();
    let priority = parse::read_int(&mut fields, "priority", -32_768..=32_767, faults).unwrap_or(contract.priority);
    let max_attempts = parse::read_int(&mut fields, "max_attempts", 1..=1000, faults).unwrap_or(contract.max_attempts);
    let timeout = match parse::read_timeout(&mut fields, faults) {
        Timeout::OfQueue => contract.timeout,
        Timeout::Never => None,
        Timeout::After(duration) => Some(seconds(duration)),
    };
    let retry = fields.take("retry", "", faults).filter(|v| v.get() != "null").and_then(|v| parse::read_retry(v, faults)).unwrap_or(contract.retry);
    fields.refuse_rest("", "priority, max_attempts, timeout, retry", faults);
    Some(JobDefaults { priority, max_attempts, timeout, retry })
}

fn read_retention(value: &RawValue, faults: &mut Faults) -> Option<Retention> {
    let mut fields = Object::read(value, "", faults)?;
    let contract = Retention::default();
    let mut kept = |name: &str, default| match fields.take(name, "", faults) {
        None => default,
        Some(value) if value.get() == "null" => None,
        Some(value) => parse::duration_of(value, &format!("/{name}"), Duration::ZERO..=MAX_AHEAD, faults).map(seconds),
    };
    let retention = Retention {
        succeeded: kept("succeeded", contract.succeeded),
        cancelled: kept("cancelled", contract.cancelled),
        failed: kept("failed", contract.failed),
    };
    fields.refuse_rest("", "succeeded, cancelled, failed", faults);
    Some(retention)
}

/// A job as in `POST /v1/jobs` that can get the failed one into its args, and overwrites none.
fn read_on_failed(value: &RawValue, faults: &mut Faults) -> Option<NewJob> {
    let job = NewJob::read(value, faults)?;
    match Object::read(serde_json::from_str(job.args.as_str()).ok()?, "/args", faults) {
        Some(args) if args.names(FAILED) => faults.add("/args/failed", "is where the failed job is put"),
        _ => {}
    }
    if job.unique.as_ref().is_some_and(|unique| unique.on_conflict == OnConflict::Replace) {
        faults.add("/unique/on_conflict", "must be return or reject: either leaves the standing job as it is");
    }
    Some(job)
}

/// In whole milliseconds, as it is stored.
fn seconds(duration: Duration) -> Seconds {
    Seconds(Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).as_secs_f64())
}

/// A job as JSON that [`NewJob::parse`] reads back: what it says and no more, durations in seconds, args as they came.
pub fn template(job: &NewJob) -> RawJson {
    #[derive(Serialize)]
    struct Template<'a> {
        kind: &'a str,
        queue: &'a str,
        args: &'a RawJson,
        #[serde(skip_serializing_if = "Option::is_none")]
        priority: Option<i16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        run_at: Option<jiff::Timestamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        delay: Option<Seconds>,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_in: Option<Seconds>,
        #[serde(skip_serializing_if = "Option::is_none")]
        max_attempts: Option<i16>,
        #[serde(skip_serializing_if = "is_silent")]
        timeout: Timeout,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        tags: &'a [String],
        #[serde(skip_serializing_if = "Option::is_none")]
        meta: Option<&'a RawJson>,
        #[serde(skip_serializing_if = "Option::is_none")]
        concurrency_key: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry: Option<RetryPolicy>,
        #[serde(skip_serializing_if = "Option::is_none")]
        unique: Option<UniqueTemplate<'a>>,
    }
    #[derive(Serialize)]
    struct UniqueTemplate<'a> {
        key: &'a str,
        #[serde(rename = "while", skip_serializing_if = "Option::is_none")]
        rule: Option<&'static str>,
        #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
        lasts: Option<Seconds>,
        on_conflict: &'static str,
    }
    let exactly = |duration: Duration| Seconds(duration.as_secs_f64());
    let template = Template {
        kind: &job.kind,
        queue: &job.queue,
        args: &job.args,
        priority: job.priority,
        run_at: if let When::At(time) = job.when { Some(time) } else { None },
        delay: if let When::After(delay) = job.when { Some(exactly(delay)) } else { None },
        expires_in: job.expires_in.map(exactly),
        max_attempts: job.max_attempts,
        timeout: job.timeout,
        tags: &job.tags,
        meta: job.meta.as_ref(),
        concurrency_key: job.concurrency_key.as_deref(),
        retry: job.retry,
        unique: job.unique.as_ref().map(|unique| UniqueTemplate {
            key: &unique.key,
            rule: unique.rule.map(super::UniqueWhile::word),
            lasts: unique.lasts.map(exactly),
            on_conflict: unique.on_conflict.word(),
        }),
    };
    RawJson::from_value(&template).expect("texts, numbers and JSON are JSON")
}

fn is_silent(timeout: &Timeout) -> bool {
    *timeout == Timeout::OfQueue
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<QueueSettings, InvalidJob> {
        QueueSettings::parse(text.as_bytes(), &QueueName::new("q").expect("a name"))
    }

    #[test]
    fn what_is_absent_gets_its_default() {
        for text in ["{}", r#"{"name":"q","defaults":{},"retention":{},"max_running":null,"rate":null,"fair":false}"#] {
            assert_eq!(parsed(text), Ok(QueueSettings::default()), "{text}");
        }
        let some = parsed(r#"{"defaults":{"priority":-3,"timeout":null},"retention":{"succeeded":"1h","failed":null},"max_waiting":0}"#).expect("fine");
        assert_eq!(some.defaults, JobDefaults { priority: -3, timeout: None, ..JobDefaults::default() });
        assert_eq!(some.retention, Retention { succeeded: Some(Seconds(3600.0)), failed: None, ..Retention::default() });
        assert_eq!((some.max_waiting, some.paused), (Some(0), None));
        let some = parsed(r#"{"max_running":5,"max_running_per_key":1,"rate":{"limit":100,"per":"1m"},"fair":true}"#).expect("fine");
        assert_eq!((some.max_running, some.max_running_per_key, some.fair), (Some(5), Some(1), true));
        assert_eq!(some.rate, Some(Rate { limit: 100, per: Seconds(60.0) }));
    }

    #[test]
    fn every_fault_is_told() {
        let text = r#"{"name":"r","paused":1,"max_waiting":-1,"max_running":0,"max_running_per_key":1.5,"rate":{"limit":0,"per":"1ms","burst":2},"fair":1,"counts":7,"colour":"red",
            "defaults":{"priority":99999,"max_attempts":0,"timeout":"0s","retry":{"base":-1},"x":1},"retention":{"succeeded":-1,"running":1},
            "on_failed":{"kind":"a b","args":[1],"unique":{"key":"k","on_conflict":"replace"}}}"#;
        let Err(InvalidJob::Faults(faults)) = parsed(text) else { panic!("must be refused") };
        let pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        let expected = [
            "/name",
            "/paused",
            "/max_waiting",
            "/max_running",
            "/max_running_per_key",
            "/fair",
            "/defaults/priority",
            "/defaults/max_attempts",
            "/defaults/timeout",
            "/defaults/retry/base",
            "/defaults/x",
            "/retention/succeeded",
            "/retention/running",
            "/rate/limit",
            "/rate/per",
            "/rate/burst",
            "/on_failed/kind",
            "/colour",
        ];
        assert_eq!(pointers, expected, "{faults:#?}");
        let Err(InvalidJob::Faults(faults)) = parsed(r#"{"rate":{}}"#) else { panic!("must be refused") };
        assert_eq!(faults.iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>(), ["/rate/limit", "/rate/per"]);
        let Err(InvalidJob::Faults(faults)) = parsed(r#"{"on_failed":{"kind":"a","args":[1],"unique":{"key":"k","on_conflict":"replace"}}}"#) else {
            panic!("must be refused")
        };
        let pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/on_failed/args", "/on_failed/unique/on_conflict"], "{faults:#?}");
        assert!(parsed(r#"{"on_failed":{"kind":"a","args":{"failed":1}}}"#).is_err(), "it would be there twice");
    }

    #[test]
    fn a_template_is_read_back_as_it_was() {
        for text in [
            r#"{"kind":"a"}"#,
            r#"{"kind":"a","queue":"b","args":{"z":1.50,"a":12345678901234567890123},"priority":0,"delay":"1h","expires_in":"200ms","max_attempts":25,
                "timeout":null,"tags":["x"],"meta":{"n":1.0},"concurrency_key":"c","retry":{"backoff":"fixed"},"unique":{"key":"u","for":"10m"}}"#,
            r#"{"kind":"a","run_at":"2099-01-01T00:00:00Z","timeout":1.5,"unique":{"key":"u","while":"kept","on_conflict":"reject"}}"#,
        ] {
            let job = NewJob::parse(text.as_bytes(), "").expect("fine");
            let written = template(&job);
            assert_eq!(NewJob::parse(written.as_str().as_bytes(), ""), Ok(job), "{}", written.as_str());
        }
    }
}
