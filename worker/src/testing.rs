//! For users' tests: a handler runs without a server and without a database.
//!
//! ```
//! use longshore_worker::{Context, Handler, HandlerError, Job, Outcome, testing::Trial};
//!
//! struct Import;
//!
//! impl Handler for Import {
//!     type Args = Vec<String>;
//!     type Output = usize;
//!
//!     async fn handle(&self, lines: Vec<String>, context: Context) -> Result<usize, HandlerError> {
//!         let done: usize = context.checkpoint().await?.unwrap_or(0);
//!         for line in &lines[done..] {
//!             context.enqueue(&Job::new("index", line).queue("slow")).await?;
//!         }
//!         context.set_checkpoint(lines.len())?;
//!         context.log("all are on their way");
//!         Ok(lines.len() - done)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tried = Trial::of(Import).args(["a", "b", "c"]).attempt(2).checkpoint(1).run().await;
//! assert_eq!(tried.result::<usize>()?, 2);
//! assert_eq!(tried.checkpoint::<usize>()?, Some(3));
//! assert_eq!(tried.log, "all are on their way\n");
//! assert_eq!(tried.enqueued.iter().map(|job| &*job.queue).collect::<Vec<_>>(), ["slow", "slow"]);
//!
//! let tried = Trial::of(Import).args("no list").run().await;
//! assert!(matches!(tried.outcome, Outcome::Failed { .. }));
//! # Ok(())
//! # }
//! ```
//!
//! What a trial does not have is the database: [`Context::transaction`] is refused there. A handler that has one is tested with a
//! worker: [`run`](crate::run) and a database of the test's own.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use longshore_common::{
    job::{Kind, NewJob, QueueName},
    json::{Error, RawJson},
    outcome::Outcome,
    store::{
        claim::{Lease, LeasedJob},
        directory::Lane,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    attempt::{self, Ended},
    handler::{
        Context, Handler,
        desk::{Completed, Desk, Told},
    },
};

/// One attempt of one job that is to be tried.
#[derive(Debug, Clone)]
pub struct Trial<H> {
    handler: H,
    job: LeasedJob,
    checkpoint: Option<RawJson>,
    cancel_after: Option<Duration>,
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct Tried {
    /// How it ended. A panic is [`Outcome::Failed`], as in a worker.
    pub outcome: Outcome,
    /// What the handler logged, a line a call.
    pub log: String,
    /// What it enqueued, checked by every rule, in its order; [`Context::enqueue`] answered with 1, 2 and so on.
    pub enqueued: Vec<NewJob>,
    progress: Option<RawJson>,
    checkpoint: Option<RawJson>,
}

impl<H: Handler> Trial<H> {
    /// Of a job with args `{}`, in the queue "default", of the kind "trial", with no timeout; its times are 1970.
    pub fn of(handler: H) -> Self {
        let name = "trial";
        let lane = Lane { lane: 0, queue: QueueName::default(), kind: Kind::new(name).expect("is a kind") };
        let job = LeasedJob {
            lease: Lease { id: 1, lease: 1 },
            lane: Arc::new(lane),
            attempt: 1,
            losses: 0,
            max_attempts: 25,
            priority: 0,
            run_at: Timestamp::UNIX_EPOCH,
            created_at: Timestamp::UNIX_EPOCH,
            started_at: Timestamp::UNIX_EPOCH,
            timeout: None,
            limited: false,
            expired: false,
            request_id: None,
            traceparent: None,
            tags: Vec::new(),
            meta: None,
            parents: None,
            args: RawJson::empty_object(),
        };
        Self { handler, job, checkpoint: None, cancel_after: None }
    }

    /// With these args.
    ///
    /// # Panics
    /// Where they cannot be written as JSON.
    #[must_use]
    pub fn args(mut self, args: impl Serialize) -> Self {
        self.job.args = RawJson::from_value(&args).expect("args that can be written as JSON");
        self
    }

    /// The attempt of that number, from 1.
    #[must_use]
    pub fn attempt(mut self, attempt: i16) -> Self {
        self.job.attempt = attempt;
        self
    }

    /// After an attempt that kept this.
    ///
    /// # Panics
    /// Where it cannot be written as JSON.
    #[must_use]
    pub fn checkpoint(mut self, checkpoint: impl Serialize) -> Self {
        self.checkpoint = Some(RawJson::from_value(&checkpoint).expect("a checkpoint that can be written as JSON"));
        self
    }

    /// Ended after that long.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.job.timeout = Some(timeout);
        self
    }

    /// Cancelled by somebody after that long.
    #[must_use]
    pub fn cancel_after(mut self, length: Duration) -> Self {
        self.cancel_after = Some(length);
        self
    }

    /// With the job changed at will: its kind, queue, tags and the rest.
    #[must_use]
    pub fn job(mut self, change: impl FnOnce(&mut LeasedJob)) -> Self {
        change(&mut self.job);
        self
    }

