//! Guarantee 4: a stopping worker leases no more, lets running jobs finish for the grace period, then hands the rest back
//! at once without counting the attempt.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::system::{SOON, System, sleep_job};

#[tokio::test(flavor = "multi_thread")]
async fn short_jobs_finish_long_ones_are_handed_back_uncounted() {
    let system = System::start().await;
    let mut worker = system.worker(&[("LONGSHORE_WORKER__GRACE", "2s")]).await;
    let short = system.enqueue(&sleep_job("1s")).await;
    let long = system.enqueue(&sleep_job("60s")).await;
    system.until(short, "running").await;
    system.until(long, "running").await;
    let asked = Instant::now();
    worker.signal(Signal::SIGTERM);
    worker.wait_for_line("no more jobs are leased", SOON).await;
    let late = system.enqueue(&json!({"kind": "echo"})).await;
    assert!(worker.wait_exit(SOON).await.success());
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    assert_eq!(system.job(short).await["state"], "succeeded");
    let handed_back = system.job(long).await;
    assert_eq!((&handed_back["state"], &handed_back["attempt"]), (&json!("available"), &json!(0)));
    assert_eq!(handed_back["history"][0]["outcome"], "handed_back");
    assert_eq!(system.job(late).await["state"], "available", "nothing is leased after the signal");
    assert_eq!(system.job(late).await["history"], json!([]));
    // the next worker has it at once, as attempt 1
    let _next = system.worker(&[]).await;
    assert_eq!(system.until(long, "running").await["attempt"], 1);
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_stops_at_once() {
    let system = System::start().await;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut worker = system.worker(&[]).await;
        let asked = Instant::now();
        worker.signal(signal);
        assert!(worker.wait_exit(SOON).await.success());
        assert!(asked.elapsed() < Duration::from_secs(2), "{signal}: {:?}", asked.elapsed());
    }
    assert_eq!(system.count("longshore.workers where stopped_at is null").await, 0);
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_api_answers_what_it_has_accepted() {
    let mut system = System::start().await;
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let address = system.address;
            tokio::spawn(async move { crate::system::try_post(address, "/v1/jobs", "application/json", r#"{"kind":"echo"}"#).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(5)).await; // in the middle of them
    system.api.signal(Signal::SIGTERM);
    assert!(system.api.wait_exit(SOON).await.success());
    let mut acknowledged = 0;
    for caller in callers {
        if let Ok(answer) = caller.await.expect("no panic") {
            assert_eq!(answer.status, 201, "{}", answer.text());
            acknowledged += 1;
        }
    }
    assert_eq!(system.count("longshore.ready").await, acknowledged, "all that is stored was acknowledged, and the reverse");
    system.assert_no_violations().await;
}
