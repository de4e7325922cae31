//! What a user of this crate writes: a handler, with typed args, for a kind of job.

pub mod context;
pub(crate) mod desk;
pub mod transaction;

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use longshore_common::{job::Kind, json::RawJson};
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    context::{Context, NoteError},
    transaction::{Transaction, TransactionError},
};

/// Runs the jobs of one kind. It must not block its thread: use `tokio::task::spawn_blocking` for what takes long without
/// waiting. A job may run more than once (its worker may die after the work and before the report), so what it does
/// should bear being done again.
///
/// ```
/// use longshore_worker::{Context, Handler, HandlerError};
///
/// struct Add;
///
/// #[derive(serde::Deserialize)]
/// struct Numbers {
///     a: i64,
///     b: i64,
/// }
///
/// impl Handler for Add {
///     type Args = Numbers;
///     type Output = i64;
///
///     async fn handle(&self, numbers: Numbers, _: Context) -> Result<i64, HandlerError> {
///         numbers.a.checked_add(numbers.b).ok_or_else(|| HandlerError::discard("the sum does not fit"))
///     }
/// }
/// ```
///
/// One that takes long tells how far it is, and goes on where an earlier attempt came to:
///
/// ```
/// use longshore_worker::{Context, Handler, HandlerError};
///
/// struct Import;
///
/// impl Handler for Import {
///     type Args = Vec<String>;
///     type Output = ();
///
///     async fn handle(&self, lines: Vec<String>, context: Context) -> Result<(), HandlerError> {
///         let done: usize = context.checkpoint().await?.unwrap_or(0);
///         context.log(format!("{} lines, {done} of them done before", lines.len()));
///         for (n, line) in lines.iter().enumerate().skip(done) {
///             import(line).await?;
///             context.set_checkpoint(n + 1)?;
///             context.progress((n + 1) as f64 / lines.len() as f64)?;
///         }
///         Ok(())
///     }
/// }
/// # async fn import(_: &str) -> Result<(), std::fmt::Error> { Ok(()) }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// What the job's args are read as. Args that do not fit fail the attempt.
    type Args: DeserializeOwned + Send + 'static;
    /// What is stored as the job's result.
    type Output: Serialize + Send + 'static;

    /// Runs one attempt.
    fn handle(&self, args: Self::Args, context: Context) -> impl Future<Output = Result<Self::Output, HandlerError>> + Send;
}

/// Why a handler did not succeed. Any error becomes [`HandlerError::Failed`] by `?`.
#[derive(Debug)]
pub enum HandlerError {
    /// This attempt failed; the job is tried again while it has attempts left.
    Failed {
        /// Why.
        error: String,
        /// When; `None`: by the job's backoff.
        retry_in: Option<Duration>,
    },
    /// Trying again is of no use: the job has failed.
    Discard {
        /// Why.
        error: String,
    },
    /// Not now: again after a while, without counting this attempt.
    Snooze {
        /// After how long.
        delay: Duration,
    },
}

impl HandlerError {
    /// This attempt failed.
    pub fn failed(error: impl Into<String>) -> Self {
        Self::Failed { error: error.into(), retry_in: None }
    }

    /// Trying again is of no use.
    pub fn discard(error: impl Into<String>) -> Self {
        Self::Discard { error: error.into() }
    }

    /// What it says, where it says anything.
    pub(crate) fn into_text(self) -> Option<String> {
        match self {
            Self::Failed { error, .. } | Self::Discard { error } => Some(error),
            Self::Snooze { .. } => None,
        }
    }

    /// Not now.
    pub fn snooze(delay: Duration) -> Self {
        Self::Snooze { delay }
    }
}

impl<E: std::error::Error + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::failed(longshore_common::log::chain(&error))
    }
}

/// How a handler ended, where not by an error of its own.
#[derive(Debug)]
pub(crate) enum Handled {
    /// The work is done, with this result.
    Done(Option<RawJson>),
    /// Somebody else does it and reports under the attempt's lease, which hangs on this worker no more
    /// ([`Context::give_away`]).
    GivenAway,
    /// The process that ran it has died.
    Lost {
        /// How.
        error: String,
    },
}

pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Result<Handled, HandlerError>> + Send + 'a>>;

/// A handler whose types are hidden, so that those of all kinds lie in one map.
pub(crate) trait AnyHandler: Send + Sync {
    fn run(&self, context: Context) -> Running<'_>;

    /// Returns when nothing is left of any attempt, those that were dropped included.
    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    /// Whether what it has started goes on for a moment after it was told to end: then its attempt is over when that is, and not before.
    fn lingers(&self) -> bool {
        false
    }

    /// Whether it may take its worker down with it: then a job that has lost two workers is run in a process of its own.
    fn is_dangerous(&self) -> bool {
        false
    }
}

impl<H: Handler> AnyHandler for H {
    fn run(&self, context: Context) -> Running<'_> {
        Box::pin(async move {
            let args = context.job.args.read::<H::Args>().map_err(|error| HandlerError::failed(format!("the args do not fit the handler: {error}")))?;
            let output = self.handle(args, context).await?;
            let result = RawJson::from_value(&output).map_err(|error| HandlerError::failed(format!("the result is not JSON: {error}")))?;
            Ok(Handled::Done((result.as_str() != "null").then_some(result)))
        })
    }

    fn is_dangerous(&self) -> bool {
        true // it is anybody's code, in this process
    }
}

/// What runs one kind.
#[derive(Clone)]
struct Registered {
    handler: Arc<dyn AnyHandler>,
    /// Jobs of this kind that run at once on this worker; `None`: as many as there are slots.
    concurrency: Option<usize>,
}

/// Which handler runs which kind.
#[derive(Default, Clone)]
pub struct Handlers {
    by_kind: BTreeMap<Kind, Registered>,
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.by_kind.keys()).finish()
    }
}

impl Handlers {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a handler; one that was there for this kind is replaced.
    #[must_use]
    pub fn with(self, kind: Kind, handler: impl Handler) -> Self {
        self.with_any(kind, Arc::new(handler), None)
    }

    /// Adds a handler of which at most `concurrency` jobs run at once on this worker, whatever slots are free. The jobs beyond
    /// wait, and delay no other kind.
    #[must_use]
    pub fn with_at_most(self, concurrency: usize, kind: Kind, handler: impl Handler) -> Self {
        self.with_any(kind, Arc::new(handler), Some(concurrency))
    }

    pub(crate) fn with_any(mut self, kind: Kind, handler: Arc<dyn AnyHandler>, concurrency: Option<usize>) -> Self {
        self.by_kind.insert(kind, Registered { handler, concurrency });
        self
    }

    /// The kinds, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.by_kind.keys()
    }

    pub(crate) fn knows(&self, kind: &Kind) -> bool {
        self.by_kind.contains_key(kind)
    }

    pub(crate) fn get(&self, kind: &Kind) -> Option<Arc<dyn AnyHandler>> {
        self.by_kind.get(kind).map(|registered| registered.handler.clone())
    }

    /// Returns when nothing is left of any attempt, on this machine at least.
    pub(crate) async fn settled(&self) {
        for registered in self.by_kind.values() {
            registered.handler.settled().await;
        }
    }

    /// The kinds of which fewer may run at once than there are slots.
    pub(crate) fn limits(&self) -> impl Iterator<Item = (Kind, usize)> {
        self.by_kind.iter().filter_map(|(kind, registered)| Some((kind.clone(), registered.concurrency?)))
    }
}
