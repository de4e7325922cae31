//! The route table: every path, with the methods it knows. What a path does is in the file of its noun.

pub mod batch;
pub mod bulk;
pub mod control;
pub mod database;
pub mod events;
pub mod explain;
pub mod failures;
pub mod health;
pub mod jobs;
pub mod leases;
mod list;
pub mod login;
pub mod logs;
pub mod metrics;
pub mod queue_settings;
pub mod queues;
pub mod schedules;
pub mod stats;
pub mod workers;
pub mod workflows;

use std::{collections::HashMap, sync::Arc};

use longshore_common::{
    job::JobView,
    store::{enqueue::Origin, failures::FailureGroup, queues::QueueView, schedules::ScheduleView, workers::WorkerView},
    trace,
};
use poem::{
    Endpoint, EndpointExt, Request, Response, Result, Route,
    endpoint::{BoxEndpoint, make_sync},
    http::Method,
};
use poem_openapi::OpenApi;
use serde::Serialize;

use crate::{
    auth::Access,
    metrics::Matched,
    openapi::{self, Schema},
    pages,
    problem::ApiError,
    state::State,
};

/// All routes, `/openapi.json` and the pages included.
pub fn routes(state: &Arc<State>) -> Route {
    let (mut table, document) = table(state);
    let names = names(&document);
    table.extend(pages::pages(&document));
    let document = make_sync(move |_| Response::builder().content_type("application/json").body(document.clone()));
    table.insert("/openapi.json".to_owned(), HashMap::from([(Method::GET, document.boxed())]));
    table.into_iter().fold(Route::new(), |route, (path, of)| {
        route.at(&path, Methods { path: names.get(&anonymous(&path)).cloned().unwrap_or_else(|| path.as_str().into()), of })
    })
}

/// Each path as the document names it, by what it is without names: `/v1/jobs/{id}` by `/v1/jobs/*`.
fn names(document: &str) -> HashMap<String, Arc<str>> {
    let document: serde_json::Value = serde_json::from_str(document).unwrap_or_default();
    document["paths"].as_object().into_iter().flatten().map(|(path, _)| (anonymous(path), path.as_str().into())).collect()
}

/// The table and the document name parameters differently.
fn anonymous(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with([':', '{']) { "*" } else { part }).collect::<Vec<_>>().join("/")
}

type Table = HashMap<String, HashMap<Method, BoxEndpoint<'static>>>;

/// The routes, and the document that describes them.
fn table(state: &Arc<State>) -> (Table, String) {
    let api = || {
        // nested, since a tuple of more than sixteen is no OpenApi
        let of_one_job =
            (jobs::JobRoutes(state.clone()), control::ControlRoutes(state.clone()), explain::ExplainRoutes(state.clone()), logs::LogRoutes(state.clone()));
        (
            of_one_job,
            batch::BatchRoutes(state.clone()),
            bulk::BulkRoutes(state.clone()),
            events::EventRoutes(state.clone()),
            failures::FailureRoutes(state.clone()),
            leases::LeaseRoutes(state.clone()),
            queues::QueueRoutes(state.clone()),
            queue_settings::QueueSettingsRoutes(state.clone()),
            schedules::ScheduleRoutes(state.clone()),
            workflows::WorkflowRoutes(state.clone()),
            workers::WorkerRoutes(state.clone()),
            (stats::StatsRoutes(state.clone()), database::DatabaseRoutes(state.clone())),
            metrics::MetricsRoutes(state.clone()),
            login::LoginRoutes(state.clone()),
            health::HealthRoutes(state.clone()),
        )
    };
    let mut table = HashMap::new();
    api().add_routes(&mut table);
    (table, openapi::document(api()))
}

/// The methods of one path. Poem's own says 405 without the header `Allow`.
struct Methods {
    path: Arc<str>,
    of: HashMap<Method, BoxEndpoint<'static>>,
}

impl Methods {
    fn allowed(&self) -> String {
        let mut names: Vec<&str> = self.of.keys().map(Method::as_str).collect();
        if self.of.contains_key(&Method::GET) {
            names.push("HEAD");
        }
        names.sort_unstable();
        names.join(", ")
    }
}

impl Endpoint for Methods {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        if let Some(matched) = request.data::<Matched>() {
            matched.is(&self.path);
        }
        // what HEAD gets is what GET gets; the server leaves the body out
        let method = if *request.method() == Method::HEAD { &Method::GET } else { request.method() };
        match self.of.get(method) {
            Some(endpoint) => endpoint.call(request).await,
            None => Err(ApiError::MethodNotAllowed { allowed: self.allowed() }.into()),
        }
    }
}

