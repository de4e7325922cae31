//! Failures by group.

use longshore_common::store::failures::FailureGroup;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use serde_json::json;

use super::{
    super::schema::{Schema, count, flag, id, inline, integer, list, name, nullable, object, parameters, text, time},
    jobs::fingerprint,
};

impl Schema for FailureGroup {
    const NAME: &'static str = "FailureGroup";
    fn schema() -> MetaSchema {
        let example = object("", vec![("id", id(), "Which."), ("queue", name(), "Its queue."), ("error", nullable(text()), "Its error.")]);
        let schema = object(
            "Failed and retryable jobs of one kind whose errors differ only in numbers, ids, addresses and times.",
            vec![
                ("kind", name(), "What they were to do."),
                ("fingerprint", fingerprint(), "What their errors have in common; a filter for lists and for calls of many jobs."),
                ("count", count(), "How many they are; of each state exact to 10,000."),
                ("estimated", flag(), "Whether they are more: one of the states was not counted to its end."),
                ("failed", count(), "How many of them are failed."),
                ("retryable", count(), "How many of them wait for another attempt."),
                ("first", nullable(time()), "When the first of them failed."),
                ("last", nullable(time()), "When the last of them failed."),
                ("example", example, "The one that failed last."),
            ],
        );
        let example = json!({
            "kind": "send_email", "fingerprint": "3f1c2a9be05d7716", "count": 412, "estimated": false, "failed": 400, "retryable": 12,
            "first": "2030-01-31T12:00:00Z", "last": "2030-01-31T12:07:00Z",
            "example": {"id": 42, "queue": "emails", "error": "connection to 10.0.0.7:25 refused after 3 s"}
        });
        MetaSchema { example: Some(example), ..schema }
    }
}

/// The query string of `GET /v1/failures`, a property a parameter.
pub fn failure_query() -> MetaSchemaRef {
    parameters(vec![
        ("queue", list(inline(name())), "In one of these queues; may repeat."),
        ("kind", list(inline(name())), "Of one of these kinds; may repeat."),
        ("limit", MetaSchema { default: Some(json!(50)), ..integer(1.0, 1000.0) }, "Groups at most."),
    ])
}
