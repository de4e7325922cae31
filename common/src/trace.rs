//! Traces: which work followed from which, and how long each piece took. Spans are OpenTelemetry's; they leave by OTLP, and
//! only where `traces.endpoint` says where to. The identity of a span passes from process to process as a `traceparent`, by
//! W3C Trace Context.
//!
//! Where there are no traces, [`on`] is all that is asked, and every [`Span`] is nothing.

pub(crate) mod export;

use std::{
    borrow::Cow,
    sync::atomic::{AtomicBool, Ordering},
};

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// What spans of ours bear, so that the log leaves them out: its lines say the same at their ends.
pub(crate) const TARGET: &str = "longshore_trace";

/// Bytes of an error that a span quotes.
const QUOTED: usize = 2 * 1024;

static ON: AtomicBool = AtomicBool::new(false);

/// Whether this process makes spans.
pub fn on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Spans are made from now on, or none any more.
pub(crate) fn turn(on: bool) {
    ON.store(on, Ordering::Relaxed);
}

/// Whether a value is a `traceparent`: `version-trace-parent-flags`, in lower-case hexadecimal, of which neither id may be all
/// zeroes.
pub fn is_traceparent(value: &str) -> bool {
    parts(value).is_some()
}

/// The id of the trace that a `traceparent` belongs to.
pub fn trace_id(traceparent: &str) -> Option<&str> {
    parts(traceparent).map(|(trace, ..)| trace)
}

/// Trace, parent and flags.
fn parts(value: &str) -> Option<(&str, &str, &str)> {
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let id = |part: &str, length| hex(part, length) && part.bytes().any(|b| b != b'0');
    let mut parts = value.split('-');
    let mut next = || parts.next().unwrap_or_default();
    let (version, trace, parent, flags) = (next(), next(), next(), next());
    // later versions may have more parts, and "ff" will never be one
    let good = hex(version, 2) && version != "ff" && id(trace, 32) && id(parent, 16) && hex(flags, 2) && (version != "00" || parts.next().is_none());
    good.then_some((trace, parent, flags))
}

fn remote(traceparent: &str) -> Option<SpanContext> {
    let (trace, parent, flags) = parts(traceparent)?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    Some(SpanContext::new(TraceId::from_hex(trace).ok()?, SpanId::from_hex(parent).ok()?, flags, true, TraceState::NONE))
}

/// What a span is to its parent, in OpenTelemetry's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Answers a request.
    Server,
    /// Makes a call.
    Client,
    /// Works on what somebody has left to be done.
    Consumer,
    /// Within one process.
    Internal,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Consumer => "consumer",
            Self::Internal => "internal",
        }
    }
}

/// A piece of work with a beginning and an end; nothing where there are no traces. Cheap to clone. It ends by [`end`](Self::end),
/// or when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Span(tracing::Span);

impl Span {
    /// Nothing.
    pub fn none() -> Self {
        Self(tracing::Span::none())
    }

    /// One whose parent is elsewhere, or which begins a trace.
    pub fn below(traceparent: Option<&str>, role: Role, name: &str) -> Self {
        if !on() {
            return Self::none();
        }
        let span = tracing::info_span!(target: TARGET, parent: None, "span", otel.name = name, otel.kind = role.word());
        if let Some(parent) = traceparent.and_then(remote) {
            // fails where somebody else's subscriber is in place, which makes no spans
            let _ = span.set_parent(Context::new().with_remote_span_context(parent));
        }
        Self(span)
    }

    /// One below that in which this is called.
    pub fn here(role: Role, name: &str) -> Self {
        if !on() {
            return Self::none();
        }
        Self(tracing::info_span!(target: TARGET, "span", otel.name = name, otel.kind = role.word()))
    }

    /// Its identity, for whoever goes on with the trace; `None`: it is nothing.
    pub fn traceparent(&self) -> Option<String> {
        if self.0.is_none() {
            return None;
        }
        let context = self.0.context();
        let of = context.span().span_context().clone();
        let flags = (of.trace_flags() & TraceFlags::SAMPLED).to_u8();
        of.is_valid().then(|| format!("00-{}-{}-{flags:02x}", of.trace_id(), of.span_id()))
    }

    /// Names it anew.
    pub fn rename(&self, name: String) {
        if !self.0.is_none() {
            self.0.context().span().update_name(name);
        }
    }

    /// Says something of it.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        if !self.0.is_none() {
            self.0.set_attribute(key, value);
        }
    }

    /// It went well, whatever errors were told within it.
    pub fn succeed(&self) {
        if !self.0.is_none() {
            self.0.set_status(Status::Ok);
        }
    }

    /// It went wrong: by what sort of error, a word of few, and how in detail.
    pub fn fail(&self, sort: impl Into<Cow<'static, str>>, error: &str) {
        if self.0.is_none() {
            return;
        }
        let (sort, error) = (sort.into(), error[..error.floor_char_boundary(QUOTED)].to_owned());
        self.0.set_attribute("error.type", sort.clone());
        if !error.is_empty() {
            self.0.add_event("exception", vec![KeyValue::new("exception.type", sort), KeyValue::new("exception.message", error.clone())]);
        }
        self.0.set_status(Status::error(error));
    }

    /// Ends it now, though clones of it are still there.
    pub fn end(&self) {
        if !self.0.is_none() {
            self.0.context().span().end();
        }
    }

    /// Runs a future within it: what makes spans there makes children of it.
    pub fn around<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        future.instrument(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_taken_if_it_is_one() {
        for good in
            ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings"]
        {
            assert!(is_traceparent(good), "{good}");
            assert_eq!(trace_id(good), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
            assert!(remote(good).is_some_and(|context| context.is_valid() && context.is_sampled()), "{good}");
        }
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }

    #[test]
    fn where_there_are_no_traces_a_span_is_nothing() {
        let span = Span::below(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), Role::Consumer, "run echo");
        assert!(!on() && span.0.is_none());
        assert_eq!(span.traceparent(), None);
        assert!(Span::here(Role::Client, "POST").0.is_none());
    }
}
