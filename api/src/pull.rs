//! Users' own workers, which lease jobs over HTTP. However many wait, they cost the database one listener and one look for
//! all of them at each poll; nothing while nobody waits.
//!
//! ```text
//! a request claims; finds nothing → waits its turn → a look finds a lane with work → wakes the first who wants it → it claims
//! ```

mod line;
mod pullers;
mod scans;

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::SignedDuration;
use longshore_common::{
    job::{JobView, Kind, LeaseRequest, QueueName},
    json::RawJson,
    outcome::Outcome,
    store::{
        Store, StoreError,
        claim::{Lease, LeasedJob},
        leases::Puller,
        listen::{Channel, Waker},
        workers::WorkerNumber,
    },
};
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use self::{
    line::{Line, Place},
    pullers::Pullers,
    scans::Scans,
};
use crate::problem::ApiError;

/// After a look, the next one is not before this.
const LOOK_GAP: Duration = Duration::from_millis(10);
/// How often those who wait are shown to live.
const SHOW_EVERY: Duration = Duration::from_secs(10);
/// How long to go on listening when nobody waits any more.
const LINGER: Duration = Duration::from_mins(1);
/// How long an empty claim waits for the time when the whole of a queue may be looked at again.
const SOON: Duration = Duration::from_millis(250);
/// From so many losses in a row on, a job is suspected of them, and given alone.
const SUSPECT: i32 = 2;

/// A job that was leased, as it is answered.
#[derive(Debug)]
pub struct Given {
    /// As it is shown.
    pub job: JobView,
    /// The right to report.
    pub lease: Lease,
    /// When that ends, unless it is extended.
    pub expires_at: jiff::Timestamp,
    /// W3C trace context, for spans of whoever runs it.
    pub traceparent: Option<String>,
    /// The results of the jobs that it comes after, by name.
    pub parents: Option<RawJson>,
}

/// What leasing over HTTP needs to remember.
#[derive(Debug)]
pub struct Pull {
    line: Line,
    pullers: Pullers,
    scans: Scans,
    stop: CancellationToken,
}

impl Pull {
    /// Nobody yet. `stop` ends all waits.
    pub fn new(stop: CancellationToken) -> Self {
        Self { line: Line::default(), pullers: Pullers::default(), scans: Scans::default(), stop }
    }

    /// Leases jobs; where there are none, waits for some as long as is asked.
    ///
    /// # Errors
    /// Where too many wait, somebody else bears the name, or the database is away.
    pub async fn lease(self: &Arc<Self>, store: &Store, waker: &Waker, asked: &Arc<LeaseRequest>, puller: &Puller) -> Result<Vec<Given>, ApiError> {
        let until = Instant::now() + asked.wait;
        let _is_here = self.pullers.enter(&puller.name);
        let mut place: Option<Place<'_>> = None;
        loop {
            let given = self.take(store, waker, asked, puller).await?;
            if given.len() >= asked.limit {
                // there may be more than this one takes
                asked.queues.iter().for_each(|queue| self.line.wake(queue, |_| true));
            }
            if !given.is_empty() || asked.wait.is_zero() {
                return Ok(given);
            }
            let Some(place) = &place else {
                // and look once more, for what came before anybody knew that this one waits
                place = Some(self.line.join(asked.clone())?);
                continue;
            };
            tokio::select! {
                () = place.woken() => {}
                () = tokio::time::sleep_until(until) => return Ok(given),
                () = self.stop.cancelled() => return Ok(given),
            }
        }
    }

    /// Claims in a task of its own: a claim that is under way when the caller hangs up is committed all the same, and what it
    /// brought goes back.
    async fn take(self: &Arc<Self>, store: &Store, waker: &Waker, asked: &Arc<LeaseRequest>, puller: &Puller) -> Result<Vec<Given>, ApiError> {
        let worker = self.pullers.number(store, puller).await?.ok_or_else(|| ApiError::NameTaken(puller.name.clone()))?;
        let (answer, answered) = oneshot::channel();
        let (pull, store, waker, asked) = (self.clone(), store.clone(), waker.clone(), asked.clone());
        tokio::spawn(async move {
            let mut leased = Vec::new();
            let claimed = pull.claim(&store, worker, &asked, &mut leased).await;
            // what came before a fault is given all the same
            let given = if leased.is_empty() { claimed.map(|()| Vec::new()) } else { give(&store, &waker, &asked, leased).await };
            if let Err(Ok(unheard)) = answer.send(given) {
                hand_back(&store, &waker, unheard.into_iter().map(|given| (given.lease, given.job.queue)).collect()).await;
            }
        });
        let given = answered.await.map_err(|_| ApiError::Panicked("a claim panicked".to_owned()))?;
        Ok(given?)
    }

    /// Claims of each queue in turn, each time beginning with another.
    async fn claim(&self, store: &Store, worker: WorkerNumber, asked: &LeaseRequest, leased: &mut Vec<LeasedJob>) -> Result<(), StoreError> {
        let (before, after) = asked.queues.split_at(fastrand::usize(..asked.queues.len()));
        for queue in after.iter().chain(before) {
            let left = asked.limit - leased.len();
            if left == 0 {
                return Ok(());
            }
            let lanes = lanes(store, queue, |kind| asked.wants(kind));
            if lanes.is_empty() {
                continue; // whatever name somebody asks for
            }
            let scan = self.scans.of(queue);
            let mut scan = scan.lock().await;
            let mut claimed = store.lease(worker, &mut scan, &lanes, left, asked.lease_for).await?;
            if let (0, Some(soon)) = (claimed.jobs.len(), claimed.look_again_in.filter(|wait| *wait <= SOON)) {
                // the beginning of the queue was not looked at, and what was handed back stands there
                tokio::time::sleep(soon).await;
                claimed = store.lease(worker, &mut scan, &lanes, left, asked.lease_for).await?;
            }
            leased.extend(claimed.jobs);
        }
        if leased.is_empty() && store.learn_lanes().await? {
            // of a kind, or a queue, that was new
            return Box::pin(self.claim(store, worker, asked, leased)).await;
        }
        Ok(())
    }

