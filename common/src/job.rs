//! What a job is: its names, its rules, its states.

pub mod bulk;
pub mod call;
pub mod change;
pub mod fields;
pub mod filter;
pub mod fingerprint;
pub mod name;
pub mod new;
pub mod parse;
pub mod queue_settings;
pub mod retry;
pub mod state;
pub mod view;

pub use bulk::{Bulk, Rate};
pub use call::{Call, Effect, NotNow};
pub use change::Change;
pub use filter::JobFilter;
pub use fingerprint::Fingerprint;
pub use name::{Kind, QueueName};
pub use new::{NewJob, OnConflict, Timeout, Unique, UniqueWhile, When};
pub use parse::{InvalidJob, Malformed};
pub use queue_settings::{JobDefaults, QueueSettings, Retention};
pub use retry::{Backoff, RetryPolicy};
pub use state::{JobState, OutcomeKind};
pub use view::{AttemptView, JobView};
