//! Jobs: as they are enqueued, as they are shown, as they are asked for.

use longshore_common::{
    job::{JobState, JobView, OutcomeKind},
    store::{explain::Explanation, notes::JobLogs},
};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use serde_json::json;

use super::{
    super::schema::{
        Field, Schema, any, count, flag, free_object, id, inline, input, integer, length, list, name, nullable, number, object, parameters, text, time, word,
    },
    with_optional,
};
use crate::routes::{
    batch::EnqueuedBatch,
    jobs::{EnqueuedJob, JobWithHistory},
};

fn job_fields() -> Vec<Field> {
    vec![
        ("id", id(), "Below 2^53."),
        ("kind", name(), "What to do; names the handler."),
        ("queue", name(), "Where it waits."),
        ("state", word(JobState::ALL.map(JobState::word)), "Where it stands."),
        ("args", any(), "What the handler gets, digit for digit as it came."),
        ("priority", integer(-32768.0, 32767.0), "Lower first."),
        ("run_at", time(), "Not before."),
        ("expires_at", nullable(time()), "Cancelled if not started by then."),
        ("attempt", count(), "Attempts that have started and count."),
        ("max_attempts", integer(1.0, 32767.0), "Attempts at most; above 1000 only by retries by hand."),
        ("timeout", nullable(number()), "Seconds that one attempt may run; null: for ever."),
        ("tags", list(inline(text())), "For searching."),
        ("meta", free_object(), "For searching, and the caller's own notes."),
        ("unique_key", nullable(text()), "Unique within its kind."),
        ("concurrency_key", nullable(text()), "Jobs of one key share a limit of their queue."),
        ("workflow_id", nullable(id()), "The workflow it belongs to."),
        ("schedule", nullable(text()), "The schedule that enqueued it."),
        ("scheduled_for", nullable(time()), "The due time it was enqueued for."),
        ("progress", nullable(any()), "How far it is: a number from 0 to 1, or an object."),
        ("checkpoint", nullable(any()), "What its handler wants to find again."),
        ("result", nullable(any()), "What the handler returned."),
        ("error", nullable(text()), "The last attempt's."),
        ("worker", nullable(text()), "Who runs it, or ran its last attempt."),
        ("cancel_requested_at", nullable(time()), "When somebody asked for it to be cancelled."),
        ("enqueued_by", nullable(text()), "Name of the API key it came with."),
        ("request_id", nullable(text()), "Id of the request it came with."),
        ("created_at", time(), "When it was enqueued."),
        ("started_at", nullable(time()), "When its current or last attempt started."),
        ("finished_at", nullable(time()), "When it was finished."),
    ]
}

fn job_example() -> serde_json::Value {
    json!({
        "id": 42, "kind": "send_email", "queue": "emails", "state": "available", "args": {"to": "ann@example.com"}, "priority": 0,
        "run_at": "2030-01-31T12:00:00Z", "expires_at": null, "attempt": 0, "max_attempts": 25, "timeout": 300, "tags": ["welcome"], "meta": {},
        "unique_key": null, "concurrency_key": null, "workflow_id": null, "schedule": null, "scheduled_for": null, "progress": null,
        "checkpoint": null, "result": null, "error": null, "worker": null, "cancel_requested_at": null, "enqueued_by": null,
        "request_id": "0194c2a8-5b1e-7c3d-9f2a-1b2c3d4e5f60", "created_at": "2030-01-31T12:00:00Z", "started_at": null, "finished_at": null
    })
}

impl Schema for JobView {
    const NAME: &'static str = "Job";
    fn schema() -> MetaSchema {
        let mut schema = MetaSchema { example: Some(job_example()), ..object("A job.", job_fields()) };
        schema.required.retain(|name| !matches!(*name, "args" | "result")); // lists leave them out unless asked for
        schema
    }
}

impl Schema for EnqueuedJob {
    const NAME: &'static str = "EnqueuedJob";
    fn schema() -> MetaSchema {
        let fields = vec![
            ("duplicate", flag(), "There, and true, where a standing job holds the unique key: this is that job."),
            ("replaced", flag(), "There with `on_conflict: replace`: whether the standing job has become this one."),
            ("warning", text(), "There where no live worker serves the queue."),
        ];
        MetaSchema { example: Some(job_example()), ..with_optional(object("The job that is now there.", job_fields()), fields) }
    }
}

fn attempt() -> MetaSchema {
    object(
        "An attempt.",
        vec![
            ("attempt", count(), "From 1."),
            ("worker", nullable(text()), "Who ran it."),
            ("started_at", time(), "When it started."),
            ("finished_at", nullable(time()), "When it ended; null: it runs."),
            ("outcome", nullable(word(OutcomeKind::ALL.map(OutcomeKind::word))), "How it ended; null: it runs."),
            ("error", nullable(text()), "What went wrong."),
        ],
    )
}

impl Schema for JobWithHistory {
    const NAME: &'static str = "JobWithHistory";
    fn schema() -> MetaSchema {
        let mut fields = job_fields();
        fields.push(("history", list(inline(attempt())), "The last 20 attempts, oldest first."));
        let mut example = job_example();
        example["history"] = json!([]);
        MetaSchema { example: Some(example), ..object("A job, with its attempts.", fields) }
    }
}

