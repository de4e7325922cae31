//! What ties the routes to their document: payloads, parameters and problems that describe themselves to poem-openapi.
//!
//! Bodies and query strings are read by this crate's own code, since poem-openapi stops at the first fault, says 400 to
//! all of them and goes through `serde_json::Value`, which changes numbers. It is asked for the routes and the document.

mod body;
mod caller;
mod query;
mod schema;
mod schemas;

use std::marker::PhantomData;

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use longshore_common::{metrics::MEDIA_TYPE, program::VERSION, store::events::Event};
use poem::{Body, IntoResponse, Response, error::ResponseError};
use poem_openapi::{
    ApiResponse, OpenApi, OpenApiService,
    payload::Payload,
    registry::{
        MetaApi, MetaMediaType, MetaOperation, MetaOperationParam, MetaParamIn, MetaPath, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
    },
};
use serde::Serialize;

pub use self::{
    body::{BatchBody, ChangeBody, JobBody, JsonBody, LargeBody, LoginBody, QueueBody, ScheduleBody, WorkflowBody},
    caller::{Admin, Any, Caller, Enqueue, Read, Work},
    query::{FromQuery, IdempotencyKey, Query, each_parameter, header_fault},
    schema::{Schema, text},
    schemas::{
        BulkCall, BulkRetry, Complete, Fail, Heartbeat, LeaseRequest, MoreTasks, Reports, Snooze, event_query, failure_query, format_query, job_query,
        preview_query, purge_query, wait_query,
    },
};
use crate::problem::{self, ApiError, Kind};

/// A response body: JSON by serde, described by its [`Schema`].
#[derive(Debug)]
pub struct Output<T>(pub T);

impl<T: Schema + Serialize + Send> Payload for Output<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn schema_ref() -> MetaSchemaRef {
        T::reference()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Serialize + Send> IntoResponse for Output<T> {
    fn into_response(self) -> Response {
        let mut body = Vec::with_capacity(1024);
        match serde_json::to_writer(&mut body, &self.0) {
            Ok(()) => Response::builder().header("content-type", "application/json").body(body),
            Err(error) => ApiError::Panicked(error.to_string()).as_response(),
        }
    }
}

impl<T: Schema + Serialize + Send> ApiResponse for Output<T> {
    fn meta() -> MetaResponses {
        MetaResponses { responses: vec![response(200, "What was asked for", Self::CONTENT_TYPE, T::reference())] }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// Server-sent events, as they are written.
pub struct EventStream(pub BoxStream<'static, Bytes>);

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventStream")
    }
}

impl EventStream {
    const CONTENT_TYPE: &'static str = "text/event-stream";
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let body = Body::from_bytes_stream(self.0.map(Ok::<_, std::io::Error>));
        // nobody in between is to keep them back
        Response::builder().content_type(Self::CONTENT_TYPE).header("cache-control", "no-cache").header("x-accel-buffering", "no").body(body)
    }
}

impl ApiResponse for EventStream {
    fn meta() -> MetaResponses {
        MetaResponses { responses: vec![response(200, "The events, until either side ends", Self::CONTENT_TYPE, Event::reference())] }
    }

    fn register(registry: &mut Registry) {
        Event::register(registry);
    }
}

/// Prometheus' text format.
#[derive(Debug)]
pub struct Exposition(pub String);

impl IntoResponse for Exposition {
    fn into_response(self) -> Response {
        Response::builder().content_type(MEDIA_TYPE).body(self.0)
    }
}

impl ApiResponse for Exposition {
    fn meta() -> MetaResponses {
        let example = "# TYPE longshore_jobs gauge\nlongshore_jobs{queue=\"default\",state=\"available\"} 3\n";
        let text = MetaSchema { example: Some(example.into()), ..schema::text() };
        MetaResponses { responses: vec![response(200, "The figures", MEDIA_TYPE, MetaSchemaRef::Inline(Box::new(text)))] }
    }

