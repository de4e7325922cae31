//! `/v1/schedules` and `longshore schedules`: set up, shown, run, previewed, deleted. Fired they are by the API itself.

use longshore_common::key::Scope;
use serde_json::{Value, json};

use crate::{
    api::{Api, JSON, SOON, create_key, problem},
    support::{eventually::eventually, http::Response, process::Program},
};

async fn put(api: &Api, name: &str, settings: &Value) -> Response {
    api.request("PUT", &format!("/v1/schedules/{name}"), &[JSON], settings.to_string().as_bytes()).await
}

async fn longshore(api: &Api, args: &[&str]) -> (i32, String) {
    let mut process = Program::longshore([&["schedules"], args].concat()).env("LONGSHORE_DATABASE__URL", api.database.url()).start();
    let code = process.wait_exit(SOON).await.code().expect("no signal");
    (code, process.all_lines(SOON).await.join("\n"))
}

#[tokio::test]
async fn a_schedule_is_made_replaced_and_shown_as_it_was_set() {
    let api = Api::start().await;
    let settings = r#"{"cron": "30 3 * * *", "timezone": "Europe/Berlin", "job": {"kind": "a", "args": {"n": 1.50}}}"#;
    let made = api.request("PUT", "/v1/schedules/nightly", &[JSON], settings.as_bytes()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let mut shown = made.json();
    let next = shown["next_run_at"].take();
    let expected = json!({
        "name": "nightly", "cron": "30 3 * * *", "timezone": "Europe/Berlin", "job": {"kind": "a", "queue": "default", "args": {"n": 1.5}}, "paused": false,
        "catch_up": "last", "overlap": "allow", "next_run_at": null, "last_run_at": null
    });
    assert_eq!(shown, expected);
    assert!(made.text().contains("1.50"), "digits are kept");
    let read = api.read("/v1/schedules/nightly").await;
    assert_eq!(read["next_run_at"], next);
    // what was read may be put back
    let again = put(&api, "nightly", &read).await;
    assert_eq!((again.status, again.json()), (200, read.clone()));
    let listed = api.read("/v1/schedules").await;
    assert_eq!(listed, json!({"items": [read], "next_cursor": null}));
    assert_eq!(api.request("DELETE", "/v1/schedules/nightly", &[], b"").await.status, 204);
    for (method, path) in [("GET", ""), ("DELETE", ""), ("POST", "/run"), ("GET", "/preview")] {
        problem(&api.request(method, &format!("/v1/schedules/nightly{path}"), &[], b"").await, 404, &[], path);
    }
    problem(&api.get("/v1/schedules/a%20b").await, 404, &[], "no name of one");
    api.finish().await;
}

#[tokio::test]
async fn a_bad_schedule_is_told_every_fault_and_changes_nothing() {
    let api = Api::start().await;
    let good = json!({"cron": "@daily", "job": {"kind": "a"}});
    let standing = put(&api, "s", &good).await.json();
    for (settings, pointers) in [
        (json!({"job": {"kind": "a"}}), &["/cron"][..]),
        (json!({"cron": "0 24 * * *", "job": {"kind": "a"}}), &["/cron"]),
        (json!({"cron": "0 0 31 2 *", "job": {"kind": "a"}}), &["/cron"]),
        (json!({"cron": 5, "timezone": "Mars", "job": {"kind": "a b", "delay": -1}, "x": 1}), &["/timezone", "/cron", "/job/kind", "/job/delay", "/x"]),
        (json!({"cron": "@daily", "job": {"kind": "a", "run_at": "2030-01-01T00:00:00Z"}}), &["/job/run_at"]),
        (json!({"cron": "@daily", "job": 7, "catch_up": "most", "overlap": true}), &["/job", "/catch_up", "/overlap"]),
        (json!([]), &[""]),
    ] {
        problem(&put(&api, "s", &settings).await, 422, pointers, &settings.to_string());
    }
    let (_, told) = (0, put(&api, "s", &json!({"cron": "0 24 * * *", "job": {"kind": "a"}})).await.json());
    let said = told["errors"][0]["detail"].as_str().expect("a text");
    assert!(said.contains("the hour, field 2 of 5, is \"24\": must be 0 to 23"), "{said}");
    problem(&put(&api, "a%20b", &good).await, 422, &["/name"], "its name");
    problem(&api.request("PUT", "/v1/schedules/s", &[JSON], b"{").await, 400, &[], "not JSON");
    problem(&api.request("PUT", "/v1/schedules/s", &[("content-type", "text/plain")], b"{}").await, 415, &[], "another media type");
    problem(&api.get("/v1/schedules/s/preview?n=0").await, 422, &["/n"], "too few");
    problem(&api.get("/v1/schedules/s/preview?m=1").await, 422, &["/m"], "not known");
    assert_eq!(api.read("/v1/schedules/s").await, standing);
    assert_eq!(api.count("longshore.schedules").await, 1);
    api.finish().await;
}

#[tokio::test]
async fn a_preview_shows_what_happens_when_clocks_change() {
    let api = Api::start().await;
    put(&api, "s", &json!({"cron": "30 2 * * *", "timezone": "Europe/Berlin", "job": {"kind": "a"}})).await;
    // as if it was the day before the change
    api.sql.batch_execute("update longshore.schedules set next_run_at = '2027-03-27T01:30:00Z'").await.expect("set");
    let items = api.read("/v1/schedules/s/preview?n=3").await["items"].clone();
    assert_eq!(items, json!(["2027-03-27T01:30:00Z", "2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"]));
    assert_eq!(api.read("/v1/schedules/s/preview").await["items"].as_array().map(Vec::len), Some(10));
    let (code, said) = longshore(&api, &["preview", "s", "-n", "2", "--json"]).await;
    assert_eq!((code, serde_json::from_str::<Value>(&said).expect("JSON")), (0, json!({"items": ["2027-03-27T01:30:00Z", "2027-03-28T01:00:00Z"]})));
    api.finish().await;
}

#[tokio::test]
async fn due_it_enqueues_and_run_by_hand_too() {
    let api = Api::start().await;
    let job = json!({"kind": "a", "queue": "q", "tags": ["t"], "args": [1]});
    assert_eq!(put(&api, "often", &json!({"cron": "* * * * * *", "job": job, "catch_up": "all"})).await.status, 201);
    let due = eventually("it has fired twice", SOON, async || {
        let items = api.read("/v1/jobs?schedule=often&fields=args").await["items"].as_array().expect("a list").clone();
        if items.len() >= 2 { Ok(items) } else { Err(items) }
    })
    .await;
    let (first, second) = (&due[due.len() - 1], &due[due.len() - 2]);
    assert_eq!((&first["schedule"], &first["queue"], &first["tags"], &first["args"]), (&json!("often"), &json!("q"), &json!(["t"]), &json!([1])));
    let at = |job: &Value| job["scheduled_for"].as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
    assert_eq!(at(second).duration_since(at(first)).as_secs(), 1, "each second once");
    let created: jiff::Timestamp = first["created_at"].as_str().expect("a time").parse().expect("a time");
    assert!(created >= at(first), "not before its time: {first}");
    let paused = put(&api, "often", &json!({"cron": "* * * * * *", "job": job, "paused": true})).await.json();
    assert_eq!(paused["next_run_at"], Value::Null);
    let before = api.read("/v1/schedules/often").await;
    let n = api.count("longshore.job_data").await;
    let run = api.post("/v1/schedules/often/run", "").await;
    assert_eq!((run.status, &run.json()["schedule"], &run.json()["scheduled_for"]), (201, &json!("often"), &Value::Null));
    assert_eq!(run.header("location"), Some(&*format!("/v1/jobs/{}", run.json()["id"])));
    assert_eq!((api.read("/v1/schedules/often").await, api.count("longshore.job_data").await), (before, n + 1));
    let (code, said) = longshore(&api, &["run", "often"]).await;
    assert!(code == 0 && said.starts_with("Job "), "{said}");
    let (code, said) = longshore(&api, &["run", "seldom"]).await;
    assert!(code == 1 && said.contains("there is no schedule \"seldom\""), "{said}");
    let (code, said) = longshore(&api, &[]).await;
    assert!(code == 0 && said.contains("often (paused)") && said.contains("* * * * * *"), "{said}");
    assert_eq!(longshore(&api, &["delete", "often"]).await.0, 0);
    assert_eq!(api.read("/v1/schedules").await["items"], json!([]));
    assert_eq!(api.count("longshore.jobs where schedule = 'often'").await, n + 2, "its jobs stay");
    // a held unique key
    put(&api, "one", &json!({"cron": "@yearly", "job": {"kind": "b", "unique": {"key": "k"}}})).await;
    let (first, second) = (api.post("/v1/schedules/one/run", "").await, api.post("/v1/schedules/one/run", "").await);
    assert_eq!((first.status, second.status, &first.json()["id"]), (201, 200, &second.json()["id"]));
    // what is refused is refused as any enqueue is
    put(&api, "rejects", &json!({"cron": "@yearly", "job": {"kind": "b", "unique": {"key": "k", "on_conflict": "reject"}}})).await;
    assert_eq!(api.post("/v1/schedules/rejects/run", "").await.status, 409);
    assert_eq!(api.request("PUT", "/v1/queues/full", &[JSON], br#"{"max_waiting": 0}"#).await.status, 201);
    put(&api, "full", &json!({"cron": "@yearly", "job": {"kind": "b", "queue": "full"}})).await;
    let full = api.post("/v1/schedules/full/run", "").await;
    assert_eq!((full.status, full.header("retry-after")), (429, Some("1")), "{}", full.text());
    api.finish().await;
}

#[tokio::test]
async fn a_key_reaches_the_schedules_of_its_queues() {
    let (api, (all, admin, reader)) = Api::start_after(&[], async |store| {
        let all = create_key(store, "all", &[Scope::Admin], &[]).await;
        (all, create_key(store, "admin", &[Scope::Admin], &["q"]).await, create_key(store, "reader", &[Scope::Read], &[]).await)
    })
    .await;
    let of = |queue: &str| json!({"cron": "@yearly", "job": {"kind": "a", "queue": queue}});
    for (name, queue) in [("mine", "q"), ("theirs", "r")] {
        assert_eq!(api.with_key(&all, "PUT", &format!("/v1/schedules/{name}"), &of(queue).to_string()).await.status, 201);
    }
    let names = api.with_key(&admin, "GET", "/v1/schedules", "").await.json()["items"].as_array().expect("a list").len();
    assert_eq!(names, 1);
    for (method, path, body, status) in
        [("GET", "theirs", "", 404), ("DELETE", "theirs", "", 404), ("POST", "theirs/run", "", 404), ("GET", "mine", "", 200), ("POST", "mine/run", "", 201)]
    {
        let answer = api.with_key(&admin, method, &format!("/v1/schedules/{path}"), body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
    for (name, queue) in [("theirs", "q"), ("mine", "r")] {
        let answer = api.with_key(&admin, "PUT", &format!("/v1/schedules/{name}"), &of(queue).to_string()).await;
        assert_eq!(answer.status, 403, "{name} to {queue}: {}", answer.text());
    }
    for (method, path, body) in [("PUT", "mine", of("q").to_string()), ("DELETE", "mine", String::new()), ("POST", "mine/run", String::new())] {
        assert_eq!(api.with_key(&reader, method, &format!("/v1/schedules/{path}"), &body).await.status, 403, "{method} {path}");
    }
    api.finish().await;
}
