//! Problems (RFC 9457): the one place where an error becomes a status and words for the caller. What the log keeps, the
//! cause, goes another way: it is never part of the answer.

mod kind;

use std::{borrow::Cow, sync::Arc, time::Duration};

use longshore_common::{
    duration,
    fault::Fault,
    job::{InvalidJob, JobState, Malformed, NotNow},
    key::Scope,
    log,
    store::{Cause as AwayCause, StoreError, control::ControlError, workflows::WorkflowError},
};
use poem::{
    Response,
    error::ResponseError,
    http::{HeaderValue, StatusCode, header},
};
use serde::Serialize;

use crate::routes::jobs::held;

pub use self::kind::Kind;

/// The media type of every problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The body is not what its content type says.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The input breaks rules.
    #[error("{} faults in the input", .0.len())]
    Invalid(Vec<Fault>),
    /// Made for a name that the API does not answer to.
    #[error("refused host \"{0}\"")]
    UnknownHost(String),
    /// A browser made it for another site.
    #[error("refused a cross-site request")]
    CrossSite,
    /// It bears no API key, or none that is known; the text says which, and what helps.
    #[error("no API key that is known")]
    Unauthorized(&'static str),
    /// Its API key is not for this.
    #[error("API key \"{key}\" does not have the scope {scope}")]
    OutOfScope {
        /// The key's name.
        key: String,
        /// What it would need.
        scope: Scope,
    },
    /// Its API key does not reach to that queue.
    #[error("API key \"{key}\" does not reach to queue \"{queue}\"")]
    OutOfQueues {
        /// The key's name.
        key: String,
        /// The queue that was named.
        queue: String,
        /// What was to be done there.
        scope: Scope,
        /// Where the queue was named.
        fault: Fault,
    },
    /// Its API key is limited to queues, and this is about the whole.
    #[error("API key \"{key}\" is limited to queues")]
    Limited {
        /// The key's name.
        key: String,
    },
    /// There is nothing at that path.
    #[error("no such path")]
    NoSuchPath,
    /// There is no such thing.
    #[error("no such {what}")]
    NotFound {
        /// What was asked for, such as "job".
        what: &'static str,
        /// Which.
        name: String,
    },
    /// The path is there, but does not know the method.
    #[error("method not allowed")]
    MethodNotAllowed {
        /// Which it knows, as in the header `Allow`.
        allowed: String,
    },
    /// A unique key with `on_conflict: reject` is held.
    #[error("unique key held by job {standing}")]
    KeyHeld {
        /// Pointer to the key.
        pointer: String,
        /// The key.
        key: String,
        /// Who holds it.
        standing: i64,
    },
    /// A unique key is held in a queue to which the request's API key does not reach.
    #[error("unique key held in another queue")]
    KeyHeldElsewhere {
        /// Pointer to the key.
        pointer: String,
        /// The key.
        key: String,
    },
    /// What was asked does not go with the state that the job is in.
    #[error("{0}")]
    NotNow(NotNow),
    /// The lease has ended: the job is another's, or done with.
    #[error("the lease of job {id} has ended")]
    StaleLease {
        /// The job.
        id: i64,
        /// What it is now.
        state: JobState,
    },
    /// A worker that leases over HTTP calls itself as one of Longshore's own does.
    #[error("the name \"{0}\" is taken")]
    NameTaken(String),
    /// The same request, by its idempotency key, is being done at this moment.
    #[error("a request with this idempotency key is under way")]
    UnderWay,
    /// A job that is to be retried has a unique key that another one holds.
    #[error("the unique key of job {id} is held by another")]
    RetryKeyHeld {
        /// The job.
        id: i64,
        /// Who holds its key; `None`: a job of a queue to which the request's API key does not reach.
        standing: Option<i64>,
    },
    /// As many jobs wait in a queue as may.
    #[error("queue \"{queue}\" is full")]
    QueueFull {
        /// Which.
        queue: String,
    },
    /// What was asked does not go with the state that a workflow is in.
    #[error(transparent)]
    Workflow(WorkflowError),
    /// A queue that is to be deleted holds jobs.
    #[error("queue \"{queue}\" holds jobs")]
    QueueHolds {
        /// Which.
        queue: String,
        /// How many, counted to 10,001.
        jobs: i32,
    },
    /// Jobs of a queue that is to be purged run.
    #[error("jobs of queue \"{queue}\" run")]
    QueueRuns {
        /// Which.
        queue: String,
        /// How many.
        running: i32,
    },
    /// The body is larger than is allowed.
    #[error("body larger than {0} bytes")]
    TooLarge(usize),
    /// The body is of another media type.
    #[error("unsupported media type \"{found}\"")]
    UnsupportedMediaType {
        /// Which.
        found: String,
        /// Which may be.
        allowed: &'static str,
    },
    /// The connection broke, or the body is not framed as HTTP asks.
    #[error("the body could not be read")]
    BodyUnread(#[source] std::io::Error),
    /// As many requests wait for jobs as may.
    #[error("too many requests wait")]
    TooManyWait,
    /// As many read events as may.
    #[error("too many readers of events")]
    TooManyRead,
    /// It was not done in time.
    #[error("not done within {}", duration::display(*.0))]
    TimedOut(Duration),
    /// The database has no schema yet.
    #[error("the schema is not there yet")]
    NoSchema,
    /// The store could not do it.
    #[error(transparent)]
    Store(StoreError),
    /// A fault of ours.
    #[error("the handler panicked: {0}")]
    Panicked(String),
}

/// What the log keeps of a server error, beside the response that the caller gets.
#[derive(Debug, Clone)]
pub struct Cause(pub Arc<str>);

/// The body of a problem.
#[derive(Debug, Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: Cow<'a, str>,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
}

