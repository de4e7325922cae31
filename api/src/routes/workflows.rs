//! `/v1/workflows`: jobs that wait for other jobs.

use std::{collections::BTreeSet, sync::Arc};

use longshore_common::{
    job::{NewTask, NewWorkflow, TaskName, filter::MAX_ID, workflow},
    key::Scope,
    store::{once::FirstAnswer, workflows::WorkflowView},
};
use poem::{IntoResponse, Response};
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path},
    payload::Payload,
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
};

use super::{jobs::held, origin};
use crate::{
    auth::Access,
    body::{self, MAX_BATCH_BODY},
    idempotency::{self, Answered},
    openapi::{
        self, Adding, Admin, Awaiting, Caller, Controlling, Enqueue, Enqueuing, FromQuery, IdempotencyKey, LargeBody, Output, Query, Read, Refusal, Schema,
        WorkflowBody, each_parameter,
    },
    problem::ApiError,
    state::State,
};

/// The routes of workflows.
#[derive(Debug)]
pub struct WorkflowRoutes(pub Arc<State>);

/// What became of a workflow that was to be made.
#[derive(Debug, ApiResponse)]
pub enum MakeAnswer {
    /// It is stored.
    #[oai(status = 201)]
    Created(
        Output<Answered<WorkflowView>>,
        /// Where it can be read.
        #[oai(header = "Location")]
        String,
        /// There, and true, where this is the first answer again.
        #[oai(header = "idempotent-replayed")]
        Option<bool>,
    ),
}

/// What became of jobs that were to be added.
#[derive(Debug, ApiResponse)]
pub enum AddAnswer {
    /// They are stored; the workflow as it now is.
    #[oai(status = 201)]
    Created(Output<WorkflowView>),
}

/// What became of a workflow that was to be cancelled.
#[derive(Debug, ApiResponse)]
pub enum CancelAnswer {
    /// None of its jobs ran: all that waited are cancelled.
    #[oai(status = 200)]
    Cancelled(Output<WorkflowView>),
    /// All that waited are cancelled, and those that run were asked for.
    #[oai(status = 202)]
    Asked(Output<WorkflowView>),
}

/// A workflow, as data or drawn.
#[derive(Debug)]
pub enum Shown {
    /// As data.
    Data(Box<WorkflowView>),
    /// Drawn.
    Drawn(Drawing, String),
}

/// How a workflow is drawn.
#[derive(Debug, Clone, Copy)]
pub enum Drawing {
    /// A flow chart of Mermaid.
    Mermaid,
    /// A graph of Graphviz.
    Dot,
}

impl Drawing {
    fn content_type(self) -> &'static str {
        match self {
            Self::Mermaid => "text/vnd.mermaid; charset=utf-8",
            Self::Dot => "text/vnd.graphviz; charset=utf-8",
        }
    }

    /// For the document.
    fn media_type(self) -> MetaMediaType {
        let example = match self {
            Self::Mermaid => "flowchart TD\n  n0[\"fetch<br/>succeeded\"]:::succeeded\n  n1[\"check<br/>running\"]:::running\n  n0 --> n1\n",
            Self::Dot => "digraph workflow {\n  n0 [label=\"fetch\\nsucceeded\"];\n  n1 [label=\"check\\nrunning\"];\n  n0 -> n1;\n}\n",
        };
        let schema = MetaSchema { example: Some(example.into()), ..openapi::text() };
        MetaMediaType { content_type: self.content_type(), schema: MetaSchemaRef::Inline(Box::new(schema)) }
    }
}

impl IntoResponse for Shown {
    fn into_response(self) -> Response {
        match self {
            Self::Data(workflow) => Output(*workflow).into_response(),
            Self::Drawn(drawing, text) => Response::builder().content_type(drawing.content_type()).body(text),
        }
    }
}

impl ApiResponse for Shown {
    fn meta() -> MetaResponses {
        let data = MetaMediaType { content_type: Output::<WorkflowView>::CONTENT_TYPE, schema: WorkflowView::reference() };
        let content = vec![data, Drawing::Mermaid.media_type(), Drawing::Dot.media_type()];
        MetaResponses { responses: vec![MetaResponse { description: "The workflow", status: Some(200), status_range: None, content, headers: vec![] }] }
    }

