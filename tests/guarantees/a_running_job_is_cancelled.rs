//! A running job that is cancelled: its worker is told within a second, without LISTEN too, and stops the handler; nobody
//! runs it again.

use std::time::Instant;

use serde_json::json;

use crate::{
    support::http,
    system::{SOON, System, sleep_job},
};

#[tokio::test(flavor = "multi_thread")]
async fn its_worker_stops_it_with_and_without_listen() {
    let system = System::start().await;
    // a direct URL that leads nowhere: no notification reaches this worker
    let deaf = [("LONGSHORE_DATABASE__DIRECT_URL", "postgres://nobody@127.0.0.1:1/nothing")];
    for env in [&[][..], &deaf] {
        let mut worker = system.worker(env).await;
        for _ in 0..5 {
            let id = system.enqueue(&sleep_job("60s")).await;
            system.until(id, "running").await;
            let asked = Instant::now();
            let answer = http::request(system.address, "POST", &format!("/v1/jobs/{id}/cancel"), &[], b"").await;
            assert_eq!(answer.status, 202, "{}", answer.text());
            let job = system.until(id, "cancelled").await;
            // how fast is told, not asserted: the machine may be busy
            println!("cancelled {:?} after it was asked for", asked.elapsed());
            assert_eq!((&job["attempt"], &job["error"]), (&json!(1), &json!("woken up: the job was cancelled")));
            assert_eq!((job["history"].as_array().map(Vec::len), &job["history"][0]["outcome"]), (Some(1), &json!("cancelled")));
            assert!(job["cancel_requested_at"].is_string());
        }
        worker.wait_for_line("is to be cancelled: its handler is told to end", SOON).await;
        worker.signal(nix::sys::signal::Signal::SIGTERM);
        assert!(worker.wait_exit(SOON).await.success());
    }
    assert_eq!(system.count("longshore.ready").await, 0, "nothing is tried again");
    system.assert_no_violations().await;
}
