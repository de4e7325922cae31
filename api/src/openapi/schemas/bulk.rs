//! Calls of many jobs by filter, and what comes of them.

use longshore_common::job::JobView;
use poem_openapi::registry::{MetaSchema, Registry};
use serde_json::json;

use super::{
    super::schema::{Field, Schema, any, count, flag, inline, input, integer, length, list, nullable, time},
    jobs::filter_fields,
    with_optional,
};
use crate::{openapi::schema::object, routes::bulk::BulkAnswer};

fn call_fields() -> Vec<Field> {
    let mut filter = input("", &[], filter_fields());
    // what repeats in a query string may be one text or an array here; the keys of meta are the caller's
    for (name, schema) in &mut filter.properties {
        if matches!(*name, "state" | "queue" | "kind" | "tag") {
            let array = std::mem::replace(schema, inline(any())).unwrap_inline().clone();
            let one = array.items.as_deref().cloned().unwrap_or_else(|| inline(any()));
            let description = array.description;
            let array = inline(MetaSchema { description: None, nullable: false, ..array });
            *schema = inline(nullable(MetaSchema { any_of: vec![one, array], description, ..any() }));
        }
    }
    filter.properties.retain(|(name, _)| *name != "meta.<key>");
    filter.additional_properties = Some(Box::new(inline(any())));
    vec![
        ("filter", filter, "Which jobs: the filters of GET /v1/jobs, with texts or arrays of texts; \"meta.<key>\" as there."),
        ("all", MetaSchema { default: Some(json!(false)), ..flag() }, "Every job, where the filter is empty, which is refused otherwise."),
        ("dry_run", MetaSchema { default: Some(json!(false)), ..flag() }, "Change nothing; tell how many it would be, and five of them."),
    ]
}

/// Which jobs are meant.
#[derive(Debug)]
pub struct BulkCall;

impl Schema for BulkCall {
    const NAME: &'static str = "BulkCall";
    fn schema() -> MetaSchema {
        let schema = input("Which jobs are meant. Unknown fields are refused.", &[], call_fields());
        MetaSchema { example: Some(json!({"filter": {"queue": "emails", "state": ["available", "scheduled"]}, "dry_run": true})), ..schema }
    }
}

/// Which jobs are to be retried, and how fast.
#[derive(Debug)]
pub struct BulkRetry;

impl Schema for BulkRetry {
    const NAME: &'static str = "BulkRetry";
    fn schema() -> MetaSchema {
        let rate = input("", &["limit", "per"], vec![("limit", integer(1.0, 1_000_000.0), "So many"), ("per", length(), "in this time: 1ms to 1d.")]);
        let mut fields = call_fields();
        fields.push((
            "rate",
            rate,
            "Finished jobs only; their run_at is spread evenly from now on. A further call begins anew from now: let it wait for last_run_at.",
        ));
        let schema = input("Which jobs are to be retried, and how fast. Unknown fields are refused.", &[], fields);
        MetaSchema { example: Some(json!({"filter": {"fingerprint": "3f1c2a9be05d7716"}, "rate": {"limit": 10, "per": "1s"}})), ..schema }
    }
}

impl Schema for BulkAnswer {
    const NAME: &'static str = "BulkAnswer";
    fn schema() -> MetaSchema {
        let fields = vec![("count", count(), "So many were changed, or would be; 10,000 at most."), ("more", flag(), "Whether there are more: call again.")];
        let optional = vec![
            ("items", list(JobView::reference()), "Of a dry run: five of them."),
            ("last_run_at", time(), "Of a retry with a rate: when the last one is due; not there where none was retried."),
        ];
        MetaSchema { example: Some(json!({"count": 10_000, "more": true})), ..with_optional(object("What was done to many jobs.", fields), optional) }
    }
    fn register_parts(registry: &mut Registry) {
        JobView::register(registry);
    }
}
