//! `/v1/jobs/cancel`, `/retry`, `/delete`: many jobs by filter, over HTTP.

use std::time::Duration;

use jiff::Timestamp;
use longshore_common::{key::Scope, outcome::Outcome, store::listen::Channel};
use serde_json::{Value, json};

use crate::{
    api::{Api, JSON, NDJSON, SOON, create_key, problem},
    support::{eventually::eventually, http::Response},
};

const PATHS: [&str; 3] = ["/v1/jobs/cancel", "/v1/jobs/retry", "/v1/jobs/delete"];

async fn call(api: &Api, path: &str, body: &Value) -> Value {
    let answer = api.post(path, body.to_string()).await;
    assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text());
    answer.json()
}

/// All that every table says, as a text.
async fn everything(api: &Api) -> String {
    let tables = "select relname::text from pg_class where relnamespace = 'longshore'::regnamespace and relkind = 'r' and relname <> 'workers' order by 1";
    let mut text = String::new();
    for table in api.sql.query(tables, &[]).await.expect("look") {
        let name: &str = table.get(0);
        let rows = format!("select coalesce(string_agg(t::text, E'\\n' order by t::text), '') from longshore.{name} t");
        text += &format!("{name}\n{}\n--\n", api.sql.query_one(&rows, &[]).await.expect("read a table").get::<_, &str>(0));
    }
    text
}

/// Enqueues jobs that fail for good.
async fn failed(api: &Api, jobs: &[Value], error: &str) -> Vec<i64> {
    let worker = api.worker(&format!("for {error}"), &["*=50"]).await;
    let mut ids = Vec::new();
    for job in jobs {
        let id = api.enqueue(job.to_string()).await;
        let lease = api.claim(worker, job["queue"].as_str().unwrap_or("default"), 1).await.jobs[0].lease;
        assert_eq!(lease.id, id);
        api.store.report(&[(lease, Outcome::Discarded { error: error.to_owned() })]).await.expect("report");
        ids.push(id);
    }
    ids
}

