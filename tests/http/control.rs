//! Cancel, retry, change and delete over HTTP.

use std::time::Duration;

use longshore_common::{job::Call, job::JobState, key::Scope, outcome::Outcome};
use serde_json::{Value, json};

use crate::api::{Api, create_key, problem};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn patch(api: &Api, id: i64, body: &Value) -> crate::support::http::Response {
    api.request("PATCH", &format!("/v1/jobs/{id}"), &[JSON], body.to_string().as_bytes()).await
}

#[tokio::test]
async fn from_running_to_cancelled_to_retried_to_deleted() {
    let api = Api::start().await;
    let worker = api.worker("w", &["*=50"]).await;
    let id = api.enqueue(r#"{"kind": "echo"}"#).await;
    let path = format!("/v1/jobs/{id}");
    let lease = api.claim(worker, "default", 1).await.jobs[0].lease;

    problem(&api.request("DELETE", &path, &[], b"").await, 409, &[], "it runs");
    problem(&patch(&api, id, &json!({"priority": 1})).await, 409, &[], "it runs");
    let told = problem(&api.post(&format!("{path}/retry"), "").await, 409, &[], "it runs");
    assert_eq!(told["detail"], "it is running; only a job that is finished, or waits for its next attempt, can be retried");

    let asked = api.request("POST", &format!("{path}/cancel"), &[], b"").await;
    assert_eq!((asked.status, &asked.json()["state"]), (202, &json!("running")));
    let since = asked.json()["cancel_requested_at"].clone();
    assert!(since.is_string());
    let again = api.request("POST", &format!("{path}/cancel"), &[], b"").await;
    assert_eq!((again.status, &again.json()["cancel_requested_at"]), (202, &since), "asking again changes nothing");

    let failed = Outcome::Failed { error: "stopped".to_owned(), retry_in: Some(Duration::ZERO) };
    api.store.report(&[(lease, failed)]).await.expect("report");
    let job = api.read(&path).await;
    assert_eq!((&job["state"], &job["error"], &job["cancel_requested_at"]), (&json!("cancelled"), &json!("stopped"), &since));
    let told = problem(&api.request("POST", &format!("{path}/cancel"), &[], b"").await, 409, &[], "it is finished");
    assert_eq!(told["detail"], "it is cancelled; only a job that waits or runs can be cancelled");

    let retried = api.request("POST", &format!("{path}/retry"), &[], b"").await;
    assert_eq!((retried.status, &retried.json()["state"], &retried.json()["attempt"]), (200, &json!("available"), &json!(1)));
    assert_eq!(api.read(&path).await["history"][0]["outcome"], "failed", "the attempt is in its history");
    let cancelled = api.request("POST", &format!("{path}/cancel"), &[], b"").await;
    assert_eq!((cancelled.status, &cancelled.json()["state"]), (200, &json!("cancelled")));
    let deleted = api.request("DELETE", &path, &[], b"").await;
    assert_eq!((deleted.status, deleted.text().as_str()), (204, ""));
    for (method, path) in [("GET", path.clone()), ("DELETE", path.clone()), ("POST", format!("{path}/cancel")), ("POST", format!("{path}/retry"))] {
        problem(&api.request(method, &path, &[], b"").await, 404, &[], &format!("{method} {path}"));
    }
    problem(&patch(&api, id, &json!({"priority": 1})).await, 404, &[], "it is gone");
    api.finish().await;
}

#[tokio::test]
async fn a_change_is_checked_as_a_job_is() {
    let api = Api::start().await;
    let id = api.enqueue(r#"{"kind": "echo", "tags": ["a"], "delay": "1h"}"#).await;
    let answer = patch(&api, id, &json!({"priority": -7, "args": {"n": 1}, "tags": ["b"], "meta": {"m": 2}, "max_attempts": 3})).await;
    let job = answer.json();
    assert_eq!(answer.status, 200, "{job}");
    assert_eq!((&job["state"], &job["priority"], &job["args"], &job["max_attempts"]), (&json!("scheduled"), &json!(-7), &json!({"n": 1}), &json!(3)));
    for (query, found) in [("tag=a", 0), ("tag=b", 1), ("meta.m=2", 1)] {
        assert_eq!(api.read(&format!("/v1/jobs?{query}")).await["items"].as_array().map(Vec::len), Some(found), "{query}");
    }
    assert_eq!(patch(&api, id, &json!({"run_at": "2001-01-01T00:00:00Z"})).await.json()["state"], "available");

    let before = api.read(&format!("/v1/jobs/{id}")).await;
    let bad = json!({"priority": 40_000, "run_at": 7, "max_attempts": 0, "tags": "x", "meta": [], "kind": "other"});
    problem(&patch(&api, id, &bad).await, 422, &["/priority", "/run_at", "/max_attempts", "/tags", "/meta", "/kind"], "all at once");
    let path = format!("/v1/jobs/{id}");
    problem(&api.request("PATCH", &path, &[JSON], b"{").await, 400, &[], "not JSON");
    problem(&api.request("PATCH", &path, &[("content-type", "text/plain")], b"{}").await, 415, &[], "not JSON");
    problem(&api.request("PATCH", &format!("{path}?dry_run=true"), &[JSON], b"{}").await, 422, &["/dry_run"], "what would be ignored");
    assert_eq!(api.read(&path).await, before, "nothing was changed");
    let worker = api.worker("w", &["*=50"]).await;
    let lease = api.claim(worker, "default", 1).await.jobs[0].lease;
    api.store.report(&[(lease, Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::from_hours(1)) })]).await.expect("report");
    let told = problem(&patch(&api, id, &json!({"max_attempts": 1})).await, 422, &["/max_attempts"], "it has had as many");
    assert_eq!(told["errors"][0]["detail"], "must be above 1: the job has had as many attempts");
    api.finish().await;
}