impl ApiError {
    /// The one table: what sort of problem an error is, and what the caller is told.
    fn answer(&self) -> (Kind, Cow<'_, str>) {
        match self {
            Self::Malformed(detail) => (Kind::Malformed, detail.into()),
            Self::Invalid(faults) => (
                Kind::Invalid,
                match &faults[..] {
                    // a header is named by the detail itself
                    [one] if one.detail.starts_with("header ") => one.detail.to_string().into(),
                    [one] => format!("{} {}", if one.pointer.is_empty() { "the body" } else { &one.pointer }, one.detail).into(),
                    many => format!("{} faults; each is in errors", many.len()).into(),
                },
            ),
            Self::UnknownHost(host) => (
                Kind::Forbidden,
                format!(
                    "this API does not answer to the name \"{host}\"; names besides IPs, localhost and those without dots are listed in LONGSHORE_API__HOSTS"
                )
                .into(),
            ),
            Self::CrossSite => (Kind::Forbidden, "a browser says that this request comes from another site; such may not change anything".into()),
            Self::Unauthorized(why) => (Kind::Unauthorized, (*why).into()),
            Self::OutOfScope { key, scope } => (
                Kind::Forbidden,
                format!("API key \"{key}\" does not have the scope {scope}, which this needs; one that does: longshore keys create --name … --scope {scope}")
                    .into(),
            ),
            Self::OutOfQueues { key, queue, scope, .. } => (
                Kind::Forbidden,
                format!("API key \"{key}\" does not reach to queue \"{queue}\"; one that does: longshore keys create --name … --scope {scope} --queue {queue}")
                    .into(),
            ),
            Self::Limited { key } => (Kind::Forbidden, limited(key).into()),
            Self::NoSuchPath => (Kind::NotFound, "there is nothing at this path; GET /openapi.json lists all".into()),
            Self::NotFound { what, name } => (Kind::NotFound, format!("there is no {what} {name}").into()),
            Self::MethodNotAllowed { allowed } => (Kind::MethodNotAllowed, format!("allowed are {allowed}").into()),
            Self::KeyHeld { key, standing, .. } => (Kind::Conflict, format!("the unique key \"{key}\" is held by job {standing}").into()),
            Self::KeyHeldElsewhere { key, .. } => (
                Kind::Conflict,
                format!("the unique key \"{key}\" is held by a job of a queue to which this API key does not reach; nothing was enqueued").into(),
            ),
            Self::NotNow(why) => (Kind::Conflict, why.to_string().into()),
            Self::StaleLease { id, state: JobState::Running } => {
                (Kind::Conflict, format!("this lease of job {id} has ended, and the job runs under another one; nothing was changed").into())
            }
            Self::StaleLease { id, state } => (
                Kind::Conflict,
                format!(
                    "this lease of job {id} has ended, and another outcome or none was recorded under it; the job is {}; nothing was changed",
                    state.word()
                )
                .into(),
            ),
            Self::NameTaken(name) => (Kind::Conflict, format!("\"{name}\" is the id of one of Longshore's own workers; call yours something else").into()),
            Self::UnderWay => (Kind::Conflict, "a request with this Idempotency-Key is under way; its answer is there in a moment".into()),
            Self::RetryKeyHeld { id, standing: Some(standing) } => (Kind::Conflict, format!("the unique key of job {id} is held by job {standing}").into()),
            Self::RetryKeyHeld { id, standing: None } => {
                (Kind::Conflict, format!("the unique key of job {id} is held by a job of a queue to which this API key does not reach").into())
            }
            Self::Workflow(why) => (Kind::Conflict, workflow_conflict(why).into()),
            Self::QueueFull { queue } => {
                (Kind::QueueFull, format!("as many jobs wait in queue \"{queue}\" as its max_waiting allows; nothing was enqueued").into())
            }
            Self::QueueHolds { queue, jobs } => {
                let held = if *jobs > 10_000 { "more than 10,000 jobs".to_owned() } else { plural(*jobs) };
                (Kind::Conflict, format!("queue \"{queue}\" holds {held}; ?purge=true forgets those that do not run").into())
            }
            Self::QueueRuns { queue, running } => {
                (Kind::Conflict, format!("{} of queue \"{queue}\" run; pause it, and cancel them or wait", plural(*running)).into())
            }
            Self::TooLarge(limit) => (Kind::TooLarge, format!("at most {limit} bytes are allowed").into()),
            Self::UnsupportedMediaType { found, allowed } => (Kind::UnsupportedMediaType, format!("\"{found}\" is not taken here; send {allowed}").into()),
            Self::BodyUnread(_) => (Kind::Malformed, "the body ended early or could not be read".into()),
            Self::TimedOut(limit) => (Kind::Unavailable, format!("not done within {}; it is not known whether it will be", duration::display(*limit)).into()),
            Self::TooManyWait => (Kind::Unavailable, "as many requests wait for jobs as may at once; ask without wait, or later".into()),
            Self::TooManyRead => (Kind::Unavailable, "as many read events as may at once; try again later".into()),
            Self::NoSchema => {
                (Kind::Unavailable, "the schema is not there yet: the database has not been reached since the start, or is being migrated".into())
            }
            Self::Store(StoreError::Unavailable { source, .. }) => (
                Kind::Unavailable,
                match source.cause {
                    AwayCause::Silent => "the database did not answer in time; it is not known whether it will",
                    AwayCause::PoolInUse => "all connections to the database are in use",
                    AwayCause::Locked => "somebody's open transaction in the database holds what this needs; `longshore doctor` names it",
                    _ => "the database is away",
                }
                .into(),
            ),
            Self::Store(StoreError::TooWide { .. }) => {
                (Kind::Unavailable, "the search for these jobs takes too long: it leads to too many that do not meet the filter; narrow it".into())
            }
            Self::Store(
                StoreError::KeyHeld { .. }
                | StoreError::KeyHeldElsewhere { .. }
                | StoreError::QueueFull { .. }
                | StoreError::Refused { .. }
                | StoreError::Corrupt { .. },
            )
            | Self::Panicked(_) => (Kind::Internal, "the log says more, under this request's x-request-id".into()),
        }
    }

