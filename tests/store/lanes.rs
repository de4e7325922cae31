//! Lanes: all are learnt, however late they are committed.

use std::time::Duration;

use crate::{
    fixture::Fixture,
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
