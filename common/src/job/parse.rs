//! Reading a job: every rule of `POST /v1/jobs`, for whoever enqueues. All faults are found at once, each with its pointer.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::{
    fields::{Object, type_of},
    name::{Kind, QueueName},
    new::{NewJob, OnConflict, Timeout, Unique, UniqueWhile, When},
    retry::{Backoff, RetryPolicy},
};
use crate::{
    duration,
    fault::{Fault, Faults, token},
    json::{self, RawJson},
};

/// Bytes of args at most.
pub const MAX_ARGS_BYTES: usize = 1024 * 1024;
/// Bytes of meta at most.
pub const MAX_META_BYTES: usize = 16 * 1024;
/// Bytes of a unique or concurrency key at most.
pub const MAX_KEY_BYTES: usize = 255;
/// Tags at most.
pub const MAX_TAGS: usize = 20;
/// Characters of a tag at most.
pub const MAX_TAG_CHARS: usize = 64;
/// How far ahead anything may lie.
pub const MAX_AHEAD: Duration = Duration::from_hours(36_500 * 24);
/// What a job may ask for as its timeout.
pub const TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(168);

pub(super) const FIELDS: &str = "kind, args, queue, priority, run_at, delay, expires_in, max_attempts, timeout, tags, meta, concurrency_key, retry, unique";

/// Text that is not JSON at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Malformed {
    /// What is wrong, and where in the text.
    pub detail: String,
}

/// Why a job was refused.
#[derive(Debug, Clone, PartialEq)]
pub enum InvalidJob {
    /// It is not JSON.
    Malformed(Malformed),
    /// It breaks rules: all of them, each with its pointer.
    Faults(Vec<Fault>),
}

impl NewJob {
    /// Reads one job, as in `POST /v1/jobs`. Pointers of faults start with `prefix`.
    ///
    /// # Errors
    /// [`InvalidJob`]: what is wrong, all at once.
    pub fn parse(text: &[u8], prefix: &str) -> Result<Self, InvalidJob> {
        let value: &RawValue = serde_json::from_slice(text).map_err(|error| InvalidJob::Malformed(malformed(&error)))?;
        let mut faults = Faults::under(prefix);
        match Self::read(value, &mut faults) {
            Some(job) if faults.is_empty() => Ok(job),
            _ => Err(InvalidJob::Faults(faults.into_vec())),
        }
    }

    pub(super) fn read(value: &RawValue, faults: &mut Faults) -> Option<Self> {
        let fields = Object::read(value, "", faults)?;
        Self::read_fields(fields, FIELDS, faults)
    }

    /// Of an object of which other fields were taken already; `allowed` names them, too.
    pub(super) fn read_fields(mut fields: Object<'_>, allowed: &str, faults: &mut Faults) -> Option<Self> {
        let kind = read_kind(&mut fields, faults);
        let queue = fields
            .take_as::<String>("queue", "", "a text", faults)
            .map_or_else(|| Some(QueueName::default()), |name| QueueName::new(&name).map_err(|why| faults.add("/queue", why)).ok());
        let args = fields.take("args", "", faults).map_or_else(RawJson::empty_object, RawJson::from);
        if let Some(why) = json::fault(args.as_str(), MAX_ARGS_BYTES) {
            faults.add("/args", why);
        }
        let priority = read_int(&mut fields, "priority", -32_768..=32_767, faults);
        let max_attempts = read_int(&mut fields, "max_attempts", 1..=1000, faults);
        let when = read_when(&mut fields, faults);
        let expires_in = read_duration(&mut fields, "expires_in", "", Duration::from_millis(1)..=MAX_AHEAD, faults);
        let timeout = read_timeout(&mut fields, faults);
        let tags = read_tags(&mut fields, faults);
        let meta = read_meta(&mut fields, faults);
        let concurrency_key = read_key(&mut fields, "concurrency_key", "", faults);
        let retry = fields.take("retry", "", faults).filter(|v| v.get() != "null").and_then(|v| read_retry(v, faults));
        let unique = fields.take("unique", "", faults).filter(|v| v.get() != "null").and_then(|v| read_unique(v, faults));
        fields.refuse_rest("", allowed, faults);
        Some(Self { kind: kind?, queue: queue?, args, priority, when, expires_in, max_attempts, timeout, tags, meta, concurrency_key, retry, unique })
    }
}

