//! `/v1/leases`, and what is reported under a lease: users' own workers, in whatever language.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use longshore_common::{
    job::{
        JobState, JobView, Lease, LeaseRequest,
        lease::{Ending, Heartbeat, parse_reports},
    },
    json::RawJson,
    key::Scope,
    notes::Notes,
    outcome::Outcome,
    store::leases::Puller,
};
use poem_openapi::{
    OpenApi,
    param::{Header, Path},
};
use serde::Serialize;

use super::jobs::{job_id, no_job};
use crate::{
    auth::Access,
    body,
    openapi::{self, Caller, Changing, JsonBody, LargeBody, Leasing, Output, Refusal, Sweeping, Work},
    problem::ApiError,
    pull::Given,
    state::State,
};

/// The routes of leases.
#[derive(Debug)]
pub struct LeaseRoutes(pub Arc<State>);

/// Jobs that are now the caller's.
#[derive(Debug, Serialize)]
pub struct Leased {
    jobs: Vec<LeasedJob>,
}

/// A job with the right to report it.
#[derive(Debug, Serialize)]
pub struct LeasedJob {
    #[serde(flatten)]
    job: JobView,
    lease: String,
    lease_expires_at: Timestamp,
    traceparent: Option<String>,
    parents: RawJson,
}

/// How leases stand after a heartbeat.
#[derive(Debug, Default, Serialize)]
pub struct Standing {
    ok: Vec<i64>,
    lost: Vec<i64>,
    cancelled: Vec<i64>,
}

/// What became of reports.
#[derive(Debug, Serialize)]
pub struct ReportsTaken {
    ok: Vec<i64>,
    lost: Vec<i64>,
}

#[OpenApi]
impl LeaseRoutes {
    /// Lease jobs
    ///
    /// The best that are available, as running from now on, each with the token under which it is extended and reported. With
    /// `wait` the answer comes as soon as there are any, or empty when that time is over. A job whose last two attempts were
    /// lost comes alone. Scope: `work`.
    #[oai(path = "/v1/leases", method = "post")]
    async fn lease(
        &self,
        caller: Caller<Work>,
        body: JsonBody<openapi::LeaseRequest>,
        #[oai(name = "user-agent")] agent: Header<Option<String>>,
    ) -> Result<Output<Leased>, Refusal<Leasing>> {
        let state = &*self.0;
        let store = state.store()?;
        let (text, held) = state.lease_bodies.read(body.body, body.declared, body::MAX_JOB_BODY).await?;
        let asked = LeaseRequest::parse(&text).map_err(ApiError::from)?;
        drop((text, held));
        for (index, queue) in asked.queues.iter().enumerate() {
            caller.want_queue(queue, Scope::Work, || format!("/queues/{index}"))?;
        }
        let asked = Arc::new(asked);
        let puller = puller(&caller, &asked, agent.0);
        let given = state.pull.lease(store, &state.waker, &asked, &puller).await?;
        let leased = |Given { job, lease, expires_at, traceparent, parents }| LeasedJob {
            job,
            lease: lease.token(),
            lease_expires_at: expires_at,
            traceparent,
            parents: parents.unwrap_or_else(RawJson::empty_object),
        };
        Ok(Output(Leased { jobs: given.into_iter().map(leased).collect() }))
    }

    /// Extend leases
    ///
    /// And tell how far the jobs are. A lease never becomes shorter. One of a job that is to be cancelled still stands: end it,
    /// and report. Scope: `work`.
    #[oai(path = "/v1/leases/heartbeat", method = "post")]
    async fn heartbeat(&self, caller: Caller<Work>, body: LargeBody<openapi::Heartbeat>) -> Result<Output<Standing>, Refusal<Sweeping>> {
        let state = &*self.0;
        let store = state.store()?;
        let (text, _held_until_answered) = state.lease_bodies.read(body.body, body.declared, body::MAX_BATCH_BODY).await?;
        let heartbeat = Heartbeat::parse(&text).map_err(ApiError::from)?;
        let ids = heartbeat.leases.iter().map(|(lease, _)| lease.id);
        let outside = self.outside(&caller, ids).await?;
        let (others, own): (Vec<_>, Vec<(Lease, Notes)>) = heartbeat.leases.into_iter().partition(|(lease, _)| outside.contains(&lease.id));
        let mut answer = Standing { lost: others.iter().map(|(lease, _)| lease.id).collect(), ..Standing::default() };
        for standing in store.extend_leases(&own, heartbeat.extend).await? {
            let list = match (standing.stands, standing.cancel_requested) {
                (true, false) => &mut answer.ok,
                (true, true) => &mut answer.cancelled,
                (false, _) => &mut answer.lost,
            };
            list.push(standing.lease.id);
        }
        Ok(Output(answer))
    }

