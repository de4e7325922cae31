//! The span of an attempt, by OpenTelemetry's conventions for messaging: it begins when the job is leased here, and ends with
//! the outcome. Below it is all that the handler does.

use longshore_common::{
    outcome::Outcome,
    store::claim::LeasedJob,
    trace::{self, Role, Span},
};

/// Begins it, where there are traces. The job then goes on with its identity: whatever takes the job's `traceparent` from here
/// on (a command, a service, jobs that its handler enqueues) is below this attempt.
pub(crate) fn begin(job: &mut LeasedJob) -> Span {
    if !trace::on() {
        return Span::none();
    }
    let span = Span::below(job.traceparent.as_deref(), Role::Consumer, &format!("run {}", job.lane.kind));
    span.set("messaging.system", "longshore");
    span.set("messaging.operation.name", "run");
    span.set("messaging.operation.type", "process");
    span.set("messaging.destination.name", job.lane.queue.to_string());
    span.set("messaging.message.id", job.lease.id.to_string());
    span.set("longshore.job.kind", job.lane.kind.to_string());
    span.set("longshore.job.attempt", i64::from(job.attempt));
    span.set("longshore.job.max_attempts", i64::from(job.max_attempts));
    if let Some(request) = &job.request_id {
        span.set("longshore.request_id", request.clone());
    }
    job.traceparent = span.traceparent().or(job.traceparent.take());
    span
}

/// Ends it with what came of the attempt.
pub(crate) fn end(span: &Span, outcome: &Outcome) {
    if !trace::on() {
        return;
    }
    match outcome {
        Outcome::Succeeded { .. } => span.succeed(),
        Outcome::Failed { .. } | Outcome::TimedOut { .. } | Outcome::Discarded { .. } | Outcome::Lost { .. } => {
            span.fail(outcome.word(), outcome.error().as_deref().unwrap_or_default());
        }
        _ => {}
    }
    end_as(span, outcome.word());
}

/// Ends it where its outcome is somebody else's to tell.
pub(crate) fn end_as(span: &Span, outcome: &'static str) {
    span.set("longshore.job.outcome", outcome);
    span.end();
}
