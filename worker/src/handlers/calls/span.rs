//! The span of a call, by OpenTelemetry's conventions for HTTP clients: from its first byte until its answer was read, or nobody
//! wants that any more.

use longshore_common::trace::{Role, Span};
use reqwest::{
    Request, StatusCode,
    header::{HeaderName, HeaderValue},
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A call that is under way; ends when dropped.
#[derive(Debug)]
pub(super) struct Call {
    span: Span,
    /// It is known how it went.
    told: bool,
}

impl Call {
    /// Begins it, and tells the service: its `traceparent` is that of the call.
    pub fn begin(request: &mut Request) -> Self {
        let span = Span::here(Role::Client, request.method().as_str());
        if let Some(own) = span.traceparent().and_then(|own| HeaderValue::try_from(own).ok()) {
            request.headers_mut().insert(TRACEPARENT, own);
            let url = request.url();
            // not the path: it may hold a secret
            span.set("http.request.method", request.method().to_string());
            span.set("url.scheme", url.scheme().to_owned());
            span.set("server.address", url.host_str().unwrap_or_default().to_owned());
            span.set("server.port", i64::from(url.port_or_known_default().unwrap_or_default()));
        }
        Self { span, told: false }
    }

    /// The head of the answer is there.
    pub fn answered(&mut self, status: StatusCode) {
        self.told = true;
        self.span.set("http.response.status_code", i64::from(status.as_u16()));
        if status.is_client_error() || status.is_server_error() {
            self.span.fail(status.as_str().to_owned(), "");
        }
    }

    /// No answer comes.
    pub fn failed(&mut self, error: &str) {
        self.told = true;
        self.span.fail("no_answer", error);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.told {
            self.span.fail("given_up", "it was given up before there was an answer: by a time limit, or since the attempt was ended");
        }
        self.span.end();
    }
}
