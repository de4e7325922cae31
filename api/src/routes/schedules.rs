//! `/v1/schedules`: rules that enqueue.

use std::sync::Arc;

use jiff::Timestamp;
use longshore_common::{
    fault::Fault,
    job::{JobView, ScheduleName, ScheduleSettings, filter::integer},
    key::Scope,
    store::{enqueue::Enqueued, schedules::ScheduleView},
};
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path},
    registry::MetaSchemaRef,
};
use serde::Serialize;

use super::{Page, jobs::held, origin};
use crate::{
    auth::Access,
    body,
    openapi::{
        self, Admin, Awaiting, Caller, Enqueue, FromQuery, Nothing, Output, Putting, Query, Read, Reading, Refusal, Running, ScheduleBody, each_parameter,
    },
    problem::ApiError,
    state::State,
};

/// Due times that a preview shows, where it is not said.
const PREVIEW: i64 = 10;
/// Due times that it shows at most.
const MOST_PREVIEWED: i64 = 1000;

/// The routes of schedules.
#[derive(Debug)]
pub struct ScheduleRoutes(pub Arc<State>);

/// What became of a schedule that was to be set up.
#[derive(Debug, ApiResponse)]
pub enum PutAnswer {
    /// It was there: its settings are these now.
    #[oai(status = 200)]
    Replaced(Output<ScheduleView>),
    /// It was not there: it is made.
    #[oai(status = 201)]
    Created(Output<ScheduleView>),
}

/// What became of a schedule that was to be deleted.
#[derive(Debug, ApiResponse)]
pub enum DeleteAnswer {
    /// It is gone; its jobs stay.
    #[oai(status = 204)]
    Gone,
}

/// What became of a job that a schedule was to enqueue.
#[derive(Debug, ApiResponse)]
pub enum RunAnswer {
    /// It is enqueued.
    #[oai(status = 201)]
    Created(
        Output<JobView>,
        /// Where it can be read.
        #[oai(header = "Location")]
        String,
    ),
    /// Its unique key is held: this is the job that holds it.
    #[oai(status = 200)]
    Standing(Output<JobView>),
}

/// When a schedule is due.
#[derive(Debug, Serialize)]
pub struct Preview {
    /// In order.
    pub items: Vec<Timestamp>,
}

#[OpenApi]
impl ScheduleRoutes {
    /// List schedules
    ///
    /// By name; with a key that is limited to queues, those whose jobs go there. Scope: `read`.
    #[oai(path = "/v1/schedules", method = "get")]
    async fn list(&self, caller: Caller<Read>) -> Result<Output<Page<ScheduleView>>, Refusal<Nothing>> {
        let mut schedules = self.0.store()?.schedules(None).await?;
        schedules.retain(|schedule| caller.reaches(&schedule.queue));
        Ok(Output(Page::whole(schedules)))
    }

    /// Read a schedule
    ///
    /// Scope: `read`.
    #[oai(path = "/v1/schedules/:name", method = "get")]
    async fn read(&self, caller: Caller<Read>, name: Path<String>) -> Result<Output<ScheduleView>, Refusal<Reading>> {
        Ok(Output(schedule(&self.0, &caller, &name.0).await?.1))
    }

    /// Set up a schedule
    ///
    /// Makes it, or replaces its settings: what is not given gets its default. While `cron` and `timezone` stay as they are, so does
    /// the next due time. What GET shows may be put back. Scope: `admin`.
    #[oai(path = "/v1/schedules/:name", method = "put")]
    async fn put(&self, caller: Caller<Admin>, name: Path<String>, body: ScheduleBody) -> Result<PutAnswer, Refusal<Putting>> {
        let state = &*self.0;
        let name = ScheduleName::new(&name.0).map_err(|why| ApiError::Invalid(vec![Fault { pointer: "/name".to_owned(), detail: why.into() }]))?;
        let store = state.store()?;
        let _held_until_answered = state.job_bodies.take(body.declared, body::MAX_JOB_BODY).await?;
        let text = body::read(body.body, body::MAX_JOB_BODY).await?;
        let settings = ScheduleSettings::parse(&text, &name).map_err(ApiError::from)?;
        drop(text);
        caller.want_queue(&settings.job.queue, Scope::Admin, || "/job/queue".to_owned())?;
        if let Some(standing) = store.schedules(Some(&name)).await?.pop() {
            caller.want_queue(&standing.queue, Scope::Admin, || "/name".to_owned())?;
        }
        let created = store.put_schedule(&name, &settings).await?;
        let (_, schedule) = schedule(state, &caller, &name).await?;
        Ok(if created { PutAnswer::Created(Output(schedule)) } else { PutAnswer::Replaced(Output(schedule)) })
    }

