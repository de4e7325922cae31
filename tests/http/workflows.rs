//! `/v1/workflows`: made, read, drawn, cancelled, retried, added to.

use longshore_common::key::Scope;
use serde_json::{Value, json};

use crate::api::{Api, JSON, create_key, problem};

async fn post(api: &Api, path: &str, body: &Value) -> crate::support::http::Response {
    api.request("POST", path, &[JSON], body.to_string().as_bytes()).await
}

fn diamond() -> Value {
    json!({"name": "a \"diamond\"", "jobs": [
        {"name": "d", "kind": "k", "after": ["b", "c"], "if_failed": "run"}, {"name": "a", "kind": "k", "args": {"n": 1.50}},
        {"name": "b", "kind": "k", "after": ["a"]}, {"name": "c", "kind": "k", "after": ["a"], "queue": "other"}]})
}

/// Leases the one job that there is, and reports it.
async fn run(api: &Api, queue: &str, how: &str, what: &Value) -> Value {
    let leased = post(api, "/v1/leases", &json!({"queues": [queue], "limit": 1})).await.json()["jobs"][0].clone();
    let mut body = what.clone();
    body["lease"] = leased["lease"].clone();
    let answer = post(api, &format!("/v1/jobs/{}/{how}", leased["id"]), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    leased
}

#[tokio::test]
async fn a_workflow_is_made_run_and_shown() {
    let api = Api::start().await;
    let made = post(&api, "/v1/workflows", &diamond()).await;
    assert_eq!((made.status, made.header("location")), (201, Some("/v1/workflows/1")), "{}", made.text());
    let read = api.read("/v1/workflows/1").await;
    assert_eq!(made.json(), read, "it is answered as it is read");
    let shown: Vec<(&str, &str, &Value)> = read["jobs"]
        .as_array()
        .expect("jobs")
        .iter()
        .map(|job| (job["name"].as_str().expect("a name"), job["state"].as_str().expect("a state"), &job["after"]))
        .collect();
    assert_eq!(shown, [("a", "available", &json!([])), ("b", "blocked", &json!(["a"])), ("c", "blocked", &json!(["a"])), ("d", "blocked", &json!(["b", "c"]))]);
    assert_eq!((&read["state"], &read["counts"]["blocked"], &read["name"]), (&json!("running"), &json!(3), &json!("a \"diamond\"")));
    // a job of it
    let d = api.read(&format!("/v1/jobs/{}", read["jobs"][3]["id"])).await;
    assert_eq!((&d["workflow_id"], &d["state"]), (&json!(1), &json!("blocked")));
    let listed = api.read("/v1/jobs?workflow_id=1&state=blocked").await;
    assert_eq!(listed["items"].as_array().expect("items").len(), 3);
    assert_eq!(api.read("/v1/jobs?workflow_id=2").await["items"], json!([]));
    assert_eq!(api.read("/v1/queues/default").await["counts"]["blocked"], 2);
    let because = api.read(&format!("/v1/jobs/{}/explain", read["jobs"][3]["id"])).await["because"].clone();
    assert_eq!(because[0]["reason"], "blocked");
    let detail = because[0]["detail"].as_str().expect("a sentence");
    assert!(detail.starts_with("it waits for 2 of the jobs that it comes after: \"b\" (job ") && detail.contains("\"c\" (job "), "{detail}");
    // it runs
    assert_eq!(run(&api, "default", "complete", &json!({"result": {"z": 1, "a": [2]}})).await["parents"], json!({}));
    assert_eq!(run(&api, "default", "complete", &json!({"result": "b's"})).await["parents"], json!({"a": {"z": 1, "a": [2]}}));
    run(&api, "other", "fail", &json!({"error": "no", "discard": true})).await;
    assert_eq!(run(&api, "default", "complete", &json!({})).await["parents"], json!({"b": "b's", "c": null}));
    let over = api.read("/v1/workflows/1").await;
    assert_eq!((&over["state"], &over["counts"]["succeeded"], &over["counts"]["failed"]), (&json!("failed"), &json!(3), &json!(1)));
    // once more, what failed
    problem(&post(&api, "/v1/workflows/1/cancel", &json!(null)).await, 409, &[], "it is over");
    problem(&post(&api, "/v1/workflows/1/jobs", &json!({"jobs": [{"name": "e", "kind": "k"}]})).await, 409, &[], "it is over");
    let retried = api.request("POST", "/v1/workflows/1/retry", &[], b"").await;
    assert_eq!((retried.status, &retried.json()["state"]), (200, &json!("running")));
    assert_eq!(run(&api, "other", "complete", &json!({})).await["parents"], json!({"a": {"z": 1, "a": [2]}}));
    assert_eq!(api.read("/v1/workflows/1").await["state"], "succeeded");
    problem(&api.request("POST", "/v1/workflows/1/retry", &[], b"").await, 409, &[], "nothing failed");
    api.finish().await;
}

#[tokio::test]
async fn a_workflow_is_drawn() {
    let api = Api::start().await;
    post(&api, "/v1/workflows", &diamond()).await;
    let drawn = api.get("/v1/workflows/1?format=mermaid").await;
    assert_eq!((drawn.status, drawn.header("content-type")), (200, Some("text/vnd.mermaid; charset=utf-8")));
    assert!(drawn.text().starts_with("flowchart TD\n  subgraph workflow[\"a #34;diamond#34;\"]\n  n0[\"a<br/>available\"]:::available\n"), "{}", drawn.text());
    let drawn = api.get("/v1/workflows/1?format=dot").await;
    assert_eq!((drawn.status, drawn.header("content-type")), (200, Some("text/vnd.graphviz; charset=utf-8")));
    assert!(drawn.text().contains("n2 -> n3;"), "{}", drawn.text());
    problem(&api.get("/v1/workflows/1?format=svg").await, 422, &["/format"], "not known");
    problem(&api.get("/v1/workflows/1?colour=red").await, 422, &["/colour"], "not known");
    for path in ["/v1/workflows/2", "/v1/workflows/0", "/v1/workflows/x"] {
        problem(&api.get(path).await, 404, &[], path);
    }
    api.finish().await;
}

#[tokio::test]
async fn a_bad_workflow_is_told_every_fault_and_changes_nothing() {
    let api = Api::start().await;
    post(&api, "/v1/jobs", &json!({"kind": "k", "queue": "q", "unique": {"key": "held"}})).await;
    let before = api.tables().await;
    for (body, pointers) in [
        (json!({}), &["/jobs"][..]),
        (json!({"jobs": [{"name": "a", "kind": "k", "after": ["b"]}]}), &["/jobs/0/after/0"]),
        (json!({"jobs": [{"name": "a", "kind": "k", "after": ["b"]}, {"name": "b", "kind": "k", "after": ["a"]}]}), &["/jobs/1/after/0"]),
        (
            json!({"jobs": [{"name": "a", "kind": "k"}, {"name": "a", "kind": "k y", "after": 7}], "x": 1}),
            &["/jobs/1/name", "/jobs/1/after", "/jobs/1/kind", "/x"],
        ),
    ] {
        problem(&post(&api, "/v1/workflows", &body).await, 422, pointers, &body.to_string());
    }
    let held = json!({"jobs": [{"name": "b", "kind": "k", "queue": "q", "after": ["a"], "unique": {"key": "held"}}, {"name": "a", "kind": "k", "queue": "q"}]});
    problem(&post(&api, "/v1/workflows", &held).await, 409, &["/jobs/0/unique/key"], "the key is held, and the place is that in the request");
    problem(&api.request("POST", "/v1/workflows", &[JSON], b"{").await, 400, &[], "not JSON");
    problem(&post(&api, "/v1/workflows/7/cancel", &json!(null)).await, 404, &[], "none");
    problem(&post(&api, "/v1/workflows/7/jobs", &json!({"jobs": [{"name": "a", "kind": "k"}]})).await, 404, &[], "none");
    assert_eq!(api.tables().await, before);
    api.finish().await;
}

#[tokio::test]
async fn jobs_are_added_and_all_is_cancelled() {
    let api = Api::start().await;
    post(&api, "/v1/workflows", &diamond()).await;
    let added =
        post(&api, "/v1/workflows/1/jobs", &json!({"jobs": [{"name": "f", "kind": "k", "after": ["e", "d"]}, {"name": "e", "kind": "k", "queue": "q"}]})).await;
    assert_eq!((added.status, added.json()["jobs"].as_array().map(Vec::len)), (201, Some(6)), "{}", added.text());
    problem(
        &post(&api, "/v1/workflows/1/jobs", &json!({"jobs": [{"name": "f", "kind": "k", "after": ["x"]}]})).await,
        422,
        &["/jobs/0/name", "/jobs/0/after/0"],
        "bad",
    );
    let running = post(&api, "/v1/leases", &json!({"queues": ["q"]})).await.json()["jobs"][0].clone();
    let cancelled = api.request("POST", "/v1/workflows/1/cancel", &[], b"").await;
    assert_eq!((cancelled.status, &cancelled.json()["counts"]["cancelled"], &cancelled.json()["counts"]["running"]), (202, &json!(5), &json!(1)));
    post(&api, &format!("/v1/jobs/{}/fail", running["id"]), &json!({"lease": running["lease"], "error": "stopped"})).await;
    assert_eq!(api.read("/v1/workflows/1").await["state"], "cancelled");
    post(&api, "/v1/workflows", &diamond()).await;
    assert_eq!(api.request("POST", "/v1/workflows/2/cancel", &[], b"").await.status, 200, "nothing runs");
    api.finish().await;
}

#[tokio::test]
async fn the_same_request_again_makes_no_second_one() {
    let api = Api::start().await;
    let key = ("idempotency-key", "k1");
    let first = api.request("POST", "/v1/workflows", &[JSON, key], diamond().to_string().as_bytes()).await;
    let again = api.request("POST", "/v1/workflows", &[JSON, key], diamond().to_string().as_bytes()).await;
    assert_eq!((first.status, again.status, again.header("idempotent-replayed")), (201, 201, Some("true")));
    assert_eq!((first.text(), first.header("location")), (again.text(), again.header("location")));
    problem(&api.request("POST", "/v1/workflows", &[JSON, key], br#"{"jobs":[{"name":"a","kind":"k"}]}"#).await, 422, &[""], "another request");
    assert_eq!(api.count("longshore.workflows").await, 1);
    problem(&api.request("POST", "/v1/workflows/1/jobs", &[JSON, key], br#"{"jobs":[{"name":"z","kind":"k"}]}"#).await, 422, &[""], "not taken here");
    api.finish().await;
}

#[tokio::test]
async fn a_key_reaches_workflows_of_its_queues_alone() {
    let (api, (limited, admin)) = Api::start_after(&[], async |store| {
        let limited = create_key(store, "limited", &[Scope::Admin], &["default"]).await;
        (limited, create_key(store, "admin", &[Scope::Admin], &[]).await)
    })
    .await;
    let refused = api.with_key(&limited, "POST", "/v1/workflows", &diamond().to_string()).await;
    problem(&refused, 403, &["/jobs/3/queue"], "another queue");
    assert_eq!(api.with_key(&admin, "POST", "/v1/workflows", &diamond().to_string()).await.status, 201);
    for (method, path, body) in [("GET", "", ""), ("POST", "/cancel", ""), ("POST", "/retry", ""), ("POST", "/jobs", r#"{"jobs":[{"name":"z","kind":"k"}]}"#)] {
        problem(&api.with_key(&limited, method, &format!("/v1/workflows/1{path}"), body).await, 404, &[], path);
    }
    let own = api.with_key(&limited, "POST", "/v1/workflows", r#"{"jobs":[{"name":"a","kind":"k"}]}"#).await;
    assert_eq!(api.with_key(&limited, "GET", own.header("location").expect("where"), "").await.status, 200);
    api.finish().await;
}
