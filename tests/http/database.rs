//! `GET /v1/database`: what is there, and what the doctor says of it.

use std::collections::BTreeSet;

use longshore_common::key::Scope;
use serde_json::Value;

use crate::{
    api::{Api, create_key, problem},
    support::{http, postgres::connect},
};

fn finding<'a>(health: &'a Value, name: &str) -> &'a Value {
    health["findings"].as_array().expect("a list").iter().find(|finding| finding["name"] == name).unwrap_or_else(|| panic!("no {name} in {health:#}"))
}

#[tokio::test]
async fn the_database_and_what_hurts_there() {
    let api = Api::start().await;
    // another transaction that is open, and has a snapshot
    let other = connect(&format!("{}?application_name=exporter", api.database.url())).await;
    other.batch_execute("begin isolation level repeatable read; select 'who am I'").await.expect("begin");
    let pid: i32 = other.query_one("select pg_backend_pid()", &[]).await.expect("ask").get(0);
    let health = api.read("/v1/database").await;

    assert!(health["server"]["version"].as_str().is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit())), "{health:#}");
    let (connections, by) = (&health["connections"], health["connections"]["by"].as_array().expect("a list"));
    assert_eq!(connections["max"], 300);
    assert_eq!(connections["used"].as_i64(), by.iter().map(|sessions| sessions["count"].as_i64()).sum());
    assert!(
        by.iter().any(|sessions| sessions["application"] == "exporter" && sessions["state"] == "idle in transaction" && sessions["count"] == 1),
        "{health:#}"
    );
    let holders = health["horizon"]["holders"].as_array().expect("a list");
    let holder = holders.iter().find(|holder| holder["pid"] == pid).unwrap_or_else(|| panic!("no {pid} in {health:#}"));
    assert_eq!((&holder["sort"], &holder["application"], &holder["name"]), (&"transaction".into(), &"exporter".into(), &Value::Null));
    assert!(holder["age"].as_f64().is_some_and(|age| (0.0..60.0).contains(&age)) && holder["xmin_age"].is_i64(), "{holder}");
    let tables: BTreeSet<&str> = health["tables"].as_array().expect("a list").iter().filter_map(|table| table["name"].as_str()).collect();
    assert!(["ready", "running", "scheduled", "finished", "job_data"].iter().all(|name| tables.contains(name)), "{tables:?}");

    // the tests' server waits for no disk, and has no worker here: what the command line says is said here too
    assert_eq!(finding(&health, "server")["level"], "fail");
    assert!(finding(&health, "server")["remedy"].as_str().is_some_and(|remedy| remedy.contains("alter system set fsync = on")));
    assert_eq!(finding(&health, "workers")["level"], "fail");
    for name in ["objects", "transactions", "bloat", "clock", "due", "stuck"] {
        let finding = finding(&health, name);
        assert!(finding["level"] == "ok" && finding.get("remedy").is_none(), "{finding}");
    }
    drop(other);
    api.finish().await;
}

#[tokio::test]
async fn a_hundred_pages_cost_what_one_does() {
    let api = Api::start().await;
    let began = std::time::Instant::now();
    let mut times = BTreeSet::new();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let address = api.address;
        asking.spawn(async move { http::request(address, "GET", "/v1/database", &[], b"").await });
    }
    for answer in asking.join_all().await {
        assert_eq!(answer.status, 200, "{}", answer.text());
        times.insert(answer.json()["server"]["now"].as_str().expect("a time").to_owned());
    }
    let most = usize::try_from(began.elapsed().as_secs() / 5).expect("few") + 1;
    assert!((1..=most).contains(&times.len()), "a hundred answers are of {} times, it must be {most} at most", times.len());
    api.finish().await;
}

#[tokio::test]
async fn a_limited_key_does_not_see_what_others_do() {
    let (api, (all, some)) =
        Api::start_after(&[], async |store| (create_key(store, "all", &[Scope::Read], &[]).await, create_key(store, "some", &[Scope::Read], &["a"]).await))
            .await;
    assert_eq!(api.with_key(&all, "GET", "/v1/database", "").await.status, 200);
    let said = problem(&api.with_key(&some, "GET", "/v1/database", "").await, 403, &[], "limited")["detail"].to_string();
    assert!(said.contains("limited to queues"), "{said}");
    api.finish().await;
}
