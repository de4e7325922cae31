//! The schemas of what the API takes and gives. Tests hold them against what serde writes.

mod bulk;
mod database;
mod events;
mod failures;
mod jobs;
mod leases;
mod queues;
mod schedules;
mod stats;
mod workflows;

use longshore_common::store::workers::WorkerView;
use poem_openapi::registry::{MetaSchema, Registry};
use serde_json::json;

pub use self::{
    bulk::{BulkCall, BulkRetry},
    events::event_query,
    failures::failure_query,
    jobs::{JobChange, NewBatch, NewJob, idempotency_key, job_query, wait_query},
    leases::{Complete, Fail, Heartbeat, LeaseRequest, Reports, Snooze},
    queues::{QueueSettings, purge_query},
    schedules::{ScheduleSettings, preview_query},
    workflows::{MoreTasks, NewWorkflow, format_query},
};
use super::schema::{Field, Schema, count, inline, input, integer, list, nullable, object, optional, text, time, word};
use crate::routes::{
    Listed, Page,
    health::{Health, Life},
};

/// With fields that are there only sometimes.
fn with_optional(mut schema: MetaSchema, fields: Vec<Field>) -> MetaSchema {
    schema.properties.extend(optional("", fields).properties);
    schema
}

impl<T: Listed> Schema for Page<T> {
    const NAME: &'static str = T::LIST;
    fn schema() -> MetaSchema {
        object(
            "A part of a list.",
            vec![
                ("items", list(T::reference()), "In order."),
                ("next_cursor", nullable(text()), "Send it as `cursor` for what comes next; null: there is no more."),
            ],
        )
    }
    fn register_parts(registry: &mut Registry) {
        T::register(registry);
    }
}

impl Schema for WorkerView {
    const NAME: &'static str = "Worker";
    fn schema() -> MetaSchema {
        let schema = object(
            "A live worker.",
            vec![
                ("id", text(), "host:pid:start, new at every start."),
                ("host", text(), "The host it runs on."),
                ("version", text(), "Version of its program."),
                ("queues", list(inline(text())), "Queues it serves, with their slots; * is every other queue."),
                ("kinds", list(inline(text())), "Kinds it has a handler for."),
                ("running", count(), "Jobs it runs."),
                ("since", time(), "When it started."),
                ("last_seen", time(), "Its last heartbeat."),
                ("last_poll", nullable(time()), "When it last looked for work."),
            ],
        );
        MetaSchema {
            example: Some(json!({
                "id": "host:1:1738324800", "host": "host", "version": "0.1.0", "queues": ["*=50"], "kinds": ["send_email"], "running": 3,
                "since": "2030-01-31T12:00:00Z", "last_seen": "2030-01-31T12:00:05Z", "last_poll": "2030-01-31T12:00:05Z"
            })),
            ..schema
        }
    }
}

impl Schema for Health {
    const NAME: &'static str = "Health";
    fn schema() -> MetaSchema {
        let schema = object(
            "How the API is.",
            vec![
                ("status", word(["ok", "unavailable"]), "ok: it can do its work."),
                ("version", text(), "Of the program."),
                ("database", word(["ok", "away", "read-only", "no schema"]), "Whether it answers, takes writes, and has its schema."),
            ],
        );
        MetaSchema { example: Some(json!({"status": "ok", "version": "0.1.0", "database": "ok"})), ..schema }
    }
}

impl Schema for Life {
    const NAME: &'static str = "Life";
    fn schema() -> MetaSchema {
        MetaSchema { example: Some(json!({"status": "ok"})), ..object("A sign of life.", vec![("status", word(["ok"]), "Always ok.")]) }
    }
}

/// What is sent to log in.
#[derive(Debug)]
pub struct Login;

impl Schema for Login {
    const NAME: &'static str = "Login";
    fn schema() -> MetaSchema {
        let schema = input("What is exchanged for a cookie.", &["key"], vec![("key", text(), "An API key.")]);
        MetaSchema { example: Some(json!({"key": "ls_0123456789ab_…"})), ..schema }
    }
}

/// A problem (RFC 9457).
#[derive(Debug)]
pub struct Problem;

