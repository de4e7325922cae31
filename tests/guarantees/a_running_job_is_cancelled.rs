//! A running job that is cancelled: its worker is told within a second, without LISTEN too, and stops the handler; nobody
//! runs it again.

use std::time::Instant;

use longshore_common::{job::Kind, json::RawJson, settings::Settings};
use longshore_worker::{Context, Handler, HandlerError, Handlers};
use serde_json::json;
use tokio_util::sync::CancellationToken;

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

/// Hears nothing.
struct Deaf;
impl Handler for Deaf {
    type Args = RawJson;
    type Output = ();
    async fn handle(&self, _: RawJson, _: Context) -> Result<(), HandlerError> {
        std::future::pending().await
    }
}

/// Hears it, and finishes its work all the same.
struct Finisher;
impl Handler for Finisher {
    type Args = RawJson;
    type Output = &'static str;
    async fn handle(&self, _: RawJson, context: Context) -> Result<&'static str, HandlerError> {
        context.cancellation().cancelled().await;
        Ok("done")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_handlers_make_of_it() {
    let system = System::start().await;
    let kind = |name| Kind::new(name).expect("a kind");
    let handlers = Handlers::new().with(kind("deaf"), Deaf).with(kind("finisher"), Finisher);
    let settings = Settings::from_environment([("LONGSHORE_DATABASE__URL".to_owned(), system.database.url().to_owned())].into()).expect("fine");
    let stop = CancellationToken::new();
    let worker = {
        let stop = stop.clone();
        tokio::spawn(async move { longshore_worker::run(&settings, handlers, stop).await })
    };
    let mut ids = Vec::new();
    for name in ["deaf", "finisher"] {
        let id = system.enqueue(&json!({"kind": name})).await;
        system.until(id, "running").await;
        assert_eq!(http::request(system.address, "POST", &format!("/v1/jobs/{id}/cancel"), &[], b"").await.status, 202);
        ids.push(id);
    }
    let finished = system.until(ids[1], "succeeded").await;
    assert_eq!((&finished["result"], finished["cancel_requested_at"].is_string()), (&json!("done"), true), "its work counts");
    let dropped = system.until(ids[0], "cancelled").await;
    assert_eq!(dropped["error"], "it did not end within 5s of being cancelled, and was dropped");
    stop.cancel();
    worker.await.expect("no panic").expect("a clean stop");
    system.assert_no_violations().await;
}
