//! Handlers that block all threads of their runtime hold up nothing but handlers.

use std::time::Duration;

use serde_json::json;

use crate::{
    a_users_program,
    support::eventually::eventually,
    system::{SOON, System},
};

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_go_on_and_nothing_runs_twice() {
    let system = System::start().await;
    let mut worker = a_users_program::start(&system, &[("LONGSHORE_DATABASE__POOL", "4")]).await;
    // handlers have connections made, which others get later
    system.sql.batch_execute("create table transfers (amount bigint); create table go (now int)").await.expect("tables of the user's");
    let transfer = json!({"kind": "transfer", "args": {"amount": 1, "before": "wait"}});
    let transfers = [system.enqueue(&transfer).await, system.enqueue(&transfer).await];
    let writing = "pg_locks where relation = 'transfers'::regclass and mode = 'RowExclusiveLock'";
    eventually("both have begun", SOON, async || system.count(writing).await == 2).await;
    system.sql.batch_execute("insert into go values (1)").await.expect("go");
    for transfer in transfers {
        system.until(transfer, "succeeded").await;
    }
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(system.enqueue(&json!({"kind": "park", "args": 9})).await); // longer than the lease of 5 s
    }
    worker.wait_for_line("handlers block all threads", SOON).await;
    // meanwhile nothing is leased that could not start
    let late = system.enqueue(&json!({"kind": "echo", "args": 1})).await;
    eventually("another worker is asked for", Duration::from_secs(3), async || system.job(late).await["state"] == "available").await;
    for job in jobs.into_iter().chain([late]) {
        let done = eventually("it has succeeded", Duration::from_mins(1), async || {
            let job = system.job(job).await;
            if job["state"] == "succeeded" { Ok(job) } else { Err(job) }
        })
        .await;
        assert_eq!((&done["attempt"], done["history"].as_array().map(Vec::len)), (&json!(1), Some(1)), "{done}");
    }
    assert!(!worker.lines().iter().any(|line| line.contains("declared dead")));
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ignores_the_deadline_loses_the_slot() {
    let system = System::start().await;
    // as many slots as the runtime has threads
    let mut worker = a_users_program::start(&system, &[("LONGSHORE_WORKER__QUEUES", "*=2")]).await;
    let stuck = json!({"kind": "park", "args": 20, "timeout": "1s", "max_attempts": 1});
    let (one, two) = (system.enqueue(&stuck).await, system.enqueue(&stuck).await);
    for id in [one, two] {
        let failed = system.until(id, "failed").await;
        assert_eq!(failed["error"], "it ran longer than its timeout of 1s; it is stuck: it ignored its deadline");
    }
    worker.wait_for_line("blocks its thread and ignores its deadline", SOON).await;
    // the slots are free; a thread is, once one of them returns
    let next = system.enqueue(&json!({"kind": "echo", "args": 1})).await;
    assert_eq!(system.until(next, "succeeded").await["attempt"], 1);
    system.assert_no_violations().await;
}
