//! A handler's writes, the jobs that it enqueues and the success of its job are committed together, or not at all.

use std::time::Duration;

use longshore_worker::Job;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    a_users_program,
    support::{eventually::eventually, postgres::connect},
    system::{SOON, System, get, post},
};

async fn start() -> System {
    let system = System::start().await;
    system.sql.batch_execute("create table transfers (amount bigint); create table go (now int)").await.expect("a table of the user's");
    system
}

fn transfer(amount: i64, args: &[(&str, &str)]) -> Value {
    let mut job = json!({"kind": "transfer", "args": {"amount": amount}, "retry": {"backoff": "fixed", "base": 0}});
    for (name, value) in args {
        job["args"][name] = json!(value);
    }
    job
}

impl System {
    async fn sum(&self) -> i64 {
        self.sql.query_one("select coalesce(sum(amount), 0)::bigint from transfers", &[]).await.expect("a sum").get(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn together() {
    let system = start().await;
    let _worker = a_users_program::start(&system, &[]).await;
    let answer = post(system.address, "/v1/jobs?wait=20s", &transfer(1, &[])).await.json();
    assert_eq!((&answer["state"], &answer["result"], &answer["attempt"]), (&json!("succeeded"), &json!("in the transaction"), &json!(1)), "who waits is told");
    assert_eq!(system.sum().await, 1);
    let receipts = get(system.address, "/v1/jobs?queue=receipts&fields=args").await.json();
    assert_eq!((&receipts["items"][0]["args"], &receipts["items"][1]), (&json!({"receipt": 1}), &Value::Null));
    assert_eq!(receipts["items"][0]["request_id"], answer["request_id"], "it belongs to the same request");
    let log = get(system.address, &format!("/v1/jobs/{}/logs", answer["id"])).await.json();
    assert_eq!(log["items"][0]["text"], "has written\n", "what was told before is kept");
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_handler_does_then() {
    let system = start().await;
    let mut worker = a_users_program::start(&system, &[]).await;
    for (then, word) in [("fail", "failed"), ("panic", "failed"), ("stay", "timed_out")] {
        let mut job = transfer(1, &[("then", then)]);
        job["timeout"] = json!("2s");
        let id = system.enqueue(&job).await;
        let done = system.until(id, "succeeded").await;
        assert_eq!((&done["result"], &done["attempt"]), (&json!("in the transaction"), &json!(1)), "{then}");
        worker.wait_for_line(&format!("and then ended as {word}"), SOON).await;
    }
    assert_eq!(system.sum().await, 3);
    assert!(!worker.lines().iter().any(|line| line.contains("the lease was lost")));
    // its process dies after the commit
    let id = system.enqueue(&transfer(1, &[("then", "die")])).await;
    worker.wait_exit(SOON).await;
    assert_eq!(system.job(id).await["state"], "succeeded");
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_at_all_where_it_changes_its_mind() {
    let system = start().await;
    let _worker = a_users_program::start(&system, &[]).await;
    for before in ["drop", "roll back"] {
        let id = system.enqueue(&transfer(1, &[("before", before)])).await;
        assert_eq!(system.until(id, "failed").await["error"], "changed its mind");
    }
    let again = system.enqueue(&transfer(2, &[])).await;
    system.until(again, "succeeded").await;
    assert_eq!(system.sum().await, 2);
    assert_eq!(system.count("longshore.jobs where queue = 'receipts'").await, 1);
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_at_all_where_the_lease_is_lost() {
    let system = start().await;
    let mut frozen = a_users_program::start(&system, &[]).await;
    let id = system.enqueue(&transfer(1, &[("before", "wait")])).await;
    eventually("it has written", SOON, async || {
        let log = get(system.address, &format!("/v1/jobs/{id}/logs")).await.json();
        log["items"][0]["text"] == "has written\n"
    })
    .await;
    frozen.signal(Signal::SIGSTOP);
    let _other = a_users_program::start(&system, &[]).await;
    eventually("the other has it", SOON, async || system.job(id).await["attempt"] == 2).await;
    system.sql.batch_execute("insert into go values (1)").await.expect("go");
    assert_eq!(system.until(id, "succeeded").await["attempt"], 2);
    frozen.signal(Signal::SIGCONT);
    frozen.wait_for_line("was declared dead", SOON).await;
    eventually("no transaction is left open", SOON, async || {
        system.count("pg_stat_activity where state like 'idle in transaction%' and datname = current_database()").await == 0
    })
    .await;
    assert_eq!(system.sum().await, 1);
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_transactions_leave_connections_for_reports() {
    let system = start().await;
    let _worker = a_users_program::start(&system, &[("LONGSHORE_DATABASE__POOL", "4")]).await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(system.enqueue(&transfer(1, &[("before", "wait")])).await);
    }
    let open = "pg_stat_activity where state <> 'idle' and xact_start < now() - interval '1 s' and application_name = 'longshore-worker'";
    eventually("two of them have begun", SOON, async || {
        system.count("pg_locks where relation = 'transfers'::regclass and mode = 'RowExclusiveLock'").await == 2
    })
    .await;
    for n in 0..20 {
        let echo = system.enqueue(&json!({"kind": "echo", "args": n})).await;
        system.until(echo, "succeeded").await;
    }
    assert!(system.count(open).await <= 2);
    system.sql.batch_execute("insert into go values (1)").await.expect("go");
    for id in ids {
        system.until(id, "succeeded").await;
    }
    assert_eq!(system.sum().await, 6);
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_follow() {
    let system = start().await;
    let _worker = a_users_program::start(&system, &[]).await;
    let id = system.enqueue(&json!({"kind": "follow", "args": {"a": 1}})).await;
    let done = system.until(id, "succeeded").await;
    assert_eq!(done["result"][0], done["result"][1], "the key is unique");
    let follower = system.until(done["result"][0].as_i64().expect("an id"), "succeeded").await;
    assert_eq!((&follower["queue"], &follower["tags"], &follower["result"]), (&json!("followers"), &json!(["follows"]), &json!({"a": 1})));
    let log = get(system.address, &format!("/v1/jobs/{id}/logs")).await.json();
    assert!(log["items"][0]["text"].as_str().is_some_and(|text| text.contains("the job is not valid: /kind must be")), "{log}");
    system.assert_no_violations().await;
}

/// On a connection of the user's own, who may do nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_transaction_of_the_users_own() {
    let system = start().await;
    let mut client = connect(system.database.url()).await;
    let full = Job::new("echo", json!({"a": 1}))
        .queue("own")
        .priority(-3)
        .max_attempts(7)
        .timeout(Duration::from_secs(90))
        .tag("t")
        .meta(json!({"m": 1}))
        .concurrency_key("c")
        .delay(Duration::from_hours(1))
        .expires_in(Duration::from_hours(2))
        .unique("u");
    let transaction = client.transaction().await.expect("begin");
    longshore_worker::enqueue(&transaction, &full).await.expect("enqueue");
    transaction.rollback().await.expect("roll back");
    assert_eq!(system.count("longshore.jobs").await, 0);

    let transaction = client.transaction().await.expect("begin");
    let id = longshore_worker::enqueue(&transaction, &full).await.expect("enqueue");
    transaction.commit().await.expect("commit");
    let job = system.job(id).await;
    for (field, value) in [
        ("queue", json!("own")),
        ("state", json!("scheduled")),
        ("args", json!({"a": 1})),
        ("priority", json!(-3)),
        ("max_attempts", json!(7)),
        ("timeout", json!(90)),
        ("tags", json!(["t"])),
        ("meta", json!({"m": 1})),
        ("concurrency_key", json!("c")),
        ("unique_key", json!("u")),
    ] {
        assert_eq!(job[field], value, "{field}");
    }
    assert_eq!(longshore_worker::enqueue(&client, &full).await.expect("the standing job"), id);
    let plain = longshore_worker::enqueue(&client, &Job::new("echo", ()).timeout(None)).await.expect("enqueue");
    assert_eq!(system.job(plain).await["timeout"], Value::Null);
    let silent = longshore_worker::enqueue(&client, &Job::new("echo", ())).await.expect("enqueue");
    assert_eq!(system.job(silent).await["timeout"], 300);
    let refused = longshore_worker::enqueue(&client, &Job::new("echo", "\0")).await.expect_err("refused").to_string();
    assert!(refused.contains("/args has a NUL"), "{refused}");
    system.assert_no_violations().await;
}
