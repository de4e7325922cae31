//! Races for real: what may meet is made to meet, hundreds of times.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use longshore_common::{
    job::JobState,
    outcome::Outcome,
    store::{
        Store,
        claim::{Lease, LeasedJob, QueueScan},
        enqueue::Origin,
        workers::Registration,
    },
};

use crate::fixture::{Fixture, job, parsed};

#[tokio::test(flavor = "multi_thread")]
async fn report_against_rescue() {
    let f = Fixture::new().await;
    let (mut reported, mut rescued) = (0, 0);
    let mut round = 0;
    // hundreds of rounds, and as many more as it takes until each has won
    while round < 200 || (reported == 0 || rescued == 0) && round < 2000 {
        round += 1;
        let worker = f.worker(&format!("w{round}")).await;
        let lease = f.leased(worker, job("echo")).await;
        f.run("update longshore.workers set last_seen = now() - interval '1 h'").await;
        let (a, b) = (f.store.clone(), f.store.clone());
        let report = tokio::spawn(async move { a.report(&[(lease, Outcome::Succeeded { result: None })]).await.expect("report") });
        let rescue = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(fastrand_below(600))).await;
            b.rescue().await.expect("rescue")
        });
        let (report, rescue) = (report.await.expect("no panic"), rescue.await.expect("no panic"));
        let state = f.state(lease.id).await;
        if report.stale.contains(&lease) {
            rescued += 1;
            assert_eq!((state.as_str(), rescue[0].jobs), ("retryable", 1), "round {round}");
        } else {
            reported += 1;
            assert_eq!((state.as_str(), rescue.iter().map(|r| r.jobs).sum::<i64>()), ("succeeded", 0), "round {round}");
        }
    }
    f.assert_no_violations().await;
    assert!(reported > 0 && rescued > 0, "both must win sometimes: {reported} reported, {rescued} rescued");
}

/// Chance without a dependency: the low bits of the clock.
pub fn fastrand_below(most: u64) -> u64 {
    u64::from(std::time::UNIX_EPOCH.elapsed().map_or(0, |t| t.subsec_nanos())) % most
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_report_twice_at_once() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for round in 0..200 {
        let lease = f.leased(worker, job("echo")).await;
        let outcome = if round % 2 == 0 { Outcome::Succeeded { result: None } } else { Outcome::Discarded { error: "never".to_owned() } };
        let twins: Vec<_> = (0..2)
            .map(|_| {
                let (store, outcome) = (f.store.clone(), outcome.clone());
                tokio::spawn(async move { store.report(&[(lease, outcome)]).await.expect("report") })
            })
            .collect();
        let mut recorded = 0;
        for twin in twins {
            let reported = twin.await.expect("no panic");
            assert!(reported.stale.is_empty(), "round {round}: a repeated report is accepted");
            recorded += reported.states.len();
        }
        assert_eq!(recorded, 1, "round {round}");
    }
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_against_claim() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let (mut claimed, mut expired, mut round) = (0, 0, 0);
    while round < 200 || (claimed == 0 || expired == 0) && round < 2000 {
        round += 1;
        let id = f.enqueue_one(parsed(r#"{"kind":"echo","expires_in":"1ms"}"#)).await;
        tokio::time::sleep(Duration::from_millis(2)).await; // until it is due to expire, by the database's clock
        f.store.learn_lanes().await.expect("learn");
        let lanes: Vec<i32> = f.store.known_lanes().iter().map(|l| l.lane).collect();
        let (a, b) = (f.store.clone(), f.store.clone());
        let claim = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(300)).await;
            a.claim(worker, &mut QueueScan::default(), &lanes, 1).await.expect("claim").jobs
        });
        let expire = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(fastrand_below(600))).await;
            b.expire(10).await.expect("expire")
        });
        let (claim, expire) = (claim.await.expect("no panic"), expire.await.expect("no panic"));
        let state = f.state(id).await;
        match (claim.first(), expire) {
            // it may have been looked at when it ran already
            (Some(job), 0 | 1) => {
                claimed += 1;
                assert!(job.expired && state == "running", "round {round}: {state}");
                f.store.report(&[(job.lease, Outcome::Expired)]).await.expect("report");
            }
            (None, 1) => {
                expired += 1;
                assert_eq!(state, "cancelled", "round {round}");
            }
            // whoever skipped the row that the other held will find it
            (None, 0) => {
                f.store.expire(10).await.expect("expire");
                let jobs = f.claim(worker, 1).await.jobs;
                f.store.report(&jobs.iter().map(|j| (j.lease, Outcome::Expired)).collect::<Vec<_>>()).await.expect("report");
            }
            (claim, n) => panic!("round {round}: claimed {claim:?}, and {n} expired"),
        }
        assert_eq!(f.state(id).await, "cancelled", "round {round}");
    }
    f.assert_no_violations().await;
    assert!(claimed > 0 && expired > 0, "both must win sometimes: {claimed} claimed, {expired} expired");
}