    /// Wakes those who wait as work comes, and shows that they live, until `stop`.
    pub async fn keep_up(&self, store: &Store, poll: Duration) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.line.came() => {}
            }
            let listening = self.stop.child_token();
            let _ends = listening.clone().drop_guard();
            let mut heard = store.listen(Channel::Work, listening);
            let mut looks = interval(poll.mul_f64(0.75 + fastrand::f64() / 4.0));
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (mut shown, mut idle_since) = (Instant::now(), Instant::now());
            while idle_since.elapsed() < LINGER {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    note = heard.recv() => if note.is_none() { break },
                    _ = looks.tick() => {}
                }
                while heard.try_recv().is_ok() {}
                // that the database is away is said by the store
                let _ = self.look(store).await;
                if shown.elapsed() > SHOW_EVERY {
                    let _ = self.pullers.show(store).await;
                    shown = Instant::now();
                }
                if !self.line.is_empty() {
                    idle_since = Instant::now();
                }
                tokio::time::sleep(LOOK_GAP).await;
            }
        }
    }

    /// Wakes one for each lane that has work and is waited for.
    async fn look(&self, store: &Store) -> Result<(), StoreError> {
        let wanted = self.line.wanted();
        if wanted.is_empty() {
            return Ok(());
        }
        store.learn_lanes().await?;
        let wanted: Vec<i32> =
            wanted.iter().flat_map(|(queue, kinds)| lanes(store, queue, |kind| kinds.as_ref().is_none_or(|kinds| kinds.contains(kind)))).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        for lane in store.lanes_with_work(&wanted).await? {
            if let Some(lane) = store.lane(lane) {
                self.line.wake(&lane.queue, |asked| asked.wants(&lane.kind));
            }
        }
        Ok(())
    }
}

fn lanes(store: &Store, queue: &QueueName, wanted: impl Fn(&Kind) -> bool) -> Vec<i32> {
    store.lanes_in(queue).into_iter().filter(|(kind, _)| wanted(kind)).map(|(_, lane)| lane).collect()
}

/// What is answered of the jobs that a claim brought; the rest goes back.
async fn give(store: &Store, waker: &Waker, asked: &LeaseRequest, leased: Vec<LeasedJob>) -> Result<Vec<Given>, StoreError> {
    let (expired, mut jobs): (Vec<_>, Vec<_>) = leased.into_iter().partition(|job| job.expired);
    let back = jobs.split_off(alone(&jobs));
    hand_back(store, waker, leases(&back)).await;
    match show(store, waker, &expired, &jobs).await {
        Ok(shown) => {
            let mut shown: HashMap<i64, JobView> = shown.into_iter().map(|job| (job.id, job)).collect();
            let given = jobs.into_iter().filter_map(|job| {
                let lasts = SignedDuration::try_from(asked.lease_for).ok()?;
                let expires_at = job.started_at.checked_add(lasts).ok()?;
                Some(Given { lease: job.lease, expires_at, traceparent: job.traceparent, parents: job.parents, job: shown.remove(&job.lease.id)? })
            });
            Ok(given.collect())
        }
        Err(error) => {
            jobs.extend(expired);
            hand_back(store, waker, leases(&jobs)).await;
            Err(error)
        }
    }
}

/// Says which have expired, and reads the others as they are shown.
async fn show(store: &Store, waker: &Waker, expired: &[LeasedJob], jobs: &[LeasedJob]) -> Result<Vec<JobView>, StoreError> {
    if !expired.is_empty() {
        let reports: Vec<_> = expired.iter().map(|job| (job.lease, Outcome::Expired)).collect();
        if store.report(&reports).await?.watched {
            waker.ended(reports.iter().map(|(lease, _)| lease.id));
        }
    }
    store.jobs(&jobs.iter().map(|job| job.lease.id).collect::<Vec<_>>()).await
}

/// Leases with their queues, to hand back.
fn leases(jobs: &[LeasedJob]) -> Vec<(Lease, String)> {
    jobs.iter().map(|job| (job.lease, job.lane.queue.to_string())).collect()
}

/// How many of these jobs go together: a suspect goes alone, and others go without one.
fn alone(jobs: &[LeasedJob]) -> usize {
    match jobs.iter().position(|job| job.losses >= SUSPECT) {
        Some(0) => 1,
        Some(first) => first,
        None => jobs.len(),
    }
}

/// Where that fails, these jobs come back when their leases end.
async fn hand_back(store: &Store, waker: &Waker, leases: Vec<(Lease, String)>) {
    if leases.is_empty() {
        return;
    }
    let reports: Vec<_> = leases.iter().map(|(lease, _)| (*lease, Outcome::HandedBack)).collect();
    match store.report(&reports).await {
        Ok(_) => leases.iter().for_each(|(_, queue)| waker.wake(queue)),
        Err(error) => {
            tracing::warn!(
                jobs = reports.len(),
                error = longshore_common::log::chain(&error),
                "jobs could not be handed back; they come back when their leases end"
            );
        }
    }
}