/// A job as it is enqueued.
#[derive(Debug)]
pub struct NewJob;

impl Schema for Explanation {
    const NAME: &'static str = "Explanation";
    fn schema() -> MetaSchema {
        const REASONS: [&str; 10] = ["queue_paused", "not_due", "retry_wait", "blocked", "queue_full", "key_full", "rate", "no_worker", "no_handler", "behind"];
        let reason = object(
            "",
            vec![
                ("reason", word(REASONS), "What it waits for."),
                ("detail", text(), "In a sentence, with what would change it."),
                ("until", nullable(time()), "When it ends by itself; null: that is not known."),
            ],
        );
        let schema = object(
            "Why a job is not running.",
            vec![
                ("id", id(), "The job."),
                ("state", word(JobState::ALL.map(JobState::word)), "Where it stands."),
                ("runnable", flag(), "Whether nothing holds it back: it runs, or only waits for its turn."),
                ("because", list(inline(reason)), "What it waits for; empty where it runs or is finished."),
                ("note", nullable(text()), "Of a job that runs or is finished: since when."),
            ],
        );
        let example = json!({
            "id": 42, "state": "available", "runnable": false, "note": null,
            "because": [{"reason": "no_worker", "detail": "no live worker serves queue \"emails\"; live workers serve: default; name it in LONGSHORE_WORKER__QUEUES of one", "until": null}]
        });
        MetaSchema { example: Some(example), ..schema }
    }
}

impl Schema for JobLogs {
    const NAME: &'static str = "JobLogs";
    fn schema() -> MetaSchema {
        let log = object(
            "",
            vec![
                ("attempt", count(), "Its number, from 1; a snoozed or handed back one is not counted, so that its number comes again."),
                ("text", text(), "64 KiB at most: a longer one has lost its beginning, and says so."),
            ],
        );
        let schema = object("What a job's handler logged.", vec![("items", list(inline(log)), "The last 20 attempts that logged, oldest first.")]);
        MetaSchema { example: Some(json!({"items": [{"attempt": 1, "text": "sleeps for 2s\nwoke up\n"}]})), ..schema }
    }
}

/// A change to a job.
#[derive(Debug)]
pub struct JobChange;

impl Schema for JobChange {
    const NAME: &'static str = "JobChange";
    fn schema() -> MetaSchema {
        let tag = MetaSchema { min_length: Some(1), max_length: Some(64), ..text() };
        let schema = input(
            "What is to be different about a job that waits. What is not given, or null, stays as it is, but for `args`. Unknown fields are refused.",
            &[],
            vec![
                ("priority", integer(-32768.0, 32767.0), "Lower first."),
                ("run_at", time(), "Not before; the past means now."),
                ("args", any(), "What the handler gets: any JSON, 1 MiB at most, 128 levels at most."),
                ("max_attempts", integer(1.0, 1000.0), "Attempts at most; more than the job has had."),
                ("tags", MetaSchema { max_items: Some(20), ..list(inline(tag)) }, "For searching; all of them anew."),
                ("meta", free_object(), "For searching, and the caller's own notes; all of it anew, 16 KiB at most."),
            ],
        );
        MetaSchema { example: Some(json!({"priority": -10, "run_at": "2030-01-31T12:00:00Z", "tags": ["urgent"]})), ..schema }
    }
}

impl Schema for NewJob {
    const NAME: &'static str = "NewJob";
    fn schema() -> MetaSchema {
        let retry = input(
            "",
            &[],
            vec![
                ("backoff", word(["exponential", "linear", "fixed"]), "How the delay grows after attempt n: base·2^(n−1), base·n, base."),
                ("base", length(), "Default 1."),
                ("max", length(), "Delay at most; default 86400."),
                ("jitter", number(), "Share by which it is lengthened or shortened at random, 0 to 1; default 0.1."),
            ],
        );
        let unique = input(
            "",
            &["key"],
            vec![
                ("key", MetaSchema { min_length: Some(1), max_length: Some(255), ..text() }, "Unique within the kind; 255 bytes at most."),
                ("while", word(["waiting", "active", "kept"]), "What a standing job must be doing for its key to count; default active."),
                ("for", length(), "For how long after the standing job's creation; with `while`, either suffices."),
                (
                    "on_conflict",
                    word(["return", "reject", "replace"]),
                    "The standing job is the answer, 409, or it is overwritten if it waits; default return.",
                ),
            ],
        );
        let tag = MetaSchema { min_length: Some(1), max_length: Some(64), ..text() };
        let schema = input(
            "A job to be enqueued. null counts as absent, but for `args` and `timeout`. Unknown fields are refused.",
            &["kind"],
            vec![
                ("kind", name(), "What to do; names the handler."),
                ("args", any(), "What the handler gets: any JSON, 1 MiB at most, 128 levels at most; default {}."),
                ("queue", MetaSchema { default: Some(json!("default")), ..name() }, "Where it waits."),
                ("priority", integer(-32768.0, 32767.0), "Lower first; default: its queue's, 0 unless set."),
                ("run_at", time(), "Not before; the past means now. Excludes `delay`."),
                ("delay", length(), "Not before that long from now. Excludes `run_at`."),
                ("expires_in", length(), "Cancelled if not started by then."),
                ("max_attempts", integer(1.0, 1000.0), "Attempts at most; default: its queue's, 25 unless set."),
                ("timeout", nullable(length()), "How long one attempt may run, 1s to 7d; null: for ever; default: its queue's, 300 unless set."),
                ("tags", MetaSchema { max_items: Some(20), ..list(inline(tag)) }, "For searching."),
                ("meta", free_object(), "For searching, and the caller's own notes; 16 KiB at most."),
                ("concurrency_key", MetaSchema { min_length: Some(1), max_length: Some(255), ..text() }, "Jobs of one key share a limit of their queue."),
                ("retry", retry, "Its own backoff; default: its queue's."),
                ("unique", unique, "A key that no standing job may have."),
            ],
        );
        MetaSchema {
            example: Some(json!({"kind": "send_email", "queue": "emails", "args": {"to": "ann@example.com"}, "tags": ["welcome"], "max_attempts": 5})),
            ..schema
        }
    }
}

