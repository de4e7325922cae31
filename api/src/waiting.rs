//! Requests that wait for jobs to end: `wait=30s`. However many they are, they cost the database one listener and a look at
//! some of their jobs, by primary key, twice a second; and nothing while nobody waits.
//!
//! Workers say which jobs have ended as long as somebody waits (`Store::watch_outcomes`). What is not heard of, because a
//! notification was lost or the job ended by no worker's report, is found by that look.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use longshore_common::{
    duration,
    store::{Store, StoreError, listen::Channel},
};
use poem::Request;
use poem_openapi::registry::MetaSchemaRef;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    openapi::{self, FromQuery, each_parameter},
    problem::ApiError,
};

/// How long a request may wait at most.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// Requests that may wait at once.
const MAX_WAITING: usize = 20_000;
/// How often to look for ended jobs that were not heard of.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Jobs that one look takes; with more, the looks take turns.
const LOOK_AT: usize = 1000;
/// How long the wish to hear of outcomes is known to hold after it was stored; it holds for five minutes.
const WATCHED_FOR: Duration = Duration::from_mins(4);
/// How long to go on listening when nobody waits any more: the next one probably comes soon.
const LINGER: Duration = Duration::from_mins(1);

/// How long a request asks to wait for its job; `None`: not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskedWait(pub Option<Duration>);

impl FromQuery for AskedWait {
    fn parameters() -> MetaSchemaRef {
        openapi::wait_query()
    }

    fn parse(query: &str) -> Result<Self, ApiError> {
        let mut wait = None;
        each_parameter(
            query,
            |_| false,
            |key, value| match key {
                "wait" => length(value).map(|length| wait = Some(length)),
                _ => Err("is not known here; there is wait".to_owned()),
            },
        )?;
        Ok(Self(wait.filter(|wait| !wait.is_zero())))
    }
}

impl AskedWait {
    /// How much longer than others a request may take.
    pub fn of(request: &Request) -> Duration {
        if request.uri().path() == "/v1/leases" {
            return MAX_WAIT; // its body says how long
        }
        Self::parse(request.uri().query().unwrap_or_default()).ok().and_then(|asked| asked.0).unwrap_or_default()
    }
}

fn length(text: &str) -> Result<Duration, String> {
    let length = text.parse().map_or_else(|_| duration::parse(text), duration::from_seconds)?;
    if length <= MAX_WAIT { Ok(length) } else { Err(format!("must be from 0s to {}", duration::display(MAX_WAIT))) }
}

/// Who waits for which jobs.
#[derive(Debug)]
pub struct Waiting {
    waiters: Mutex<Waiters>,
    /// Somebody begins to wait.
    came: Notify,
    watched: tokio::sync::Mutex<Option<Instant>>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Waiters {
    by_job: BTreeMap<i64, Waiter>,
    count: usize,
    /// Where the next look begins.
    looked_below: i64,
}

#[derive(Debug, Default)]
struct Waiter {
    count: usize,
    told: Arc<Notify>,
}

/// One that waits for a job, until it is dropped.
#[derive(Debug)]
pub struct Wait<'a> {
    waiting: &'a Waiting,
    id: i64,
    told: Arc<Notify>,
}

impl Waiting {
    /// Nobody yet. `stop` ends all waits.
    pub fn new(stop: CancellationToken) -> Self {
        Self { waiters: Mutex::default(), came: Notify::new(), watched: tokio::sync::Mutex::default(), stop }
    }

