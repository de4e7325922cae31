//! Jobs that are met while they move from one place to another are looked for again.

use std::time::Duration;

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