/// A caller that enqueues everything there is.
async fn call(store: Store, done: Arc<AtomicBool>) {
    let mut n = 0_u64;
    while !done.load(Ordering::Relaxed) {
        n += 1;
        let jobs: Vec<_> = (0..=fastrand_below(40))
            .map(|i| match (n + i) % 8 {
                0 => parsed(r#"{"kind":"a","delay":"50ms"}"#),
                1 => parsed(&format!(r#"{{"kind":"b","unique":{{"key":"k{}","on_conflict":"replace","while":"waiting"}}}}"#, i % 3)),
                2 => parsed(r#"{"kind":"b","expires_in":"30ms","tags":["t"]}"#),
                3 => parsed(&format!(r#"{{"kind":"a","unique":{{"key":"u{}"}}}}"#, i % 5)),
                _ => parsed(r#"{"kind":"a","retry":{"base":0.01},"max_attempts":3}"#),
            })
            .collect();
        store.enqueue(&jobs, &Origin::default()).await.expect("enqueue");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn any_outcome(job: &LeasedJob) -> Outcome {
    match fastrand_below(1000) % 9 {
        _ if job.expired => Outcome::Expired,
        0 => Outcome::Failed { error: "no".to_owned(), retry_in: None },
        1 => Outcome::HandedBack,
        2 => Outcome::Snoozed { delay: Duration::from_millis(20) },
        3 => Outcome::Discarded { error: "never".to_owned() },
        _ => Outcome::Succeeded { result: None },
    }
}

/// A worker that takes, ends, repeats itself, is late, forgets and dies; returns the new states that it was told.
async fn work(store: Store, number: usize, done: Arc<AtomicBool>) -> Vec<(Lease, JobState)> {
    let mut heard = Vec::new();
    let mut life = 0;
    'born: loop {
        life += 1;
        let registration = Registration {
            name: format!("w{number}-{life}"),
            host: String::new(),
            version: String::new(),
            queues: Vec::new(),
            kinds: Vec::new(),
            lease: Duration::from_millis(150),
        };
        let worker = store.register_worker(&registration).await.expect("register");
        let mut scan = QueueScan::default();
        loop {
            if done.load(Ordering::Relaxed) {
                return heard;
            }
            store.learn_lanes().await.expect("learn");
            let lanes: Vec<i32> = store.known_lanes().iter().map(|l| l.lane).collect();
            let jobs = store.claim(worker, &mut scan, &lanes, 20).await.expect("claim").jobs;
            match fastrand_below(12) {
                0 => continue 'born,                                       // dies with what it holds
                1 => tokio::time::sleep(Duration::from_millis(170)).await, // reports just when it is rescued
                _ => {}
            }
            let reports: Vec<(Lease, Outcome)> = jobs.iter().map(|job| (job.lease, any_outcome(job))).collect();
            for part in reports.chunks(7) {
                let reported = store.report(part).await.expect("report");
                heard.extend(reported.states.iter().copied());
                if fastrand_below(5) == 0 {
                    let again = store.report(part).await.expect("report again");
                    assert!(again.states.is_empty());
                    for (lease, _) in part {
                        assert_eq!(again.stale.contains(lease), reported.stale.contains(lease), "a repetition is answered as the first");
                    }
                }
            }
            if !store.heartbeat(worker, Duration::ZERO).await.expect("heartbeat") {
                continue 'born;
            }
        }
    }
}

async fn do_duties(store: Store, done: Arc<AtomicBool>) {
    while !done.load(Ordering::Relaxed) {
        store.promote(50, None).await.expect("promote");
        store.rescue().await.expect("rescue");
        store.expire(50).await.expect("expire");
        store.fold_tally().await.expect("fold");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Callers, workers that die and duties, for some seconds, at random. Then all is drained, and every job must stand in one
/// place, finished, with one end heard for it.
#[tokio::test(flavor = "multi_thread")]
async fn everything_at_once() {
    let f = Fixture::new().await;
    let done = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..3).map(|_| tokio::spawn(call(f.store.clone(), done.clone()))).collect();
    let workers: Vec<_> = (0..4).map(|number| tokio::spawn(work(f.store.clone(), number, done.clone()))).collect();
    let duties: Vec<_> = (0..2).map(|_| tokio::spawn(do_duties(f.store.clone(), done.clone()))).collect();
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        f.assert_no_violations().await; // in the middle of it all: the view is one snapshot
    }
    done.store(true, Ordering::Relaxed);
    for task in callers.into_iter().chain(duties) {
        task.await.expect("no panic");
    }
    let mut ends: HashMap<i64, usize> = HashMap::new();
    for worker in workers {
        for (lease, _) in worker.await.expect("no panic").into_iter().filter(|(_, state)| state.is_finished()) {
            *ends.entry(lease.id).or_default() += 1;
        }
    }
    assert!(ends.values().all(|n| *n == 1), "no job was ended twice");
    f.run("update longshore.workers set last_seen = now() - interval '1 h'").await;
    f.store.rescue().await.expect("rescue");
    let worker = f.worker("last").await;
    crate::support::eventually::eventually("all is drained", Duration::from_secs(30), async || {
        f.run("with d as (update longshore.job_data set run_at = now() where run_at > now() returning id, run_at) update longshore.scheduled s set run_at = d.run_at from d where d.id = s.id").await;
        f.store.promote(10_000, None).await.expect("promote");
        let jobs = f.claim(worker, 1000).await.jobs;
        f.store.report(&jobs.iter().map(|j| (j.lease, Outcome::Succeeded { result: None })).collect::<Vec<_>>()).await.expect("report");
        f.count("longshore.places where state not in ('succeeded', 'failed', 'cancelled')").await == 0
    })
    .await;
    f.assert_no_violations().await;
    let lost = f.count("longshore.attempts where outcome = 'lost'").await;
    assert!(lost > 10, "workers died with jobs in their hands: {lost}");
}

/// A job and its history are of one moment: what runs has an attempt that has not ended, and what has ended has none.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_job_is_read_as_it_was_at_one_moment() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let (mut running, mut ended) = (0, 0);
    for _ in 0..150 {
        let lease = f.leased(worker, job("echo")).await;
        let reads = async {
            let mut seen = Vec::new();
            for _ in 0..6 {
                seen.push(f.store.job_with_history(lease.id).await.expect("read").expect("is there"));
            }
            seen
        };
        let outcome = [(lease, Outcome::Succeeded { result: None })];
        let (seen, reported) = tokio::join!(reads, f.store.report(&outcome));
        reported.expect("report");
        for (job, history) in seen {
            let [attempt] = &history[..] else { panic!("{history:?}") };
            assert_eq!(job.state == JobState::Running, attempt.outcome.is_none(), "{job:?} {attempt:?}");
            *(if job.state == JobState::Running { &mut running } else { &mut ended }) += 1;
        }
    }
    assert!(running > 0 && ended > 0, "{running} reads before the report, {ended} after");
}
