//! What the settings of a queue do to its jobs: limits, retention, the job that follows a failed one.

use std::time::Duration;

use longshore_common::{
    job::{QueueName, QueueSettings},
    outcome::Outcome,
    store::{
        StoreError,
        enqueue::{Coalescer, Enqueued, Origin},
    },
};

use crate::fixture::{Fixture, in_queue, job, parsed};

pub async fn set(f: &Fixture, queue: &str, settings: &str) {
    let name = QueueName::new(queue).expect("a name");
    let settings = QueueSettings::parse(settings.as_bytes(), &name).unwrap_or_else(|error| panic!("{settings}: {error:?}"));
    f.store.put_queue(&name, &settings).await.expect("set up");
}

/// Args and origin of the jobs of a queue.
async fn followers(f: &Fixture, queue: &str) -> Vec<(String, String)> {
    let rows = f.sql.query("select args::text, enqueued_by from longshore.jobs where queue = $1 order by id", &[&queue]).await.expect("look");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn a_full_queue_does_not_touch_its_neighbours_in_a_statement() {
    let f = Fixture::new().await;
    set(&f, "q", r#"{"max_waiting":2}"#).await;
    for unique in [false, true] {
        let coalescer = Coalescer::start(&f.store);
        let calls: Vec<_> = (0..40)
            .map(|n| {
                let key = if unique { format!(r#","unique":{{"key":"{n}"}}"#) } else { String::new() };
                let new = parsed(&format!(r#"{{"kind":"k","queue":"{}"{key}}}"#, if n % 2 == 0 { "q" } else { "free" }));
                let coalescer = coalescer.clone();
                tokio::spawn(async move { coalescer.enqueue(new, Origin::default()).await })
            })
            .collect();
        let mut results = Vec::new();
        for call in calls {
            results.push(call.await.expect("no panic"));
        }
        for (n, result) in results.iter().enumerate() {
            match result {
                Ok(Enqueued::New { .. }) => {}
                Err(StoreError::QueueFull { queue }) if n % 2 == 0 => assert_eq!(queue, "q"),
                other => panic!("{n}: {other:?}"),
            }
        }
        let taken = results.iter().step_by(2).filter(|result| result.is_ok()).count();
        assert_eq!(taken, if unique { 0 } else { 2 }, "the statements of one coalescer come one after the other");
    }
    // who held a key before a refused job asked for it holds it still
    let worker = f.worker("w").await;
    let unique = |rule: &str| parsed(&format!(r#"{{"kind":"u","queue":"q","unique":{{"key":"u","while":"{rule}"}}}}"#));
    f.run("update longshore.queues set max_waiting = 3 where name = 'q'").await;
    let old = f.enqueue_one(unique("active")).await;
    f.run("update longshore.queues set max_waiting = 0 where name = 'q'").await;
    let leases: Vec<_> = f.claim_from(worker, "q", 3).await.jobs.iter().map(|job| (job.lease, Outcome::Succeeded { result: None })).collect();
    f.store.report(&leases).await.expect("report");
    assert_eq!((leases.len(), f.state(old).await.as_str()), (3, "succeeded"));
    assert!(matches!(f.store.enqueue(&[unique("active")], &Origin::default()).await, Err(StoreError::QueueFull { .. })));
    let coalescer = Coalescer::start(&f.store);
    assert!(matches!(coalescer.enqueue(unique("active"), Origin::default()).await, Err(StoreError::QueueFull { .. })));
    assert!(matches!(coalescer.enqueue(unique("kept"), Origin::default()).await, Ok(Enqueued::Duplicate { id, replaced: false }) if id == old));
    // a key that a refused job would have taken is free
    let id = f.enqueue_one(parsed(r#"{"kind":"k","queue":"free","unique":{"key":"0"}}"#)).await;
    assert_eq!(f.state(id).await, "available");
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_batch_in_chunks_is_counted_as_a_whole() {
    let f = Fixture::new().await;
    set(&f, "q", r#"{"max_waiting":1500}"#).await;
    let jobs = |n| vec![in_queue("q", job("k")); n];
    let error = f.store.enqueue(&jobs(1501), &Origin::default()).await.expect_err("one too many");
    assert!(matches!(&error, StoreError::QueueFull { queue } if queue == "q"), "{error:?}");
    assert_eq!(f.count("longshore.job_data").await, 0, "all or nothing");
    assert_eq!(f.enqueue(&jobs(1500)).await.len(), 1500);
    assert!(f.store.enqueue(&jobs(1), &Origin::default()).await.is_err());
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_high_limit_is_held_by_a_count_that_is_taken_now_and_then() {
    let f = Fixture::new().await;
    set(&f, "q", r#"{"max_waiting":10001}"#).await;
    f.run("select longshore.enqueue_batch(array_fill(longshore.lane_of('q', 'k'), array[10000]), array_fill('{}'::json, array[10000]), '{}', '{}', '{}', p_delays => array_fill(3600::float8, array[5000]))").await;
    assert_eq!((f.store.count_waiting().await.expect("count"), f.store.count_waiting().await.expect("count")), (1, 0), "once a second");
    assert_eq!(f.count("longshore.queues where waiting = 10000 and waiting_at <= clock_timestamp()").await, 1);
    f.enqueue_one(in_queue("q", job("k"))).await;
    assert!(f.store.enqueue(&vec![in_queue("q", job("k")); 2], &Origin::default()).await.is_err(), "more than there is room for");
    f.run("update longshore.queues set waiting_at = now() - interval '2 s' where name = 'q'").await;
    assert_eq!(f.store.count_waiting().await.expect("count"), 1);
    assert!(f.store.enqueue(&[in_queue("q", job("k"))], &Origin::default()).await.is_err(), "is full");
    // a queue with a low limit, and one with none, are not counted
    set(&f, "q", r#"{"max_waiting":10000}"#).await;
    assert_eq!(f.store.count_waiting().await.expect("count"), 0);
    assert!(f.store.enqueue(&[in_queue("q", job("k"))], &Origin::default()).await.is_err(), "is counted at the enqueue");
    f.assert_no_violations().await;
}

#[tokio::test]
async fn programs_of_the_version_before_are_not_told_of_a_job_that_is_not_there() {
    let f = Fixture::new().await;
    set(&f, "q", r#"{"max_waiting":1,"defaults":{"priority":4,"max_attempts":2,"timeout":5}}"#).await;
    // as they call it: 19 arrays, max_attempts and timeout always given
    let call = "select id, verdict, run_at, created_at, expires_at from longshore.enqueue_batch(array[longshore.lane_of('q', 'k')], array['{}'::json], '{}', array[25::smallint],
        array[300000], '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')";
    f.run(call).await;
    let row = f.sql.query_one("select priority, max_attempts, timeout_ms from longshore.job_data", &[]).await.expect("one");
    assert_eq!((row.get::<_, i16>(0), row.get::<_, i16>(1), row.get::<_, i32>(2)), (4, 25, 300_000));
    let error = f.sql.query(call, &[]).await.expect_err("a verdict that they do not know would be a lie");
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("LS429"));
    f.assert_no_violations().await;
}

#[tokio::test]
async fn retention_is_the_queues_and_changes_at_once() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    set(&f, "short", r#"{"retention":{"succeeded":"1h","cancelled":null,"failed":"2h"}}"#).await;
    set(&f, "long", r#"{"retention":{"succeeded":null,"cancelled":"3d","failed":null}}"#).await;
    let filled = async |age: &str| {
        for queue in ["short", "long", "usual"] {
            for (kind, outcome) in
                [("a", Outcome::Succeeded { result: None }), ("b", Outcome::Discarded { error: "no".to_owned() }), ("c", Outcome::Cancelled { error: None })]
            {
                f.enqueue_one(in_queue(queue, job(kind))).await;
                let lease = f.claim_from(worker, queue, 1).await.jobs[0].lease;
                f.store.report(&[(lease, outcome)]).await.expect("report");
            }
        }
        f.run(&format!("update longshore.finished set finished_at = now() - interval '{age}' where finished_at = (select max(finished_at) from longshore.finished) or finished_at > now() - interval '1 min'")).await;
    };
    let left = async || {
        let what =
            "select q.name || ' ' || f.state from longshore.finished f join longshore.lanes l using (lane) join longshore.queues q using (queue) order by 1";
        f.sql.query(what, &[]).await.expect("look").iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
    };
    filled("90 min").await;
    assert_eq!(f.store.prune(100).await.expect("prune"), 1);
    assert!(!left().await.contains(&"short succeeded".to_owned()) && left().await.len() == 8);
    // a program of the version before prunes with ages of its own: what the queues keep counts
    f.run("select longshore.prune('succeeded', interval '0', 100), longshore.prune('failed', interval '1 s', 100), longshore.prune('cancelled', interval '1 s', 100)").await;
    assert_eq!(left().await.len(), 8);
    f.run("update longshore.finished set finished_at = now() - interval '40 days'").await;
    f.run("select longshore.prune('failed', interval '1000 d', 100)").await;
    assert_eq!(left().await, ["long cancelled", "long failed", "long succeeded", "short cancelled", "usual cancelled", "usual succeeded"]);
    assert_eq!((f.store.prune(2).await.expect("prune"), f.store.prune(2).await.expect("prune"), f.store.prune(2).await.expect("prune")), (2, 1, 0), "in steps");
    assert_eq!(left().await, ["long failed", "long succeeded", "short cancelled"], "null is for ever");
    // what is finished already follows a changed setting, and all that belongs to it goes with it
    set(&f, "long", r#"{"retention":{"succeeded":"50d","failed":"39d"}}"#).await;
    set(&f, "short", r#"{"retention":{"cancelled":0}}"#).await;
    assert_eq!(f.store.prune(100).await.expect("prune"), 2);
    assert_eq!((left().await, f.count("longshore.job_data").await), (vec!["long succeeded".to_owned()], 1));
    f.assert_no_violations().await;
    f.store.prune_workers(Duration::ZERO).await.expect("prune workers");
    assert_eq!(f.count("longshore.workers").await, 1, "it lives");
}

#[tokio::test]
async fn every_way_to_fail_is_followed_and_no_other_end() {
    let f = Fixture::new().await;
    set(&f, "default", r#"{"on_failed":{"kind":"alert","queue":"alerts","args":{"z": 1.50, "a": 12345678901234567890123}}}"#).await;
    let worker = f.worker("w").await;
    let no = || "no".to_owned();
    for outcome in [
        Outcome::Succeeded { result: None },
        Outcome::Cancelled { error: None },
        Outcome::Snoozed { delay: Duration::from_hours(1) },
        Outcome::Failed { error: no(), retry_in: Some(Duration::from_hours(1)) },
        Outcome::Expired,
    ] {
        let lease = f.leased(worker, job("echo")).await;
        f.store.report(&[(lease, outcome)]).await.expect("report");
    }
    // one that is to be cancelled does not fail, whatever its worker says
    let lease = f.leased(worker, job("echo")).await;
    f.store.cancel(lease.id).await.expect("runs");
    f.store.report(&[(lease, Outcome::Discarded { error: no() })]).await.expect("report");
    assert_eq!(followers(&f, "alerts").await, []);

    let follows = |id: i64, attempt: i16, error: &str| {
        let failed = format!(r#""failed": {{"id" : {id}, "kind" : "echo", "queue" : "default", "attempt" : {attempt}, "error" : "{error}"}}"#);
        (format!(r#"{{"z": 1.50, "a": 12345678901234567890123, {failed}}}"#), format!("on_failed of job {id}"))
    };
    let one_attempt = parsed(r#"{"kind":"echo","max_attempts":1}"#);
    let (one, two) = (f.enqueue_one(one_attempt.clone()).await, f.enqueue_one(one_attempt).await);
    let leases: Vec<_> = f.claim(worker, 2).await.jobs.iter().map(|job| job.lease).collect();
    f.store.report(&[(leases[1], Outcome::Discarded { error: no() }), (leases[0], Outcome::TimedOut { error: "slow".to_owned() })]).await.expect("report");
    // the third loss, by the rescue
    let lost = f.enqueue_one(job("echo")).await;
    for n in 1..=3 {
        let worker = f.worker(&format!("lost-{n}")).await;
        assert_eq!(f.claim(worker, 1).await.jobs.len(), 1);
        f.run(&format!("update longshore.workers set last_seen = now() - interval '1 h' where name = 'lost-{n}'")).await;
        f.store.rescue().await.expect("rescue");
        f.run(
            "with d as (update longshore.job_data set run_at = now() where run_at > now() and run_at < now() + interval '10 min' returning id, run_at)
               update longshore.scheduled s set run_at = d.run_at from d where d.id = s.id",
        )
        .await;
        f.store.promote(10, None).await.expect("promote");
    }
    let mut expected = vec![follows(one, 1, "slow"), follows(two, 1, "no"), follows(lost, 3, "its worker died 3 times")];
    assert_eq!(followers(&f, "alerts").await, expected);
    // retried by hand, it may fail again, and is followed again
    f.store.retry(lost).await.expect("is finished");
    let lease = f.claim(worker, 1).await.jobs[0].lease;
    f.store.report(&[(lease, Outcome::Discarded { error: no() })]).await.expect("report");
    expected.push(follows(lost, 4, "no"));
    assert_eq!(followers(&f, "alerts").await, expected);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn what_follows_is_a_job_like_any_other() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    set(&f, "alerts", r#"{"defaults":{"max_attempts":2,"priority":6}}"#).await;
    set(
        &f,
        "default",
        r#"{"on_failed":{"kind":"alert","queue":"alerts","delay":"1h","expires_in":"2h","timeout":null,"tags":["t"],"meta":{"a":1},"concurrency_key":"c",
            "retry":{"base":2},"unique":{"key":"one","on_conflict":"reject"}}}"#,
    )
    .await;
    for n in 1..=2 {
        let lease = f.leased(worker, job("echo")).await;
        f.store.report(&[(lease, Outcome::Discarded { error: format!("{n}") })]).await.expect("report");
        assert_eq!(f.state(lease.id).await, "failed", "a key that is held does not keep the report");
    }
    assert_eq!(f.count("longshore.jobs where queue = 'alerts'").await, 1, "the standing job is enough");
    let id = f.sql.query_one("select id from longshore.jobs where queue = 'alerts'", &[]).await.expect("one").get(0);
    let view = f.store.job(id).await.expect("read").expect("there");
    assert_eq!((view.kind.as_str(), view.state.word(), view.priority, view.max_attempts, view.timeout), ("alert", "scheduled", 6, 2, None));
    assert_eq!(((view.run_at - view.created_at).get_seconds(), view.expires_at.map(|at| (at - view.created_at).get_seconds())), (3600, Some(7200)));
    assert_eq!(
        (view.tags, view.meta.as_str(), view.concurrency_key.as_deref(), view.unique_key.as_deref()),
        (vec!["t".to_owned()], r#"{"a":1}"#, Some("c"), Some("one"))
    );
    assert!(view.args.is_some_and(|args| args.as_str().starts_with(r#"{"failed": {"id" : 1,"#)));
    assert_eq!(f.count("longshore.job_data where retry->>'base' = '2' and enqueued_by = 'on_failed of job 1'").await, 1);
    // whose report is taken back, its follower is too
    set(&f, "default", r#"{"on_failed":{"kind":"alert","queue":"alerts"}}"#).await;
    let lease = f.leased(worker, job("echo")).await;
    f.run(&format!(
        "begin; select longshore.report(array[{}::bigint], array[{}::bigint], array['discarded'], '{{}}', array['x']); rollback",
        lease.id, lease.lease
    ))
    .await;
    assert_eq!((f.state(lease.id).await.as_str(), f.count("longshore.jobs where queue = 'alerts'").await), ("running", 1));
    f.assert_no_violations().await;
}
