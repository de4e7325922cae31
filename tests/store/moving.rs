//! Jobs that are met while they move from one place to another are looked for again.

use std::time::Duration;

use longshore_common::store::enqueue::{Enqueued, Origin};

use crate::{
    fixture::{Fixture, parsed},
    support::{eventually::eventually, postgres::connect},
};

/// Makes a job that is due and not yet promoted.
async fn due(f: &Fixture, text: &str) -> i64 {
    let id = f.enqueue_one(parsed(text)).await;
    f.run("update longshore.job_data set run_at = now(); update longshore.scheduled set run_at = now()").await;
    assert_eq!(f.state(id).await, "scheduled");
    id
}

async fn until_waits(f: &Fixture) {
    let locked = "pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    eventually("one waits for the other", Duration::from_secs(10), async || f.count(locked).await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_being_promoted_expires() {
    let f = Fixture::new().await;
    let id = due(&f, r#"{"kind": "echo", "delay": "1h", "expires_in": "2h"}"#).await;
    f.run("update longshore.job_data set expires_at = now(); update longshore.expiring set expires_at = now()").await;
    let mut other = connect(f.database.url()).await;
    let open = other.transaction().await.expect("begin");
    open.execute("select longshore.promote(10)", &[]).await.expect("promote");
    let store = f.store.clone();
    let expiring = tokio::spawn(async move { store.expire(10).await.expect("expire") });
    until_waits(&f).await;
    open.commit().await.expect("commit");
    assert_eq!(expiring.await.expect("no panic"), 1);
    assert_eq!(f.state(id).await, "cancelled");
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_being_promoted_is_replaced() {
    let f = Fixture::new().await;
    let id = due(&f, r#"{"kind": "echo", "args": "old", "delay": "1h", "unique": {"key": "k"}}"#).await;
    let mut other = connect(f.database.url()).await;
    let open = other.transaction().await.expect("begin");
    open.execute("select longshore.promote(10)", &[]).await.expect("promote");
    let store = f.store.clone();
    let replacing = tokio::spawn(async move {
        let new = parsed(r#"{"kind": "echo", "args": "new", "unique": {"key": "k", "on_conflict": "replace"}}"#);
        store.enqueue(&[new], &Origin::default()).await.expect("enqueue")
    });
    until_waits(&f).await;
    open.commit().await.expect("commit");
    let answer = replacing.await.expect("no panic");
    assert!(matches!(answer[..], [Enqueued::Duplicate { id: standing, replaced: true }] if standing == id), "{answer:?}");
    assert_eq!(f.count("longshore.job_data where args::text = '\"new\"'").await, 1);
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_locks_the_jobs_that_it_replaces_by_id() {
    let f = Fixture::new().await;
    let with_key = |key: &str, args: u8| parsed(&format!(r#"{{"kind": "echo", "args": {args}, "unique": {{"key": "{key}", "on_conflict": "replace"}}}}"#));
    let first = f.enqueue_one(with_key("a", 1)).await;
    let second = f.enqueue_one(with_key("b", 1)).await;
    let mut other = connect(f.database.url()).await;
    let open = other.transaction().await.expect("begin");
    let lock = "select from longshore.ready where id = $1 for update";
    open.execute(lock, &[&first]).await.expect("lock the first");
    let (store, batch) = (f.store.clone(), [with_key("b", 2), with_key("a", 2)]);
    let replacing = tokio::spawn(async move { store.enqueue(&batch, &Origin::default()).await.expect("enqueue") });
    until_waits(&f).await;
    let untouched = open.execute(&format!("{lock} nowait"), &[&second]).await;
    assert_eq!(untouched.expect("it waits for the first before it touches the second"), 1);
    open.commit().await.expect("commit");
    let answers = replacing.await.expect("no panic");
    assert_eq!(answers.iter().map(Enqueued::id).collect::<Vec<_>>(), [second, first], "in the order of the batch");
    assert!(answers.iter().all(|answer| matches!(answer, Enqueued::Duplicate { replaced: true, .. })), "{answers:?}");
    f.assert_no_violations().await;
}
