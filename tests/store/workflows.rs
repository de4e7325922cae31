//! Workflows: jobs that wait for others start once all of those have ended, and once only, whoever ends when.

mod races;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use longshore_common::{
    job::{JobState, NewWorkflow, QueueName, TaskName, workflow::parse_more},
    json::RawJson,
    outcome::Outcome,
    store::{
        StoreError,
        claim::{Lease, QueueScan},
        enqueue::Origin,
        once::OnceError,
        workers::WorkerNumber,
        workflows::{WorkflowError, WorkflowState},
    },
};
use serde_json::{Value, json};

use crate::fixture::{Fixture, HeadStart};

pub async fn make(f: &Fixture, jobs: &Value) -> i64 {
    let new = NewWorkflow::parse(json!({"name": "w", "jobs": jobs}).to_string().as_bytes()).unwrap_or_else(|error| panic!("{jobs}: {error:?}"));
    let made = f.store.make_workflow(None, &new, &Origin::default(), None).await.expect("make");
    let answer: Value = serde_json::from_str(made.body.as_str()).expect("JSON");
    answer["id"].as_i64().expect("an id")
}

async fn states(f: &Fixture, id: i64) -> BTreeMap<String, &'static str> {
    f.store.workflow(id).await.expect("read").expect("is there").jobs.into_iter().map(|job| (job.name, job.state.word())).collect()
}

async fn stands(f: &Fixture, id: i64, expected: &[(&str, &str)]) {
    let states = states(f, id).await;
    let states: Vec<(&str, &str)> = states.iter().map(|(name, state)| (name.as_str(), *state)).collect();
    assert_eq!(states, expected);
    f.assert_no_violations().await;
}

/// Claims the one job that can be claimed, which must bear that name.
async fn next(f: &Fixture, worker: WorkerNumber, name: &str) -> longshore_common::store::claim::LeasedJob {
    let mut claimed = f.claim(worker, 10).await.jobs;
    assert_eq!(claimed.len(), 1, "{name}: {claimed:?}");
    let job = claimed.remove(0);
    let row = f.sql.query_one("select task from longshore.job_data where id = $1", &[&job.lease.id]).await.expect("look");
    assert_eq!(row.get::<_, &str>(0), name);
    job
}

fn succeeded(result: &str) -> Outcome {
    Outcome::Succeeded { result: serde_json::from_str(result).ok() }
}

fn failed() -> Outcome {
    Outcome::Discarded { error: "no".to_owned() }
}

async fn report(f: &Fixture, lease: Lease, outcome: Outcome) -> Vec<String> {
    let reported = f.store.report(&[(lease, outcome)]).await.expect("report");
    assert!(reported.stale.is_empty());
    reported.released
}

fn diamond() -> Value {
    json!([{"name": "d", "kind": "k", "after": ["b", "c"]}, {"name": "a", "kind": "k"}, {"name": "b", "kind": "k", "after": ["a"]},
           {"name": "c", "kind": "k", "after": ["a"], "queue": "other"}])
}

