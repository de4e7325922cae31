//! The span of a request. Whoever looks at the request's `traceparent` from here on finds this span: so a job has it for a
//! parent, and it has the caller's.

use longshore_common::trace::{self, Role, Span};
use poem::{
    Request, Response,
    http::{HeaderName, HeaderValue, Method},
};

use super::{Matched, cause};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Begins it, where there are traces; who asks how we are has none.
pub(super) fn begin(request: &mut Request, id: &HeaderValue) -> Span {
    let path = request.uri().path();
    if !trace::on() || matches!(path, "/livez" | "/readyz" | "/health" | "/metrics") {
        return Span::none();
    }
    let span = Span::below(request.header(TRACEPARENT), Role::Server, request.method().as_str());
    span.set("http.request.method", request.method().to_string());
    span.set("url.path", path.to_owned());
    span.set("url.scheme", "http");
    if let Some(client) = request.remote_addr().as_socket_addr() {
        span.set("client.address", client.ip().to_string());
    }
    if let Some(agent) = request.header("user-agent") {
        span.set("user_agent.original", agent.to_owned());
    }
    span.set("longshore.request_id", id.to_str().unwrap_or_default().to_owned());
    if let Some(own) = span.traceparent().and_then(|own| HeaderValue::try_from(own).ok()) {
        request.headers_mut().insert(TRACEPARENT, own);
    }
    span
}

/// Which trace the request belongs to, whoever has begun it.
pub(super) fn trace_id(request: &Request) -> Option<String> {
    trace::trace_id(request.header(TRACEPARENT)?).map(str::to_owned)
}

/// Says what was answered, and ends it.
pub(super) fn end(span: &Span, method: &Method, matched: &Matched, response: &Response) {
    if !trace::on() {
        return;
    }
    if let Some(route) = matched.path() {
        span.rename(format!("{method} {route}"));
        span.set("http.route", route.to_string());
    }
    let status = response.status();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    // of what the caller did wrong, the call's own span tells
    if status.is_server_error() {
        span.fail(status.as_str().to_owned(), &cause(response));
    }
    span.end();
}
