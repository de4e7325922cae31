//! Guarantee 3: only the holder of the current lease is heard. A worker that was frozen beyond its lease changes nothing
//! when it thaws.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::system::{SOON, System, sleep_job};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_frozen_beyond_its_lease_is_not_heard_when_it_thaws() {
    let system = System::start().await;
    let mut frozen = system.worker(&[]).await;
    let mut job = sleep_job("3s");
    job["retry"] = json!({"backoff": "fixed", "base": 0.1});
    let id = system.enqueue(&job).await;
    let first = system.until(id, "running").await["worker"].clone();
    frozen.signal(Signal::SIGSTOP);
    // the API's own duty rescues it; then another worker runs it
    crate::support::eventually::eventually("the loss is in the history", SOON, async || system.job(id).await["history"][0]["outcome"] == "lost").await;
    let mut other = system.worker(&[]).await;
    let second = system.until(id, "running").await["worker"].clone();
    assert_ne!(first, second);
    frozen.signal(Signal::SIGCONT);
    frozen.wait_for_line("was declared dead", SOON).await;
    frozen.wait_for_line("ready for work", SOON).await; // under a new name
    let done = system.until(id, "succeeded").await;
    assert_eq!((&done["worker"], &done["attempt"]), (&second, &json!(2)));
    let outcomes: Vec<&str> = done["history"].as_array().expect("a history").iter().map(|a| a["outcome"].as_str().unwrap_or("-")).collect();
    assert_eq!(outcomes, ["lost", "succeeded"]);
    assert_eq!(system.count(&format!("longshore.attempts where id = {id}")).await, 1, "the frozen one added nothing");
    for worker in [&mut frozen, &mut other] {
        worker.signal(Signal::SIGTERM);
        assert!(worker.wait_exit(SOON).await.success());
    }
    system.assert_no_violations().await;
}
