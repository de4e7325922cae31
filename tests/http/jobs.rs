//! `POST /v1/jobs` and `GET /v1/jobs/{id}`: what is taken, and that it comes back as it was.

use std::time::Duration;

use jiff::Timestamp;
use longshore_common::outcome::Outcome;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    api::{Api, JSON, SOON, problem},
    support::{
        eventually::eventually,
        http::{self, Connection},
    },
};

fn time(value: &Value) -> Timestamp {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("a time: {value}"))
}

/// The answer to an enqueue is what a read says later, to the byte, but for the warning and the history.
async fn enqueue_and_read(api: &Api, body: &str) -> String {
    let answer = api.post("/v1/jobs", body).await;
    assert_eq!(answer.status, 201, "{body}: {}", answer.text());
    // not by serde_json's `Value`, which stops at 127 levels
    let text = answer.text();
    let id = text.strip_prefix("{\"id\":").and_then(|rest| rest.split_once(',')).and_then(|(id, _)| id.parse::<i64>().ok()).expect("an id");
    assert!((1..1 << 53).contains(&id));
    assert_eq!(answer.header("location"), Some(format!("/v1/jobs/{id}").as_str()));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(text.contains(&format!("\"request_id\":\"{}\"", answer.header("x-request-id").expect("an id"))), "{text}");
    let said = text.split(",\"warning\":").next().expect("a first part").trim_end_matches('}').to_owned();
    let read = api.get(&format!("/v1/jobs/{id}")).await;
    assert_eq!(read.status, 200);
    let read = read.text();
    let read = read.strip_suffix(",\"history\":[]}").unwrap_or_else(|| panic!("no history yet: {read}"));
    assert_eq!(said, read.trim_end_matches('}'), "{body}");
    text
}

async fn enqueued(api: &Api, body: &str) -> Value {
    serde_json::from_str(&enqueue_and_read(api, body).await).expect("JSON")
}

