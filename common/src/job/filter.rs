//! Which jobs: what lists are narrowed to and calls of many jobs are for. One table of names and rules, for the query string of
//! `GET /v1/jobs` and for the `filter` of a body.

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::{
    fields::{Object, type_of},
    fingerprint::Fingerprint,
    name::{self, QueueName},
    state::JobState,
};
use crate::fault::{Faults, token};

/// The highest id that a job may have.
pub const MAX_ID: i64 = (1 << 53) - 1;
/// The names of its fields.
pub const FIELDS: &str = "state, queue, kind, tag, unique_key, concurrency_key, workflow_id, schedule, fingerprint, meta.<key>, created_after, \
                          created_before, finished_after, finished_before";
/// Characters of a meta value that it is found by, as in the SQL function `longshore.labels_of`.
const MAX_LABEL_CHARS: usize = 200;
/// Tags and meta values that may be asked for at once: each is a condition of its own.
const MAX_LABELS: usize = 50;

/// Which jobs; everything that is given must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobFilter {
    /// In one of these states.
    pub states: Vec<JobState>,
    /// In one of these queues.
    pub queues: Vec<String>,
    /// Of one of these kinds.
    pub kinds: Vec<String>,
    /// With all of these labels: `t:tag`, `m:key=value`.
    pub labels: Vec<String>,
    /// With this unique key.
    pub unique_key: Option<String>,
    /// With this concurrency key.
    pub concurrency_key: Option<String>,
    /// Enqueued by this schedule.
    pub schedule: Option<String>,
    /// Failed with such an error.
    pub fingerprint: Option<Fingerprint>,
    /// Enqueued at or after.
    pub created_after: Option<Timestamp>,
    /// Enqueued before.
    pub created_before: Option<Timestamp>,
    /// Finished at or after.
    pub finished_after: Option<Timestamp>,
    /// Finished before.
    pub finished_before: Option<Timestamp>,
    /// Of this workflow.
    pub workflow_id: Option<i64>,
    /// Something was asked for that no job has: a queue of none.
    pub of_none: bool,
}

impl JobFilter {
    /// Whether it is met by every job.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it asks for times at which jobs finished.
    pub fn is_timed(&self) -> bool {
        self.finished_after.is_some() || self.finished_before.is_some()
    }

    /// In which states a job can meet it, each once; none: in any. Only what is finished has a time of that.
    pub fn possible_states(&self) -> Vec<JobState> {
        let timed = self.is_timed();
        let given = |state: &JobState| if self.states.is_empty() { timed } else { self.states.contains(state) };
        JobState::ALL.into_iter().filter(|state| given(state) && (!timed || state.is_finished())).collect()
    }

    /// Whether a field may have several values.
    pub fn repeats(field: &str) -> bool {
        matches!(field, "state" | "queue" | "kind" | "tag")
    }

    /// Takes a value of a field; false: there is no such field.
    ///
    /// # Errors
    /// Says in words what the value must be.
    pub fn take(&mut self, field: &str, value: &str) -> Result<bool, String> {
        if value.contains('\0') {
            return Err("has a NUL character".to_owned()); // which PostgreSQL could not take
        }
        match field {
            "state" => {
                let words = || JobState::ALL.map(JobState::word).join(", ");
                let state = JobState::from_word(value).ok_or_else(|| format!("must be one of {}, is \"{value}\"", words()))?;
                if !self.states.contains(&state) {
                    self.states.push(state);
                }
            }
            "queue" => self.queues.push(name_of(value)?),
            "kind" => self.kinds.push(name_of(value)?),
            "tag" => self.label(format!("t:{}", given(value)?))?,
            "unique_key" => self.unique_key = Some(given(value)?),
            "concurrency_key" => self.concurrency_key = Some(given(value)?),
            "workflow_id" => self.workflow_id = Some(integer(value, 1, MAX_ID)?),
            "schedule" => self.schedule = Some(given(value)?),
            "fingerprint" => self.fingerprint = Some(value.parse()?),
            "created_after" => self.created_after = Some(time(value)?),
            "created_before" => self.created_before = Some(time(value)?),
            "finished_after" => self.finished_after = Some(time(value)?),
            "finished_before" => self.finished_before = Some(time(value)?),
            _ => match field.strip_prefix("meta.") {
                Some(name) if !name.is_empty() => self.label(format!("m:{name}={}", value.chars().take(MAX_LABEL_CHARS).collect::<String>()))?,
                _ => return Ok(false),
            },
        }
        Ok(true)
    }