/// A claim may have begun before a parent ended, and still meet the child.
#[tokio::test]
async fn nothing_starts_before_what_it_comes_after_has_ended() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    make(&f, &json!([{"name": "a", "kind": "k"}, {"name": "b", "kind": "k", "after": ["a"]}])).await;
    let first = next(&f, worker, "a").await;
    let number = f.sql.query_one("select worker from longshore.workers", &[]).await.expect("look").get::<_, i32>(0);
    f.run("begin; select now()").await;
    report(&f, first.lease, succeeded("1")).await;
    let claim = "select started_at >= (select f.finished_at from longshore.finished f) from longshore.claim_1($1, 1,
        array(select lane from longshore.lanes), '{-32768}', '{-infinity}', '{0}', '{40000}')";
    assert!(f.sql.query_one(claim, &[&number]).await.expect("claimed").get::<_, bool>(0));
    f.run("commit").await;
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_diamond_runs_in_its_order() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let id = make(&f, &diamond()).await;
    stands(&f, id, &[("a", "available"), ("b", "blocked"), ("c", "blocked"), ("d", "blocked")]).await;
    let top = next(&f, worker, "a").await;
    assert!(top.parents.is_none());
    let mut released = report(&f, top.lease, succeeded(r#"{"z": 1.50, "a": 12345678901234567890}"#)).await;
    released.sort();
    assert_eq!(released, ["default", "other"], "these queues are told");
    stands(&f, id, &[("a", "succeeded"), ("b", "available"), ("c", "available"), ("d", "blocked")]).await;
    let left = next(&f, worker, "b").await;
    assert_eq!(left.parents.as_ref().map(RawJson::as_str), Some(r#"{"a": {"z": 1.50, "a": 12345678901234567890}}"#), "as it was stored");
    assert_eq!(report(&f, left.lease, succeeded("[1]")).await, [""; 0]);
    let right = f.claim_from(worker, "other", 10).await.jobs.remove(0);
    // a failed attempt is no end
    report(&f, right.lease, Outcome::Failed { error: "not yet".to_owned(), retry_in: Some(Duration::ZERO) }).await;
    stands(&f, id, &[("a", "succeeded"), ("b", "succeeded"), ("c", "available"), ("d", "blocked")]).await;
    let right = f.claim_from(worker, "other", 10).await.jobs.remove(0);
    report(&f, right.lease, Outcome::Succeeded { result: None }).await;
    // the same report again changes nothing
    report(&f, right.lease, Outcome::Succeeded { result: None }).await;
    let bottom = next(&f, worker, "d").await;
    assert_eq!(bottom.parents.as_ref().map(RawJson::as_str), Some(r#"{"b": [1], "c": null}"#));
    report(&f, bottom.lease, succeeded("3")).await;
    let view = f.store.workflow(id).await.expect("read").expect("is there");
    assert_eq!((view.state, view.counts.succeeded, view.name.as_deref()), (WorkflowState::Succeeded, 4, Some("w")));
    assert_eq!(
        view.jobs.iter().map(|job| (&*job.name, job.after.join(","))).collect::<Vec<_>>(),
        [("a", String::new()), ("b", "a".to_owned()), ("c", "a".to_owned()), ("d", "b,c".to_owned())]
    );
    assert_eq!(f.count("longshore.edges").await, 0);
}

#[tokio::test]
async fn what_comes_after_a_failure_is_cancelled_or_runs_as_it_says() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let jobs = json!([{"name": "a", "kind": "k"}, {"name": "b", "kind": "k", "after": ["a"]}, {"name": "c", "kind": "k", "after": ["b"]},
                      {"name": "clean", "kind": "k", "after": ["a", "c"], "if_failed": "run"}, {"name": "z", "kind": "k", "after": ["clean"]}]);
    let id = make(&f, &jobs).await;
    report(&f, next(&f, worker, "a").await.lease, failed()).await;
    stands(&f, id, &[("a", "failed"), ("b", "cancelled"), ("c", "cancelled"), ("clean", "available"), ("z", "blocked")]).await;
    let row = f.sql.query_one("select error, attempt from longshore.jobs where task = 'c'", &[]).await.expect("look");
    let a = f.sql.query_one("select id from longshore.jobs where task = 'a'", &[]).await.expect("look").get::<_, i64>(0);
    assert_eq!((row.get::<_, &str>(0), row.get::<_, i16>(1)), (&*format!("it comes after job {a} (\"a\"), which is failed"), 0));
    let clean = next(&f, worker, "clean").await;
    assert_eq!(clean.parents.as_ref().map(RawJson::as_str), Some(r#"{"a": null, "c": null}"#));
    report(&f, clean.lease, succeeded("1")).await;
    report(&f, next(&f, worker, "z").await.lease, succeeded("1")).await;
    assert_eq!(f.store.workflow(id).await.expect("read").expect("is there").state, WorkflowState::Failed);
    // again: what failed and what was cancelled because of it; what has run stays
    f.store.retry_workflow(id).await.expect("retry");
    stands(&f, id, &[("a", "available"), ("b", "blocked"), ("c", "blocked"), ("clean", "succeeded"), ("z", "succeeded")]).await;
    for name in ["a", "b", "c"] {
        report(&f, next(&f, worker, name).await.lease, succeeded("1")).await;
    }
    assert_eq!(f.store.workflow(id).await.expect("read").expect("is there").state, WorkflowState::Succeeded);
    assert!(matches!(f.store.retry_workflow(id).await, Err(WorkflowError::NothingFailed(_))));
    assert!(matches!(f.store.retry_workflow(id + 1).await, Err(WorkflowError::NotThere(_))));
    f.assert_no_violations().await;
}

/// While others still have to end, a parent that is retried is waited for again.
#[tokio::test]
async fn who_still_waits_waits_for_a_retried_parent_again() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let id = make(&f, &json!([{"name": "a", "kind": "k"}, {"name": "b", "kind": "k", "queue": "other"}, {"name": "end", "kind": "k", "after": ["a", "b"], "if_failed": "run"}])).await;
    let a = next(&f, worker, "a").await;
    report(&f, a.lease, failed()).await;
    f.run(&format!("select longshore.retry({})", a.lease.id)).await;
    stands(&f, id, &[("a", "available"), ("b", "available"), ("end", "blocked")]).await;
    let b = f.claim_from(worker, "other", 10).await.jobs.remove(0);
    report(&f, b.lease, succeeded("2")).await;
    stands(&f, id, &[("a", "available"), ("b", "succeeded"), ("end", "blocked")]).await;
    report(&f, next(&f, worker, "a").await.lease, succeeded("1")).await;
    assert_eq!(next(&f, worker, "end").await.parents.as_ref().map(RawJson::as_str), Some(r#"{"a": 1, "b": 2}"#));
    f.assert_no_violations().await;
}

#[tokio::test]
async fn jobs_that_are_blocked_are_changed_like_others() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let jobs = json!([{"name": "a", "kind": "k"}, {"name": "b", "kind": "k", "after": ["a"]}, {"name": "c", "kind": "k", "after": ["b"], "if_failed": "run"},
                      {"name": "d", "kind": "k", "after": ["a"], "expires_in": "1h"}, {"name": "e", "kind": "k", "after": ["d"]}]);
    let id = make(&f, &jobs).await;
    let ids: BTreeMap<String, i64> = f.store.workflow(id).await.expect("read").expect("is there").jobs.into_iter().map(|job| (job.name, job.id)).collect();
    // changed: it stays where it is
    f.run(&format!("select longshore.change_job({}, 3::smallint, now() - interval '1 h', null, 7::smallint, '[\"t\"]', null)", ids["b"])).await;
    assert_eq!(f.state(ids["b"]).await, "blocked");
    // expired: those behind it go with it
    f.run("with d as (update longshore.job_data set expires_at = now() - interval '1 s' where expires_at is not null returning id) update longshore.expiring e set expires_at = now() - interval '1 s' from d where d.id = e.id").await;
    assert_eq!(f.store.expire(100).await.expect("expire"), 1);
    stands(&f, id, &[("a", "available"), ("b", "blocked"), ("c", "blocked"), ("d", "cancelled"), ("e", "cancelled")]).await;
    // deleted: as if it was cancelled
    f.run(&format!("select longshore.delete_jobs(array[{}]::bigint[])", ids["b"])).await;
    stands(&f, id, &[("a", "available"), ("c", "available"), ("d", "cancelled"), ("e", "cancelled")]).await;
    assert!(f.store.retry(ids["a"]).await.is_err(), "it waits");
    // cancelled because of another, and retried by hand: it runs
    f.run(&format!("select longshore.retry({})", ids["e"])).await;
    assert_eq!(f.state(ids["e"]).await, "available");
    f.claim(worker, 10).await;
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_workflow_is_cancelled_as_a_whole() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let mut jobs = diamond();
    jobs[0]["if_failed"] = json!("run");
    let id = make(&f, &jobs).await;
    let a = next(&f, worker, "a").await;
    let cancelled = f.store.cancel_workflow(id).await.expect("cancel");
    assert_eq!((cancelled.cancelled, cancelled.asked), (3, 1));
    stands(&f, id, &[("a", "running"), ("b", "cancelled"), ("c", "cancelled"), ("d", "cancelled")]).await;
    report(&f, a.lease, Outcome::Cancelled { error: None }).await;
    assert_eq!(f.store.workflow(id).await.expect("read").expect("is there").state, WorkflowState::Cancelled);
    assert!(matches!(f.store.cancel_workflow(id).await, Err(WorkflowError::Over(_))));
    assert!(matches!(f.store.cancel_workflow(id + 1).await, Err(WorkflowError::NotThere(_))));
    f.assert_no_violations().await;
}

async fn add(f: &Fixture, id: i64, jobs: &Value) -> Result<(), WorkflowError> {
    let standing = states(f, id).await.into_keys().filter_map(|name| TaskName::new(&name).ok()).collect();
    let tasks = parse_more(json!({"jobs": jobs}).to_string().as_bytes(), &standing).expect("fine");
    f.store.add_to_workflow(id, &tasks, &Origin::default(), None).await
}

#[tokio::test]
async fn jobs_are_added_while_it_runs() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let id = make(&f, &json!([{"name": "a", "kind": "k"}, {"name": "b", "kind": "k", "after": ["a"]}])).await;
    let a = next(&f, worker, "a").await;
    report(&f, a.lease, succeeded("1")).await;
    // behind what has ended, what waits, and each other
    add(&f, id, &json!([{"name": "e", "kind": "k", "queue": "q", "after": ["c", "b"]}, {"name": "c", "kind": "k", "queue": "q", "after": ["a"]}]))
        .await
        .expect("add");
    stands(&f, id, &[("a", "succeeded"), ("b", "available"), ("c", "available"), ("e", "blocked")]).await;
    let b = next(&f, worker, "b").await;
    report(&f, b.lease, failed()).await;
    stands(&f, id, &[("a", "succeeded"), ("b", "failed"), ("c", "available"), ("e", "cancelled")]).await;
    // behind a failure
    add(&f, id, &json!([{"name": "x", "kind": "k", "after": ["b"]}, {"name": "y", "kind": "k", "after": ["b"], "if_failed": "run"}])).await.expect("add");
    stands(&f, id, &[("a", "succeeded"), ("b", "failed"), ("c", "available"), ("e", "cancelled"), ("x", "cancelled"), ("y", "available")]).await;
    let c = f.claim_from(worker, "q", 1).await.jobs.remove(0);
    report(&f, c.lease, succeeded("1")).await;
    report(&f, next(&f, worker, "y").await.lease, succeeded("1")).await;
    assert!(matches!(add(&f, id, &json!([{"name": "z", "kind": "k"}])).await, Err(WorkflowError::Over(_))));
    f.assert_no_violations().await;
}

/// A parent may end at the very moment at which a job is put behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn adding_against_ending() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let (mut sooner, mut head_start) = (0, HeadStart::default());
    for round in 0..150 {
        let id = make(&f, &json!([{"name": "a", "kind": "k"}, {"name": "stay", "kind": "k", "queue": "stay"}])).await;
        let a = next(&f, worker, "a").await;
        let done = AtomicBool::new(false);
        let (ended_first, ()) = tokio::join!(
            async {
                head_start.first(&f.store).await;
                add(&f, id, &json!([{"name": "b", "kind": "k", "after": ["a"]}])).await.expect("add");
                done.load(Relaxed)
            },
            async {
                head_start.second(&f.store).await;
                report(&f, a.lease, Outcome::Succeeded { result: None }).await;
                done.store(true, Relaxed);
            }
        );
        head_start.next(!ended_first);
        sooner += usize::from(ended_first);
        let b = next(&f, worker, "b").await;
        report(&f, b.lease, Outcome::Succeeded { result: None }).await;
        if round % 30 == 0 {
            f.assert_no_violations().await;
        }
    }
    assert!(sooner > 0 && sooner < 150, "{sooner} of 150 ended first");
    f.assert_no_violations().await;
}

/// The transaction that ends the parent began before its child was made, so to its own `now()` the child's `run_at` is yet to come.
#[tokio::test]
async fn who_began_before_the_child_was_made_releases_it_at_once() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let id = make(&f, &json!([{"name": "a", "kind": "k"}, {"name": "stay", "kind": "k", "queue": "stay"}])).await;
    let a = next(&f, worker, "a").await;
    f.run("begin; select now()").await;
    add(&f, id, &json!([{"name": "b", "kind": "k", "after": ["a"]}])).await.expect("add");
    f.run(&format!("select longshore.report(array[{}::bigint], array[{}::bigint], array['succeeded']); commit", a.lease.id, a.lease.lease)).await;
    stands(&f, id, &[("a", "succeeded"), ("b", "available"), ("stay", "available")]).await;
    next(&f, worker, "b").await;
}

/// All parents of one job end at once, in as many transactions as there are connections: it starts once, after the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wide_fan_in_starts_once() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for (wide, each) in [(8, 1), (400, 7), (1000, 50)] {
        let names: Vec<String> = (0..wide).map(|n| format!("n{n}")).collect();
        let mut jobs: Vec<Value> = names.iter().map(|name| json!({"name": name, "kind": "k"})).collect();
        jobs.push(json!({"name": "end", "kind": "k", "after": names}));
        let id = make(&f, &json!(jobs)).await;
        let mut leases = Vec::new();
        while leases.len() < wide {
            leases.extend(f.claim(worker, 100).await.jobs.iter().map(|job| job.lease));
        }
        fastrand::shuffle(&mut leases);
        let reports: Vec<_> = leases
            .chunks(each)
            .map(|some| {
                let (store, some) = (f.store.clone(), some.to_vec());
                tokio::spawn(async move {
                    let reports: Vec<_> = some.into_iter().map(|lease| (lease, succeeded("1"))).collect();
                    store.report(&reports).await.expect("report").released.len()
                })
            })
            .collect();
        let mut told = 0;
        for report in reports {
            told += report.await.expect("no panic");
        }
        assert_eq!(told, 1, "one of them let it go");
        let end = next(&f, worker, "end").await;
        let parents: BTreeMap<String, i64> = serde_json::from_str(end.parents.expect("some").as_str()).expect("JSON");
        assert_eq!(parents.len(), wide);
        report(&f, end.lease, succeeded("1")).await;
        assert_eq!(f.store.workflow(id).await.expect("read").expect("is there").state, WorkflowState::Succeeded);
        f.assert_no_violations().await;
    }
}

#[tokio::test]
async fn a_chain_of_ten_thousand() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let jobs: Vec<Value> =
        (0..10_000).map(|n| json!({"name": format!("n{n}"), "kind": "k", "after": if n == 0 { vec![] } else { vec![format!("n{}", n - 1)] }})).collect();
    let id = make(&f, &json!(jobs)).await;
    for n in 0..3 {
        report(&f, next(&f, worker, &format!("n{n}")).await.lease, succeeded("1")).await;
    }
    report(&f, next(&f, worker, "n3").await.lease, failed()).await;
    let view = f.store.workflow(id).await.expect("read").expect("is there");
    assert_eq!((view.counts.succeeded, view.counts.failed, view.counts.cancelled, view.state), (3, 1, 9_996, WorkflowState::Failed));
    f.store.retry_workflow(id).await.expect("retry");
    let view = f.store.workflow(id).await.expect("read").expect("is there");
    assert_eq!((view.counts.available, view.counts.blocked), (1, 9_996));
    assert_eq!(f.store.cancel_workflow(id).await.expect("cancel").cancelled, 9_997);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_workflow_is_made_whole_or_not_at_all() {
    let f = Fixture::new().await;
    let make = async |text: Value| {
        let new = NewWorkflow::parse(text.to_string().as_bytes()).expect("fine");
        f.store.make_workflow(None, &new, &Origin::default(), None).await.map(|_| ())
    };
    let with_key = |name: &str| json!({"jobs": [{"name": "first", "kind": "k", "after": [name]}, {"name": name, "kind": "k", "unique": {"key": "u"}}]});
    make(with_key("a")).await.expect("made");
    let refused = make(with_key("b")).await;
    assert!(matches!(refused, Err(OnceError::Store(StoreError::KeyHeld { index: 1, .. }))), "the place in the request: {refused:?}");
    let name = QueueName::new("small").expect("a name");
    super::limits::put(&f.store, "small", r#"{"max_waiting": 1}"#).await;
    let refused = make(json!({"jobs": [{"name": "a", "kind": "k", "queue": name}, {"name": "b", "kind": "k", "queue": name}]})).await;
    assert!(matches!(refused, Err(OnceError::Store(StoreError::QueueFull { .. }))), "{refused:?}");
    assert_eq!((f.count("longshore.workflows").await, f.count("longshore.job_data").await), (1, 2));
    f.assert_no_violations().await;
}

/// What has ended is kept until all of the workflow has, whatever the queue's retention says.
#[tokio::test]
async fn results_are_kept_while_somebody_may_want_them() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    super::limits::put(&f.store, "default", r#"{"retention": {"succeeded": 0}}"#).await;
    let id = make(&f, &json!([{"name": "a", "kind": "k"}, {"name": "b", "kind": "k", "after": ["a"]}])).await;
    report(&f, next(&f, worker, "a").await.lease, succeeded("7")).await;
    f.store.look_after_workflows(100).await.expect("look");
    assert_eq!(f.store.prune(100).await.expect("prune"), 0);
    let b = next(&f, worker, "b").await;
    assert_eq!(b.parents.as_ref().map(RawJson::as_str), Some(r#"{"a": 7}"#));
    report(&f, b.lease, succeeded("8")).await;
    assert_eq!(f.store.prune(100).await.expect("prune"), 0, "not known to be over yet");
    assert_eq!(f.store.look_after_workflows(100).await.expect("look"), 1);
    assert_eq!(f.store.prune(100).await.expect("prune"), 2);
    assert!(f.store.workflow(id).await.expect("read").is_none());
    f.run("update longshore.workflows set over_at = over_at - interval '1 h'").await;
    f.store.look_after_workflows(100).await.expect("look");
    assert_eq!(f.count("longshore.workflows").await, 0);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn large_results_of_many_parents_are_named_instead() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    make(
        &f,
        &json!([{"name": "a", "kind": "k"}, {"name": "b", "kind": "k"}, {"name": "c", "kind": "k"}, {"name": "d", "kind": "k"}, {"name": "e", "kind": "k"},
        {"name": "end", "kind": "k", "after": ["a", "b", "c", "d", "e"]}]),
    )
    .await;
    let claimed = f.claim(worker, 10).await;
    let large = format!("\"{}\"", "x".repeat(1_000_000));
    for job in &claimed.jobs {
        report(&f, job.lease, succeeded(&large)).await;
    }
    let end = next(&f, worker, "end").await;
    let parents: BTreeMap<String, Value> = serde_json::from_str(end.parents.expect("some").as_str()).expect("JSON");
    assert_eq!(parents["a"]["bytes"], 1_000_002);
    assert!(parents["e"]["omitted"].as_str().is_some_and(|why| why.contains("4 MiB")), "{:?}", parents["e"]);
}
