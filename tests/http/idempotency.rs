//! `Idempotency-Key`: the same request again gets its first answer, and nothing is done twice.

use longshore_common::{key::Scope, outcome::Outcome};
use serde_json::{Value, json};

use crate::{
    api::{Api, JSON, NDJSON, create_key, problem},
    support::http::{self, Response},
};

const JOB: &str = r#"{"kind": "echo", "args": {"a": 1.50}, "tags": ["t"]}"#;

const REJECT: &str = r#"{"kind": "echo", "unique": {"key": "u", "on_conflict": "reject"}}"#;
const REPLACE: &str = r#"{"kind": "echo", "priority": 7, "unique": {"key": "u", "on_conflict": "replace"}}"#;

async fn post(api: &Api, path: &str, key: &str, body: &str) -> Response {
    api.request("POST", path, &[JSON, ("idempotency-key", key)], body.as_bytes()).await
}

/// What is the same in a first answer and in those after it.
fn answer(response: &Response) -> (u16, Option<&str>, String) {
    (response.status, response.header("location"), response.text())
}

#[tokio::test]
async fn the_first_answer_comes_again() {
    let api = Api::start().await;
    let first = post(&api, "/v1/jobs", "k", JOB).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, None), "{}", first.text());
    assert!(first.text().contains(r#""args":{"a": 1.50}"#), "{}", first.text());
    let worker = api.worker("w", &["*=50"]).await;
    let lease = api.claim(worker, "default", 1).await.jobs[0].lease;
    api.store.report(&[(lease, Outcome::Succeeded { result: None })]).await.expect("report");
    let before = api.tables().await;
    for _ in 0..3 {
        let again = post(&api, "/v1/jobs", "k", JOB).await;
        assert_eq!((answer(&again), again.header("idempotent-replayed")), (answer(&first), Some("true")));
    }
    for (path, body) in [("/v1/jobs", r#"{"kind": "echo"}"#), ("/v1/jobs", &JOB.replace(' ', "")), ("/v1/jobs/batch", JOB)] {
        let other = api.request("POST", path, &[NDJSON, JSON, ("idempotency-key", "k")][usize::from(path == "/v1/jobs")..], body.as_bytes()).await;
        let said = problem(&other, 422, &[""], path);
        assert!(said["errors"][0]["detail"].as_str().expect("words").contains("came with another request"), "{said}");
    }
    assert_eq!(api.tables().await, before);
    let other = post(&api, "/v1/jobs", "K", JOB).await;
    assert_ne!(other.json()["id"], first.json()["id"], "another key, another job");
    // with a wait, the same job as it then is
    let waited = post(&api, "/v1/jobs?wait=1s", "k", JOB).await;
    let expected = (201, Some("true"), &json!("succeeded"), &first.json()["id"].clone());
    assert_eq!((waited.status, waited.header("idempotent-replayed"), &waited.json()["state"], &waited.json()["id"]), expected);
    api.finish().await;
}

#[tokio::test]
async fn batches_too() {
    let api = Api::start().await;
    let body = json!({"jobs": [{"kind": "echo", "unique": {"key": "u"}}, {"kind": "echo"}, {"kind": "echo", "unique": {"key": "u"}}]}).to_string();
    let first = post(&api, "/v1/jobs/batch", "b", &body).await;
    assert_eq!((first.status, &first.json()["duplicates"]), (201, &json!([2])));
    let again = post(&api, "/v1/jobs/batch", "b", &body).await;
    assert_eq!((answer(&again), again.header("idempotent-replayed")), (answer(&first), Some("true")));
    let lines = (0..3000).map(|n| json!({"kind": "echo", "args": n}).to_string()).collect::<Vec<_>>().join("\n");
    let send = async || api.request("POST", "/v1/jobs/batch", &[NDJSON, ("idempotency-key", "lines")], lines.as_bytes()).await;
    let (first, again) = (send().await, send().await);
    assert_eq!((first.json()["ids"].as_array().map(Vec::len), answer(&again)), (Some(3000), answer(&first)));
    assert_eq!(api.count("longshore.job_data").await, 3002);
    api.finish().await;
}

#[tokio::test]
async fn what_was_refused_may_be_put_right() {
    let api = Api::start().await;
    problem(&post(&api, "/v1/jobs", "k", r#"{"kind": ""}"#).await, 422, &["/kind"], "a fault");
    let standing = api.enqueue(r#"{"kind": "echo", "unique": {"key": "u"}}"#).await;
    let refused = post(&api, "/v1/jobs", "k", REJECT).await;
    problem(&refused, 409, &["/unique/key"], "held");
    // whoever comes again at once is not told that the first one is under way
    for round in 0..100 {
        let again = post(&api, "/v1/jobs", "k", REJECT).await;
        problem(&again, 409, &["/unique/key"], &format!("round {round}"));
    }
    assert_eq!(api.count("longshore.idempotency").await, 0);

    let first = post(&api, "/v1/jobs", "k", REPLACE).await;
    let job = first.json();
    let expected = (200, &json!(standing), &json!(7), &json!(true), &json!(true));
    assert_eq!((first.status, &job["id"], &job["priority"], &job["duplicate"], &job["replaced"]), expected);
    api.request("PATCH", &format!("/v1/jobs/{standing}"), &[JSON], br#"{"priority": 1}"#).await;
    let again = post(&api, "/v1/jobs", "k", REPLACE).await;
    assert_eq!((answer(&again), again.header("idempotent-replayed")), (answer(&first), Some("true")));
    assert_eq!(api.read(&format!("/v1/jobs/{standing}")).await["priority"], 1, "it was not replaced once more");
    api.finish().await;
}

#[tokio::test]
async fn keys_that_cannot_be_one_are_refused() {
    let api = Api::start().await;
    for key in ["", &"k".repeat(256), "\u{e4}"] {
        problem(&post(&api, "/v1/jobs", key, JOB).await, 422, &[""], key);
    }
    let twice = api.request("POST", "/v1/jobs", &[JSON, ("idempotency-key", "a"), ("idempotency-key", "b")], JOB.as_bytes()).await;
    problem(&twice, 422, &[""], "two keys");
    assert_eq!(post(&api, "/v1/jobs", &format!("\"{}\"", "k".repeat(253)), JOB).await.status, 201);
    let patched = api.request("PATCH", "/v1/jobs/1", &[JSON, ("idempotency-key", "k")], b"{}").await;
    problem(&patched, 422, &[""], "nothing to do twice");
    assert_eq!(api.count("longshore.job_data").await, 1);
    api.finish().await;
}

#[tokio::test]
async fn a_request_that_is_under_way_is_not_done_beside() {
    let api = Api::start().await;
    api.sql.batch_execute("begin; select pg_advisory_xact_lock(hashtextextended(' k', 4711))").await.expect("lock");
    let beside = post(&api, "/v1/jobs", "k", JOB).await;
    assert_eq!((beside.status, beside.header("retry-after"), beside.json()["type"].clone()), (409, Some("1"), json!("urn:longshore:problem:conflict")));
    api.sql.batch_execute("commit").await.expect("unlock");
    assert_eq!(api.count("longshore.job_data").await, 0);
    assert_eq!(post(&api, "/v1/jobs", "k", JOB).await.status, 201);
    api.finish().await;
}

#[tokio::test]
async fn after_a_day_it_is_forgotten() {
    let api = Api::start().await;
    let first = post(&api, "/v1/jobs", "k", JOB).await.json()["id"].clone();
    let age = async |age: &str| api.sql.execute(&format!("update longshore.idempotency set created_at = now() - interval '{age}'"), &[]).await.expect("age");
    age("23 h 59 min").await;
    api.store.prune_first_answers(10).await.expect("prune");
    assert_eq!(post(&api, "/v1/jobs", "k", JOB).await.json()["id"], first);
    age("24 h 1 min").await;
    let second = post(&api, "/v1/jobs", "k", JOB).await;
    assert_ne!(second.json()["id"], first, "though its row was not pruned yet");
    assert_eq!(answer(&post(&api, "/v1/jobs", "k", JOB).await), answer(&second));
    age("24 h 1 min").await;
    api.store.prune_first_answers(10).await.expect("prune");
    assert_eq!(api.count("longshore.idempotency").await, 0);
    api.finish().await;
}

#[tokio::test]
async fn callers_have_keys_of_their_own() {
    let prepare = async |store: &longshore_common::store::Store| {
        (create_key(store, "a", &[Scope::Enqueue], &[]).await, create_key(store, "b", &[Scope::Enqueue], &["default"]).await)
    };
    let (api, (a, b)) = Api::start_after(&[], prepare).await;
    let mut ids = Vec::new();
    for key in [&a, &b, &a, &b] {
        let bearer = format!("Bearer {key}");
        let answer = api.request("POST", "/v1/jobs", &[JSON, ("authorization", &bearer), ("idempotency-key", "k")], JOB.as_bytes()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        ids.push((answer.json()["id"].clone(), answer.json()["enqueued_by"].clone()));
    }
    assert!(ids[0] == ids[2] && ids[1] == ids[3] && ids[0].0 != ids[1].0, "{ids:?}");
    assert_eq!((&ids[0].1, &ids[1].1), (&json!("a"), &json!("b")));
    api.finish().await;
}

/// The same key from all sides at once, at two APIs: one job, and one answer for all who got one.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_at_once_is_done() {
    let api = Api::start().await;
    let (second, stop) = api.beside().await;
    let addresses = [api.address, second.address];
    let (mut refused, rounds) = (0, 100);
    for round in 0..rounds {
        let key = format!("round {round}");
        let requests: Vec<_> = (0..8)
            .map(|n| {
                let (key, address) = (key.clone(), addresses[n % 2]);
                tokio::spawn(async move { http::request(address, "POST", "/v1/jobs", &[JSON, ("idempotency-key", &key)], JOB.as_bytes()).await })
            })
            .collect();
        let mut ids: Vec<Value> = Vec::new();
        for request in requests {
            let answer = request.await.expect("sent");
            match answer.status {
                201 => ids.push(answer.json()["id"].clone()),
                409 => refused += 1,
                _ => panic!("{}", answer.text()),
            }
        }
        ids.dedup();
        assert_eq!(ids.len(), 1, "round {round}");
    }
    println!("{refused} of {} were told to come again", rounds * 8);
    assert_eq!(api.count("longshore.job_data").await, rounds);
    stop.cancel();
    second.wait().await.expect("a clean stop");
    api.finish().await;
}
