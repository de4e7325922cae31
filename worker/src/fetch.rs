//! The loop that looks for work: woken by a notification, a slot that became free, or the poll; then one claim after the
//! other, each for one queue, as large as there are free slots.
//!
//! Queues take turns, and share their free slots evenly, so that a long one starves none. Of a kind that has a limit of its own,
//! jobs are claimed while it has room, together with all others and in the one order; without room, its lane is left out.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use longshore_common::{
    outcome::Outcome,
    store::{Store, StoreError, claim::QueueScan, directory::Lane, workers::WorkerNumber},
};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    handler::Handlers,
    metrics::WorkerMetrics,
    presence::Polled,
    running::{Claimed as Started, Running},
    slots::{Room, Slot, Slots},
};

/// Jobs a claim at most.
const MAX_CLAIM: usize = 1000;
/// How often to look whether jobs wait that no handler here knows.
const UNKNOWN_KINDS_EVERY: Duration = Duration::from_secs(2);

/// What was claimed has been started by then, unless handlers block threads.
const STARTED_SOON: Duration = Duration::from_millis(50);
/// How long the handlers' runtime may take to start jobs before something is said.
const BLOCKED_AFTER: Duration = Duration::from_secs(5);

/// Between two claims of a queue whose rate left no room, so that they take several jobs where the rate is high.
const RATE_GAP: Duration = Duration::from_millis(10);

/// How often to look whether the database has leased jobs to this worker that it knows nothing of.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// What is known of one queue that this worker serves.
struct Queue {
    share: Arc<Room>,
    lanes: Vec<i32>,
    /// Lanes of kinds that have a limit of their own.
    limited: Vec<(i32, Arc<Room>)>,
    scan: QueueScan,
    /// Not worth a look before then.
    not_before: Option<Instant>,
    /// Not worth a look before one of these kinds has room; empty: worth one now.
    waits_for: Vec<Arc<Room>>,
}

impl Queue {
    fn is_ready(&self, now: Instant) -> bool {
        let room = self.waits_for.is_empty() || self.waits_for.iter().any(|room| room.free() > 0);
        room && self.share.free() > 0 && self.not_before.is_none_or(|at| at <= now)
    }
}

/// Looks for work and starts it.
pub(crate) struct Fetcher {
    pub store: Store,
    pub worker: WorkerNumber,
    pub handlers: Handlers,
    pub slots: Arc<Slots>,
    pub running: Running,
    pub poll: Duration,
    pub polled: Polled,
    pub metrics: WorkerMetrics,
}

/// What the loop remembers between two looks.
#[derive(Default)]
struct Known {
    queues: HashMap<String, Queue>,
    /// Lanes that were sorted in.
    sorted: HashSet<i32>,
    /// Queues that may have work, in the order of their turns.
    hungry: VecDeque<String>,
    /// Lanes of kinds that no handler here knows.
    unknown: Vec<Arc<Lane>>,
    told: HashSet<i32>,
}

