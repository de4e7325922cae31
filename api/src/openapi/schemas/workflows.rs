//! Workflows: as they are made and as they are shown.

use longshore_common::{
    job::{
        IfFailed, JobState,
        workflow::{MAX_NAME_CHARS, MAX_TASKS, TaskView},
    },
    store::workflows::{WorkflowState, WorkflowView},
};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use serde_json::json;

use super::{
    super::schema::{Schema, count, id, inline, input, list, name, nullable, object, parameters, text, time, word},
    NewJob,
};

/// A job of a workflow as it is enqueued.
struct NewTask;

impl Schema for NewTask {
    const NAME: &'static str = "NewTask";
    fn schema() -> MetaSchema {
        let job = NewJob::schema();
        let own = input(
            "",
            &[],
            vec![
                ("name", name(), "Its name in the workflow."),
                ("after", list(inline(name())), "The jobs that it comes after, by name. It is blocked until all of them have ended."),
                (
                    "if_failed",
                    MetaSchema { default: Some(json!("cancel")), ..word(IfFailed::ALL.map(IfFailed::word)) },
                    "What becomes of it when one of those fails or is cancelled: cancelled, or it runs all the same.",
                ),
            ],
        );
        MetaSchema {
            description: Some("A job of a workflow: all of NewJob, and its place."),
            properties: own.properties.into_iter().chain(job.properties).collect(),
            required: ["name"].into_iter().chain(job.required).collect(),
            example: Some(json!({"name": "resize", "kind": "resize", "after": ["upload"], "args": {"width": 200}})),
            ..job
        }
    }
    fn register_parts(registry: &mut Registry) {
        NewJob::register_parts(registry);
    }
}

fn tasks() -> MetaSchema {
    MetaSchema { min_items: Some(1), max_items: Some(MAX_TASKS), ..list(NewTask::reference()) }
}

/// A workflow as it is made.
#[derive(Debug)]
pub struct NewWorkflow;

impl Schema for NewWorkflow {
    const NAME: &'static str = "NewWorkflow";
    fn schema() -> MetaSchema {
        let called = MetaSchema { min_length: Some(1), max_length: Some(MAX_NAME_CHARS), ..text() };
        let fields = vec![("name", nullable(called), "What people call it; no control characters."), ("jobs", tasks(), "1 to 10,000, in any order.")];
        MetaSchema {
            example: Some(json!({"name": "nightly import", "jobs": [
                {"name": "fetch", "kind": "echo", "args": {"rows": 3}}, {"name": "check", "kind": "echo", "after": ["fetch"]},
                {"name": "tell", "kind": "echo", "after": ["fetch", "check"], "if_failed": "run"}]})),
            ..input("Jobs that come after other jobs.", &["jobs"], fields)
        }
    }
    fn register_parts(registry: &mut Registry) {
        NewTask::register(registry);
    }
}

/// Jobs that are added to a workflow.
#[derive(Debug)]
pub struct MoreTasks;

impl Schema for MoreTasks {
    const NAME: &'static str = "MoreTasks";
    fn schema() -> MetaSchema {
        MetaSchema {
            example: Some(json!({"jobs": [{"name": "late", "kind": "echo", "after": ["check"]}]})),
            ..input("Jobs that are to be added.", &["jobs"], vec![("jobs", tasks(), "1 to 10,000; `after` may name those that are there, too.")])
        }
    }
    fn register_parts(registry: &mut Registry) {
        NewTask::register(registry);
    }
}

impl Schema for TaskView {
    const NAME: &'static str = "Task";
    fn schema() -> MetaSchema {
        object(
            "A job of a workflow.",
            vec![
                ("name", name(), "Its name in the workflow."),
                ("id", id(), "The job."),
                ("state", word(JobState::ALL.map(JobState::word)), "Where it stands."),
                ("after", list(inline(name())), "The jobs that it comes after, by name; those that were forgotten are left out."),
            ],
        )
    }
}

impl Schema for WorkflowView {
    const NAME: &'static str = "Workflow";
    fn schema() -> MetaSchema {
        let counts = object("", JobState::ALL.map(|state| (state.word(), count(), "")).to_vec());
        let state = "running: a job of it is unfinished; else failed: one failed; cancelled: one was cancelled; succeeded.";
        let fields = vec![
            ("id", id(), "Its id."),
            ("name", nullable(text()), "What people call it."),
            ("state", word(WorkflowState::ALL.map(WorkflowState::word)), state),
            ("created_at", time(), "When it was made."),
            ("counts", counts, "Its jobs by state."),
            ("jobs", list(TaskView::reference()), "Each behind those that it comes after."),
        ];
        let none = JobState::ALL.map(|state| (state.word().to_owned(), json!(0))).into_iter().collect::<serde_json::Map<_, _>>();
        let mut example = json!({
            "id": 7, "name": "nightly import", "state": "running", "created_at": "2030-02-01T02:30:00Z", "counts": none,
            "jobs": [{"name": "fetch", "id": 42, "state": "running", "after": []}, {"name": "check", "id": 43, "state": "blocked", "after": ["fetch"]}]
        });
        example["counts"]["running"] = json!(1);
        example["counts"]["blocked"] = json!(1);
        MetaSchema { example: Some(example), ..object("Jobs that come after other jobs, and how they stand.", fields) }
    }
    fn register_parts(registry: &mut Registry) {
        TaskView::register(registry);
    }
}

/// The query string of `GET /v1/workflows/{id}`.
pub fn format_query() -> MetaSchemaRef {
    let format = MetaSchema { default: Some(json!("json")), ..word(["json", "mermaid", "dot"]) };
    parameters(vec![("format", format, "As data, or drawn: as a flow chart of Mermaid, or as a graph of Graphviz.")])
}
