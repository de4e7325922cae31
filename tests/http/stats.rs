//! `GET /v1/stats`: real jobs go through, and the figures are those of them.

use std::{collections::BTreeSet, time::Duration};

use longshore_common::{key::Scope, outcome::Outcome, store::claim::Lease};
use serde_json::{Value, json};

use crate::{
    api::{Api, SOON, create_key},
    support::{eventually::eventually, http},
};

async fn enqueue(api: &Api, queue: &str, kind: &str, jobs: usize) {
    let jobs: Vec<Value> = (0..jobs).map(|_| json!({"kind": kind, "queue": queue, "max_attempts": 2})).collect();
    assert_eq!(api.post("/v1/jobs/batch", json!({"jobs": jobs}).to_string()).await.status, 201);
}

async fn report(api: &Api, leases: &[Lease], outcome: impl Fn(usize) -> Outcome) {
    let reports: Vec<_> = leases.iter().enumerate().map(|(index, lease)| (*lease, outcome(index))).collect();
    assert_eq!(api.store.report(&reports).await.expect("report").states.len(), reports.len());
}

/// Figures that were counted after this call: those of the second before are given again.
async fn fresh(api: &Api, holds: impl Fn(&Value) -> bool) -> Value {
    eventually("the figures are these", SOON, async || {
        let stats = api.read("/v1/stats").await;
        if holds(&stats) { Ok(stats) } else { Err(stats.to_string()) }
    })
    .await
}

fn queue<'a>(stats: &'a Value, name: &str) -> &'a Value {
    stats["queues"].as_array().expect("a list").iter().find(|queue| queue["name"] == name).unwrap_or_else(|| panic!("no {name} in {stats}"))
}

fn a_minute(jobs: u32) -> Value {
    json!(f64::from(jobs) / 60.0)
}

fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap_or_else(|| panic!("is {found}, expected {expected}"));
    assert!((found - expected).abs() < 1e-6, "is {found}, expected {expected}");
}

#[tokio::test]
async fn nothing_known_is_null() {
    let api = Api::start().await;
    let stats = api.read("/v1/stats").await;
    let none = json!({"p50": null, "p95": null, "p99": null});
    let rates = json!({"enqueued": 0.0, "started": 0.0, "succeeded": 0.0, "failed": 0.0, "cancelled": 0.0, "retried": 0.0});
    let counts = json!({"scheduled": 0, "available": 0, "running": 0, "retryable": 0, "blocked": 0, "succeeded": 0, "failed": 0, "cancelled": 0});
    assert_eq!(
        stats["totals"],
        json!({"counts": counts, "estimated": false, "oldest_available_age": null, "workers": 0, "rates": rates, "latency": {"wait": none, "run": none}})
    );
    assert_eq!(stats["queues"], json!([]));
    assert!(stats["at"].is_string());
    api.finish().await;
}

