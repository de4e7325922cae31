//! `/livez`, `/readyz`, `/health`.

use longshore_common::program::VERSION;
use serde_json::json;

use crate::{
    api::{Api, SOON, problem},
    support::{eventually::eventually, http, postgres::Database, process::Program},
};

#[tokio::test]
async fn all_is_well() {
    let api = Api::start().await;
    assert_eq!(api.read("/livez").await, json!({"status": "ok"}));
    let health = json!({"status": "ok", "version": VERSION, "database": "ok"});
    assert_eq!(api.read("/health").await, health);
    assert_eq!(api.read("/readyz").await, health);
    api.finish().await;
}

#[tokio::test]
async fn the_database_is_not_there() {
    let url = "postgres://u:secret@127.0.0.1:1/n";
    let program = Program::longshore(["api"]).env("LONGSHORE_DATABASE__URL", url).env("LONGSHORE_API__LISTEN", "127.0.0.1:0");
    let mut api = program.env("LONGSHORE_API__TIMEOUT", "2s").start();
    let line = api.wait_for_line("listening", SOON).await;
    let address = line.split("addr=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address").parse().expect("an address");
    let get = async |path: &str| http::request(address, "GET", path, &[], b"").await;
    assert_eq!(get("/livez").await.json(), json!({"status": "ok"}));
    for path in ["/readyz", "/health"] {
        let answer = get(path).await;
        assert_eq!((answer.status, answer.header("content-type")), (503, Some("application/json")), "{path}");
        assert_eq!(answer.json(), json!({"status": "unavailable", "version": VERSION, "database": "away"}));
        assert!(answer.header("x-request-id").is_some());
    }
    for path in ["/v1/jobs", "/v1/jobs/1", "/v1/queues", "/v1/queues/a", "/v1/workers"] {
        let said = problem(&get(path).await, 503, &[], path);
        assert!(!said.to_string().contains("secret"));
    }
    for (path, body) in [("/v1/jobs", json!({"kind": "a"})), ("/v1/jobs/batch", json!({"jobs": [{"kind": "a"}]}))] {
        problem(&http::json(address, "POST", path, &body).await, 503, &[], path);
    }
    // who may use it is not known, so nobody is told anything
    for path in ["/nothing", "/openapi.json"] {
        problem(&get(path).await, 503, &[], path);
    }
    problem(&http::json(address, "POST", "/login", &json!({"key": "x"})).await, 503, &[], "log in");
    api.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(api.wait_exit(SOON).await.code(), Some(0));
    assert!(!api.lines().join("\n").contains("secret"), "{:?}", api.lines());
}

#[tokio::test]
async fn an_empty_database_is_made_ready() {
    let database = Database::empty().await;
    let program = Program::longshore(["api"]).env("LONGSHORE_DATABASE__URL", database.url()).env("LONGSHORE_API__LISTEN", "127.0.0.1:0");
    let mut api = program.start();
    let line = api.wait_for_line("listening", SOON).await;
    let address = line.split("addr=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address").parse().expect("an address");
    eventually("it is ready", SOON, async || {
        let answer = http::request(address, "GET", "/readyz", &[], b"").await;
        let known = answer.status == 200 || answer.json()["database"] == "no schema";
        assert!(known, "{}", answer.text());
        answer.status == 200
    })
    .await;
    assert_eq!(http::json(address, "POST", "/v1/jobs", &json!({"kind": "a"})).await.status, 201);
    api.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(api.wait_exit(SOON).await.code(), Some(0));
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_holds_is_said_to_be_held() {
    let api = Api::start().await;
    // a kind's first use, by somebody who does not commit: the next one has to wait for it
    api.sql.batch_execute("begin; select longshore.enqueue('slow', queue => 'held')").await.expect("enqueue");
    let refused = api.post("/v1/jobs", r#"{"kind": "other", "queue": "held"}"#).await;
    let said = problem(&refused, 503, &[], "the queue's row is held");
    assert_eq!(said["detail"], "somebody's open transaction in the database holds what this needs; `longshore doctor` names it");
    assert_eq!(api.get("/readyz").await.status, 200, "the database is there");
    api.sql.batch_execute("rollback").await.expect("roll back");
    api.enqueue(r#"{"kind": "other", "queue": "held"}"#).await;
    api.finish().await;
}