impl Known {
    /// The queue got work: new work stands behind the marks, where a claim finds it without looking at the beginning.
    fn wake(&mut self, name: &str) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        queue.not_before = None;
        queue.waits_for.clear();
        if !self.hungry.iter().any(|q| q == name) {
            self.hungry.push_back(name.to_owned());
        }
    }

    /// The queue has work, but no more than it had: a pause between two looks at its beginning stands.
    fn remember(&mut self, name: &str) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        queue.waits_for.clear();
        if !self.hungry.iter().any(|q| q == name) {
            self.hungry.push_back(name.to_owned());
        }
    }

    /// Takes up lanes that are new.
    fn sort_in(&mut self, lanes: Vec<Arc<Lane>>, slots: &Slots, handlers: &Handlers) {
        for lane in lanes {
            if !self.sorted.insert(lane.lane) {
                continue;
            }
            let Some(share) = slots.share_of(&lane.queue) else { continue };
            if !handlers.knows(&lane.kind) {
                self.unknown.push(lane);
                continue;
            }
            let queue = self.queues.entry(lane.queue.to_string()).or_insert_with(|| Queue {
                share: share.clone(),
                lanes: Vec::new(),
                limited: Vec::new(),
                scan: QueueScan::default(),
                not_before: None,
                waits_for: Vec::new(),
            });
            match slots.limit_of(&lane.kind) {
                Some(limit) => queue.limited.push((lane.lane, limit.clone())),
                None => queue.lanes.push(lane.lane),
            }
            self.wake(&lane.queue);
        }
    }

    /// The next queue in turn that may have work and has a free slot, with its part of the free slots.
    fn next(&mut self) -> Option<(String, usize)> {
        let now = Instant::now();
        let at = self.hungry.iter().position(|name| self.queues.get(name).is_some_and(|queue| queue.is_ready(now)))?;
        let name = self.hungry.remove(at)?;
        let share = &self.queues.get(&name)?.share;
        let rivals = 1 + self.hungry.iter().filter_map(|n| self.queues.get(n)).filter(|q| Arc::ptr_eq(&q.share, share) && q.is_ready(now)).count();
        Some((name, share.free().div_ceil(rivals).min(MAX_CLAIM)))
    }

    /// When a hungry queue with a free slot may be looked at again.
    fn next_look(&self) -> Option<Instant> {
        self.hungry.iter().filter_map(|name| self.queues.get(name)).filter(|q| q.share.free() > 0).filter_map(|q| q.not_before).min()
    }
}

