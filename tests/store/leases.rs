//! Leases of single jobs: they end by themselves, are put off, given back and given away.

use std::{collections::HashSet, time::Duration};

use longshore_common::{
    json::RawJson,
    notes::Notes,
    outcome::Outcome,
    store::{
        claim::{Lease, QueueScan},
        leases::Puller,
        workers::WorkerNumber,
    },
};

use crate::{
    fixture::{Fixture, job, parsed, store_at},
    races::fastrand_below,
};

const LIVES: Duration = Duration::from_secs(30);

fn puller(name: &str) -> Puller {
    let one = |text: &str| vec![text.to_owned()];
    Puller { name: name.to_owned(), host: name.to_owned(), version: "1".to_owned(), queues: one("default"), kinds: one("*") }
}

async fn meet(f: &Fixture, name: &str) -> WorkerNumber {
    f.store.meet_pullers(&[puller(name)], LIVES).await.expect("met")[0].expect("nobody else has the name")
}

/// Enqueues a job and leases it.
async fn leased(f: &Fixture, worker: WorkerNumber, text: &str) -> Lease {
    f.enqueue_one(parsed(text)).await;
    let lanes: Vec<i32> = f.store.known_lanes().iter().map(|lane| lane.lane).collect();
    let claimed = f.store.lease(worker, &mut QueueScan::default(), &lanes, 1, Duration::from_secs(5)).await.expect("claim");
    claimed.jobs[0].lease
}

async fn left(f: &Fixture, lease: Lease) -> f64 {
    let row = f.sql.query_one("select extract(epoch from lease_until - now())::float8 from longshore.running where id = $1", &[&lease.id]).await;
    row.expect("it runs").get(0)
}

