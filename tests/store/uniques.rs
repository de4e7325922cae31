//! Rows of unique keys go with the last job that has them, and not before.

use std::time::Duration;

use longshore_common::{
    job::NewJob,
    store::enqueue::{Enqueued, Origin},
};
use tokio_postgres::error::SqlState;

use crate::{
    fixture::{Fixture, in_queue, parsed},
    support::postgres::connect,
};

/// A job with this unique key, by which rule.
fn with_key(key: &str, rule: &str) -> NewJob {
    parsed(&format!(r#"{{"kind":"echo","unique":{{"key":"{key}","while":"{rule}"}}}}"#))
}

async fn keys(f: &Fixture) -> Vec<String> {
    let rows = f.sql.query("select key from longshore.uniques order by key", &[]).await.expect("look");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Nothing that is finished is kept.
async fn forget_at_once(f: &Fixture) {
    f.run("update longshore.queues set keep_succeeded = '0', keep_failed = '0', keep_cancelled = '0'").await;
}

#[tokio::test]
async fn a_key_goes_with_its_last_job() {
    let f = Fixture::new().await;
    let deleted = f.enqueue_one(with_key("deleted", "active")).await;
    let pruned = f.enqueue_one(with_key("pruned", "kept")).await;
    let (first, second) = (f.enqueue_one(with_key("two", "active")).await, f.enqueue_one(with_key("standing", "active")).await);
    let other = f.enqueue_one(in_queue("other", with_key("other", "active"))).await;
    forget_at_once(&f).await;
    f.run("update longshore.queues set keep_cancelled = null where name = 'other'").await;
    for id in [pruned, first, other] {
        f.store.cancel(id).await.expect("it waits");
    }
    let again = f.enqueue_one(with_key("two", "active")).await;
    assert!(again > second, "the first has ended");
    f.store.delete(deleted).await.expect("it waits");
    assert_eq!(keys(&f).await, ["other", "pruned", "standing", "two"]);
    while f.store.prune(100).await.expect("prune") > 0 {}
    assert_eq!(keys(&f).await, ["other", "standing", "two"], "those that jobs have");
    for id in [other, second, again] {
        f.store.delete(id).await.expect("it does not run");
    }
    assert_eq!((keys(&f).await, f.count("longshore.job_data").await), (vec![], 0));
    f.assert_no_violations().await;
}

/// Two enqueue with a key whose last job is just being forgotten, in one way and the other: one of them holds it, and the other meets
/// that.
#[tokio::test(flavor = "multi_thread")]
async fn unique_means_unique_while_keys_are_forgotten() {
    let f = Fixture::new().await;
    f.enqueue_one(with_key("any", "active")).await;
    forget_at_once(&f).await;
    for round in 0..300 {
        let key = format!("k{}", round % 3);
        let rule = if round % 2 == 0 { "kept" } else { "active" };
        let old = f.enqueue_one(with_key(&key, rule)).await;
        f.store.cancel(old).await.expect("it waits");
        // each round they meet at another point
        let enqueue = || {
            let (store, job) = (f.store.clone(), with_key(&key, rule));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(fastrand::u64(..1500))).await;
                store.enqueue(&[job], &Origin::default()).await.expect("enqueue").remove(0)
            })
        };
        let forget = {
            let store = f.store.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(fastrand::u64(..1500))).await;
                if round % 4 < 2 {
                    store.prune(100).await.expect("prune");
                } else {
                    store.delete(old).await.expect("delete");
                }
            })
        };
        let both = [enqueue(), enqueue()];
        forget.await.expect("no panic");
        let mut new = Vec::new();
        for one in both {
            match one.await.expect("no panic") {
                Enqueued::New { id, .. } => new.push(id),
                met @ Enqueued::Duplicate { .. } => assert!(met.id() >= old, "round {round}: {met:?}"),
            }
        }
        assert!(new.len() <= 1, "round {round}: {new:?} have one key");
        let standing = format!("longshore.job_data j where unique_key = '{key}' and not exists (select from longshore.finished f where f.id = j.id)");
        assert_eq!(f.count(&standing).await, i64::try_from(new.len()).expect("one"), "round {round}");
        let named = format!("longshore.uniques where key = '{key}' and '{new:?}'::text::jsonb <@ to_jsonb(ids)");
        assert!(new.is_empty() || f.count(&named).await == 1, "round {round}: the key's row names its job");
        let left = "select coalesce(array_agg(id), '{}') from longshore.job_data where unique_key = $1";
        let left: Vec<i64> = f.sql.query_one(left, &[&key]).await.expect("look").get(0);
        for id in left {
            f.store.delete(id).await.expect("it does not run");
        }
    }
    // a key that was looked at while it was forgotten goes the next time
    for key in ["k0", "k1", "k2"] {
        let last = f.enqueue_one(with_key(key, "active")).await;
        f.store.delete(last).await.expect("it waits");
    }
    assert_eq!(keys(&f).await, ["any"]);
    f.assert_no_violations().await;
}

/// A transaction whose snapshot is older than the end of a key cannot know who has it: it is told to try again.
#[tokio::test]
async fn an_old_snapshot_does_not_decide() {
    let f = Fixture::new().await;
    let id = f.enqueue_one(with_key("k", "kept")).await;
    let other = connect(f.database.url()).await;
    other.batch_execute("begin isolation level repeatable read; select from longshore.uniques").await.expect("begin");
    f.store.delete(id).await.expect("it waits");
    let refused = other.query("select longshore.enqueue('echo', unique_key => 'k', unique_while => 'kept')", &[]).await.expect_err("too old");
    assert_eq!(refused.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{refused:?}");
}