    /// Sees to it that outcomes are told. Before an enqueue that is to be waited for, since its job may end at once.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn prepare(&self, store: &Store) -> Result<(), StoreError> {
        self.came.notify_one();
        self.watch(store).await
    }

    async fn watch(&self, store: &Store) -> Result<(), StoreError> {
        // who comes meanwhile waits for the one who stores it
        let mut watched = self.watched.lock().await;
        if watched.is_none_or(|since| since.elapsed() > WATCHED_FOR) {
            store.watch_outcomes().await?;
            *watched = Some(Instant::now());
        }
        Ok(())
    }

    /// Begins to wait for a job; look at it afterwards, and then wait until it was told.
    ///
    /// # Errors
    /// [`ApiError::TooManyWait`].
    pub fn begin(&self, id: i64) -> Result<Wait<'_>, ApiError> {
        let mut waiters = self.waiters();
        if waiters.count >= MAX_WAITING {
            return Err(ApiError::TooManyWait);
        }
        waiters.count += 1;
        let waiter = waiters.by_job.entry(id).or_default();
        waiter.count += 1;
        let told = waiter.told.clone();
        drop(waiters);
        self.came.notify_one();
        Ok(Wait { waiting: self, id, told })
    }

    /// Tells those who wait for these jobs, until `stop`.
    pub async fn keep_up(&self, store: &Store) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.came.notified() => {}
            }
            let listening = self.stop.child_token();
            let _ends = listening.clone().drop_guard();
            let mut heard = store.listen(Channel::Ended, listening);
            let mut looks = interval(LOOK_EVERY.mul_f64(0.75 + fastrand::f64() / 4.0));
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut idle_since = Instant::now();
            while idle_since.elapsed() < LINGER {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    note = heard.recv() => match note {
                        Some(Some(ids)) => self.tell(ids.split(',').filter_map(|id| id.parse().ok())),
                        Some(None) => self.look(store).await, // it listens from now on; something may have been missed
                        None => break,
                    },
                    _ = looks.tick() => self.look(store).await,
                }
                if self.waiters().count > 0 {
                    idle_since = Instant::now();
                }
            }
        }
    }

    /// Looks at the next jobs that somebody waits for.
    async fn look(&self, store: &Store) {
        let ids = self.waiters().next_ids(LOOK_AT);
        if ids.is_empty() {
            return;
        }
        // waiters stay longer than the wish to hear of outcomes holds; that the database is away is said by the store
        let _ = self.watch(store).await;
        if let Ok(ended) = store.ended_among(&ids).await {
            self.tell(ended.into_iter());
        }
    }

    fn tell(&self, ids: impl Iterator<Item = i64>) {
        let waiters = self.waiters();
        for id in ids {
            if let Some(waiter) = waiters.by_job.get(&id) {
                waiter.told.notify_waiters();
            }
        }
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().expect("no panic while held")
    }
}

impl Waiters {
    /// The highest ids below those of the last look; from the highest on when that was all. New jobs come first: of those
    /// that wait long, some more half seconds matter least.
    fn next_ids(&mut self, most: usize) -> Vec<i64> {
        let mut ids: Vec<i64> = self.by_job.range(..self.looked_below).rev().take(most).map(|(id, _)| *id).collect();
        if ids.is_empty() {
            ids = self.by_job.keys().rev().take(most).copied().collect();
        }
        self.looked_below = if ids.len() < most { i64::MAX } else { ids.last().copied().unwrap_or(i64::MAX) };
        ids
    }
}

impl Wait<'_> {
    /// Looks at once, whenever the job is said to have ended, and when the time is up or the server stops, until what it sees
    /// is `over`; returns what was seen last.
    ///
    /// # Errors
    /// Those of `look`.
    pub async fn until<T, E, F: Future<Output = Result<T, E>>>(
        &self,
        deadline: Instant,
        mut look: impl FnMut() -> F,
        over: impl Fn(&T) -> bool,
    ) -> Result<T, E> {
        loop {
            let told = self.told.notified();
            tokio::pin!(told);
            told.as_mut().enable(); // before the look: nothing that comes after it is missed
            let seen = look().await?;
            if over(&seen) {
                return Ok(seen);
            }
            tokio::select! {
                () = told => {}
                () = tokio::time::sleep_until(deadline) => return look().await,
                () = self.waiting.stop.cancelled() => return look().await,
            }
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut waiters = self.waiting.waiters();
        waiters.count -= 1;
        if let Some(waiter) = waiters.by_job.get_mut(&self.id) {
            waiter.count -= 1;
            if waiter.count == 0 {
                waiters.by_job.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn who_waits_looks_when_told_and_no_more_often() {
        let waiting = Waiting::new(CancellationToken::new());
        let looks = AtomicUsize::new(0);
        let (wait, other) = (waiting.begin(7).expect("few wait"), waiting.begin(7).expect("few wait"));
        let look = || async { Ok::<_, ()>(looks.fetch_add(1, Ordering::Relaxed)) };
        let told = async {
            for id in [7, 8, 7] {
                tokio::task::yield_now().await;
                waiting.tell([id].into_iter());
            }
        };
        let far = Instant::now() + Duration::from_hours(1);
        let (seen, ()) = tokio::join!(wait.until(far, look, |seen| *seen == 2), told);
        assert_eq!(seen, Ok(2), "at first, and twice when it was told");
        drop((wait, other));
        assert!(waiting.waiters().by_job.is_empty() && waiting.waiters().count == 0);
    }

    #[test]
    fn looks_take_turns() {
        let waiting = Waiting::new(CancellationToken::new());
        let waits: Vec<_> = [3, 1, 2, 2].into_iter().map(|id| waiting.begin(id).expect("few wait")).collect();
        let next = || waiting.waiters().next_ids(2);
        assert_eq!([next(), next(), next(), next()], [vec![3, 2], vec![1], vec![3, 2], vec![1]]);
        drop(waits);
        assert_eq!(next(), Vec::<i64>::new());
    }
}