/// What is said of text that is not JSON.
pub fn malformed(error: &serde_json::Error) -> Malformed {
    Malformed { detail: format!("not valid JSON: {error}") }
}

fn read_kind(fields: &mut Object<'_>, faults: &mut Faults) -> Option<Kind> {
    let Some(value) = fields.take("kind", "", faults) else {
        faults.add("/kind", "is missing");
        return None;
    };
    let Ok(name) = serde_json::from_str::<String>(value.get()) else {
        faults.add("/kind", format!("must be a text, is {}", type_of(value)));
        return None;
    };
    Kind::new(&name).map_err(|why| faults.add("/kind", why)).ok()
}

pub(super) fn read_int(fields: &mut Object<'_>, name: &str, range: std::ops::RangeInclusive<i64>, faults: &mut Faults) -> Option<i16> {
    let expected = format!("an integer from {} to {}", range.start(), range.end());
    let number = fields.take_as::<i64>(name, "", &expected, faults)?;
    if !range.contains(&number) {
        faults.add(&token(name), format!("must be {expected}, is {number}"));
    }
    i16::try_from(number).ok()
}

fn read_when(fields: &mut Object<'_>, faults: &mut Faults) -> When {
    let run_at = fields.take("run_at", "", faults).filter(|v| v.get() != "null");
    let delay = fields.take("delay", "", faults).filter(|v| v.get() != "null");
    if run_at.is_some() && delay.is_some() {
        faults.add("/delay", "run_at and delay exclude each other");
    }
    if let Some(value) = run_at
        && let Some(time) = time_of(value, "/run_at", faults)
    {
        return When::At(time);
    }
    delay.and_then(|value| duration_of(value, "/delay", Duration::ZERO..=MAX_AHEAD, faults)).map_or(When::Now, When::After)
}

/// A time; one of long ago means now, and PostgreSQL knows no times before 4714 BC.
pub(super) fn time_of(value: &RawValue, pointer: &str, faults: &mut Faults) -> Option<Timestamp> {
    let time = serde_json::from_str::<String>(value.get()).ok().and_then(|text| text.parse::<Timestamp>().ok());
    if time.is_none() {
        faults.add(pointer, format!("must be a time such as \"2030-01-31T12:00:00Z\" (RFC 3339), is {}", type_of(value)));
    }
    time.map(|time| time.max(Timestamp::UNIX_EPOCH))
}

pub(super) fn read_duration(
    fields: &mut Object<'_>,
    name: &str,
    path: &str,
    range: std::ops::RangeInclusive<Duration>,
    faults: &mut Faults,
) -> Option<Duration> {
    let value = fields.take(name, path, faults).filter(|v| v.get() != "null")?;
    duration_of(value, &format!("{path}/{name}"), range, faults)
}

pub(super) fn duration_of(value: &RawValue, pointer: &str, range: std::ops::RangeInclusive<Duration>, faults: &mut Faults) -> Option<Duration> {
    let read = match value.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(value.get()).map_err(|_| "is not valid text".to_owned()).and_then(|text| duration::parse(&text)),
        Some(b'-' | b'0'..=b'9') => serde_json::from_str::<f64>(value.get()).map_err(|_| "is too long".to_owned()).and_then(duration::from_seconds),
        _ => Err(format!("must be {}, is {}", duration::ALLOWED, type_of(value))),
    };
    match read {
        Ok(length) if range.contains(&length) => Some(length),
        Ok(_) => {
            faults.add(pointer, format!("must be from {} to {}", duration::display(*range.start()), duration::display(*range.end())));
            None
        }
        Err(why) => {
            faults.add(pointer, why);
            None
        }
    }
}

pub(super) fn read_timeout(fields: &mut Object<'_>, faults: &mut Faults) -> Timeout {
    match fields.take("timeout", "", faults) {
        None => Timeout::OfQueue,
        Some(value) if value.get() == "null" => Timeout::Never,
        Some(value) => duration_of(value, "/timeout", TIMEOUT, faults).map_or(Timeout::OfQueue, Timeout::After),
    }
}