    fn register(_: &mut Registry) {}
}

/// Which problems, besides those of every request, an endpoint may answer with.
pub trait Problems: Send + Sync + 'static {
    /// Their kinds.
    const KINDS: &'static [Kind];
}

/// Those that any request may meet.
const ALWAYS: &[Kind] = &[Kind::Unauthorized, Kind::Forbidden, Kind::Internal, Kind::Unavailable];

/// The problems of endpoints that list: what they are narrowed to may be wrong.
#[derive(Debug)]
pub enum Listing {}
impl Problems for Listing {
    const KINDS: &'static [Kind] = &[Kind::Invalid];
}

/// The problems of endpoints that read one thing: there may be none.
#[derive(Debug)]
pub enum Reading {}
impl Problems for Reading {
    const KINDS: &'static [Kind] = &[Kind::NotFound];
}

/// The problems of endpoints that read one thing when something has become of it.
#[derive(Debug)]
pub enum Awaiting {}
impl Problems for Awaiting {
    const KINDS: &'static [Kind] = &[Kind::NotFound, Kind::Invalid];
}

/// The problems of endpoints that enqueue.
#[derive(Debug)]
pub enum Enqueuing {}
impl Problems for Enqueuing {
    const KINDS: &'static [Kind] = &[Kind::Malformed, Kind::Conflict, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::Invalid, Kind::QueueFull];
}

/// The problems of endpoints that do something to one thing: there may be none, or it may not be the time.
#[derive(Debug)]
pub enum Controlling {}
impl Problems for Controlling {
    const KINDS: &'static [Kind] = &[Kind::NotFound, Kind::Conflict];
}

/// The problems of endpoints that enqueue what one thing says: there may be none, or it may not be the time.
#[derive(Debug)]
pub enum Running {}
impl Problems for Running {
    const KINDS: &'static [Kind] = &[Kind::NotFound, Kind::Conflict, Kind::QueueFull];
}

/// The problems of endpoints that change one thing.
#[derive(Debug)]
pub enum Changing {}
impl Problems for Changing {
    const KINDS: &'static [Kind] = &[Kind::Malformed, Kind::NotFound, Kind::Conflict, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::Invalid];
}

/// The problems of endpoints that add jobs to one thing.
#[derive(Debug)]
pub enum Adding {}
impl Problems for Adding {
    const KINDS: &'static [Kind] =
        &[Kind::Malformed, Kind::NotFound, Kind::Conflict, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::Invalid, Kind::QueueFull];
}

/// The problems of endpoints that make one thing or replace it.
#[derive(Debug)]
pub enum Putting {}
impl Problems for Putting {
    const KINDS: &'static [Kind] = &[Kind::Malformed, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::Invalid];
}

/// The problems of endpoints that delete one thing, as a query says: there may be none, or it may not be the time.
#[derive(Debug)]
pub enum Deleting {}
impl Problems for Deleting {
    const KINDS: &'static [Kind] = &[Kind::NotFound, Kind::Conflict, Kind::Invalid];
}

/// The problems of endpoints that do something to many things: which, may be said wrongly.
#[derive(Debug)]
pub enum Sweeping {}
impl Problems for Sweeping {
    const KINDS: &'static [Kind] = &[Kind::Malformed, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::Invalid];
}

/// The problems of endpoints that lease: somebody else may bear the name.
#[derive(Debug)]
pub enum Leasing {}
impl Problems for Leasing {
    const KINDS: &'static [Kind] = &[Kind::Malformed, Kind::Conflict, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::Invalid];
}

/// The problems of endpoints that take a key.
#[derive(Debug)]
pub enum LoggingIn {}
impl Problems for LoggingIn {
    const KINDS: &'static [Kind] = &[Kind::Malformed, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::Invalid];
}

/// The problems of endpoints that take no input.
#[derive(Debug)]
pub enum Nothing {}
impl Problems for Nothing {
    const KINDS: &'static [Kind] = &[];
}

/// An error of an endpoint whose problems are listed in `P`.
#[derive(Debug)]
pub struct Refusal<P>(ApiError, PhantomData<P>);

