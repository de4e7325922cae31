//! `/v1/leases`: users' own workers, over HTTP.

use std::{sync::Arc, time::Duration};

use longshore_common::key::Scope;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    api::{Api, SOON, create_key, problem},
    support::{eventually::eventually, http::Connection},
};

async fn lease(api: &Api, asked: Value) -> Vec<Value> {
    let answer = api.post("/v1/leases", asked.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["jobs"].as_array().expect("jobs").clone()
}

async fn call(api: &Api, path: &str, body: Value, status: u16) -> Value {
    let answer = api.post(path, body.to_string()).await;
    assert_eq!(answer.status, status, "{path}: {}", answer.text());
    answer.json()
}

async fn finish(api: Api) {
    assert_eq!(api.count("longshore.violations").await, 0);
    api.finish().await;
}

#[tokio::test]
async fn a_job_is_leased_extended_and_completed() {
    let api = Api::start().await;
    let (new, trace) =
        (r#"{"kind":"k","args":{"b":1.50,"a":2},"unique":{"key":"u"},"tags":["t"],"timeout":60}"#, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let headers = [("content-type", "application/json"), ("traceparent", trace)];
    let id = api.request("POST", "/v1/jobs", &headers, new.as_bytes()).await.json()["id"].as_i64().expect("an id");
    let jobs = lease(&api, json!({"worker": "mine", "lease_for": "20s"})).await;
    let job = &jobs[0];
    assert_eq!((jobs.len(), &job["id"], &job["state"], &job["attempt"], &job["worker"]), (1, &json!(id), &json!("running"), &json!(1), &json!("mine")));
    assert_eq!((&job["unique_key"], &job["tags"], &job["parents"], &job["traceparent"]), (&json!("u"), &json!(["t"]), &json!({}), &json!(trace)));
    let time = |value: &Value| value.as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
    assert_eq!((time(&job["lease_expires_at"]) - time(&job["started_at"])).get_seconds(), 20);
    assert_eq!(lease(&api, json!({})).await.len(), 0, "it is another's");

    let token = &job["lease"];
    let beat = json!({"leases": [{"id": id, "lease": token, "progress": 0.5, "checkpoint": {"line": 3}, "log": "half\n"}, {"id": id + 1, "lease": "5"}], "extend": "1m"});
    assert_eq!(call(&api, "/v1/leases/heartbeat", beat, 200).await, json!({"ok": [id], "lost": [id + 1], "cancelled": []}));
    let seen = api.read(&format!("/v1/jobs/{id}")).await;
    assert_eq!((&seen["progress"], &seen["checkpoint"]), (&json!(0.5), &json!({"line": 3})));
    assert_eq!(api.read(&format!("/v1/jobs/{id}/logs")).await["items"][0]["text"], "half\n");
    let until = "select extract(epoch from lease_until - now())::float8 from longshore.running";
    let left: f64 = api.sql.query_one(until, &[]).await.expect("it runs").get(0);
    assert!(left > 40.0, "{left}");
    call(&api, "/v1/leases/heartbeat", json!({"leases": [{"id": id, "lease": token}], "extend": "5s"}), 200).await;
    let left: f64 = api.sql.query_one(until, &[]).await.expect("it runs").get(0);
    assert!(left > 40.0, "never shorter: {left}");

    let done = call(&api, &format!("/v1/jobs/{id}/complete"), json!({"lease": token, "result": {"z": 1, "a": 2.0}}), 200).await;
    assert_eq!((&done["state"], &done["result"]), (&json!("succeeded"), &json!({"z": 1, "a": 2.0})));
    // said again, it is the same; another outcome, or another lease, is refused and changes nothing
    call(&api, &format!("/v1/jobs/{id}/complete"), json!({"lease": token, "result": 7}), 200).await;
    assert_eq!(api.read(&format!("/v1/jobs/{id}")).await["result"], json!({"z": 1, "a": 2.0}));
    for (end, body) in [
        ("fail", json!({"lease": token, "error": "e"})),
        ("snooze", json!({"lease": token, "for": 1})),
        ("complete", json!({"lease": "99"})),
        ("complete", json!({"lease": "x"})),
    ] {
        let refused = api.post(&format!("/v1/jobs/{id}/{end}"), body.to_string()).await;
        problem(&refused, 409, &[], "this lease of job");
    }
    // a result that is too long to be kept is a success all the same
    let long = api.enqueue(r#"{"kind": "k"}"#).await;
    let token = lease(&api, json!({})).await[0]["lease"].clone();
    let done = call(&api, &format!("/v1/jobs/{long}/complete"), json!({"lease": token, "result": "x".repeat(5 << 20)}), 200).await;
    assert_eq!((&done["state"], &done["result"]["bytes"]), (&json!("succeeded"), &json!((5 << 20) + 2)));
    let token = &job["lease"];
    call(&api, "/v1/jobs/999/complete", json!({"lease": "1"}), 404).await;
    assert_eq!(call(&api, "/v1/leases/heartbeat", json!({"leases": [{"id": id, "lease": token}]}), 200).await["lost"], json!([id]));
    finish(api).await;
}

#[tokio::test]
async fn failing_snoozing_and_reporting_many() {
    let api = Api::start().await;
    for n in 0..6 {
        api.enqueue(json!({"kind": "k", "args": n, "retry": {"backoff": "fixed", "base": 3600}}).to_string()).await;
    }
    let jobs = lease(&api, json!({"limit": 6})).await;
    let (id, token) = (|n: usize| jobs[n]["id"].clone(), |n: usize| jobs[n]["lease"].clone());
    let failed = call(&api, &format!("/v1/jobs/{}/fail", id(0)), json!({"lease": token(0), "error": "a\u{0}b"}), 200).await;
    assert_eq!((&failed["state"], &failed["error"], &failed["attempt"]), (&json!("retryable"), &json!("a\u{fffd}b"), &json!(1)));
    let discarded = call(&api, &format!("/v1/jobs/{}/fail", id(1)), json!({"lease": token(1), "error": "no", "discard": true}), 200).await;
    assert_eq!((&discarded["state"], &discarded["error"]), (&json!("failed"), &json!("no")));
    let snoozed = call(&api, &format!("/v1/jobs/{}/snooze", id(2)), json!({"lease": token(2), "for": "1h"}), 200).await;
    assert_eq!((&snoozed["state"], &snoozed["attempt"]), (&json!("scheduled"), &json!(0)));
    // a fault in one refuses all
    let reports = |three: Value| json!({"reports": [{"id": id(3), "lease": token(3), "outcome": "complete", "result": "r"}, three]});
    api.refused("/v1/leases/report", &[], reports(json!({"id": 1, "lease": "1", "outcome": "done"})).to_string(), 422, &["/reports/1/outcome"]).await;
    assert_eq!(api.read(&format!("/v1/jobs/{}", id(3))).await["state"], "running");
    let sent = json!({"reports": [
        {"id": id(3), "lease": token(3), "outcome": "complete", "result": "r"},
        {"id": id(4), "lease": token(4), "outcome": "fail", "error": "e", "retry_in": 0},
        {"id": id(5), "lease": "nonsense", "outcome": "complete"},
        {"id": id(0), "lease": token(0), "outcome": "fail", "error": "said again"}]});
    let answer = call(&api, "/v1/leases/report", sent, 200).await;
    assert_eq!(answer, json!({"ok": [id(0), id(3), id(4)], "lost": [id(5)]}));
    assert_eq!(api.read(&format!("/v1/jobs/{}", id(3))).await["result"], "r");
    assert_eq!(api.read(&format!("/v1/jobs/{}", id(4))).await["state"], "available");
    assert_eq!(api.read(&format!("/v1/jobs/{}", id(0))).await["error"], "a\u{fffd}b");
    finish(api).await;
}

#[tokio::test]
async fn bad_input_changes_nothing() {
    let api = Api::start().await;
    api.enqueue(r#"{"kind":"k"}"#).await;
    let before = api.tables().await;
    api.refused(
        "/v1/leases",
        &[],
        r#"{"queues":["a b"],"limit":0,"lease_for":"2h","wait":"2m","colour":1}"#,
        422,
        &["/queues/0", "/limit", "/lease_for", "/wait", "/colour"],
    )
    .await;
    api.refused("/v1/leases/heartbeat", &[], r#"{"leases":[],"extend":1}"#, 422, &["/extend", "/leases"]).await;
    api.refused("/v1/jobs/1/complete", &[], r#"{"result":1,"error":"e"}"#, 422, &["/lease", "/error"]).await;
    api.refused("/v1/jobs/1/fail", &[], r#"{"lease":"1"}"#, 422, &["/error"]).await;
    api.refused("/v1/jobs/1/snooze", &[], r#"{"lease":"1"}"#, 422, &["/for"]).await;
    assert_eq!(api.tables().await, before);
    // the name of one of Longshore's own workers
    api.worker("host:1:2", &["*=50"]).await;
    let taken = api.post("/v1/leases", r#"{"worker":"host:1:2"}"#).await;
    problem(&taken, 409, &[], "is the id of one of Longshore's own workers");
    finish(api).await;
}

#[tokio::test]
async fn order_pauses_kinds_and_expiry_hold() {
    let api = Api::start().await;
    let mut ids = Vec::new();
    for (kind, priority) in [("a", 5), ("b", -5), ("a", 0), ("c", -9)] {
        ids.push(api.enqueue(json!({"kind": kind, "priority": priority}).to_string()).await);
    }
    let expired = api.enqueue(r#"{"kind":"a","priority":-20,"expires_in":"1ms"}"#).await;
    let got = |jobs: Vec<Value>| jobs.iter().map(|job| job["id"].as_i64().expect("an id")).collect::<Vec<_>>();
    call(&api, "/v1/queues/default/pause", json!({}), 200).await;
    assert!(lease(&api, json!({})).await.is_empty(), "paused");
    call(&api, "/v1/queues/default/resume", json!({}), 200).await;
    assert_eq!(got(lease(&api, json!({"kinds": ["a", "b"], "limit": 3})).await), [ids[1], ids[2]], "the expired one was claimed and not given");
    assert_eq!(got(lease(&api, json!({"limit": 3})).await), [ids[3], ids[0]]);
    let job = api.read(&format!("/v1/jobs/{expired}")).await;
    assert_eq!((&job["state"], &job["error"]), (&json!("cancelled"), &json!("expired")));
    finish(api).await;
}

#[tokio::test]
async fn who_pulls_is_seen_and_counts_as_a_worker() {
    let api = Api::start().await;
    let unserved = api.post("/v1/jobs", r#"{"kind":"k","queue":"pulled"}"#).await.json();
    assert!(unserved["warning"].is_string());
    let waits = Arc::new(api.address);
    let waiter = tokio::spawn(async move {
        let body = br#"{"queues":["pulled"],"kinds":["x"],"wait":"20s","worker":"mine"}"#;
        crate::support::http::request(*waits, "POST", "/v1/leases", &[("content-type", "application/json"), ("user-agent", "mine/1.0")], body).await
    });
    eventually("it is among the workers", SOON, async || {
        let workers = api.read("/v1/workers").await;
        let worker = &workers["items"][0];
        let shown = (&worker["id"], &worker["version"], &worker["queues"], &worker["kinds"], &worker["running"]);
        if shown == (&json!("mine"), &json!("mine/1.0"), &json!(["pulled"]), &json!(["x"]), &json!(0)) { Ok(()) } else { Err(workers) }
    })
    .await;
    eventually("no warning any more", SOON, async || {
        let job = api.post("/v1/jobs", r#"{"kind":"k","queue":"pulled"}"#).await.json();
        if job.get("warning").is_none() { Ok(()) } else { Err(job) }
    })
    .await;
    let explained = api.read("/v1/jobs/1/explain").await;
    assert_eq!(explained["because"][0]["reason"], "no_handler", "{explained}");
    api.enqueue(r#"{"kind":"x","queue":"pulled"}"#).await;
    assert_eq!(waiter.await.expect("no panic").json()["jobs"][0]["kind"], "x");
    finish(api).await;
}

#[tokio::test]
async fn a_key_reaches_its_queues_alone() {
    let api = Api::start().await;
    let all = create_key(&api.store, "all", &[Scope::Admin], &[]).await;
    let own = create_key(&api.store, "own", &[Scope::Work], &["a"]).await;
    // before that, anybody may
    eventually("the keys count", SOON, async || match api.with_key(&own, "POST", "/v1/leases", r#"{"queues":["b"]}"#).await.status {
        403 => Ok(()),
        status => Err(status),
    })
    .await;
    for queue in ["a", "b"] {
        let job = json!({"kind": "k", "queue": queue}).to_string();
        assert_eq!(api.with_key(&all, "POST", "/v1/jobs", &job).await.status, 201);
    }
    problem(&api.with_key(&own, "POST", "/v1/leases", r#"{"queues":["a","b"]}"#).await, 403, &["/queues/1"], "does not reach");
    let mine = api.with_key(&own, "POST", "/v1/leases", r#"{"queues":["a"]}"#).await.json()["jobs"][0].clone();
    assert_eq!(mine["worker"], "pull:own");
    let other = api.with_key(&all, "POST", "/v1/leases", r#"{"queues":["b"]}"#).await.json()["jobs"][0].clone();
    let complete = |job: &Value| (format!("/v1/jobs/{}/complete", job["id"]), json!({"lease": job["lease"]}).to_string());
    let (path, body) = complete(&other);
    assert_eq!(api.with_key(&own, "POST", &path, &body).await.status, 404, "as if it was not there");
    let both = json!({"reports": [{"id": mine["id"], "lease": mine["lease"], "outcome": "complete"}, {"id": other["id"], "lease": other["lease"], "outcome": "complete"}]});
    let answer = api.with_key(&own, "POST", "/v1/leases/report", &both.to_string()).await.json();
    assert_eq!(answer, json!({"ok": [mine["id"]], "lost": [other["id"]]}));
    let beat = json!({"leases": [{"id": other["id"], "lease": other["lease"]}]}).to_string();
    assert_eq!(api.with_key(&own, "POST", "/v1/leases/heartbeat", &beat).await.json()["lost"], json!([other["id"]]));
    assert_eq!(api.with_key(&all, "POST", "/v1/leases/heartbeat", &beat).await.json()["ok"], json!([other["id"]]));
    finish(api).await;
}

/// A claim that also met one that has expired, and cannot say so: nothing of it stays leased to nobody.
#[tokio::test]
async fn what_cannot_be_given_is_handed_back() {
    let api = Api::start().await;
    let refuse = "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$;
         create trigger refuse before insert on longshore.finished for each row when (new.state = 'cancelled') execute function refuse()";
    api.sql.batch_execute(refuse).await.expect("no job can expire");
    let expired = api.enqueue(r#"{"kind":"k","expires_in":"1ms"}"#).await;
    let good = api.enqueue(r#"{"kind":"k"}"#).await;
    let passed = format!("longshore.job_data where id = {expired} and expires_at < now()");
    eventually("it has expired", SOON, async || if api.count(&passed).await == 1 { Ok(()) } else { Err(()) }).await;
    assert_eq!(api.post("/v1/leases", r#"{"limit":2,"lease_for":"1h"}"#).await.status, 500, "its report was refused");
    assert_eq!(api.count("longshore.running").await, 0, "an hour is long");
    api.sql.batch_execute("drop trigger refuse on longshore.finished").await.expect("jobs expire again");
    let jobs = lease(&api, json!({"limit": 2})).await;
    assert_eq!(jobs.iter().map(|job| &job["id"]).collect::<Vec<_>>(), [&json!(good)]);
    finish(api).await;
}

/// Two hundred wait, two hundred jobs come: each gets its own, and at once, however slow the poll is.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_woken() {
    let api = Api::start_with(&[("LONGSHORE_API__TIMEOUT", "30s"), ("LONGSHORE_WORKER__POLL", "1m")]).await;
    let address = api.address;
    let mut waiters = tokio::task::JoinSet::new();
    for n in 0..200 {
        waiters.spawn(async move {
            let body = json!({"limit": 1, "wait": "60s", "worker": format!("w{n}")}).to_string();
            let answer = crate::support::http::request(address, "POST", "/v1/leases", &[("content-type", "application/json")], body.as_bytes()).await;
            answer.json()["jobs"][0]["id"].as_i64()
        });
    }
    eventually("all are there", SOON, async || match api.count("longshore.workers where pulls").await {
        200 => Ok(()),
        n => Err(n),
    })
    .await;
    let began = Instant::now();
    let jobs: Vec<Value> = (0..200).map(|n| json!({"kind": "k", "args": n})).collect();
    call(&api, "/v1/jobs/batch", json!({"jobs": jobs}), 201).await;
    let mut ids: Vec<i64> = Vec::new();
    while let Some(id) = waiters.join_next().await {
        ids.extend(id.expect("no panic"));
    }
    assert!(began.elapsed() < Duration::from_secs(30), "long before the poll, which is once a minute");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    finish(api).await;
}

/// Whoever hangs up while its claim is under way leaves nothing leased to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_gets_nothing() {
    let api = Api::start().await;
    let mut connection = Connection::open(api.address).await;
    let body = br#"{"wait":"60s"}"#;
    let headers = [("content-type", "application/json"), ("content-length", "14")];
    connection.send_head("POST", "/v1/leases", &headers).await.expect("sent");
    connection.send(body).await.expect("sent");
    eventually("it waits", SOON, async || match api.count("longshore.workers where pulls").await {
        1 => Ok(()),
        n => Err(n),
    })
    .await;
    drop(connection);
    let id = api.enqueue(r#"{"kind":"k"}"#).await;
    let got = eventually("the next one gets it", SOON, async || {
        let jobs = lease(&api, json!({"worker": "next"})).await;
        jobs.first().map(|job| job["id"].clone()).ok_or(())
    })
    .await;
    assert_eq!(got, json!(id));
    finish(api).await;
}

#[tokio::test]
async fn a_cancel_is_told_by_the_next_heartbeat() {
    let api = Api::start().await;
    let id = api.enqueue(r#"{"kind":"k"}"#).await;
    let token = lease(&api, json!({})).await[0]["lease"].clone();
    assert_eq!(api.request("POST", &format!("/v1/jobs/{id}/cancel"), &[], b"").await.status, 202);
    let beat = json!({"leases": [{"id": id, "lease": token}]});
    assert_eq!(call(&api, "/v1/leases/heartbeat", beat, 200).await, json!({"ok": [], "lost": [], "cancelled": [id]}));
    let job = call(&api, &format!("/v1/jobs/{id}/fail"), json!({"lease": token, "error": "stopped"}), 200).await;
    assert_eq!(job["state"], "cancelled");
    finish(api).await;
}

/// From the second loss on a job goes alone; the third one fails it, and its neighbours are unharmed.
#[tokio::test]
async fn a_suspect_goes_alone() {
    let api = Api::start().await;
    let retry = json!({"backoff": "fixed", "base": 0, "jitter": 0});
    let poison = api.enqueue(json!({"kind": "k", "retry": retry}).to_string()).await;
    let lose = async || {
        api.sql.execute("update longshore.running set lease_until = now() - interval '1 s'", &[]).await.expect("aged");
        api.store.rescue_leases(100).await.expect("rescued");
    };
    for _ in 0..2 {
        assert_eq!(lease(&api, json!({})).await.len(), 1);
        lose().await;
        eventually("it is available again", SOON, async || match api.count("longshore.ready").await {
            1 => Ok(()),
            n => Err(n),
        })
        .await;
    }
    let before = api.enqueue(r#"{"kind":"k","priority":-1}"#).await;
    let after = api.enqueue(r#"{"kind":"k","priority":1}"#).await;
    let mut answers: Vec<Vec<i64>> = Vec::new();
    while answers.iter().flatten().count() < 3 {
        answers.push(lease(&api, json!({})).await.iter().map(|job| job["id"].as_i64().expect("an id")).collect());
    }
    assert!(answers.contains(&vec![poison]), "{answers:?}");
    assert!(answers.iter().flatten().all(|id| [before, poison, after].contains(id)), "each once: {answers:?}");
    api.sql.execute("update longshore.running set lease_until = now() - interval '1 s' where id = $1", &[&poison]).await.expect("aged");
    api.store.rescue_leases(100).await.expect("rescued");
    let job = api.read(&format!("/v1/jobs/{poison}")).await;
    assert_eq!((&job["state"], &job["error"]), (&json!("failed"), &json!("its worker died 3 times")));
    let outcomes: Vec<&str> = job["history"].as_array().expect("history").iter().map(|attempt| attempt["outcome"].as_str().expect("a word")).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == "lost").count(), 3, "{outcomes:?}");
    finish(api).await;
}
