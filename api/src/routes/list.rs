//! The query string of `GET /v1/jobs`: every parameter checked, every fault told.

use longshore_common::{
    job::{
        JobFilter, cursor,
        filter::{self, integer},
    },
    key::Scope,
    store::read::Fields,
};
use poem_openapi::registry::MetaSchemaRef;

use crate::{
    auth::Access,
    openapi::{self, FromQuery, each_parameter},
    problem::ApiError,
};

/// Items of a list where nothing is said.
pub const DEFAULT_LIMIT: i64 = 50;
/// Items of a list at most.
const MAX_LIMIT: i64 = 1000;

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
}

impl FromQuery for List {
    fn parameters() -> MetaSchemaRef {
        openapi::job_query()
    }

    fn parse(query: &str) -> Result<Self, ApiError> {
        let mut list = Self { filter: JobFilter::default(), fields: Fields::default(), before: None, limit: DEFAULT_LIMIT };
        each_parameter(query, JobFilter::repeats, |key, value| list.take(key, value))?;
        Ok(list)
    }
}

impl List {
    /// Narrows it to the queues that may be seen.
    ///
    /// # Errors
    /// [`ApiError::OutOfQueues`].
    pub fn narrow(&mut self, access: &Access) -> Result<(), ApiError> {
        access.narrow(&mut self.filter, Scope::Read, "/queue")
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "fields" => self.fields = fields(value)?,
            "limit" => self.limit = limit(value)?,
            "cursor" => self.before = Some(cursor::decode(value).ok_or("is not a cursor of this list; take next_cursor of the answer before")?),
            _ if self.filter.take(key, value)? => {}
            _ => return Err(format!("is not known; there are {}, fields, limit, cursor", filter::FIELDS)),
        }
        Ok(())
    }
}

/// Items of a list at most.
///
/// # Errors
/// Says in words how many may be asked for.
pub fn limit(value: &str) -> Result<i64, String> {
    integer(value, 1, MAX_LIMIT)
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

    use longshore_common::{job::JobState, key::ApiKey};

    use super::*;

    #[test]
    fn every_parameter_is_read() {
        let query = "state=failed&state=cancelled&queue=a&kind=b&kind=c&tag=x%20y&unique_key=k&concurrency_key=c&meta.customer=7&meta.a%3Db=1&\
                     created_after=2030-01-01T00:00:00Z&finished_before=2030-01-01T00:00:00%2B01:00&fields=args,result&limit=7&cursor=MTpqb2JzOjQy";
        let list = List::parse(query).expect("fine");
        assert_eq!(list.filter.states, [JobState::Failed, JobState::Cancelled]);
        assert_eq!((list.filter.queues.clone(), list.filter.kinds.clone()), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
        assert_eq!(list.filter.labels, ["t:x y", "m:customer=7", "m:a=b=1"]);
        assert_eq!((list.limit, list.before, list.fields, list.filter.of_none), (7, Some(42), Fields { args: true, result: true }, false));
        assert_eq!((list.filter.created_after, list.filter.finished_before), ("2030-01-01T00:00:00Z".parse().ok(), "2029-12-31T23:00:00Z".parse().ok()));
        assert_eq!(List::parse("schedule=nightly").expect("fine").filter.schedule.as_deref(), Some("nightly"));
        assert_eq!(List::parse("workflow_id=7").expect("fine").filter.workflow_id, Some(7));
    }

    #[test]
    fn a_list_is_narrowed_and_never_widened() {
        let limited = |queues: &[&str]| {
            let queues = queues.iter().map(|queue| (*queue).to_owned()).collect();
            Access::by(Arc::new(ApiKey { name: "k".to_owned(), prefix: String::new(), hash: vec![], scopes: vec![Scope::Read], queues: Some(queues) }))
        };
        let narrowed = |access: Access, query| {
            let mut list = List::parse(query).expect("fine");
            list.narrow(&access).map(|()| (list.filter.queues.join(","), list.filter.of_none)).ok()
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