/// A batch as it is enqueued.
#[derive(Debug)]
pub struct NewBatch;

impl Schema for NewBatch {
    const NAME: &'static str = "NewBatch";
    fn schema() -> MetaSchema {
        let jobs = MetaSchema { min_items: Some(1), max_items: Some(crate::body::batch::MAX_JOBS), ..list(NewJob::reference()) };
        MetaSchema {
            example: Some(json!({"jobs": [{"kind": "echo", "args": 1}, {"kind": "echo", "args": 2}]})),
            ..input("Jobs to be enqueued, all or none.", &["jobs"], vec![("jobs", jobs, "1 to 10,000.")])
        }
    }
    fn register_parts(registry: &mut Registry) {
        NewJob::register(registry);
    }
}

impl Schema for EnqueuedBatch {
    const NAME: &'static str = "EnqueuedBatch";
    fn schema() -> MetaSchema {
        MetaSchema {
            example: Some(json!({"ids": [42, 43], "duplicates": []})),
            ..object(
                "What became of the jobs of a batch.",
                vec![
                    ("ids", list(inline(id())), "In the order of the jobs; for a duplicate the standing job's."),
                    ("duplicates", list(inline(count())), "Indexes of the jobs whose unique key a standing job holds."),
                ],
            )
        }
    }
}

/// The parameter of requests that wait.
pub fn wait_query() -> MetaSchemaRef {
    let meaning = "Answer when the job has ended or this time is over, with the job as it then is; up to 60s.";
    parameters(vec![("wait", length(), meaning)])
}

/// The header of requests that must not be done twice.
pub fn idempotency_key() -> MetaSchemaRef {
    let meaning = "The same request with the same key gets the first answer again, for 24 hours.";
    inline(MetaSchema { description: Some(meaning), min_length: Some(1), max_length: Some(255), ..text() })
}

/// What jobs are asked for by: the fields of a filter.
pub fn filter_fields() -> Vec<Field> {
    let names = || list(inline(name()));
    vec![
        ("state", list(inline(word(JobState::ALL.map(JobState::word)))), "In one of these states; may repeat."),
        ("queue", names(), "In one of these queues; may repeat."),
        ("kind", names(), "Of one of these kinds; may repeat."),
        ("tag", list(inline(text())), "With this tag; may repeat, all must be there."),
        ("unique_key", text(), "With this unique key."),
        ("concurrency_key", text(), "With this concurrency key."),
        ("workflow_id", id(), "Of this workflow."),
        ("schedule", text(), "Of this schedule."),
        ("fingerprint", fingerprint(), "Failed, or waiting for another attempt, with an error of this group: see GET /v1/failures."),
        ("meta.<key>", text(), "With this text at the top of its meta, such as meta.customer=7; may repeat with other keys."),
        ("created_after", time(), "Enqueued then or later."),
        ("created_before", time(), "Enqueued before."),
        ("finished_after", time(), "Finished then or later."),
        ("finished_before", time(), "Finished before."),
    ]
}

/// A fingerprint of an error.
pub fn fingerprint() -> MetaSchema {
    MetaSchema { pattern: Some("^[0-9a-fA-F]{16}$".to_owned()), ..text() }
}

/// The query string of `GET /v1/jobs`, a property a parameter.
pub fn job_query() -> MetaSchemaRef {
    let mut fields = filter_fields();
    fields.extend([
        ("fields", MetaSchema { example: Some(json!("args,result")), ..text() }, "Large fields to show: args, result, or both with a comma."),
        ("limit", MetaSchema { default: Some(json!(50)), ..integer(1.0, 1000.0) }, "Items at most."),
        ("cursor", text(), "Where to go on: next_cursor of the answer before."),
    ]);
    parameters(fields)
}
