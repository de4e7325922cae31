//! Bodies as arguments of handlers: they describe themselves in the document and leave the reading to the handler.

use std::marker::PhantomData;

use poem::{Body, Request, RequestBody, Result, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, Registry},
};

use super::{query, schema::Schema, schemas};
use crate::{
    body::{self, Format},
    problem::ApiError,
};

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
        query::refuse_unknown(request, &["wait"])?;
        match body::format(request.headers(), "application/json")? {
            Format::Json => Ok(Self { body: body.take()?, declared: declared_length(request) }),
            Format::Ndjson => {
                Err(ApiError::UnsupportedMediaType { found: "application/x-ndjson".to_owned(), allowed: "application/json, or batches to /v1/jobs/batch" }
                    .into())
            }
        }
    }
}

/// A JSON body of which the document says what it is, not yet read.
#[derive(Debug)]
pub struct JsonBody<T, const LARGE: bool = false, const ONCE: bool = false> {
    /// The body.
    pub body: Body,
    /// Its length, where the caller says it.
    pub declared: Option<usize>,
    described: PhantomData<T>,
}

/// One that may be as long as a batch.
pub type LargeBody<T> = JsonBody<T, true>;
/// The body of a workflow, which may bear an idempotency key.
pub type WorkflowBody = JsonBody<schemas::NewWorkflow, true, true>;
/// The body of a change to a job.
pub type ChangeBody = JsonBody<schemas::JobChange>;
/// The body of a queue's settings.
pub type QueueBody = JsonBody<schemas::QueueSettings>;
/// The body of a schedule's settings.
pub type ScheduleBody = JsonBody<schemas::ScheduleSettings>;

impl<'a, T: Schema + Send, const LARGE: bool, const ONCE: bool> ApiExtractor<'a> for JsonBody<T, LARGE, ONCE> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: "application/json", schema: T::reference() }];
        Some(MetaRequest { description: Some(if LARGE { "32 MiB at most." } else { "2 MiB at most." }), content, required: true })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        const ALLOWED: &str = "application/json";
        query::refuse_unknown(request, &[])?;
        if !ONCE {
            query::refuse_idempotency_key(request)?;
        }
        match body::format(request.headers(), ALLOWED)? {
            Format::Json => Ok(Self { body: body.take()?, declared: declared_length(request), described: PhantomData }),
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
        query::refuse_unknown(request, &[])?;
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
        query::refuse_unknown(request, &[])?;
        query::refuse_idempotency_key(request)?;
        let is_form = request.content_type().is_some_and(|name| name.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(FORM));
        match if is_form { Format::Json } else { body::format(request.headers(), ALLOWED)? } {
            Format::Json => Ok(Self { body: body.take()?, is_form }),
            Format::Ndjson => Err(ApiError::UnsupportedMediaType { found: "application/x-ndjson".to_owned(), allowed: ALLOWED }.into()),
        }
    }
}

fn declared_length(request: &Request) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
