//! Failures by group: what makes errors alike, who bears a fingerprint and how long, and what the groups say.

use std::time::Duration;

use jiff::Timestamp;
use longshore_common::{
    job::{Change, Fingerprint, JobFilter, JobState},
    outcome::Outcome,
    store::{claim::Lease, failures::FailureGroup, read::Fields},
};

use crate::fixture::{Fixture, in_queue, job, parsed};

async fn fingerprint(f: &Fixture, error: &str) -> i64 {
    f.sql.query_one("select longshore.fingerprint($1)", &[&error]).await.expect("a hash").get(0)
}

/// Errors that are alike within a line, and different from those of every other line.
const ALIKE: &[&[&str]] = &[
    &["", " ", "\n"],
    &["no", "no ", " no"],
    &["No"],
    &["nothing"],
    &["order 1 is gone", "order 987654 is gone", "order -3.5 is gone", "order 1,234.50 is gone", "order 1e9 is gone", "order   7\nis gone"],
    &["orders 1, 2 and 3", "orders 4, 5, 6, 7 and 8"],
    &["user 0b5c0f6e-8a43-4c9d-9f86-6b6f3a1f2d10 is unknown", "user FFFFFFFF-1111-2222-3333-444444444444 is unknown"],
    &["commit 9f86d081 was not found", "commit 0123456789abcdef0123456789abcdef01234567 was not found"],
    &["request 01ARZ3NDEKTSV4RRFFQ69G5FAV timed out", "request 01BX5ZZKBKACTAV9WEVGEMMVRZ timed out"],
    &[
        "connect to 10.0.0.7:25: connection refused",
        "connect to 192.168.178.1:65535: connection refused",
        "connect to [::1]:25: connection refused",
        "connect to [fe80::1ff:fe23:4567:890a%2]:8080: connection refused",
    ],
    &["no route to 10.0.0.7", "no route to 2001:db8:0:0:0:0:0:1", "no route to 2001:db8::8a2e:370:7334", "no route to 10.1.2.3:80"],
    &["segfault at 0x7ffee3b0", "segfault at 0x0", "segfault at 0xDEADBEEF"],
    &[
        "expired at 2030-01-31T12:00:00Z!",
        "expired at 2031-12-01 23:59:59.123456+01:00!",
        "expired at 2031-12-01!",
        "expired at 2030-01-31 12:00!",
        "expired at 2030-01-31T12:00:00,5 UTC!",
    ],
    &["since 31 Jan 2030 nothing came", "since Mon, 1 December 2031 nothing came", "since Feb 3 nothing came", "since Tue Mar  3 nothing came"],
    &["at 12:30:45 it broke", "at 7:05 it broke", "at 23:59:59.999 it broke", "at 7:05 pm it broke"],
    &["std::fmt failed"],
    &["core::fmt failed"],
    &["may fail"],
    &["march on"],
    &["HTTP 500 from https://api.example.com/v1/orders/7", "HTTP 404 from https://api.example.com/v1/orders/99"],
    &["HTTP 500 from https://api.example.com/v1/users/7"],
    &["ünïcödé 1", "ünïcödé 2"],
    &["unicode 1"],
    &["cafe is closed"],
    &["decade is over"],
];

#[tokio::test]
async fn errors_of_one_cause_have_one_fingerprint() {
    let f = Fixture::new().await;
    let mut seen: Vec<(i64, &str)> = Vec::new();
    for line in ALIKE {
        let own = fingerprint(&f, line[0]).await;
        for error in *line {
            assert_eq!(fingerprint(&f, error).await, own, "{error:?} is as {:?}", line[0]);
        }
        assert!(seen.iter().all(|(other, _)| *other != own), "{:?} is not as {:?}", line[0], seen.iter().find(|(other, _)| *other == own));
        seen.push((own, line[0]));
    }
    // long ones: an id's length does not push other words in, and what comes late does not count
    let long = |id: &str, end: &str| format!("job {id}: {}{end}", "at a place in a file, ".repeat(60));
    assert_eq!(fingerprint(&f, &long("1", "a")).await, fingerprint(&f, &long("0123456789abcdef0123456789abcdef", "b")).await);
    assert_eq!(fingerprint(&f, &"9".repeat(16_000)).await, fingerprint(&f, "1").await);
    // the same for ever, whatever the version of PostgreSQL: md5 of "no", its first 64 bits
    assert_eq!(Fingerprint(fingerprint(&f, "no").await).to_string(), "7fa3b767c460b54a");
    let null: i64 = f.sql.query_one("select longshore.fingerprint(null)", &[]).await.expect("a hash").get(0);
    assert_eq!(null, fingerprint(&f, "").await);
}