pub(super) fn read_tags(fields: &mut Object<'_>, faults: &mut Faults) -> Vec<String> {
    let values = fields.take_as::<Vec<Box<RawValue>>>("tags", "", "an array of texts", faults).unwrap_or_default();
    if values.len() > MAX_TAGS {
        faults.add("/tags", format!("has {} tags; at most {MAX_TAGS} are allowed", values.len()));
    }
    let mut tags: Vec<String> = Vec::with_capacity(values.len().min(MAX_TAGS));
    for (index, value) in values.iter().take(MAX_TAGS).enumerate() {
        match serde_json::from_str::<String>(value.get()) {
            Ok(tag) if tag.is_empty() || tag.chars().count() > MAX_TAG_CHARS || tag.contains('\0') => {
                faults.add(&format!("/tags/{index}"), format!("must have 1 to {MAX_TAG_CHARS} characters, and no NUL"));
            }
            Ok(tag) if tags.contains(&tag) => {}
            Ok(tag) => tags.push(tag),
            Err(_) => faults.add(&format!("/tags/{index}"), format!("must be a text, is {}", type_of(value))),
        }
    }
    tags
}

pub(super) fn read_meta(fields: &mut Object<'_>, faults: &mut Faults) -> Option<RawJson> {
    let value = fields.take("meta", "", faults).filter(|v| v.get() != "null")?;
    if !value.get().starts_with('{') {
        faults.add("/meta", format!("must be an object, is {}", type_of(value)));
    } else if let Some(why) = json::fault(value.get(), MAX_META_BYTES) {
        faults.add("/meta", why);
    } else if value.get()[1..].trim_start().starts_with('}') {
        return None;
    }
    Some(value.into())
}

fn read_key(fields: &mut Object<'_>, name: &str, path: &str, faults: &mut Faults) -> Option<String> {
    let key = fields.take_as::<String>(name, path, "a text", faults)?;
    if key.is_empty() || key.len() > MAX_KEY_BYTES || key.contains('\0') {
        faults.add(&format!("{path}/{name}"), format!("must have 1 to {MAX_KEY_BYTES} bytes, and no NUL"));
    }
    Some(key)
}

pub(super) fn read_retry(value: &RawValue, faults: &mut Faults) -> Option<RetryPolicy> {
    const LONGEST: Duration = Duration::from_hours(720);
    let default = RetryPolicy::default();
    let mut fields = Object::read(value, "/retry", faults)?;
    let backoff = fields.take_as::<Backoff>("backoff", "/retry", "\"exponential\", \"linear\" or \"fixed\"", faults).unwrap_or(default.backoff);
    let base = read_duration(&mut fields, "base", "/retry", Duration::ZERO..=LONGEST, faults).map_or(default.base, |d| d.as_secs_f64());
    let max = read_duration(&mut fields, "max", "/retry", Duration::ZERO..=LONGEST, faults).map_or(default.max, |d| d.as_secs_f64());
    let jitter = fields.take_as::<f64>("jitter", "/retry", "a number from 0 to 1", faults).unwrap_or(default.jitter);
    if !(0.0..=1.0).contains(&jitter) {
        faults.add("/retry/jitter", format!("must be a number from 0 to 1, is {jitter}"));
    }
    fields.refuse_rest("/retry", "backoff, base, max, jitter", faults);
    Some(RetryPolicy { backoff, base, max, jitter })
}

