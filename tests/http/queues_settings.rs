//! PUT and DELETE of `/v1/queues/{name}`, and what the settings do to jobs that come over HTTP.

use std::{sync::Arc, time::Duration};

use longshore_common::{key::Scope, outcome::Outcome};
use serde_json::{Value, json};

use crate::{
    api::{Api, JSON, create_key, problem},
    support::http::Response,
};

async fn put(api: &Api, name: &str, settings: &Value) -> Response {
    api.request("PUT", &format!("/v1/queues/{name}"), &[JSON], settings.to_string().as_bytes()).await
}

/// A PUT that must succeed.
async fn set(api: &Api, name: &str, settings: &Value) -> Value {
    let answer = put(api, name, settings).await;
    assert!(matches!(answer.status, 200 | 201), "{name}: {}", answer.text());
    answer.json()
}

async fn delete(api: &Api, path: &str) -> Response {
    api.request("DELETE", &format!("/v1/queues/{path}"), &[], b"").await
}

/// A queue of which only what was set differs from the contract's defaults.
fn queue(name: &str, differs: &Value) -> Value {
    let mut queue = json!({
        "name": name, "paused": false, "max_running": null, "max_running_per_key": null, "rate": null, "max_waiting": null, "fair": false,
        "defaults": {"priority": 0, "max_attempts": 25, "timeout": 300, "retry": {"backoff": "exponential", "base": 1, "max": 86400, "jitter": 0.1}},
        "retention": {"succeeded": 86400, "cancelled": 604_800, "failed": 2_592_000}, "on_failed": null,
        "counts": {"scheduled": 0, "available": 0, "running": 0, "retryable": 0, "blocked": 0, "succeeded": 0, "failed": 0, "cancelled": 0},
        "estimated": false, "oldest_available_age": null, "workers": 0
    });
    for (key, value) in differs.as_object().expect("an object") {
        queue[key] = value.clone();
    }
    queue
}