/// What the places say of a job: finished's and scheduled's fingerprint, and when it failed.
async fn borne(f: &Fixture, id: i64) -> (Option<i64>, Option<i64>, Option<Timestamp>) {
    let row = f
        .sql
        .query_one(
            "select (select fingerprint from longshore.finished where id = $1), (select fingerprint from longshore.scheduled where id = $1),
                    (select failed_at from longshore.scheduled where id = $1)",
            &[&id],
        )
        .await
        .expect("look");
    (row.get(0), row.get(1), row.get(2))
}

async fn report(f: &Fixture, lease: Lease, outcome: Outcome) {
    assert!(f.store.report(&[(lease, outcome)]).await.expect("report").stale.is_empty());
}

fn failed(error: &str) -> Outcome {
    Outcome::Failed { error: error.to_owned(), retry_in: Some(Duration::from_hours(1)) }
}

#[tokio::test]
async fn what_failed_bears_one_and_nothing_else_does() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let no = fingerprint(&f, "no 1").await;
    let error = || "no 7".to_owned();
    let hour = Duration::from_hours(1);
    for (outcome, max_attempts, to_cancel, expected) in [
        (Outcome::Succeeded { result: None }, 25, false, (None, None)),
        (Outcome::Snoozed { delay: hour }, 25, false, (None, None)),
        (Outcome::HandedBack, 25, false, (None, None)),
        (Outcome::Expired, 25, false, (None, None)),
        (Outcome::Cancelled { error: Some(error()) }, 25, false, (None, None)),
        (failed("no 7"), 25, true, (None, None)),
        (failed("no 7"), 25, false, (None, Some(no))),
        (Outcome::Failed { error: error(), retry_in: Some(Duration::ZERO) }, 25, false, (None, None)),
        (Outcome::TimedOut { error: error() }, 25, false, (None, Some(no))),
        (failed("no 7"), 1, false, (Some(no), None)),
        (Outcome::TimedOut { error: error() }, 1, false, (Some(no), None)),
        (Outcome::Discarded { error: error() }, 25, false, (Some(no), None)),
    ] {
        let lease = f.leased(worker, parsed(&format!(r#"{{"kind": "echo", "max_attempts": {max_attempts}}}"#))).await;
        if to_cancel {
            f.store.cancel(lease.id).await.expect("runs");
        }
        let what = format!("{outcome:?}");
        report(&f, lease, outcome).await;
        let (finished, scheduled, at) = borne(&f, lease.id).await;
        assert_eq!((finished, scheduled, at.is_some()), (expected.0, expected.1, expected.1.is_some()), "{what}");
        f.store.delete(lease.id).await.expect("does not run");
    }
    // a lost one, waiting and failed
    for (max_attempts, state) in [(2, "retryable"), (1, "failed")] {
        let worker = f.worker(&format!("lost {max_attempts}")).await;
        let lease = f.leased(worker, parsed(&format!(r#"{{"kind": "echo", "max_attempts": {max_attempts}}}"#))).await;
        f.run("update longshore.workers set last_seen = now() - interval '1 h' where stopped_at is null").await;
        f.store.rescue().await.expect("rescue");
        assert_eq!(f.state(lease.id).await, state);
        let (finished, scheduled, _) = borne(&f, lease.id).await;
        let own = fingerprint(&f, f.store.job(lease.id).await.expect("read").expect("is there").error.as_deref().expect("has one")).await;
        assert_eq!(finished.or(scheduled), Some(own));
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn it_is_kept_while_the_failure_stands() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let lease = f.leased(worker, job("echo")).await;
    report(&f, lease, failed("no")).await;
    let first = borne(&f, lease.id).await;
    assert!(first.1.is_some() && first.2.is_some());
    let change = |text: &str| Change::parse(text.as_bytes()).expect("fine");
    for text in [r#"{"priority": 7}"#, r#"{"run_at": "2099-01-01T00:00:00Z"}"#, r#"{"max_attempts": 2}"#] {
        f.store.change(lease.id, &change(text)).await.expect("waits");
        assert_eq!(borne(&f, lease.id).await, first, "{text}");
    }
    assert!(f.store.change(lease.id, &change(r#"{"max_attempts": 1}"#)).await.is_err());
    assert_eq!(borne(&f, lease.id).await, first, "refused");
    f.store.retry(lease.id).await.expect("waits");
    assert_eq!(borne(&f, lease.id).await, (None, None, None));
    let lease = f.claim(worker, 1).await.jobs[0].lease;
    report(&f, lease, Outcome::Discarded { error: "never".to_owned() }).await;
    assert!(borne(&f, lease.id).await.0.is_some());
    f.store.retry(lease.id).await.expect("is finished");
    f.store.change(lease.id, &change(r#"{"run_at": "2099-01-01T00:00:00Z"}"#)).await.expect("waits");
    assert_eq!(borne(&f, lease.id).await, (None, None, None), "its failure was forgiven");
    f.store.cancel(lease.id).await.expect("waits");
    assert_eq!(borne(&f, lease.id).await, (None, None, None), "a cancelled one has not failed");
    f.assert_no_violations().await;
}

#[tokio::test]
async fn what_failed_before_gets_its_fingerprint_once() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let mut leases = Vec::new();
    for n in 0..3 {
        let lease = f.leased(worker, job("echo")).await;
        report(&f, lease, if n == 2 { Outcome::Succeeded { result: None } } else { Outcome::Discarded { error: format!("no {n}") } }).await;
        leases.push(lease);
    }
    let again = async || {
        f.run("update longshore.schema_version set routines = 'older'").await;
        assert!(f.store.migrate().await.expect("migrate"));
    };
    f.run("update longshore.finished set fingerprint = null").await;
    again().await;
    let own = Some(fingerprint(&f, "no 1").await);
    assert_eq!([borne(&f, leases[0].id).await.0, borne(&f, leases[1].id).await.0, borne(&f, leases[2].id).await.0], [own, own, None]);
    f.run(&format!("update longshore.finished set fingerprint = null where id = {}", leases[0].id)).await;
    again().await;
    assert_eq!((borne(&f, leases[0].id).await.0, borne(&f, leases[1].id).await.0), (None, own), "once");
    f.assert_no_violations().await;
}

/// Jobs of two kinds in two queues that failed with three errors, in the order of their failures.
async fn filled() -> (Fixture, Vec<(i64, &'static str, &'static str, &'static str, JobState)>) {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let mut all = Vec::new();
    for (kind, queue, error, state) in [
        ("a", "q", "refused by 10.0.0.1", JobState::Failed),
        ("a", "r", "refused by 10.0.0.2", JobState::Failed),
        ("a", "q", "refused by 10.0.0.3", JobState::Retryable),
        ("a", "q", "gone", JobState::Retryable),
        ("b", "r", "refused by 10.0.0.4", JobState::Failed),
        ("a", "r", "refused by 10.0.0.5", JobState::Retryable),
        ("b", "q", "gone", JobState::Failed),
        ("b", "r", "gone", JobState::Failed),
        ("a", "r", "too late", JobState::Failed),
    ] {
        let id = f.enqueue_one(in_queue(queue, job(kind))).await;
        let lease = f.claim_from(worker, queue, 1).await.jobs[0].lease;
        report(&f, lease, if state == JobState::Failed { Outcome::Discarded { error: error.to_owned() } } else { failed(error) }).await;
        all.push((id, kind, queue, error, state));
    }
    // what has not failed is in no group
    f.enqueue_one(in_queue("q", job("a"))).await;
    let done = f.claim_from(worker, "q", 1).await.jobs[0].lease;
    report(&f, done, Outcome::Succeeded { result: None }).await;
    (f, all)
}

#[tokio::test]
async fn groups_say_all_that_there_is() {
    let (f, all) = filled().await;
    let failed_at = async |id: i64| -> Timestamp {
        let at = "select coalesce((select finished_at from longshore.finished where id = $1), (select max(finished_at) from longshore.attempts where id = $1))";
        f.sql.query_one(at, &[&id]).await.expect("it failed").get(0)
    };
    let none: &[String] = &[];
    for (queues, kinds) in
        [(vec![], vec![]), (vec!["q"], vec![]), (vec![], vec!["b"]), (vec!["q", "r"], vec!["a"]), (vec!["r"], vec!["b"]), (vec!["none"], vec![])]
    {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let groups = f.store.failures(&names(&queues), &names(&kinds), 50).await.expect("list");
        let meant: Vec<_> =
            all.iter().filter(|(_, kind, queue, ..)| (queues.is_empty() || queues.contains(queue)) && (kinds.is_empty() || kinds.contains(kind))).collect();
        // by hand: the newest failure's group first
        let cause = |error: &str| error.split(" by ").next().expect("a word").to_owned();
        let mut expected: Vec<(String, String)> = Vec::new();
        for (_, kind, _, error, _) in meant.iter().rev() {
            let group = ((*kind).to_owned(), cause(error));
            if !expected.contains(&group) {
                expected.push(group);
            }
        }
        assert_eq!(
            groups.iter().map(|g| (g.kind.clone(), cause(g.example.error.as_deref().expect("has one")))).collect::<Vec<_>>(),
            expected,
            "{queues:?} {kinds:?}"
        );
        for group in &groups {
            let own = cause(group.example.error.as_deref().expect("has one"));
            let jobs: Vec<_> = meant.iter().filter(|(_, kind, _, error, _)| **kind == *group.kind && cause(error) == own).collect();
            let (first, last) = (jobs[0], jobs[jobs.len() - 1]);
            let count = |state| i64::try_from(jobs.iter().filter(|(.., s)| *s == state).count()).expect("few");
            assert_eq!(
                (group.count, group.failed, group.retryable, group.estimated),
                (i64::try_from(jobs.len()).expect("few"), count(JobState::Failed), count(JobState::Retryable), false),
                "{group:?}"
            );
            assert_eq!((group.first, group.last), (Some(failed_at(first.0).await), Some(failed_at(last.0).await)), "{group:?}");
            assert_eq!((group.example.id, group.example.queue.as_str(), group.example.error.as_deref()), (last.0, last.2, Some(last.3)), "{group:?}");
            assert_eq!(group.fingerprint.0, fingerprint(&f, last.3).await);
            // and lists find the same jobs by it
            let filter = JobFilter { fingerprint: Some(group.fingerprint), kinds: vec![group.kind.clone()], queues: names(&queues), ..JobFilter::default() };
            let listed = f.store.list_jobs(&filter, Fields::default(), None, 1000).await.expect("list").items;
            assert_eq!(listed.iter().rev().map(|job| job.id).collect::<Vec<_>>(), jobs.iter().map(|job| job.0).collect::<Vec<_>>(), "{group:?}");
            let failed_only = JobFilter { states: vec![JobState::Failed], ..filter.clone() };
            assert_eq!(
                i64::try_from(f.store.list_jobs(&failed_only, Fields::default(), None, 1000).await.expect("list").items.len()).expect("few"),
                group.failed
            );
            let neither = JobFilter { states: vec![JobState::Available, JobState::Cancelled], ..filter.clone() };
            assert!(f.store.list_jobs(&neither, Fields::default(), None, 1000).await.expect("list").items.is_empty());
            let waiting = JobFilter { states: vec![JobState::Available, JobState::Retryable], ..filter.clone() };
            assert_eq!(
                i64::try_from(f.store.list_jobs(&waiting, Fields::default(), None, 1000).await.expect("list").items.len()).expect("few"),
                group.retryable
            );
            let page = f.store.list_jobs(&filter, Fields::default(), Some(last.0), 1).await.expect("list").items;
            assert_eq!(page.first().map(|job| job.id), jobs.iter().rev().nth(1).map(|job| job.0), "page by page");
        }
    }
    let two = f.store.failures(none, none, 2).await.expect("list");
    assert_eq!(two, f.store.failures(none, none, 50).await.expect("list")[..2]);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn large_groups_are_counted_to_ten_thousand() {
    let (f, _) = filled().await;
    let grow = async |n: i32| {
        f.run(&format!(
            "with j as (insert into longshore.job_data (run_at, lane, priority, max_attempts, args)
                        select now(), (select min(lane) from longshore.lanes), 0, 1, '{{}}' from generate_series(1, {n}) returning id, lane),
                  f as (insert into longshore.finished (id, lane, state, attempt, error, fingerprint)
                        select id, lane, 'failed', 1, 'many', longshore.fingerprint('many') from j)
             insert into longshore.tally (lane, state, n) select lane, 'failed', count(*) from j group by lane"
        ))
        .await;
    };
    let many = async || -> FailureGroup { f.store.failures(&[], &[], 1).await.expect("list").remove(0) };
    grow(10_000).await;
    let group = many().await;
    assert_eq!((group.count, group.failed, group.estimated), (10_000, 10_000, false));
    grow(1).await;
    let group = many().await;
    assert_eq!((group.count, group.failed, group.estimated), (10_000, 10_000, true));
    assert_eq!(f.store.failures(&[], &[], 50).await.expect("list").len(), 6, "the others are there as well");
    f.assert_no_violations().await;
}
