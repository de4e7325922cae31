//! `longshore.explain(id)`: why a job is not running.

use tokio_postgres::error::SqlState;

use crate::fixture::{Fixture, in_queue, job, parsed};

/// "reason: detail", with " (until …)" where the row names a time.
async fn because(f: &Fixture, id: i64) -> Vec<String> {
    let rows = f.sql.query("select reason, detail, until is not null from longshore.explain($1)", &[&id]).await.expect("explain");
    rows.iter().map(|r| format!("{}: {}{}", r.get::<_, String>(0), r.get::<_, String>(1), if r.get(2) { " (until …)" } else { "" })).collect()
}

#[tokio::test]
async fn each_reason() {
    let f = Fixture::new().await;
    let id = f.enqueue_one(job("echo")).await;
    assert_eq!(because(&f, id).await, ["no_worker: there is no live worker: start one"]);

    let worker = f.worker("w").await;
    assert_eq!(because(&f, id).await, ["behind: it is the next of its queue, and starts when a worker has a free slot"]);
    let next = f.enqueue_one(job("echo")).await;
    assert!(because(&f, next).await[0].starts_with("behind: 1 job of its queue come"), "{:?}", because(&f, next).await);

    let unknown = f.enqueue_one(job("unheard_of")).await;
    assert_eq!(because(&f, unknown).await, ["no_handler: no live worker has a handler for kind \"unheard_of\"; they have: echo; start one that has it"]);
    let behind = f.enqueue_one(job("echo")).await;
    assert!(because(&f, behind).await[0].starts_with("behind: 2 jobs of its queue"), "the unknown kind delays nobody: {:?}", because(&f, behind).await);

    let later = f.enqueue_one(parsed(r#"{"kind":"echo","delay":"1h"}"#)).await;
    assert_eq!(because(&f, later).await, ["not_due: its run_at is in the future; an earlier one starts it sooner (until …)"]);
    let hopeless = f.enqueue_one(parsed(r#"{"kind":"unheard_of","delay":"1h"}"#)).await;
    assert_eq!(because(&f, hopeless).await.len(), 2, "all reasons at once: {:?}", because(&f, hopeless).await);

    f.claim(worker, 1).await;
    assert!(because(&f, id).await[0].starts_with("running: it runs since "), "{:?}", because(&f, id).await);

    f.run("update longshore.workers set queues = '{emails=10}'").await;
    assert_eq!(
        because(&f, next).await,
        ["no_worker: no live worker serves queue \"default\"; live workers serve: emails=10; name it in LONGSHORE_WORKER__QUEUES of one"]
    );
    let mail = f.enqueue_one(in_queue("emails", job("echo"))).await;
    assert!(because(&f, mail).await[0].starts_with("behind: "), "{:?}", because(&f, mail).await);
    f.run("update longshore.workers set last_seen = now() - interval '31 s'").await;
    assert_eq!(because(&f, mail).await, ["no_worker: there is no live worker: start one"], "a dead one does not count");
    f.assert_no_violations().await;
}

#[tokio::test]
async fn after_a_failure_and_after_the_end() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let lost = f.leased(worker, job("echo")).await;
    f.run("update longshore.workers set last_seen = now() - interval '31 s'").await;
    f.store.rescue().await.expect("rescue");
    let said = because(&f, lost.id).await;
    assert!(said[0].starts_with("retry_wait: attempt 1 of 25 failed (its worker w was not heard of"), "{said:?}");
    assert!(said[0].ends_with(&format!("to have it now: select longshore.retry({}) (until …)", lost.id)) && said[1].starts_with("no_worker: "), "{said:?}");
    let done = f.enqueue_one(parsed(r#"{"kind":"echo","expires_in":0.001}"#)).await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    f.run("select longshore.expire(10)").await;
    let said = because(&f, done).await;
    assert!(said[0].starts_with("finished: it is cancelled since "), "{said:?}");
}

#[tokio::test]
async fn an_unknown_job_is_an_error() {
    let f = Fixture::new().await;
    let error = f.sql.query("select * from longshore.explain(7)", &[]).await.expect_err("there is none");
    let said = error.as_db_error().expect("by the database");
    assert_eq!((said.code(), said.message()), (&SqlState::NO_DATA_FOUND, "longshore.explain: there is no job 7"));
}
