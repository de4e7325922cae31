//! Schedules: as they are set up and as they are shown.

use longshore_common::{
    job::{CatchUp, Overlap},
    store::schedules::ScheduleView,
};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use serde_json::{Value, json};

use super::{
    super::schema::{Field, Schema, flag, inline, input, integer, list, name, nullable, object, parameters, text, time, word},
    NewJob,
};
use crate::routes::schedules::Preview;

const CRON: &str = "Five fields (minute, hour, day of month, month, day of week), or six with seconds first; names, lists, ranges, steps; @daily and the like; \
                    @every 30s.";
const TIMEZONE: &str = "A name of the IANA database. A fixed time that clocks skip is due at the first instant after the gap, one that comes twice the first time; \
                        where minute or hour begins with *, elapsed time counts.";
const CATCH_UP: &str = "Of due times that were missed: none, the last, or all (a thousand at most) are made up for.";
const OVERLAP: &str = "skip: nothing is enqueued while a job of it is unfinished.";

fn settings() -> Vec<Field> {
    let with_default = |default: Value, schema| MetaSchema { default: Some(default), ..schema };
    vec![
        ("name", name(), "As in the path."),
        ("cron", text(), CRON),
        ("timezone", with_default(json!("UTC"), text()), TIMEZONE),
        ("job", NewJob::schema(), "What it enqueues, as in NewJob, without run_at."),
        ("paused", with_default(json!(false), flag()), "Whether it enqueues nothing; what it misses then is not made up for."),
        ("catch_up", with_default(json!("last"), word(CatchUp::ALL.map(CatchUp::word))), CATCH_UP),
        ("overlap", with_default(json!("allow"), word(Overlap::ALL.map(Overlap::word))), OVERLAP),
    ]
}

fn example() -> Value {
    json!({
        "name": "nightly-report", "cron": "30 3 * * MON-FRI", "timezone": "Europe/Berlin", "job": {"kind": "report", "args": {"of": "yesterday"}},
        "paused": false, "catch_up": "last", "overlap": "skip"
    })
}

impl Schema for ScheduleView {
    const NAME: &'static str = "Schedule";
    fn schema() -> MetaSchema {
        let mut fields: Vec<Field> = settings().into_iter().map(|(name, schema, meaning)| (name, MetaSchema { default: None, ..schema }, meaning)).collect();
        fields.push(("next_run_at", nullable(time()), "When it is due next; null: it is paused, or never due again."));
        fields.push(("last_run_at", nullable(time()), "The last due time at which it enqueued a job."));
        let mut example = example();
        example["next_run_at"] = json!("2030-02-01T02:30:00Z");
        example["last_run_at"] = Value::Null;
        MetaSchema { example: Some(example), ..object("A rule that enqueues.", fields) }
    }
}

/// The settings of a schedule as they are put.
#[derive(Debug)]
pub struct ScheduleSettings;

impl Schema for ScheduleSettings {
    const NAME: &'static str = "ScheduleSettings";
    fn schema() -> MetaSchema {
        let about = "What is set for a schedule. What is absent gets its default. What a schedule is shown with beside this is ignored; all else is refused.";
        // what it is shown with comes back with it, and is ignored
        MetaSchema { example: Some(example()), additional_properties: None, ..input(about, &["cron", "job"], settings()) }
    }
}

impl Schema for Preview {
    const NAME: &'static str = "Preview";
    fn schema() -> MetaSchema {
        let example = json!({"items": ["2030-02-01T02:30:00Z", "2030-02-04T02:30:00Z"]});
        MetaSchema { example: Some(example), ..object("When a schedule is due.", vec![("items", list(inline(time())), "In order.")]) }
    }
}

/// The query string of `GET /v1/schedules/{name}/preview`.
pub fn preview_query() -> MetaSchemaRef {
    parameters(vec![("n", MetaSchema { default: Some(json!(10)), ..integer(1.0, 1000.0) }, "How many times.")])
}
