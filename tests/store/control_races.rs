//! Control against work, for real: hundreds of rounds each, until either has won.

use std::time::Duration;

use longshore_common::{
    job::{Change, Effect, JobState},
    outcome::Outcome,
    store::{
        Store,
        claim::{Lease, QueueScan},
        control::ControlError,
        workers::WorkerNumber,
    },
};

use crate::{
    fixture::{Fixture, job},
    races::fastrand_below,
};

/// Rounds of each race at least.
const ROUNDS: u32 = 300;
/// Rounds at most, where one of the two does not win.
const MOST: u32 = 5000;

/// Lets two things meet: sometimes the one is a little later, sometimes the other.
async fn meet<A: Send + 'static, B: Send + 'static>(one: impl Future<Output = A> + Send + 'static, other: impl Future<Output = B> + Send + 'static) -> (A, B) {
    let late = Duration::from_micros(fastrand_below(900));
    let one = tokio::spawn(async move {
        tokio::time::sleep(late).await;
        one.await
    });
    let other = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_micros(450)).await;
        other.await
    });
    (one.await.expect("no panic"), other.await.expect("no panic"))
}

async fn succeed(store: Store, lease: Lease) -> bool {
    store.report(&[(lease, Outcome::Succeeded { result: None })]).await.expect("report").stale.is_empty()
}

async fn claim(store: Store, worker: WorkerNumber, lane: i32) -> usize {
    store.claim(worker, &mut QueueScan::default(), &[lane], 1).await.expect("claim").jobs.len()
}

