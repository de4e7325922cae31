//! The query string of `GET /v1/jobs`: every parameter checked, every fault told.

use std::borrow::Cow;

use jiff::Timestamp;
use longshore_common::{
    fault::{Faults, token},
    job::{JobState, QueueName, name},
    key::Scope,
    store::read::{Fields, JobFilter},
};
use url::form_urlencoded;

use crate::{auth::Access, cursor, problem::ApiError};

/// The highest id that a job may have.
pub const MAX_ID: i64 = (1 << 53) - 1;
/// Items of a list where nothing is said.
const DEFAULT_LIMIT: i64 = 50;
/// Items of a list at most.
const MAX_LIMIT: i64 = 1000;
/// Characters of a meta value that it is found by, as in the SQL function `longshore.labels_of`.
const MAX_LABEL_CHARS: usize = 200;
const KNOWN: &str = "state, queue, kind, tag, unique_key, concurrency_key, workflow_id, schedule, meta.<key>, created_after, created_before, finished_after, \
                     finished_before, fields, limit, cursor";

/// What was asked for.
#[derive(Debug, PartialEq)]
pub struct List {
    /// Which jobs.
    pub filter: JobFilter,
    /// With which large fields.
    pub fields: Fields,
    /// Below this id.
    pub before: Option<i64>,
    /// How many.
    pub limit: i64,
    /// Something was asked for that no job has yet: a workflow, a schedule.
    pub of_none: bool,
}

impl List {
    /// Reads a query string.
    ///
    /// # Errors
    /// [`ApiError::Invalid`], all faults at once.
    pub fn parse(query: &str) -> Result<Self, ApiError> {
        let mut list = Self { filter: JobFilter::default(), fields: Fields::default(), before: None, limit: DEFAULT_LIMIT, of_none: false };
        let mut faults = Faults::default();
        let mut seen: Vec<Cow<'_, str>> = Vec::new();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let read = if !repeats(&key) && seen.contains(&key) { Err("is given more than once".to_owned()) } else { list.take(&key, &value) };
            if let Err(why) = read {
                faults.add(&token(&key), format!("query parameter: {why}"));
            }
            seen.push(key);
        }
        if faults.is_empty() { Ok(list) } else { Err(ApiError::Invalid(faults.into_vec())) }
    }

    /// Narrows it to the queues that may be seen. Naming another one is an error, so that nobody takes an empty list for an
    /// empty queue.
    ///
    /// # Errors
    /// [`ApiError::OutOfQueues`].
    pub fn narrow(&mut self, access: &Access) -> Result<(), ApiError> {
        for queue in &self.filter.queues {
            access.want_queue(queue, Scope::Read, || "/queue".to_owned())?;
        }
        if let (Some(reached), true) = (access.queues(), self.filter.queues.is_empty()) {
            // as a filter, no queues would mean all
            self.of_none |= reached.is_empty();
            reached.clone_into(&mut self.filter.queues);
        }
        Ok(())
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        if value.contains('\0') {
            return Err("has a NUL character".to_owned()); // which PostgreSQL could not take
        }
        let filter = &mut self.filter;
        match key {
            "state" => {
                let words = || JobState::ALL.map(JobState::word).join(", ");
                filter.states.push(JobState::from_word(value).ok_or_else(|| format!("must be one of {}, is \"{value}\"", words()))?);
            }
            "queue" => filter.queues.push(name_of(value)?),
            "kind" => filter.kinds.push(name_of(value)?),
            "tag" => filter.labels.push(format!("t:{}", given(value)?)),
            "unique_key" => filter.unique_key = Some(given(value)?),
            "concurrency_key" => filter.concurrency_key = Some(given(value)?),
            "workflow_id" => {
                integer(value, 0, MAX_ID)?;
                self.of_none = true;
            }
            "schedule" => {
                given(value)?;
                self.of_none = true;
            }
            "created_after" => filter.created_after = Some(time(value)?),
            "created_before" => filter.created_before = Some(time(value)?),
            "finished_after" => filter.finished_after = Some(time(value)?),
            "finished_before" => filter.finished_before = Some(time(value)?),
            "fields" => self.fields = fields(value)?,
            "limit" => self.limit = integer(value, 1, MAX_LIMIT)?,
            "cursor" => self.before = Some(cursor::decode(value).ok_or("is not a cursor of this list; take next_cursor of the answer before")?),
            _ => match key.strip_prefix("meta.") {
                Some(name) if !name.is_empty() => filter.labels.push(format!("m:{name}={}", value.chars().take(MAX_LABEL_CHARS).collect::<String>())),
                _ => return Err(format!("is not known; there are {KNOWN}")),
            },
        }
        Ok(())
    }
}

