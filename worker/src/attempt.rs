//! One attempt: from a lease to an outcome. Whatever a job does wrong (an error, a panic, running too long) ends as the
//! outcome of this attempt, and touches no other.

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use longshore_common::{duration, outcome::Outcome};
use tokio_util::sync::CancellationToken;

use crate::handler::{AnyHandler, Context, HandlerError};

/// What a cancelled job's handler has to end by itself, before it is dropped where it waits.
pub(crate) const TO_END: Duration = Duration::from_secs(5);

/// Runs one attempt to its end. Where `cancellation` is cancelled meanwhile, the job is to be cancelled; the token of the
/// context is below it.
pub(crate) async fn run(context: Context, handler: &dyn AnyHandler, cancellation: CancellationToken) -> Outcome {
    if context.job.expired {
        return Outcome::Expired;
    }
    // However this future ends, also when it is dropped, what the handler has started elsewhere hears of it.
    let _cancel_at_end = context.cancellation.clone().drop_guard();
    let (timeout, deadline) = (context.job.timeout, context.deadline);
    let handling = AssertUnwindSafe(handler.run(context)).catch_unwind();
    let too_late = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    let ignored = async {
        cancellation.cancelled().await;
        tokio::time::sleep(TO_END).await;
    };
    let result = tokio::select! {
        biased;
        result = handling => result,
        () = ignored => return Outcome::Cancelled { error: Some(format!("it did not end within {} of being cancelled, and was dropped", duration::display(TO_END))) },
        () = too_late => return Outcome::TimedOut { error: timed_out(timeout) },
    };
    match result {
        Ok(Err(error)) if cancellation.is_cancelled() => Outcome::Cancelled { error: error.into_text() },
        // also of a job that is to be cancelled: its work is done
        Ok(Ok(result)) => Outcome::Succeeded { result },
        Ok(Err(HandlerError::Failed { error, retry_in })) => Outcome::Failed { error, retry_in },
        Ok(Err(HandlerError::Discard { error })) => Outcome::Discarded { error },
        Ok(Err(HandlerError::Snooze { delay })) => Outcome::Snoozed { delay },
        Err(panic) => Outcome::Failed { error: format!("the handler panicked: {}", panic_message(&*panic)), retry_in: None },
    }
}

/// What is said of an attempt that ran too long.
pub(crate) fn timed_out(timeout: Option<Duration>) -> String {
    format!("it ran longer than its timeout of {}", duration::display(timeout.unwrap_or_default()))
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