    /// Delete a schedule
    ///
    /// The jobs that it has enqueued stay. Scope: `admin`.
    #[oai(path = "/v1/schedules/:name", method = "delete")]
    async fn delete(&self, caller: Caller<Admin>, name: Path<String>) -> Result<DeleteAnswer, Refusal<Reading>> {
        let (name, _) = schedule(&self.0, &caller, &name.0).await?;
        if self.0.store()?.delete_schedule(&name).await? { Ok(DeleteAnswer::Gone) } else { Err(no_schedule(&name).into()) }
    }

    /// Enqueue the job of a schedule now
    ///
    /// Besides its due times, which stay; one that is paused does it, too. Scope: `enqueue`.
    #[oai(path = "/v1/schedules/:name/run", method = "post")]
    async fn run(
        &self,
        caller: Caller<Enqueue>,
        name: Path<String>,
        #[oai(name = "x-request-id")] request_id: Header<Option<String>>,
        traceparent: Header<Option<String>>,
    ) -> Result<RunAnswer, Refusal<Running>> {
        let (name, schedule) = schedule(&self.0, &caller, &name.0).await?;
        let store = self.0.store()?;
        let origin = origin(&caller, request_id.0, traceparent.0);
        let enqueued =
            store.run_schedule(&name, &origin).await.map_err(|error| held(error, |_| "/job/unique/key".to_owned()))?.ok_or_else(|| no_schedule(&name))?;
        self.0.waker.wake(&schedule.queue);
        let id = enqueued.id();
        let job = store.job(id).await?.ok_or_else(|| ApiError::NotFound { what: "job", name: id.to_string() })?;
        Ok(match enqueued {
            Enqueued::New { .. } => RunAnswer::Created(Output(job), format!("/v1/jobs/{id}")),
            Enqueued::Duplicate { .. } => RunAnswer::Standing(Output(job)),
        })
    }

    /// Show when a schedule is due
    ///
    /// The next times; of one that is paused, those that it would have. Scope: `read`.
    #[oai(path = "/v1/schedules/:name/preview", method = "get")]
    async fn preview(&self, caller: Caller<Read>, name: Path<String>, query: Query<PreviewQuery>) -> Result<Output<Preview>, Refusal<Awaiting>> {
        let PreviewQuery(n) = query.0;
        let (name, _) = schedule(&self.0, &caller, &name.0).await?;
        let items = self.0.store()?.preview_schedule(&name, n).await?.ok_or_else(|| no_schedule(&name))?;
        Ok(Output(Preview { items }))
    }
}

/// How many times a preview shows.
#[derive(Debug)]
pub struct PreviewQuery(usize);

impl FromQuery for PreviewQuery {
    fn parameters() -> MetaSchemaRef {
        openapi::preview_query()
    }

    fn parse(query: &str) -> Result<Self, ApiError> {
        let mut n = PREVIEW;
        each_parameter(
            query,
            |_| false,
            |key, value| match key {
                "n" => integer(value, 1, MOST_PREVIEWED).map(|value| n = value),
                _ => Err("is not known here; allowed is n".to_owned()),
            },
        )?;
        Ok(Self(usize::try_from(n).unwrap_or_default()))
    }
}

/// The schedule of that name. One whose job goes to a queue beyond the key's limit is told as if it was not there.
async fn schedule(state: &State, access: &Access, name: &str) -> Result<(ScheduleName, ScheduleView), ApiError> {
    let Ok(known) = ScheduleName::new(name) else { return Err(no_schedule(name)) };
    let found = state.store()?.schedules(Some(&known)).await?.pop().filter(|schedule| access.reaches(&schedule.queue));
    found.map(|schedule| (known, schedule)).ok_or_else(|| no_schedule(name))
}

fn no_schedule(name: &str) -> ApiError {
    ApiError::NotFound { what: "schedule", name: name.to_owned() }
}