#[tokio::test]
async fn defaults() {
    let api = Api::start().await;
    eventually("it is known that there is no worker", SOON, async || api.post("/v1/jobs", r#"{"kind":"k"}"#).await.json().get("warning").is_some()).await;
    let job = enqueued(&api, r#"{"kind": "echo"}"#).await;
    let expected = json!({
        "id": job["id"], "kind": "echo", "queue": "default", "state": "available", "args": {}, "priority": 0, "run_at": job["created_at"],
        "expires_at": null, "attempt": 0, "max_attempts": 25, "timeout": 300, "tags": [], "meta": {}, "unique_key": null, "concurrency_key": null,
        "workflow_id": null, "schedule": null, "scheduled_for": null, "progress": null, "checkpoint": null, "result": null, "error": null, "worker": null,
        "cancel_requested_at": null, "enqueued_by": null, "request_id": job["request_id"], "created_at": job["created_at"], "started_at": null,
        "finished_at": null, "warning": "no live worker serves queue \"default\"; there is no live worker"
    });
    assert_eq!(job, expected);
    assert!(job["created_at"].as_str().is_some_and(|text| text.ends_with('Z')), "times are UTC: {job}");
    let off = api.sql.query_one("select extract(epoch from now() - $1::text::timestamptz)::float8", &[&job["created_at"].as_str()]).await.expect("compare");
    assert!((0.0..60.0).contains(&off.get::<_, f64>(0)), "created now");
    api.finish().await;
}

#[tokio::test]
async fn every_field() {
    let api = Api::start().await;
    let job = enqueued(
        &api,
        r#"{"kind": "send_email", "args": {"to": "ann@example.com"}, "queue": "e-mails.eu:1_A", "priority": -32768, "run_at": "2099-01-31T12:00:00.123456+02:00",
            "expires_in": "7d", "max_attempts": 1000, "timeout": "1h30m", "tags": ["welcome", "ä", "welcome"], "meta": {"customer": 7, "n": 1.50},
            "concurrency_key": "customer/7", "retry": {"backoff": "linear", "base": "5s", "max": 60, "jitter": 0},
            "unique": {"key": "welcome/7", "while": "kept", "for": "10m", "on_conflict": "reject"}}"#,
    )
    .await;
    let expected = json!({
        "kind": "send_email", "args": {"to": "ann@example.com"}, "queue": "e-mails.eu:1_A", "state": "scheduled", "priority": -32768,
        "run_at": "2099-01-31T10:00:00.123456Z", "max_attempts": 1000, "timeout": 5400, "tags": ["welcome", "ä"], "meta": {"customer": 7, "n": 1.50},
        "concurrency_key": "customer/7", "unique_key": "welcome/7", "attempt": 0
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(job[name], *value, "{name}");
    }
    assert_eq!(time(&job["expires_at"]) - time(&job["created_at"]), jiff::Span::new().seconds(7 * 86_400).fieldwise(), "{job}");
    // what a job does not show is stored as well
    let row = api.sql.query_one("select retry::text, unique_while::text from longshore.job_data", &[]).await.expect("look");
    let retry: Value = serde_json::from_str(row.get(0)).expect("JSON");
    assert_eq!(retry, json!({"backoff": "linear", "base": 5, "max": 60, "jitter": 0}));
    assert_eq!(row.get::<_, &str>(1), "kept");
    // null counts as absent, but for args and timeout
    let job = enqueued(
        &api,
        r#"{"kind": "k", "args": null, "queue": null, "priority": null, "run_at": null, "delay": null, "expires_in": null, "max_attempts": null,
            "timeout": null, "tags": null, "meta": null, "concurrency_key": null, "retry": null, "unique": null}"#,
    )
    .await;
    for (name, value) in [("args", Value::Null), ("timeout", Value::Null), ("queue", json!("default")), ("max_attempts", json!(25)), ("meta", json!({}))] {
        assert_eq!(job[name], value, "{name}");
    }
    api.finish().await;
}

#[tokio::test]
async fn the_limits_themselves_are_allowed() {
    let api = Api::start().await;
    let (long, key) = ("x".repeat(128), "ä".repeat(127) + "x");
    let tags: Vec<String> = (0..20).map(|n| format!("{n:02}{}", "ä".repeat(62))).collect();
    let tags = serde_json::to_string(&tags).expect("JSON");
    let meta = format!(r#"{{"a":"{}"}}"#, "x".repeat(16 * 1024 - 8));
    assert_eq!(meta.len(), 16 * 1024);
    for fields in [
        format!(r#""queue":"{long}""#),
        r#""priority":32767"#.to_owned(),
        r#""priority":-32768"#.to_owned(),
        r#""max_attempts":1"#.to_owned(),
        r#""timeout":1"#.to_owned(),
        r#""timeout":"1s""#.to_owned(),
        r#""timeout":1.2345678"#.to_owned(),
        r#""timeout":"1500ms""#.to_owned(),
        r#""timeout":604800"#.to_owned(),
        r#""timeout":"7d""#.to_owned(),
        r#""expires_in":"200ms","delay":"5m""#.to_owned(),
        r#""delay":0"#.to_owned(),
        r#""delay":"36500d""#.to_owned(),
        r#""run_at":"9999-12-30T00:00:00Z""#.to_owned(),
        r#""run_at":"2030-01-31 12:00:00.1234567Z""#.to_owned(),
        format!(r#""tags":{tags}"#),
        format!(r#""meta":{meta}"#),
        format!(r#""concurrency_key":"{key}""#),
        format!(r#""unique":{{"key":"{key}","for":"1ms"}}"#),
        r#""retry":{}"#.to_owned(),
        r#""meta":{"a":null,"":true,"b":{"c":null}}"#.to_owned(),
        format!(r#""meta":{{"{}":1}}"#, (0..1900).fold(String::new(), |text, n| text + &format!("{n:04}"))),
        r#""retry":{"jitter":1,"base":0,"max":"30d"}"#.to_owned(),
    ] {
        enqueue_and_read(&api, &format!(r#"{{"kind":"{long}",{fields}}}"#)).await;
    }
    api.finish().await;
}

#[tokio::test]
async fn args_come_back_as_they_were_sent() {
    let api = Api::start().await;
    let deep = format!("{}1{}", "[".repeat(128), "]".repeat(128));
    let large = format!("\"{}\"", "x".repeat(1024 * 1024 - 2));
    for args in [
        r#"{"z": 1.50, "a": 12345678901234567890, "z": 2}"#,
        r#"{"b":{"y":1,"x":[ ]},"a":{ "" : null}}"#,
        "[1e-400, 1E+2, -0, 0.10, 1.0e308, 123456789012345678901234567890.123]",
        r#""\u00e4ä\/\"\\\ud83d\ude00😀\u0001""#,
        "null",
        "true",
        "-7",
        "\"\"",
        "{\n\t\"a\" :\r\n 1}",
        &deep,
        &large,
    ] {
        let read = enqueue_and_read(&api, &format!("{{\"args\":\n {args} ,\"kind\":\"echo\"}}")).await;
        assert!(read.contains(&format!("\"args\":{args},\"priority\":0")), "{}", &read[..read.len().min(300)]);
        let listed = api.get("/v1/jobs?fields=args&limit=1").await.text();
        assert!(listed.contains(&format!("\"args\":{args},\"priority\":0")), "{}", &listed[..listed.len().min(300)]);
        let meta = if args.starts_with('{') { args } else { continue };
        let read = enqueue_and_read(&api, &format!(r#"{{"kind":"echo","meta":{meta}}}"#)).await;
        assert!(read.contains(&format!("\"meta\":{meta},")), "{read}");
    }
    api.finish().await;
}

#[tokio::test]
async fn when_it_is_due() {
    let api = Api::start().await;
    for past in ["2001-02-03T04:05:06Z", "1970-01-01T00:00:00Z", "2001-02-03T04:05:06.5-23:00", "-004714-01-01T00:00:00Z", "-009999-01-02T01:59:59Z"] {
        let job = enqueued(&api, &format!(r#"{{"kind":"echo","run_at":"{past}"}}"#)).await;
        assert_eq!((&job["state"], &job["run_at"]), (&json!("available"), &job["created_at"]), "{past} means now");
    }
    for (delay, millis, state) in [
        ("0", 0, "available"),
        ("\"0s\"", 0, "available"),
        ("90", 90_000, "scheduled"),
        ("90.25", 90_250, "scheduled"),
        ("\"200ms\"", 200, "scheduled"),
        ("\"1h30m\"", 5_400_000, "scheduled"),
        ("\"7d\"", 604_800_000, "scheduled"),
    ] {
        let answer = api.post("/v1/jobs", format!(r#"{{"kind":"echo","delay":{delay}}}"#)).await.json();
        let after = time(&answer["run_at"]).duration_since(time(&answer["created_at"]));
        assert_eq!((after.as_millis(), &answer["state"]), (millis, &json!(state)), "{delay}");
    }
    api.finish().await;
}

#[tokio::test]
async fn a_held_key() {
    let api = Api::start().await;
    let worker = api.worker("w", &["*=50"]).await;
    let job = |args: u32, on_conflict: &str| {
        format!(
            r#"{{"kind":"echo","args":{args},"priority":{args},"tags":["t{args}"],"meta":{{"n":{args}}},"unique":{{"key":"k","on_conflict":"{on_conflict}"}}}}"#
        )
    };
    let id = api.enqueue(job(1, "return")).await;
    let standing = api.read(&format!("/v1/jobs/{id}")).await;

    let answer = api.post("/v1/jobs", job(2, "return")).await;
    assert_eq!((answer.status, answer.header("location")), (200, None), "{}", answer.text());
    let returned = answer.json();
    assert_eq!((&returned["duplicate"], returned.get("replaced")), (&json!(true), None));
    for name in ["id", "args", "priority", "tags", "meta", "request_id", "created_at"] {
        assert_eq!(returned[name], standing[name], "{name}: the standing job");
    }

    let before = api.tables().await;
    let refused = problem(&api.post("/v1/jobs", job(3, "reject")).await, 409, &["/unique/key"], "reject");
    assert_eq!(refused["detail"], format!("the unique key \"k\" is held by job {id}"));
    assert_eq!(api.tables().await, before);

    let answer = api.post("/v1/jobs", job(4, "replace")).await;
    let replaced = answer.json();
    assert_eq!((answer.status, &replaced["duplicate"], &replaced["replaced"]), (200, &json!(true), &json!(true)), "{replaced}");
    let read = api.read(&format!("/v1/jobs/{id}")).await;
    for value in [&replaced, &read] {
        assert_eq!((&value["id"], &value["args"], &value["priority"]), (&json!(id), &json!(4), &json!(4)));
        assert_eq!((&value["tags"], &value["meta"]), (&json!(["t4"]), &json!({"n": 4})));
    }
    assert_eq!(api.read("/v1/jobs?tag=t1").await["items"], json!([]), "the old tags find it no more");

    // one that runs is left; another kind has keys of its own
    let claimed = api.claim(worker, "default", 1).await;
    let left = api.post("/v1/jobs", job(5, "replace")).await.json();
    assert_eq!((&left["duplicate"], &left["replaced"], &left["args"], &left["state"]), (&json!(true), &json!(false), &json!(4), &json!("running")));
    let other = api.post("/v1/jobs", r#"{"kind":"other","unique":{"key":"k"}}"#).await;
    assert_eq!(other.status, 201);
    // and one that has finished holds it no more
    api.store.report(&[(claimed.jobs[0].lease, Outcome::Succeeded { result: None })]).await.expect("report");
    assert_eq!(api.post("/v1/jobs", job(6, "reject")).await.status, 201);
    assert_eq!(api.post("/v1/jobs", r#"{"kind":"echo","unique":{"key":"k","while":"waiting"}}"#).await.status, 200);
    api.finish().await;
}

#[tokio::test]
async fn a_hundred_at_once_make_one_job_of_a_key() {
    let api = Api::start().await;
    let address = api.address;
    let ask = || http::request(address, "POST", "/v1/jobs", &[JSON], br#"{"kind":"echo","unique":{"key":"once"}}"#);
    let answers = (0..100).map(|_| ask()).collect::<JoinSet<_>>().join_all().await;
    assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|a| a.status == 200 && a.json()["duplicate"] == true).count(), 99);
    assert_eq!(api.count("longshore.job_data").await, 1);
    api.finish().await;
}

#[tokio::test]
async fn a_queue_that_nobody_serves_gets_a_warning() {
    let api = Api::start().await;
    let warning = async |queue: &str| {
        let answer = api.post("/v1/jobs", format!(r#"{{"kind":"echo","queue":"{queue}"}}"#)).await;
        assert_eq!(answer.status, 201, "the job is taken");
        answer.json().get("warning").map(|text| text.as_str().expect("a text").to_owned())
    };
    // the API may be ready a moment before it has looked for workers, and then says nothing of them
    let said = eventually("it is known that there is no worker", SOON, async || warning("emails").await).await;
    assert_eq!(said, "no live worker serves queue \"emails\"; there is no live worker");
    api.worker("w1", &["default=5", "emails=10"]).await;
    eventually("the worker is known", SOON, async || warning("emails").await.is_none()).await;
    assert_eq!(warning("other").await.as_deref(), Some("no live worker serves queue \"other\"; live workers serve: default, emails"));
    api.worker("w2", &["*=5"]).await;
    eventually("the other worker is known", SOON, async || warning("other").await.is_none()).await;
    api.finish().await;
}

#[tokio::test]
async fn request_ids_and_traces() {
    let api = Api::start().await;
    let send = async |headers: &[(&str, &str)]| {
        let answer = api.request("POST", "/v1/jobs", &[headers, &[JSON]].concat(), br#"{"kind":"echo"}"#).await;
        let id = answer.json()["id"].as_i64().expect("an id");
        let row = api.sql.query_one("select request_id, traceparent from longshore.job_data where id = $1", &[&id]).await.expect("look");
        let stored: (Option<String>, Option<String>) = (row.get(0), row.get(1));
        assert_eq!(stored.0.as_deref(), answer.header("x-request-id"), "what is stored is what is said");
        stored
    };
    for sane in ["abc-1", "x", "{\"a\":1}", &"x".repeat(128)] {
        assert_eq!(send(&[("x-request-id", sane)]).await.0.as_deref(), Some(sane));
    }
    for crazy in ["", "a b", "ä", "a\tb", &"x".repeat(129), &"y".repeat(8000)] {
        let (id, _) = send(&[("x-request-id", crazy)]).await;
        let id = id.expect("one of ours");
        assert!(id.len() == 36 && id.as_bytes()[14] == b'7', "{crazy:?} became {id}, a UUID of version 7");
    }
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(send(&[("traceparent", trace)]).await.1.as_deref(), Some(trace));
    for crazy in ["", "00", "ä", &trace.to_uppercase(), &"0".repeat(500)] {
        assert_eq!(send(&[("traceparent", crazy)]).await.1, None, "{crazy:?}");
    }
    // a batch's jobs carry them as well
    let headers = [JSON, ("x-request-id", "the-batch"), ("traceparent", trace)];
    assert_eq!(api.request("POST", "/v1/jobs/batch", &headers, br#"{"jobs":[{"kind":"a"},{"kind":"b"}]}"#).await.status, 201);
    let stored = api.count(&format!("longshore.job_data where request_id = 'the-batch' and traceparent = '{trace}'")).await;
    assert_eq!(stored, 2);
    api.finish().await;
}

#[tokio::test]
async fn one_connection_takes_many_requests() {
    let api = Api::start().await;
    let mut connection = Connection::open(api.address).await;
    for n in 0..50 {
        let body = format!(r#"{{"kind":"echo","args":{n}}}"#);
        // the odd ones are refused: a fault does not cost the connection
        let body = if n % 2 == 1 { body.replace("kind", "kin") } else { body };
        connection.send_head("POST", "/v1/jobs", &[JSON, ("content-length", &body.len().to_string())]).await.expect("sent");
        connection.send(body.as_bytes()).await.expect("sent");
        let answer = connection.response().await.expect("an answer");
        assert_eq!(answer.status, if n % 2 == 1 { 422 } else { 201 });
    }
    assert_eq!(api.count("longshore.job_data").await, 25);
    drop(connection);
    api.finish().await;
}

#[tokio::test]
async fn the_history_of_a_job() {
    let api = Api::start().await;
    let worker = api.worker("host:1:2", &["*=50"]).await;
    let id = api.enqueue(r#"{"kind":"echo","args":{"a": 1.50},"max_attempts":2}"#).await;
    let path = format!("/v1/jobs/{id}");

    let lease = api.claim(worker, "default", 1).await.jobs[0].lease;
    let running = api.read(&path).await;
    assert_eq!((&running["state"], &running["attempt"], &running["worker"]), (&json!("running"), &json!(1), &json!("host:1:2")));
    assert_eq!(running["history"].as_array().map(Vec::len), Some(1));
    assert_eq!((&running["history"][0]["outcome"], &running["history"][0]["finished_at"]), (&Value::Null, &Value::Null));

    let failed = Outcome::Failed { error: "no luck".to_owned(), retry_in: Some(Duration::ZERO) };
    api.store.report(&[(lease, failed)]).await.expect("report");
    let again = api.read(&path).await;
    assert_eq!((&again["state"], &again["error"]), (&json!("available"), &json!("no luck")));

    let lease = api.claim(worker, "default", 1).await.jobs[0].lease;
    let result = longshore_common::json::RawJson::parse(r#"{"z": 1.50, "a": 2, "z": 3}"#.to_owned()).expect("JSON");
    api.store.report(&[(lease, Outcome::Succeeded { result: Some(result) })]).await.expect("report");
    let text = api.get(&path).await.text();
    assert!(text.contains(r#""result":{"z": 1.50, "a": 2, "z": 3},"#), "{text}");
    let done = api.read(&path).await;
    assert_eq!((&done["state"], &done["attempt"]), (&json!("succeeded"), &json!(2)));
    let history = done["history"].as_array().expect("a list");
    let told: Vec<_> = history.iter().map(|a| (a["attempt"].clone(), a["outcome"].clone(), a["error"].clone(), a["worker"].clone())).collect();
    assert_eq!(told, [(json!(1), json!("failed"), json!("no luck"), json!("host:1:2")), (json!(2), json!("succeeded"), Value::Null, json!("host:1:2")),]);
    for attempt in history {
        assert!(time(&attempt["started_at"]) <= time(&attempt["finished_at"]), "{attempt}");
    }
    assert_eq!(history[1]["finished_at"], done["finished_at"]);
    assert_eq!(history[1]["started_at"], done["started_at"]);
    api.finish().await;
}

#[tokio::test]
async fn a_job_that_is_not_there() {
    let api = Api::start().await;
    let id = api.enqueue(r#"{"kind":"echo"}"#).await;
    for name in [
        "0",
        "999999",
        "-1",
        "abc",
        "1.0",
        "0x1",
        "9007199254740992",
        "9223372036854775807",
        "9223372036854775808",
        "%20",
        "%00",
        "%ff",
        "1%2F2",
        "null",
        "1e0",
    ] {
        let path = format!("/v1/jobs/{name}");
        problem(&api.get(&path).await, 404, &[], &path);
    }
    for path in [format!("/v1/jobs/{id}/"), format!("/v1/jobs/{id}/nothing"), format!("/v1/jobs/{id}x"), format!("/v1/jobs/%2B{id}")] {
        problem(&api.get(&path).await, 404, &[], &path);
    }
    let said = problem(&api.get("/v1/jobs/999999").await, 404, &[], "unknown");
    assert_eq!(said["detail"], "there is no job 999999");
    api.finish().await;
}
