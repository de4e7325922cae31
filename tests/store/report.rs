//! Reports: what each outcome does, who is refused, what may be repeated.

use std::time::Duration;

use longshore_common::{
    job::{JobState, NewJob},
    json::RawJson,
    outcome::{MAX_RESULT_BYTES, Outcome},
    store::claim::Lease,
};

use crate::fixture::{Fixture, job, parsed};

fn json(text: &str) -> RawJson {
    RawJson::parse(text.to_owned()).expect("JSON")
}

#[tokio::test]
async fn a_success_keeps_its_result_as_it_came() {
    let f = Fixture::new().await;
    let worker = f.worker("host:1:2").await;
    let lease = f.leased(worker, job("echo")).await;
    let reported = f.store.report(&[(lease, Outcome::Succeeded { result: Some(json(r#"{"z": 1.50, "a": [12345678901234567890]}"#)) })]).await.expect("report");
    assert_eq!(reported.states, [(lease, JobState::Succeeded)]);
    let (view, history) = f.store.job_with_history(lease.id).await.expect("read").expect("there");
    assert_eq!(view.result.flatten().expect("a result").as_str(), r#"{"z": 1.50, "a": [12345678901234567890]}"#);
    assert_eq!((view.attempt, view.worker.as_deref()), (1, Some("host:1:2")));
    assert_eq!(history.len(), 1);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_result_that_cannot_be_stored_is_a_success_all_the_same() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let long = json(&format!("\"{}\"", "x".repeat(MAX_RESULT_BYTES)));
    for (result, kept) in
        [(json(r#""a\u0000b""#), r#""a\ufffdb""#), (long, r#"{"omitted":"the result is 1048578 bytes long; at most 1048576 are allowed","bytes":1048578}"#)]
    {
        let lease = f.leased(worker, job("echo")).await;
        f.store.report(&[(lease, Outcome::Succeeded { result: Some(result) })]).await.expect("report");
        let view = f.store.job(lease.id).await.expect("read").expect("there");
        assert_eq!(view.result.flatten().expect("a result").as_str(), kept);
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn only_the_holder_of_the_current_lease_is_heard() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let first = f.leased(worker, job("echo")).await;
    f.store.report(&[(first, Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::ZERO) })]).await.expect("report");
    let second = f.claim(worker, 1).await.jobs[0].lease;
    let stale = [(first, Outcome::Succeeded { result: None }), (Lease { id: second.id, lease: 999 }, Outcome::Discarded { error: String::new() })];
    for report in stale {
        let reported = f.store.report(std::slice::from_ref(&report)).await.expect("report");
        assert!(reported.states.is_empty() && reported.stale.contains(&report.0), "{report:?}");
    }
    assert_eq!(f.state(second.id).await, "running");
    assert_eq!(f.count("longshore.finished").await, 0);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_report_may_be_repeated_with_the_same_outcome_only() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for outcome in [
        Outcome::Succeeded { result: None },
        Outcome::Failed { error: "no".to_owned(), retry_in: None },
        Outcome::Discarded { error: "never".to_owned() },
        Outcome::Snoozed { delay: Duration::from_mins(1) },
        Outcome::HandedBack,
    ] {
        let lease = f.leased(worker, job("echo")).await;
        f.store.report(&[(lease, outcome.clone())]).await.expect("report");
        let state = f.state(lease.id).await;
        let again = f.store.report(&[(lease, outcome.clone())]).await.expect("report");
        assert!(again.stale.is_empty() && again.states.is_empty(), "{outcome:?}: {again:?}");
        let other =
            if matches!(outcome, Outcome::Succeeded { .. }) { Outcome::Discarded { error: String::new() } } else { Outcome::Succeeded { result: None } };
        assert!(f.store.report(&[(lease, other)]).await.expect("report").stale.contains(&lease), "{outcome:?}");
        assert_eq!(f.state(lease.id).await, state);
        f.claim(worker, 10).await;
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn many_at_once_each_with_its_own_outcome() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    f.enqueue(&vec![job("echo"); 60]).await;
    let jobs = f.claim(worker, 60).await.jobs;
    let mut reports: Vec<(Lease, Outcome)> = jobs
        .iter()
        .enumerate()
        .map(|(n, job)| {
            let outcome = match n % 4 {
                0 => Outcome::Succeeded { result: Some(json(&n.to_string())) },
                1 => Outcome::Failed { error: format!("error {n}"), retry_in: Some(Duration::from_mins(1)) },
                2 => Outcome::Discarded { error: format!("error {n}") },
                _ => Outcome::HandedBack,
            };
            (job.lease, outcome)
        })
        .collect();
    let twice = reports[0].clone();
    reports.push(twice); // the same job twice in one call
    let reported = f.store.report(&reports).await.expect("report");
    assert_eq!((reported.states.len(), reported.stale.len()), (60, 0));
    for (n, job) in jobs.iter().enumerate() {
        let view = f.store.job(job.lease.id).await.expect("read").expect("there");
        let expected = [JobState::Succeeded, JobState::Retryable, JobState::Failed, JobState::Available][n % 4];
        assert_eq!(view.state, expected);
        match n % 4 {
            0 => assert_eq!(view.result.flatten().expect("a result").as_str(), n.to_string()),
            3 => assert_eq!(view.attempt, 0, "a hand-back is not counted"),
            _ => assert_eq!(view.error, Some(format!("error {n}"))),
        }
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn the_delay_follows_the_backoff() {
    let f = Fixture::new().await;
    for (retry, attempt, least, most) in [
        ("null", 1, 0.9, 1.1),
        ("null", 5, 14.4, 17.6),
        ("null", 40, 77_760.0, 95_040.0),
        (r#"{"backoff":"exponential","base":2,"max":10,"jitter":0}"#, 3, 8.0, 8.0),
        (r#"{"backoff":"exponential","base":2,"max":10,"jitter":0}"#, 4, 10.0, 10.0),
        (r#"{"backoff":"linear","base":3,"max":10,"jitter":0}"#, 2, 6.0, 6.0),
        (r#"{"backoff":"linear","base":3,"max":10,"jitter":0}"#, 1000, 10.0, 10.0),
        (r#"{"backoff":"fixed","base":7,"max":100,"jitter":0.5}"#, 9, 3.5, 10.5),
        (r#"{"backoff":"exponential","base":1,"max":86400,"jitter":0}"#, 1000, 86_400.0, 86_400.0),
    ] {
        for _ in 0..20 {
            let retry = (retry != "null").then_some(retry);
            let row = f.sql.query_one("select longshore.backoff($1::text::json, $2)", &[&retry, &attempt]).await.expect("backoff");
            let seconds: f64 = row.get(0);
            assert!((least..=most).contains(&seconds), "{retry:?} after attempt {attempt}: {seconds}");
        }
    }
}

#[tokio::test]
async fn a_failed_attempt_waits_its_backoff_by_the_database_clock() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let lease = f.leased(worker, parsed(r#"{"kind":"echo","retry":{"backoff":"fixed","base":"90s","jitter":0}}"#)).await;
    f.store.report(&[(lease, Outcome::TimedOut { error: "late".to_owned() })]).await.expect("report");
    assert_eq!(
        f.count("longshore.scheduled s join longshore.attempts a using (id) where s.run_at = a.finished_at + interval '90 s' and a.outcome = 'timed_out'")
            .await,
        1
    );
    f.assert_no_violations().await;
}

#[tokio::test]
async fn attempts_used_up_are_a_failure_with_the_last_error() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let id = f.enqueue_one(NewJob { max_attempts: Some(3), ..job("echo") }).await;
    for attempt in 1..=3 {
        let lease = f.claim(worker, 1).await.jobs[0].lease;
        f.store.report(&[(lease, Outcome::Failed { error: format!("error {attempt}"), retry_in: Some(Duration::ZERO) })]).await.expect("report");
    }
    let (view, history) = f.store.job_with_history(id).await.expect("read").expect("there");
    assert_eq!((view.state, view.error.as_deref(), view.attempt), (JobState::Failed, Some("error 3"), 3));
    assert_eq!(
        history.iter().map(|a| (a.attempt, a.error.clone().unwrap_or_default())).collect::<Vec<_>>(),
        [(1, "error 1".to_owned()), (2, "error 2".to_owned()), (3, "error 3".to_owned())]
    );
    f.assert_no_violations().await;
}

/// A handler may open its transaction first, work, and complete its job in it.
#[tokio::test]
async fn a_job_ends_when_it_is_reported_not_when_that_transaction_began() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let lease = f.leased(worker, job("echo")).await;
    let complete = format!("select longshore.report(array[{}::bigint], array[{}::bigint], array['succeeded'])", lease.id, lease.lease);
    f.run("begin").await;
    f.run("create temporary table worked as select clock_timestamp() as until").await;
    f.run(&format!("{complete}; commit")).await;
    assert_eq!(f.count("longshore.jobs j, worked w where j.finished_at > w.until").await, 1);
    f.assert_no_violations().await;
}
