//! What must happen whoever runs: promote, rescue, expire, prune, fold.

use std::time::Duration;

use longshore_common::{
    job::{NewJob, When},
    outcome::Outcome,
};

use crate::fixture::{Fixture, in_queue, job, parsed};

#[tokio::test]
async fn promotion_takes_what_is_due_and_names_the_queues() {
    let f = Fixture::new().await;
    let later = |queue: &str| NewJob { when: When::After(Duration::from_mins(1)), ..in_queue(queue, job("echo")) };
    f.enqueue(&[later("a"), later("b"), later("c")]).await;
    assert_eq!(f.store.promote(10, None).await.expect("promote").count, 0);
    f.run("with d as (update longshore.job_data set run_at = now() where id <= 2 returning id, run_at) update longshore.scheduled s set run_at = d.run_at from d where d.id = s.id").await;
    let mut promoted = f.store.promote(10, None).await.expect("promote");
    promoted.queues.sort();
    assert_eq!((promoted.count, promoted.queues), (2, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(f.count("longshore.scheduled").await, 1);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn only_missed_heartbeats_rescue_and_the_loss_is_told() {
    let f = Fixture::new().await;
    let (silent, lively) = (f.worker("silent").await, f.worker("lively").await);
    let lost = f.leased(silent, job("echo")).await;
    let kept = f.leased(lively, job("echo")).await;
    f.run("update longshore.running set started_at = now() - interval '1 day'").await; // running long is no reason
    assert!(f.store.rescue().await.expect("rescue").is_empty());
    f.run("update longshore.workers set last_seen = now() - interval '31 s' where name = 'silent'").await;
    let rescued = f.store.rescue().await.expect("rescue");
    assert_eq!(rescued.iter().map(|r| (r.worker.as_str(), r.jobs)).collect::<Vec<_>>(), [("silent", 1)]);
    assert_eq!((f.state(lost.id).await, f.state(kept.id).await), ("retryable".to_owned(), "running".to_owned()));
    let (view, history) = f.store.job_with_history(lost.id).await.expect("read").expect("there");
    assert_eq!(history.len(), 1);
    assert_eq!((history[0].attempt, history[0].worker.as_deref(), view.attempt), (1, Some("silent"), 1));
    assert!(history[0].error.as_deref().is_some_and(|e| e.contains("silent was not heard of for 31")), "{history:?}");
    // the worker finds out, by its heartbeat and by its report
    assert!(!f.store.heartbeat(silent, Duration::ZERO).await.expect("heartbeat"));
    assert!(f.store.heartbeat(lively, Duration::ZERO).await.expect("heartbeat"));
    assert!(f.store.report(&[(lost, Outcome::Succeeded { result: None })]).await.expect("report").stale.contains(&lost));
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_claim_that_slipped_in_while_its_worker_was_declared_dead_is_found_too() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let lease = f.leased(worker, job("echo")).await;
    f.store.stop_worker(worker).await.expect("stopped, with a job in its hands");
    assert_eq!(f.store.rescue().await.expect("rescue").len(), 1);
    assert_eq!(f.state(lease.id).await, "retryable");
    assert!(f.store.rescue().await.expect("rescue").is_empty(), "once");
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_job_that_somebody_holds_keeps_no_other_of_its_dead_worker() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let (held, free) = (f.leased(worker, job("echo")).await, f.leased(worker, job("echo")).await);
    f.run("update longshore.workers set last_seen = now() - interval '1 h'").await;
    let mut other = f.database.connect().await;
    let open = other.transaction().await.expect("begin");
    open.query("select longshore.cancel($1)", &[&held.id]).await.expect("it is asked to end");
    let rescued = f.store.rescue().await.expect("rescue");
    assert_eq!(rescued.iter().map(|one| one.jobs).collect::<Vec<_>>(), [1]);
    assert_eq!((f.state(held.id).await, f.state(free.id).await), ("running".to_owned(), "retryable".to_owned()));
    assert!(f.store.rescue().await.expect("rescue").is_empty(), "that the worker is dead was told");
    open.rollback().await.expect("roll back");
    assert_eq!(f.store.rescue().await.expect("rescue").len(), 1);
    assert_eq!(f.state(held.id).await, "retryable");
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_job_that_has_started_does_not_expire() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let new = || parsed(r#"{"kind":"echo","expires_in":"1h"}"#);
    let started = f.leased(worker, new()).await;
    f.store.report(&[(started, Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::ZERO) })]).await.expect("report");
    let waits = f.enqueue_one(new()).await;
    f.run("update longshore.expiring set expires_at = now() - interval '1 s'; update longshore.job_data set expires_at = now() - interval '1 s'").await;
    assert_eq!(f.store.expire(10).await.expect("expire"), 2, "both were looked at, so that whoever asks for one goes on");
    assert_eq!((f.state(started.id).await, f.state(waits).await), ("available".to_owned(), "cancelled".to_owned()));
    assert_eq!(f.store.job(waits).await.expect("read").expect("there").error.as_deref(), Some("expired"));
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_job_claimed_too_late_is_marked_so() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    f.enqueue(&[parsed(r#"{"kind":"echo","expires_in":"1h"}"#)]).await;
    f.run("update longshore.job_data set expires_at = now() - interval '1 s'").await;
    let jobs = f.claim(worker, 1).await.jobs;
    assert!(jobs[0].expired);
    f.store.report(&[(jobs[0].lease, Outcome::Expired)]).await.expect("report");
    assert_eq!(f.state(jobs[0].lease.id).await, "cancelled");
    f.assert_no_violations().await;
}

#[tokio::test]
async fn pruning_forgets_all_of_a_job_and_nothing_else() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let new = || parsed(r#"{"kind":"echo","tags":["t"],"meta":{"a":1},"expires_in":"1h","unique":{"key":"k","while":"waiting"}}"#);
    let old = f.leased(worker, new()).await;
    f.store.report(&[(old, Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::ZERO) })]).await.expect("report");
    let again = f.claim(worker, 1).await.jobs[0].lease;
    f.store.report(&[(again, Outcome::Succeeded { result: None })]).await.expect("report");
    f.run("update longshore.finished set finished_at = now() - interval '2 days'").await;
    let young = f.leased(worker, new()).await;
    f.store.report(&[(young, Outcome::Succeeded { result: None })]).await.expect("report");
    assert_eq!(f.store.prune(100).await.expect("prune"), 1);
    assert_eq!(f.store.prune(100).await.expect("prune"), 0);
    assert_eq!((f.state(old.id).await, f.state(young.id).await), ("gone".to_owned(), "succeeded".to_owned()));
    for table in ["labels", "expiring", "attempts", "job_data", "finished"] {
        assert_eq!(f.count(&format!("longshore.{table} where id = {}", old.id)).await, 0, "{table}");
    }
    assert_eq!(f.count("longshore.labels").await, 2);
    f.assert_no_violations().await;
    // the worker's name is kept as long as a history may need it
    f.run("update longshore.workers set stopped_at = now() - interval '90 days'").await;
    f.store.prune_workers(Duration::from_hours(1440)).await.expect("prune workers");
    assert_eq!(f.count("longshore.workers").await, 0);
}

#[tokio::test]
async fn folding_keeps_the_tally() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for _ in 0..30 {
        let lease = f.leased(worker, job("echo")).await;
        f.store.report(&[(lease, Outcome::Succeeded { result: None })]).await.expect("report");
    }
    assert_eq!(f.count("longshore.tally").await, 30);
    assert_eq!(f.store.fold_tally().await.expect("fold"), 30);
    assert_eq!(f.count("longshore.tally where n = 30").await, 1);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn one_process_at_a_time_forgets() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for _ in 0..4 {
        let lease = f.leased(worker, job("echo")).await;
        f.store.report(&[(lease, Outcome::Succeeded { result: None })]).await.expect("report");
    }
    f.run("update longshore.finished set finished_at = now() - interval '2 days'").await;
    f.run("begin; select longshore.prune_finished(1)").await;
    assert_eq!(f.store.prune(100).await.expect("prune"), 0, "another is at it");
    f.run("commit").await;
    assert_eq!(f.store.prune(100).await.expect("prune"), 3);
    f.assert_no_violations().await;
}
