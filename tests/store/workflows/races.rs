//! Everybody at once, and two who meet at one job, step by step.

use std::collections::BTreeSet;

use super::*;
use crate::{
    fixture::store_at,
    support::{eventually::eventually, postgres::connect},
};

/// The job of a workflow that bears a name.
async fn id_of(f: &Fixture, workflow: i64, name: &str) -> i64 {
    f.store.workflow(workflow).await.expect("read").expect("is there").jobs.into_iter().find(|job| job.name == name).expect("such a job").id
}

/// Until somebody waits for what the test's own session has locked, or is through.
async fn met<T>(f: &Fixture, other: &tokio::task::JoinHandle<T>) {
    eventually("the other one waits, or is through", Duration::from_secs(20), async || {
        other.is_finished() || f.count("pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))").await > 0
    })
    .await;
}

/// Two statements, the first of which is committed when the second one waits for it, or is through.
async fn one_after_the_other(f: &Fixture, first: &str, second: String) {
    f.run(&format!("begin; {first}")).await;
    let other = connect(f.database.url()).await;
    let waits = tokio::spawn(async move { other.batch_execute(&second).await });
    met(f, &waits).await;
    f.run("commit").await;
    waits.await.expect("no panic").expect("done");
}

/// A parent that ends while what comes after it is retried: whoever is second knows of the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_against_a_parent_that_ends() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for whole in [true, false] {
        for ends_first in [true, false] {
            let id = make(&f, &json!([{"name": "a", "kind": "k"}, {"name": "b", "kind": "k"}, {"name": "c", "kind": "k", "after": ["a", "b"]}])).await;
            let leases: Vec<Lease> = f.claim(worker, 10).await.jobs.iter().map(|job| job.lease).collect();
            let (a, b) = (leases[0], leases[1]);
            report(&f, a, failed()).await;
            stands(&f, id, &[("a", "failed"), ("b", "running"), ("c", "cancelled")]).await;
            let c = id_of(&f, id, "c").await;
            let retry =
                if whole { format!("select longshore.retry_workflow({id})") } else { format!("select longshore.retry_jobs(array[{}, {c}]::bigint[])", a.id) };
            let end = format!("select longshore.report(array[{}]::bigint[], array[{}]::bigint[], array['succeeded'])", b.id, b.lease);
            let (first, second) = if ends_first { (end, retry) } else { (retry, end) };
            one_after_the_other(&f, &first, second).await;
            stands(&f, id, &[("a", "available"), ("b", "succeeded"), ("c", "blocked")]).await;
            report(&f, next(&f, worker, "a").await.lease, succeeded("1")).await;
            report(&f, next(&f, worker, "c").await.lease, succeeded("1")).await;
        }
    }
}

/// What waits still is let go by its last parent while another one is retried: it waits for that one, or goes on without.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_against_the_end_of_the_last_parent() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for ends_first in [true, false] {
        let id =
            make(&f, &json!([{"name": "a", "kind": "k"}, {"name": "b", "kind": "k"}, {"name": "c", "kind": "k", "after": ["a", "b"], "if_failed": "run"}]))
                .await;
        let leases: Vec<Lease> = f.claim(worker, 10).await.jobs.iter().map(|job| job.lease).collect();
        let (a, b) = (leases[0], leases[1]);
        report(&f, a, failed()).await;
        stands(&f, id, &[("a", "failed"), ("b", "running"), ("c", "blocked")]).await;
        let retry = format!("select longshore.retry_jobs(array[{}]::bigint[])", a.id);
        let end = format!("select longshore.report(array[{}]::bigint[], array[{}]::bigint[], array['succeeded'])", b.id, b.lease);
        let (first, second) = if ends_first { (end, retry) } else { (retry, end) };
        one_after_the_other(&f, &first, second).await;
        stands(&f, id, &[("a", "available"), ("b", "succeeded"), ("c", if ends_first { "available" } else { "blocked" })]).await;
        f.store.cancel_workflow(id).await.expect("cancel");
    }
}