    /// Report many jobs
    ///
    /// Each as `complete`, `fail` or `snooze`, as the calls for one job do. A fault in one refuses all; a lease that has ended is
    /// listed as lost, and the others count. It may be repeated. Scope: `work`.
    #[oai(path = "/v1/leases/report", method = "post")]
    async fn report(&self, caller: Caller<Work>, body: LargeBody<openapi::Reports>) -> Result<Output<ReportsTaken>, Refusal<Sweeping>> {
        let state = &*self.0;
        let (text, _held_until_answered) = state.lease_bodies.read(body.body, body.declared, body::MAX_BATCH_BODY).await?;
        let reports = parse_reports(&text).map_err(ApiError::from)?;
        let outside = self.outside(&caller, reports.iter().map(|(lease, _)| lease.id)).await?;
        let (others, own): (Vec<_>, Vec<_>) = reports.into_iter().partition(|(lease, _)| outside.contains(&lease.id));
        let ended = self.record(&own).await?;
        let mut answer = ReportsTaken { ok: Vec::with_capacity(own.len()), lost: others.iter().map(|(lease, _)| lease.id).collect() };
        for (lease, _) in &own {
            if ended.contains(lease) { answer.lost.push(lease.id) } else { answer.ok.push(lease.id) }
        }
        Ok(Output(answer))
    }

    /// Report success
    ///
    /// May be repeated under the same lease. A result of more than 1 MiB is not kept, and the job has succeeded all the same. Scope: `work`.
    #[oai(path = "/v1/jobs/:id/complete", method = "post")]
    async fn complete(&self, caller: Caller<Work>, id: Path<String>, body: LargeBody<openapi::Complete>) -> Result<Output<JobView>, Refusal<Changing>> {
        Ok(self.end(&caller, &id.0, Ending::Complete, body).await?)
    }

    /// Report a failure
    ///
    /// The job is tried again by its backoff, or after `retry_in`, while it has attempts left; with `discard` it is not. May be
    /// repeated under the same lease. Scope: `work`.
    #[oai(path = "/v1/jobs/:id/fail", method = "post")]
    async fn fail(&self, caller: Caller<Work>, id: Path<String>, body: JsonBody<openapi::Fail>) -> Result<Output<JobView>, Refusal<Changing>> {
        Ok(self.end(&caller, &id.0, Ending::Fail, body).await?)
    }

    /// Put off
    ///
    /// Not now: again after a while, without counting this attempt. May be repeated under the same lease. Scope: `work`.
    #[oai(path = "/v1/jobs/:id/snooze", method = "post")]
    async fn snooze(&self, caller: Caller<Work>, id: Path<String>, body: JsonBody<openapi::Snooze>) -> Result<Output<JobView>, Refusal<Changing>> {
        Ok(self.end(&caller, &id.0, Ending::Snooze, body).await?)
    }
}

impl LeaseRoutes {
    async fn end<T: openapi::Schema + Send, const LARGE: bool>(
        &self,
        caller: &Access,
        id: &str,
        ending: Ending,
        body: JsonBody<T, LARGE>,
    ) -> Result<Output<JobView>, ApiError> {
        let state = &*self.0;
        let number = job_id(id)?;
        let (text, _held_until_answered) =
            state.lease_bodies.read(body.body, body.declared, if LARGE { body::MAX_BATCH_BODY } else { body::MAX_JOB_BODY }).await?;
        let report = ending.parse(number, &text).map_err(ApiError::from)?;
        let store = state.store()?;
        if self.outside(caller, [number].into_iter()).await?.contains(&number) {
            return Err(no_job(id)); // one of another queue is told as if it was not there
        }
        let ended = self.record(std::slice::from_ref(&report)).await?;
        let job = store.job(number).await?.ok_or_else(|| no_job(id))?;
        if ended.contains(&report.0) {
            return Err(ApiError::StaleLease { id: number, state: job.state });
        }
        if job.state == JobState::Available {
            state.waker.wake(&job.queue);
        }
        Ok(Output(job))
    }

    /// Records outcomes, and tells those who wait for them; returns whose lease had ended.
    async fn record(&self, reports: &[(Lease, Outcome)]) -> Result<HashSet<Lease>, ApiError> {
        if reports.is_empty() {
            return Ok(HashSet::new());
        }
        let reported = self.0.store()?.report(reports).await?;
        reported.released.iter().for_each(|queue| self.0.waker.wake(queue));
        if reported.watched {
            self.0.waker.ended(reported.states.iter().filter(|(_, state)| state.is_finished()).map(|(lease, _)| lease.id));
        }
        Ok(reported.stale)
    }

    /// Which of these jobs are beyond the caller's queues.
    async fn outside(&self, caller: &Access, ids: impl Iterator<Item = i64>) -> Result<HashSet<i64>, ApiError> {
        match caller.queues() {
            None => Ok(HashSet::new()),
            Some(queues) => Ok(self.0.store()?.outside(&ids.collect::<Vec<_>>(), queues).await?),
        }
    }
}

/// What is shown of whoever asks.
fn puller(caller: &Access, asked: &LeaseRequest, agent: Option<String>) -> Puller {
    let name = asked.worker.clone().unwrap_or_else(|| format!("pull:{}", caller.key_name().unwrap_or("anonymous")));
    Puller {
        host: name.clone(),
        name,
        version: agent.map(|agent| agent.chars().filter(|c| !c.is_control()).take(100).collect()).unwrap_or_default(),
        queues: asked.queues.iter().map(ToString::to_string).collect(),
        kinds: asked.kinds.as_ref().map_or_else(|| vec!["*".to_owned()], |kinds| kinds.iter().map(ToString::to_string).collect()),
    }
}