    fn register(registry: &mut Registry) {
        WorkflowView::register(registry);
    }
}

#[OpenApi]
impl WorkflowRoutes {
    /// Make a workflow
    ///
    /// Jobs that come after other jobs, all or none; when the answer comes, they are durable. One that comes after others is blocked
    /// until all of them have ended, and then finds their results. The same request again with the same `Idempotency-Key` gets the
    /// first answer, for 24 hours. Scope: `enqueue`.
    #[oai(path = "/v1/workflows", method = "post")]
    async fn make(
        &self,
        caller: Caller<Enqueue>,
        body: WorkflowBody,
        #[oai(name = "idempotency-key")] key: IdempotencyKey,
        #[oai(name = "x-request-id")] request_id: Header<Option<String>>,
        traceparent: Header<Option<String>>,
    ) -> Result<MakeAnswer, Refusal<Enqueuing>> {
        let state = &*self.0;
        let store = state.store()?;
        let mut once = idempotency::once(&caller, key, "POST /v1/workflows");
        let _held_until_answered = state.batch_bodies.take(body.declared, MAX_BATCH_BODY).await?;
        let text = body::read(body.body, MAX_BATCH_BODY).await?;
        if let Some(once) = &mut once {
            once.hash.add(&text);
        }
        let new = NewWorkflow::parse(&text).map_err(ApiError::from)?;
        drop(text);
        want_queues(&caller, &new.tasks)?;
        let origin = origin(&caller, request_id.0, traceparent.0);
        let made = store.make_workflow(once.as_ref(), &new, &origin, caller.queues()).await;
        let refused = |error| idempotency::refusal(error, |error| held(error, |index| format!("/jobs/{index}/unique/key")));
        let FirstAnswer { body, replayed, .. } = made.map_err(refused)?;
        self.wake(&new.tasks);
        let location = format!("/v1/workflows/{}", body.read::<Known>().map_or(0, |known| known.id));
        Ok(MakeAnswer::Created(Output(Answered::First(body)), location, replayed.then_some(true)))
    }

    /// Read a workflow
    ///
    /// With all of its jobs; with `format`, drawn. With a key that is limited to queues: only where all of its jobs are of those.
    /// Scope: `read`.
    #[oai(path = "/v1/workflows/:id", method = "get")]
    async fn read(&self, caller: Caller<Read>, id: Path<String>, query: Query<Format>) -> Result<Shown, Refusal<Awaiting>> {
        let workflow = self.reached(&caller, &id.0).await?;
        let name = workflow.name.as_deref();
        Ok(match query.0.0 {
            None => Shown::Data(workflow.into()),
            Some(drawing @ Drawing::Mermaid) => Shown::Drawn(drawing, workflow::mermaid(name, &workflow.jobs)),
            Some(drawing @ Drawing::Dot) => Shown::Drawn(drawing, workflow::dot(name, &workflow.jobs)),
        })
    }

    /// Cancel a workflow
    ///
    /// Its jobs that wait are cancelled, those that run are asked for. Scope: `admin`.
    #[oai(path = "/v1/workflows/:id/cancel", method = "post")]
    async fn cancel(&self, caller: Caller<Admin>, id: Path<String>) -> Result<CancelAnswer, Refusal<Controlling>> {
        let before = self.reached(&caller, &id.0).await?;
        let cancelled = self.0.store()?.cancel_workflow(before.id).await.map_err(ApiError::from)?;
        self.0.waker.ended(before.jobs.iter().filter(|job| !job.state.is_finished()).map(|job| job.id));
        let workflow = Output(self.reached(&caller, &id.0).await?);
        Ok(if cancelled.asked == 0 { CancelAnswer::Cancelled(workflow) } else { CancelAnswer::Asked(workflow) })
    }

