//! Cancel, retry, change and delete: the table in `job/call.rs` against what the statements do, in every state, and what each
//! leaves behind.

use longshore_common::{
    job::{Call, Change, Effect, JobState},
    json::RawJson,
    outcome::Outcome,
    store::control::ControlError,
};

use crate::{
    fixture::{Fixture, job, parsed},
    states::job_in,
};

async fn ask(f: &Fixture, call: Call, id: i64) -> Result<Effect, ControlError> {
    match call {
        Call::Cancel => f.store.cancel(id).await,
        Call::Retry => f.store.retry(id).await,
        Call::Change => f.store.change(id, &Change { priority: Some(3), ..Change::default() }).await,
        Call::Delete => f.store.delete(id).await,
    }
}

/// All that the tables say of jobs, as a text.
pub async fn everything(f: &Fixture) -> String {
    let mut text = String::new();
    for table in ["job_data", "ready", "scheduled", "running", "finished", "attempts", "labels", "expiring", "uniques", "tally"] {
        let rows = f.sql.query_one(&format!("select coalesce(string_agg(t::text, E'\\n' order by t::text), '') from longshore.{table} t"), &[]).await;
        text += rows.expect("read a table").get(0);
        text += "\n--\n";
    }
    text
}

#[tokio::test]
async fn every_call_in_every_state() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for call in Call::ALL {
        for state in JobState::ALL {
            let (id, _) = job_in(&f, state, worker, parsed(r#"{"kind": "echo", "tags": ["a"], "meta": {"b": 1}, "expires_in": "9h"}"#)).await;
            let before = everything(&f).await;
            let answer = ask(&f, call, id).await;
            let what = format!("{call:?} of a {} job: {answer:?}", state.word());
            let now = f.state(id).await;
            match (state.on(call), answer) {
                (Err(expected), Err(ControlError::NotNow { why, .. })) => {
                    assert_eq!(why, expected, "{what}");
                    assert_eq!(everything(&f).await, before, "{what}: nothing changes");
                }
                (Ok(expected), Ok(effect)) => {
                    assert_eq!(effect, expected, "{what}");
                    let then = match effect {
                        Effect::Becomes(state) => state.word(),
                        Effect::Forgotten => "gone",
                        Effect::Asked | Effect::Changed => state.word(),
                    };
                    assert_eq!(now, then, "{what}");
                }
                (expected, answer) => panic!("{call:?} of a {} job: expected {expected:?}, was {answer:?}", state.word()),
            }
            f.assert_no_violations().await;
            // out of the way of the next one
            f.run("update longshore.workers set last_seen = now() - interval '1 h'").await;
            f.store.rescue().await.expect("rescue");
            f.run("update longshore.workers set stopped_at = null, last_seen = now()").await;
            if f.state(id).await != "gone" {
                f.store.delete(id).await.expect("waits or is finished");
            }
            // what a blocked one waits for
            f.run("select longshore.delete_jobs(array(select j.id from longshore.jobs j where j.queue = 'first'))").await;
            for table in ["job_data", "ready", "held", "scheduled", "blocked", "edges", "running", "finished", "attempts", "labels", "expiring"] {
                assert_eq!(f.count(&format!("longshore.{table}")).await, 0, "{table} after {what}");
            }
        }
        assert!(matches!(ask(&f, call, 4_000_000).await, Err(ControlError::NoJob(4_000_000))), "{call:?}");
    }
}

#[tokio::test]
async fn what_a_running_job_becomes_that_is_to_be_cancelled() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let outcomes = [
        (Outcome::Succeeded { result: None }, "succeeded"),
        (Outcome::Failed { error: "no".to_owned(), retry_in: None }, "cancelled"),
        (Outcome::TimedOut { error: "late".to_owned() }, "cancelled"),
        (Outcome::Discarded { error: "no".to_owned() }, "cancelled"),
        (Outcome::Snoozed { delay: std::time::Duration::from_secs(9) }, "cancelled"),
        (Outcome::HandedBack, "cancelled"),
        (Outcome::Cancelled { error: None }, "cancelled"),
    ];
    for (outcome, expected) in outcomes {
        let lease = f.leased(worker, job("echo")).await;
        assert!(f.store.to_cancel(worker).await.expect("ask").is_empty());
        assert_eq!(f.store.cancel(lease.id).await.expect("runs"), Effect::Asked);
        let since = f.store.job(lease.id).await.expect("read").expect("is there").cancel_requested_at;
        assert!(since.is_some());
        assert_eq!(f.store.cancel(lease.id).await.expect("may be asked again"), Effect::Asked);
        assert_eq!(f.store.to_cancel(worker).await.expect("ask"), [lease]);
        let reports = [(lease, outcome)];
        f.store.report(&reports).await.expect("report");
        let job = f.store.job(lease.id).await.expect("read").expect("is there");
        assert_eq!((job.state.word(), job.cancel_requested_at), (expected, since), "{reports:?}");
        assert!(f.store.report(&reports).await.expect("report").stale.is_empty(), "a repeated report is known");
    }
    // the loss of its worker ends it, too
    let lease = f.leased(worker, job("echo")).await;
    f.store.cancel(lease.id).await.expect("runs");
    f.run("update longshore.workers set last_seen = now() - interval '1 h'").await;
    f.store.rescue().await.expect("rescue");
    assert_eq!(f.state(lease.id).await, "cancelled");
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_retry_allows_one_more_attempt_and_forgives() {
    let f = Fixture::new().await;
    let mut leases = Vec::new();
    let id = f.enqueue_one(parsed(r#"{"kind": "echo", "max_attempts": 3, "expires_in": "1h"}"#)).await;
    let lose = async |n: i32| {
        let worker = f.worker(&format!("w{n}")).await;
        f.run("with d as (update longshore.job_data set run_at = now() - interval '1 s' where run_at > now() returning id) update longshore.scheduled s set run_at = now() - interval '1 s' from d where d.id = s.id").await;
        f.store.promote(10, None).await.expect("promote");
        let lease = f.claim(worker, 1).await.jobs[0].lease;
        f.run("update longshore.workers set last_seen = now() - interval '1 h' where stopped_at is null").await;
        f.store.rescue().await.expect("rescue");
        lease
    };
    for n in 0..3 {
        leases.push(lose(n).await);
    }
    assert_eq!(f.state(id).await, "failed");
    assert_eq!(f.store.retry(id).await.expect("is finished"), Effect::Becomes(JobState::Available));
    let (job, history) = f.store.job_with_history(id).await.expect("read").expect("is there");
    assert_eq!(
        (job.state, job.attempt, job.max_attempts, job.expires_at, history.len()),
        (JobState::Available, 3, 4, None, 3),
        "the last attempt is in the history"
    );
    let again = f.store.report(&[(leases[2], Outcome::Succeeded { result: None })]).await.expect("report");
    assert!(again.stale.contains(&leases[2]), "its worker comes too late");
    lose(3).await;
    assert_eq!(f.state(id).await, "failed", "four of four");
    f.run(&format!("update longshore.job_data set max_attempts = 25 where id = {id}")).await;
    f.store.retry(id).await.expect("is finished");
    lose(4).await;
    assert_eq!(f.state(id).await, "retryable", "the first loss since it was forgiven");
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_cancelled_job_keeps_the_error_of_its_last_attempt() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for n in 0..2 {
        let lease = f.leased(worker, parsed(&format!(r#"{{"kind": "echo", "args": {n}}}"#))).await;
        let failed = Outcome::Failed { error: "no luck".to_owned(), retry_in: Some(std::time::Duration::from_hours(1)) };
        f.store.report(&[(lease, failed)]).await.expect("report");
        f.store.cancel(lease.id).await.expect("waits");
        let job = f.store.job(lease.id).await.expect("read").expect("is there");
        assert_eq!((job.state, job.attempt, job.error.as_deref()), (JobState::Cancelled, 1, Some("no luck")));
    }
    let never_ran = f.enqueue_one(job("echo")).await;
    f.store.cancel(never_ran).await.expect("waits");
    assert_eq!(f.store.job(never_ran).await.expect("read").expect("is there").error, None);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_retry_does_not_take_a_key_that_another_job_holds() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let unique = || parsed(r#"{"kind": "echo", "unique": {"key": "k"}}"#);
    let first = f.leased(worker, unique()).await;
    f.store.report(&[(first, Outcome::Discarded { error: "no".to_owned() })]).await.expect("report");
    let second = f.enqueue_one(unique()).await;
    let before = everything(&f).await;
    assert!(matches!(f.store.retry(first.id).await, Err(ControlError::KeyHeld { standing, .. }) if standing == second));
    assert_eq!(everything(&f).await, before);
    f.store.cancel(second).await.expect("waits");
    f.store.retry(first.id).await.expect("the key is free");
    assert_eq!(f.enqueue_one(unique()).await, first.id, "a new one meets it again");
    assert!(matches!(f.store.retry(second).await, Err(ControlError::KeyHeld { standing, .. }) if standing == first.id));
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_change_changes_what_it_names() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let id = f.enqueue_one(parsed(r#"{"kind": "echo", "args": {"a": 1}, "tags": ["old"], "meta": {"x": 1}, "delay": "1h"}"#)).await;
    let change = |text: &str| Change::parse(text.as_bytes()).expect("fine");
    let due = f.store.job(id).await.expect("read").expect("is there").run_at;
    assert_eq!(f.store.change(id, &change(r#"{"tags": ["new"], "args": [1.50], "max_attempts": 2}"#)).await.expect("waits"), Effect::Changed);
    let job = f.store.job(id).await.expect("read").expect("is there");
    assert_eq!((job.state, job.tags, job.meta.as_str(), job.max_attempts, job.priority), (JobState::Scheduled, vec!["new".to_owned()], r#"{"x": 1}"#, 2, 0));
    assert_eq!((job.args.as_ref().map(RawJson::as_str), job.run_at), (Some("[1.50]"), due), "what is not named stays");
    assert_eq!((f.count("longshore.labels where label = 't:old'").await, f.count("longshore.labels where label in ('t:new', 'm:x=1')").await), (0, 2));
    f.store.change(id, &change(r#"{"run_at": "2000-01-01T00:00:00Z", "priority": -5, "meta": {}}"#)).await.expect("waits");
    assert_eq!(f.state(id).await, "available");
    f.assert_no_violations().await;
    let lease = f.claim(worker, 1).await.jobs[0].lease;
    f.store.report(&[(lease, Outcome::Failed { error: "no".to_owned(), retry_in: Some(std::time::Duration::from_hours(1)) })]).await.expect("report");
    let before = everything(&f).await;
    assert!(matches!(f.store.change(id, &change(r#"{"max_attempts": 1, "priority": 9}"#)).await, Err(ControlError::TooFewAttempts { attempt: 1, .. })));
    assert_eq!(everything(&f).await, before, "nothing changes");
    f.store.change(id, &change(r#"{"run_at": "2000-01-01T00:00:00Z"}"#)).await.expect("waits");
    assert_eq!((f.state(id).await.as_str(), f.claim(worker, 1).await.jobs[0].attempt), ("available", 2));
    f.assert_no_violations().await;
}

#[tokio::test]
async fn from_psql() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let said = async |statement: String| match f.sql.query_one(&statement, &[]).await {
        Ok(row) => row.get(0),
        Err(error) => error.as_db_error().map(|error| error.message().to_owned()).unwrap_or_default(),
    };
    let waiting = f.enqueue_one(job("echo")).await;
    assert_eq!(
        said(format!("select longshore.retry({waiting})")).await,
        format!("longshore.retry: job {waiting} is available; only finished and retryable jobs are retried")
    );
    assert_eq!(said(format!("select longshore.cancel({waiting})")).await, "cancelled");
    assert_eq!(said(format!("select longshore.cancel({waiting})")).await, format!("longshore.cancel: job {waiting} is cancelled already"));
    assert_eq!(said(format!("select longshore.retry({waiting})")).await, "available, with one more attempt");
    f.claim(worker, 1).await;
    assert_eq!(said(format!("select longshore.cancel({waiting})")).await, "it runs: its worker is told within a second, and stops it");
    for call in ["cancel", "retry"] {
        assert_eq!(said(format!("select longshore.{call}(4000000)")).await, format!("longshore.{call}: there is no job 4000000"));
    }
    f.assert_no_violations().await;
}

/// The table of `job/call.rs`, as docs/states.md shows it.
fn as_a_page() -> String {
    let mut page = String::from(
        "# What a call does in which state\n\n\
         Printed from the table that the code works by (`common/src/job/call.rs`); a test keeps the two the same, and holds the database\n\
         against it in every state. 409: the call does not go with the state, and nothing changes; 404: there is no such job.\n\n\
         | state | POST …/cancel | POST …/retry | PATCH | DELETE |\n|---|---|---|---|---|\n",
    );
    for state in JobState::ALL {
        page += &format!("| `{}` |", state.word());
        for call in Call::ALL {
            page += &match state.on(call) {
                Ok(Effect::Becomes(state)) => format!(" 200, `{}` |", state.word()),
                Ok(Effect::Asked) => " 202, its worker stops it |".to_owned(),
                Ok(Effect::Changed) => " 200, changed |".to_owned(),
                Ok(Effect::Forgotten) => " 204, gone |".to_owned(),
                Err(_) => " 409 |".to_owned(),
            };
        }
        page += "\n";
    }
    page
}

#[test]
fn the_page_of_states_says_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/states.md");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, as_a_page()).expect("write the page");
    }
    let page = std::fs::read_to_string(path).expect("read the page");
    assert_eq!(page, as_a_page(), "to print it anew: UPDATE_SNAPSHOTS=1 cargo test --test store the_page_of_states");
}
