//! `GET /metrics`: what Prometheus reads of the API.

use std::collections::BTreeMap;

use longshore_common::key::Scope;
use serde_json::json;

use crate::{
    api::{Api, SOON, create_key},
    support::eventually::eventually,
};

/// Each sample of the text with its value. Panics where the text is not Prometheus' format.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut described = std::collections::BTreeSet::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(described.insert(rest.split(' ').next().expect("a name").to_owned()), "{rest} twice");
        } else if !line.starts_with('#') {
            let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            let name = sample.split('{').next().expect("a name");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).filter(|name| described.contains(*name)).unwrap_or(name);
            assert!(described.contains(family), "{line} has no TYPE");
            assert!(samples.insert(sample.to_owned(), value.parse().unwrap_or_else(|error| panic!("{line}: {error}"))).is_none(), "{line} twice");
        }
    }
    samples
}

async fn read(api: &Api) -> BTreeMap<String, f64> {
    let answer = api.get("/metrics").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; version=0.0.4")));
    samples(&answer.text())
}

/// Figures are at most a second old: those that are `expected` come.
async fn come(api: &Api, expected: &[(&str, f64)]) -> BTreeMap<String, f64> {
    eventually("the figures are these", SOON, async || {
        let samples = read(api).await;
        let differs = expected.iter().find(|(name, value)| samples.get(*name).is_none_or(|found| (found - value).abs() > 1e-9));
        differs.map_or(Ok(samples.clone()), |(name, value)| Err(format!("{name} is {:?}, expected {value}", samples.get(*name))))
    })
    .await
}

#[tokio::test]
async fn requests_are_counted_by_route() {
    let api = Api::start().await;
    let id = api.post("/v1/jobs", r#"{"kind":"echo"}"#).await.json()["id"].as_i64().expect("an id");
    for _ in 0..3 {
        assert_eq!(api.get(&format!("/v1/jobs/{id}")).await.status, 200);
    }
    assert_eq!(api.get(&format!("/v1/jobs/{}", id + 1)).await.status, 404);
    assert_eq!(api.get(&format!("/v1/jobs/{id}?wait=1ms")).await.status, 200);
    assert_eq!(api.get("/v1/made/up").await.status, 404);
    assert_eq!(api.request("DELETE", "/v1/stats", &[], b"").await.status, 405);
    let samples = read(&api).await;
    let requests = |method, path, status| samples.get(&format!("longshore_api_requests_total{{method=\"{method}\",path=\"{path}\",status=\"{status}\"}}"));
    assert_eq!(requests("GET", "/v1/jobs/{id}", 200), Some(&4.0));
    assert_eq!(requests("GET", "/v1/jobs/{id}", 404), Some(&1.0));
    assert_eq!(requests("POST", "/v1/jobs", 201), Some(&1.0));
    assert_eq!(requests("GET", "(other)", 404), Some(&1.0));
    assert_eq!(requests("DELETE", "/v1/stats", 405), Some(&1.0));
    let timed = samples["longshore_api_request_seconds_count{method=\"GET\",path=\"/v1/jobs/{id}\"}"];
    assert!((timed - 4.0).abs() < 1e-9, "who asks to wait is not timed: {timed}");
    assert!((samples["longshore_database_up"] - 1.0).abs() < 1e-9);
    api.finish().await;
}

#[tokio::test]
async fn queues_are_told_and_bounded() {
    let api = Api::start().await;
    let jobs: Vec<_> = (0..205).map(|n| json!({"kind": "nobody", "queue": format!("q{n}"), "delay": if n == 0 { 0 } else { 3600 }})).collect();
    assert_eq!(api.post("/v1/jobs/batch", json!({"jobs": jobs}).to_string()).await.status, 201);
    assert_eq!(api.post("/v1/jobs/batch", json!({"jobs": vec![json!({"kind": "nobody", "queue": "big"}); 3]}).to_string()).await.status, 201);
    assert_eq!(api.post("/v1/queues/big/pause", "").await.status, 200);
    let samples = come(
        &api,
        &[
            ("longshore_jobs{queue=\"big\",state=\"available\"}", 3.0),
            ("longshore_queue_paused{queue=\"big\"}", 1.0),
            ("longshore_queue_paused{queue=\"q0\"}", 0.0),
            ("longshore_jobs_without_handler{kind=\"nobody\",queue=\"big\"}", 3.0),
            ("longshore_jobs_per_second{event=\"enqueued\",queue=\"big\"}", 3.0 / 60.0),
            ("longshore_jobs{queue=\"(other)\",state=\"scheduled\"}", 6.0),
        ],
    )
    .await;
    let told = samples.keys().filter(|name| name.starts_with("longshore_queue_paused")).count();
    assert_eq!(told, 201, "206 queues: 200, and the others together");
    assert!(samples["longshore_oldest_available_age_seconds{queue=\"big\"}"] > 0.0);
    // of what waits for a later time nobody needs a handler yet
    assert_eq!(samples.keys().filter(|name| name.starts_with("longshore_jobs_without_handler")).count(), 2);
    api.finish().await;
}

#[tokio::test]
async fn a_key_reads_of_its_queues() {
    let (api, keys) = Api::start_after(&[], async |store| {
        [
            create_key(store, "all", &[Scope::Read], &[]).await,
            create_key(store, "a", &[Scope::Read], &["a"]).await,
            create_key(store, "e", &[Scope::Enqueue], &[]).await,
        ]
    })
    .await;
    for queue in ["a", "b"] {
        let body = json!({"kind": "k", "queue": queue}).to_string();
        assert_eq!(api.with_key(&keys[2], "POST", "/v1/jobs", &body).await.status, 201);
    }
    let of = async |key: &str| api.with_key(key, "GET", "/metrics", "").await;
    eventually("both queues are told to who may read both", SOON, async || {
        let text = of(&keys[0]).await.text();
        if text.contains("queue=\"a\"") && text.contains("queue=\"b\"") { Ok(()) } else { Err(text) }
    })
    .await;
    let text = of(&keys[1]).await.text();
    assert!(text.contains("longshore_jobs_without_handler{kind=\"k\",queue=\"a\"} 1") && !text.contains("queue=\"b\""), "{text}");
    assert_eq!(of(&keys[2]).await.status, 403);
    assert_eq!(api.get("/metrics").await.status, 401);
    api.finish().await;
}