impl<P, E: Into<ApiError>> From<E> for Refusal<P> {
    fn from(error: E) -> Self {
        Self(error.into(), PhantomData)
    }
}

impl<P> From<Refusal<P>> for poem::Error {
    fn from(refusal: Refusal<P>) -> Self {
        // poem makes the response later, and puts the error's own data into it
        let cause = refusal.0.cause();
        let mut error = Self::from(refusal.0);
        if let Some(cause) = cause {
            error.set_data(cause);
        }
        error
    }
}

impl<P: Problems> ApiResponse for Refusal<P> {
    fn meta() -> MetaResponses {
        let problem = |kind: &Kind| {
            let (_, title, status) = kind.facts();
            response(status.as_u16(), title, problem::MEDIA_TYPE, schemas::Problem::reference())
        };
        let mut responses: Vec<MetaResponse> = P::KINDS.iter().chain(ALWAYS).map(problem).collect();
        responses.sort_by_key(|response| response.status);
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        schemas::Problem::register(registry);
    }
}

fn response(status: u16, description: &'static str, content_type: &'static str, schema: MetaSchemaRef) -> MetaResponse {
    MetaResponse { description, status: Some(status), status_range: None, content: vec![MetaMediaType { content_type, schema }], headers: vec![] }
}

/// The document of all routes.
pub fn document<A: OpenApi>(api: A) -> String {
    const ABOUT: &str = "A durable job server on PostgreSQL. Times are RFC 3339 in UTC; durations are seconds as a number, or texts such as \"30s\" and \
                         \"1h30m\" in requests. Every error is a problem (RFC 9457); every answer carries `x-request-id`. \
                         Where API keys are set (`longshore keys create`), each request needs one that has the operation's scope; `admin` includes all scopes.";
    schema::close(&OpenApiService::new(Expanded(api), "Longshore", VERSION).description(ABOUT).spec())
}

/// poem-openapi knows one parameter an argument. Where one argument stands for a whole query string, its schema is an
/// object; here each of its properties becomes a parameter of the document.
struct Expanded<A>(A);

impl<A: OpenApi> OpenApi for Expanded<A> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = A::meta();
        for operation in apis.iter_mut().flat_map(|api| &mut api.paths).flat_map(|path| &mut path.operations) {
            expand(operation);
        }
        merge(&mut apis);
        apis
    }

    fn register(registry: &mut Registry) {
        A::register(registry);
    }

    fn add_routes(self, routes: &mut std::collections::HashMap<String, std::collections::HashMap<poem::http::Method, poem::endpoint::BoxEndpoint<'static>>>) {
        self.0.add_routes(routes);
    }
}

/// A path whose methods lie in several files stands in the document once, with all of them.
fn merge(apis: &mut [MetaApi]) {
    for first in 1..apis.len() {
        let (before, rest) = apis.split_at_mut(first);
        let known = |path: &str| before.iter().flat_map(|api| &api.paths).any(|known| known.path == path);
        let (twice, once) = std::mem::take(&mut rest[0].paths).into_iter().partition(|path| known(&path.path));
        rest[0].paths = once;
        let twice: Vec<MetaPath> = twice;
        for path in twice {
            if let Some(known) = before.iter_mut().flat_map(|api| &mut api.paths).find(|known| known.path == path.path) {
                known.operations.extend(path.operations);
            }
        }
    }
}

fn expand(operation: &mut MetaOperation) {
    for param in std::mem::take(&mut operation.params) {
        match param {
            MetaOperationParam { in_type: MetaParamIn::Query, schema: MetaSchemaRef::Inline(object), .. } if object.ty == "object" => {
                operation.params.extend(object.properties.into_iter().map(|(name, schema)| MetaOperationParam {
                    name: name.to_owned(),
                    description: schema.unwrap_inline().description.map(str::to_owned),
                    schema,
                    in_type: MetaParamIn::Query,
                    required: false,
                    deprecated: false,
                    explode: true,
                    style: None,
                }));
            }
            other => operation.params.push(other),
        }
    }
}
