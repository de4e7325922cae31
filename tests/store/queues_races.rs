//! Queues that are deleted and set up while jobs come and go.

use longshore_common::{
    outcome::Outcome,
    store::{enqueue::Origin, queues::Deleted},
};

use crate::{
    fixture::{Fixture, HeadStart, in_queue, job, store_at},
    queues::set,
};

#[tokio::test(flavor = "multi_thread")]
async fn delete_against_enqueue() {
    let f = Fixture::new().await;
    let other = store_at(f.database.url());
    let new = |n: i32| [in_queue("q", job(if n % 10 == 0 { "new" } else { "echo" }))];
    let (mut gone, mut held, mut head_start) = (0, 0, HeadStart::default());
    for n in 0..300 {
        set(&f, "q", r#"{"defaults":{"priority":3}}"#).await;
        let (deleted, enqueued) = tokio::join!(
            async {
                head_start.first(&f.store).await;
                f.store.delete_queue("q", false).await
            },
            async {
                head_start.second(&other).await;
                other.enqueue(&new(n), &Origin::default()).await.expect("enqueue")
            }
        );
        let id = enqueued[0].id();
        let deleted = deleted.expect("delete");
        head_start.next(deleted == Deleted::Gone);
        match deleted {
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
    let (mut gone, mut ran, mut head_start) = (0, 0, HeadStart::default());
    for _ in 0..150 {
        f.enqueue(&vec![in_queue("q", job("echo")); 5]).await;
        let (deleted, claimed) = tokio::join!(
            async {
                head_start.first(&f.store).await;
                f.store.delete_queue("q", true).await
            },
            async {
                head_start.second(&other).await;
                f.claim_from(worker, "q", 5).await
            }
        );
        let claimed = claimed.jobs;
        let deleted = deleted.expect("purge");
        head_start.next(deleted == Deleted::Gone);
        match deleted {
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
