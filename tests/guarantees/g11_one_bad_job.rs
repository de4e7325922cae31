//! Guarantee 11: one bad job never stops a worker. Here those whose outcome cannot be stored: since somebody's open transaction
//! holds what the report needs, since the report was cancelled, since the database refuses it for good. And over HTTP: whoever
//! needs what such a transaction holds is told so, and no other waits for it.

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::{
    support::{eventually::eventually, http, postgres::connect},
    system::{SOON, System, post, sleep_job},
};

const WAITING_REPORTS: &str = "pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '-- jobs/report%'";

/// Somebody who works by hand, and has left a transaction open.
async fn by_hand(system: &System, statements: &str) -> Client {
    let client = connect(system.database.url()).await;
    client.batch_execute(statements).await.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    client
}

/// A job that runs for a second, and is locked by hand meanwhile.
async fn locked_while_it_runs(system: &System) -> (i64, Client) {
    let id = system.enqueue(&sleep_job("1s")).await;
    eventually("it runs", SOON, async || system.count("longshore.running").await == 1).await;
    (id, by_hand(system, &format!("begin; select longshore.cancel({id})")).await)
}

/// The attempt that waited has ended it, and no other.
async fn is_through_at_once(system: &System, id: i64) {
    let job = system.until(id, "succeeded").await;
    assert_eq!(job["history"].as_array().map(Vec::len), Some(1), "{job}");
    system.assert_no_violations().await;
}

async fn a_report_waits(system: &System) {
    eventually("a report waits", SOON, async || system.count(WAITING_REPORTS).await > 0).await;
}

