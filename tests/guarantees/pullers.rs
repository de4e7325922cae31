//! Users' own workers, over HTTP: one that is gone loses its jobs when their leases end, whatever is restarted meanwhile.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    support::eventually::eventually,
    system::{SOON, System, count, post, start_api},
};

async fn lease(system: &System, worker: &str) -> Vec<Value> {
    let answer = post(system.address, "/v1/leases", &json!({"worker": worker, "limit": 100, "lease_for": "5s", "wait": "1s"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["jobs"].as_array().expect("jobs").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_puller_held_comes_back() {
    let mut system = System::start().await;
    let retry = json!({"backoff": "fixed", "base": 0, "jitter": 0});
    for n in 0..20 {
        system.enqueue(&json!({"kind": "k", "args": n, "retry": retry})).await;
    }
    let dead = lease(&system, "dead").await;
    assert_eq!(dead.len(), 20);
    // the API that gave them goes, too; another one gives them back
    system.api.kill();
    let (api, address) = start_api(system.database.url(), &[]).await;
    (system.api, system.address) = (api, address);
    system.api.wait_for_line("the schema is up to date", SOON).await;
    let mut done = 0;
    eventually("all are done by another", SOON, async || {
        let jobs = lease(&system, "alive").await;
        let reports: Vec<Value> =
            jobs.iter().map(|job| json!({"id": job["id"], "lease": job["lease"], "outcome": "complete", "result": job["args"]})).collect();
        if !reports.is_empty() {
            let answer = post(system.address, "/v1/leases/report", &json!({"reports": reports})).await.json();
            done += answer["ok"].as_array().expect("ids").len();
        }
        if done == 20 { Ok(()) } else { Err(done) }
    })
    .await;
    system.api.wait_for_line("the lease of this job ended and nobody had extended it", SOON).await;
    let late = post(system.address, &format!("/v1/jobs/{}/complete", dead[0]["id"]), &json!({"lease": dead[0]["lease"]})).await;
    assert_eq!(late.status, 409, "{}", late.text());
    assert_eq!(count(&system.sql, "longshore.jobs where state = 'succeeded' and attempt = 2 and result::text = args::text").await, 20);
    assert_eq!(count(&system.sql, "longshore.attempts where outcome = 'lost'").await, 20);
    system.assert_no_violations().await;
}

/// Whoever waits is shown to live, also after it was taken for dead.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_seen() {
    let system = System::start().await;
    let address = system.address;
    let waits = tokio::spawn(async move { post(address, "/v1/leases", &json!({"worker": "patient", "kinds": ["never"], "wait": "50s"})).await.status });
    let now = async || system.sql.query_one("select now()::text", &[]).await.expect("the time").get::<_, String>(0);
    let seen_after = async |time: &str| {
        eventually("it is shown to live", Duration::from_secs(40), async || {
            let n = system.count(&format!("longshore.workers where name = 'patient' and stopped_at is null and last_seen > '{time}'")).await;
            if n == 1 { Ok(()) } else { Err(n) }
        })
        .await;
    };
    seen_after("-infinity").await;
    seen_after(&now().await).await;
    system.sql.batch_execute("update longshore.workers set stopped_at = now() where name = 'patient'").await.expect("declared dead");
    seen_after(&now().await).await;
    assert!(!waits.is_finished());
    waits.abort();
}

/// Many pull at once, some of them forget what they have: each job is done, and once.
#[tokio::test(flavor = "multi_thread")]
async fn each_job_is_done_once_whoever_pulls() {
    let system = System::start().await;
    let retry = json!({"backoff": "fixed", "base": 0, "jitter": 0});
    let jobs: Vec<Value> = (0..2000).map(|n| json!({"kind": "k", "args": n, "retry": retry})).collect();
    assert_eq!(post(system.address, "/v1/jobs/batch", &json!({"jobs": jobs})).await.status, 201);
    let mut pullers = tokio::task::JoinSet::new();
    for n in 0..6 {
        let address = system.address;
        pullers.spawn(async move {
            let (mut done, mut round) = (Vec::new(), 0);
            loop {
                round += 1;
                let asked = json!({"worker": format!("p{n}"), "limit": 50, "lease_for": "5s", "wait": "8s"});
                let jobs = post(address, "/v1/leases", &asked).await.json()["jobs"].as_array().expect("jobs").clone();
                if jobs.is_empty() {
                    return done; // nothing for longer than any lease lasts
                }
                if n == 0 && round == 2 {
                    continue; // forgets them
                }
                let reports: Vec<Value> = jobs.iter().map(|job| json!({"id": job["id"], "lease": job["lease"], "outcome": "complete", "result": n})).collect();
                let answer = post(address, "/v1/leases/report", &json!({"reports": reports})).await.json();
                done.extend(answer["ok"].as_array().expect("ids").iter().filter_map(Value::as_i64));
            }
        });
    }
    let mut done: Vec<i64> = Vec::new();
    while let Some(by_one) = pullers.join_next().await {
        done.extend(by_one.expect("no panic"));
    }
    let times = done.len();
    done.sort_unstable();
    done.dedup();
    assert_eq!((times, done.len()), (2000, 2000));
    assert_eq!(system.count("longshore.jobs where state = 'succeeded'").await, 2000);
    assert_eq!(system.count("longshore.attempts where outcome = 'lost'").await, 50);
    system.assert_no_violations().await;
}
