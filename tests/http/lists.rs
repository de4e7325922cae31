//! `GET /v1/jobs`: filters, pages, and what is not a filter.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use longshore_common::{json::RawJson, outcome::Outcome};
use serde_json::{Value, json};

use crate::api::{Api, problem};

/// Sixty jobs in three queues, of four kinds; in queue q0 some have run.
async fn filled() -> Api {
    let api = Api::start().await;
    let worker = api.worker("w", &["*=50"]).await;
    let jobs: Vec<Value> = (0..60)
        .map(|n| {
            let mut job = json!({"kind": format!("k{}", n % 4), "queue": format!("q{}", n % 3), "tags": [format!("t{}", n % 5)],
                "args": {"n": n}, "meta": {"customer": n % 7, "name": format!("a b/{}", n % 2), "vip": n % 2 == 0, "deep": {"x": 1}}});
            if n % 10 == 0 {
                job["unique"] = json!({"key": format!("u {n}")});
                job["concurrency_key"] = json!(format!("c{}", n % 20));
            }
            if n % 12 == 11 {
                job["delay"] = json!("1h");
            }
            job
        })
        .collect();
    assert_eq!(api.post("/v1/jobs/batch", json!({"jobs": jobs}).to_string()).await.status, 201);
    for (index, job) in api.claim(worker, "q0", 12).await.jobs.iter().enumerate() {
        let outcome = match index % 4 {
            0 => continue,
            1 => Outcome::Succeeded { result: Some(RawJson::parse("{\"done\": 1.50}".to_owned()).expect("JSON")) },
            2 => Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::from_hours(1)) },
            _ => Outcome::Discarded { error: "never".to_owned() },
        };
        api.store.report(&[(job.lease, outcome)]).await.expect("report");
    }
    api
}

fn items(page: &Value) -> Vec<Value> {
    page["items"].as_array().expect("a list").clone()
}

fn ids(items: &[Value]) -> Vec<i64> {
    items.iter().map(|job| job["id"].as_i64().expect("an id")).collect()
}

/// Whether a job should be found.
type Holds<'a> = Box<dyn Fn(&Value) -> bool + 'a>;

#[tokio::test]
async fn filters() {
    let api = filled().await;
    let all = items(&api.read("/v1/jobs?limit=1000").await);
    assert_eq!(all.len(), 60);
    assert!(ids(&all).is_sorted_by(|a, b| a > b), "newest first");
    assert!(all.iter().all(|job| job.get("args").is_none() && job.get("result").is_none()), "not unless asked for");
    // as times, not as texts: a fraction is written without the zeroes at its end, and "08Z" sorts behind "08418Z"
    let time = |job: &Value, name: &str| job[name].as_str().map(|text| text.parse::<Timestamp>().expect("a time"));
    let middle = time(&all[30], "created_at").expect("has one");
    let finished: BTreeSet<Timestamp> = all.iter().filter_map(|job| time(job, "finished_at")).collect();
    let finished = *finished.iter().nth(1).expect("some have finished");
    let tagged = |job: &Value, tag: &str| job["tags"].as_array().is_some_and(|tags| tags.contains(&json!(tag)));
    let cases: Vec<(String, Holds<'_>)> = vec![
        ("state=available".into(), Box::new(|j| j["state"] == "available")),
        ("state=scheduled".into(), Box::new(|j| j["state"] == "scheduled")),
        ("state=running".into(), Box::new(|j| j["state"] == "running")),
        ("state=retryable".into(), Box::new(|j| j["state"] == "retryable")),
        ("state=succeeded".into(), Box::new(|j| j["state"] == "succeeded")),
        ("state=failed".into(), Box::new(|j| j["state"] == "failed")),
        ("state=failed&state=running&state=cancelled".into(), Box::new(|j| j["state"] == "failed" || j["state"] == "running")),
        ("queue=q1".into(), Box::new(|j| j["queue"] == "q1")),
        ("queue=q1&queue=q2&kind=k1".into(), Box::new(|j| j["queue"] != "q0" && j["kind"] == "k1")),
        ("kind=k1&kind=k2".into(), Box::new(|j| j["kind"] == "k1" || j["kind"] == "k2")),
        ("tag=t3".into(), Box::new(|j| tagged(j, "t3"))),
        ("tag=t3&tag=t1".into(), Box::new(|_| false)),
        ("tag=t3&state=available&queue=q1".into(), Box::new(|j| tagged(j, "t3") && j["state"] == "available" && j["queue"] == "q1")),
        ("unique_key=u%2030".into(), Box::new(|j| j["unique_key"] == "u 30")),
        ("unique_key=u+30".into(), Box::new(|j| j["unique_key"] == "u 30")),
        ("concurrency_key=c10".into(), Box::new(|j| j["concurrency_key"] == "c10")),
        ("meta.customer=3".into(), Box::new(|j| j["meta"]["customer"] == 3)),
        ("meta.customer=3&meta.vip=true".into(), Box::new(|j| j["meta"]["customer"] == 3 && j["meta"]["vip"] == true)),
        ("meta.name=a%20b%2F1".into(), Box::new(|j| j["meta"]["name"] == "a b/1")),
        ("meta.deep=1".into(), Box::new(|_| false)),
        (format!("created_after={middle}"), Box::new(|j| time(j, "created_at") >= Some(middle))),
        (format!("created_before={middle}"), Box::new(|j| time(j, "created_at") < Some(middle))),
        (format!("finished_after={finished}"), Box::new(|j| time(j, "finished_at") >= Some(finished))),
        (format!("finished_before={finished}"), Box::new(|j| time(j, "finished_at").is_some_and(|time| time < finished))),
        ("created_after=2001-01-01T00:00:00%2B01:00".into(), Box::new(|_| true)),
        ("queue=nothing".into(), Box::new(|_| false)),
        ("state=blocked".into(), Box::new(|_| false)),
        ("workflow_id=7".into(), Box::new(|_| false)),
        ("schedule=nightly".into(), Box::new(|_| false)),
        (String::new(), Box::new(|_| true)),
    ];
    let mut found = 0;
    for (query, holds) in &cases {
        let expected: Vec<Value> = all.iter().filter(|job| holds(job)).cloned().collect();
        let page = api.read(&format!("/v1/jobs?limit=1000&{query}")).await;
        assert_eq!((items(&page), &page["next_cursor"]), (expected.clone(), &Value::Null), "{query}");
        found += usize::from(!expected.is_empty());
    }
    assert!(found >= 20, "most filters find something: {found}");
    api.finish().await;
}

