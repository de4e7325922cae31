//! Readers who take an answer of the last second share it: a thousand dashboards cost the database what one costs.

use std::time::Duration;

use futures_util::future::join_all;
use longshore_common::key::Scope;

use crate::{
    api::{Api, create_key},
    support::http::{Connection, Response},
};

/// What a page that is open asks for, again and again.
const READ: [&str; 6] = ["/v1/jobs?limit=50", "/v1/queues", "/v1/workers", "/v1/failures", "/v1/schedules", "/v1/jobs/1"];
const STALE: (&str, &str) = ("cache-control", "max-stale=1");

/// Transactions that the database has seen so far. They are told by each connection at most once a second.
async fn transactions(api: &Api) -> i64 {
    tokio::time::sleep(Duration::from_millis(2500)).await;
    api.count("generate_series(1, (select xact_commit from pg_stat_database where datname = current_database()))").await
}

/// What `dashboards` cost that read all pages five times within about two seconds.
async fn cost(api: &Api, dashboards: usize) -> i64 {
    let mut open = Vec::new();
    for _ in 0..dashboards {
        open.push(Connection::open(api.address).await);
    }
    let before = transactions(api).await;
    for _ in 0..5 {
        for path in READ {
            let answers = join_all(open.iter_mut().map(async |connection| {
                connection.send_head("GET", path, &[STALE]).await.expect("sent");
                connection.response().await.expect("an answer").status
            }))
            .await;
            assert!(answers.iter().all(|status| *status == 200), "{path}: {answers:?}");
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    transactions(api).await - before
}

#[tokio::test]
async fn a_thousand_dashboards_cost_what_one_costs() {
    let api = Api::start().await;
    api.enqueue(r#"{"kind":"echo"}"#).await;
    // before anything is compared: what is prepared on first use, and what goes on by itself
    cost(&api, 1).await;
    let (one, thousand) = (cost(&api, 1).await, cost(&api, 1000).await);
    // slower readers come a second later once or twice more, and what the API does by itself goes on meanwhile
    assert!(thousand < 4 * one + 100, "one costs {one} transactions, a thousand cost {thousand}");
    api.finish().await;
}

async fn read(api: &Api, key: &str, headers: &[(&str, &str)]) -> Response {
    let bearer = format!("Bearer {key}");
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend(headers);
    api.request("GET", "/v1/jobs", &all, b"").await
}

fn jobs(answer: &Response) -> usize {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["items"].as_array().expect("a list").len()
}

#[tokio::test]
async fn rights_and_truth_are_not_shared_away() {
    let (api, (all, twin, limited)) = Api::start_after(&[], async |store| {
        (
            create_key(store, "all", &[Scope::Admin], &[]).await,
            create_key(store, "twin", &[Scope::Admin], &[]).await,
            create_key(store, "limited", &[Scope::Read], &["b"]).await,
        )
    })
    .await;
    let enqueue = async |queue: &str| api.with_key(&all, "POST", "/v1/jobs", &format!(r#"{{"kind":"k","queue":"{queue}"}}"#)).await;
    enqueue("a").await;
    assert_eq!(jobs(&read(&api, &all, &[STALE]).await), 1);
    assert_eq!(jobs(&read(&api, &limited, &[STALE]).await), 0, "who may see less sees less");
    enqueue("a").await;
    let shared = read(&api, &twin, &[STALE]).await;
    // on a slow machine the second may be over already
    assert!((1..=2).contains(&jobs(&shared)) && shared.header("age").is_some(), "an answer of the last second will do");
    assert_eq!(jobs(&read(&api, &all, &[]).await), 2, "who does not say so gets what is true now");
    assert_eq!(jobs(&read(&api, &all, &[("cache-control", "no-cache")]).await), 2);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(jobs(&read(&api, &all, &[STALE]).await), 2, "and a second later everybody");
    assert_eq!(read(&api, "ls_wrong", &[STALE]).await.status, 401, "no answer is shared with who is not let in");
    api.finish().await;
}