/// More jobs than the worker has slots, one after the other.
async fn others_go_on(system: &System) {
    for _ in 0..6 {
        let id = system.enqueue(&json!({"kind": "echo"})).await;
        system.until(id, "succeeded").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_that_somebody_has_locked_holds_up_no_other() {
    let system = System::start().await;
    let mut worker = system.worker(&[("LONGSHORE_WORKER__QUEUES", "*=3")]).await;
    let (id, other) = locked_while_it_runs(&system).await;
    a_report_waits(&system).await;
    others_go_on(&system).await;
    let line = worker.wait_for_line("somebody's open transaction", SOON).await;
    assert!(line.contains(&format!("job.id={id}")) && line.contains("longshore doctor"), "{line}");
    other.batch_execute("rollback").await.expect("rolled back");
    is_through_at_once(&system, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_failure_may_wait_for_its_unique_key() {
    let system = System::start().await;
    let on_failed = json!({"on_failed": {"kind": "echo", "unique": {"key": "K"}}});
    assert_eq!(http::json(system.address, "PUT", "/v1/queues/q", &on_failed).await.status, 201);
    system.enqueue(&json!({"kind": "echo"})).await; // else the transaction makes the kind, too
    let other = by_hand(&system, "begin; select longshore.enqueue('echo', unique_key => 'K')").await;
    let _worker = system.worker(&[("LONGSHORE_WORKER__QUEUES", "*=3")]).await;
    let failing = json!({"kind": "fail", "queue": "q", "max_attempts": 1, "args": {"message": "no"}});
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(system.enqueue(&failing).await);
    }
    a_report_waits(&system).await;
    others_go_on(&system).await;
    other.batch_execute("rollback").await.expect("rolled back");
    for id in ids {
        system.until(id, "failed").await;
    }
    eventually("what follows is there", SOON, async || system.count("longshore.jobs where unique_key = 'K' and state = 'succeeded'").await > 0).await;
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_was_cancelled_is_made_again() {
    let system = System::start().await;
    let _worker = system.worker(&[]).await;
    let (id, other) = locked_while_it_runs(&system).await;
    let cancel = format!("(select pg_cancel_backend(pid) from {WAITING_REPORTS}) c");
    eventually("a report was cancelled", SOON, async || system.count(&cancel).await > 0).await;
    other.batch_execute("rollback").await.expect("rolled back");
    is_through_at_once(&system, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_outcome_is_refused_for_good_does_not_stay_leased() {
    let system = System::start().await;
    let refuse = |states: &str| {
        format!(
            "create or replace function refuse() returns trigger language plpgsql as $$ begin raise 'not in this table'; end $$;
             create or replace trigger refuse before insert on longshore.finished for each row when (new.state in ({states})) execute function refuse()"
        )
    };
    system.sql.batch_execute(&refuse("'succeeded'")).await.expect("a trigger");
    let mut worker = system.worker(&[]).await;
    let id = system.enqueue(&json!({"kind": "echo", "max_attempts": 1})).await;
    let job = system.until(id, "failed").await;
    let error = job["error"].as_str().expect("an error");
    assert!(error.contains("succeeded") && error.contains("could not be stored") && error.contains("not in this table"), "{job}");
    worker.wait_for_line("cannot be stored", SOON).await;

    system.sql.batch_execute(&refuse("'succeeded', 'failed'")).await.expect("a trigger");
    let id = system.enqueue(&json!({"kind": "echo", "max_attempts": 1})).await;
    let job = system.until(id, "scheduled").await;
    assert_eq!(job["history"][0]["outcome"], "snoozed", "put off, uncounted: {job}");
    system.sql.batch_execute("drop trigger refuse on longshore.finished").await.expect("gone");
    system.assert_no_violations().await;
}

fn is_told(answer: &http::Response) {
    let told = answer.json();
    assert_eq!(answer.status, 503, "{told}");
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("somebody's open transaction")), "{told}");
}

fn unique(key: &str) -> Value {
    json!({"kind": "k", "unique": {"key": key}})
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wants_another_unique_key_does_not_wait() {
    let system = System::start().await;
    post(system.address, "/v1/jobs", &unique("first")).await; // else the transaction makes the kind, too
    let also = "select longshore.enqueue('k', unique_key => format('K %s %s', round, key)) from generate_series(0, 1) round, generate_series(0, 3) key";
    let holder = by_hand(&system, &format!("begin; select longshore.enqueue('k', unique_key => 'K'); {also}")).await;
    let address = system.address;
    let mut insist = Vec::new();
    for _ in 0..20 {
        insist.push(tokio::spawn(async move {
            loop {
                let answer = post(address, "/v1/jobs", &unique("K")).await;
                if answer.status != 503 {
                    return answer.json()["id"].clone();
                }
                is_told(&answer);
            }
        }));
    }
    eventually("they wait", SOON, async || system.count("pg_locks where not granted").await > 0).await;
    // the first who wants a key that is held delays those beside it, and shortly: several times, while another one waits once
    for round in 0..2 {
        let waits = tokio::spawn(async move { post(address, "/v1/jobs", &unique("K")).await });
        let mut first = Vec::new();
        for key in 0..4 {
            first.push(tokio::spawn(async move { post(address, "/v1/jobs", &unique(&format!("K {round} {key}"))).await }));
            eventually("a statement waits for it", SOON, async || system.count("pg_locks where not granted").await > 0).await;
            let answer = post(address, "/v1/jobs", &unique(&format!("other {round} {key}"))).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
        assert!(!waits.is_finished(), "four others are through before one who waits for K is told");
        is_told(&waits.await.expect("no panic"));
        for one in first {
            is_told(&one.await.expect("no panic"));
        }
    }
    holder.batch_execute("commit").await.expect("committed");
    let held: i64 = system.sql.query_one("select id from longshore.jobs where unique_key = 'K'", &[]).await.expect("one").get(0);
    for client in insist {
        assert_eq!(client.await.expect("no panic"), json!(held), "the job that was there first");
    }
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_over_http_of_a_job_that_is_held_may_be_repeated() {
    let system = System::start().await;
    for _ in 0..2 {
        system.enqueue(&json!({"kind": "k"})).await;
    }
    let leased = post(system.address, "/v1/leases", &json!({"limit": 2, "lease_for": "1h"})).await.json();
    let jobs = leased["jobs"].as_array().expect("jobs");
    let report = |job: &Value| json!({"id": job["id"], "lease": job["lease"], "outcome": "complete"});
    let (held, free) = (&jobs[0], &jobs[1]);
    let holder = by_hand(&system, &format!("begin; select longshore.cancel({})", held["id"])).await;
    let (path, body) = (format!("/v1/jobs/{}/complete", held["id"]), json!({"lease": held["lease"]}));
    // a worker has its other outcomes to report: it is told sooner than who only wants to cancel
    let (address, cancel) = (system.address, format!("/v1/jobs/{}/cancel", held["id"]));
    let cancels = tokio::spawn(async move { post(address, &cancel, &json!({})).await });
    eventually("the cancel waits", SOON, async || system.count("pg_locks where not granted").await > 0).await;
    is_told(&post(system.address, &path, &body).await);
    assert!(!cancels.is_finished(), "who cancels waits still");
    is_told(&cancels.await.expect("no panic"));
    let both = json!({"reports": [report(held), report(free)]});
    is_told(&post(system.address, "/v1/leases/report", &both).await);
    holder.batch_execute("rollback").await.expect("rolled back");
    assert_eq!(post(system.address, "/v1/leases/report", &both).await.json(), json!({"ok": [held["id"], free["id"]], "lost": []}));
    assert_eq!(post(system.address, &path, &body).await.json()["state"], "succeeded");
    system.assert_no_violations().await;
}
