//! One attempt: from a lease to an outcome. Whatever a job does wrong (an error, a panic, running too long) ends as the
//! outcome of this attempt, and touches no other.

use std::{any::Any, panic::AssertUnwindSafe, pin::pin, time::Duration};

use futures_util::FutureExt;
use longshore_common::{duration, outcome::Outcome};
use tokio_util::sync::CancellationToken;

use crate::handler::{AnyHandler, Context, Handled, HandlerError};

/// What the handler of a cancelled job has to end by itself, before it is dropped where it waits; and past its deadline one that
/// lingers.
pub(crate) const TO_END: Duration = Duration::from_secs(5);

/// How an attempt ended for this worker.
#[derive(Debug)]
pub(crate) enum Ended {
    /// With an outcome, which is to be reported.
    With(Outcome),
    /// Somebody else goes on with it, and reports it.
    GivenAway,
}

/// Runs one attempt to its end. Where `cancellation` is cancelled meanwhile, the job is to be cancelled; the token of the
/// context is below it.
pub(crate) async fn run(context: Context, handler: &dyn AnyHandler, cancellation: CancellationToken) -> Ended {
    if context.job.expired {
        return Ended::With(Outcome::Expired);
    }
    // However this future ends, also when it is dropped, what the handler has started elsewhere hears of it.
    let told = context.cancellation.clone();
    let _cancel_at_end = told.clone().drop_guard();
    let (timeout, deadline) = (context.job.timeout, context.deadline);
    let mut handling = pin!(call(handler, context));
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
        result = &mut handling => result,
        () = ignored => {
            let error = format!("it did not end within {} of being cancelled, and was dropped", duration::display(TO_END));
            return Ended::With(Outcome::Cancelled { error: Some(error) });
        }
        () = too_late => {
            if handler.lingers() {
                // the next attempt, and whoever waits for the slot, is not to meet what is left of this one
                told.cancel();
                let _ = tokio::time::timeout(TO_END, handling).await;
            }
            return Ended::With(Outcome::TimedOut { error: timed_out(timeout) });
        }
    };
    Ended::With(match result {
        Ok(Handled::GivenAway) => return Ended::GivenAway,
        Ok(Handled::Lost { error }) => Outcome::Lost { error },
        Err(error) if cancellation.is_cancelled() => Outcome::Cancelled { error: error.into_text() },
        // also of a job that is to be cancelled: its work is done
        Ok(Handled::Done(result)) => Outcome::Succeeded { result },
        Err(HandlerError::Failed { error, retry_in }) => Outcome::Failed { error, retry_in },
        Err(HandlerError::Discard { error }) => Outcome::Discarded { error },
        Err(HandlerError::Snooze { delay }) => Outcome::Snoozed { delay },
    })
}

/// Calls the handler; that it panics is an error of its own.
pub(crate) async fn call(handler: &dyn AnyHandler, context: Context) -> Result<Handled, HandlerError> {
    let panicked = |panic: Box<dyn Any + Send>| HandlerError::failed(format!("the handler panicked: {}", panic_message(&*panic)));
    // the call itself, too: it may panic before it gives a future
    AssertUnwindSafe(async { handler.run(context).await }).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(panic)))
}

/// What is said of an attempt that ran too long.
pub(crate) fn timed_out(timeout: Option<Duration>) -> String {
    format!("it ran longer than its timeout of {}", duration::display(timeout.unwrap_or_default()))
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
