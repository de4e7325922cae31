//! Queues: as they are set up and as they are shown.

use longshore_common::{
    job::{
        JobState,
        queue_settings::{MAX_LIMIT, MAX_MAX_WAITING},
    },
    store::queues::QueueView,
};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use serde_json::{Value, json};

use super::{
    super::schema::{Field, Schema, count, flag, input, integer, length, name, nullable, number, object, parameters, word},
    NewJob,
};
use crate::routes::queue_settings::Purged;

const BACKOFF: &str = "How the delay grows after attempt n: base·2^(n−1), base·n, base.";

/// The limits, with what stands for the time of a rate.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn limits(per: MetaSchema, about_per: &'static str) -> Vec<Field> {
    let limit = || integer(1.0, MAX_LIMIT as f64);
    let rate = input("", &["limit", "per"], vec![("limit", limit(), "Starts."), ("per", per, about_per)]);
    vec![
        ("max_running", nullable(limit()), "How many of its jobs may run at once, on all workers together; null: any number."),
        ("max_running_per_key", nullable(limit()), "How many of its jobs with one concurrency key may run at once; null: any number."),
        ("rate", nullable(rate), "How many of its jobs may start in a time: a token bucket of `limit` tokens, refilled evenly; null: any number."),
        ("max_waiting", nullable(integer(0.0, MAX_MAX_WAITING as f64)), "How many of its jobs may wait: more get 429; null: any number."),
        ("fair", flag(), "Whether its concurrency keys take turns, each starting one job in its turn; jobs without a key are one more key."),
    ]
}

impl Schema for QueueView {
    const NAME: &'static str = "Queue";
    fn schema() -> MetaSchema {
        let retry = object(
            "",
            vec![
                ("backoff", word(["exponential", "linear", "fixed"]), BACKOFF),
                ("base", number(), "Seconds."),
                ("max", number(), "Seconds at most."),
                ("jitter", number(), "Share by which it is lengthened or shortened at random."),
            ],
        );
        let defaults = object(
            "",
            vec![
                ("priority", integer(-32768.0, 32767.0), "Lower first."),
                ("max_attempts", integer(1.0, 1000.0), "Attempts at most."),
                ("timeout", nullable(number()), "Seconds that one attempt may run; null: for ever."),
                ("retry", retry, "The backoff."),
            ],
        );
        let retention = object("", ["succeeded", "cancelled", "failed"].map(|state| (state, nullable(number()), "Seconds; null: for ever.")).to_vec());
        let counts = object("", JobState::ALL.map(|state| (state.word(), count(), "")).to_vec());
        let none = JobState::ALL.map(|state| (state.word().to_owned(), json!(0))).into_iter().collect::<serde_json::Map<_, _>>();
        let mut example = settings_example();
        for (key, value) in [("counts", Value::Object(none)), ("estimated", json!(false)), ("oldest_available_age", Value::Null), ("workers", json!(2))] {
            example[key] = value;
        }
        let schema = object(
            "A queue.",
            [
                vec![("name", name(), "Its name."), ("paused", flag(), "Whether it takes jobs and starts none.")],
                limits(number(), "Seconds."),
                vec![
                    ("defaults", defaults, "What counts where a job is silent."),
                    ("retention", retention, "How long a finished job is kept; gone within a minute after that."),
                    ("on_failed", nullable(NewJob::schema()), "The job that follows each one of it that fails, as in NewJob; null: none."),
                    ("counts", counts, "Jobs by state; of waiting jobs exact to 10,000."),
                    ("estimated", flag(), "Whether one of the counts is an estimate."),
                    ("oldest_available_age", nullable(number()), "Seconds that the longest waiting available job has waited; null: none waits."),
                    ("workers", count(), "Live workers that serve it."),
                ],
            ]
            .concat(),
        );
        MetaSchema { example: Some(example), ..schema }
    }
}

fn settings_example() -> Value {
    json!({
        "name": "emails", "paused": false, "max_running": 20, "max_running_per_key": 2, "rate": {"limit": 100, "per": 1}, "max_waiting": 10000, "fair": false,
        "defaults": {"priority": 0, "max_attempts": 5, "timeout": 30, "retry": {"backoff": "linear", "base": 10, "max": 3600, "jitter": 0.1}},
        "retention": {"succeeded": 3600, "cancelled": 604_800, "failed": null},
        "on_failed": {"kind": "alert", "queue": "alerts", "args": {"channel": "ops"}}
    })
}

/// The settings of a queue as they are put.
#[derive(Debug)]
pub struct QueueSettings;

impl Schema for QueueSettings {
    const NAME: &'static str = "QueueSettings";
    fn schema() -> MetaSchema {
        let retry = input(
            "",
            &[],
            vec![
                ("backoff", word(["exponential", "linear", "fixed"]), BACKOFF),
                ("base", length(), "Default 1."),
                ("max", length(), "Delay at most; default 86400."),
                ("jitter", number(), "Share by which it is lengthened or shortened at random, 0 to 1; default 0.1."),
            ],
        );
        let defaults = input(
            "",
            &[],
            vec![
                ("priority", MetaSchema { default: Some(json!(0)), ..integer(-32768.0, 32767.0) }, "Lower first."),
                ("max_attempts", MetaSchema { default: Some(json!(25)), ..integer(1.0, 1000.0) }, "Attempts at most."),
                ("timeout", nullable(length()), "How long one attempt may run, 1s to 7d; null: for ever; default 300."),
                ("retry", retry, "The backoff."),
            ],
        );
        let retention = input(
            "",
            &[],
            vec![
                ("succeeded", nullable(length()), "null: for ever; default 1d."),
                ("cancelled", nullable(length()), "null: for ever; default 7d."),
                ("failed", nullable(length()), "null: for ever; default 30d."),
            ],
        );
        let schema = input(
            "What is set for a queue. What is absent gets its default. What a queue is shown with beside this is ignored; all else is refused.",
            &[],
            [
                vec![("name", name(), "As in the path."), ("paused", flag(), "Whether it takes jobs and starts none; absent: as it is.")],
                limits(length(), "In which time, 100ms to 1d."),
                vec![
                ("defaults", defaults, "What counts where a job is silent."),
                ("retention", retention, "How long a finished job is kept; gone within a minute after that."),
                (
                    "on_failed",
                    nullable(NewJob::schema()),
                    "The job that is enqueued in the transaction that fails one of this queue, as in NewJob; its args, an object, get \"failed\": {\"id\",                      \"kind\", \"queue\", \"attempt\", \"error\"}.",
                ),
                ],
            ]
            .concat(),
        );
        // what it is shown with comes back with it, and is ignored
        MetaSchema { example: Some(settings_example()), additional_properties: None, ..schema }
    }
}

impl Schema for Purged {
    const NAME: &'static str = "Purged";
    fn schema() -> MetaSchema {
        let schema = object(
            "How far a purge came.",
            vec![("deleted", count(), "Jobs that were forgotten by this call."), ("more", flag(), "There are more: call again.")],
        );
        MetaSchema { example: Some(json!({"deleted": 10_000, "more": true})), ..schema }
    }
}

/// The query string of `DELETE /v1/queues/{name}`.
pub fn purge_query() -> MetaSchemaRef {
    parameters(vec![("purge", MetaSchema { default: Some(json!(false)), ..flag() }, "Forget its waiting and finished jobs first.")])
}