#[tokio::test]
async fn a_search_that_is_held_up_or_takes_too_long_is_no_outage() {
    let api = Api::start_with(&[("LONGSHORE_API__TIMEOUT", "2s")]).await;
    api.enqueue(r#"{"kind": "echo"}"#).await;
    api.sql.batch_execute("begin; lock table longshore.ready in access exclusive mode").await.expect("lock");
    let (answer, health) = tokio::join!(api.post("/v1/jobs/cancel", r#"{"all": true}"#), api.get("/health"));
    assert_eq!((answer.status, health.status), (503, 200), "{}", answer.text());
    assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.ends_with("`longshore doctor` names it")), "{}", answer.text());
    // the same, where each row that is looked at takes its time
    let slow = "alter table longshore.ready rename to at_rest; \
        create view longshore.ready as select * from longshore.at_rest where pg_sleep(3) is not null; commit";
    api.sql.batch_execute(slow).await.expect("unlock, and slow down");
    let (answer, health) = tokio::join!(api.post("/v1/jobs/cancel", r#"{"all": true}"#), api.get("/health"));
    assert_eq!((answer.status, health.status), (503, 200), "{}", answer.text());
    assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.ends_with("narrow it")), "{}", answer.text());
    let fast = "begin; drop view longshore.ready; alter table longshore.at_rest rename to ready; commit";
    api.sql.batch_execute(fast).await.expect("as it was");
    assert_eq!(api.read("/v1/jobs?state=available").await["items"].as_array().map(Vec::len), Some(1), "nothing was changed");
    let answer = api.post("/v1/jobs/cancel", r#"{"all": true}"#).await;
    assert_eq!((answer.status, answer.json()["count"].as_i64()), (200, Some(1)), "{}", answer.text());
    api.finish().await;
}

#[tokio::test]
async fn from_waiting_to_cancelled_to_retried_to_deleted() {
    let api = Api::start().await;
    let jobs: Vec<Value> = (0..12).map(|n| json!({"kind": "k", "queue": format!("q{}", n % 2), "tags": [format!("t{}", n % 3)], "meta": {"n": n}})).collect();
    assert_eq!(api.post("/v1/jobs/batch", json!({"jobs": jobs}).to_string()).await.status, 201);
    let before = everything(&api).await;
    let filter = json!({"filter": {"queue": "q1", "tag": ["t0"]}, "dry_run": true});
    let dry = call(&api, "/v1/jobs/cancel", &filter).await;
    assert_eq!(
        (&dry["count"], &dry["more"], dry["items"].as_array().map(Vec::len), dry.as_object().map(serde_json::Map::len)),
        (&json!(2), &json!(false), Some(2), Some(3))
    );
    let listed = api.read("/v1/jobs?queue=q1&tag=t0").await["items"].clone();
    assert_eq!(dry["items"], listed, "as lists show them");
    assert_eq!(call(&api, "/v1/jobs/cancel", &json!({"all": true, "dry_run": true})).await["items"].as_array().map(Vec::len), Some(5));
    for path in PATHS {
        call(&api, path, &json!({"all": true, "dry_run": true})).await;
    }
    assert_eq!(everything(&api).await, before, "nothing has changed");

    let cancelled = call(&api, "/v1/jobs/cancel", &json!({"filter": {"queue": "q1", "tag": ["t0"]}})).await;
    assert_eq!(cancelled, json!({"count": 2, "more": false}));
    for job in listed.as_array().expect("a list") {
        assert_eq!(api.read(&format!("/v1/jobs/{}", job["id"])).await["state"], "cancelled");
    }
    assert_eq!(api.count("longshore.finished").await, 2);
    assert_eq!(call(&api, "/v1/jobs/retry", &json!({"filter": {"meta.n": 3}})).await, json!({"count": 1, "more": false}));
    assert_eq!(call(&api, "/v1/jobs/retry", &json!({"filter": {"meta.n": 4}})).await, json!({"count": 0, "more": false}), "it waits");
    assert_eq!(call(&api, "/v1/jobs/delete", &json!({"filter": {"state": ["cancelled", "running"]}})).await, json!({"count": 1, "more": false}));
    assert_eq!(call(&api, "/v1/jobs/delete", &json!({"filter": {"workflow_id": 7}})).await, json!({"count": 0, "more": false}));
    assert_eq!(call(&api, "/v1/jobs/delete", &json!({"filter": {"schedule": "nightly"}, "all": true})).await, json!({"count": 0, "more": false}));
    assert_eq!(call(&api, "/v1/jobs/delete", &json!({"all": true})).await, json!({"count": 11, "more": false}));
    assert_eq!(api.count("longshore.job_data").await, 0);
    api.finish().await;
}

#[tokio::test]
async fn what_runs_is_asked_for_once_and_never_deleted() {
    let api = Api::start().await;
    let worker = api.worker("w", &["*=50"]).await;
    let id = api.enqueue(r#"{"kind": "k"}"#).await;
    api.claim(worker, "default", 1).await;
    assert_eq!(call(&api, "/v1/jobs/delete", &json!({"all": true})).await, json!({"count": 0, "more": false}));
    assert_eq!(call(&api, "/v1/jobs/retry", &json!({"all": true})).await, json!({"count": 0, "more": false}));
    assert_eq!(call(&api, "/v1/jobs/cancel", &json!({"filter": {"state": "running"}})).await, json!({"count": 1, "more": false}));
    let since = api.read(&format!("/v1/jobs/{id}")).await["cancel_requested_at"].clone();
    assert!(since.is_string());
    assert_eq!(call(&api, "/v1/jobs/cancel", &json!({"all": true})).await, json!({"count": 0, "more": false}));
    assert_eq!(api.read(&format!("/v1/jobs/{id}")).await["cancel_requested_at"], since);
    api.finish().await;
}

#[tokio::test]
async fn a_retry_at_a_rate_says_when_the_last_is_due() {
    let api = Api::start().await;
    let ids = failed(&api, &vec![json!({"kind": "k", "args": 1}); 5], "no 1").await;
    let others = failed(&api, &[json!({"kind": "k"})], "other").await;
    let group = api.read("/v1/failures").await["items"][1].clone();
    assert_eq!(group["count"], 5);
    let body = json!({"filter": {"fingerprint": group["fingerprint"]}, "rate": {"limit": 2, "per": "1m"}});
    let mut dry = body.clone();
    dry["dry_run"] = json!(true);
    assert_eq!(call(&api, "/v1/jobs/retry", &dry).await["count"], 5);
    let done = call(&api, "/v1/jobs/retry", &body).await;
    let mut due = Vec::new();
    for id in &ids {
        let job = api.read(&format!("/v1/jobs/{id}")).await;
        due.push(job["run_at"].as_str().and_then(|time| time.parse::<Timestamp>().ok()).expect("a time"));
        assert_eq!((&job["state"], &job["error"]), (&json!(if *id == ids[0] { "available" } else { "retryable" }), &json!("no 1")));
    }
    assert!(due.windows(2).all(|two| two[1].as_microsecond() - two[0].as_microsecond() == 30_000_000), "{due:?}");
    assert_eq!(done, json!({"count": 5, "more": false, "last_run_at": due[4]}));
    assert_eq!(call(&api, "/v1/jobs/retry", &body).await, json!({"count": 0, "more": false}), "they wait, and are not spread again");
    assert_eq!(api.read("/v1/failures").await["items"].as_array().map(Vec::len), Some(1), "their failure is forgiven");
    assert_eq!(api.read(&format!("/v1/jobs/{}", others[0])).await["state"], "failed");
    api.finish().await;
}

#[tokio::test]
async fn workers_are_woken_for_what_is_retried() {
    let api = Api::start().await;
    failed(&api, &[json!({"kind": "k", "queue": "a"}), json!({"kind": "k", "queue": "b"})], "no").await;
    let stop = tokio_util::sync::CancellationToken::new();
    let mut heard = api.store.listen(Channel::Work, stop.clone());
    assert_eq!(heard.recv().await, Some(None), "connected");
    call(&api, "/v1/jobs/retry", &json!({"filter": {"state": "failed"}})).await;
    for queue in ["a", "b"] {
        let woken = tokio::time::timeout(SOON, heard.recv()).await.expect("workers are woken");
        assert_eq!(woken.flatten().as_deref(), Some(queue));
    }
    stop.cancel();
    api.finish().await;
}

#[tokio::test]
async fn what_is_not_a_call() {
    let api = Api::start().await;
    api.enqueue(r#"{"kind": "k"}"#).await;
    for path in PATHS {
        let before = everything(&api).await;
        for (body, pointers) in [
            ("{}", &["/filter"][..]),
            (r#"{"filter": {}}"#, &["/filter"]),
            (r#"{"filter": null, "all": false}"#, &["/filter"]),
            (r#"{"filter": {"queue": null}}"#, &["/filter/queue"]),
            (r#"{"filter": []}"#, &["/filter"]),
            (r#"{"filter": "state=failed"}"#, &["/filter"]),
            (r#"{"all": "yes"}"#, &["/all"]),
            (r#"{"all": true, "dry_run": 1}"#, &["/dry_run"]),
            (r#"{"all": true, "all": true}"#, &["/all"]),
            (r#"{"state": "failed"}"#, &["/state"]),
            (r#"{"filter": {"state": "done"}}"#, &["/filter/state"]),
            (r#"{"filter": {"state": ["done", "failed", 7]}}"#, &["/filter/state/0", "/filter/state/2"]),
            (r#"{"filter": {"state": []}}"#, &["/filter/state"]),
            (r#"{"filter": {"queue": "a b", "kind": ["k", ""]}}"#, &["/filter/queue", "/filter/kind/1"]),
            (r#"{"filter": {"tag": ["\u0000"], "unique_key": "", "concurrency_key": 7}}"#, &["/filter/tag/0", "/filter/unique_key", "/filter/concurrency_key"]),
            (r#"{"filter": {"fingerprint": "7"}}"#, &["/filter/fingerprint"]),
            (r#"{"filter": {"created_after": "today", "finished_before": 7}}"#, &["/filter/created_after", "/filter/finished_before"]),
            (r#"{"filter": {"limit": 5, "fields": "args", "cursor": "x"}}"#, &["/filter/limit", "/filter/fields", "/filter/cursor"]),
            (r#"{"filter": {"meta.a/b": []}}"#, &["/filter/meta.a~1b"]),
            (r#"{"filter": {"queue": "a", "queue": "b"}}"#, &["/filter/queue"]),
            ("[]", &[""]),
        ] {
            problem(&api.post(path, body).await, 422, pointers, &format!("{path} {body}"));
        }
        let rate = api.post(path, r#"{"all": true, "rate": {"limit": 0}}"#).await;
        problem(&rate, 422, if path.ends_with("retry") { &["/rate/limit", "/rate/per"] } else { &["/rate"] }, path);
        for body in ["", "{", "filter"] {
            problem(&api.post(path, body).await, 400, &[], body);
        }
        problem(&api.request("POST", path, &[("content-type", "text/plain")], b"{}").await, 415, &[], path);
        problem(&api.request("POST", path, &[NDJSON], b"{}").await, 415, &[], path);
        problem(&api.request("POST", path, &[JSON], &vec![b' '; 2 * 1024 * 1024 + 1]).await, 413, &[], path);
        problem(&api.request("POST", &format!("{path}?dry_run=true"), &[JSON], br#"{"all": true}"#).await, 422, &["/dry_run"], path);
        assert_eq!(everything(&api).await, before, "{path}");
    }
    api.finish().await;
}

#[tokio::test]
async fn a_key_limited_to_queues_touches_no_other() {
    let (api, (some, reader)) = Api::start_after(&[], async |store| {
        create_key(store, "all", &[Scope::Admin], &[]).await;
        (create_key(store, "some", &[Scope::Admin], &["a", "b"]).await, create_key(store, "reader", &[Scope::Read], &[]).await)
    })
    .await;
    for queue in ["a", "b", "c", "a", "c"] {
        api.sql.execute("select longshore.enqueue('k', queue => $1, tags => array['t'])", &[&queue]).await.expect("enqueue");
    }
    let ask = async |key: &str, path: &str, body: &str| -> Response { api.with_key(key, "POST", path, body).await };
    for path in PATHS {
        let before = everything(&api).await;
        for body in
            [r#"{"filter": {"queue": "c"}}"#, r#"{"filter": {"queue": ["a", "c"]}, "dry_run": true}"#, r#"{"filter": {"queue": "nothing"}, "all": true}"#]
        {
            let said = problem(&ask(&some, path, body).await, 403, &["/filter/queue"], body);
            assert!(said["detail"].as_str().is_some_and(|detail| detail.contains("--scope admin --queue")), "{said}");
        }
        problem(&ask(&reader, path, r#"{"all": true}"#).await, 403, &[], path);
        assert_eq!(everything(&api).await, before);
    }
    let in_c = "longshore.jobs where queue = 'c' and state = 'available'";
    for (path, body, count) in [
        ("/v1/jobs/cancel", r#"{"all": true, "dry_run": true}"#, 3),
        ("/v1/jobs/cancel", r#"{"filter": {"queue": "b"}}"#, 1),
        ("/v1/jobs/cancel", r#"{"filter": {"tag": "t"}}"#, 2),
        ("/v1/jobs/retry", r#"{"filter": {"kind": "k"}}"#, 3),
        ("/v1/jobs/delete", r#"{"all": true}"#, 3),
    ] {
        let answer = ask(&some, path, body).await;
        assert_eq!((answer.status, &answer.json()["count"]), (200, &json!(count)), "{path} {body}");
        let shown = answer.json()["items"].as_array().cloned().unwrap_or_default();
        assert!(shown.iter().all(|job| job["queue"] != "c"), "{shown:?}");
        assert_eq!(api.count(in_c).await, 2, "{path} {body}");
    }
    api.finish().await;
}

#[tokio::test]
async fn claims_go_on_while_many_are_cancelled() {
    let api = Api::start().await;
    let worker = api.worker("w", &["*=50"]).await;
    api.sql.batch_execute("select longshore.enqueue('k', queue => 'many') from generate_series(1, 4000)").await.expect("enqueue");
    // a batch that takes long holds up nobody who works in another queue, and its own queue's jobs only while it lasts
    api.sql
        .batch_execute(
            "create function slow() returns trigger language plpgsql as $$ begin if new.id % 500 = 0 then perform pg_sleep(0.2); end if; return null; end $$;
             create trigger slow after insert on longshore.finished for each row execute function slow()",
        )
        .await
        .expect("a trigger");
    let body = json!({"filter": {"queue": "many"}}).to_string();
    let cancelling = api.post("/v1/jobs/cancel", body);
    let working = async {
        eventually("it has begun", SOON, async || api.count("longshore.finished").await > 0).await;
        assert!(api.count("longshore.finished").await < 4000, "batch by batch");
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let began = tokio::time::Instant::now();
            api.enqueue(r#"{"kind": "k", "queue": "other"}"#).await;
            let claimed = api.claim(worker, "other", 1).await;
            assert_eq!(claimed.jobs.len(), 1);
            longest = longest.max(began.elapsed());
        }
        let of_many = api.claim(worker, "many", 10).await.jobs.len();
        (longest, of_many)
    };
    let (answer, (longest, of_many)) = tokio::join!(cancelling, working);
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    let done = answer.json();
    let running = api.count("longshore.running where cancel_requested_at is not null").await;
    let cancelled = api.count("longshore.finished where state = 'cancelled'").await;
    assert_eq!((answer.status, &done["count"], &done["more"]), (200, &json!(cancelled + running), &json!(false)), "{done}");
    assert_eq!(
        cancelled + api.count("longshore.running r join longshore.jobs j using (id) where j.queue = 'many'").await,
        4000,
        "{of_many} were claimed meanwhile"
    );
    api.finish().await;
}

#[tokio::test]
async fn it_answers_within_the_time_limit() {
    let api = Api::start_with(&[("LONGSHORE_API__TIMEOUT", "2s")]).await;
    api.sql.batch_execute("select longshore.enqueue('k') from generate_series(1, 5000)").await.expect("enqueue");
    api.sql
        .batch_execute(
            "create function slow() returns trigger language plpgsql as $$ begin if new.id % 500 = 0 then perform pg_sleep(0.3); end if; return null; end $$;
             create trigger slow after insert on longshore.finished for each row execute function slow()",
        )
        .await
        .expect("a trigger");
    let (mut sum, mut calls, mut more) = (0, 0, true);
    while more {
        let done = call(&api, "/v1/jobs/cancel", &json!({"all": true})).await;
        (sum, calls, more) = (sum + done["count"].as_i64().expect("a number"), calls + 1, done["more"] == true);
        assert_eq!(api.count("longshore.finished").await, sum, "what is counted is done");
    }
    assert!(sum == 5000 && calls > 1, "{sum} in {calls} calls");
    api.finish().await;
}