#[tokio::test]
async fn a_key_that_is_held_is_not_taken_back() {
    let api = Api::start().await;
    let job = r#"{"kind": "echo", "unique": {"key": "k"}}"#;
    let first = api.enqueue(job).await;
    assert_eq!(api.request("POST", &format!("/v1/jobs/{first}/cancel"), &[], b"").await.status, 200);
    let second = api.enqueue(job).await;
    let told = problem(&api.request("POST", &format!("/v1/jobs/{first}/retry"), &[], b"").await, 409, &[], "it is held");
    assert_eq!(told["detail"], format!("the unique key of job {first} is held by job {second}"));
    api.finish().await;
}

#[tokio::test]
async fn a_key_that_is_held_elsewhere_leads_nowhere() {
    let (api, (all, ours)) = Api::start_after(&[], async |store| {
        (create_key(store, "all", &[Scope::Admin], &[]).await, create_key(store, "ours", &[Scope::Admin], &["ours"]).await)
    })
    .await;
    let enqueue = async |queue: &str| {
        let job = json!({"kind": "echo", "queue": queue, "unique": {"key": "k"}});
        api.with_key(&all, "POST", "/v1/jobs", &job.to_string()).await.json()["id"].as_i64().expect("enqueued")
    };
    let first = enqueue("ours").await;
    assert_eq!(api.with_key(&ours, "POST", &format!("/v1/jobs/{first}/cancel"), "").await.status, 200);
    let second = enqueue("theirs").await;
    let path = format!("/v1/jobs/{first}/retry");
    let told = problem(&api.with_key(&all, "POST", &path, "").await, 409, &[], "it is held");
    assert_eq!(told["detail"], format!("the unique key of job {first} is held by job {second}"));
    let told = problem(&api.with_key(&ours, "POST", &path, "").await, 409, &[], "it is held elsewhere");
    assert_eq!(told["detail"], format!("the unique key of job {first} is held by a job of a queue to which this API key does not reach"));
    api.finish().await;
}

#[tokio::test]
async fn who_may_control() {
    let (api, keys) = Api::start_after(&[], async |store| {
        let mut keys = Vec::new();
        for (name, scope) in [("enqueue", Scope::Enqueue), ("read", Scope::Read), ("work", Scope::Work), ("theirs", Scope::Admin)] {
            keys.push((name, create_key(store, name, &[scope], if name == "theirs" { &["theirs"] } else { &[] }).await));
        }
        keys.push(("ours", create_key(store, "ours", &[Scope::Admin], &["ours"]).await));
        keys
    })
    .await;
    let key = |wanted: &str| keys.iter().find(|(name, _)| *name == wanted).expect("was made").1.clone();
    let answer = api.with_key(&key("ours"), "POST", "/v1/jobs", r#"{"kind": "echo", "queue": "ours"}"#).await;
    let id = answer.json()["id"].as_i64().expect("enqueued");
    let calls = [("POST", "/cancel", ""), ("POST", "/retry", ""), ("PATCH", "", "{}"), ("DELETE", "", "")];
    assert_eq!(calls.len(), Call::ALL.len());
    for (method, end, body) in calls {
        for (name, status) in [("enqueue", 403), ("read", 403), ("work", 403), ("theirs", 404)] {
            let about = format!("{name}: {method} {end}");
            problem(&api.with_key(&key(name), method, &format!("/v1/jobs/{id}{end}"), body).await, status, &[], &about);
        }
    }
    let seen = api.with_key(&key("ours"), "GET", &format!("/v1/jobs/{id}"), "").await.json();
    assert_eq!(seen["state"], JobState::Available.word(), "nobody has touched it");
    assert_eq!(api.with_key(&key("ours"), "POST", &format!("/v1/jobs/{id}/cancel"), "").await.status, 200);
    api.finish().await;
}