    /// Runs the attempt, as a worker does.
    pub async fn run(self) -> Tried {
        let Self { handler, job, checkpoint, cancel_after } = self;
        let told = Arc::new(Mutex::new(Told::default()));
        told.lock().expect("no panic while held").notes.checkpoint = checkpoint;
        let cancellation = CancellationToken::new();
        let context = Context {
            deadline: job.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            job: Arc::new(job),
            cancellation: cancellation.child_token(),
            completed: Completed::default(),
            desk: Desk::Trial(told.clone()),
        };
        let cancel = async {
            match cancel_after {
                Some(length) => tokio::time::sleep(length).await,
                None => std::future::pending().await,
            }
            cancellation.cancel();
            std::future::pending().await
        };
        let ended = tokio::select! {
            ended = attempt::run(context, &handler, cancellation.clone()) => ended,
            never = cancel => never,
        };
        let outcome = match ended {
            Ended::With(outcome) => outcome,
            Ended::GivenAway => Outcome::HandedBack, // no handler of a user's does
        };
        let Told { notes, enqueued } = std::mem::take(&mut *told.lock().expect("no panic while held"));
        Tried { outcome, log: notes.log, enqueued, progress: notes.progress, checkpoint: notes.checkpoint }
    }
}

impl Tried {
    /// The result of a success.
    ///
    /// # Errors
    /// Where it is no `T`.
    ///
    /// # Panics
    /// Where it did not succeed, with how it ended.
    pub fn result<T: DeserializeOwned>(&self) -> Result<T, Error> {
        match &self.outcome {
            Outcome::Succeeded { result: Some(result) } => result.read(),
            Outcome::Succeeded { result: None } => serde_json::from_str("null"),
            other => panic!("it did not succeed: {other:?}"),
        }
    }

    /// How far it told to be last.
    ///
    /// # Errors
    /// Where that is no `T`.
    pub fn progress<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.progress.as_ref().map(RawJson::read).transpose()
    }

    /// What the next attempt would find: what this one kept last, or what it found itself.
    ///
    /// # Errors
    /// Where that is no `T`.
    pub fn checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.checkpoint.as_ref().filter(|checkpoint| checkpoint.as_str() != "null").map(RawJson::read).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HandlerError, Job, TransactionError};

    /// Does what its args say.
    struct Does;

    impl Handler for Does {
        type Args = String;
        type Output = Option<u8>;

        async fn handle(&self, what: String, context: Context) -> Result<Option<u8>, HandlerError> {
            match &*what {
                "panic" => panic!("as told"),
                "transact" => match context.transaction().await {
                    Err(error @ TransactionError::NoDatabase) => Err(error.into()),
                    other => panic!("{other:?}"),
                },
                "wait" => {
                    context.progress(0.5)?;
                    context.cancellation().cancelled().await;
                    Err(HandlerError::failed("cancelled"))
                }
                "forget" => {
                    context.set_checkpoint(())?;
                    Ok(context.checkpoint().await?)
                }
                kind => Ok(Some(u8::try_from(context.enqueue(&Job::new(kind, ())).await?)?)),
            }
        }
    }

    #[tokio::test]
    async fn an_attempt_ends_as_in_a_worker() {
        let tried = async |what: &str| Trial::of(Does).args(what).checkpoint(7).run().await;
        let failed = |error: &str| Outcome::Failed { error: error.to_owned(), retry_in: None };
        assert_eq!(tried("panic").await.outcome, failed("the handler panicked: as told"));
        assert_eq!(tried("transact").await.outcome, failed("there is no database here: a trial has none"));
        assert_eq!(tried("no kind").await.outcome, failed("the job is not valid: /kind must be 1 to 128 of the characters A-Z a-z 0-9 _ . : -"));
        assert_eq!(tried("follow").await.result::<u8>().expect("a number"), 1);
        assert_eq!(tried("follow").await.checkpoint::<u8>().expect("a number"), Some(7));
        let forgets = tried("forget").await;
        assert_eq!((forgets.result::<Option<u8>>().expect("null"), forgets.checkpoint::<u8>().expect("none")), (None, None));
    }

    #[tokio::test]
    async fn it_is_cancelled_and_ends_in_time() {
        let cancelled = Trial::of(Does).args("wait").cancel_after(Duration::from_millis(1)).run().await;
        assert_eq!(cancelled.outcome, Outcome::Cancelled { error: Some("cancelled".to_owned()) });
        assert_eq!(cancelled.progress::<f64>().expect("a number"), Some(0.5));
        let late = Trial::of(Does).args("wait").timeout(Duration::from_millis(1)).run().await;
        assert_eq!(late.outcome, Outcome::TimedOut { error: "it ran longer than its timeout of 1ms".to_owned() });
    }
}