async fn lane(f: &Fixture) -> i32 {
    f.store.learn_lanes().await.expect("learn");
    f.store.known_lanes()[0].lane
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_against_complete() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let (mut asked, mut late, mut round) = (0, 0, 0);
    while round < ROUNDS || (asked == 0 || late == 0) && round < MOST {
        round += 1;
        let lease = f.leased(worker, job("echo")).await;
        let cancelling = f.store.clone();
        let (cancelled, reported) = meet(async move { cancelling.cancel(lease.id).await }, succeed(f.store.clone(), lease)).await;
        assert!(reported, "its lease stands");
        assert_eq!(f.state(lease.id).await, "succeeded", "a success under a valid lease counts");
        match cancelled {
            Ok(Effect::Asked) => asked += 1,
            Err(ControlError::NotNow { why, .. }) if why.state == JobState::Succeeded => late += 1,
            other => panic!("round {round}: {other:?}"),
        }
    }
    assert!(asked > 0 && late > 0, "both must win sometimes: {asked}, {late}");
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_against_claim() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let (mut cancelled, mut asked, mut round) = (0, 0, 0);
    while round < ROUNDS || (cancelled == 0 || asked == 0) && round < MOST {
        round += 1;
        let id = f.enqueue_one(job("echo")).await;
        let cancelling = f.store.clone();
        let (answer, claimed) = meet(async move { cancelling.cancel(id).await }, claim(f.store.clone(), worker, lane(&f).await)).await;
        match answer.expect("waits or runs") {
            Effect::Becomes(JobState::Cancelled) => {
                cancelled += 1;
                assert_eq!((claimed, f.state(id).await.as_str()), (0, "cancelled"), "round {round}");
            }
            Effect::Asked => {
                asked += 1;
                assert_eq!((claimed, f.state(id).await.as_str()), (1, "running"), "round {round}");
                let leases = f.store.to_cancel(worker).await.expect("ask");
                assert_eq!(leases.len(), 1, "its worker is told");
                f.store.report(&[(leases[0], Outcome::Cancelled { error: None })]).await.expect("report");
            }
            other => panic!("round {round}: {other:?}"),
        }
    }
    assert!(cancelled > 0 && asked > 0, "both must win sometimes: {cancelled}, {asked}");
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn change_against_claim() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let (mut changed, mut late, mut round) = (0, 0, 0);
    while round < ROUNDS || (changed == 0 || late == 0) && round < MOST {
        round += 1;
        let id = f.enqueue_one(job("echo")).await;
        let changing = f.store.clone();
        let change = Change { priority: Some(7), ..Change::default() };
        let (answer, claimed) = meet(async move { changing.change(id, &change).await }, claim(f.store.clone(), worker, lane(&f).await)).await;
        let priority = f.store.job(id).await.expect("read").expect("is there").priority;
        match answer {
            // the claim looks past a row that is being changed
            Ok(Effect::Changed) => {
                changed += 1;
                assert_eq!(priority, 7);
            }
            Err(ControlError::NotNow { why, .. }) if why.state == JobState::Running => {
                late += 1;
                assert_eq!((claimed, priority), (1, 0), "round {round}");
            }
            other => panic!("round {round}: {other:?}"),
        }
        f.run("with r as (delete from longshore.running), d as (delete from longshore.ready) delete from longshore.job_data").await;
    }
    assert!(changed > 0 && late > 0, "both must win sometimes: {changed}, {late}");
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_against_complete() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let (mut deleted, mut early, mut round) = (0, 0, 0);
    while round < ROUNDS || (deleted == 0 || early == 0) && round < MOST {
        round += 1;
        let lease = f.leased(worker, job("echo")).await;
        let deleting = f.store.clone();
        let (answer, reported) = meet(async move { deleting.delete(lease.id).await }, succeed(f.store.clone(), lease)).await;
        assert!(reported, "its lease stands");
        match answer {
            Ok(Effect::Forgotten) => {
                deleted += 1;
                assert_eq!(f.state(lease.id).await, "gone");
            }
            Err(ControlError::NotNow { why, .. }) if why.state == JobState::Running => {
                early += 1;
                assert_eq!(f.state(lease.id).await, "succeeded");
            }
            other => panic!("round {round}: {other:?}"),
        }
    }
    assert!(deleted > 0 && early > 0, "both must win sometimes: {deleted}, {early}");
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_against_rescue() {
    let f = Fixture::new().await;
    let (mut retried, mut early, mut round) = (0, 0, 0);
    while round < ROUNDS || (retried == 0 || early == 0) && round < MOST {
        round += 1;
        let worker = f.worker(&format!("w{round}")).await;
        let lease = f.leased(worker, job("echo")).await;
        f.run("update longshore.workers set last_seen = now() - interval '1 h' where stopped_at is null").await;
        let (retrying, rescuing) = (f.store.clone(), f.store.clone());
        let (answer, rescued) = meet(async move { retrying.retry(lease.id).await }, async move { rescuing.rescue().await.expect("rescue") }).await;
        assert_eq!(rescued.iter().map(|worker| worker.jobs).sum::<i64>(), 1);
        match answer {
            Ok(Effect::Becomes(JobState::Available)) => {
                retried += 1;
                assert_eq!(f.state(lease.id).await, "available");
            }
            Err(ControlError::NotNow { why, .. }) if why.state == JobState::Running => {
                early += 1;
                assert_eq!(f.state(lease.id).await, "retryable");
            }
            other => panic!("round {round}: {other:?}"),
        }
        f.store.delete(lease.id).await.expect("waits");
    }
    assert!(retried > 0 && early > 0, "both must win sometimes: {retried}, {early}");
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_of_two_holders_of_one_key() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let lease = f.leased(worker, crate::fixture::parsed(r#"{"kind": "echo", "unique": {"key": "k"}}"#)).await;
        f.store.report(&[(lease, Outcome::Discarded { error: "no".to_owned() })]).await.expect("report");
        ids.push(lease.id);
    }
    for round in 0..ROUNDS {
        let (a, b) = (f.store.clone(), f.store.clone());
        let (one, two) = (ids[0], ids[1]);
        let (first, second) = meet(async move { a.retry(one).await }, async move { b.retry(two).await }).await;
        let won = match (first, second) {
            (Ok(_), Err(ControlError::KeyHeld { standing, .. })) if standing == one => one,
            (Err(ControlError::KeyHeld { standing, .. }), Ok(_)) if standing == two => two,
            other => panic!("round {round}: {other:?}"),
        };
        f.assert_no_violations().await;
        f.store.cancel(won).await.expect("waits");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn control_against_promotion() {
    let f = Fixture::new().await;
    let now = "with d as (update longshore.job_data set run_at = now() - interval '1 s' where run_at > now() returning id, run_at)
                 update longshore.scheduled s set run_at = d.run_at from d where d.id = s.id";
    for round in 0..ROUNDS {
        let id = f.enqueue_one(crate::fixture::parsed(r#"{"kind": "echo", "delay": "1h"}"#)).await;
        f.run(now).await;
        let (controlling, promoting) = (f.store.clone(), f.store.clone());
        let change = Change { priority: Some(7), ..Change::default() };
        let control = async move {
            match round % 3 {
                0 => controlling.change(id, &change).await,
                1 => controlling.cancel(id).await,
                _ => controlling.delete(id).await,
            }
        };
        // it waits, wherever: a job that moves is met all the same
        let (answer, _) = meet(control, async move { promoting.promote(10, None).await.expect("promote") }).await;
        let effect = answer.unwrap_or_else(|error| panic!("round {round}: {error}"));
        let state = f.state(id).await;
        match effect {
            Effect::Changed => assert!(state == "scheduled" || state == "available", "round {round}: {state}"),
            Effect::Becomes(JobState::Cancelled) => assert_eq!(state, "cancelled"),
            Effect::Forgotten => assert_eq!(state, "gone"),
            other => panic!("round {round}: {other:?}"),
        }
    }
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_against_expiry() {
    let f = Fixture::new().await;
    let (mut early, mut late, mut round) = (0, 0, 0);
    while round < ROUNDS || (early == 0 || late == 0) && round < MOST {
        round += 1;
        let id = f.enqueue_one(crate::fixture::parsed(r#"{"kind": "echo", "expires_in": "1ms"}"#)).await;
        f.run("update longshore.job_data set expires_at = now(); update longshore.expiring set expires_at = now()").await;
        let (deleting, expiring) = (f.store.clone(), f.store.clone());
        let (deleted, expired) = meet(async move { deleting.delete(id).await }, async move { expiring.expire(10).await }).await;
        // neither ends a deadlock: the one waits for the other
        assert_eq!(deleted.unwrap_or_else(|error| panic!("round {round}: {error:?}")), Effect::Forgotten);
        match expired.unwrap_or_else(|error| panic!("round {round}: {error:?}")) {
            0 => early += 1,
            n => late += n,
        }
        f.store.expire(10).await.expect("expire"); // what a deletion has left of it
        for table in ["job_data", "ready", "finished", "expiring"] {
            assert_eq!(f.count(&format!("longshore.{table}")).await, 0, "{table} in round {round}");
        }
    }
    assert!(early > 0 && late > 0, "both must win sometimes: {early}, {late}");
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_against_claim() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let (mut before, mut after) = (0, 0);
    for round in 0..ROUNDS {
        let id = f.enqueue_one(job("echo")).await;
        let lane = lane(&f).await;
        let pausing = f.store.clone();
        let (paused, claimed) = meet(async move { pausing.pause_queue("default", true).await.expect("pause") }, claim(f.store.clone(), worker, lane)).await;
        assert!(paused);
        // whoever asks after the answer to the pause gets nothing
        assert_eq!(claim(f.store.clone(), worker, lane).await, 0, "round {round}");
        assert!(f.store.pause_queue("default", false).await.expect("resume"));
        let left = claim(f.store.clone(), worker, lane).await;
        assert_eq!(claimed + left, 1, "round {round}: once, before the pause or after it");
        (before, after) = (before + claimed, after + left);
        assert_eq!(f.state(id).await, "running");
    }
    assert!(before > 0 && after > 0, "both must win sometimes: {before}, {after}");
    f.assert_no_violations().await;
}