#[tokio::test]
async fn figures_are_those_of_the_jobs() {
    let api = Api::start().await;
    let worker = api.worker("w", &["a=50"]).await;
    api.worker("other", &["b=1", "c=1"]).await;
    enqueue(&api, "a", "x", 12).await;
    enqueue(&api, "a", "y", 6).await;
    enqueue(&api, "b", "x", 3).await;
    assert_eq!(api.post("/v1/queues/b/pause", "").await.status, 200);
    // of 18: five succeed, five fail for good, five are tried again, two run on, one waits
    let claimed: Vec<Lease> = api.claim(worker, "a", 17).await.jobs.iter().map(|job| job.lease).collect();
    let (ended, running) = claimed.split_at(15);
    report(&api, ended, |index| match index % 3 {
        0 => Outcome::Succeeded { result: None },
        1 => Outcome::Discarded { error: "no".to_owned() },
        _ => Outcome::Failed { error: "not yet".to_owned(), retry_in: Some(Duration::from_hours(1)) },
    })
    .await;
    let waiting = api.read("/v1/jobs?queue=a&state=available").await["items"][0]["id"].as_i64().expect("one waits");
    assert_eq!(api.post(&format!("/v1/jobs/{waiting}/cancel"), "").await.status, 200);
    // what was longer ago than a minute counts in no rate
    enqueue(&api, "old", "x", 4).await;
    let old: Vec<Lease> = api.claim(worker, "old", 3).await.jobs.iter().map(|job| job.lease).collect();
    report(&api, &old, |_| Outcome::Succeeded { result: None }).await;
    let age = "update longshore.finished f set started_at = f.started_at - interval '2 min', finished_at = f.finished_at - interval '2 min'
                 from longshore.jobs j where j.id = f.id and j.queue = 'old'";
    assert_eq!(api.sql.execute(age, &[]).await.expect("age"), 3);
    // each run took 2 s and began 3 s after it was due
    api.sql
        .batch_execute(
            "update longshore.finished set started_at = finished_at - interval '2 s' where started_at is not null;
             update longshore.job_data j set run_at = f.started_at - interval '3 s' from longshore.finished f where f.id = j.id and f.started_at is not null",
        )
        .await
        .expect("age");

    let stats = fresh(&api, |stats| stats["totals"]["counts"]["cancelled"] == 1 && queue(stats, "old")["counts"]["succeeded"] == 3).await;
    let a = queue(&stats, "a");
    let counts = json!({"scheduled": 0, "available": 0, "running": running.len(), "retryable": 5, "blocked": 0, "succeeded": 5, "failed": 5, "cancelled": 1});
    assert_eq!((&a["counts"], &a["paused"], &a["estimated"], &a["oldest_available_age"]), (&counts, &json!(false), &json!(false), &Value::Null));
    let rates = json!({"enqueued": a_minute(18), "started": a_minute(17), "succeeded": a_minute(5), "failed": a_minute(5), "cancelled": a_minute(1), "retried": a_minute(5)});
    for (name, rate) in rates.as_object().expect("an object") {
        near(&a["rates"][name], rate.as_f64().expect("a number"));
    }
    for part in ["p50", "p95", "p99"] {
        near(&a["latency"]["wait"][part], 3.0);
        near(&a["latency"]["run"][part], 2.0);
    }
    assert_eq!(a["workers"], 1);
    let b = queue(&stats, "b");
    assert_eq!((&b["paused"], &b["counts"]["available"], &b["workers"]), (&json!(true), &json!(3), &json!(1)));
    assert!(b["oldest_available_age"].as_f64().is_some_and(|age| (0.0..60.0).contains(&age)), "{b}");
    near(&b["rates"]["enqueued"], 3.0 / 60.0);
    assert_eq!((&b["rates"]["started"], &b["latency"]["wait"]["p50"]), (&json!(0.0), &Value::Null));
    let old = queue(&stats, "old");
    near(&old["rates"]["enqueued"], 4.0 / 60.0);
    assert_eq!((&old["rates"]["succeeded"], &old["rates"]["started"], &old["latency"]["run"]["p99"]), (&json!(0.0), &json!(0.0), &Value::Null));
    let totals = &stats["totals"];
    near(&totals["rates"]["enqueued"], 25.0 / 60.0);
    near(&totals["latency"]["run"]["p50"], 2.0);
    assert_eq!((&totals["workers"], &totals["counts"]["available"], &totals["counts"]["succeeded"]), (&json!(2), &json!(4), &json!(8)));
    assert_eq!(totals["oldest_available_age"], b["oldest_available_age"], "it was there before the one that is called old");
    api.sql
        .batch_execute("update longshore.job_data j set run_at = coalesce((select r.run_at from longshore.ready r where r.id = j.id), j.run_at)")
        .await
        .expect("as it was");
    api.finish().await;
}