    /// Each value with its field, as [`Self::take`] takes them and a query string has them.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut add = |field: &str, value: String| pairs.push((field.to_owned(), value));
        self.states.iter().for_each(|state| add("state", state.word().to_owned()));
        self.queues.iter().for_each(|queue| add("queue", queue.clone()));
        self.kinds.iter().for_each(|kind| add("kind", kind.clone()));
        for label in &self.labels {
            match (label.strip_prefix("t:"), label.strip_prefix("m:").and_then(|pair| pair.split_once('='))) {
                (Some(tag), _) => add("tag", tag.to_owned()),
                (None, Some((name, value))) => add(&format!("meta.{name}"), value.to_owned()),
                (None, None) => {}
            }
        }
        let texts = [("unique_key", &self.unique_key), ("concurrency_key", &self.concurrency_key), ("schedule", &self.schedule)];
        let times = [
            ("created_after", self.created_after),
            ("created_before", self.created_before),
            ("finished_after", self.finished_after),
            ("finished_before", self.finished_before),
        ];
        texts.into_iter().filter_map(|(field, value)| Some((field, value.clone()?))).for_each(|(field, value)| add(field, value));
        times.into_iter().filter_map(|(field, value)| Some((field, value?))).for_each(|(field, value)| add(field, value.to_string()));
        self.workflow_id.iter().for_each(|id| add("workflow_id", id.to_string()));
        self.fingerprint.iter().for_each(|digits| add("fingerprint", digits.to_string()));
        pairs
    }

    /// Reads a filter that is an object below `path`, with a text or an array of texts in each field.
    pub fn read(value: &RawValue, path: &str, faults: &mut Faults) -> Self {
        let mut filter = Self::default();
        let Some(object) = Object::read(value, path, faults) else { return filter };
        let mut seen = Vec::new();
        for (field, value) in object.into_fields() {
            let pointer = format!("{path}{}", token(&field));
            if seen.contains(&field) {
                faults.add(&pointer, "is given more than once");
            } else if Self::repeats(&field) && value.get().starts_with('[') {
                let values: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
                if values.is_empty() {
                    // it would be met by no job, or by every one: nobody should have to guess which
                    faults.add(&pointer, "is an empty array; leave the field out for all");
                }
                for (index, value) in values.into_iter().enumerate() {
                    filter.take_json(&field, value, &format!("{pointer}/{index}"), faults);
                }
            } else if value.get() == "null" {
                // nor whether a variable was meant to be set
                faults.add(&pointer, "is null; leave the field out for all");
            } else {
                filter.take_json(&field, value, &pointer, faults);
            }
            seen.push(field);
        }
        filter
    }

    fn take_json(&mut self, field: &str, value: &RawValue, pointer: &str, faults: &mut Faults) {
        // ids, and what stands in meta, may be written as what they are
        let bare = (field == "workflow_id" || field.starts_with("meta.")) && !value.get().starts_with(['{', '[', '"', 'n']);
        let text = if bare { Some(value.get().to_owned()) } else { serde_json::from_str::<String>(value.get()).ok() };
        let taken = match text {
            Some(text) => self.take(field, &text),
            None if self.clone().take(field, "").is_ok_and(|known| !known) => Ok(false),
            None => Err(format!("must be a text{}, is {}", if Self::repeats(field) { " or an array of texts" } else { "" }, type_of(value))),
        };
        match taken {
            Ok(true) => {}
            Ok(false) => faults.add(pointer, format!("is not a known field; allowed are {FIELDS}")),
            Err(why) => faults.add(pointer, why),
        }
    }

    fn label(&mut self, label: String) -> Result<(), String> {
        if label.contains('\0') {
            return Err("must not contain NUL".to_owned());
        }
        if self.labels.contains(&label) {
            return Ok(());
        }
        if self.labels.len() == MAX_LABELS {
            return Err(format!("at most {MAX_LABELS} tags and meta values can be asked for"));
        }
        self.labels.push(label);
        Ok(())
    }
}

fn name_of(value: &str) -> Result<String, String> {
    // kinds are named by the same rule
    QueueName::new(value).map(String::from).map_err(|_| format!("{}, is \"{value}\"", name::ALLOWED))
}

fn given(value: &str) -> Result<String, String> {
    if value.is_empty() { Err("must not be empty".to_owned()) } else { Ok(value.to_owned()) }
}

/// Reads a whole number of a filter or a list.
///
/// # Errors
/// Says in words which are allowed.
pub fn integer(value: &str, least: i64, most: i64) -> Result<i64, String> {
    value.parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(|| format!("must be an integer from {least} to {most}, is \"{value}\""))
}

