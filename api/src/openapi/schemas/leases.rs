//! Leases, and what is reported under them.

use longshore_common::job::JobView;
use poem_openapi::registry::{MetaSchema, Registry};
use serde_json::{Value, json};

use super::super::schema::{Field, Schema, any, flag, inline, input, integer, length, list, nullable, object, text, time, word};
use crate::routes::leases::{Leased, LeasedJob, ReportsTaken, Standing};

/// Which jobs are wanted.
#[derive(Debug)]
pub struct LeaseRequest;

impl Schema for LeaseRequest {
    const NAME: &'static str = "LeaseRequest";
    fn schema() -> MetaSchema {
        let names = || list(inline(text()));
        let fields = vec![
            ("queues", MetaSchema { default: Some(json!(["default"])), ..names() }, "Of these queues."),
            ("kinds", names(), "Of these kinds; null: of any."),
            ("limit", MetaSchema { default: Some(json!(10)), ..integer(1.0, 1000.0) }, "So many at most."),
            ("lease_for", length(), "How long the leases last unless they are extended: 5s to 1h; 30s where it is silent."),
            ("wait", length(), "How long to wait for jobs where there are none: up to 1m; not at all where it is silent."),
            ("worker", text(), "How you call yourself, as people see it; pull: and the API key's name where it is silent."),
        ];
        let schema = input("Which jobs are wanted. Unknown fields are refused.", &[], fields);
        MetaSchema {
            example: Some(json!({"queues": ["default"], "kinds": null, "limit": 10, "lease_for": "30s", "wait": "20s", "worker": "my-host-1"})),
            ..schema
        }
    }
}

fn id() -> Field {
    ("id", integer(i64_min(), i64_max()), "The job.")
}

#[expect(clippy::cast_precision_loss, reason = "a bound in a document")]
fn i64_min() -> f64 {
    i64::MIN as f64
}

#[expect(clippy::cast_precision_loss, reason = "a bound in a document")]
fn i64_max() -> f64 {
    i64::MAX as f64
}

fn lease() -> Field {
    ("lease", text(), "The token that came with it.")
}

/// Which leases are still held.
#[derive(Debug)]
pub struct Heartbeat;

impl Schema for Heartbeat {
    const NAME: &'static str = "Heartbeat";
    fn schema() -> MetaSchema {
        let fields = vec![
            id(),
            lease(),
            ("progress", any(), "How far it is: a number from 0 to 1, or an object of up to 4 KiB."),
            ("checkpoint", any(), "What the next attempt wants to find again: up to 64 KiB; null forgets it."),
            ("log", text(), "What comes behind the log of this attempt, of which the last 64 KiB are kept."),
        ];
        let item = input("", &["id", "lease"], fields);
        let fields = vec![
            ("leases", list(inline(item)), "1 to 1,000, each once."),
            ("extend", length(), "How long they last from now on: 5s to 1h; 30s where it is silent."),
        ];
        let schema = input("Which leases are still held. Unknown fields are refused.", &["leases"], fields);
        MetaSchema { example: Some(json!({"leases": [{"id": 42, "lease": "7", "progress": 0.5, "log": "half of it\n"}], "extend": "30s"})), ..schema }
    }
}

fn result() -> Field {
    ("result", any(), "What came of it.")
}

fn failure() -> Vec<Field> {
    vec![
        ("error", text(), "Why; 16 KiB are kept."),
        ("retry_in", length(), "When to try again; by the job's backoff where it is silent."),
        ("discard", flag(), "Trying again is of no use."),
    ]
}

fn delay() -> Field {
    ("for", length(), "For how long.")
}

/// A success.
#[derive(Debug)]
pub struct Complete;

impl Schema for Complete {
    const NAME: &'static str = "Complete";
    fn schema() -> MetaSchema {
        let schema = input("A success. Unknown fields are refused.", &["lease"], vec![lease(), result()]);
        MetaSchema { example: Some(json!({"lease": "7", "result": {"words": 1234}})), ..schema }
    }
}

/// A failure.
#[derive(Debug)]
pub struct Fail;

