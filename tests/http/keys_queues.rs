//! API keys that are limited to queues: what lies beyond is not there, and is not touched.

use longshore_common::key::Scope;
use serde_json::{Value, json};

use crate::{
    api::{Api, SOON, create_key, problem},
    support::eventually::eventually,
};

/// An API with a key for everything and one that is limited to the queues `a` and `b`.
async fn limited() -> (Api, String, String) {
    let (api, (all, some)) = Api::start_after(&[], async |store| {
        let all = create_key(store, "all", &[Scope::Admin], &[]).await;
        (all, create_key(store, "some", &[Scope::Enqueue, Scope::Read], &["a", "b"]).await)
    })
    .await;
    (api, all, some)
}

/// Enqueues one job and returns its id.
async fn enqueue(api: &Api, key: &str, job: &Value) -> i64 {
    let answer = api.with_key(key, "POST", "/v1/jobs", &job.to_string()).await;
    assert_eq!(answer.status, 201, "{job}: {}", answer.text());
    answer.json()["id"].as_i64().expect("an id")
}

#[tokio::test]
async fn enqueuing() {
    let (api, _, some) = limited().await;
    enqueue(&api, &some, &json!({"kind": "k", "queue": "a"})).await;
    let before = api.tables().await;
    for queue in ["c", "A", "default", "a.b", "aa"] {
        let job = json!({"kind": "new", "queue": queue});
        let said = problem(&api.with_key(&some, "POST", "/v1/jobs", &job.to_string()).await, 403, &["/queue"], queue)["detail"].to_string();
        assert!(said.contains(&format!(r#"\"{queue}\""#)) && said.contains(&format!("--scope enqueue --queue {queue}")), "{said}");
        let batch = json!({"jobs": [{"kind": "k", "queue": "a"}, {"kind": "k", "queue": "b"}, job, {"kind": "k", "queue": "d"}]});
        problem(&api.with_key(&some, "POST", "/v1/jobs/batch", &batch.to_string()).await, 403, &["/jobs/2/queue"], "the first at fault");
    }
    problem(&api.with_key(&some, "POST", "/v1/jobs", r#"{"kind":"k"}"#).await, 403, &["/queue"], "the default queue is a queue");
    let last = format!(r#"{{"jobs":[{}{{"kind":"k","queue":"c"}}]}}"#, r#"{"kind":"k","queue":"a"},"#.repeat(2500));
    problem(&api.with_key(&some, "POST", "/v1/jobs/batch", &last).await, 403, &["/jobs/2500/queue"], "the whole batch is looked at first");
    problem(&api.with_key(&some, "POST", "/v1/jobs", r#"{"queue":"c"}"#).await, 422, &["/kind"], "faults of the job itself come first");
    assert_eq!(api.tables().await, before, "no job, no queue, no lane");
    let batch = json!({"jobs": [{"kind": "k", "queue": "b"}, {"kind": "k", "queue": "a"}]});
    assert_eq!(api.with_key(&some, "POST", "/v1/jobs/batch", &batch.to_string()).await.status, 201);
    api.finish().await;
}

#[tokio::test]
async fn reading() {
    let (api, all, some) = limited().await;
    let mut ids = Vec::new();
    for queue in ["a", "b", "c", "a", "c"] {
        ids.push(enqueue(&api, &all, &json!({"kind": "k", "queue": queue, "tags": ["t"], "meta": {"m": 1}, "concurrency_key": "x"})).await);
    }
    let unique = json!({"kind": "k", "queue": "c", "unique": {"key": "u"}});
    enqueue(&api, &all, &unique).await;
    let get = async |key: &str, path: &str| api.with_key(key, "GET", path, "").await;
    let listed = async |key: &str, query: &str| {
        let answer = get(key, &format!("/v1/jobs{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let list = answer.json();
        let queues = list["items"].as_array().expect("a list").iter().map(|job| job["queue"].as_str().expect("a queue").to_owned());
        queues.collect::<String>()
    };
    for query in ["", "?tag=t", "?meta.m=1", "?concurrency_key=x", "?state=available", "?kind=k", "?queue=a&queue=b", "?created_after=2000-01-01T00:00:00Z"] {
        assert_eq!(listed(&some, query).await, "aba", "{query}");
    }
    assert_eq!(
        (listed(&some, "?queue=b").await, listed(&some, "?unique_key=u").await, listed(&all, "?unique_key=u").await),
        ("b".into(), String::new(), "c".into())
    );
    assert_eq!(listed(&all, "").await, "ccacba");
    // page by page, too
    let first = get(&some, "/v1/jobs?limit=1").await.json();
    let rest = listed(&some, &format!("?cursor={}", first["next_cursor"].as_str().expect("there is more"))).await;
    assert_eq!((first["items"][0]["queue"].as_str(), rest.as_str()), (Some("a"), "ba"));
    for query in ["?queue=c", "?queue=a&queue=c", "?queue=nothing"] {
        let said = problem(&get(&some, &format!("/v1/jobs{query}")).await, 403, &["/queue"], query);
        assert!(said["detail"].as_str().is_some_and(|detail| detail.contains("--scope read --queue")), "{said}");
    }
    // one that is beyond and one that is not there are told alike
    for (id, queue) in ids.iter().zip(["a", "b", "c", "a", "c"]) {
        let (path, answer) = (format!("/v1/jobs/{id}"), get(&some, &format!("/v1/jobs/{id}")).await);
        if queue == "c" {
            let nothing = get(&some, "/v1/jobs/999999").await;
            assert_eq!(answer.text(), nothing.text().replace("999999", &id.to_string()), "{path}");
            problem(&answer, 404, &[], &path);
        } else {
            assert_eq!(answer.status, 200, "{path}");
        }
    }
    let names = |answer: Value| answer["items"].as_array().expect("a list").iter().map(|queue| queue["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(get(&some, "/v1/queues").await.json()), ["a", "b"]);
    assert_eq!(names(get(&all, "/v1/queues").await.json()), ["a", "b", "c"]);
    assert_eq!(get(&some, "/v1/queues/a").await.status, 200);
    let (beyond, nothing) = (get(&some, "/v1/queues/c").await, get(&some, "/v1/queues/nothing").await);
    assert_eq!((beyond.status, beyond.text().replace("queue c", "queue nothing")), (404, nothing.text()));
    assert_eq!(get(&some, "/v1/workers").await.status, 200);
    api.finish().await;
}

#[tokio::test]
async fn unique_keys_of_other_queues() {
    let (api, all, some) = limited().await;
    let unique = |queue: &str, key: &str, on_conflict: &str| json!({"kind": "k", "queue": queue, "args": {"by": queue}, "unique": {"key": key, "on_conflict": on_conflict}});
    let theirs = enqueue(&api, &all, &unique("c", "theirs", "return")).await;
    let ours = enqueue(&api, &some, &unique("a", "ours", "return")).await;
    enqueue(&api, &some, &json!({"kind": "k", "queue": "b"})).await; // so that its queue is there
    let (tables, job) = (api.tables().await, api.with_key(&all, "GET", &format!("/v1/jobs/{theirs}"), "").await.text());
    for on_conflict in ["return", "reject", "replace"] {
        let single = api.with_key(&some, "POST", "/v1/jobs", &unique("a", "theirs", on_conflict).to_string()).await;
        let batch = json!({"jobs": [{"kind": "k", "queue": "a"}, unique("b", "ours", "replace"), unique("b", "theirs", on_conflict)]});
        let batch = api.with_key(&some, "POST", "/v1/jobs/batch", &batch.to_string()).await;
        for (answer, pointer) in [(single, "/unique/key"), (batch, "/jobs/2/unique/key")] {
            let said = problem(&answer, 409, &[pointer], on_conflict).to_string();
            assert!(!said.contains(&theirs.to_string()) && !said.contains("\"c\""), "{said}");
        }
        assert_eq!(api.tables().await, tables, "{on_conflict}");
        assert_eq!(api.with_key(&all, "GET", &format!("/v1/jobs/{theirs}"), "").await.text(), job, "{on_conflict}");
        let own = api.with_key(&all, "GET", &format!("/v1/jobs/{ours}"), "").await.json();
        assert_eq!(own["args"], json!({"by": "a"}), "what the batch had replaced before is as it was");
    }
    // within the limit all is as ever, over its queues as well
    let standing = api.with_key(&some, "POST", "/v1/jobs", &unique("b", "ours", "return").to_string()).await;
    assert_eq!((standing.status, &standing.json()["id"], &standing.json()["duplicate"]), (200, &json!(ours), &json!(true)));
    let held = api.with_key(&some, "POST", "/v1/jobs", &unique("b", "ours", "reject").to_string()).await;
    assert!(problem(&held, 409, &["/unique/key"], "ours")["detail"].as_str().is_some_and(|detail| detail.ends_with(&format!("job {ours}"))));
    let replaced = api.with_key(&some, "POST", "/v1/jobs", &unique("b", "ours", "replace").to_string()).await;
    assert_eq!((replaced.status, &replaced.json()["replaced"], &replaced.json()["args"]), (200, &json!(true), &json!({"by": "b"})));
    enqueue(&api, &some, &unique("b", "free", "reject")).await;
    // whoever is not limited meets every job
    let all_met = api.with_key(&all, "POST", "/v1/jobs", &unique("a", "theirs", "return").to_string()).await;
    assert_eq!((all_met.status, &all_met.json()["id"]), (200, &json!(theirs)));
    api.finish().await;
}

#[tokio::test]
async fn warnings_name_no_other_queue() {
    let (api, all, some) = limited().await;
    api.worker("w", &["secret=1", "b=1"]).await;
    let warning = async |key: &str| {
        let answer = api.with_key(key, "POST", "/v1/jobs", r#"{"kind":"k","queue":"a"}"#).await.json();
        answer["warning"].as_str().unwrap_or_default().to_owned()
    };
    eventually("the worker is known", SOON, async || warning(&all).await.contains("secret")).await;
    let said = warning(&some).await;
    assert!(said.ends_with("live workers serve: b"), "{said}");
    api.finish().await;
}
