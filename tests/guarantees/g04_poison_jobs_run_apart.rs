//! Guarantee 4: a job that has taken two workers down runs in a process of its own, and takes nobody with it.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    a_users_program,
    support::{eventually::eventually, process::Process},
    system::{SOON, System, post},
};

/// No wait between attempts, so that the test need not wait for them.
fn at_once(kind: &str, args: &Value) -> Value {
    json!({"kind": kind, "args": args, "retry": {"backoff": "fixed", "base": 0}})
}

/// As if that many workers had died with the job before.
async fn has_lost(system: &System, id: i64, losses: i16) {
    let lose = "insert into longshore.attempts (id, lease, started_at, worker, outcome, attempt, error)
        select $1, nextval('longshore.lease_number'), now(), (select min(worker) from longshore.workers), 'lost', n, 'died' from generate_series(1, $2::int) n";
    system.sql.execute(lose, &[&id, &i32::from(losses)]).await.expect("lose");
    system.sql.execute("update longshore.scheduled set attempt = $2 where id = $1", &[&id, &losses]).await.expect("lose");
    system.sql.execute("update longshore.scheduled set run_at = now() where id = $1", &[&id]).await.expect("lose");
    system
        .sql
        .execute("update longshore.job_data set run_at = s.run_at from longshore.scheduled s where s.id = $1 and job_data.id = $1", &[&id])
        .await
        .expect("lose");
}

/// A job that has lost two workers, and is due.
pub async fn dangerous(system: &System, mut job: Value) -> i64 {
    job["delay"] = json!("1h");
    let id = system.enqueue(&job).await;
    has_lost(system, id, 2).await;
    id
}

/// The process that a job has said in its log that it runs in.
async fn process_of(system: &System, id: i64) -> i32 {
    eventually("the job says where it runs", SOON, async || {
        let said = crate::system::get(system.address, &format!("/v1/jobs/{id}/logs")).await.json().to_string();
        let process = said.split("process ").nth(1).map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        process.and_then(|process| process.parse().ok()).ok_or(said)
    })
    .await
}