impl Fetcher {
    /// Fetches until `stop`.
    pub async fn run(self, mut heard: mpsc::Receiver<Option<String>>, stop: CancellationToken) {
        let mut known = Known::default();
        let mut next_poll = Instant::now();
        let mut next_unknown = Instant::now();
        let mut next_check = Instant::now() + CHECK_EVERY;
        let mut trouble = Duration::ZERO;
        while !stop.is_cancelled() {
            let result = async {
                if Instant::now() >= next_poll {
                    if Instant::now() >= next_check {
                        self.hand_back_strays().await?;
                        next_check = Instant::now() + CHECK_EVERY.mul_f64(0.75 + fastrand::f64() / 2.0);
                    }
                    self.look_everywhere(&mut known).await?;
                    next_poll = Instant::now() + self.poll.mul_f64(0.75 + fastrand::f64() / 2.0);
                    if Instant::now() >= next_unknown {
                        self.tell_unknown_kinds(&mut known).await?;
                        next_unknown = Instant::now() + UNKNOWN_KINDS_EVERY;
                    }
                }
                while let Some((name, n)) = known.next() {
                    if stop.is_cancelled() {
                        break;
                    }
                    self.claim(&mut known, name, n, &stop).await?;
                    while let Ok(woken) = heard.try_recv() {
                        self.hear(&mut known, woken, &mut next_poll).await?;
                    }
                    if let Some(queues) = self.slots.room_made().now_or_never() {
                        for queue in &queues {
                            known.wake(queue);
                        }
                    }
                    if Instant::now() >= next_poll {
                        break;
                    }
                }
                Ok::<(), StoreError>(())
            }
            .await;
            if let Err(error) = result {
                if !error.is_unavailable() {
                    tracing::error!(error = longshore_common::log::chain(&error), "looking for work failed; trying again");
                }
                trouble = (trouble * 2).clamp(Duration::from_millis(100), Duration::from_secs(2));
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(trouble.mul_f64(0.75 + fastrand::f64() / 2.0)) => {}
                }
                next_poll = Instant::now();
                continue;
            }
            trouble = Duration::ZERO;
            let until = known.next_look().map_or(next_poll, |look| look.min(next_poll));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                woken = heard.recv() => match woken {
                    Some(woken) => if let Err(error) = self.hear(&mut known, woken, &mut next_poll).await {
                        tracing::debug!(error = longshore_common::log::chain(&error), "learning of a new queue failed; the next poll does it");
                    },
                    None => tokio::time::sleep(self.poll).await, // the listener has ended: polling remains
                },
                queues = self.slots.room_made() => queues.iter().for_each(|queue| known.wake(queue)),
                () = self.slots.freed(), if !known.hungry.is_empty() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// A queue got work; `None`: something may have been missed.
    async fn hear(&self, known: &mut Known, woken: Option<String>, next_poll: &mut Instant) -> Result<(), StoreError> {
        let Some(queue) = woken else {
            *next_poll = Instant::now();
            return Ok(());
        };
        if !known.queues.contains_key(&queue) && self.slots.share_of(&queue).is_some() && self.store.learn_lanes().await? {
            known.sort_in(self.store.known_lanes(), &self.slots, &self.handlers);
        }
        known.wake(&queue);
        Ok(())
    }

    /// The poll: learns of new lanes and finds the queues that have work.
    async fn look_everywhere(&self, known: &mut Known) -> Result<(), StoreError> {
        self.store.learn_lanes().await?;
        known.sort_in(self.store.known_lanes(), &self.slots, &self.handlers);
        let with_room = |q: &Queue| q.limited.iter().filter(|(_, limit)| limit.free() > 0).map(|(lane, _)| *lane).collect::<Vec<_>>();
        let lanes: Vec<i32> = known.queues.values().filter(|q| q.share.free() > 0).flat_map(|q| q.lanes.iter().copied().chain(with_room(q))).collect();
        self.polled.now();
        if lanes.is_empty() {
            return Ok(());
        }
        for lane in self.store.lanes_with_work(&lanes).await? {
            if let Some(lane) = self.store.lane(lane) {
                known.remember(&lane.queue);
            }
        }
        Ok(())
    }

    async fn claim(&self, known: &mut Known, name: String, n: usize, stop: &CancellationToken) -> Result<(), StoreError> {
        let Some(queue) = known.queues.get_mut(&name) else { return Ok(()) };
        let began = Instant::now();
        let claimed = async {
            let (lanes, n) = self.lanes_with_room(queue, n).await?;
            self.store.claim(self.worker, &mut queue.scan, &lanes, n).await
        }
        .await;
        self.metrics.claimed(began.elapsed());
        self.polled.now();
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                known.hungry.push_back(name); // it still may have work
                return Err(error);
            }
        };
        queue.not_before = claimed.look_again_in.map(|wait| Instant::now() + wait);
        let came = claimed.jobs.len();
        let start = claimed.jobs.into_iter().filter_map(|job| {
            let handler = self.handlers.get(&job.lane.kind)?; // only lanes of known kinds are claimed
            let slot = Slot::take(&queue.share, self.slots.limit_of(&job.lane.kind));
            Some(Started { job, handler, slot })
        });
        let started = self.running.start(start.collect());
        if came > 0 {
            self.wait_for_start(started, stop).await;
        }
        if let Some(wait) = claimed.room_in.filter(|wait| !wait.is_zero()) {
            // its rate: not before a token has come
            queue.not_before = Some(Instant::now() + wait.max(RATE_GAP) + Duration::from_millis(1));
            known.hungry.push_back(name);
            return Ok(());
        }
        if claimed.more || claimed.look_again_in.is_some() {
            known.hungry.push_back(name);
            return Ok(());
        }
        if !queue.waits_for.is_empty() {
            known.hungry.push_back(name);
        }
        if came == 0 && self.store.learn_lanes().await? {
            // woken for a kind that was new
            known.sort_in(self.store.known_lanes(), &self.slots, &self.handlers);
        }
        Ok(())
    }

    /// Lets what was claimed run first: handlers that end at once give back their slots, and the next claim is a full one. Where
    /// handlers block all threads of their runtime, nothing more is claimed: it could not start here, but may elsewhere.
    async fn wait_for_start(&self, mut started: JoinHandle<()>, stop: &CancellationToken) {
        let mut told = false;
        // what has started them may wait behind a handler that blocks, in the queue of its thread: another thread may be free
        let free = async {
            tokio::time::sleep(STARTED_SOON).await;
            let _ = self.running.free_thread().await;
        };
        tokio::pin!(free);
        loop {
            tokio::select! {
                biased;
                _ = &mut started => break,
                () = &mut free => break,
                () = stop.cancelled() => return,
                () = tokio::time::sleep(BLOCKED_AFTER), if !told => {
                    told = true;
                    tracing::warn!(
                        "handlers block all threads of their runtime, so nothing can start here: no jobs are leased until one of them returns; \
                         use spawn_blocking in them"
                    );
                }
            }
        }
        if told {
            tracing::info!("handlers can start again");
        }
    }

    /// What may be claimed of a queue now, and how much of it at once. Where a kind with a limit of its own has work and room,
    /// no more jobs than it has room for: they might all be of that kind.
    async fn lanes_with_room(&self, queue: &mut Queue, n: usize) -> Result<(Vec<i32>, usize), StoreError> {
        queue.waits_for.clear();
        if queue.limited.is_empty() {
            return Ok((queue.lanes.clone(), n));
        }
        let (with_room, without): (Vec<_>, Vec<_>) =
            queue.limited.iter().map(|(lane, room)| (*lane, room.clone(), room.free())).partition(|(_, _, free)| *free > 0);
        queue.waits_for = without.into_iter().map(|(_, room, _)| room).collect();
        let asked: Vec<i32> = with_room.iter().map(|(lane, ..)| *lane).collect();
        let with_work = if asked.is_empty() { Vec::new() } else { self.store.lanes_with_work(&asked).await? };
        let least = with_room.iter().filter(|(lane, ..)| with_work.contains(lane)).map(|(_, _, free)| *free).min();
        Ok((queue.lanes.iter().copied().chain(with_work).collect(), least.map_or(n, |least| least.min(n))))
    }

    /// Jobs that the database has leased to this worker and that it knows nothing of: a claim was committed and its answer
    /// lost on the way, or an outcome was stored and lost again by a failover to a standby that lagged behind. Nobody would
    /// ever report them, and since this worker lives, nobody rescues them.
    ///
    /// Only here, between two claims, is every lease whose claim was answered already among the running.
    async fn hand_back_strays(&self) -> Result<(), StoreError> {
        let leased = self.store.held_by(self.worker).await?;
        let strays: Vec<_> = leased.into_iter().filter(|lease| !self.running.holds(*lease)).map(|lease| (lease, Outcome::HandedBack)).collect();
        if strays.is_empty() {
            return Ok(());
        }
        // one that was reported between the two looks is not held any more, and nothing happens to it
        let handed_back = match self.store.report(&strays).await {
            Ok(reported) => reported.states.len(),
            Err(error) if error.is_unavailable() && !error.is_locked() => return Err(error),
            Err(error) => {
                tracing::warn!(error = longshore_common::log::chain(&error), "handing back {} jobs failed; trying them one by one", strays.len());
                let mut handed_back = 0;
                for stray in &strays {
                    // the next look finds those that fail again
                    handed_back += self.store.report_if_free(stray).await.map_or(0, |reported| reported.states.len());
                }
                handed_back
            }
        };
        if handed_back > 0 {
            tracing::warn!(
                jobs = handed_back,
                "jobs were leased to this worker whose answers were lost on the way from the database; they are handed back, uncounted"
            );
        }
        Ok(())
    }

    /// Says once for each kind that jobs wait which no handler here knows.
    async fn tell_unknown_kinds(&self, known: &mut Known) -> Result<(), StoreError> {
        let lanes: Vec<i32> = known.unknown.iter().map(|lane| lane.lane).filter(|lane| !known.told.contains(lane)).collect();
        if lanes.is_empty() {
            return Ok(());
        }
        for lane in self.store.lanes_with_work(&lanes).await? {
            known.told.insert(lane);
            if let Some(lane) = self.store.lane(lane) {
                let kinds = self.handlers.kinds().map(std::string::ToString::to_string).collect::<Vec<_>>().join(", ");
                tracing::warn!(kind = %lane.kind, queue = %lane.queue, kinds, "jobs wait of a kind that this worker has no handler for; they wait until a worker comes that has one");
            }
        }
        Ok(())
    }
}
