//! `GET /v1/jobs/{id}/explain`: every reason that there is, with what would change it.

use std::time::Duration;

use longshore_common::{key::Scope, outcome::Outcome};
use serde_json::{Value, json};

use crate::api::{Api, create_key, problem};

async fn explained(api: &Api, id: i64) -> (bool, Vec<String>, Value) {
    let said = api.read(&format!("/v1/jobs/{id}/explain")).await;
    assert_eq!(said["id"], id);
    let because = said["because"].as_array().expect("a list");
    assert!(because.iter().all(|one| one["detail"].as_str().is_some_and(|detail| !detail.is_empty())), "{said}");
    let reasons = because.iter().map(|one| one["reason"].as_str().expect("a word").to_owned()).collect();
    (said["runnable"].as_bool().expect("yes or no"), reasons, said)
}

fn reasons(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test]
async fn every_reason() {
    let api = Api::start().await;
    let first = api.enqueue(r#"{"kind": "echo"}"#).await;
    assert_eq!(explained(&api, first).await.1, reasons(&["no_worker"]), "there is none at all");
    let worker = api.worker("w", &["default=1"]).await;
    let (second, other) = (api.enqueue(r#"{"kind": "echo"}"#).await, api.enqueue(r#"{"kind": "echo", "queue": "emails"}"#).await);
    let (unknown, later) = (api.enqueue(r#"{"kind": "paint"}"#).await, api.enqueue(r#"{"kind": "echo", "delay": "1h"}"#).await);

    let (runnable, said, _) = explained(&api, first).await;
    assert_eq!((runnable, said), (true, reasons(&["behind"])));
    let (runnable, said, whole) = explained(&api, second).await;
    assert_eq!((runnable, said), (true, reasons(&["behind"])));
    assert_eq!((&whole["state"], &whole["note"]), (&json!("available"), &Value::Null));
    let (runnable, said, whole) = explained(&api, other).await;
    assert_eq!((runnable, said), (false, reasons(&["no_worker"])));
    assert_eq!(
        whole["because"][0]["detail"],
        "no live worker serves queue \"emails\"; live workers serve: default=1; name it in LONGSHORE_WORKER__QUEUES of one"
    );
    let (runnable, said, _) = explained(&api, unknown).await;
    assert_eq!((runnable, said), (false, reasons(&["no_handler"])));
    let (runnable, said, whole) = explained(&api, later).await;
    assert_eq!((runnable, said), (false, reasons(&["not_due"])));
    assert_eq!(whole["because"][0]["until"], api.read(&format!("/v1/jobs/{later}")).await["run_at"], "when it changes by itself");

    let lease = api.claim(worker, "default", 1).await.jobs[0].lease;
    assert_eq!(lease.id, first);
    let (runnable, said, whole) = explained(&api, first).await;
    assert_eq!((runnable, said, &whole["state"]), (true, vec![], &json!("running")));
    assert!(whole["note"].as_str().is_some_and(|note| note.starts_with("it runs since") && note.ends_with("on w")), "{whole}");
    api.store.report(&[(lease, Outcome::Failed { error: "no luck".to_owned(), retry_in: Some(Duration::from_hours(1)) })]).await.expect("report");
    let (runnable, said, whole) = explained(&api, first).await;
    assert_eq!((runnable, said), (false, reasons(&["retry_wait"])));
    assert!(whole["because"][0]["detail"].as_str().is_some_and(|detail| detail.contains("no luck")), "{whole}");
    assert_eq!(api.request("POST", &format!("/v1/jobs/{first}/cancel"), &[], b"").await.status, 200);
    let (runnable, said, whole) = explained(&api, first).await;
    assert_eq!((runnable, said, &whole["state"]), (false, vec![], &json!("cancelled")));
    assert!(whole["note"].as_str().is_some_and(|note| note.starts_with("it is cancelled since")), "{whole}");
    for (outcome, word) in [(Outcome::Succeeded { result: None }, "succeeded"), (Outcome::Discarded { error: "no".to_owned() }, "failed")] {
        let lease = api.claim(worker, "default", 1).await.jobs[0].lease;
        api.store.report(&[(lease, outcome)]).await.expect("report");
        let (runnable, said, whole) = explained(&api, lease.id).await;
        assert_eq!((runnable, said, &whole["state"]), (false, vec![], &json!(word)), "{whole}");
        api.enqueue(r#"{"kind": "echo"}"#).await;
    }
    for id in ["0", "4000000", "x", "+1"] {
        problem(&api.get(&format!("/v1/jobs/{id}/explain")).await, 404, &[], id);
    }
    api.finish().await;
}

#[tokio::test]
async fn no_other_queue_is_named() {
    let (api, (all, ours)) = Api::start_after(&[], async |store| {
        (create_key(store, "all", &[Scope::Admin], &[]).await, create_key(store, "ours", &[Scope::Admin], &["ours", "more"]).await)
    })
    .await;
    let id = api.with_key(&all, "POST", "/v1/jobs", r#"{"kind": "echo", "queue": "ours"}"#).await.json()["id"].clone();
    let detail = async |key: &str| api.with_key(key, "GET", &format!("/v1/jobs/{id}/explain"), "").await.json()["because"][0]["detail"].clone();
    api.worker("w1", &["theirs=5"]).await;
    let remedy = "; name it in LONGSHORE_WORKER__QUEUES of one";
    assert_eq!(detail(&all).await, format!("no live worker serves queue \"ours\"; live workers serve: theirs=5{remedy}"));
    assert_eq!(detail(&ours).await, format!("no live worker serves queue \"ours\"; live workers serve others{remedy}"));
    api.worker("w2", &["more=1"]).await;
    assert_eq!(detail(&ours).await, format!("no live worker serves queue \"ours\"; live workers serve: more=1{remedy}"));
    // nor a job of one
    let waits = async |parents: &[(&str, &str)]| {
        let mut jobs: Vec<Value> = parents.iter().map(|(name, queue)| json!({"name": name, "kind": "k", "queue": queue})).collect();
        jobs.push(json!({"name": "last", "kind": "k", "queue": "ours", "after": parents.iter().map(|(name, _)| name).collect::<Vec<_>>()}));
        let made = api.with_key(&all, "POST", "/v1/workflows", &json!({"jobs": jobs}).to_string()).await.json();
        let ids: Vec<i64> = made["jobs"].as_array().expect("jobs").iter().map(|job| job["id"].as_i64().expect("an id")).collect();
        let path = format!("/v1/jobs/{}/explain", ids[parents.len()]);
        let said = async |key: &str| api.with_key(key, "GET", &path, "").await.json()["because"][0]["detail"].as_str().expect("a sentence").to_owned();
        (said(&all).await, said(&ours).await, ids)
    };
    let (by_all, by_ours, id) = waits(&[("secret", "theirs"), ("a", "more")]).await;
    let (secret, a) = (format!("\"secret\" (job {}, available)", id[0]), format!("\"a\" (job {}, available)", id[1]));
    assert_eq!(by_all, format!("it waits for 2 of the jobs that it comes after: {secret}, {a}"));
    assert_eq!(by_ours, format!("it waits for 2 of the jobs that it comes after: {a} and others"));
    let (_, by_ours, _) = waits(&[("secret", "theirs")]).await;
    assert_eq!(by_ours, "it waits for 1 of the jobs that it comes after, in other queues");
    let many: Vec<(String, &str)> = (0..13).map(|n| (format!("p{n}"), if n < 6 { "theirs" } else { "more" })).collect();
    let (by_all, by_ours, id) = waits(&many.iter().map(|(name, queue)| (name.as_str(), *queue)).collect::<Vec<_>>()).await;
    let five = |from: usize| (from..from + 5).map(|n| format!("\"p{n}\" (job {}, available)", id[n])).collect::<Vec<_>>().join(", ");
    assert_eq!(by_all, format!("it waits for 13 of the jobs that it comes after: {} and others", five(0)));
    assert_eq!(by_ours, format!("it waits for 13 of the jobs that it comes after: {} and others", five(6)));
    api.finish().await;
}

#[tokio::test]
async fn a_job_of_another_queue_is_not_there() {
    let (api, (all, theirs)) = Api::start_after(&[], async |store| {
        (create_key(store, "all", &[Scope::Admin], &[]).await, create_key(store, "theirs", &[Scope::Read], &["theirs"]).await)
    })
    .await;
    let id = api.with_key(&all, "POST", "/v1/jobs", r#"{"kind": "echo"}"#).await.json()["id"].clone();
    let path = format!("/v1/jobs/{id}/explain");
    assert_eq!(api.with_key(&all, "GET", &path, "").await.status, 200);
    problem(&api.with_key(&theirs, "GET", &path, "").await, 404, &[], "told as if it was not there");
    api.finish().await;
}