fn repeats(key: &str) -> bool {
    matches!(key, "state" | "queue" | "kind" | "tag")
}

fn name_of(value: &str) -> Result<String, String> {
    // kinds are named by the same rule
    QueueName::new(value).map(String::from).map_err(|_| format!("{}, is \"{value}\"", name::ALLOWED))
}

fn given(value: &str) -> Result<String, String> {
    if value.is_empty() { Err("must not be empty".to_owned()) } else { Ok(value.to_owned()) }
}

fn integer(value: &str, least: i64, most: i64) -> Result<i64, String> {
    value.parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(|| format!("must be an integer from {least} to {most}, is \"{value}\""))
}

fn time(value: &str) -> Result<Timestamp, String> {
    let read = value.parse::<Timestamp>().map_err(|_| format!("must be a time such as 2030-01-31T12:00:00Z (RFC 3339, a + written as %2B), is \"{value}\""));
    // no job is as old as that, and PostgreSQL knows no times before 4714 BC
    read.map(|time| time.max(Timestamp::UNIX_EPOCH))
}

fn fields(value: &str) -> Result<Fields, String> {
    let mut fields = Fields::default();
    for name in value.split(',') {
        match name.trim() {
            "args" => fields.args = true,
            "result" => fields.result = true,
            other => return Err(format!("must be args, result, or both with a comma; \"{other}\" is neither")),
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use longshore_common::key::ApiKey;

    use super::*;

    #[test]
    fn every_parameter_is_read() {
        let query = "state=failed&state=cancelled&queue=a&kind=b&kind=c&tag=x%20y&unique_key=k&concurrency_key=c&meta.customer=7&meta.a%3Db=1&\
                     created_after=2030-01-01T00:00:00Z&finished_before=2030-01-01T00:00:00%2B01:00&fields=args,result&limit=7&cursor=MTpqb2JzOjQy";
        let list = List::parse(query).expect("fine");
        assert_eq!(list.filter.states, [JobState::Failed, JobState::Cancelled]);
        assert_eq!((list.filter.queues, list.filter.kinds), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
        assert_eq!(list.filter.labels, ["t:x y", "m:customer=7", "m:a=b=1"]);
        assert_eq!((list.limit, list.before, list.fields, list.of_none), (7, Some(42), Fields { args: true, result: true }, false));
        assert_eq!((list.filter.created_after, list.filter.finished_before), ("2030-01-01T00:00:00Z".parse().ok(), "2029-12-31T23:00:00Z".parse().ok()));
        assert!(List::parse("schedule=nightly").expect("fine").of_none && List::parse("workflow_id=7").expect("fine").of_none);
    }

    #[test]
    fn a_list_is_narrowed_and_never_widened() {
        let limited = |queues: &[&str]| {
            let queues = queues.iter().map(|queue| (*queue).to_owned()).collect();
            Access::by(Arc::new(ApiKey { name: "k".to_owned(), prefix: String::new(), hash: vec![], scopes: vec![Scope::Read], queues: Some(queues) }))
        };
        let narrowed = |access: Access, query| {
            let mut list = List::parse(query).expect("fine");
            list.narrow(&access).map(|()| (list.filter.queues.join(","), list.of_none)).ok()
        };
        let access = limited(&["a", "b"]);
        assert_eq!(narrowed(access.clone(), ""), Some(("a,b".to_owned(), false)));
        assert_eq!(narrowed(access.clone(), "queue=b"), Some(("b".to_owned(), false)));
        assert_eq!(narrowed(access.clone(), "queue=c"), None);
        assert_eq!(narrowed(access, "queue=a&queue=c"), None);
        assert_eq!(narrowed(Access::open(), ""), Some((String::new(), false)));
        assert_eq!(narrowed(limited(&[]), ""), Some((String::new(), true)), "a limit that names nothing shows nothing");
    }

    #[test]
    fn every_fault_is_told() {
        let Err(ApiError::Invalid(faults)) =
            List::parse("state=done&queue=%20&limit=0&limit=1&cursor=x&fields=meta&created_after=today&colour=red&meta.=1&tag=&unique_key=%00")
        else {
            panic!("must be refused")
        };
        let pointers: Vec<&str> = faults.iter().map(|f| f.pointer.as_str()).collect();
        let expected = ["/state", "/queue", "/limit", "/limit", "/cursor", "/fields", "/created_after", "/colour", "/meta.", "/tag", "/unique_key"];
        assert_eq!(pointers, expected, "{faults:#?}");
        assert_eq!(faults[2].detail, "query parameter: must be an integer from 1 to 1000, is \"0\"");
    }
}
