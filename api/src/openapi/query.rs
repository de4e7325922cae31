//! Query strings and headers as arguments of handlers: they describe themselves in the document.

use std::{marker::PhantomData, time::Duration};

use longshore_common::{
    duration,
    fault::{Fault, Faults, token},
    job::QueueName,
};
use poem::{Request, RequestBody, Result};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaParamIn, MetaSchemaRef},
};
use url::form_urlencoded;

use super::schemas;
use crate::{problem::ApiError, routes::events::EventFilter};

/// How long a request may wait for its job at most.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// Characters of an idempotency key at most.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// A query string of which the document says what it may have, not yet read.
#[derive(Debug)]
pub struct Query<D>(pub String, PhantomData<D>);

/// A description of a query string.
pub trait Described: Send + Sync {
    /// A property a parameter.
    fn parameters() -> MetaSchemaRef;
}

/// Of a list of jobs.
#[derive(Debug)]
pub enum OfJobs {}
impl Described for OfJobs {
    fn parameters() -> MetaSchemaRef {
        schemas::job_query()
    }
}

/// Of a list of failures.
#[derive(Debug)]
pub enum OfFailures {}
impl Described for OfFailures {
    fn parameters() -> MetaSchemaRef {
        schemas::failure_query()
    }
}

/// Of what deletes a queue.
#[derive(Debug)]
pub enum OfPurge {}
impl Described for OfPurge {
    fn parameters() -> MetaSchemaRef {
        schemas::purge_query()
    }
}

/// The query string of a list of jobs.
pub type JobQuery = Query<OfJobs>;
/// The query string of a list of failures.
pub type FailureQuery = Query<OfFailures>;
/// The query string of what deletes a queue.
pub type PurgeQuery = Query<OfPurge>;

impl<'a, D: Described> ApiExtractor<'a> for Query<D> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Query)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(D::parameters())
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        Ok(Self(request.uri().query().unwrap_or_default().to_owned(), PhantomData))
    }
}

/// How long a request wants to wait for its job to end; `None`: not at all.
#[derive(Debug)]
pub struct WaitQuery(pub Option<Duration>);

impl<'a> ApiExtractor<'a> for WaitQuery {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Query)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(schemas::wait_query())
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        let mut faults = Faults::default();
        let mut wait = None;
        for (key, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
            let read = match &*key {
                "wait" if wait.is_some() => Err("is given more than once".to_owned()),
                "wait" => wait_of(&value).map(|length| wait = Some(length)),
                _ => Err("is not known here; there is wait".to_owned()),
            };
            if let Err(why) = read {
                faults.add(&token(&key), format!("query parameter: {why}"));
            }
        }
        if faults.is_empty() { Ok(Self(wait.filter(|wait| !wait.is_zero()))) } else { Err(ApiError::Invalid(faults.into_vec()).into()) }
    }
}

fn wait_of(text: &str) -> Result<Duration, String> {
    let length = text.parse().map_or_else(|_| duration::parse(text), duration::from_seconds)?;
    if length <= MAX_WAIT { Ok(length) } else { Err(format!("must be from 0s to {}", duration::display(MAX_WAIT))) }
}

/// How much longer than others a request may take, by what it asks for.
pub fn asks_to_wait(request: &Request) -> Duration {
    let query = request.uri().query().unwrap_or_default();
    let wait = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "wait");
    wait.and_then(|(_, value)| wait_of(&value).ok()).unwrap_or_default()
}

/// The header `Idempotency-Key`, if there is one.
#[derive(Debug)]
pub struct IdempotencyKey(pub Option<String>);

impl<'a> ApiExtractor<'a> for IdempotencyKey {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(schemas::idempotency_key())
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        let mut given = request.headers().get_all("idempotency-key").iter();
        let key = given.next().map(|key| key.to_str().ok().filter(|key| (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len())).map(str::to_owned));
        match (key, given.next()) {
            (None, _) => Ok(Self(None)),
            (Some(Some(key)), None) => Ok(Self(Some(key))),
            // one that is not read must not be taken for none
            _ => Err(header_fault("Idempotency-Key", format!("must be given once, with 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters")).into()),
        }
    }
}

/// A fault of a header.
pub fn header_fault(name: &str, detail: impl std::fmt::Display) -> ApiError {
    ApiError::Invalid(vec![Fault { pointer: String::new(), detail: format!("header {name}: {detail}").into() }])
}

/// The query string of events.
#[derive(Debug)]
pub struct EventQuery(pub EventFilter);

impl<'a> ApiExtractor<'a> for EventQuery {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Query)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(schemas::event_query())
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        let mut filter = EventFilter::default();
        let mut faults = Faults::default();
        for (key, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
            let name = || QueueName::new(&value).map(String::from); // kinds are named by the same rule
            let read = match &*key {
                "queue" => name().map(|name| filter.queues.insert(name)).map_err(ToString::to_string),
                "kind" => name().map(|name| filter.kinds.insert(name)).map_err(ToString::to_string),
                "job_id" => value.parse().map(|id| filter.job_ids.insert(id)).map_err(|_| format!("must be the id of a job, is \"{value}\"")),
                _ => Err("is not known; there are queue, kind, job_id".to_owned()),
            };
            if let Err(why) = read {
                faults.add(&token(&key), format!("query parameter: {why}"));
            }
        }
        if faults.is_empty() { Ok(Self(filter)) } else { Err(ApiError::Invalid(faults.into_vec()).into()) }
    }
}

/// A caller who asks for something must not be answered as if that had been done.
pub(super) fn refuse_unknown(request: &Request, known: &[&str]) -> Result<(), ApiError> {
    let mut faults = Faults::default();
    for (key, _) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).filter(|(key, _)| !known.contains(&&**key)) {
        faults.add(&token(&key), "query parameter: is not known here");
    }
    if faults.is_empty() { Ok(()) } else { Err(ApiError::Invalid(faults.into_vec())) }
}

/// It is for what enqueues; whatever else has a body may be done twice without harm.
pub(super) fn refuse_idempotency_key(request: &Request) -> Result<(), ApiError> {
    if !request.headers().contains_key("idempotency-key") {
        return Ok(());
    }
    Err(header_fault("Idempotency-Key", "is not taken here: doing this twice does no harm"))
}
