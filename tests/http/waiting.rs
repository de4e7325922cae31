//! `wait=`: a request that is answered when its job has ended.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use longshore_common::{
    key::Scope,
    outcome::Outcome,
    store::{claim::Lease, listen::Waker},
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{
    api::{Api, JSON, SOON, create_key, problem},
    support::{
        eventually::eventually,
        http::{self, Response},
    },
};

const UNIQUE: &str = r#"{"kind": "echo", "unique": {"key": "k", "on_conflict": "replace"}}"#;
const ECHO: &str = r#"{"kind": "echo", "args": {"a": 1.50}}"#;

/// Sends a request that waits, beside the test.
fn send(address: SocketAddr, method: &'static str, path: String, body: &'static str) -> JoinHandle<Response> {
    tokio::spawn(async move { http::request(address, method, &path, if body.is_empty() { &[] } else { &[JSON] }, body.as_bytes()).await })
}

/// The lease of the one job that is there to be claimed, as soon as it is.
async fn claimed(api: &Api) -> Lease {
    let worker = api.worker("w", &["*=50"]).await;
    eventually("there is a job", SOON, async || api.claim(worker, "default", 1).await.jobs.first().map(|job| job.lease).ok_or("none")).await
}

fn success() -> Outcome {
    Outcome::Succeeded { result: Some(longshore_common::json::RawJson::from_value(&json!({"b": 2})).expect("JSON")) }
}

