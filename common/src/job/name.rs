//! Names of kinds and queues, of schedules, of the jobs of a workflow and of API keys, which follow the same rule.

use std::{fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize};

/// What every message about a name says is allowed.
pub const ALLOWED: &str = "must be 1 to 128 of the characters A-Z a-z 0-9 _ . : -";

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a name of 1 to 128 of the characters `A-Z a-z 0-9 _ . : -`.
            ///
            /// # Errors
            /// Where it is anything else; the text is for the caller.
            pub fn new(name: &str) -> Result<Self, &'static str> {
                let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
                if (1..=128).contains(&name.len()) && name.bytes().all(fits) { Ok(Self(name.into())) } else { Err(ALLOWED) }
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;
            fn try_from(name: String) -> Result<Self, Self::Error> {
                Self::new(&name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                (*name.0).to_owned()
            }
        }
    };
}

name! {
    /// What to do, such as `send_email`: names the handler that runs the job.
    Kind
}
name! {
    /// Where a job waits: the unit of routing.
    QueueName
}
name! {
    /// What a schedule is called.
    ScheduleName
}
name! {
    /// What a job is called in its workflow.
    TaskName
}
name! {
    /// What people and logs call an API key.
    KeyName
}

impl Default for QueueName {
    fn default() -> Self {
        Self("default".into())
    }
}