fn read_unique(value: &RawValue, faults: &mut Faults) -> Option<Unique> {
    let mut fields = Object::read(value, "/unique", faults)?;
    let key = read_key(&mut fields, "key", "/unique", faults);
    if key.is_none() {
        faults.add("/unique/key", "is missing");
    }
    let mut word = |name: &str, allowed: &[&str], faults: &mut Faults| {
        let word = fields.take_as::<String>(name, "/unique", "a text", faults)?;
        let known = allowed.iter().position(|a| *a == word);
        if known.is_none() {
            faults.add(&format!("/unique/{name}"), format!("must be one of {}, is \"{word}\"", allowed.join(", ")));
        }
        known
    };
    let rule = word("while", &["waiting", "active", "kept"], faults).map(|n| [UniqueWhile::Waiting, UniqueWhile::Active, UniqueWhile::Kept][n]);
    let on_conflict = word("on_conflict", &["return", "reject", "replace"], faults)
        .map_or(OnConflict::Return, |n| [OnConflict::Return, OnConflict::Reject, OnConflict::Replace][n]);
    let lasts = read_duration(&mut fields, "for", "/unique", Duration::from_millis(1)..=MAX_AHEAD, faults);
    fields.refuse_rest("/unique", "key, while, for, on_conflict", faults);
    let rule = if rule.is_none() && lasts.is_none() { Some(UniqueWhile::Active) } else { rule };
    Some(Unique { key: key?, rule, lasts, on_conflict })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<(String, String)> {
        match NewJob::parse(text.as_bytes(), "") {
            Err(InvalidJob::Faults(faults)) => faults.into_iter().map(|f| (f.pointer, f.detail.into_owned())).collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let job = NewJob::parse(br#"{"kind": "echo"}"#, "").expect("fine");
        assert_eq!(job, NewJob::new(Kind::new("echo").expect("fine"), RawJson::empty_object()));
        let with_nulls = br#"{"kind":"echo","queue":null,"priority":null,"run_at":null,"delay":null,"tags":null,"meta":null,"retry":null,"unique":null}"#;
        assert_eq!(NewJob::parse(with_nulls, ""), Ok(job));
    }

    #[test]
    fn args_come_as_they_were_sent() {
        let job = NewJob::parse(br#"{"kind": "echo", "args": {"z": 1.50, "a": 12345678901234567890123, "z": 2} }"#, "").expect("fine");
        assert_eq!(job.args.as_str(), r#"{"z": 1.50, "a": 12345678901234567890123, "z": 2}"#);
    }

    #[test]
    fn every_field_at_once() {
        let found = faults(
            r#"{"kind": "no spaces", "queue": 7, "args": "\u0000", "priority": 40000, "run_at": "today", "delay": "1 month", "expires_in": 0,
                "max_attempts": 0, "timeout": "500ms", "tags": ["", 3], "meta": [], "concurrency_key": "",
                "retry": {"backoff": "wild", "base": -1, "jitter": 2, "x": 1}, "unique": {"while": "never", "for": "0s"}, "colour": "red", "kind": 1}"#,
        );
        let pointers: Vec<&str> = found.iter().map(|(p, _)| p.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/kind",
                "/kind",
                "/queue",
                "/args",
                "/priority",
                "/max_attempts",
                "/delay",
                "/run_at",
                "/delay",
                "/expires_in",
                "/timeout",
                "/tags/0",
                "/tags/1",
                "/meta",
                "/concurrency_key",
                "/retry/backoff",
                "/retry/base",
                "/retry/jitter",
                "/retry/x",
                "/unique/key",
                "/unique/while",
                "/unique/for",
                "/colour"
            ],
            "{found:#?}"
        );
    }

    #[test]
    fn messages_say_what_is_allowed() {
        for (text, pointer, detail) in [
            ("[]", "", "must be an object, is an array"),
            ("{}", "/kind", "is missing"),
            (r#"{"kind":"a","priority":1.5}"#, "/priority", "must be an integer from -32768 to 32767, is the number 1.5"),
            (r#"{"kind":"a","max_attempts":"3"}"#, "/max_attempts", "must be an integer from 1 to 1000, is the text \"3\""),
            (r#"{"kind":"a","timeout":"8d"}"#, "/timeout", "must be from 1s to 7d"),
            (r#"{"kind":"a","kind":"b"}"#, "/kind", "is given more than once"),
            (r#"{"kind":"\ud800"}"#, "/kind", r#"must be a text, is the text "\ud800""#),
        ] {
            assert_eq!(faults(text), [(pointer.to_owned(), detail.to_owned())], "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for text in ["", "{", "{\"kind\": echo}", "{\"kind\": \"a\"} x", "\u{feff}{}"] {
            assert!(matches!(NewJob::parse(text.as_bytes(), ""), Err(InvalidJob::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn hundreds_of_thousands_of_brackets_are_an_ordinary_fault() {
        let text = format!("{{\"kind\":\"a\",\"args\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(faults(&text)[0], ("/args".to_owned(), "is nested deeper than 128 levels".to_owned()));
    }
}