    /// What the log keeps of it, where it is the server's.
    pub fn cause(&self) -> Option<Cause> {
        self.status().is_server_error().then(|| Cause(log::chain(self).into()))
    }

    /// The faults that go with it.
    fn faults(&self) -> Cow<'_, [Fault]> {
        match self {
            Self::Invalid(faults) => faults.into(),
            Self::KeyHeld { pointer, standing, .. } => vec![Fault { pointer: pointer.clone(), detail: format!("is held by job {standing}").into() }].into(),
            Self::KeyHeldElsewhere { pointer, .. } => {
                vec![Fault { pointer: pointer.clone(), detail: "is held by a job of a queue to which this API key does not reach".into() }].into()
            }
            Self::OutOfQueues { fault, .. } => vec![fault.clone()].into(),
            _ => (&[]).into(),
        }
    }
}

/// Why a key that is limited to queues does not see what concerns all.
fn limited(key: &str) -> String {
    format!("API key \"{key}\" is limited to queues, and this is about all of them; one that is not: longshore keys create --name … --scope read")
}

/// Why a workflow cannot be changed so.
fn workflow_conflict(why: &WorkflowError) -> String {
    match why {
        WorkflowError::Over(id) => format!("workflow {id} is over: all of its jobs are finished"),
        WorkflowError::NothingFailed(id) => format!("no job of workflow {id} has failed; only what failed, and what was cancelled because of it, is retried"),
        WorkflowError::Changed(id) => format!("workflow {id} was changed meanwhile; nothing was added; read it, and try again"),
        why => why.to_string(),
    }
}