/// Every row of the directory as text, to see that nothing was changed.
async fn rows(api: &Api) -> Vec<String> {
    api.sql.query("select q::text from longshore.queues q order by 1", &[]).await.expect("look").iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_queue_is_made_replaced_and_shown_as_it_was_set() {
    let api = Api::start().await;
    let made = put(&api, "q", &json!({})).await;
    assert_eq!((made.status, made.json()), (201, queue("q", &json!({}))));
    let all = json!({
        "name": "q", "paused": true, "max_waiting": 100, "max_running": null, "rate": null, "fair": false,
        "defaults": {"priority": -5, "max_attempts": 3, "timeout": null, "retry": {"backoff": "linear", "base": "500ms", "max": "1h", "jitter": 0}},
        "retention": {"succeeded": "90s", "cancelled": null, "failed": 0},
        "on_failed": {"kind": "alert", "queue": "alerts", "args": {"z": 1.50, "a": 12_345_678_901_234_u64}, "delay": "5s", "timeout": null, "tags": ["t"]}
    });
    let shown = queue(
        "q",
        &json!({
            "paused": true, "max_waiting": 100,
            "defaults": {"priority": -5, "max_attempts": 3, "timeout": null, "retry": {"backoff": "linear", "base": 0.5, "max": 3600, "jitter": 0}},
            "retention": {"succeeded": 90, "cancelled": null, "failed": 0},
            "on_failed": {"kind": "alert", "queue": "alerts", "args": {"z": 1.50, "a": 12_345_678_901_234_u64}, "delay": 5, "timeout": null, "tags": ["t"]}
        }),
    );
    let replaced = put(&api, "q", &all).await;
    assert_eq!((replaced.status, replaced.json()), (200, shown.clone()));
    assert!(replaced.text().contains("1.5") && replaced.text().contains("12345678901234"), "digits are kept: {}", replaced.text());
    assert_eq!(api.read("/v1/queues/q").await, shown);
    // what was read is put back, and nothing changes; only what nobody sets is ignored
    let before = rows(&api).await;
    assert_eq!((set(&api, "q", &shown).await, rows(&api).await), (shown.clone(), before));
    // what is absent gets its default, but for paused
    assert_eq!(set(&api, "q", &json!({"max_waiting": 7})).await, queue("q", &json!({"paused": true, "max_waiting": 7})));
    assert_eq!(set(&api, "q", &json!({"paused": false})).await, queue("q", &json!({})));
    assert_eq!(api.count("longshore.queues where special").await, 0, "an enqueue has nothing to look at");
    let names: Vec<Value> = api.read("/v1/queues").await["items"].as_array().expect("a list").iter().map(|queue| queue["name"].clone()).collect();
    assert_eq!(names, ["alerts", "q"], "the queue of what follows a failed job is there too");
    // one that was used first is there already
    api.enqueue(r#"{"kind":"echo","queue":"used"}"#).await;
    assert_eq!(put(&api, "used", &json!({})).await.status, 200);
    api.finish().await;
}

#[tokio::test]
async fn bad_settings_change_nothing() {
    let api = Api::start().await;
    set(&api, "q", &json!({"max_waiting": 7, "retention": {"failed": null}})).await;
    let before = (rows(&api).await, api.tables().await);
    let job = |extra: Value| {
        let mut job = json!({"kind": "k"});
        job.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        json!({"on_failed": job})
    };
    for (settings, pointers) in [
        (json!({"name": "r"}), &["/name"][..]),
        (json!({"name": 7, "paused": "yes", "colour": 1, "max_waiting": 1.5}), &["/name", "/paused", "/max_waiting", "/colour"]),
        (json!({"max_waiting": -1}), &["/max_waiting"]),
        (json!({"max_waiting": 1_000_000_001}), &["/max_waiting"]),
        (
            json!({"max_running": 0, "max_running_per_key": "2", "rate": {"limit": 1_000_001, "per": "2d", "x": 1}, "fair": 1}),
            &["/max_running", "/max_running_per_key", "/fair", "/rate/limit", "/rate/per", "/rate/x"],
        ),
        (json!({"max_running": false, "rate": {}}), &["/max_running", "/rate/limit", "/rate/per"]),
        (json!({"defaults": 7, "retention": [], "on_failed": "k"}), &["/defaults", "/retention", "/on_failed"]),
        (
            json!({"defaults": {"priority": 40_000, "max_attempts": 0, "timeout": "500ms", "retry": {"base": -1}, "delay": 1}}),
            &["/defaults/priority", "/defaults/max_attempts", "/defaults/timeout", "/defaults/retry/base", "/defaults/delay"],
        ),
        (json!({"retention": {"succeeded": -1, "failed": "1 month", "running": 1}}), &["/retention/succeeded", "/retention/failed", "/retention/running"]),
        (json!({"on_failed": {}}), &["/on_failed/kind"]),
        (job(json!({"queue": "a b", "priority": 99_999, "x": 1})), &["/on_failed/queue", "/on_failed/priority", "/on_failed/x"]),
        (job(json!({"args": [1]})), &["/on_failed/args"]),
        (job(json!({"args": null})), &["/on_failed/args"]),
        (job(json!({"args": {"failed": 1}})), &["/on_failed/args/failed"]),
        (job(json!({"unique": {"key": "k", "on_conflict": "replace"}})), &["/on_failed/unique/on_conflict"]),
        (job(json!({"run_at": "2099-01-01T00:00:00Z", "delay": 1})), &["/on_failed/delay"]),
        (json!([]), &[""]),
    ] {
        problem(&put(&api, "q", &settings).await, 422, pointers, &settings.to_string());
    }
    for name in ["a%20b", "%00", &"x".repeat(129)] {
        problem(&put(&api, name, &json!({})).await, 422, &["/name"], name);
    }
    problem(&api.request("PUT", "/v1/queues/q", &[JSON], b"{").await, 400, &[], "not JSON");
    problem(&api.request("PUT", "/v1/queues/q", &[("content-type", "text/plain")], b"{}").await, 415, &[], "another media type");
    problem(&api.request("PUT", "/v1/queues/q?x=1", &[JSON], b"{}").await, 422, &["/x"], "a query");
    assert_eq!((rows(&api).await, api.tables().await), before);
    api.finish().await;
}

#[tokio::test]
async fn where_a_job_is_silent_its_queue_counts() {
    let api = Api::start().await;
    let own = json!({"backoff": "fixed", "base": 7, "max": 86400, "jitter": 0.5});
    set(&api, "q", &json!({"defaults": {"priority": -5, "max_attempts": 3, "timeout": "10s", "retry": own}})).await;
    set(&api, "endless", &json!({"defaults": {"timeout": null}})).await;
    let contract = json!({"priority": 0, "max_attempts": 25, "timeout": 300, "retry": null});
    let queues = json!({"priority": -5, "max_attempts": 3, "timeout": 10, "retry": own});
    let given = json!({"priority": 0, "max_attempts": 25, "timeout": 300, "retry": {"backoff": "exponential", "base": 1, "max": 86400, "jitter": 0.1}});
    let with = |base: &Value, field: &str, value: Value| {
        let mut changed = base.clone();
        changed[field] = value;
        changed
    };
    let cases = [
        (r#""queue":"q""#, "queue => 'q'", queues.clone()),
        (r#""queue":"other""#, "queue => 'other'", contract.clone()),
        (
            r#""queue":"q","priority":0,"max_attempts":25,"timeout":300,"retry":{}"#,
            "queue => 'q', priority => 0, max_attempts => 25, timeout => '300 s', retry => '{\"backoff\":\"exponential\",\"base\":1,\"max\":86400,\"jitter\":0.1}'",
            given,
        ),
        (r#""queue":"q","timeout":null"#, "queue => 'q', timeout => null", with(&queues, "timeout", Value::Null)),
        (r#""queue":"q","priority":null,"max_attempts":null"#, "queue => 'q', priority => null, max_attempts => null", queues.clone()),
        (r#""queue":"endless""#, "queue => 'endless'", with(&contract, "timeout", Value::Null)),
        (r#""queue":"endless","timeout":"1m""#, "queue => 'endless', timeout => '1 min'", with(&contract, "timeout", json!(60))),
        (r#""queue":"q","priority":9"#, "queue => 'q', priority => 9, timeout => '0'", with(&queues, "priority", json!(9))),
    ];
    let stored = async |id: i64| {
        let what = "select priority, max_attempts, timeout_ms / 1000.0::float8, retry::text, exists (select from longshore.ready r where r.id = j.id and r.priority = j.priority)
                      from longshore.job_data j where id = $1";
        let row = api.sql.query_one(what, &[&id]).await.expect("is there");
        assert!(row.get::<_, bool>(4), "its place has its priority");
        let retry = row.get::<_, Option<String>>(3).map(|text| serde_json::from_str::<Value>(&text).expect("JSON"));
        json!({"priority": row.get::<_, i16>(0), "max_attempts": row.get::<_, i16>(1), "timeout": row.get::<_, Option<f64>>(2), "retry": retry})
    };
    // 5 and 5.0 are one number
    let same = |one: &Value, other: &Value| {
        ["priority", "max_attempts", "timeout"].iter().all(|field| one[field].as_f64() == other[field].as_f64())
            && ["backoff", "base", "max", "jitter"]
                .iter()
                .all(|field| one["retry"][field] == other["retry"][field] || one["retry"][field].as_f64() == other["retry"][field].as_f64())
    };
    let jobs: Vec<String> = cases.iter().map(|(http, ..)| format!(r#"{{"kind":"k",{http}}}"#)).collect();
    let batch = api.post("/v1/jobs/batch", format!(r#"{{"jobs":[{}]}}"#, jobs.join(","))).await.json();
    for (index, ((http, sql, expected), job)) in cases.iter().zip(&jobs).enumerate() {
        let answer = api.post("/v1/jobs", job).await.json();
        let shown = api.read(&format!("/v1/jobs/{}", answer["id"])).await;
        for field in ["priority", "max_attempts", "timeout"] {
            assert_eq!((&answer[field], &shown[field]), (&expected[field], &expected[field]), "{http}: {field}");
        }
        let by_sql: i64 = api.sql.query_one(&format!("select longshore.enqueue('k', {sql})"), &[]).await.expect(sql).get(0);
        for id in [answer["id"].as_i64(), batch["ids"][index].as_i64(), Some(by_sql)] {
            let stored = stored(id.expect("an id")).await;
            assert!(same(&stored, expected), "{http}: {stored} is not {expected}");
        }
    }
    // replacing follows the same rule
    let unique = |priority: &str| format!(r#"{{"kind":"k","queue":"q"{priority},"unique":{{"key":"u","on_conflict":"replace"}}}}"#);
    let id = api.enqueue(unique(r#","priority":4"#)).await;
    let replaced = api.post("/v1/jobs", unique("")).await.json();
    assert_eq!((&replaced["id"], &replaced["replaced"], &replaced["priority"]), (&json!(id), &json!(true), &json!(-5)));
    api.finish().await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_so() {
    let api = Api::start().await;
    let worker = api.worker("w", &["*=50"]).await;
    set(&api, "q", &json!({"max_waiting": 3})).await;
    let job = r#"{"kind":"k","queue":"q"}"#;
    api.enqueue(job).await;
    api.enqueue(r#"{"kind":"k","queue":"q","delay":"1h"}"#).await;
    let unique = r#"{"kind":"other","queue":"q","unique":{"key":"u"}}"#;
    let standing = api.enqueue(unique).await;
    let said = api.refused("/v1/jobs", &[JSON], job, 429, &[]).await;
    assert!(said["detail"].as_str().is_some_and(|detail| detail.contains("queue \"q\"") && detail.contains("max_waiting")), "{said}");
    api.refused("/v1/jobs", &[JSON], r#"{"kind":"k","queue":"q","unique":{"key":"new"}}"#, 429, &[]).await;
    // in SQL
    let error = api.sql.query_one("select longshore.enqueue('k', queue => 'q')", &[]).await.expect_err("is full");
    let said = error.as_db_error().expect("by the database");
    assert_eq!((said.code().code(), said.message()), ("LS429", "longshore.enqueue: queue \"q\" is full: as many jobs wait there as its max_waiting allows"));
    // one whose key is held makes nothing wait
    let again = api.post("/v1/jobs", unique).await;
    assert_eq!((again.status, &again.json()["id"], &again.json()["duplicate"]), (200, &json!(standing), &json!(true)));
    // other queues do not care, and the key of the refused one is free
    api.enqueue(r#"{"kind":"k","queue":"free","unique":{"key":"new"}}"#).await;
    // one starts: there is room for one, and not for two
    assert_eq!(api.claim(worker, "q", 1).await.jobs.len(), 1);
    api.refused("/v1/jobs/batch", &[JSON], format!(r#"{{"jobs":[{{"kind":"k","queue":"free"}},{job},{job}]}}"#), 429, &[]).await;
    let fits = api.post("/v1/jobs/batch", format!(r#"{{"jobs":[{job},{unique},{{"kind":"k","queue":"free"}},{unique}]}}"#)).await;
    assert_eq!((fits.status, &fits.json()["duplicates"]), (201, &json!([1, 3])));
    api.refused("/v1/jobs", &[JSON], job, 429, &[]).await;
    // a lower limit takes nothing away, none at all takes everything
    set(&api, "q", &json!({"max_waiting": 0})).await;
    assert_eq!(api.read("/v1/queues/q").await["counts"]["available"], json!(2));
    set(&api, "q", &json!({})).await;
    api.enqueue(job).await;
    api.finish().await;
}

#[tokio::test]
async fn sixty_four_at_once_fill_a_queue_to_its_limit() {
    let api = Arc::new(Api::start().await);
    set(&api, "q", &json!({"max_waiting": 100})).await;
    let callers: Vec<_> = (0..64)
        .map(|caller| {
            let api = api.clone();
            tokio::spawn(async move {
                let (mut taken, mut refused, mut free) = (0, 0, 0);
                for n in 0..8 {
                    let unique = if caller % 4 == 0 { format!(r#","unique":{{"key":"{caller}-{n}"}}"#) } else { String::new() };
                    match api.post("/v1/jobs", format!(r#"{{"kind":"k","queue":"q"{unique}}}"#)).await.status {
                        201 => taken += 1,
                        429 => refused += 1,
                        other => panic!("{other}"),
                    }
                    // a neighbour in the same statement, of another queue, is not touched
                    free += i64::from(api.post("/v1/jobs", r#"{"kind":"k","queue":"free"}"#).await.status == 201);
                }
                (taken, refused, free)
            })
        })
        .collect();
    let (mut taken, mut refused, mut free) = (0, 0, 0);
    for caller in callers {
        let (t, r, f) = caller.await.expect("no panic");
        (taken, refused, free) = (taken + t, refused + r, free + f);
    }
    assert_eq!((taken + refused, free), (512, 512));
    // soft by what is in flight: two statements at once, of 64 jobs at most
    assert!((100..=164).contains(&taken), "{taken}");
    let waiting = api.count("longshore.ready r join longshore.lanes l using (lane) join longshore.queues q using (queue) where q.name = 'q'").await;
    assert_eq!(waiting, taken);
    Arc::into_inner(api).expect("nobody else has it").finish().await;
}

#[tokio::test]
async fn a_failed_job_is_followed_by_another() {
    let api = Api::start().await;
    let worker = api.worker("w", &["*=50"]).await;
    set(&api, "alerts", &json!({"on_failed": {"kind": "loop"}, "max_waiting": 0})).await;
    set(&api, "q", &json!({"on_failed": {"kind": "alert", "queue": "alerts", "args": {"n": 1}, "priority": 3}})).await;
    let id = api.enqueue(r#"{"kind":"echo","queue":"q","max_attempts":1}"#).await;
    let lease = api.claim(worker, "q", 1).await.jobs[0].lease;
    for _ in 0..2 {
        api.store.report(&[(lease, Outcome::Failed { error: "no \"luck\"".to_owned(), retry_in: None })]).await.expect("report");
    }
    let list = api.read("/v1/jobs?queue=alerts&fields=args").await;
    let jobs = list["items"].as_array().expect("a list");
    assert_eq!(jobs.len(), 1, "a repeated report makes no second one, and a full queue takes it: {list}");
    let failed = json!({"id": id, "kind": "echo", "queue": "q", "attempt": 1, "error": "no \"luck\""});
    assert_eq!((&jobs[0]["kind"], &jobs[0]["args"]), (&json!("alert"), &json!({"n": 1, "failed": failed})));
    let said = (&jobs[0]["enqueued_by"], &jobs[0]["priority"], &jobs[0]["max_attempts"], &jobs[0]["timeout"], &jobs[0]["state"]);
    assert_eq!(said, (&json!(format!("on_failed of job {id}")), &json!(3), &json!(25), &json!(300), &json!("available")));
    // it fires none itself
    let lease = api.claim(worker, "alerts", 1).await.jobs[0].lease;
    api.store.report(&[(lease, Outcome::Discarded { error: "no".to_owned() })]).await.expect("report");
    assert_eq!(api.count("longshore.job_data").await, 2);
    api.finish().await;
}

#[tokio::test]
async fn a_queue_is_deleted_when_it_is_empty() {
    let api = Api::start().await;
    let worker = api.worker("w", &["*=50"]).await;
    problem(&delete(&api, "q").await, 404, &[], "not there");
    set(&api, "q", &json!({"max_waiting": 5, "paused": true, "defaults": {"priority": 7}, "retention": {"failed": null}})).await;
    assert_eq!((delete(&api, "q").await.status, api.get("/v1/queues/q").await.status), (204, 404));
    assert_eq!(api.read("/v1/queues").await["items"], json!([]));
    for (method, path) in [("DELETE", "/v1/queues/q"), ("POST", "/v1/queues/q/pause"), ("POST", "/v1/queues/q/resume")] {
        problem(&api.request(method, path, &[], b"").await, 404, &[], path);
    }
    assert!(api.sql.query("select longshore.pause('q')", &[]).await.is_err());
    // its settings are forgotten: used again or made again, it is as new
    api.enqueue(r#"{"kind":"echo","queue":"q","delay":"1h"}"#).await;
    let mut used = queue("q", &json!({"workers": 1}));
    used["counts"]["scheduled"] = json!(1);
    assert_eq!(api.read("/v1/queues/q").await, used);
    assert_eq!((delete(&api, "q?purge=true").await.status, api.get("/v1/queues/q").await.status), (204, 404));
    assert_eq!((put(&api, "q", &json!({})).await.status, api.read("/v1/queues/q").await), (201, queue("q", &json!({"workers": 1}))));
    assert_eq!(delete(&api, "q").await.status, 204);
    let id = api.enqueue(r#"{"kind":"echo","queue":"q"}"#).await;
    let shown = api.read("/v1/queues/q").await;
    assert_eq!((&shown["paused"], &shown["counts"]["available"], &shown["defaults"]["priority"]), (&json!(false), &json!(1), &json!(0)));
    assert_eq!(api.count("longshore.queues_overview where queue = 'q'").await, 1);
    // in each state it holds the job
    let holds = async |about: &str| {
        let said = problem(&delete(&api, "q").await, 409, &[], about);
        assert!(said["detail"].as_str().is_some_and(|detail| detail.starts_with("queue \"q\" holds 1 job;")), "{said}");
    };
    holds("available").await;
    let lease = api.claim(worker, "q", 1).await.jobs[0].lease;
    holds("running").await;
    let said = problem(&delete(&api, "q?purge=true").await, 409, &[], "running");
    assert!(said["detail"].as_str().is_some_and(|detail| detail.starts_with("1 job of queue \"q\" run")), "{said}");
    api.store.report(&[(lease, Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::from_hours(1)) })]).await.expect("report");
    holds("retryable").await;
    api.request("POST", &format!("/v1/jobs/{id}/cancel"), &[], b"").await;
    holds("cancelled").await;
    for (query, pointers) in [
        ("q?purge=yes", &["/purge"][..]),
        ("q?purge", &["/purge"]),
        ("q?x=1&purge=true", &["/x"]),
        ("q?purge=true&purge=true", &["/purge"]),
        ("%20?y", &["/y"]),
    ] {
        problem(&delete(&api, query).await, 422, pointers, query);
    }
    problem(&delete(&api, "q?purge=false").await, 409, &[], "no purge");
    assert_eq!(api.read(&format!("/v1/jobs/{id}")).await["state"], "cancelled", "nothing was touched");
    assert_eq!((delete(&api, "q?purge=true").await.status, api.get("/v1/queues/q").await.status), (204, 404));
    assert_eq!(api.get(&format!("/v1/jobs/{id}")).await.status, 404);
    assert_eq!(api.count("longshore.queues_overview where queue = 'q'").await, 0);
    api.finish().await;
}

#[tokio::test]
async fn a_purge_goes_in_steps_and_leaves_others_alone() {
    let api = Api::start().await;
    api.sql
        .batch_execute(
            "select longshore.enqueue(case when n % 2 = 0 then 'a' else 'b' end, queue => 'q', tags => array['t'], delay => case when n % 3 = 0 then interval '1 h' end,
                                      unique_key => case when n % 100 = 0 then 'u' || n end) from generate_series(1, 2500) n;
             select longshore.enqueue('a', queue => 'other', tags => array['t']);
             select longshore.cancel(id) from longshore.job_data where id % 5 = 0 and id < 2500",
        )
        .await
        .expect("fill");
    assert_eq!(delete(&api, "q?purge=true").await.status, 204);
    assert_eq!((api.count("longshore.job_data").await, api.count("longshore.labels").await, api.count("longshore.places").await), (1, 1, 1));
    // where there is no time, what was done is told
    let slow = Api::start_with(&[("LONGSHORE_API__TIMEOUT", "3s")]).await;
    slow.sql
        .batch_execute(
            "create function longshore.slowly() returns trigger language plpgsql as $$ begin perform pg_sleep(0.001); return old; end $$;
             create trigger slowly before delete on longshore.job_data for each row execute function longshore.slowly();
             select longshore.enqueue('a', queue => 'q') from generate_series(1, 4000)",
        )
        .await
        .expect("fill");
    let mut calls = Vec::new();
    for _ in 0..50 {
        let answer = delete(&slow, "q?purge=true").await;
        let held = slow.count("longshore.job_data").await;
        calls.push((answer.status, held));
        match answer.status {
            202 => assert!(answer.json()["more"] == json!(true) && answer.json()["deleted"].as_i64().is_some_and(|n| n > 0), "{}", answer.text()),
            204 => break,
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert!(calls.len() > 1 && calls.last().is_some_and(|last| *last == (204, 0)), "{calls:?}");
    slow.finish().await;
    api.finish().await;
}

#[tokio::test]
async fn a_key_that_is_limited_to_queues_sets_up_those() {
    let (api, (some, reads)) = Api::start_after(&[], async |store| {
        (create_key(store, "some", &[Scope::Admin], &["a", "b"]).await, create_key(store, "reads", &[Scope::Read, Scope::Enqueue], &["a"]).await)
    })
    .await;
    assert_eq!(api.with_key(&some, "PUT", "/v1/queues/a", r#"{"max_waiting":5,"on_failed":{"kind":"k","queue":"b"}}"#).await.status, 201);
    api.sql.batch_execute("select longshore.enqueue('k', queue => 'c')").await.expect("enqueue");
    let before = (rows(&api).await, api.tables().await);
    for name in ["c", "new"] {
        problem(&api.with_key(&some, "PUT", &format!("/v1/queues/{name}"), "{}").await, 403, &["/name"], name);
        problem(&api.with_key(&some, "DELETE", &format!("/v1/queues/{name}?purge=true"), "").await, 404, &[], name);
    }
    for queue in [r#""queue":"c","#, ""] {
        let body = format!(r#"{{"on_failed":{{{queue}"kind":"k"}}}}"#);
        problem(&api.with_key(&some, "PUT", "/v1/queues/a", &body).await, 403, &["/on_failed/queue"], "no way into another queue");
    }
    problem(&api.with_key(&reads, "PUT", "/v1/queues/a", "{}").await, 403, &[], "its scope");
    problem(&api.with_key(&reads, "DELETE", "/v1/queues/a", "").await, 403, &[], "its scope");
    assert_eq!((rows(&api).await, api.tables().await), before);
    assert_eq!(api.with_key(&some, "DELETE", "/v1/queues/a", "").await.status, 204);
    api.finish().await;
}
