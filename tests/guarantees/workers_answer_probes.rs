//! Where `LONGSHORE_WORKER__LISTEN` says so, a worker answers probes and Prometheus: what it tells is what it did.

use std::net::SocketAddr;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    support::{
        eventually::eventually,
        http,
        process::{Process, Program},
    },
    system::{SOON, System, get, sleep_job},
};

async fn start(system: &System) -> (Process, SocketAddr) {
    let program = Program::longshore(["worker"])
        .env("LONGSHORE_DATABASE__URL", system.database.url())
        .env("LONGSHORE_WORKER__LEASE", "5s")
        .env("LONGSHORE_WORKER__QUEUES", "default=3,*=2")
        .env("LONGSHORE_WORKER__LISTEN", "127.0.0.1:0");
    let mut worker = program.start();
    let line = worker.wait_for_line("listening", SOON).await;
    let address = line.split("addr=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("the line names the address").parse();
    worker.wait_for_line("ready for work", SOON).await;
    (worker, address.expect("an address"))
}

#[tokio::test]
async fn it_counts_what_it_does() {
    let system = System::start().await;
    let (mut worker, address) = start(&system).await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(address, path).await.status, 200, "{path}");
    }
    assert_eq!(get(address, "/v1/jobs").await.status, 404);
    assert_eq!(http::request(address, "POST", "/metrics", &[], b"").await.status, 405);

    for _ in 0..3 {
        system.until(system.enqueue(&json!({"kind": "echo"})).await, "succeeded").await;
    }
    system.until(system.enqueue(&json!({"kind": "fail", "max_attempts": 1})).await, "failed").await;
    let runs = system.enqueue(&sleep_job("30s")).await;
    system.until(runs, "running").await;
    let expected = [
        "longshore_worker_attempts_total{kind=\"echo\",outcome=\"succeeded\",queue=\"default\"} 3\n",
        "longshore_worker_attempts_total{kind=\"fail\",outcome=\"failed\",queue=\"default\"} 1\n",
        "longshore_worker_run_seconds_count{kind=\"echo\",queue=\"default\"} 3\n",
        "longshore_worker_wait_seconds_count{kind=\"echo\",queue=\"default\"} 3\n",
        "longshore_worker_slots{queue=\"default\",state=\"used\"} 1\n",
        "longshore_worker_slots{queue=\"default\",state=\"max\"} 3\n",
        "longshore_worker_slots{queue=\"*\",state=\"max\"} 2\n",
        "longshore_worker_running 1\n",
        "longshore_worker_unrecorded 0\n",
        "longshore_database_up 1\n",
        "longshore_database_connections{state=\"max\"} 10\n",
    ];
    let text = eventually("the worker tells what it did", SOON, async || {
        let text = get(address, "/metrics").await.text();
        expected.iter().find(|line| !text.contains(**line)).map_or(Ok(text.clone()), |line| Err(format!("no {line}in\n{text}")))
    })
    .await;
    assert!(text.contains("longshore_worker_claim_seconds_count") && text.contains("longshore_worker_report_seconds_count"), "{text}");

    system.sql.batch_execute(&format!("select longshore.cancel({runs})")).await.expect("cancel");
    system.until(runs, "cancelled").await;
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.wait_exit(SOON).await.code(), Some(0));
    assert!(http::try_request(address, "GET", "/livez", &[], b"").await.is_err(), "nobody listens there any more");
    system.assert_no_violations().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let system = System::start().await;
    let taken = system.address.to_string();
    let program = Program::longshore(["worker"]).env("LONGSHORE_DATABASE__URL", system.database.url()).env("LONGSHORE_WORKER__LISTEN", &taken);
    let mut worker = program.start();
    let line = worker.wait_for_line("cannot listen", SOON).await;
    assert!(line.contains(&taken) && line.contains("LONGSHORE_WORKER__LISTEN") && line.contains("in use"), "{line}");
    assert_eq!(worker.wait_exit(SOON).await.code(), Some(1));
}
