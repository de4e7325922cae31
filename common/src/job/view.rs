//! A job as it is shown: the contract's Job.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::state::{JobState, OutcomeKind};
use crate::json::RawJson;

/// A job as HTTP and the command line show it. Field for field, in the contract's order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobView {
    /// Below 2^53.
    pub id: i64,
    /// What to do.
    pub kind: String,
    /// Where it waits.
    pub queue: String,
    /// Where it stands.
    pub state: JobState,
    /// What the handler gets; left out of lists unless asked for.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub args: Option<RawJson>,
    /// Lower first.
    pub priority: i16,
    /// Not before.
    pub run_at: Timestamp,
    /// Cancelled if not started by then.
    pub expires_at: Option<Timestamp>,
    /// Attempts that have started and count.
    pub attempt: i16,
    /// Attempts at most.
    pub max_attempts: i16,
    /// Seconds that one attempt may run; null: for ever.
    pub timeout: Option<Seconds>,
    /// For searching.
    pub tags: Vec<String>,
    /// For searching, and the caller's own notes.
    pub meta: RawJson,
    /// Unique within its kind.
    pub unique_key: Option<String>,
    /// Jobs of one key share a limit of their queue.
    pub concurrency_key: Option<String>,
    /// The workflow it belongs to.
    pub workflow_id: Option<i64>,
    /// The schedule that enqueued it.
    pub schedule: Option<String>,
    /// The due time it was enqueued for.
    pub scheduled_for: Option<Timestamp>,
    /// How far it is.
    pub progress: Option<RawJson>,
    /// What its handler wants to find again.
    pub checkpoint: Option<RawJson>,
    /// What the handler returned; left out of lists unless asked for. `Some(None)` shows null.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub result: Option<Option<RawJson>>,
    /// The last attempt's.
    pub error: Option<String>,
    /// Who runs it, or ran its last attempt.
    pub worker: Option<String>,
    /// When somebody asked for it to be cancelled.
    pub cancel_requested_at: Option<Timestamp>,
    /// Name of the API key it came with.
    pub enqueued_by: Option<String>,
    /// Id of the request it came with.
    pub request_id: Option<String>,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When its current or last attempt started.
    pub started_at: Option<Timestamp>,
    /// When it was finished.
    pub finished_at: Option<Timestamp>,
}

/// One attempt in the history of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttemptView {
    /// From 1.
    pub attempt: i16,
    /// Who ran it.
    pub worker: Option<String>,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended; null: it runs.
    pub finished_at: Option<Timestamp>,
    /// How it ended; null: it runs.
    pub outcome: Option<OutcomeKind>,
    /// What went wrong.
    pub error: Option<String>,
}

/// A number of seconds, written without a fraction where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Seconds(pub f64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[expect(clippy::cast_possible_truncation, reason = "durations are far below 2^53 seconds")]
        if self.0.fract() == 0.0 { serializer.serialize_i64(self.0 as i64) } else { serializer.serialize_f64(self.0) }
    }
}

/// What is there is given, also where it is null.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read() {
        for (args, result) in [("", ""), (r#""args":{"b":1.50,"a":null},"#, r#""result":null,"#), (r#""args":null,"#, r#""result":[1e2],"#)] {
            let text = format!(
                r#"{{"id":1,"kind":"k","queue":"q","state":"retryable",{args}"priority":-1,"run_at":"2030-01-31T12:00:00.5Z","expires_at":null,"attempt":2,"max_attempts":25,"timeout":1.5,"tags":["t"],"meta":{{"n":1.0}},"unique_key":null,"concurrency_key":null,"workflow_id":null,"schedule":"s","scheduled_for":null,"progress":0.5,"checkpoint":null,{result}"error":"e","worker":null,"cancel_requested_at":null,"enqueued_by":null,"request_id":null,"created_at":"2030-01-31T12:00:00Z","started_at":null,"finished_at":null}}"#
            );
            let job: JobView = serde_json::from_str(&text).expect("is a job");
            assert_eq!(serde_json::to_string(&job).expect("is JSON"), text);
        }
    }
}
