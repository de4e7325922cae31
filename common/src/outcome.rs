//! How an attempt ended.

use std::time::Duration;

use crate::json::RawJson;

/// Bytes of an error that are kept; what is longer is cut, and says so.
pub const MAX_ERROR_BYTES: usize = 16 * 1024;
/// Bytes of a result that are kept; one that is longer is left out, and the job succeeds all the same.
pub const MAX_RESULT_BYTES: usize = 1024 * 1024;

/// How an attempt ended, with what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The handler is done.
    Succeeded {
        /// What it returned.
        result: Option<RawJson>,
    },
    /// The handler said no, or panicked.
    Failed {
        /// Why.
        error: String,
        /// When to try again; `None`: by the job's backoff.
        retry_in: Option<Duration>,
    },
    /// It ran longer than the job's timeout.
    TimedOut {
        /// What is known of it.
        error: String,
    },
    /// The process that ran it has died, without an outcome. Whose worker has died is not told by anybody, but found.
    Lost {
        /// How it died.
        error: String,
    },
    /// The handler says that trying again is of no use.
    Discarded {
        /// Why.
        error: String,
    },
    /// Not now: again after a while, without counting this attempt.
    Snoozed {
        /// After how long.
        delay: Duration,
    },
    /// The worker stops and gives the job back, without counting this attempt.
    HandedBack,
    /// The handler stopped because the job was cancelled.
    Cancelled {
        /// What the handler said.
        error: Option<String>,
    },
    /// It was leased after its `expires_at` and never ran.
    Expired,
}

impl Outcome {
    /// The word of the contract, as in the type `longshore.outcome`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::TimedOut { .. } => "timed_out",
            Self::Lost { .. } => "lost",
            Self::Discarded { .. } => "discarded",
            Self::Snoozed { .. } => "snoozed",
            Self::HandedBack => "handed_back",
            Self::Cancelled { .. } => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// The error that is stored with it, in a form that PostgreSQL can take: no NUL, at most [`MAX_ERROR_BYTES`].
    pub fn error(&self) -> Option<String> {
        match self {
            Self::Failed { error, .. } | Self::TimedOut { error } | Self::Lost { error } | Self::Discarded { error } => Some(storable_error(error)),
            Self::Cancelled { error } => error.as_deref().map(storable_error),
            Self::Succeeded { .. } | Self::Snoozed { .. } | Self::HandedBack | Self::Expired => None,
        }
    }

    /// The result that is stored with it. One that cannot be stored does not undo the success: it is replaced by
    /// `{"omitted": "why", "bytes": n}`.
    pub fn result(&self) -> Option<RawJson> {
        let Self::Succeeded { result: Some(result) } = self else { return None };
        let mended = crate::json::mended(result.as_str()).unwrap_or_else(|| result.clone());
        Some(match crate::json::fault(mended.as_str(), MAX_RESULT_BYTES) {
            None => mended,
            Some(why) => omitted(&format!("the result {why}"), result.as_str().len()),
        })
    }
}

/// What is kept of a result that cannot be stored.
pub fn omitted(why: &str, bytes: usize) -> RawJson {
    #[derive(serde::Serialize)]
    struct Omitted<'a> {
        omitted: &'a str,
        bytes: usize,
    }
    RawJson::from_value(&Omitted { omitted: why, bytes }).expect("a string and a number are JSON")
}

fn storable_error(error: &str) -> String {
    let clean = if error.contains('\0') { error.replace('\0', "\u{fffd}") } else { error.to_owned() };
    if clean.len() <= MAX_ERROR_BYTES {
        return clean;
    }
    let note = format!(" … (cut: it was {} bytes long)", error.len());
    let mut end = MAX_ERROR_BYTES - note.len();
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{note}", &clean[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_cannot_be_stored_is_still_a_success() {
        let long = RawJson::from_value(&"x".repeat(MAX_RESULT_BYTES)).expect("JSON");
        let kept = Outcome::Succeeded { result: Some(long) }.result().expect("something is kept");
        assert_eq!(kept.as_str(), r#"{"omitted":"the result is 1048578 bytes long; at most 1048576 are allowed","bytes":1048578}"#);
    }

    #[test]
    fn an_error_is_cut_and_says_so() {
        let error = Outcome::Failed { error: "ä\0".repeat(MAX_ERROR_BYTES), retry_in: None }.error().expect("kept");
        assert!(error.len() <= MAX_ERROR_BYTES && error.ends_with("(cut: it was 49152 bytes long)"), "{}", error.len());
        assert!(!error.contains('\0'));
    }
}
