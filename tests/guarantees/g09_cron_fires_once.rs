//! Guarantee 9: each due time is used once, however many processes run, whichever of them is killed or frozen when.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    support::{eventually::eventually, http, process::Process},
    system::{SOON, System},
};

const SCHEDULES: usize = 100;
/// How long it goes on.
const LASTS: Duration = Duration::from_mins(1);

async fn put(system: &System, name: &str, settings: &serde_json::Value) {
    let answer =
        http::request(system.address, "PUT", &format!("/v1/schedules/{name}"), &[("content-type", "application/json")], settings.to_string().as_bytes()).await;
    assert!(answer.status < 300, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_schedules_each_second_while_processes_are_killed_and_frozen() {
    let system = System::start().await;
    // they run what is due, and nothing of it: the jobs only have to be there
    let env = [("LONGSHORE_WORKER__BUILTINS", "echo")];
    let mut workers: Vec<Process> = Vec::new();
    for _ in 0..2 {
        workers.push(system.worker(&env).await);
    }
    for n in 0..SCHEDULES {
        let cron = if n % 2 == 0 { "* * * * * *" } else { "@every 1s" };
        put(&system, &format!("s{n}"), &json!({"cron": cron, "job": {"kind": "never", "args": n}, "catch_up": "all"})).await;
    }
    let began = Instant::now();
    let mut turn = 0;
    while began.elapsed() < LASTS {
        turn += 1;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(300..900))).await;
        let victim = turn % 2;
        if fastrand::bool() {
            workers[victim].signal(Signal::SIGKILL);
            workers[victim].wait_exit(SOON).await;
            workers[victim] = system.worker(&env).await;
        } else {
            workers[victim].signal(Signal::SIGSTOP);
            tokio::time::sleep(Duration::from_millis(fastrand::u64(200..3000))).await;
            workers[victim].signal(Signal::SIGCONT);
        }
    }
    eventually("nothing is late", SOON, async || {
        let late = system.count("longshore.schedules where next_run_at < now() - interval '2 s'").await;
        if late == 0 { Ok(()) } else { Err(late) }
    })
    .await;
    let rows = system.sql.query("select schedule, scheduled_for from longshore.job_data where schedule is not null order by 1, 2", &[]).await.expect("look");
    let mut times: BTreeMap<String, Vec<jiff::Timestamp>> = BTreeMap::new();
    for row in rows {
        times.entry(row.get(0)).or_default().push(row.get(1));
    }
    assert_eq!(times.len(), SCHEDULES);
    for (name, times) in &times {
        assert!(times.len() as u64 >= LASTS.as_secs() - 5, "{name} has fired {} times", times.len());
        for two in times.windows(2) {
            assert_eq!(two[1].duration_since(two[0]).as_millis(), 1000, "{name}: after {} comes {}", two[0], two[1]);
        }
    }
    // by far the most of them were in time
    let late = system.count("longshore.job_data where created_at > scheduled_for + interval '8 s'").await;
    assert_eq!(late, 0, "not even a frozen process holds a due time up for longer than its transaction may idle");
    for mut worker in workers {
        worker.signal(Signal::SIGTERM);
        assert!(worker.wait_exit(SOON).await.success());
    }
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_frozen_while_it_fires_holds_nobody_up_for_long() {
    let system = System::start().await;
    put(&system, "s", &json!({"cron": "* * * * * *", "job": {"kind": "never"}, "catch_up": "all"})).await;
    // as one that stops between looking and enqueuing
    let frozen = crate::support::postgres::connect(system.database.url()).await;
    let due = include_str!("../../common/sql/schedules/due.sql");
    eventually("it has looked", SOON, async || {
        frozen.batch_execute("rollback; begin").await.expect("begun");
        let rows = frozen.query(due, &[&100_i64, &None::<String>, &Vec::<String>::new(), &Vec::<String>::new()]).await.expect("look");
        if rows.len() == 1 { Ok(()) } else { Err(rows.len()) }
    })
    .await;
    let before = system.count("longshore.job_data").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(system.count("longshore.job_data").await, before, "the row is held");
    eventually("others go on", SOON, async || {
        let n = system.count("longshore.job_data").await;
        if n >= before + 5 { Ok(()) } else { Err(n) }
    })
    .await;
    assert!(frozen.batch_execute("commit").await.is_err(), "its transaction is over");
    system.assert_no_violations().await;
}
