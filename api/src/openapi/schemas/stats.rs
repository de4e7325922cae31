//! Figures for dashboards.

use longshore_common::{job::JobState, store::stats::Stats};
use poem_openapi::registry::MetaSchema;
use serde_json::json;

use super::super::schema::{Field, Schema, count, flag, inline, list, name, nullable, number, object, time};

impl Schema for Stats {
    const NAME: &'static str = "Stats";
    fn schema() -> MetaSchema {
        let mut queue = vec![("name", name(), "Its name."), ("paused", flag(), "Whether it takes jobs and starts none.")];
        queue.extend(figures());
        let schema = object(
            "What there is and what happens, by queue and in all. Rates are of the last minute, jobs a second; where more than 5,000 jobs of a kind and \
             state were counted, of the newest 5,000. Latencies are of the newest 200 jobs of each kind and state that finished within the last minute.",
            vec![
                ("at", time(), "When they were counted: at most a second ago."),
                ("queues", list(inline(object("", queue))), "By name."),
                ("totals", object("", figures()), "Of all of these queues."),
            ],
        );
        let figures = json!({
            "counts": {"scheduled": 3, "available": 120, "running": 50, "retryable": 2, "blocked": 0, "succeeded": 81_204, "failed": 12, "cancelled": 4},
            "estimated": false, "oldest_available_age": 1.25, "workers": 2,
            "rates": {"enqueued": 410.5, "started": 402.1, "succeeded": 400.9, "failed": 0.1, "cancelled": 0, "retried": 1.2},
            "latency": {"wait": {"p50": 0.004, "p95": 0.21, "p99": 1.1}, "run": {"p50": 0.12, "p95": 0.3, "p99": 0.9}}
        });
        let mut queue = json!({"name": "emails", "paused": false});
        if let (Some(queue), Some(figures)) = (queue.as_object_mut(), figures.as_object()) {
            queue.extend(figures.clone());
        }
        MetaSchema { example: Some(json!({"at": "2030-01-31T12:00:00Z", "queues": [queue], "totals": figures})), ..schema }
    }
}

fn figures() -> Vec<Field> {
    let counts = object("", JobState::ALL.map(|state| (state.word(), count(), "")).to_vec());
    let rates = object(
        "",
        vec![
            ("enqueued", number(), "New jobs."),
            ("started", number(), "Attempts that started."),
            ("succeeded", number(), "Jobs that succeeded."),
            ("failed", number(), "Jobs that failed for good."),
            ("cancelled", number(), "Jobs that were cancelled."),
            ("retried", number(), "Attempts that failed and are followed by another."),
        ],
    );
    let latency = || object("", ["p50", "p95", "p99"].map(|part| (part, nullable(number()), "Seconds; null: no job finished.")).to_vec());
    let latencies = object(
        "",
        vec![("wait", latency(), "From when the last attempt was due to its start."), ("run", latency(), "From the start of the last attempt to its end.")],
    );
    vec![
        ("counts", counts, "Jobs by state; of waiting jobs exact to 10,000."),
        ("estimated", flag(), "Whether one of the counts is an estimate."),
        ("oldest_available_age", nullable(number()), "Seconds that the longest waiting available job has waited; null: none waits."),
        ("workers", count(), "Live workers that serve them."),
        ("rates", rates, "A second."),
        ("latency", latencies, "How long jobs take."),
    ]
}