impl ResponseError for ApiError {
    fn status(&self) -> StatusCode {
        self.answer().0.facts().2
    }

    fn as_response(&self) -> Response {
        let (kind, detail) = self.answer();
        let (uri, title, status) = kind.facts();
        let problem = Problem { r#type: uri, title, status: status.as_u16(), detail, errors: &self.faults() };
        let body = serde_json::to_vec(&problem).expect("texts and numbers are JSON");
        let mut response = Response::builder().status(status).content_type(MEDIA_TYPE).body(body);
        if let Self::MethodNotAllowed { allowed } = self
            && let Ok(allowed) = HeaderValue::from_str(allowed)
        {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) || matches!(self, Self::UnderWay) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(cause) = self.cause() {
            response.set_data(cause);
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NoJob(id) => Self::NotFound { what: "job", name: id.to_string() },
            ControlError::NotNow { why, .. } => Self::NotNow(why),
            ControlError::KeyHeld { id, standing } => Self::RetryKeyHeld { id, standing: Some(standing) },
            ControlError::TooFewAttempts { attempt, .. } => Self::Invalid(vec![Fault {
                pointer: "/max_attempts".to_owned(),
                detail: format!("must be above {attempt}: the job has had as many attempts").into(),
            }]),
            ControlError::Store(error) => Self::Store(error),
        }
    }
}

impl From<WorkflowError> for ApiError {
    fn from(error: WorkflowError) -> Self {
        match error {
            WorkflowError::NotThere(id) => Self::NotFound { what: "workflow", name: id.to_string() },
            WorkflowError::KeyHeld { id, standing } => Self::RetryKeyHeld { id, standing: Some(standing) },
            WorkflowError::Store(error) => held(error, |index| format!("/jobs/{index}/unique/key")),
            other => Self::Workflow(other),
        }
    }
}

impl From<InvalidJob> for ApiError {
    fn from(error: InvalidJob) -> Self {
        match error {
            InvalidJob::Malformed(Malformed { detail }) => Self::Malformed(detail),
            InvalidJob::Faults(faults) => Self::Invalid(faults),
        }
    }
}

fn plural(jobs: i32) -> String {
    if jobs == 1 { "1 job".to_owned() } else { format!("{jobs} jobs") }
}

/// Poem's own errors as ours.
pub fn from_poem(error: poem::Error) -> Response {
    let status = error.status();
    let ours = match status {
        StatusCode::NOT_FOUND => ApiError::NoSuchPath,
        // a name that is not UTF-8: nothing has it
        _ if error.is::<poem_openapi::error::ParsePathError>() => ApiError::NoSuchPath,
        status if status.is_client_error() => ApiError::Malformed(error.to_string()),
        _ => ApiError::Panicked(log::chain(&error)),
    };
    if error.is::<ApiError>() { error.into_response() } else { ours.as_response() }
}

#[cfg(test)]
mod tests;