impl Schema for Problem {
    const NAME: &'static str = "Problem";
    fn schema() -> MetaSchema {
        use crate::problem::Kind as K;
        let kinds = [
            K::Malformed,
            K::Unauthorized,
            K::Forbidden,
            K::NotFound,
            K::MethodNotAllowed,
            K::Conflict,
            K::TooLarge,
            K::UnsupportedMediaType,
            K::Invalid,
            K::QueueFull,
            K::Internal,
            K::Unavailable,
        ];
        let fault = object(
            "",
            vec![
                ("pointer", text(), "JSON pointer (RFC 6901) to the value at fault, or / and the name of the query parameter; empty for the whole."),
                ("detail", text(), "What is wrong and what is allowed."),
            ],
        );
        let fields = vec![
            ("type", word(kinds.map(|kind| kind.facts().0)), "What sort of problem it is; never changes."),
            ("title", text(), "The same in words."),
            ("status", integer(400.0, 599.0), "The HTTP status."),
            ("detail", text(), "What went wrong this time."),
        ];
        let errors = vec![("errors", list(inline(fault)), "All faults of the input, where it is at fault; of more than a hundred, the first hundred.")];
        MetaSchema {
            example: Some(json!({
                "type": "urn:longshore:problem:invalid", "title": "The input is invalid", "status": 422, "detail": "/kind is missing",
                "errors": [{"pointer": "/kind", "detail": "is missing"}]
            })),
            ..with_optional(object("A problem (RFC 9457).", fields), errors)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;
    use longshore_common::{
        job::{JobDefaults, JobState, JobView, Kind, NewJob, Retention},
        json::RawJson,
        store::{
            enqueue::{Origin, Rules},
            explain::Explanation,
            notes::JobLogs,
            queues::{Counts, QueueView},
            schedules::ScheduleView,
        },
    };
    use serde::Serialize;

    use super::*;
    use crate::routes::{batch::EnqueuedBatch, jobs::as_enqueued};

    /// What is written has the fields that are described, and no others.
    fn assert_describes<T: Schema + Serialize>(value: &T) {
        let value = serde_json::to_value(value).expect("JSON");
        let schema = T::schema();
        let described: BTreeSet<&str> = schema.properties.iter().map(|(name, _)| *name).collect();
        assert_eq!(value.as_object().expect("an object").keys().map(String::as_str).collect::<BTreeSet<_>>(), described, "{}", T::NAME);
    }

    #[test]
    fn what_is_shown_is_described() {
        let now = Timestamp::UNIX_EPOCH;
        let job = NewJob::new(Kind::new("echo").expect("a name"), RawJson::empty_object());
        assert_describes(&as_enqueued(job, Origin::default(), 1, now, now, None, Rules { priority: 0, max_attempts: 25, timeout: None }));
        assert_describes(&QueueView {
            name: "a".to_owned(),
            paused: false,
            max_running: None,
            max_running_per_key: None,
            rate: None,
            max_waiting: None,
            fair: false,
            defaults: JobDefaults::default(),
            retention: Retention::default(),
            on_failed: None,
            counts: Counts::default(),
            estimated: false,
            oldest_available_age: None,
            workers: 0,
        });
        assert_describes(&ScheduleView {
            name: "s".to_owned(),
            cron: "@daily".to_owned(),
            timezone: "UTC".to_owned(),
            job: RawJson::empty_object(),
            paused: false,
            catch_up: "last".to_owned(),
            overlap: "allow".to_owned(),
            next_run_at: None,
            last_run_at: None,
            queue: "default".to_owned(),
            due: false,
        });
        let (id, host, version) = ("a:1:2".to_owned(), "a".to_owned(), "1".to_owned());
        assert_describes(&WorkerView { id, host, version, queues: vec![], kinds: vec![], running: 0, since: now, last_seen: now, last_poll: None });
        assert_describes(&Explanation { id: 1, queue: String::new(), state: JobState::Running, runnable: true, because: vec![], note: None });
        assert_describes(&JobLogs { queue: String::new(), items: vec![] });
        assert_describes(&Page::<JobView>::whole(vec![]));
    }

    #[test]
    fn examples_have_the_fields_that_are_described() {
        for schema in [
            JobView::schema(),
            Problem::schema(),
            EnqueuedBatch::schema(),
            NewBatch::schema(),
            super::NewJob::schema(),
            JobChange::schema(),
            Explanation::schema(),
            QueueView::schema(),
            QueueSettings::schema(),
            ScheduleView::schema(),
            ScheduleSettings::schema(),
            JobLogs::schema(),
        ] {
            let described: BTreeSet<&str> = schema.properties.iter().map(|(name, _)| *name).collect();
            let example = schema.example.expect("has one");
            assert!(example.as_object().expect("an object").keys().all(|key| described.contains(key.as_str())), "{example}");
        }
    }
}
