//! Limits of keyed queues that change while jobs wait and run.

use longshore_common::{job::NewJob, outcome::Outcome, store::claim::Lease};

use crate::{
    fixture::{Fixture, job},
    limits::put,
};

fn keyed(key: &str) -> NewJob {
    NewJob { concurrency_key: Some(key.to_owned()), ..job("echo") }
}

async fn leases(f: &Fixture, worker: longshore_common::store::workers::WorkerNumber) -> Vec<Lease> {
    f.claim(worker, 10).await.jobs.iter().map(|job| job.lease).collect()
}

/// The jobs of a full key are looked at again when its limit is raised, and not only when one of them ends.
#[tokio::test]
async fn a_higher_limit_of_keys_counts_at_once() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    put(&f.store, "default", r#"{"max_running_per_key": 1}"#).await;
    f.enqueue(&[keyed("k"), keyed("k"), keyed("k"), keyed("other"), keyed("other")]).await;
    f.enqueue(&[NewJob { concurrency_key: Some("k".to_owned()), ..job("second_kind") }]).await;
    assert_eq!(leases(&f, worker).await.len(), 2, "one of each key");
    assert_eq!(leases(&f, worker).await.len(), 0);
    put(&f.store, "default", r#"{"max_running_per_key": 3}"#).await;
    f.assert_no_violations().await;
    assert_eq!(leases(&f, worker).await.len(), 3, "two of k, one of the other");
    assert_eq!(leases(&f, worker).await.len(), 0);
    put(&f.store, "default", r#"{"fair": true}"#).await;
    f.assert_no_violations().await;
    assert_eq!(leases(&f, worker).await.len(), 1);
    // the same settings again leave no notes
    put(&f.store, "default", r#"{"max_running_per_key": 1}"#).await;
    f.enqueue(&[keyed("k"), keyed("k")]).await;
    assert_eq!(leases(&f, worker).await.len(), 0);
    put(&f.store, "default", r#"{"max_running_per_key": 1}"#).await;
    assert_eq!((f.count("longshore.key_changes").await, f.count("longshore.held").await), (0, 2));
    f.assert_no_violations().await;
}

/// Whoever ends a job while its queue has no limit of keys leaves no note.
#[tokio::test]
async fn a_limit_of_keys_that_went_and_came_back_strands_nobody() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    put(&f.store, "default", r#"{"max_running_per_key": 1}"#).await;
    f.enqueue(&vec![keyed("k"); 3]).await;
    let first = leases(&f, worker).await;
    assert_eq!(leases(&f, worker).await.len(), 0);
    put(&f.store, "default", "{}").await;
    f.store.report(&[(first[0], Outcome::Succeeded { result: None })]).await.expect("report");
    put(&f.store, "default", r#"{"max_running_per_key": 1}"#).await;
    f.assert_no_violations().await;
    assert_eq!(leases(&f, worker).await.len(), 1);
    f.assert_no_violations().await;
}
