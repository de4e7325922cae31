//! What a job is: its names, its rules, its states.

pub mod bulk;
pub mod call;
pub mod change;
pub mod cursor;
pub mod fields;
pub mod filter;
pub mod fingerprint;
pub mod lease;
pub mod name;
pub mod new;
pub mod parse;
pub mod queue_settings;
pub mod retry;
pub mod schedule;
pub mod state;
pub mod view;
pub mod workflow;

pub use bulk::{Bulk, Rate};
pub use call::{Call, Effect, NotNow};
pub use change::Change;
pub use filter::JobFilter;
pub use fingerprint::Fingerprint;
pub use lease::{Lease, LeaseRequest};
pub use name::{Kind, QueueName, ScheduleName, TaskName};
pub use new::{NewJob, OnConflict, Timeout, Unique, UniqueWhile, When};
pub use parse::{InvalidJob, Malformed};
pub use queue_settings::{JobDefaults, QueueSettings, Retention};
pub use retry::{Backoff, RetryPolicy};
pub use schedule::{CatchUp, Overlap, ScheduleSettings};
pub use state::{JobState, OutcomeKind};
pub use view::{AttemptView, JobView};
pub use workflow::{IfFailed, NewTask, NewWorkflow, Upstream};
