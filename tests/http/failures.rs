//! `GET /v1/failures`, and the fingerprint as a filter.

use std::time::Duration;

use longshore_common::{key::Scope, outcome::Outcome};
use serde_json::{Value, json};

use crate::api::{Api, create_key, problem};

/// Three jobs in two queues that failed alike, one that waits for its next attempt, one that failed otherwise.
async fn filled(api: &Api) -> Vec<i64> {
    let worker = api.worker("w", &["*=50"]).await;
    let mut ids = Vec::new();
    for (kind, queue, error, retry_in) in [
        ("mail", "a", "connection to 10.0.0.7:25 refused after 3 s", None),
        ("mail", "b", "connection to 10.0.0.8:25 refused after 14 s", None),
        ("mail", "a", "connection to [::1]:2525 refused after 0.5 s", Some(3600)),
        ("mail", "a", "no such mailbox: 7", Some(3600)),
        ("fax", "b", "connection to 10.0.0.9:25 refused after 1 s", None),
    ] {
        let job = json!({"kind": kind, "queue": queue}).to_string();
        let id: i64 = api.sql.query_one("select longshore.enqueue($1, queue => $2)", &[&kind, &queue]).await.unwrap_or_else(|_| panic!("{job}")).get(0);
        let lease = api.claim(worker, queue, 1).await.jobs[0].lease;
        let outcome = match retry_in {
            None => Outcome::Discarded { error: error.to_owned() },
            Some(seconds) => Outcome::Failed { error: error.to_owned(), retry_in: Some(Duration::from_secs(seconds)) },
        };
        api.store.report(&[(lease, outcome)]).await.expect("report");
        ids.push(id);
    }
    ids
}

fn shown(list: &Value) -> Vec<(String, i64, i64, i64, i64)> {
    let number = |value: &Value| value.as_i64().expect("a number");
    let groups = list["items"].as_array().expect("a list").iter();
    groups
        .map(|g| {
            (g["kind"].as_str().expect("a kind").to_owned(), number(&g["count"]), number(&g["failed"]), number(&g["retryable"]), number(&g["example"]["id"]))
        })
        .collect()
}

#[tokio::test]
async fn what_failed_by_group() {
    let api = Api::start().await;
    assert_eq!(api.read("/v1/failures").await, json!({"items": [], "next_cursor": null}));
    let ids = filled(&api).await;
    let list = api.read("/v1/failures").await;
    let expected = [("fax".to_owned(), 1, 1, 0, ids[4]), ("mail".to_owned(), 1, 0, 1, ids[3]), ("mail".to_owned(), 3, 2, 1, ids[2])];
    assert_eq!((shown(&list), &list["next_cursor"]), (expected.to_vec(), &Value::Null));
    let group = &list["items"][2];
    let (oldest, newest) = (api.read(&format!("/v1/jobs/{}", ids[0])).await, api.read(&format!("/v1/jobs/{}", ids[2])).await);
    let expected = json!({
        "kind": "mail", "fingerprint": group["fingerprint"], "count": 3, "estimated": false, "failed": 2, "retryable": 1,
        "first": oldest["finished_at"], "last": newest["history"][0]["finished_at"],
        "example": {"id": ids[2], "queue": "a", "error": "connection to [::1]:2525 refused after 0.5 s"}
    });
    assert_eq!(*group, expected);
    let fingerprint = group["fingerprint"].as_str().expect("digits");
    assert!(fingerprint.len() == 16 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()), "{fingerprint}");
    assert_eq!(list["items"][0]["fingerprint"], fingerprint, "another kind, the same cause");
    for (query, kinds) in
        [("?queue=a", "mail mail"), ("?queue=b", "fax mail"), ("?kind=fax", "fax"), ("?queue=a&queue=b&kind=mail&limit=1", "mail"), ("?kind=none", "")]
    {
        let list = api.read(&format!("/v1/failures{query}")).await;
        assert_eq!(shown(&list).iter().map(|group| group.0.as_str()).collect::<Vec<_>>().join(" "), kinds, "{query}");
    }
    for (query, expected) in [
        (format!("fingerprint={fingerprint}"), vec![ids[4], ids[2], ids[1], ids[0]]),
        (format!("fingerprint={}", fingerprint.to_uppercase()), vec![ids[4], ids[2], ids[1], ids[0]]),
        (format!("fingerprint={fingerprint}&kind=mail&state=failed"), vec![ids[1], ids[0]]),
        (format!("fingerprint={fingerprint}&queue=a&state=retryable"), vec![ids[2]]),
        ("fingerprint=0000000000000000".to_owned(), vec![]),
    ] {
        let list = api.read(&format!("/v1/jobs?{query}")).await;
        assert_eq!(list["items"].as_array().expect("a list").iter().map(|job| job["id"].as_i64().expect("an id")).collect::<Vec<_>>(), expected, "{query}");
    }
    // the same digits in psql
    let view: i64 = api.sql.query_one("select count(*) from longshore.failures where fingerprint = $1", &[&fingerprint]).await.expect("look").get(0);
    assert_eq!(view, 4);
    api.finish().await;
}

#[tokio::test]
async fn what_is_not_a_question() {
    let api = Api::start().await;
    for (query, pointers) in [
        ("limit=0", &["/limit"][..]),
        ("limit=1001", &["/limit"]),
        ("limit=1&limit=2", &["/limit"]),
        ("queue=a%20b&kind=&colour=red", &["/queue", "/kind", "/colour"]),
        ("state=failed", &["/state"]),
        ("fingerprint=0000000000000000", &["/fingerprint"]),
        ("cursor=x", &["/cursor"]),
    ] {
        problem(&api.get(&format!("/v1/failures?{query}")).await, 422, pointers, query);
    }
    for query in ["fingerprint=", "fingerprint=7", "fingerprint=zzzzzzzzzzzzzzzz", "fingerprint=0000000000000000&fingerprint=0000000000000000"] {
        problem(&api.get(&format!("/v1/jobs?{query}")).await, 422, &["/fingerprint"], query);
    }
    api.finish().await;
}

#[tokio::test]
async fn a_key_limited_to_queues_sees_theirs() {
    let (api, (some, other)) = Api::start_after(&[], async |store| {
        (create_key(store, "some", &[Scope::Read], &["a"]).await, create_key(store, "other", &[Scope::Read], &["c"]).await)
    })
    .await;
    let ids = filled(&api).await;
    let get = async |key: &str, path: &str| api.with_key(key, "GET", path, "").await;
    let list = get(&some, "/v1/failures").await.json();
    assert_eq!(shown(&list), [("mail".to_owned(), 1, 0, 1, ids[3]), ("mail".to_owned(), 2, 1, 1, ids[2])]);
    assert_eq!(get(&some, "/v1/failures?queue=a").await.json(), list);
    problem(&get(&some, "/v1/failures?queue=b").await, 403, &["/queue"], "beyond");
    assert_eq!(get(&other, "/v1/failures").await.json()["items"], json!([]));
    let fingerprint = list["items"][1]["fingerprint"].as_str().expect("digits");
    let found = get(&some, &format!("/v1/jobs?fingerprint={fingerprint}")).await.json();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(2));
    api.finish().await;
}