#[tokio::test]
async fn a_lease_is_put_off_and_never_made_shorter() {
    let f = Fixture::new().await;
    let worker = meet(&f, "p").await;
    let lease = leased(&f, worker, r#"{"kind":"a"}"#).await;
    assert!((0.0..5.1).contains(&left(&f, lease).await));
    let note = Notes { checkpoint: RawJson::parse("[1]".to_owned()).ok(), ..Notes::default() };
    let stranger = Lease { id: lease.id, lease: lease.lease + 1 };
    let standing = f.store.extend_leases(&[(lease, note), (stranger, Notes::default())], Duration::from_mins(1)).await.expect("extended");
    assert_eq!(standing.iter().map(|s| (s.lease, s.stands)).collect::<Vec<_>>(), [(lease, true), (stranger, false)]);
    assert!((50.0..60.1).contains(&left(&f, lease).await));
    f.store.extend_leases(&[(lease, Notes::default())], Duration::from_secs(5)).await.expect("extended");
    assert!((50.0..60.1).contains(&left(&f, lease).await));
    assert_eq!(f.store.checkpoint(lease.id).await.expect("read").map(|json| json.as_str().to_owned()).as_deref(), Some("[1]"));
    // one that hangs on a worker's heartbeats gets no end of its own
    let own = f.leased(f.worker("w").await, job("echo")).await;
    assert!(f.store.extend_leases(&[(own, Notes::default())], Duration::from_secs(5)).await.expect("asked")[0].stands);
    assert_eq!(f.count("longshore.running where lease_until is null").await, 1);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_lease_that_ended_is_given_back_and_its_worker_is_no_news() {
    let f = Fixture::new().await;
    let worker = meet(&f, "p").await;
    let (lost, kept) = (leased(&f, worker, r#"{"kind":"a"}"#).await, leased(&f, worker, r#"{"kind":"a"}"#).await);
    f.store.extend_leases(&[(kept, Notes::default())], Duration::from_mins(1)).await.expect("extended");
    f.run(&format!("update longshore.running set lease_until = now() - interval '2 s' where id = {}", lost.id)).await;
    // that the puller itself is silent ends none of its leases
    f.run("update longshore.workers set last_seen = now() - interval '1 h'").await;
    assert!(f.store.rescue().await.expect("rescue").is_empty());
    assert_eq!(f.count("longshore.running").await, 2);
    let ended = f.store.rescue_leases(10).await.expect("rescue");
    assert_eq!(ended.iter().map(|e| (e.id, e.worker.as_str(), e.silent >= Duration::from_secs(2))).collect::<Vec<_>>(), [(lost.id, "p", true)]);
    assert_eq!((f.state(lost.id).await.as_str(), f.state(kept.id).await.as_str()), ("retryable", "running"));
    assert_eq!(f.count("longshore.attempts where outcome = 'lost' and error like 'its worker p did not extend its lease%'").await, 1);
    // it comes back as who it was, and its late report changes nothing
    assert_eq!(meet(&f, "p").await, worker);
    let late = f.store.report(&[(lost, Outcome::Succeeded { result: None }), (kept, Outcome::Succeeded { result: None })]).await.expect("report");
    assert_eq!(late.stale, HashSet::from([lost]));
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_job_that_is_given_away_outlives_its_worker_and_ends_with_its_timeout() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let lease = f.leased(worker, parsed(r#"{"kind":"echo","timeout":60}"#)).await;
    assert!(f.store.give_away(lease).await.expect("given"));
    assert!((50.0..60.1).contains(&left(&f, lease).await));
    assert!(f.store.give_away(lease).await.expect("given"), "again, it is the same");
    assert!((50.0..60.1).contains(&left(&f, lease).await));
    assert_eq!(f.store.held_by(worker).await.expect("asked"), [], "the worker has it in hand no more");
    f.run("update longshore.workers set last_seen = now() - interval '1 h'").await;
    f.store.rescue().await.expect("rescue");
    assert_eq!(f.state(lease.id).await, "running");
    f.run("update longshore.running set lease_until = now() - interval '1 s'").await;
    assert_eq!(f.store.rescue_leases(10).await.expect("rescue").len(), 1);
    assert_eq!(f.count("longshore.attempts where outcome = 'timed_out'").await, 1);
    assert!(!f.store.give_away(lease).await.expect("asked"), "it is lost");
    // without a timeout, an hour
    let long = f.leased(f.worker("v").await, parsed(r#"{"kind":"echo","timeout":null}"#)).await;
    assert!(f.store.give_away(long).await.expect("given"));
    assert!((3590.0..3600.1).contains(&left(&f, long).await));
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_name_of_one_of_our_own_is_not_for_others() {
    let f = Fixture::new().await;
    f.worker("ours").await;
    let met = f.store.meet_pullers(&[puller("b"), puller("ours"), puller("a")], LIVES).await.expect("met");
    assert_eq!(met.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(f.count("longshore.workers where pulls").await, 2);
}

#[tokio::test]
async fn workers_that_pull_are_seen_to_live_unless_they_were_declared_dead() {
    let f = Fixture::new().await;
    let (living, dead, busy) = (meet(&f, "living").await, meet(&f, "dead").await, meet(&f, "busy").await);
    let own = f.worker("own").await;
    f.run("update longshore.workers set last_seen = now() - interval '1 min', last_poll = now() - interval '1 min'").await;
    f.run("update longshore.workers set stopped_at = now() where name = 'dead'").await;
    // whose row somebody holds is not waited for
    f.run("begin").await;
    f.run("select from longshore.workers where name = 'busy' for update").await;
    let other = store_at(f.database.url());
    let seen = other.see_pullers(&[busy, living, dead, own]).await.expect("seen");
    f.run("rollback").await;
    assert_eq!(seen, HashSet::from([living]));
    assert_eq!(f.count("longshore.workers where name = 'living' and last_seen > now() - interval '10 s' and last_poll = last_seen").await, 1);
    assert_eq!(f.count("longshore.workers where last_seen < now() - interval '50 s'").await, 3);
}

/// That it lives can be shown by the next heartbeat; that its leases stand cannot wait.
#[tokio::test]
async fn a_worker_whose_row_is_held_extends_its_leases() {
    let f = Fixture::new().await;
    let worker = meet(&f, "p").await;
    let lease = leased(&f, worker, r#"{"kind":"a"}"#).await;
    f.run("update longshore.workers set last_seen = now() - interval '10 s'").await;
    f.run("begin; select from longshore.workers for update").await;
    let standing = store_at(f.database.url()).extend_leases(&[(lease, Notes::default())], Duration::from_mins(1)).await.expect("waits for nobody");
    f.run("rollback").await;
    assert!(standing[0].stands);
    assert!((50.0..60.1).contains(&left(&f, lease).await));
    assert_eq!(f.count("longshore.workers where last_seen < now() - interval '5 s'").await, 1);
    f.store.extend_leases(&[(lease, Notes::default())], Duration::from_mins(1)).await.expect("extended");
    assert_eq!(f.count("longshore.workers where last_seen > now() - interval '5 s'").await, 1);
}

/// Whoever wins, the other one knows.
#[tokio::test(flavor = "multi_thread")]
async fn extending_and_reporting_against_the_rescue() {
    let f = Fixture::new().await;
    let worker = meet(&f, "p").await;
    let (mut held, mut lost) = (0, 0);
    let mut round = 0;
    while round < 300 || (held == 0 || lost == 0) && round < 3000 {
        round += 1;
        let lease = leased(&f, worker, r#"{"kind":"a"}"#).await;
        f.run("update longshore.running set lease_until = now() - interval '1 ms'").await;
        let (a, b) = (f.store.clone(), f.store.clone());
        let report = round % 2 == 0;
        let holder = tokio::spawn(async move {
            if report {
                !a.report(&[(lease, Outcome::Succeeded { result: None })]).await.expect("report").stale.contains(&lease)
            } else {
                a.extend_leases(&[(lease, Notes::default())], Duration::from_mins(1)).await.expect("extend")[0].stands
            }
        });
        let rescue = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(fastrand_below(800))).await;
            b.rescue_leases(10).await.expect("rescue").len()
        });
        let (stands, rescued) = (holder.await.expect("no panic"), rescue.await.expect("no panic"));
        assert_eq!(usize::from(!stands), rescued, "round {round}: either the holder has it or the rescue");
        let state = f.state(lease.id).await;
        assert_eq!(
            state,
            if !stands {
                "retryable"
            } else if report {
                "succeeded"
            } else {
                "running"
            },
            "round {round}"
        );
        if stands {
            held += 1;
        } else {
            lost += 1;
        }
        f.store.report(&[(lease, Outcome::Discarded { error: "over".to_owned() })]).await.expect("cleared");
    }
    f.assert_no_violations().await;
    assert!(held > 0 && lost > 0, "both must win sometimes: {held} held, {lost} lost");
}
