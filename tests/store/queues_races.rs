//! Queues that are deleted and set up while jobs come and go.

use longshore_common::{
    outcome::Outcome,
    store::{enqueue::Origin, queues::Deleted},
};

use crate::{
    fixture::{Fixture, in_queue, job, store_at},
    queues::set,
};

#[tokio::test(flavor = "multi_thread")]
async fn delete_against_enqueue() {
    let f = Fixture::new().await;
    let other = store_at(f.database.url());
    let new = |n: i32| [in_queue("q", job(if n % 10 == 0 { "new" } else { "echo" }))];
    let (mut gone, mut held, mut ids) = (0, 0, Vec::new());
    for n in 0..300 {
        set(&f, "q", r#"{"defaults":{"priority":3}}"#).await;
        // one is let go before the other by as much as a statement or two take
        let (deleted, enqueued) = tokio::join!(
            async {
                for _ in 0..n % 3 {
                    f.store.ping().await.expect("answers");
                }
                f.store.delete_queue("q", false).await
            },
            async { other.enqueue(&new(n), &Origin::default()).await.expect("enqueue") }
        );
        let id = enqueued[0].id();
        match deleted.expect("delete") {
            Deleted::Gone => gone += 1,
            Deleted::Holds { jobs } => {
                held += 1;
                assert_eq!(jobs, 1);
            }
            other => panic!("{other:?}"),
        }
        // whoever was first, the job is there, and so is its queue
        assert_eq!(f.state(id).await, "available");
        let queue = f.store.queues(Some("q")).await.expect("list");
        assert_eq!(queue.first().map(|queue| queue.counts.available), Some(1), "round {n}");
        ids.push(id);
        assert_eq!(f.store.delete_queue("q", true).await.expect("purge"), Deleted::Gone);
        assert!(f.store.queues(Some("q")).await.expect("list").is_empty());
        assert_eq!(f.state(id).await, "gone");
    }
    assert!(gone > 20 && held > 20, "both have won: {gone}, {held}");
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn purge_against_claims() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let other = store_at(f.database.url());
    other.learn_lanes().await.expect("learn");
    let (mut gone, mut ran) = (0, 0);
    for _ in 0..150 {
        f.enqueue(&vec![in_queue("q", job("echo")); 5]).await;
        let (deleted, claimed) = tokio::join!(f.store.delete_queue("q", true), f.claim_from(worker, "q", 5));
        let claimed = claimed.jobs;
        match deleted.expect("purge") {
            Deleted::Gone => gone += 1,
            Deleted::Runs { running } => {
                ran += 1;
                assert!(running >= 1);
            }
            other => panic!("{other:?}"),
        }
        // what was claimed runs on, whatever the purge did
        for job in &claimed {
            assert_eq!(f.state(job.lease.id).await, "running");
            f.store.report(&[(job.lease, Outcome::Succeeded { result: None })]).await.expect("report");
        }
        assert!(matches!(f.store.delete_queue("q", true).await.expect("purge"), Deleted::Gone | Deleted::NotThere));
        assert_eq!(f.count("longshore.job_data").await, 0);
    }
    assert!(gone > 5 && ran > 5, "both have won: {gone}, {ran}");
    f.assert_no_violations().await;
}
