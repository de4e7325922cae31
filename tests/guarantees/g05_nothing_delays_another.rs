//! Guarantee 5: jobs of a kind that no live worker knows wait and delay no other; a long queue starves none; what one job
//! does wrong (an error, running too long) touches that attempt alone.

use serde_json::json;

use crate::{
    support::eventually::eventually,
    system::{SOON, System, post, sleep_job},
};

#[tokio::test(flavor = "multi_thread")]
async fn unknown_kinds_wait_and_are_told() {
    let system = System::start().await;
    let unknown = vec![json!({"kind": "unknown", "priority": -100}); 2000];
    post(system.address, "/v1/jobs/batch", &json!({"jobs": unknown})).await;
    let mut worker = system.worker(&[]).await;
    let id = system.enqueue(&json!({"kind": "echo", "args": [1, 2]})).await;
    assert_eq!(system.until(id, "succeeded").await["result"], json!([1, 2]));
    let line = worker.wait_for_line("no handler for", SOON).await;
    assert!(line.contains("kind=unknown"), "{line}");
    assert_eq!(system.count("longshore.ready").await, 2000);
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_starves_no_other() {
    let system = System::start().await;
    for _ in 0..5 {
        let long = vec![json!({"kind": "sleep", "queue": "long", "args": {"for": "50ms"}}); 1000];
        post(system.address, "/v1/jobs/batch", &json!({"jobs": long})).await;
    }
    let _worker = system.worker(&[("LONGSHORE_WORKER__QUEUES", "*=10")]).await;
    eventually("the long queue is under way", SOON, async || system.count("longshore.finished").await > 20).await;
    let mut short = Vec::new();
    for n in 0..10 {
        short.push(system.enqueue(&json!({"kind": "echo", "queue": format!("short-{n}")})).await);
    }
    for id in short {
        system.until(id, "succeeded").await;
    }
    assert!(system.count("longshore.ready").await > 2000, "the long queue has still much to do");
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_queue_has_its_own_slots() {
    let system = System::start().await;
    let _worker = system.worker(&[("LONGSHORE_WORKER__QUEUES", "slow=2,fast=5")]).await;
    for _ in 0..6 {
        let mut job = sleep_job("2s");
        job["queue"] = json!("slow");
        system.enqueue(&job).await;
    }
    let fast = system.enqueue(&json!({"kind": "echo", "queue": "fast"})).await;
    let other = system.enqueue(&json!({"kind": "echo", "queue": "nobody-serves-this"})).await;
    system.until(fast, "succeeded").await;
    eventually("two run", SOON, async || system.count("longshore.running").await == 2).await;
    for _ in 0..20 {
        assert!(system.count("longshore.running").await <= 2);
    }
    assert_eq!(system.job(other).await["state"], "available");
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_jobs_touch_their_own_attempt_only() {
    let system = System::start().await;
    let mut worker = system.worker(&[]).await;
    let late = system.enqueue(&json!({"kind": "sleep", "args": {"for": "60s"}, "timeout": "1s", "max_attempts": 1})).await;
    let failing = system.enqueue(&json!({"kind": "fail", "args": {"message": "no luck", "times": 2}, "retry": {"base": 0.05}})).await;
    let misfit = system.enqueue(&json!({"kind": "sleep", "args": {"four": 1}, "max_attempts": 1})).await;
    let fine = system.enqueue(&json!({"kind": "echo", "args": {"a": 1.50}})).await;
    assert_eq!(system.until(fine, "succeeded").await["result"], json!({"a": 1.5}));
    assert_eq!(system.until(late, "failed").await["error"], "it ran longer than its timeout of 1s");
    assert!(system.until(misfit, "failed").await["error"].as_str().is_some_and(|e| e.starts_with("the args do not fit the handler")));
    let failed_twice = system.until(failing, "succeeded").await;
    assert_eq!(failed_twice["attempt"], 3);
    assert_eq!(failed_twice["history"][1]["error"], "no luck");
    // args that only SQL could have brought in: nesting that no reader takes apart
    let deep = format!("{}1{}", "[".repeat(128), "]".repeat(128));
    let id: i64 = system.sql.query_one(&format!("select longshore.enqueue('echo', '{deep}', notify => true)"), &[]).await.expect("enqueue").get(0);
    eventually("the deep one succeeds", SOON, async || system.count(&format!("longshore.finished where id = {id} and state = 'succeeded'")).await == 1).await;
    assert!(!worker.has_exited());
    system.assert_no_violations().await;
}
