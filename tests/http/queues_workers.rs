//! `/v1/queues` and `/v1/workers`.

use std::time::Duration;

use jiff::Timestamp;
use longshore_common::outcome::Outcome;
use serde_json::{Value, json};

use crate::api::{Api, problem};

#[tokio::test]
async fn queues() {
    let api = Api::start().await;
    assert_eq!(api.read("/v1/queues").await, json!({"items": [], "next_cursor": null}));
    problem(&api.get("/v1/queues/emails").await, 404, &[], "not used yet");

    let worker = api.worker("w", &["emails=5"]).await;
    for n in 0..6 {
        api.enqueue(format!(r#"{{"kind":"echo","queue":"emails","args":{n}}}"#)).await;
    }
    api.enqueue(r#"{"kind":"echo","queue":"emails","delay":"1h"}"#).await;
    api.enqueue(r#"{"kind":"echo","queue":"reports"}"#).await;
    let claimed = api.claim(worker, "emails", 4).await;
    let lease = |n: usize| claimed.jobs[n].lease;
    let reports = [
        (lease(0), Outcome::Succeeded { result: None }),
        (lease(1), Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::from_hours(1)) }),
        (lease(2), Outcome::Discarded { error: "never".to_owned() }),
    ];
    api.store.report(&reports).await.expect("report");

    let list = api.read("/v1/queues").await;
    let names: Vec<&Value> = list["items"].as_array().expect("a list").iter().map(|queue| &queue["name"]).collect();
    assert_eq!((names, &list["next_cursor"]), (vec![&json!("emails"), &json!("reports")], &Value::Null));
    let mut emails = api.read("/v1/queues/emails").await;
    let age = emails["oldest_available_age"].take();
    assert!(age.as_f64().is_some_and(|age| (0.0..60.0).contains(&age)), "{age}");
    let counts = json!({
        "scheduled": 1, "available": 2, "running": 1, "retryable": 1, "blocked": 0, "succeeded": 1, "failed": 1, "cancelled": 0
    });
    let expected = json!({
        "name": "emails", "paused": false, "max_running": null, "max_running_per_key": null, "rate": null, "max_waiting": null, "fair": false,
        "defaults": {"priority": 0, "max_attempts": 25, "timeout": 300, "retry": {"backoff": "exponential", "base": 1, "max": 86400, "jitter": 0.1}},
        "retention": {"succeeded": 86400, "cancelled": 604_800, "failed": 2_592_000}, "on_failed": null,
        "counts": counts, "estimated": false, "oldest_available_age": null, "workers": 1
    });
    assert_eq!(emails, expected);
    let reports = api.read("/v1/queues/reports").await;
    assert_eq!((&reports["workers"], &reports["counts"]["available"]), (&json!(0), &json!(1)));

    for name in ["nothing", "Emails", "%20", "%00", "%ff", "a%2Fb", "ä", &"x".repeat(129), "emails%00"] {
        problem(&api.get(&format!("/v1/queues/{name}")).await, 404, &[], name);
    }
    api.finish().await;
}

#[tokio::test]
async fn workers() {
    let api = Api::start().await;
    assert_eq!(api.read("/v1/workers").await, json!({"items": [], "next_cursor": null}));
    let first = api.worker("host-a:1:1", &["default=50", "emails=10"]).await;
    let second = api.worker("host-b:2:2", &["*=50"]).await;
    api.enqueue(r#"{"kind":"echo"}"#).await;
    api.claim(second, "default", 1).await;

    let list = api.read("/v1/workers").await;
    let items = list["items"].as_array().expect("a list");
    assert_eq!(items.iter().map(|worker| worker["id"].as_str().expect("an id")).collect::<Vec<_>>(), ["host-a:1:1", "host-b:2:2"], "oldest first");
    for (worker, queues, running) in [(&items[0], json!(["default=50", "emails=10"]), 0), (&items[1], json!(["*=50"]), 1)] {
        assert_eq!((&worker["host"], &worker["version"], &worker["kinds"]), (&json!("test"), &json!("0"), &json!(["echo"])));
        assert_eq!((&worker["queues"], &worker["running"]), (&queues, &json!(running)), "{worker}");
        let time = |name: &str| worker[name].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        assert!(time("since").is_some() && time("since") <= time("last_seen"), "{worker}");
        assert!(worker.get("last_poll").is_some());
        assert_eq!(worker.as_object().map(serde_json::Map::len), Some(9), "{worker}");
    }
    api.store.stop_worker(first).await.expect("stop");
    let list = api.read("/v1/workers").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "one that has stopped is not alive: {list}");
    api.finish().await;
}

#[tokio::test]
async fn a_paused_queue_takes_jobs_and_starts_none() {
    let api = Api::start().await;
    let worker = api.worker("w", &["*=50"]).await;
    for queue in ["emails", "reports"] {
        api.enqueue(format!(r#"{{"kind":"echo","queue":"{queue}"}}"#)).await;
    }
    for _ in 0..2 {
        let paused = api.request("POST", "/v1/queues/emails/pause", &[], b"").await;
        assert_eq!((paused.status, &paused.json()["paused"]), (200, &json!(true)), "once more is the same");
    }
    let id = api.enqueue(r#"{"kind":"echo","queue":"emails"}"#).await;
    assert_eq!(api.claim(worker, "emails", 10).await.jobs.len(), 0);
    assert_eq!(api.claim(worker, "reports", 10).await.jobs.len(), 1, "another one goes on");
    let explained = api.read(&format!("/v1/jobs/{id}/explain")).await;
    assert_eq!((&explained["runnable"], &explained["because"][0]["reason"]), (&json!(false), &json!("queue_paused")), "{explained}");
    let resumed = api.request("POST", "/v1/queues/emails/resume", &[], b"").await;
    assert_eq!((resumed.status, &resumed.json()["paused"]), (200, &json!(false)));
    assert_eq!(api.claim(worker, "emails", 10).await.jobs.len(), 2);
    for path in ["/v1/queues/nothing/pause", "/v1/queues/nothing/resume", "/v1/queues/%20/pause"] {
        problem(&api.request("POST", path, &[], b"").await, 404, &[], path);
    }
    // and from psql
    let said = api.sql.query_one("select longshore.pause('emails'), longshore.resume('emails')", &[]).await.expect("there is one");
    assert_eq!((said.get::<_, &str>(0), said.get::<_, &str>(1)), ("paused: it takes jobs and starts none", "it starts jobs"));
    assert!(
        api.sql
            .query_one("select longshore.pause('nothing')", &[])
            .await
            .is_err_and(|error| error.as_db_error().is_some_and(|e| e.message() == "longshore.pause: there is no queue \"nothing\""))
    );
    api.finish().await;
}