/// A part of a list, and where it goes on.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// Where it goes on; `None`: that was all.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A list that is short by nature.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }
}

/// What a list of a thing is called in the document.
pub trait Listed: Schema {
    /// Its name.
    const LIST: &'static str;
}

impl Listed for JobView {
    const LIST: &'static str = "Jobs";
}

impl Listed for QueueView {
    const LIST: &'static str = "Queues";
}

impl Listed for ScheduleView {
    const LIST: &'static str = "Schedules";
}

impl Listed for FailureGroup {
    const LIST: &'static str = "Failures";
}

impl Listed for WorkerView {
    const LIST: &'static str = "Workers";
}

/// Where jobs of this request come from. A `traceparent` that is not one is ignored, as W3C Trace Context asks. Where there are
/// traces, it is that of the request's own span.
fn origin(access: &Access, request_id: Option<String>, traceparent: Option<String>) -> Origin {
    Origin { enqueued_by: access.key_name().map(str::to_owned), request_id, traceparent: traceparent.filter(|value| trace::is_traceparent(value)) }
}

#[cfg(test)]
mod tests {
    use longshore_common::{settings::Settings, store::Store};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::auth::{Keys, needs_no_key};

    fn state() -> Arc<State> {
        let url = ("LONGSHORE_DATABASE__URL".to_owned(), "postgres://nobody@127.0.0.1:1/nothing".to_owned());
        let settings = Settings::from_environment([url].into()).expect("fine");
        Arc::new(State::new(Store::new(&settings.database, "test", settings.api.timeout).expect("connects later"), Keys::new(true), &CancellationToken::new()))
    }

    #[tokio::test]
    async fn every_route_is_in_the_document_with_its_answers() {
        let (table, document) = table(&state());
        let document: serde_json::Value = serde_json::from_str(&document).expect("JSON");
        let described: HashMap<String, &serde_json::Value> =
            document["paths"].as_object().expect("is an object").iter().map(|(path, operations)| (anonymous(path), operations)).collect();
        for (path, methods) in table {
            for method in methods.keys() {
                let operation = &described[&anonymous(&path)][method.as_str().to_lowercase()];
                assert!(operation["summary"].is_string(), "{method} {path} has no summary");
                let keys = operation["security"].as_array().map_or(0, Vec::len);
                assert_eq!(keys, if needs_no_key(method, &path) { 0 } else { 2 }, "{method} {path}: bearer or cookie, except where everybody may");
                let responses = operation["responses"].as_object().expect("is described");
                assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
                for (status, response) in responses {
                    assert!(!response["description"].as_str().unwrap_or_default().is_empty(), "{method} {path} {status} is not described");
                    if status == "204" {
                        continue;
                    }
                    let content = response["content"].as_object().expect("every other answer has a body");
                    let problem = content.contains_key(crate::problem::MEDIA_TYPE);
                    assert_eq!(problem, !status.starts_with('2') && !matches!(&path[..], "/health" | "/readyz"), "{method} {path} {status}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_route_refuses_what_nobody_let_in() {
        let (table, _) = table(&state());
        for (path, methods) in &table {
            for (method, endpoint) in methods.iter().filter(|(method, _)| !needs_no_key(method, path)) {
                let answer = endpoint.get_response(Request::builder().method(method.clone()).finish()).await;
                assert_eq!(answer.status().as_u16(), 401, "{method} {path}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_there_says_so() {
        let routes = routes(&state());
        let ask = async |method: Method, path: &'static str| {
            let mut request = Request::builder().method(method).uri(poem::http::Uri::from_static(path)).finish();
            request.set_data(Access::open());
            routes.get_response(request).await
        };
        let wrong = ask(Method::DELETE, "/v1/jobs").await;
        assert_eq!((wrong.status().as_u16(), wrong.header("allow")), (405, Some("GET, HEAD, POST")));
        assert_eq!(ask(Method::GET, "/v1/nothing").await.status().as_u16(), 404);
        assert_eq!(ask(Method::HEAD, "/livez").await.status().as_u16(), 200);
        let early = ask(Method::GET, "/v1/jobs").await;
        assert_eq!(early.status().as_u16(), 503);
        assert!(early.data::<crate::problem::Cause>().is_some_and(|cause| cause.0.contains("schema")), "the log has the cause");
    }
}
