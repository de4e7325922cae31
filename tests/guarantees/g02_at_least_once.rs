//! Guarantee 2: a job is never lost, not even where the database leased it and the answer never came.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    support::{
        postgres::server,
        process::Program,
        proxy::{Proxy, Target},
    },
    system::{SOON, System},
};

/// Claims are committed and their answers swallowed. The worker lives and its heartbeats come, so nobody declares it dead;
/// it must find out by itself that it holds what it never heard of.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_answer_is_lost() {
    let system = System::start().await;
    let proxy = Proxy::start(Target::Unix(server().socket())).await;
    let url = system.database.url_through(proxy.address());
    // it hears of work past the proxy, and claims it through the proxy; its lease outlasts the test
    let mut worker = Program::longshore(["worker"])
        .env("LONGSHORE_DATABASE__URL", &url)
        .env("LONGSHORE_DATABASE__DIRECT_URL", system.database.url())
        .env("LONGSHORE_WORKER__LEASE", "10m")
        .env("LONGSHORE_WORKER__POLL", "10s")
        .start();
    worker.wait_for_line("ready for work", SOON).await;
    let first = system.enqueue(&json!({"kind": "echo"})).await;
    system.until(first, "succeeded").await; // the lane is known
    let mut ids = Vec::new();
    // another question of the worker may be the one whose answer is lost; then it asks nothing more, and we try again
    for round in 0.. {
        assert!(round < 10, "no claim met the gap: {:#?}", worker.lines());
        proxy.blackhole_replies(true);
        ids.push(system.enqueue(&json!({"kind": "echo"})).await);
        let until = Instant::now() + Duration::from_secs(2);
        while system.count("longshore.running").await == 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let leased = system.count("longshore.running").await;
        proxy.cut_all();
        proxy.resume();
        if leased > 0 {
            break;
        }
        system.until(ids[round], "succeeded").await;
    }
    for id in ids {
        let job = system.until(id, "succeeded").await;
        assert_eq!(job["attempt"], 1, "what never started is not counted: {job}");
    }
    assert!(!worker.has_exited());
    assert!(worker.lines().iter().any(|line| line.contains("whose answers were lost")), "{:#?}", worker.lines());
    assert_eq!(system.count("longshore.running").await, 0);
    system.assert_no_violations().await;
}
