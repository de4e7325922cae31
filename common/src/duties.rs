//! What must happen whoever runs: promote what is due, rescue the jobs of dead workers, expire what came too late, prune
//! what is old, count what waits in large queues. Every process does all of it, on a timer with jitter; the statements make
//! that safe, no leader is needed.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::store::{Store, StoreError, listen::Waker};

/// Rows a statement at most, so that none is long.
const BATCH: i32 = 1000;
/// Rows that a prune takes at once: it deletes by index, in a few milliseconds.
const PRUNE_BATCH: i32 = 5000;

/// How often is looked whether a schedule is due within that time; it is then waited for.
const LOOK_AT_SCHEDULES: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
enum Duty {
    Promote,
    Rescue,
    Expire,
    Prune,
    FoldTally,
    CollectEvents,
    CountWaiting,
    ReleaseHeld,
    LookAfterWorkflows,
    FireSchedules,
}

/// Runs the duties until `stop`. `poll` is how late a job that becomes due may be found.
pub async fn run(store: Store, waker: Waker, poll: Duration, stop: CancellationToken) {
    let every = |period, duty| every(store.clone(), waker.clone(), duty, period, stop.clone());
    tokio::join!(
        every(poll, Duty::Promote),
        every(Duration::from_millis(500), Duty::Rescue),
        every(Duration::from_secs(1), Duty::Expire),
        every(Duration::from_secs(20), Duty::Prune),
        every(Duration::from_secs(2), Duty::FoldTally),
        every(Duration::from_secs(1), Duty::CollectEvents),
        every(Duration::from_secs(1), Duty::CountWaiting),
        every(Duration::from_secs(1), Duty::ReleaseHeld),
        every(Duration::from_secs(5), Duty::LookAfterWorkflows),
        every(LOOK_AT_SCHEDULES, Duty::FireSchedules),
    );
}

/// Does a duty again and again, `period` apart, give or take a quarter. That the database is away is said by the store.
async fn every(store: Store, waker: Waker, duty: Duty, period: Duration, stop: CancellationToken) {
    let mut wait = period;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait.mul_f64(0.75 + fastrand::f64() / 2.0)) => {}
        }
        let done = async {
            match duty {
                Duty::Promote => promote(&store, &waker).await,
                Duty::Rescue => rescue(&store).await,
                Duty::Expire => expire(&store).await,
                Duty::Prune => prune(&store).await,
                Duty::FoldTally => fold(&store).await,
                Duty::CollectEvents => collect_events(&store).await,
                Duty::CountWaiting => store.count_waiting().await.map(drop),
                Duty::ReleaseHeld => release_held(&store, &waker).await,
                Duty::LookAfterWorkflows => store.look_after_workflows(BATCH).await.map(drop),
                Duty::FireSchedules => fire_schedules(&store, &waker).await,
            }
        };
        // one that is under way at the end is dropped: what it has begun, the database ends or undoes
        let result = tokio::select! {
            () = stop.cancelled() => return,
            result = done => result,
        };
        wait = period;
        if let Err(error) = result {
            wait = period.max(Duration::from_secs(1));
            if !error.is_unavailable() {
                tracing::error!(?duty, error = crate::log::chain(&error), "a duty failed; it is tried again");
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

/// After the database was away, no heartbeat can have come. Living workers get this long to send one, so that whoever is
/// back first does not declare all the others dead; they retry every second.
const AFTER_OUTAGE: Duration = Duration::from_secs(4);

async fn rescue(store: &Store) -> Result<(), StoreError> {
    if store.back_for().is_some_and(|back| back < AFTER_OUTAGE) {
        return Ok(());
    }
    for rescued in store.rescue().await? {
        tracing::warn!(
            worker = rescued.worker,
            silent_s = rescued.silent.as_secs(),
            jobs = rescued.jobs,
            "a worker was not heard of any more and is declared dead; its jobs are tried again elsewhere"
        );
    }
    loop {
        let ended = store.rescue_leases(BATCH).await?;
        for lease in &ended {
            tracing::warn!(
                job.id = lease.id,
                worker = lease.worker,
                late_s = lease.silent.as_secs_f64(),
                "the lease of this job ended and nobody had extended it; the job is tried again"
            );
        }
        if ended.len() < usize::try_from(BATCH).unwrap_or(0) {
            return Ok(());
        }
    }
}

async fn expire(store: &Store) -> Result<(), StoreError> {
    while store.expire(BATCH).await? == BATCH {}
    Ok(())
}

async fn prune(store: &Store) -> Result<(), StoreError> {
    let mut began = Instant::now();
    while store.prune(PRUNE_BATCH).await? == PRUNE_BATCH {
        // others come first: it takes a fifth of one connection's time
        tokio::time::sleep((began.elapsed() * 4).max(Duration::from_millis(50))).await;
        began = Instant::now();
    }
    store.prune_first_answers(PRUNE_BATCH.into()).await?;
    store.prune_workers(Duration::from_hours(1440)).await
}

async fn fold(store: &Store) -> Result<(), StoreError> {
    while store.fold_tally().await? == 10_000 {}
    Ok(())
}

async fn release_held(store: &Store, waker: &Waker) -> Result<(), StoreError> {
    loop {
        let (released, queues) = store.release_held(BATCH).await?;
        for queue in &queues {
            waker.wake(queue);
        }
        if released < BATCH {
            return Ok(());
        }
    }
}

/// So that they do not pile up where whoever watched has gone.
async fn collect_events(store: &Store) -> Result<(), StoreError> {
    while store.collect_events(BATCH).await? == BATCH {}
    Ok(())
}

/// Those that are due now, and those that will be before this is asked again, each in its time.
async fn fire_schedules(store: &Store, waker: &Waker) -> Result<(), StoreError> {
    let until = Instant::now() + LOOK_AT_SCHEDULES;
    while let Some(wait) = store.next_schedule_in().await?.filter(|wait| Instant::now() + *wait < until) {
        // not all processes at the very same moment
        tokio::time::sleep(wait + Duration::from_millis(fastrand::u64(1..20))).await;
        let fired = store.fire_schedules().await?;
        for queue in &fired.queues {
            waker.wake(queue);
        }
        if fired.schedules == 0 {
            return Ok(()); // somebody else has them
        }
    }
    Ok(())
}