    /// Retry a workflow
    ///
    /// What failed runs again, with one more attempt allowed, and what was cancelled because of that waits for it again. Scope: `admin`.
    #[oai(path = "/v1/workflows/:id/retry", method = "post")]
    async fn retry(&self, caller: Caller<Admin>, id: Path<String>) -> Result<Output<WorkflowView>, Refusal<Controlling>> {
        let before = self.reached(&caller, &id.0).await?;
        self.0.store()?.retry_workflow(before.id).await.map_err(ApiError::from)?;
        before.queues.iter().for_each(|queue| self.0.waker.wake(queue));
        Ok(Output(self.reached(&caller, &id.0).await?))
    }

    /// Add jobs to a workflow
    ///
    /// While a job of it is unfinished; all or none. They may come after each other and after those that are there. Scope: `enqueue`.
    #[oai(path = "/v1/workflows/:id/jobs", method = "post")]
    async fn add(
        &self,
        caller: Caller<Enqueue>,
        id: Path<String>,
        body: LargeBody<openapi::MoreTasks>,
        #[oai(name = "x-request-id")] request_id: Header<Option<String>>,
        traceparent: Header<Option<String>>,
    ) -> Result<AddAnswer, Refusal<Adding>> {
        let state = &*self.0;
        let _held_until_answered = state.batch_bodies.take(body.declared, MAX_BATCH_BODY).await?;
        let text = body::read(body.body, MAX_BATCH_BODY).await?;
        let before = self.reached(&caller, &id.0).await?;
        let standing: BTreeSet<TaskName> = before.jobs.iter().filter_map(|job| TaskName::new(&job.name).ok()).collect();
        let tasks = workflow::parse_more(&text, &standing).map_err(ApiError::from)?;
        drop(text);
        want_queues(&caller, &tasks)?;
        let origin = origin(&caller, request_id.0, traceparent.0);
        state.store()?.add_to_workflow(before.id, &tasks, &origin, caller.queues()).await.map_err(ApiError::from)?;
        self.wake(&tasks);
        Ok(AddAnswer::Created(Output(self.reached(&caller, &id.0).await?)))
    }
}

impl WorkflowRoutes {
    /// The workflow of that id. One with a job of a queue beyond the key's limit is told as if it was not there.
    async fn reached(&self, access: &Access, id: &str) -> Result<WorkflowView, ApiError> {
        let none = || ApiError::NotFound { what: "workflow", name: id.to_owned() };
        let number = id.parse::<i64>().ok().filter(|number| (1..=MAX_ID).contains(number)).ok_or_else(none)?;
        let found = self.0.store()?.workflow(number).await?;
        found.filter(|workflow| workflow.queues.iter().all(|queue| access.reaches(queue))).ok_or_else(none)
    }

    fn wake(&self, tasks: &[NewTask]) {
        let queues: BTreeSet<_> = tasks.iter().map(|task| &task.job.queue).collect();
        for queue in queues {
            self.0.waker.wake(queue);
        }
    }
}

/// What has to be known of an answer.
#[derive(serde::Deserialize)]
struct Known {
    id: i64,
}

fn want_queues(access: &Access, tasks: &[NewTask]) -> Result<(), ApiError> {
    tasks.iter().try_for_each(|task| access.want_queue(&task.job.queue, Scope::Enqueue, || format!("/jobs/{}/queue", task.place)))
}

/// How a workflow is to be shown; `None`: as data.
#[derive(Debug)]
pub struct Format(Option<Drawing>);

impl FromQuery for Format {
    fn parameters() -> MetaSchemaRef {
        openapi::format_query()
    }

    fn parse(query: &str) -> Result<Self, ApiError> {
        let mut format = None;
        each_parameter(
            query,
            |_| false,
            |key, value| {
                format = match (key, value) {
                    ("format", "mermaid") => Some(Drawing::Mermaid),
                    ("format", "dot") => Some(Drawing::Dot),
                    ("format", "json") => None,
                    ("format", other) => return Err(format!("must be json, mermaid or dot, is \"{other}\"")),
                    _ => return Err("is not known here; allowed is format".to_owned()),
                };
                Ok(())
            },
        )?;
        Ok(Self(format))
    }
}