impl Schema for Fail {
    const NAME: &'static str = "Fail";
    fn schema() -> MetaSchema {
        let mut fields = failure();
        fields.insert(0, lease());
        let schema = input("A failure. Unknown fields are refused.", &["lease", "error"], fields);
        MetaSchema { example: Some(json!({"lease": "7", "error": "mailbox full", "retry_in": "5m"})), ..schema }
    }
}

/// Not now.
#[derive(Debug)]
pub struct Snooze;

impl Schema for Snooze {
    const NAME: &'static str = "Snooze";
    fn schema() -> MetaSchema {
        let schema = input("Not now. Unknown fields are refused.", &["lease", "for"], vec![lease(), delay()]);
        MetaSchema { example: Some(json!({"lease": "7", "for": "1h"})), ..schema }
    }
}

/// Many of those.
#[derive(Debug)]
pub struct Reports;

impl Schema for Reports {
    const NAME: &'static str = "Reports";
    fn schema() -> MetaSchema {
        let mut fields = vec![id(), lease(), ("outcome", word(["complete", "fail", "snooze"]), "What became of it."), result()];
        fields.extend(failure());
        fields.push(delay());
        let item = input("", &["id", "lease", "outcome"], fields);
        let schema = input(
            "What became of jobs. Unknown fields, and those of another outcome, are refused.",
            &["reports"],
            vec![("reports", list(inline(item)), "1 to 1,000, each lease once.")],
        );
        MetaSchema { example: Some(json!({"reports": [{"id": 42, "lease": "7", "outcome": "complete", "result": {"words": 1234}}]})), ..schema }
    }
}

impl Schema for LeasedJob {
    const NAME: &'static str = "LeasedJob";
    fn schema() -> MetaSchema {
        let own = object(
            "",
            vec![
                ("lease", text(), "The token under which it is extended and reported."),
                ("lease_expires_at", time(), "When the lease ends unless it is extended."),
                ("traceparent", nullable(text()), "W3C trace context of the request that enqueued it, for your own spans; null: there is none."),
                ("parents", any(), "The results of the jobs it waited for, by name."),
            ],
        );
        let mut schema = JobView::schema();
        schema.properties.extend(own.properties);
        schema.required.extend(own.required);
        if let Some(Value::Object(example)) = &mut schema.example {
            example.extend([("state".to_owned(), json!("running")), ("attempt".to_owned(), json!(1)), ("worker".to_owned(), json!("my-host-1"))]);
            example.extend([
                ("lease".to_owned(), json!("7")),
                ("lease_expires_at".to_owned(), json!("2030-01-31T12:00:30Z")),
                ("traceparent".to_owned(), json!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")),
                ("parents".to_owned(), json!({})),
            ]);
        }
        schema
    }
    fn register_parts(registry: &mut Registry) {
        JobView::register_parts(registry);
    }
}

impl Schema for Leased {
    const NAME: &'static str = "Leased";
    fn schema() -> MetaSchema {
        object("Jobs that are now yours.", vec![("jobs", list(LeasedJob::reference()), "Best first; none: there are none.")])
    }
    fn register_parts(registry: &mut Registry) {
        LeasedJob::register(registry);
    }
}

fn ids() -> MetaSchema {
    list(inline(integer(i64_min(), i64_max())))
}

impl Schema for Standing {
    const NAME: &'static str = "Standing";
    fn schema() -> MetaSchema {
        let fields = vec![
            ("ok", ids(), "These leases were extended."),
            ("lost", ids(), "These have ended: the jobs are another's, or done with."),
            ("cancelled", ids(), "These stand, but the jobs are to be cancelled: end them, and report."),
        ];
        MetaSchema { example: Some(json!({"ok": [42], "lost": [], "cancelled": []})), ..object("How leases stand.", fields) }
    }
}

impl Schema for ReportsTaken {
    const NAME: &'static str = "ReportsTaken";
    fn schema() -> MetaSchema {
        let fields =
            vec![("ok", ids(), "These are recorded, by this report or an earlier one."), ("lost", ids(), "Of these the lease had ended: nothing was changed.")];
        MetaSchema { example: Some(json!({"ok": [42], "lost": []})), ..object("What became of reports.", fields) }
    }
}