#[tokio::test]
async fn a_rate_above_what_is_read_is_of_the_newest() {
    let api = Api::start().await;
    enqueue(&api, "a", "x", 1).await;
    // 12,000 a queue within 30 s, evenly: 400 a second; a quarter of them has finished within the last 10 s
    let fill = "with n as (insert into longshore.job_data (created_at, run_at, lane, priority, max_attempts, args)
                  select now() - interval '30 s' * (1 - i / 12000.0), now() - interval '30 s' * (1 - i / 12000.0), (select lane from longshore.lanes), 0, 1, '{}'
                    from generate_series(1, 12000) i returning id, lane, run_at),
                d as (insert into longshore.finished (id, lane, state, attempt, finished_at, started_at, lease)
                  select id, lane, 'succeeded', 1, now() - interval '10 s' * (1 - row_number() over (order by id) / 12000.0), run_at, id from n returning lane)
                insert into longshore.tally (lane, state, n) select lane, 'succeeded', count(*) from d group by lane";
    api.sql.batch_execute(fill).await.expect("fill");
    let stats = fresh(&api, |stats| stats["totals"]["counts"]["succeeded"] == 12_000).await;
    let within = |name: &str, least: f64, most: f64| {
        let rate = stats["totals"]["rates"][name].as_f64().expect("a number");
        assert!((least..=most).contains(&rate), "{name} {rate}");
    };
    // 5,000 of 12,000 took 12.5 s and 4.2 s; what passed since then is in it too, and the machine may be slow
    within("enqueued", 100.0, 400.0);
    within("succeeded", 200.0, 1200.0);
    api.finish().await;
}

#[tokio::test]
async fn a_limited_key_sees_the_figures_of_its_queues() {
    let (api, key) = Api::start_after(&[("LONGSHORE_API__TIMEOUT", "30s")], async |store| {
        (create_key(store, "all", &[Scope::Read, Scope::Enqueue], &[]).await, create_key(store, "some", &[Scope::Read], &["a", "c"]).await)
    })
    .await;
    for (name, jobs) in [("a", 2), ("b", 5)] {
        let body = json!({"jobs": vec![json!({"kind": "x", "queue": name}); jobs]}).to_string();
        assert_eq!(api.with_key(&key.0, "POST", "/v1/jobs/batch", &body).await.status, 201);
    }
    api.worker("of a", &["a=1"]).await;
    api.worker("of b", &["b=1"]).await;
    let counts = eventually("the figures are there", SOON, async || {
        let stats = api.with_key(&key.0, "GET", "/v1/stats", "").await.json();
        if stats["totals"]["counts"]["available"] == 7 && stats["totals"]["workers"] == 2 { Ok(stats) } else { Err(stats.to_string()) }
    })
    .await;
    assert_eq!(counts["queues"].as_array().map(Vec::len), Some(2));
    let own = api.with_key(&key.1, "GET", "/v1/stats", "").await;
    let text = own.text();
    let own = own.json();
    assert_eq!(own["queues"].as_array().expect("a list").iter().map(|q| q["name"].as_str().expect("a name")).collect::<Vec<_>>(), ["a"]);
    assert_eq!((&own["totals"]["counts"]["available"], &own["totals"]["workers"]), (&json!(2), &json!(1)), "{text}");
    near(&own["totals"]["rates"]["enqueued"], 2.0 / 60.0);
    api.finish().await;
}

#[tokio::test]
async fn a_hundred_dashboards_cost_what_one_does() {
    let api = Api::start().await;
    enqueue(&api, "a", "x", 3).await;
    let began = std::time::Instant::now();
    let mut times = BTreeSet::new();
    for _ in 0..5 {
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let address = api.address;
            asking.spawn(async move { http::request(address, "GET", "/v1/stats", &[], b"").await });
        }
        for answer in asking.join_all().await {
            assert_eq!(answer.status, 200, "{}", answer.text());
            times.insert(answer.json()["at"].as_str().expect("a time").to_owned());
        }
    }
    let most = usize::try_from(began.elapsed().as_secs()).expect("few") + 1;
    assert!((1..=most).contains(&times.len()), "a hundred answers are of {} times, it must be {most} at most", times.len());
    // and they do not stay as they are
    let first = times.pop_first().expect("one");
    fresh(&api, |stats| stats["at"].as_str().is_some_and(|at| at > &first[..])).await;
    api.finish().await;
}