async fn is_gone(process: i32) {
    eventually("the process is gone", SOON, async || kill(Pid::from_raw(process), None).is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_time_it_takes_nobody_with_it() {
    let system = System::start().await;
    let mut job = at_once("die", &json!(null));
    job["queue"] = json!("dangerous");
    let id = system.enqueue(&job).await;
    for _ in 0..2 {
        // a worker that dies at once may not get to say that it was ready
        assert_eq!(post(system.address, "/v1/queues/dangerous/pause", &json!({})).await.status, 200);
        let mut worker = a_users_program::start(&system, &[]).await;
        assert_eq!(post(system.address, "/v1/queues/dangerous/resume", &json!({})).await.status, 200);
        assert!(!worker.wait_exit(SOON).await.success(), "it takes its worker down");
    }
    assert_eq!(post(system.address, "/v1/queues/dangerous/pause", &json!({})).await.status, 200);
    let mut worker = a_users_program::start(&system, &[]).await;
    let mut neighbours = Vec::new();
    for _ in 0..10 {
        neighbours.push(system.enqueue(&json!({"kind": "wait", "args": 12})).await);
    }
    for neighbour in &neighbours {
        system.until(*neighbour, "running").await;
    }
    assert_eq!(post(system.address, "/v1/queues/dangerous/resume", &json!({})).await.status, 200);
    let failed = system.until(id, "failed").await;
    assert_eq!(failed["error"], "its worker died 3 times");
    let outcomes: Vec<&str> = failed["history"].as_array().expect("a list").iter().filter_map(|attempt| attempt["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["lost"; 3]);
    worker.wait_for_line("it runs in a process of its own", SOON).await;
    let log = crate::system::get(system.address, &format!("/v1/jobs/{id}/logs")).await.json();
    let last = log["items"].as_array().and_then(|items| items.last()).map(|item| item["text"].to_string()).unwrap_or_default();
    assert!(last.contains("attempt 3 dies in process") && last.contains("longshore: its process was ended by signal 6 (SIGABRT)"), "{log}");
    for neighbour in &neighbours {
        assert_eq!(system.job(*neighbour).await["state"], "running", "it was there at that moment");
    }
    for neighbour in neighbours {
        let done = system.until(neighbour, "succeeded").await;
        assert_eq!((&done["attempt"], done["history"].as_array().map(Vec::len)), (&json!(1), Some(1)), "unharmed");
    }
    assert!(!worker.has_exited());
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_tells_and_gets_is_as_elsewhere() {
    let system = System::start().await;
    let worker = a_users_program::start(&system, &[]).await;
    let id = dangerous(&system, json!({"kind": "wait", "args": 0.1})).await;
    let done = system.until(id, "succeeded").await;
    assert_eq!((&done["attempt"], &done["result"]["before"], &done["checkpoint"], &done["progress"]), (&json!(3), &json!(null), &json!(1), &json!(0.5)));
    let process = done["result"]["process"].as_i64().expect("a number");
    assert_ne!(process, i64::from(worker.pid()));
    is_gone(i32::try_from(process).expect("an id")).await;

    let follows = dangerous(&system, json!({"kind": "follow", "args": 7})).await;
    let done = system.until(follows, "succeeded").await;
    let follower = done["result"][0].as_i64().expect("an id");
    assert_eq!(system.until(follower, "succeeded").await["result"], 7);

    // a success breaks the row of losses: an ordinary failure is one, too
    let args = json!({"kind": "wait", "args": "not a number", "max_attempts": 3});
    let failed = dangerous(&system, args).await;
    let failed = system.until(failed, "failed").await;
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("do not fit")), "{failed}");
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_as_others_do_and_leaves_no_process() {
    let system = System::start().await;
    let mut worker = a_users_program::start(&system, &[("LONGSHORE_WORKER__GRACE", "1s")]).await;

    let cancelled = dangerous(&system, at_once("wait", &json!(60))).await;
    let process = process_of(&system, cancelled).await;
    // whoever stops a service so means its worker, which decides
    kill(Pid::from_raw(process), Signal::SIGTERM).expect("it is there");
    assert_eq!(post(system.address, &format!("/v1/jobs/{cancelled}/cancel"), &json!({})).await.status, 202);
    assert_eq!(system.until(cancelled, "cancelled").await["error"], "heard that it is cancelled");
    is_gone(process).await;

    // one that does not listen is killed
    let mut job = at_once("park", &json!(60));
    job["timeout"] = json!("1s");
    job["max_attempts"] = json!(3);
    let late = dangerous(&system, job).await;
    let late = system.until(late, "failed").await;
    assert_eq!((&late["history"][2]["outcome"], &late["error"]), (&json!("timed_out"), &json!("it ran longer than its timeout of 1s")));

    let killed = dangerous(&system, at_once("wait", &json!(60))).await;
    let process = process_of(&system, killed).await;
    kill(Pid::from_raw(process), Signal::SIGKILL).expect("it is there");
    assert_eq!(system.until(killed, "failed").await["error"], "its worker died 3 times");

    let handed_back = dangerous(&system, at_once("wait", &json!(60))).await;
    let process = process_of(&system, handed_back).await;
    worker.signal(Signal::SIGTERM);
    assert!(worker.wait_exit(SOON).await.success());
    is_gone(process).await;
    let job = system.job(handed_back).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("available"), &json!(2)));

    let mut worker = a_users_program::start(&system, &[]).await;
    let process = eventually("it runs in another process", SOON, async || {
        let other = process_of_last(&system, handed_back).await.filter(|other| *other != process);
        other.ok_or("the same")
    })
    .await;
    worker.signal(Signal::SIGKILL);
    worker.wait_exit(SOON).await;
    is_gone(process).await;
    system.assert_no_violations().await;
}

async fn process_of_last(system: &System, id: i64) -> Option<i32> {
    let said = crate::system::get(system.address, &format!("/v1/jobs/{id}/logs")).await.json().to_string();
    said.rsplit("process ").next()?.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

/// All in one: there it must not start another PostgreSQL and API.
#[tokio::test(flavor = "multi_thread")]
async fn all_in_one_too() {
    let system = System::start().await;
    let mut dev: Process = crate::support::process::Program::longshore(["dev"])
        .env("LONGSHORE_DATABASE__URL", system.database.url())
        .env("LONGSHORE_API__LISTEN", "127.0.0.1:0")
        .start();
    dev.wait_for_line("ready for work", SOON).await;
    let id = dangerous(&system, json!({"kind": "sleep", "args": {"for": "100ms"}})).await;
    system.until(id, "succeeded").await;
    dev.wait_for_line("it runs in a process of its own", Duration::from_secs(1)).await;
    dev.signal(Signal::SIGTERM);
    assert!(dev.wait_exit(SOON).await.success());
    system.assert_no_violations().await;
}
