//! Events, and how they are asked for.

use longshore_common::store::events::Event;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use serde_json::json;

use super::{
    super::schema::{Schema, any, count, id, inline, list, name, nullable, object, parameters, text, time},
    with_optional,
};

impl Schema for Event {
    const NAME: &'static str = "Event";
    fn schema() -> MetaSchema {
        let schema = object(
            "The `data` of an event; of a `gap`: `{\"missed\": n}`, null where the number is not known.",
            vec![
                ("event", text(), "What has happened, as in the line `event`."),
                ("at", time(), "When."),
                ("job_id", nullable(id()), "The job, where it is about one."),
                ("kind", nullable(name()), "The job's kind."),
                ("queue", nullable(name()), "The queue."),
                ("attempt", nullable(count()), "The job's attempt."),
                ("error", nullable(text()), "What went wrong: its beginning."),
            ],
        );
        let example = json!({
            "event": "job.failed", "at": "2030-01-31T12:00:00Z", "job_id": 42, "kind": "send_email", "queue": "emails", "attempt": 25,
            "error": "connection refused"
        });
        MetaSchema { example: Some(example), ..with_optional(schema, vec![("progress", any(), "How far the job is, with `job.progress`.")]) }
    }
}

/// The query string of events, a property a parameter.
pub fn event_query() -> MetaSchemaRef {
    let repeated = |schema| list(inline(schema));
    parameters(vec![
        ("queue", repeated(name()), "Of one of these queues."),
        ("kind", repeated(name()), "Of jobs of one of these kinds."),
        ("job_id", repeated(id()), "Of one of these jobs."),
    ])
}
