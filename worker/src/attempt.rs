//! One attempt: from a lease to an outcome. Whatever a job does wrong (an error, a panic, running too long) ends as the
//! outcome of this attempt, and touches no other.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use longshore_common::{duration, outcome::Outcome, store::claim::LeasedJob};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::handler::{AnyHandler, Context, HandlerError};

/// Runs one attempt to its end.
pub(crate) async fn run(job: Arc<LeasedJob>, handler: &dyn AnyHandler, deadline: Option<Instant>) -> Outcome {
    if job.expired {
        return Outcome::Expired;
    }
    let cancellation = CancellationToken::new();
    // However this future ends, also when it is dropped, what the handler has started elsewhere hears of it.
    let _cancel_at_end = cancellation.clone().drop_guard();
    let timeout = job.timeout;
    let handling = AssertUnwindSafe(handler.run(Context { job, deadline, cancellation })).catch_unwind();
    let result = match deadline {
        None => handling.await,
        Some(deadline) => match tokio::time::timeout_at(deadline, handling).await {
            Ok(result) => result,
            Err(_) => return Outcome::TimedOut { error: timed_out(timeout) },
        },
    };
    match result {
        Ok(Ok(result)) => Outcome::Succeeded { result },
        Ok(Err(HandlerError::Failed { error, retry_in })) => Outcome::Failed { error, retry_in },
        Ok(Err(HandlerError::Discard { error })) => Outcome::Discarded { error },
        Ok(Err(HandlerError::Snooze { delay })) => Outcome::Snoozed { delay },
        Err(panic) => Outcome::Failed { error: format!("the handler panicked: {}", panic_message(&*panic)), retry_in: None },
    }
}

/// What is said of an attempt that ran too long.
pub(crate) fn timed_out(timeout: Option<std::time::Duration>) -> String {
    format!("it ran longer than its timeout of {}", duration::display(timeout.unwrap_or_default()))
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
