//! What happens around every request, whatever it asks for: its id, the guard, its API key, the time limit, a caught panic,
//! its span, its line in the log. The cheap things are done inline, since thousands of requests a second pass here.

mod span;

use std::{
    any::Any,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_util::FutureExt;
use poem::{
    Endpoint, Request, Response,
    error::ResponseError,
    http::{HeaderName, HeaderValue, Method, Uri},
};
use uuid::Builder;

use crate::{
    auth::{self, Keys},
    guard::Guard,
    metrics::{ApiMetrics, Matched},
    problem::{self, ApiError, Cause},
    waiting::AskedWait,
};

/// The header that carries a request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken from a caller.
const MAX_REQUEST_ID: usize = 128;

/// The endpoint around all others.
#[derive(Debug)]
pub struct EveryRequest<E> {
    inner: E,
    guard: Guard,
    keys: Arc<Keys>,
    metrics: Arc<ApiMetrics>,
    timeout: Duration,
}

impl<E: Endpoint<Output = Response>> EveryRequest<E> {
    /// Puts an endpoint behind the guard, the API keys and the time limit.
    pub fn around(inner: E, guard: Guard, keys: Arc<Keys>, metrics: Arc<ApiMetrics>, timeout: Duration) -> Self {
        Self { inner, guard, keys, metrics, timeout }
    }

    /// Lets a request in or not, by its head alone; what it may do goes with it to its route. Returns the name of its key.
    fn let_in(&self, request: &mut Request) -> Result<Option<String>, ApiError> {
        self.guard.check(request)?;
        if auth::needs_no_key(request.method(), request.uri().path()) {
            return Ok(None);
        }
        let access = self.keys.admit(request.headers())?;
        let key = access.key_name().map(str::to_owned);
        request.set_data(access);
        Ok(key)
    }

    /// What it asks to wait comes on top of the time limit.
    async fn answer(&self, request: Request, wait: Duration) -> Response {
        let limit = self.timeout + wait;
        let work = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(error))) => problem::from_poem(error),
            Ok(Err(panic)) => ApiError::Panicked(words_of(&*panic)).as_response(),
            Err(_) => ApiError::TimedOut(limit).as_response(),
        }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for EveryRequest<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let start = Instant::now();
        let id = request.headers().get(REQUEST_ID).filter(|id| is_sane(id)).cloned();
        let id = id.unwrap_or_else(|| {
            let id = new_request_id();
            request.headers_mut().insert(REQUEST_ID, id.clone());
            id
        });
        let mut line = Line {
            method: request.method().clone(),
            uri: request.uri().clone(),
            client: request.remote_addr().as_socket_addr().copied(),
            key: None,
            trace_id: None,
        };
        let matched = Matched::default();
        request.set_data(matched.clone());
        let wait = AskedWait::of(&request);
        let span = span::begin(&mut request, &id);
        line.trace_id = span::trace_id(&request);
        let mut response = match self.let_in(&mut request) {
            Ok(key) => {
                line.key = key;
                span.around(self.answer(request, wait)).await
            }
            Err(error) => error.as_response(),
        };
        let took = start.elapsed();
        span::end(&span, &line.method, &matched, &response);
        self.metrics.answered(&line.method, &matched, response.status().as_u16(), took, !wait.is_zero());
        line.write(&response, &id, took);
        response.headers_mut().insert(REQUEST_ID, id);
        Ok(response)
    }
}

