//! Guarantee 4: a dead worker's jobs come back, the loss counts and is told; three in a row fail the job.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    support::eventually::eventually,
    system::{SOON, System, sleep_job},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_jobs_run_elsewhere() {
    let system = System::start().await;
    let mut doomed = system.worker(&[]).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        let mut job = sleep_job("1s");
        job["retry"] = json!({"backoff": "fixed", "base": 0.1});
        ids.push(system.enqueue(&job).await);
    }
    for id in &ids {
        system.until(*id, "running").await;
    }
    doomed.signal(Signal::SIGKILL);
    let died = Instant::now();
    let _survivor = system.worker(&[]).await;
    eventually("all have succeeded", SOON, async || system.count("longshore.finished where state = 'succeeded'").await == 20).await;
    let worst = Duration::from_secs(5 + 1 + 1 + 1); // lease, duty, backoff, the job itself
    assert!(died.elapsed() < worst + Duration::from_secs(3), "{:?}", died.elapsed());
    for id in ids {
        let job = system.job(id).await;
        assert_eq!((&job["attempt"], &job["history"][0]["outcome"]), (&json!(2), &json!("lost")));
        assert!(job["history"][0]["error"].as_str().is_some_and(|e| e.contains("was not heard of")), "{job}");
    }
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_losses_in_a_row_fail_the_job() {
    let system = System::start().await;
    let mut job = sleep_job("60s");
    job["retry"] = json!({"backoff": "fixed", "base": 0});
    let id = system.enqueue(&job).await;
    for attempt in 1..=3 {
        let mut worker = system.worker(&[]).await;
        eventually("it runs again", SOON, async || {
            let job = system.job(id).await;
            if job["state"] == "running" && job["attempt"] == attempt { Ok(()) } else { Err(job) }
        })
        .await;
        worker.signal(Signal::SIGKILL);
        worker.wait_exit(SOON).await;
    }
    let job = system.until(id, "failed").await;
    assert_eq!((&job["error"], job["history"].as_array().map(Vec::len)), (&json!("its worker died 3 times"), Some(3)));
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_long_is_no_reason() {
    let system = System::start().await;
    let mut worker = system.worker(&[]).await;
    let id = system.enqueue(&sleep_job("8s")).await; // longer than the lease of 5 s
    let done = system.until(id, "succeeded").await;
    assert_eq!(done["history"].as_array().map(Vec::len), Some(1));
    worker.signal(Signal::SIGINT);
    assert!(worker.wait_exit(SOON).await.success());
    system.assert_no_violations().await;
}