async fn listeners(api: &Api) -> i64 {
    api.count("pg_stat_activity where datname = current_database() and query = 'listen longshore_ended'").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enqueue_is_answered_with_what_became_of_its_job() {
    let api = Api::start().await;
    let answer = send(api.address, "POST", "/v1/jobs?wait=30s".to_owned(), ECHO);
    let lease = claimed(&api).await;
    let told = api.store.report(&[(lease, success())]).await.expect("report");
    assert!(told.watched, "whoever reports hears that somebody waits");
    Waker::start(&api.store).ended([lease.id]);
    let answer = answer.await.expect("sent");
    assert_eq!((answer.status, answer.header("location")), (201, Some(format!("/v1/jobs/{}", lease.id).as_str())), "{}", answer.text());
    assert_eq!(answer.json()["result"], json!({"b": 2}));
    assert!(answer.text().contains(r#""args":{"a": 1.50}"#), "digit for digit: {}", answer.text());
    let mut read = api.read(&format!("/v1/jobs/{}", lease.id)).await;
    read.as_object_mut().expect("an object").remove("history");
    assert_eq!(answer.json(), read, "the job as it is");
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_time_is_up_the_job_is_shown_as_it_then_is() {
    // what a request asks to wait does not count for the time that it may take
    let api = Api::start_with(&[("LONGSHORE_API__TIMEOUT", "3s")]).await;
    let began = Instant::now();
    let waits = api.post("/v1/jobs?wait=4s", ECHO).await;
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!((waits.status, &waits.json()["state"]), (201, &json!("available")));

    let answer = send(api.address, "GET", format!("/v1/jobs/{}?wait=2", waits.json()["id"]), "");
    claimed(&api).await;
    let answer = answer.await.expect("sent");
    assert_eq!((answer.status, &answer.json()["state"], &answer.json()["history"][0]["attempt"]), (200, &json!("running"), &json!(1)));
    assert_eq!(api.read(&format!("/v1/jobs/{}?wait=0s", waits.json()["id"])).await["state"], "running", "no time is no wait");
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_tells_is_found_by_looking() {
    let api = Api::start().await;
    let (id, gone, enqueued) = (api.enqueue(ECHO).await, api.enqueue(ECHO).await, api.enqueue(r#"{"kind": "echo", "delay": "1h"}"#).await);
    // by the database, past all programs
    let read = send(api.address, "GET", format!("/v1/jobs/{id}?wait=60s"), "");
    let read_gone = send(api.address, "GET", format!("/v1/jobs/{gone}?wait=60s"), "");
    let posted_gone = send(api.address, "POST", "/v1/jobs?wait=60s".to_owned(), r#"{"kind": "echo", "delay": "2h", "tags": ["later"]}"#);
    eventually("the new one is there", SOON, async || if api.count("longshore.labels").await == 1 { Ok(()) } else { Err("no") }).await;
    api.sql.batch_execute(&format!("select longshore.cancel({id}); select longshore.delete_jobs(array[{gone}])")).await.expect("control");
    let read = read.await.expect("sent");
    assert_eq!((read.status, &read.json()["state"], &read.json()["history"]), (200, &json!("cancelled"), &json!([])));
    problem(&read_gone.await.expect("sent"), 404, &[], "it was deleted meanwhile");
    assert!(!posted_gone.is_finished(), "its job has not ended");
    let later = api.read("/v1/jobs?tag=later").await["items"][0]["id"].as_i64().expect("an id");
    assert!(later > enqueued);
    api.sql.batch_execute(&format!("select longshore.delete_jobs(array[{later}])")).await.expect("delete");
    let posted = posted_gone.await.expect("sent");
    assert_eq!((posted.status, &posted.json()["id"], &posted.json()["state"]), (201, &json!(later), &json!("scheduled")), "it was stored, and is gone");
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_waits_for_the_standing_job() {
    let api = Api::start().await;
    api.enqueue(UNIQUE).await;
    let answer = send(api.address, "POST", "/v1/jobs?wait=30s".to_owned(), UNIQUE);
    eventually("somebody waits", SOON, async || if listeners(&api).await == 1 { Ok(()) } else { Err("nobody") }).await;
    let lease = claimed(&api).await;
    api.store.report(&[(lease, success())]).await.expect("report");
    let answer = answer.await.expect("sent");
    let job = answer.json();
    assert_eq!((answer.status, &job["id"], &job["state"], &job["duplicate"]), (200, &json!(lease.id), &json!("succeeded"), &json!(true)));
    assert!(job["replaced"].is_boolean(), "{job}");
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_waits_are_refused_and_change_nothing() {
    let api = Api::start().await;
    let id = api.enqueue(ECHO).await;
    for (query, pointers) in [
        ("wait=61s", vec!["/wait"]),
        ("wait=soon", vec!["/wait"]),
        ("wait=-1", vec!["/wait"]),
        ("wait=", vec!["/wait"]),
        ("wait=1s&wait=1s", vec!["/wait"]),
        ("waits=1s", vec!["/waits"]),
        ("a=1&wait=2m&b=2", vec!["/a", "/wait", "/b"]),
    ] {
        api.refused(&format!("/v1/jobs?{query}"), &[JSON], ECHO, 422, &pointers).await;
        problem(&api.get(&format!("/v1/jobs/{id}?{query}")).await, 422, &pointers, query);
    }
    api.refused("/v1/jobs/batch?wait=1s", &[JSON], r#"{"jobs": [{"kind": "echo"}]}"#, 422, &["/wait"]).await;
    problem(&api.get("/v1/jobs/9000000?wait=60s").await, 404, &[], "not there: no wait");
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_key_waits_for_nothing_beyond_it() {
    let (api, key) = Api::start_after(&[], async |store| create_key(store, "k", &[Scope::Read, Scope::Enqueue], &["mine"]).await).await;
    let admin = create_key(&api.store, "a", &[Scope::Admin], &[]).await;
    eventually("the key is known", SOON, async || {
        let answer = api.with_key(&admin, "POST", "/v1/jobs", ECHO).await;
        if answer.status == 201 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    problem(&api.with_key(&key, "GET", "/v1/jobs/1?wait=60s", "").await, 404, &[], "another queue's");
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_cost_one_listener_and_are_answered_when_the_api_stops() {
    let api = Api::start().await;
    let ids: Vec<i64> = {
        let jobs: Vec<_> = (0..300).map(|n| json!({"kind": "echo", "delay": "1h", "args": n})).collect();
        let answer = api.post("/v1/jobs/batch", json!({ "jobs": jobs }).to_string()).await.json();
        answer["ids"].as_array().expect("ids").iter().map(|id| id.as_i64().expect("an id")).collect()
    };
    assert_eq!(listeners(&api).await, 0, "nobody waits");
    let waiting: Vec<_> = ids.iter().map(|id| send(api.address, "GET", format!("/v1/jobs/{id}?wait=60s"), "")).collect();
    eventually("it listens", SOON, async || if listeners(&api).await == 1 { Ok(()) } else { Err("it does not") }).await;
    let ended = &ids[..100];
    api.sql.execute("select longshore.cancel_jobs($1)", &[&ended]).await.expect("cancel");
    let mut waiting = waiting.into_iter();
    for answer in waiting.by_ref().take(100) {
        assert_eq!(answer.await.expect("sent").json()["state"], "cancelled");
    }
    assert_eq!(listeners(&api).await, 1);
    api.stop.cancel();
    for answer in waiting {
        let answer = answer.await.expect("sent");
        assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("scheduled")), "as it is when the API stops");
    }
    api.stopped().await;
}
