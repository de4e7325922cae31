//! The claim: order, exclusion, what is skipped.

use std::collections::HashSet;

use longshore_common::{
    job::{NewJob, When},
    outcome::Outcome,
    store::claim::QueueScan,
};

use crate::fixture::{Fixture, in_queue, job};

#[tokio::test]
async fn the_order_is_priority_then_run_at_then_id_over_all_kinds() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let mut jobs = Vec::new();
    for n in 0..300_i16 {
        jobs.push(NewJob { priority: Some((n * 7) % 5 - 2), ..job(["a", "b", "c"][usize::from(n.unsigned_abs()) % 3]) });
    }
    f.enqueue(&jobs).await;
    // some of them due earlier than others
    f.run(
        "with d as (update longshore.job_data set run_at = run_at - make_interval(secs => id % 4) returning id, run_at)
           update longshore.ready r set run_at = d.run_at from d where d.id = r.id",
    )
    .await;
    let expected: Vec<i64> =
        f.sql.query("select id from longshore.job_data order by priority, run_at, id", &[]).await.expect("look").iter().map(|row| row.get(0)).collect();
    let mut claimed = Vec::new();
    loop {
        let batch = f.claim(worker, 37).await;
        claimed.extend(batch.jobs.iter().map(|j| j.lease.id));
        if !batch.more {
            break;
        }
    }
    assert_eq!(claimed, expected);
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_job_is_claimed_twice() {
    let f = Fixture::new().await;
    f.enqueue(&vec![job("echo"); 4000]).await;
    let mut claimers = Vec::new();
    for n in 0..8 {
        let (store, worker) = (f.store.clone(), f.worker(&format!("w{n}")).await);
        f.store.learn_lanes().await.expect("learn");
        let lanes: Vec<i32> = f.store.known_lanes().iter().map(|l| l.lane).collect();
        claimers.push(tokio::spawn(async move {
            let (mut scan, mut ids) = (QueueScan::default(), Vec::new());
            loop {
                let claimed = store.claim(worker, &mut scan, &lanes, 23).await.expect("claim");
                ids.extend(claimed.jobs.iter().map(|j| j.lease.id));
                if claimed.jobs.is_empty() {
                    return ids;
                }
            }
        }));
    }
    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.expect("no panic"));
    }
    assert_eq!(all.len(), 4000);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 4000);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_worker_that_was_declared_dead_gets_nothing() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    f.enqueue(&[job("echo")]).await;
    f.store.stop_worker(worker).await.expect("stop");
    assert!(f.claim(worker, 1).await.jobs.is_empty());
    assert_eq!(f.count("longshore.ready").await, 1);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn more_kinds_than_one_claim_can_merge() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let jobs: Vec<NewJob> = (0..150_i16).map(|n| NewJob { priority: Some((n * 31) % 150), ..job(&format!("kind-{n}")) }).collect();
    f.enqueue(&jobs).await;
    let claimed = f.claim(worker, 10).await;
    assert_eq!(claimed.jobs.iter().map(|j| j.priority).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    let mut left = 140;
    while left > 0 {
        let came = f.claim(worker, 50).await.jobs.len();
        assert!(came > 0, "{left} are left");
        left -= came;
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn what_is_not_due_or_elsewhere_is_not_claimed() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    f.enqueue(&[NewJob { when: When::After(std::time::Duration::from_mins(1)), ..job("echo") }, in_queue("other", job("echo"))]).await;
    assert!(f.claim(worker, 10).await.jobs.is_empty());
    assert_eq!(f.claim_from(worker, "other", 10).await.jobs.len(), 1);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn an_old_snapshot_hides_nothing_from_the_claims() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let old = crate::support::postgres::connect(f.database.url()).await;
    old.batch_execute("begin isolation level repeatable read; select count(*) from longshore.ready").await.expect("an old snapshot");
    // dead rows pile up that no vacuum may remove, so that claims from the beginning become slow and the watermark is used
    let (mut scan, mut done) = (QueueScan::default(), 0);
    for round in 0..12 {
        let mut jobs = vec![job("echo"); 1500];
        jobs.push(NewJob { priority: Some(-1), ..job("echo") });
        f.enqueue(&jobs).await;
        f.store.learn_lanes().await.expect("learn");
        let lanes: Vec<i32> = f.store.known_lanes().iter().map(|l| l.lane).collect();
        crate::support::eventually::eventually("all of the round are claimed", std::time::Duration::from_secs(20), async || {
            let claimed = f.store.claim(worker, &mut scan, &lanes, 500).await.expect("claim");
            let reports: Vec<_> = claimed.jobs.iter().map(|j| (j.lease, Outcome::Succeeded { result: None })).collect();
            done += reports.len();
            f.store.report(&reports).await.expect("report");
            if done == (round + 1) * 1501 { Ok(()) } else { Err(done) }
        })
        .await;
    }
    old.batch_execute("commit").await.expect("the end of the snapshot");
    f.assert_no_violations().await;
}
