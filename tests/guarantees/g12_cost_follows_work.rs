//! Guarantee 12: nothing idle polls hot, and no transaction of a caller notifies unless it asks.

use std::time::Duration;

use crate::{
    support::eventually::eventually,
    system::{SOON, System},
};

/// Transactions of this database so far.
async fn transactions(system: &System) -> i64 {
    system.sql.batch_execute("select pg_stat_force_next_flush()").await.expect("flush");
    let row = system.sql.query_one("select xact_commit + xact_rollback from pg_stat_database where datname = current_database()", &[]).await;
    row.expect("look").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_system_is_nearly_silent() {
    let system = System::start().await;
    let _workers = [system.worker(&[]).await, system.worker(&[]).await];
    let id = system.enqueue(&serde_json::json!({"kind": "echo"})).await;
    system.until(id, "succeeded").await;
    let before = transactions(&system).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let statements = transactions(&system).await - before;
    // three processes, four seconds: promotion and polls every 200 ms, rescue every 500 ms, the rest every second or less; some 26
    // a second each, and a few more where the machine has much else to do
    assert!(statements < 3 * 4 * 40, "{statements} transactions in four idle seconds");
    assert!(statements > 20, "and it does look: {statements}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_notification_the_poll_finds_the_job() {
    let system = System::start().await;
    let _worker = system.worker(&[]).await;
    system.sql.batch_execute("select longshore.enqueue('echo')").await.expect("enqueue");
    eventually("the poll finds it", SOON, async || system.count("longshore.finished").await == 1).await;
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_full_of_others_work_costs_a_claim_nothing() {
    let system = System::start().await;
    // before all others in the order, but not to be run: future, finished, and of a kind that nobody knows
    let fill = "
        select longshore.lane_of('default', 'unknown'), longshore.lane_of('default', 'echo');
        insert into longshore.job_data (lane, run_at, priority, max_attempts, args) select 1, now(), -10, 1, '{}' from generate_series(1, 300000);
        insert into longshore.ready (id, run_at, lane, priority) select id, run_at, lane, priority from longshore.job_data;
        with f as (insert into longshore.job_data (lane, run_at, priority, max_attempts, args) select 2, now() + interval '1 day', -10, 1, '{}' from generate_series(1, 100000) returning *)
          insert into longshore.scheduled (id, run_at, lane, priority) select id, run_at, lane, priority from f;
        with f as (insert into longshore.job_data (lane, run_at, priority, max_attempts, args) select 2, now(), 0, 1, '{}' from generate_series(1, 100000) returning *)
          insert into longshore.finished (id, lane, state, attempt) select id, lane, 'succeeded', 1 from f;
        insert into longshore.tally values (2, 'succeeded', 100000);
        insert into longshore.workers (name, host, version, queues, kinds, lease) values ('w', '', '', '{}', '{}', '1 h');
        select longshore.enqueue('echo') from generate_series(1, 100);";
    system.sql.batch_execute(fill).await.expect("fill");
    let claim = "explain (analyze, buffers, format json) select * from longshore.claim_1((select worker from longshore.workers where name = 'w'), 50, '{2}', '{-32768}', '{1970-01-01}', '{0}', '{40000}')";
    let plan: serde_json::Value = system.sql.query_one(claim, &[]).await.expect("claim").get(0);
    let buffers = |name: &str| plan[0]["Plan"][name].as_i64().unwrap_or(0);
    let touched = buffers("Shared Hit Blocks") + buffers("Shared Read Blocks");
    assert_eq!(system.count("longshore.running").await, 50);
    assert!(touched < 50 * 60, "a claim of 50 jobs touched {touched} pages");
}