fn is_sane(id: &HeaderValue) -> bool {
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// A UUID of version 7: ids sort by time. From a fast source of chance, since it need not be secret, only unique.
fn new_request_id() -> HeaderValue {
    #[expect(clippy::disallowed_methods, reason = "it orders ids and decides nothing")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let chance = fastrand::u128(..).to_ne_bytes();
    let chance = chance.first_chunk::<10>().expect("16 bytes are at least 10");
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    Builder::from_unix_timestamp_millis(millis, chance).into_uuid().hyphenated().encode_lower(&mut text);
    HeaderValue::from_bytes(&text).expect("hexadecimal digits and hyphens may stand in a header")
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// A request's line in the log.
struct Line {
    method: Method,
    uri: Uri,
    client: Option<SocketAddr>,
    /// Name of the API key.
    key: Option<String>,
    trace_id: Option<String>,
}

impl Line {
    fn write(&self, response: &Response, id: &HeaderValue, took: Duration) {
        let status = response.status().as_u16();
        // never the query: it may name keys
        let path = self.uri.path();
        macro_rules! line {
            ($level:expr, $($more:tt)*) => {
                tracing::event!(
                    name: "request",
                    $level,
                    method = self.method.as_str(),
                    path,
                    status,
                    client = self.client.map(tracing::field::display),
                    key = self.key.as_deref(),
                    duration_ms = milliseconds(took),
                    request_id = id.to_str().unwrap_or_default(),
                    trace_id = self.trace_id.as_deref(),
                    $($more)*
                    "request"
                )
            };
        }
        let cause = || cause(response);
        match status {
            _ if matches!(path, "/livez" | "/readyz" | "/health") => line!(tracing::Level::DEBUG,),
            503 => line!(tracing::Level::WARN, error = cause(),),
            500.. => line!(tracing::Level::ERROR, error = cause(),),
            _ => line!(tracing::Level::INFO,),
        }
    }
}

/// What stands behind an answer that says of an error no more than its caller may know.
fn cause(response: &Response) -> String {
    response.data::<Cause>().map_or_else(String::new, |cause| cause.0.to_string())
}

/// With three decimals: whole microseconds.
fn milliseconds(took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a request takes far less than 2^53 microseconds")]
    let micros = took.as_micros() as f64;
    micros / 1000.0
}

#[cfg(test)]
mod tests {
    use poem::{endpoint::make, http::StatusCode};

    use super::*;
    use crate::auth::Access;

    fn around<E: Endpoint<Output = Response>>(inner: E) -> EveryRequest<E> {
        let keys = Keys::new(true);
        keys.learn(vec![]);
        EveryRequest::around(inner, Guard::new(&[]), Arc::new(keys), Arc::default(), Duration::from_millis(50))
    }

    #[tokio::test]
    async fn a_sane_request_id_comes_back_another_is_replaced() {
        let echo = || around(make(|request: Request| async move { Response::builder().body(request.header("x-request-id").unwrap_or_default().to_owned()) }));
        let long = "x".repeat(129);
        for (sent, kept) in [("abc-1", true), ("", false), ("a b", false), (long.as_str(), false)] {
            let mut response = echo().get_response(Request::builder().header("x-request-id", sent).finish()).await;
            let id = response.header("x-request-id").expect("every response has one").to_owned();
            assert_eq!(id == sent, kept, "{sent}");
            assert_eq!(response.take_body().into_string().await.expect("in memory"), id, "handlers see the same");
            if !kept {
                assert_eq!(uuid::Uuid::parse_str(&id).expect("a UUID").get_version_num(), 7);
            }
        }
    }

    #[tokio::test]
    async fn no_handler_hears_of_a_request_without_a_key() {
        let keys = Arc::new(Keys::new(false));
        let reached = make(|request: Request| async move {
            Response::builder().status(if request.data::<Access>().is_some() { 200 } else { 204 }.try_into().expect("a status")).finish()
        });
        let every = EveryRequest::around(reached, Guard::new(&[]), keys.clone(), Arc::default(), Duration::from_secs(1));
        let ask = async |path: &'static str| every.get_response(Request::builder().uri(Uri::from_static(path)).finish()).await.status().as_u16();
        assert_eq!((ask("/v1/jobs").await, ask("/").await, ask("/health").await), (503, 204, 204), "the keys are not known yet");
        keys.learn(vec![]);
        assert_eq!((ask("/v1/jobs").await, ask("/nothing").await, ask("/openapi.json").await, ask("/health").await), (401, 401, 401, 204));
    }

    #[tokio::test]
    async fn a_panic_and_a_long_wait_are_problems() {
        let panics = around(make(|request: Request| async move { Response::builder().body(request.header("not-there").expect("on purpose").to_owned()) }));
        assert_eq!(panics.get_response(Request::default()).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let waits = around(make(|_| async {
            tokio::time::sleep(Duration::from_mins(1)).await;
            Response::default()
        }));
        assert_eq!(waits.get_response(Request::default()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