fn time(value: &str) -> Result<Timestamp, String> {
    let hint = if value.contains(' ') { " (in a query string, + is written as %2B)" } else { "" };
    let read = value.parse::<Timestamp>().map_err(|_| format!("must be a time such as 2030-01-31T12:00:00Z (RFC 3339), is \"{value}\"{hint}"));
    // no job is as old as that, and PostgreSQL knows no times before 4714 BC
    read.map(|time| time.max(Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (JobFilter, Vec<(String, String)>) {
        let mut faults = Faults::default();
        let filter = JobFilter::read(serde_json::from_str(text).expect("JSON"), "/filter", &mut faults);
        (filter, faults.into_vec().into_iter().map(|fault| (fault.pointer, fault.detail.into_owned())).collect())
    }

    #[test]
    fn a_body_says_what_a_query_says() {
        let (filter, faults) = read(
            r#"{"state": ["failed", "retryable"], "queue": "a", "kind": ["b"], "tag": ["x", "y"], "unique_key": "k", "concurrency_key": "c", "meta.n": 7,
                "meta.vip": true, "meta.s": "t", "fingerprint": "00000000000000ff", "created_after": "2030-01-01T00:00:00+01:00", "schedule": "s"}"#,
        );
        assert!(faults.is_empty(), "{faults:?}");
        let mut expected = JobFilter::default();
        for (field, value) in [
            ("state", "failed"),
            ("state", "retryable"),
            ("queue", "a"),
            ("kind", "b"),
            ("tag", "x"),
            ("tag", "y"),
            ("unique_key", "k"),
            ("concurrency_key", "c"),
            ("schedule", "s"),
            ("meta.n", "7"),
            ("meta.vip", "true"),
            ("meta.s", "t"),
            ("fingerprint", "00000000000000ff"),
            ("created_after", "2029-12-31T23:00:00Z"),
        ] {
            assert_eq!(expected.take(field, value), Ok(true), "{field}");
        }
        assert_eq!((filter.fingerprint, &filter), (Some(Fingerprint(255)), &expected));
        let mut again = JobFilter::default();
        for (field, value) in filter.pairs() {
            assert_eq!(again.take(&field, &value), Ok(true), "{field}");
        }
        assert_eq!(again, filter, "what is written is read");
        assert!(read(r#"{"workflow_id": 7}"#).0.workflow_id == Some(7) && read("{}").0.is_empty() && !filter.is_empty());
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        let (_, faults) = read(
            r#"{"state": ["failed", "done", 7], "queue": [], "kind": "a b", "tag": [[]], "unique_key": ["k"], "meta.a/b": {}, "fingerprint": "x",
                "created_after": "today", "colour": 1, "limit": "5", "workflow_id": -1, "kind": "c", "concurrency_key": "\u0000", "meta.": "x",
                "meta.\u0000": "y", "created_before": null}"#,
        );
        let pointers: Vec<&str> = faults.iter().map(|(pointer, _)| pointer.as_str()).collect();
        let expected = [
            "/filter/state/1",
            "/filter/state/2",
            "/filter/queue",
            "/filter/kind",
            "/filter/tag/0",
            "/filter/unique_key",
            "/filter/meta.a~1b",
            "/filter/fingerprint",
            "/filter/created_after",
            "/filter/colour",
            "/filter/limit",
            "/filter/workflow_id",
            "/filter/kind",
            "/filter/concurrency_key",
            "/filter/meta.",
            "/filter/meta.\0",
            "/filter/created_before",
        ];
        assert_eq!(pointers, expected, "{faults:#?}");
        assert_eq!(faults[1].1, "must be a text or an array of texts, is the number 7");
        assert!(faults[9].1.starts_with("is not a known field; allowed are state, "), "{faults:#?}");
        let tags = |number: fn(usize) -> usize| (0..51).map(|n| format!("\"t{}\"", number(n))).collect::<Vec<_>>().join(",");
        assert_eq!(read(&format!(r#"{{"tag": [{}]}}"#, tags(|n| n))).1[0].0, "/filter/tag/50");
        assert!(read(&format!(r#"{{"tag": [{}]}}"#, tags(|n| n % 50))).1.is_empty());
    }

    #[test]
    fn what_is_said_twice_counts_once() {
        let twice = r#"{"state": ["failed", "running", "failed"], "tag": ["x", "y", "x"], "meta.n": 7}"#;
        let once = r#"{"state": ["failed", "running"], "tag": ["x", "y"], "meta.n": 7}"#;
        assert_eq!(read(twice), read(once));
    }
}
