//! The one way in: what is stored, unique keys, and neighbours in one statement.

use std::time::Duration;

use longshore_common::{
    job::{JobState, NewJob},
    outcome::Outcome,
    store::{
        StoreError,
        enqueue::{Coalescer, Enqueued, Origin},
    },
};

use crate::fixture::{Fixture, job, parsed};

#[tokio::test]
async fn every_field_is_stored_and_shown() {
    let f = Fixture::new().await;
    let new = parsed(
        r#"{"kind":"mail","queue":"emails","args":{"to": "a@b"},"priority":-5,"delay":"1h","expires_in":"2h","max_attempts":3,"timeout":"90s",
            "tags":["x","y"],"meta":{"customer": 7, "deep": {"a": 1}},"concurrency_key":"c7","retry":{"base":2},"unique":{"key":"k","while":"kept"}}"#,
    );
    let origin = Origin { enqueued_by: Some("shop".to_owned()), request_id: Some("r-1".to_owned()), traceparent: Some("00-trace".to_owned()) };
    let enqueued = f.store.enqueue(&[new], &origin).await.expect("enqueue");
    let Enqueued::New { id, run_at, created_at, expires_at, .. } = enqueued[0] else { panic!("{enqueued:?}") };
    assert_eq!((run_at - created_at).get_seconds(), 3600);
    let view = f.store.job(id).await.expect("read").expect("there");
    assert_eq!(view.state, JobState::Scheduled);
    assert_eq!((view.kind.as_str(), view.queue.as_str(), view.priority, view.max_attempts), ("mail", "emails", -5, 3));
    assert_eq!((view.run_at, view.created_at, view.expires_at), (run_at, created_at, expires_at));
    assert_eq!(view.timeout.map(|t| t.0), Some(90.0));
    assert_eq!((view.tags, view.meta.as_str()), (vec!["x".to_owned(), "y".to_owned()], r#"{"customer": 7, "deep": {"a": 1}}"#));
    assert_eq!((view.unique_key.as_deref(), view.concurrency_key.as_deref()), (Some("k"), Some("c7")));
    assert_eq!((view.enqueued_by.as_deref(), view.request_id.as_deref()), (Some("shop"), Some("r-1")));
    let labels: Vec<String> = f.sql.query("select label from longshore.labels order by 1", &[]).await.expect("look").iter().map(|r| r.get(0)).collect();
    assert_eq!(labels, ["m:customer=7", "t:x", "t:y"]);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_jobs() {
    let f = Fixture::new().await;
    f.enqueue(&[parsed(r#"{"kind":"a","unique":{"key":"k"}}"#)]).await;
    let jobs: Vec<NewJob> = (0..2500)
        .map(|n| match n % 5 {
            0 => parsed(&format!(r#"{{"kind":"a","args":{n},"unique":{{"key":"k"}}}}"#)),
            1 => parsed(&format!(r#"{{"kind":"b","args":{n},"unique":{{"key":"own-{n}"}}}}"#)),
            _ => parsed(&format!(r#"{{"kind":"c","args":{n}}}"#)),
        })
        .collect();
    let enqueued = f.enqueue(&jobs).await;
    for (n, enqueued) in enqueued.iter().enumerate() {
        if n % 5 == 0 {
            assert_eq!(*enqueued, Enqueued::Duplicate { id: 1, replaced: false });
        } else {
            let args: String = f.sql.query_one("select args::text from longshore.job_data where id = $1", &[&enqueued.id()]).await.expect("there").get(0);
            assert_eq!(args, n.to_string());
        }
    }
    f.assert_no_violations().await;
}

/// Where the standing job is when the new one comes.
async fn standing(f: &Fixture, at: JobState, key: &str) -> i64 {
    let worker = f.worker(&format!("w-{key}")).await;
    let new = parsed(&format!(r#"{{"kind":"echo","unique":{{"key":"{key}"}}}}"#));
    match at {
        JobState::Available => f.enqueue_one(new).await,
        JobState::Running => f.leased(worker, new).await.id,
        _ => {
            let lease = f.leased(worker, new).await;
            f.store.report(&[(lease, Outcome::Succeeded { result: None })]).await.expect("report");
            lease.id
        }
    }
}

#[tokio::test]
async fn a_key_is_held_as_the_new_job_says() {
    let f = Fixture::new().await;
    let cases = [
        ("waiting", JobState::Available, true),
        ("waiting", JobState::Running, false),
        ("waiting", JobState::Succeeded, false),
        ("active", JobState::Available, true),
        ("active", JobState::Running, true),
        ("active", JobState::Succeeded, false),
        ("kept", JobState::Succeeded, true),
    ];
    for (index, (rule, at, held)) in cases.into_iter().enumerate() {
        let key = format!("key-{index}");
        let id = standing(&f, at, &key).await;
        let new = f.enqueue_one(parsed(&format!(r#"{{"kind":"echo","unique":{{"key":"{key}","while":"{rule}"}}}}"#))).await;
        assert_eq!(new == id, held, "{rule} while {at:?}");
        let other_kind = f.enqueue_one(parsed(&format!(r#"{{"kind":"other","unique":{{"key":"{key}","while":"{rule}"}}}}"#))).await;
        assert_ne!(other_kind, id, "a key is unique within its kind");
        f.claim(f.worker(&format!("sweep-{index}")).await, 100).await;
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn for_counts_from_the_creation_whatever_the_state() {
    let f = Fixture::new().await;
    let id = standing(&f, JobState::Succeeded, "k").await;
    let new = || parsed(r#"{"kind":"echo","unique":{"key":"k","for":"10m"}}"#);
    assert_eq!(f.enqueue_one(new()).await, id);
    f.run("update longshore.job_data set created_at = created_at - interval '11 min'").await;
    assert_ne!(f.enqueue_one(new()).await, id);
}

#[tokio::test]
async fn an_older_job_that_still_runs_holds_its_key_too() {
    let f = Fixture::new().await;
    let running = standing(&f, JobState::Running, "k").await;
    let waiting = f.enqueue_one(parsed(r#"{"kind":"echo","unique":{"key":"k","while":"waiting"}}"#)).await;
    assert_ne!(waiting, running);
    let lease = f.claim(f.worker("w2").await, 1).await.jobs[0].lease;
    f.store.report(&[(lease, Outcome::Succeeded { result: None })]).await.expect("report");
    assert_eq!(f.enqueue_one(parsed(r#"{"kind":"echo","unique":{"key":"k"}}"#)).await, running);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn reject_refuses_the_whole_batch_and_names_the_holder() {
    let f = Fixture::new().await;
    let id = standing(&f, JobState::Available, "k").await;
    let error = f
        .store
        .enqueue(&[job("echo"), parsed(r#"{"kind":"echo","unique":{"key":"k","on_conflict":"reject"}}"#)], &Origin::default())
        .await
        .expect_err("refused");
    assert!(matches!(error, StoreError::KeyHeld { index: 1, standing, .. } if standing == id), "{error:?}");
    assert_eq!(f.count("longshore.job_data").await, 1);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn an_older_job_that_is_kept_holds_its_key_when_the_newest_is_gone() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for (key, rule) in [("k", r#""while":"kept""#), ("f", r#""for":"1h""#), ("w", r#""while":"waiting","for":"1h""#)] {
        let mut ended = Vec::new();
        for outcome in [Outcome::Discarded { error: "no".to_owned() }, Outcome::Succeeded { result: None }] {
            let lease = f.leased(worker, parsed(&format!(r#"{{"kind":"echo","priority":-1,"unique":{{"key":"{key}"}}}}"#))).await;
            f.store.report(&[(lease, outcome)]).await.expect("report");
            ended.push(lease.id);
        }
        let (older, newest) = (ended[0], ended[1]);
        f.store.delete(newest).await.expect("it is finished");
        // the same key of another kind is another one
        f.enqueue_one(parsed(&format!(r#"{{"kind":"other","unique":{{"key":"{key}",{rule}}}}}"#))).await;
        let new = || parsed(&format!(r#"{{"kind":"echo","unique":{{"key":"{key}",{rule}}}}}"#));
        assert_eq!(f.enqueue(&[new()]).await, [Enqueued::Duplicate { id: older, replaced: false }], "{rule}");
        f.store.delete(older).await.expect("it is finished");
        assert!(matches!(f.enqueue(&[new()]).await[0], Enqueued::New { .. }), "{rule}");
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn replace_overwrites_one_that_waits_and_leaves_one_that_runs() {
    let f = Fixture::new().await;
    let new =
        || parsed(r#"{"kind":"echo","args":{"v":2},"priority":7,"delay":"1h","tags":["new"],"meta":{"m":1},"unique":{"key":"k","on_conflict":"replace"}}"#);
    let id = f.enqueue_one(parsed(r#"{"kind":"echo","args":{"v":1},"tags":["old"],"unique":{"key":"k"}}"#)).await;
    assert_eq!(f.enqueue(&[new()]).await, [Enqueued::Duplicate { id, replaced: true }]);
    let view = f.store.job(id).await.expect("read").expect("there");
    assert_eq!((view.args.expect("args").as_str(), view.priority, view.state), (r#"{"v":2}"#, 7, JobState::Scheduled));
    let labels: Vec<String> = f.sql.query("select label from longshore.labels order by 1", &[]).await.expect("look").iter().map(|r| r.get(0)).collect();
    assert_eq!(labels, ["m:m=1", "t:new"]);
    f.assert_no_violations().await;

    let running = standing(&f, JobState::Running, "r").await;
    let replace = parsed(r#"{"kind":"echo","args":9,"unique":{"key":"r","on_conflict":"replace"}}"#);
    assert_eq!(f.enqueue(&[replace]).await, [Enqueued::Duplicate { id: running, replaced: false }]);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn the_second_of_two_equal_keys_in_a_batch_meets_the_first() {
    let f = Fixture::new().await;
    let with = |v: i32, on: &str| parsed(&format!(r#"{{"kind":"echo","args":{v},"unique":{{"key":"k","on_conflict":"{on}"}}}}"#));
    let enqueued = f.enqueue(&[with(1, "return"), with(2, "return"), with(3, "replace")]).await;
    let id = enqueued[0].id();
    assert_eq!(enqueued[1..], [Enqueued::Duplicate { id, replaced: false }, Enqueued::Duplicate { id, replaced: true }]);
    assert_eq!(f.store.job(id).await.expect("read").expect("there").args.expect("args").as_str(), "3");
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_equal_keys_at_once_make_one_job() {
    let f = Fixture::new().await;
    for round in 0..100 {
        let key = format!("round-{round}");
        let racers: Vec<_> = (0..64)
            .map(|_| {
                let (store, new) = (f.store.clone(), parsed(&format!(r#"{{"kind":"echo","unique":{{"key":"{key}"}}}}"#)));
                tokio::spawn(async move { store.enqueue(&[new], &Origin::default()).await.expect("enqueue")[0] })
            })
            .collect();
        let mut ids = std::collections::HashSet::new();
        let mut new = 0;
        for racer in racers {
            let enqueued = racer.await.expect("no panic");
            new += usize::from(matches!(enqueued, Enqueued::New { .. }));
            ids.insert(enqueued.id());
        }
        assert_eq!((ids.len(), new), (1, 1), "round {round}");
    }
    f.assert_no_violations().await;
}

/// The key's row is there and free, so nobody waits for its insertion: only the lock on it keeps two from taking it over.
#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_take_over_a_free_key_at_once() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for round in 0..150 {
        let racers: Vec<_> = (0..64)
            .map(|_| {
                let (store, new) = (f.store.clone(), parsed(r#"{"kind":"echo","unique":{"key":"the same in all rounds"}}"#));
                tokio::spawn(async move { store.enqueue(&[new], &Origin::default()).await.expect("enqueue")[0] })
            })
            .collect();
        let mut new = 0;
        for racer in racers {
            new += usize::from(matches!(racer.await.expect("no panic"), Enqueued::New { .. }));
        }
        assert_eq!(new, 1, "round {round}");
        let lease = f.claim(worker, 1).await.jobs[0].lease; // ends it, so that the key is free again
        f.store.report(&[(lease, Outcome::Succeeded { result: None })]).await.expect("report");
    }
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_being_taken_over_is_waited_for() {
    let f = Fixture::new().await;
    standing(&f, JobState::Succeeded, "k").await; // so that the key's row is there, and free
    let take = "select longshore.enqueue('echo', unique_key => 'k')";
    let mut first = crate::support::postgres::connect(f.database.url()).await;
    let open = first.transaction().await.expect("begin");
    let taken: i64 = open.query_one(take, &[]).await.expect("enqueue").get(0);
    let second = crate::support::postgres::connect(f.database.url()).await;
    let waiting = tokio::spawn(async move { second.query_one(take, &[]).await.expect("enqueue").get::<_, i64>(0) });
    crate::support::eventually::eventually("the second waits for the first", Duration::from_secs(10), async || {
        f.count("pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'").await == 1
    })
    .await;
    open.commit().await.expect("commit");
    assert_eq!(waiting.await.expect("no panic"), taken);
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_row_never_fails_its_neighbours() {
    let f = Fixture::new().await;
    // a rule that only the database knows
    f.run("alter table longshore.job_data add constraint no_poison check (args::text <> '\"poison\"')").await;
    let coalescer = Coalescer::start(&f.store);
    let callers: Vec<_> = (0..200)
        .map(|n| {
            let coalescer = coalescer.clone();
            let new = if n % 50 == 7 { parsed(r#"{"kind":"echo","args":"poison"}"#) } else { job("echo") };
            tokio::spawn(async move { (n, coalescer.enqueue(new, Origin::default()).await) })
        })
        .collect();
    for caller in callers {
        let (n, result) = caller.await.expect("no panic");
        assert_eq!(matches!(result, Err(StoreError::Refused { .. })), n % 50 == 7, "{n}: {result:?}");
        assert_eq!(result.is_ok(), n % 50 != 7);
    }
    assert_eq!(f.count("longshore.ready").await, 196);
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_must_wait_for_others_holds_up_no_other() {
    let f = Fixture::new().await;
    f.enqueue(&[job("echo")]).await;
    let coalescer = Coalescer::start(&f.store);
    let mut other = crate::support::postgres::connect(f.database.url()).await;
    let open = other.transaction().await.expect("begin");
    open.execute("select longshore.enqueue('echo', unique_key => 'k'), longshore.enqueue('brand-new')", &[]).await.expect("enqueue");
    let waiting: Vec<_> = [r#"{"kind":"echo","unique":{"key":"k"}}"#, r#"{"kind":"brand-new"}"#]
        .map(|text| {
            let coalescer = coalescer.clone();
            tokio::spawn(async move { coalescer.enqueue(parsed(text), Origin::default()).await.expect("enqueued after all") })
        })
        .into();
    crate::support::eventually::eventually("both wait", Duration::from_secs(10), async || {
        f.count("pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'").await == 2
    })
    .await;
    tokio::time::timeout(Duration::from_secs(2), coalescer.enqueue(job("echo"), Origin::default())).await.expect("does not wait").expect("enqueue");
    open.commit().await.expect("commit");
    for task in waiting {
        task.await.expect("no panic");
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn an_enqueue_waits_for_no_open_transaction_of_others() {
    let f = Fixture::new().await;
    f.enqueue(&[job("echo")]).await;
    let mut other = crate::support::postgres::connect(f.database.url()).await;
    let open = other.transaction().await.expect("begin");
    open.execute("select longshore.enqueue('echo')", &[]).await.expect("enqueue");
    tokio::time::timeout(Duration::from_secs(2), f.enqueue(&[job("echo")])).await.expect("does not wait");
    assert_eq!(f.count("longshore.ready").await, 2, "what is not committed is not there");
    open.rollback().await.expect("rollback");
    assert_eq!(f.count("longshore.job_data").await, 2);
    f.assert_no_violations().await;
}
