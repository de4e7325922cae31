//! What must happen whoever runs: promote what is due, rescue the jobs of dead workers, expire what came too late, prune
//! what is old. Every process does all of it, on a timer with jitter; the statements make that safe, no leader is needed.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    job::JobState,
    store::{Store, StoreError, listen::Waker},
};

/// How long a final state is kept.
const RETENTION: [(JobState, Duration); 3] = [
    (JobState::Succeeded, Duration::from_secs(86_400)),
    (JobState::Cancelled, Duration::from_secs(7 * 86_400)),
    (JobState::Failed, Duration::from_secs(30 * 86_400)),
];
/// Rows a statement at most, so that none is long.
const BATCH: i32 = 1000;
/// Rows that a prune takes at once: it deletes by index, in a few milliseconds.
const PRUNE_BATCH: i32 = 5000;

/// Runs the duties until `stop`. `poll` is how late a job that becomes due may be found.
pub async fn run(store: Store, waker: Waker, poll: Duration, stop: CancellationToken) {
    tokio::join!(
        every(poll, &stop, async || promote(&store, &waker).await),
        every(Duration::from_millis(500), &stop, async || rescue(&store).await),
        every(Duration::from_secs(1), &stop, async || expire(&store).await),
        every(Duration::from_secs(20), &stop, async || prune(&store).await),
        every(Duration::from_secs(2), &stop, async || fold(&store).await),
    );
}

/// Does a duty again and again, `period` apart, give or take a quarter. That the database is away is said by the store.
async fn every(period: Duration, stop: &CancellationToken, duty: impl AsyncFn() -> Result<(), StoreError>) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(period.mul_f64(0.75 + fastrand::f64() / 2.0)) => {}
        }
        // a duty that is under way is left to end: what it has begun, the database ends or undoes anyway
        let result = tokio::select! {
            () = stop.cancelled() => return,
            result = duty() => result,
        };
        if let Err(error) = result {
            if !error.is_unavailable() {
                tracing::error!(error = crate::log::chain(&error), "a duty failed; it is tried again");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }
}

async fn promote(store: &Store, waker: &Waker) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let promoted = store.promote(BATCH, after).await?;
        for queue in &promoted.queues {
            waker.wake(queue);
        }
        if promoted.count < usize::try_from(BATCH).unwrap_or(0) {
            return Ok(());
        }
        after = promoted.upto;
    }
}

async fn rescue(store: &Store) -> Result<(), StoreError> {
    for rescued in store.rescue().await? {
        tracing::warn!(
            worker = rescued.worker,
            silent_s = rescued.silent.as_secs(),
            jobs = rescued.jobs,
            "a worker was not heard of any more and is declared dead; its jobs are tried again elsewhere"
        );
    }
    Ok(())
}

async fn expire(store: &Store) -> Result<(), StoreError> {
    while store.expire(BATCH).await? == BATCH {}
    Ok(())
}

async fn prune(store: &Store) -> Result<(), StoreError> {
    for (state, age) in RETENTION {
        while store.prune(state, age, PRUNE_BATCH).await? == PRUNE_BATCH {
            tokio::time::sleep(Duration::from_millis(50)).await; // others come first
        }
    }
    store.prune_workers(Duration::from_secs(60 * 86_400)).await
}

async fn fold(store: &Store) -> Result<(), StoreError> {
    while store.fold_tally().await? == 10_000 {}
    Ok(())
}
