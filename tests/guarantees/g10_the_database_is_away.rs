//! Guarantee 10: the database is away, from whichever side it goes. The API answers 503 in time and recovers by itself;
//! workers keep their jobs and report when it is back; each says it once when it goes and once when it is back.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    support::{
        eventually::eventually,
        postgres::{Database, connect, server},
        process::Process,
        proxy::{Proxy, Target},
    },
    system::{SOON, assert_no_violations, count, get, post, sleep_job, start_api, start_worker},
};

fn said(process: &Process, text: &str) -> usize {
    process.lines().iter().filter(|line| line.contains(text)).count()
}

/// Breaks the network in one way, looks, mends it, and looks again.
async fn outage(breaks: impl Fn(&Proxy), mends: impl Fn(&Proxy)) {
    let database = Database::empty().await;
    let proxy = Proxy::start(Target::Unix(server().socket())).await;
    let url = database.url_through(proxy.address());
    let (mut api, address) = start_api(&url, &[]).await;
    api.wait_for_line("the schema is up to date", SOON).await;
    let mut worker = start_worker(&url, &[("LONGSHORE_WORKER__LEASE", "60s")]).await;
    let sql = connect(database.url()).await;
    let id = post(address, "/v1/jobs", &sleep_job("4s")).await.json()["id"].as_i64().expect("an id");
    eventually("it runs", SOON, async || count(&sql, "longshore.running").await == 1).await;

    breaks(&proxy);
    let asked = Instant::now();
    let answer = post(address, "/v1/jobs", &json!({"kind": "echo"})).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(asked.elapsed() < Duration::from_secs(6), "within the request timeout: {:?}", asked.elapsed());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(get(address, "/health").await.status, 503);
    assert_eq!(get(address, "/livez").await.status, 200);
    api.wait_for_line("the database is away", SOON).await;
    worker.wait_for_line("the database is away", SOON).await;
    tokio::time::sleep(Duration::from_secs(3)).await; // the job ends meanwhile

    mends(&proxy);
    eventually("the API serves again", SOON, async || post(address, "/v1/jobs", &json!({"kind": "echo"})).await.status == 201).await;
    api.wait_for_line("the database is back", SOON).await;
    worker.wait_for_line("the database is back", SOON).await;
    eventually("the outcome is reported", SOON, async || count(&sql, "longshore.finished where state = 'succeeded'").await >= 2).await;
    let job = get(address, &format!("/v1/jobs/{id}")).await.json();
    assert_eq!((&job["state"], job["history"].as_array().map(Vec::len)), (&json!("succeeded"), Some(1)), "by the attempt that ran through it all: {job}");
    for process in [&api, &worker] {
        assert_eq!((said(process, "the database is away"), said(process, "the database is back")), (1, 1), "{:#?}", process.lines());
    }
    assert_no_violations(&sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_cut_and_refused() {
    outage(
        |proxy| {
            proxy.refuse(true);
            proxy.cut_all();
        },
        Proxy::resume,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_swallows_everything() {
    outage(
        |proxy| proxy.blackhole(true),
        |proxy| {
            proxy.cut_all();
            proxy.resume();
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_alone_are_swallowed() {
    outage(
        |proxy| proxy.blackhole_replies(true),
        |proxy| {
            proxy.cut_all();
            proxy.resume();
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_connection_is_no_outage() {
    let system = crate::system::System::start().await;
    let worker = system.worker(&[]).await;
    let kick = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query not like 'listen%' and pid <> pg_backend_pid() limit 1";
    for _ in 0..10 {
        system.sql.batch_execute(kick).await.expect("kick");
        // whose connection it was gets a 503, and may try again
        let id = eventually("a job is taken", SOON, async || post(system.address, "/v1/jobs", &json!({"kind": "echo"})).await.json()["id"].as_i64()).await;
        system.until(id, "succeeded").await;
    }
    for process in [&system.api, &worker] {
        assert_eq!(said(process, "the database is"), 0, "{:#?}", process.lines());
    }
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_an_outage_is_not_another() {
    // connections that the network has swallowed come back to life, or fail, one after the other
    outage(|proxy| proxy.blackhole(true), Proxy::resume).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_is_away_for_writers() {
    let database = Database::empty().await;
    let (mut api, address) = start_api(database.url(), &[]).await;
    api.wait_for_line("the schema is up to date", SOON).await;
    let sql = connect(database.url()).await;
    let name = database.name();
    let kick = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    sql.batch_execute(&format!("alter database {name} set default_transaction_read_only = on; {kick}")).await.expect("read-only");
    eventually("the API says 503", SOON, async || post(address, "/v1/jobs", &json!({"kind": "echo"})).await.status == 503).await;
    let health = get(address, "/readyz").await;
    assert_eq!((health.status, &health.json()["database"]), (503, &json!("read-only")), "so that nobody is sent there");
    tokio::time::sleep(Duration::from_secs(4)).await; // it stays so for a while
    sql.batch_execute(&format!("set transaction_read_only = off; alter database {name} set default_transaction_read_only = off")).await.expect("writable");
    sql.batch_execute(kick).await.expect("kick");
    eventually("the API serves again", SOON, async || post(address, "/v1/jobs", &json!({"kind": "echo"})).await.status == 201).await;
    api.wait_for_line("the database is back", SOON).await;
    // reads succeed all the while, and are no sign that it is back
    assert_eq!((said(&api, "the database is away"), said(&api, "the database is back")), (1, 1), "{:#?}", api.lines());
    assert_no_violations(&sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_of_starting_is_fine() {
    let database = Database::empty().await;
    let proxy = Proxy::start(Target::Unix(server().socket())).await;
    proxy.refuse(true);
    let url = database.url_through(proxy.address());
    let (mut api, address) = start_api(&url, &[]).await;
    let mut worker = crate::support::process::Program::longshore(["worker"]).env("LONGSHORE_DATABASE__URL", &url).start();
    for process in [&mut api, &mut worker] {
        process.wait_for_line("the database is away", SOON).await;
        assert!(!process.has_exited());
    }
    assert_eq!(get(address, "/readyz").await.status, 503);
    assert_eq!(post(address, "/v1/jobs", &json!({"kind": "echo"})).await.status, 503);
    proxy.resume();
    worker.wait_for_line("ready for work", SOON).await;
    let id = eventually("a job is taken", SOON, async || post(address, "/v1/jobs", &json!({"kind": "echo"})).await.json()["id"].as_i64()).await;
    eventually("and done", SOON, async || get(address, &format!("/v1/jobs/{id}")).await.json()["state"] == "succeeded").await;
}