/// A report takes what runs, then what waits for that; so do those who take both.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_many_jobs_against_a_report() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let id = make(&f, &json!([{"name": "a", "kind": "k"}, {"name": "c", "kind": "k", "after": ["a"]}, {"name": "z", "kind": "k"}])).await;
    // ids go by the order in which they can run; a and z run, c stands between them
    let other = store_at(f.database.url());
    let tasks = parse_more(br#"{"jobs": [{"name": "last", "kind": "k"}]}"#, &BTreeSet::new()).expect("fine");
    other.add_to_workflow(id, &tasks, &Origin::default(), None).await.expect("added");
    let leases: Vec<Lease> = f.claim(worker, 10).await.jobs.iter().map(|job| job.lease).collect();
    let (c, last) = (id_of(&f, id, "c").await, id_of(&f, id, "last").await);
    assert!(leases.iter().any(|lease| lease.id == last) && c < last, "{leases:?}, {c}");
    let ids: Vec<String> = leases.iter().map(|lease| lease.id.to_string()).collect();
    let numbers: Vec<String> = leases.iter().map(|lease| lease.lease.to_string()).collect();
    let (ids, numbers) = (ids.join(", "), numbers.join(", "));
    f.run(&format!("begin; select from longshore.running where id in ({ids}) order by id for update")).await;
    let session = connect(f.database.url()).await;
    let cancel = format!("select longshore.cancel_jobs(array[{c}, {last}]::bigint[])");
    let waits = tokio::spawn(async move { session.batch_execute(&cancel).await });
    met(&f, &waits).await;
    f.run(&format!("select longshore.report(array[{ids}]::bigint[], array[{numbers}]::bigint[], array_fill('succeeded'::text, array[{}]))", leases.len()))
        .await;
    f.run("commit").await;
    waits.await.expect("no panic").expect("no deadlock");
    stands(&f, id, &[("a", "succeeded"), ("c", "cancelled"), ("last", "succeeded"), ("z", "succeeded")]).await;
}

/// Everybody does everything to some workflows at once; nobody waits for ever, and nothing is left that cannot go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workflows_under_any_concurrency() {
    let f = Fixture::new().await;
    let until = tokio::time::Instant::now() + Duration::from_secs(8);
    let going = move || tokio::time::Instant::now() < until;
    let mut ids = Vec::new();
    for _ in 0..12 {
        // each comes after some of those before it
        let jobs: Vec<Value> = (0..40)
            .map(|n| {
                let after: Vec<String> = (0..n).filter(|_| fastrand::u8(..) < 24).map(|n| format!("n{n}")).collect();
                json!({"name": format!("n{n}"), "kind": "k", "after": after, "if_failed": if fastrand::bool() { "run" } else { "cancel" }, "max_attempts": 3})
            })
            .collect();
        ids.push(make(&f, &json!(jobs)).await);
    }
    let mut tasks = Vec::new();
    for n in 0..4 {
        let (store, worker) = (f.store.clone(), f.worker(&format!("w{n}")).await);
        tasks.push(tokio::spawn(async move {
            store.learn_lanes().await.expect("learn");
            let lanes: Vec<i32> = store.known_lanes().iter().map(|lane| lane.lane).collect();
            while going() {
                let claimed = store.claim(worker, &mut QueueScan::default(), &lanes, fastrand::usize(1..9)).await.expect("claim");
                let reports: Vec<_> = claimed
                    .jobs
                    .iter()
                    .map(|job| {
                        let outcome = match fastrand::u8(..12) {
                            0 => Outcome::HandedBack,
                            1 => Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::ZERO) },
                            2 => failed(),
                            _ => succeeded("1"),
                        };
                        (job.lease, outcome)
                    })
                    .collect();
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..4))).await;
                store.report(&reports).await.expect("report");
            }
        }));
    }
    for _ in 0..2 {
        let (store, ids) = (f.store.clone(), ids.clone());
        tasks.push(tokio::spawn(async move {
            while going() {
                let id = ids[fastrand::usize(..ids.len())];
                let view = store.workflow(id).await.expect("read").expect("is there");
                let some = view.jobs[fastrand::usize(..view.jobs.len())].clone();
                match fastrand::u8(..8) {
                    0 => drop(store.cancel(some.id).await),
                    1 | 2 => drop(store.retry(some.id).await),
                    3 | 4 => match store.retry_workflow(id).await {
                        Ok(()) | Err(WorkflowError::NothingFailed(_)) => {}
                        Err(error) => panic!("{error:?}"),
                    },
                    5 => drop(store.cancel_workflow(id).await),
                    _ => {
                        let standing = view.jobs.iter().filter_map(|job| TaskName::new(&job.name).ok()).collect();
                        let jobs = json!({"jobs": [{"name": format!("m{}", fastrand::u64(..)), "kind": "k", "after": [some.name]}]});
                        let tasks = parse_more(jobs.to_string().as_bytes(), &standing).expect("fine");
                        match store.add_to_workflow(id, &tasks, &Origin::default(), None).await {
                            Ok(()) | Err(WorkflowError::Over(_) | WorkflowError::Changed(_)) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                }
            }
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    f.assert_no_violations().await;
    // all that is left can run
    let worker = f.worker("last").await;
    f.run("update longshore.running set cancel_requested_at = null").await;
    loop {
        let leases: Vec<Lease> = f.claim(worker, 100).await.jobs.iter().map(|job| job.lease).collect();
        if leases.is_empty() {
            break;
        }
        let reports: Vec<_> = leases.into_iter().map(|lease| (lease, succeeded("1"))).collect();
        f.store.report(&reports).await.expect("report");
    }
    for id in ids {
        let view = f.store.workflow(id).await.expect("read").expect("is there");
        assert_ne!(view.state, WorkflowState::Running, "{:?}", view.counts);
        assert!(view.jobs.iter().all(|job| job.state != JobState::Blocked));
    }
    f.assert_no_violations().await;
}