#[tokio::test]
async fn large_fields_only_when_asked_for() {
    let api = filled().await;
    let done = items(&api.read("/v1/jobs?state=succeeded&fields=args,result&limit=1").await).remove(0);
    assert_eq!((done["args"]["n"].is_number(), &done["result"]), (true, &json!({"done": 1.5})));
    let text = api.get("/v1/jobs?state=succeeded&fields=result&limit=1").await.text();
    assert!(text.contains("\"result\":{\"done\": 1.50},") && !text.contains("\"args\""), "{text}");
    for (query, args, result) in [("fields=args", true, false), ("fields=result", false, true), ("fields=result,%20args", true, true), ("", false, false)] {
        for job in items(&api.read(&format!("/v1/jobs?{query}")).await) {
            assert_eq!((job.get("args").is_some(), job.get("result").is_some()), (args, result), "{query}: {job}");
        }
    }
    // otherwise a list shows a job as a read does
    let shown = items(&api.read("/v1/jobs?fields=args,result&limit=1000").await);
    for job in shown.iter().step_by(7) {
        let mut read = api.read(&format!("/v1/jobs/{}", job["id"])).await;
        read.as_object_mut().expect("an object").remove("history");
        assert_eq!(*job, read);
    }
    api.finish().await;
}

#[tokio::test]
async fn pages() {
    let api = filled().await;
    let page = api.read("/v1/jobs").await;
    assert_eq!((items(&page).len(), page["next_cursor"].is_string()), (50, true), "50 where nothing is said");
    assert_eq!(items(&api.read("/v1/jobs?limit=1").await).len(), 1);
    let page = api.read("/v1/jobs?limit=60").await;
    assert_eq!((items(&page).len(), &page["next_cursor"]), (60, &Value::Null), "no cursor where there is no more");
    let before: BTreeSet<i64> = ids(&items(&api.read("/v1/jobs?limit=1000").await)).into_iter().collect();
    // every job that was there is met once, while others come
    for (query, limit) in [("", 7), ("state=available&", 3), ("kind=k1&kind=k2&", 4), ("tag=t1&", 5), ("queue=q1&", 1)] {
        let expected = ids(&items(&api.read(&format!("/v1/jobs?limit=1000&{query}")).await));
        let (mut met, mut path) = (Vec::new(), format!("/v1/jobs?{query}limit={limit}"));
        loop {
            let page = api.read(&path).await;
            met.extend(ids(&items(&page)));
            api.enqueue(r#"{"kind":"k1","queue":"q1","tags":["t1"]}"#).await;
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            assert_eq!(items(&page).len(), limit, "a page that has a next one is full");
            assert!(cursor.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "needs no escaping: {cursor}");
            path = format!("/v1/jobs?{query}limit={limit}&cursor={cursor}");
        }
        assert_eq!(met, expected, "{query}");
    }
    let after: BTreeSet<i64> = ids(&items(&api.read("/v1/jobs?limit=1000").await)).into_iter().collect();
    assert!(after.len() > 100 && after.is_superset(&before));
    api.finish().await;
}

#[tokio::test]
async fn what_is_not_a_filter() {
    let api = Api::start().await;
    let cursor = |text: &str| format!("cursor={}", base64(text));
    for (query, pointers) in [
        ("limit=0", &["/limit"][..]),
        ("limit=1001", &["/limit"]),
        ("limit=-1", &["/limit"]),
        ("limit=", &["/limit"]),
        ("limit=ten", &["/limit"]),
        ("limit=1.5", &["/limit"]),
        ("limit=99999999999999999999", &["/limit"]),
        ("limit=1&limit=1", &["/limit"]),
        ("cursor=", &["/cursor"]),
        ("cursor=42", &["/cursor"]),
        ("cursor=%00", &["/cursor"]),
        ("cursor=!", &["/cursor"]),
        (&cursor("2:jobs:1"), &["/cursor"]),
        (&cursor("1:jobs:-1"), &["/cursor"]),
        (&cursor("1:queues:1"), &["/cursor"]),
        ("state=done", &["/state"]),
        ("state=", &["/state"]),
        ("state=failed&state=Failed", &["/state"]),
        ("queue=a%20b", &["/queue"]),
        ("kind=", &["/kind"]),
        ("tag=", &["/tag"]),
        ("tag=a%00b", &["/tag"]),
        ("unique_key=", &["/unique_key"]),
        ("unique_key=a&unique_key=b", &["/unique_key"]),
        ("concurrency_key=%00", &["/concurrency_key"]),
        ("workflow_id=x", &["/workflow_id"]),
        ("workflow_id=0", &["/workflow_id"]),
        ("schedule=", &["/schedule"]),
        ("meta.=1", &["/meta."]),
        ("meta=1", &["/meta"]),
        ("meta.a=%00", &["/meta.a"]),
        ("created_after=today", &["/created_after"]),
        ("created_after=2030-01-31T12:00:00+01:00", &["/created_after"]),
        ("created_before=2030-01-31", &["/created_before"]),
        ("finished_after=1900000000", &["/finished_after"]),
        ("finished_before=", &["/finished_before"]),
        ("fields=meta", &["/fields"]),
        ("fields=", &["/fields"]),
        ("fields=args,", &["/fields"]),
        ("colour=red", &["/colour"]),
        ("State=failed", &["/State"]),
        ("a/b=1", &["/a~1b"]),
        ("limt=5&state=done&queue=%20", &["/limt", "/state", "/queue"]),
    ] {
        let said = problem(&api.get(&format!("/v1/jobs?{query}")).await, 422, pointers, query);
        assert!(said["errors"][0]["detail"].as_str().is_some_and(|detail| detail.starts_with("query parameter: ")), "{said}");
    }
    // what is odd, and yet means something
    for query in [
        "",
        "limit=1000",
        "limit=1",
        "meta.a%3Db=1",
        "tag=%F0%9F%98%80",
        "tag=%ff",
        "created_after=9999-12-30T00:00:00Z",
        "created_before=-009999-01-02T01:59:59Z",
        "finished_after=-004714-01-01T00:00:00Z",
        "&&",
        &cursor("1:jobs:0"),
    ] {
        assert_eq!(api.read(&format!("/v1/jobs?{query}")).await, json!({"items": [], "next_cursor": null}), "{query}");
    }
    api.finish().await;
}

/// As in a URL, without padding.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = text.as_bytes().chunks(3).flat_map(|three| {
        let bits = three.iter().enumerate().fold(0_usize, |bits, (place, byte)| bits | usize::from(*byte) << (16 - 8 * place));
        (0..=three.len()).map(move |place| char::from(DIGITS[bits >> (18 - 6 * place) & 63]))
    });
    digits.collect()
}
