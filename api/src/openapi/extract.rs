//! Arguments of handlers that describe themselves in the document and leave the reading to the handler.

use std::time::Duration;

use longshore_common::{
    duration,
    fault::{Fault, Faults, token},
    job::QueueName,
};
use poem::{Body, Request, RequestBody, Result, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaParamIn, MetaRequest, MetaSchemaRef, Registry},
};

use url::form_urlencoded;

use super::{schema::Schema, schemas};
use crate::{
    body::{self, Format},
    problem::ApiError,
    routes::events::EventFilter,
};

/// How long a request may wait for its job at most.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// Characters of an idempotency key at most.
const MAX_IDEMPOTENCY_KEY: usize = 255;
/// What a form of a page is sent as.
const FORM: &str = "application/x-www-form-urlencoded";

/// The body of one job, not yet read.
#[derive(Debug)]
pub struct JobBody {
    /// The body.
    pub body: Body,
    /// Its length, where the caller says it.
    pub declared: Option<usize>,
}

impl<'a> ApiExtractor<'a> for JobBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        schemas::NewJob::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: "application/json", schema: schemas::NewJob::reference() }];
        Some(MetaRequest { description: Some("The job; 2 MiB at most."), content, required: true })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        refuse_unknown(request, &["wait"])?;
        match body::format(request.headers(), "application/json")? {
            Format::Json => Ok(Self { body: body.take()?, declared: declared_length(request) }),
            Format::Ndjson => {
                Err(ApiError::UnsupportedMediaType { found: "application/x-ndjson".to_owned(), allowed: "application/json, or batches to /v1/jobs/batch" }
                    .into())
            }
        }
    }
}

/// The body of a change to a job, not yet read.
#[derive(Debug)]
pub struct ChangeBody {
    /// The body.
    pub body: Body,
    /// Its length, where the caller says it.
    pub declared: Option<usize>,
}

impl<'a> ApiExtractor<'a> for ChangeBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        schemas::JobChange::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: "application/json", schema: schemas::JobChange::reference() }];
        Some(MetaRequest { description: Some("What is to be different; 2 MiB at most."), content, required: true })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        const ALLOWED: &str = "application/json";
        refuse_unknown(request, &[])?;
        refuse_idempotency_key(request)?;
        match body::format(request.headers(), ALLOWED)? {
            Format::Json => Ok(Self { body: body.take()?, declared: declared_length(request) }),
            Format::Ndjson => Err(ApiError::UnsupportedMediaType { found: "application/x-ndjson".to_owned(), allowed: ALLOWED }.into()),
        }
    }
}

/// The body of a queue's settings, not yet read.
#[derive(Debug)]
pub struct QueueBody {
    /// The body.
    pub body: Body,
    /// Its length, where the caller says it.
    pub declared: Option<usize>,
}

impl<'a> ApiExtractor<'a> for QueueBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        schemas::QueueSettings::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: "application/json", schema: schemas::QueueSettings::reference() }];
        Some(MetaRequest { description: Some("The settings; 2 MiB at most."), content, required: true })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        const ALLOWED: &str = "application/json";
        refuse_unknown(request, &[])?;
        refuse_idempotency_key(request)?;
        match body::format(request.headers(), ALLOWED)? {
            Format::Json => Ok(Self { body: body.take()?, declared: declared_length(request) }),
            Format::Ndjson => Err(ApiError::UnsupportedMediaType { found: "application/x-ndjson".to_owned(), allowed: ALLOWED }.into()),
        }
    }
}

/// The body of a batch, not yet read.
#[derive(Debug)]
pub struct BatchBody {
    /// The body.
    pub body: Body,
    /// Its length, where the caller says it.
    pub declared: Option<usize>,
    /// How it is written.
    pub format: Format,
}

impl<'a> ApiExtractor<'a> for BatchBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        schemas::NewBatch::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![
            MetaMediaType { content_type: "application/json", schema: schemas::NewBatch::reference() },
            MetaMediaType { content_type: "application/x-ndjson", schema: schemas::NewJob::reference() },
        ];
        Some(MetaRequest { description: Some("The jobs; as NDJSON one a line. 1 to 10,000 jobs, 32 MiB at most."), content, required: true })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        refuse_unknown(request, &[])?;
        let format = body::format(request.headers(), "application/json or application/x-ndjson")?;
        Ok(Self { body: body.take()?, declared: declared_length(request), format })
    }
}

/// The body of a login, not yet read.
#[derive(Debug)]
pub struct LoginBody {
    /// The body.
    pub body: Body,
    /// Whether it is a form, else it is JSON.
    pub is_form: bool,
}

impl<'a> ApiExtractor<'a> for LoginBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        schemas::Login::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = ["application/json", FORM].map(|content_type| MetaMediaType { content_type, schema: schemas::Login::reference() }).into();
        Some(MetaRequest { description: Some("The key."), content, required: true })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        const ALLOWED: &str = "application/json or application/x-www-form-urlencoded";
        refuse_unknown(request, &[])?;
        refuse_idempotency_key(request)?;
        let is_form = request.content_type().is_some_and(|name| name.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(FORM));
        match if is_form { Format::Json } else { body::format(request.headers(), ALLOWED)? } {
            Format::Json => Ok(Self { body: body.take()?, is_form }),
            Format::Ndjson => Err(ApiError::UnsupportedMediaType { found: "application/x-ndjson".to_owned(), allowed: ALLOWED }.into()),
        }
    }
}

/// A caller who asks for something must not be answered as if that had been done.
fn refuse_unknown(request: &Request, known: &[&str]) -> Result<(), ApiError> {
    let mut faults = Faults::default();
    for (key, _) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).filter(|(key, _)| !known.contains(&&**key)) {
        faults.add(&token(&key), "query parameter: is not known here");
    }
    if faults.is_empty() { Ok(()) } else { Err(ApiError::Invalid(faults.into_vec())) }
}

/// It is for what enqueues; whatever else has a body may be done twice without harm.
fn refuse_idempotency_key(request: &Request) -> Result<(), ApiError> {
    if !request.headers().contains_key("idempotency-key") {
        return Ok(());
    }
    Err(header_fault("Idempotency-Key", "is not taken here: doing this twice does no harm"))
}

fn declared_length(request: &Request) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The query string of a list of jobs, not yet read.
#[derive(Debug)]
pub struct JobQuery(pub String);

impl<'a> ApiExtractor<'a> for JobQuery {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Query)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(schemas::job_query())
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        Ok(Self(request.uri().query().unwrap_or_default().to_owned()))
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

/// The query string of what deletes a queue, not yet read.
#[derive(Debug)]
pub struct PurgeQuery(pub String);

impl<'a> ApiExtractor<'a> for PurgeQuery {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Query)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(schemas::purge_query())
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        Ok(Self(request.uri().query().unwrap_or_default().to_owned()))
    }
}
