//! Lanes: all are learnt, however late they are committed, and those without jobs cost nothing, however many there are.

use std::time::Duration;

use crate::{
    fixture::{Fixture, in_queue, job, parsed},
    support::{eventually::eventually, postgres::connect},
};

#[tokio::test]
async fn a_lane_that_is_committed_late_is_learnt() {
    let f = Fixture::new().await;
    let mut other = connect(f.database.url()).await;
    let open = other.transaction().await.expect("begin");
    open.execute("select longshore.enqueue('late', queue => 'late')", &[]).await.expect("enqueue");
    f.run("select longshore.lane_of('default', 'k' || i) from generate_series(1, 300) i").await;
    assert!(f.store.learn_lanes().await.expect("learn"));
    assert_eq!(f.store.known_lanes().len(), 300);
    open.commit().await.expect("commit");
    eventually("the late one is known", Duration::from_secs(10), async || {
        f.store.learn_lanes().await.expect("learn");
        f.store.known_lanes().iter().any(|lane| *lane.kind == *"late")
    })
    .await;
    assert!(!f.store.learn_lanes().await.expect("learn"), "there are no more");
}

/// Pages that a statement touches.
async fn touched(f: &Fixture, statement: &str) -> i64 {
    let plan: serde_json::Value = f.sql.query_one(&format!("explain (analyze, buffers, format json) {statement}"), &[]).await.expect(statement).get(0);
    ["Shared Hit Blocks", "Shared Read Blocks"].iter().map(|name| plan[0]["Plan"][*name].as_i64().unwrap_or(0)).sum()
}

#[tokio::test]
async fn lanes_without_jobs_cost_nothing() {
    let f = Fixture::new().await;
    f.run("select longshore.lane_of('q' || i % 10, 'k' || i) from generate_series(1, 2000) i").await;
    for n in [7, 1500] {
        f.enqueue(&[in_queue(&format!("q{}", n % 10), job(&format!("k{n}")))]).await;
    }
    f.run("analyze longshore.lanes").await;
    let lanes: Vec<String> = (1..=2000).map(|lane| lane.to_string()).collect();
    let with_work = include_str!("../../common/sql/jobs/with_work.sql").replace("$1::int[]", &format!("'{{{}}}'::int[]", lanes.join(",")));
    // each costs some 20,000 where it looks at every lane
    for (statement, most) in
        [(with_work.as_str(), 200), (include_str!("../../common/sql/stats/unhandled.sql"), 200), ("select * from longshore.activity()", 2000)]
    {
        touched(&f, statement).await; // reads the catalogs
        let pages = touched(&f, statement).await;
        assert!(pages < most, "{pages} pages for two jobs: {}", &statement[..60.min(statement.len())]);
    }
}

#[tokio::test]
async fn lanes_with_work_are_those_asked_for_that_have_some() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    f.run("select longshore.lane_of('default', 'k' || i) from generate_series(1, 300) i").await;
    f.enqueue(&(1..=300).step_by(7).map(|n| job(&format!("k{n}"))).collect::<Vec<_>>()).await;
    f.store.learn_lanes().await.expect("learn");
    let number = |kind: &str| f.store.known_lanes().iter().find(|lane| *lane.kind == *kind).expect("known").lane;
    // every third, in no order
    let asked: Vec<i32> = (1..=300).rev().step_by(3).map(|n| number(&format!("k{n}"))).collect();
    let sorted = async |asked: &[i32]| {
        let mut lanes = f.store.lanes_with_work(asked).await.expect("look");
        lanes.sort_unstable();
        lanes
    };
    let expected: Vec<i32> = (1..=300).filter(|n| n % 3 == 0 && n % 7 == 1).map(|n| number(&format!("k{n}"))).collect();
    assert_eq!(sorted(&asked).await, expected);
    assert_eq!(sorted(&[]).await, Vec::<i32>::new());

    // of a queue that limits keys: while a key has room, as far as is known
    f.run("insert into longshore.queues (name, max_running_per_key) values ('keyed', 1)").await;
    f.enqueue(&[r#"{"kind":"a","queue":"keyed","concurrency_key":"x"}"#, r#"{"kind":"a","queue":"keyed","concurrency_key":"x"}"#].map(parsed)).await;
    f.store.learn_lanes().await.expect("learn");
    let keyed = number("a");
    let asked = [expected[0], keyed, keyed + 1];
    assert_eq!(sorted(&asked).await, [expected[0], keyed], "it has notes");
    assert_eq!(f.claim_from(worker, "keyed", 5).await.jobs.len(), 1);
    assert_eq!(sorted(&asked).await, [expected[0]], "the key is full");
}
