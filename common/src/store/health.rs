//! Whether the database is there, as this process has seen it. Tells the log once when it goes and once when it is back;
//! in between only what a person has to mend, if that comes to light late.
//!
//! One call that fails among others that succeed is no outage: a connection was closed while it lay idle, or was left
//! over from an outage that has ended. So what counts is that nothing has succeeded for a while, nor since the call began.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use super::{Away, StoreError};

/// So many milliseconds after a success a failure is not taken for an outage yet.
const TRUST_MS: u64 = 1000;

/// What a person must mend may hold up some calls only (a read-only database answers reads): as long as it still does, and
/// for so many milliseconds after, the success of others is no sign that the database is back.
const HELD_UP_MS: u64 = 3000;

pub(super) struct Health {
    since: Instant,
    /// Milliseconds after `since` of the last failure that only a person can mend, plus one; 0: there was none.
    held_up: AtomicU64,
    /// Milliseconds after `since` of the last success, plus one; 0: there was none.
    succeeded: AtomicU64,
    /// Milliseconds after `since` when it went, plus one; 0: it is there.
    away_since: AtomicU64,
    /// Milliseconds after `since` when it came back, plus one; 0: it was never away.
    back_since: AtomicU64,
    /// The causes told since it went, a bit each.
    told: AtomicU32,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            held_up: AtomicU64::new(0),
            succeeded: AtomicU64::new(0),
            away_since: AtomicU64::new(0),
            back_since: AtomicU64::new(0),
            told: AtomicU32::new(0),
        }
    }

    /// Never 0.
    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// How long it has been back after it was away; `None` where it never was.
    pub(super) fn back_for(&self) -> Option<Duration> {
        let since = Duration::from_millis(self.back_since.load(Ordering::Relaxed));
        (!since.is_zero()).then(|| self.since.elapsed().saturating_sub(since))
    }

    /// Whether it is away.
    pub(super) fn is_away(&self) -> bool {
        self.away_since.load(Ordering::Relaxed) != 0
    }

    /// It did not do what it was asked for. Where another call has succeeded after this one began, it is there.
    pub(super) fn went(&self, database: &str, began: Instant, error: &StoreError, away: &Away) {
        let succeeded = self.succeeded.load(Ordering::Relaxed);
        let began = u64::try_from(began.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
        let lately = self.now().saturating_sub(succeeded) < TRUST_MS || began <= succeeded;
        if away.cause.wants_a_person() {
            self.held_up.store(self.now(), Ordering::Relaxed);
        } else if succeeded != 0 && lately {
            return;
        }
        let bit = 1 << (away.cause as u32);
        let (error, help) = (crate::log::chain(error), away.cause.remedy());
        if self.away_since.compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.told.store(bit, Ordering::Relaxed);
            tracing::warn!(database, error, help, "the database is away; trying again until it is back");
        } else if away.cause.wants_a_person() && self.told.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            tracing::warn!(database, error, help, "the database still cannot be used, for another reason than before");
        }
    }

    /// It did.
    pub(super) fn came(&self, database: &str) {
        let now = self.now();
        self.succeeded.store(now, Ordering::Relaxed);
        let held_up = self.held_up.load(Ordering::Relaxed);
        if !self.is_away() || held_up != 0 && now.saturating_sub(held_up) < HELD_UP_MS {
            return;
        }
        let since = self.away_since.swap(0, Ordering::Relaxed);
        if since != 0 {
            self.back_since.store(now, Ordering::Relaxed);
            tracing::info!(database, away_s = now.saturating_sub(since) / 1000, "the database is back");
        }
    }
}
