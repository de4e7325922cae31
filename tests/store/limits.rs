//! Limits of queues: how many run, how many of a key, how many start in a time; and the turns of keys.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use longshore_common::{
    job::{NewJob, QueueName, QueueSettings},
    outcome::Outcome,
    store::{Store, claim::Lease},
};

use crate::fixture::{Fixture, in_queue, job};

pub async fn put(store: &Store, queue: &str, settings: &str) {
    let name = QueueName::new(queue).expect("a name");
    let settings = QueueSettings::parse(settings.as_bytes(), &name).unwrap_or_else(|error| panic!("{settings}: {error:?}"));
    store.put_queue(&name, &settings).await.expect("put");
}

fn keyed(key: &str) -> NewJob {
    NewJob { concurrency_key: Some(key.to_owned()), ..job("echo") }
}

fn urgent(priority: i16, job: NewJob) -> NewJob {
    NewJob { priority: Some(priority), ..job }
}

async fn succeed(f: &Fixture, leases: &[Lease]) {
    let reports: Vec<_> = leases.iter().map(|lease| (*lease, Outcome::Succeeded { result: None })).collect();
    assert!(f.store.report(&reports).await.expect("report").stale.is_empty());
}

/// Claims until nothing comes, at most `n` a claim.
async fn claim_all(f: &Fixture, worker: longshore_common::store::workers::WorkerNumber, n: usize) -> Vec<Lease> {
    let mut leases = Vec::new();
    loop {
        let claimed = f.claim(worker, n).await;
        if claimed.jobs.is_empty() {
            return leases;
        }
        leases.extend(claimed.jobs.iter().map(|job| job.lease));
    }
}

#[tokio::test]
async fn as_many_run_as_max_running_says_on_all_workers_together() {
    let f = Fixture::new().await;
    let (a, b) = (f.worker("a").await, f.worker("b").await);
    put(&f.store, "default", r#"{"max_running": 5}"#).await;
    let ids: Vec<i64> = f.enqueue(&vec![job("echo"); 12]).await.iter().map(longshore_common::store::enqueue::Enqueued::id).collect();
    let first = f.claim(a, 3).await;
    assert_eq!((first.jobs.len(), first.room_in), (3, Some(Duration::ZERO)));
    assert!(first.jobs.iter().all(|job| job.limited));
    let second = f.claim(b, 10).await;
    assert_eq!(second.jobs.len(), 2, "five in all");
    assert!(f.claim(a, 10).await.jobs.is_empty());
    assert_eq!(f.claim_from(a, "other", 10).await.jobs.len(), 0);
    succeed(&f, &[first.jobs[1].lease, second.jobs[0].lease]).await;
    let third: Vec<i64> = f.claim(a, 10).await.jobs.iter().map(|job| job.lease.id).collect();
    assert_eq!(third, ids[5..7], "in their order, as room comes");
    // whatever ends an attempt makes room
    f.store.report(&[(first.jobs[0].lease, Outcome::HandedBack)]).await.expect("report");
    assert_eq!(f.claim(b, 10).await.jobs[0].lease.id, first.jobs[0].lease.id);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn other_queues_are_not_limited() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    put(&f.store, "default", r#"{"max_running": 1, "max_running_per_key": 1, "rate": {"limit": 1, "per": "1h"}, "fair": true}"#).await;
    f.enqueue(&vec![in_queue("free", keyed("k")); 20]).await;
    let claimed = f.claim_from(worker, "free", 20).await;
    assert_eq!((claimed.jobs.len(), claimed.room_in), (20, None));
    assert!(claimed.jobs.iter().all(|job| !job.limited));
    assert_eq!(f.count("longshore.running where limited_queue is not null").await, 0, "nothing is written that they have no use for");
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_limit_counts_what_ran_before_it_was_set() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    f.enqueue(&vec![keyed("k"); 10]).await;
    let before = f.claim(worker, 4).await;
    put(&f.store, "default", r#"{"max_running": 5, "max_running_per_key": 5}"#).await;
    assert_eq!(f.claim(worker, 10).await.jobs.len(), 1);
    put(&f.store, "default", r#"{"max_running": 3}"#).await;
    assert!(f.claim(worker, 10).await.jobs.is_empty(), "five run, three are allowed");
    f.assert_no_violations().await;
    succeed(&f, &before.jobs[..3].iter().map(|job| job.lease).collect::<Vec<_>>()).await;
    // what waits in held of a queue that limits keys no more goes back to ready
    assert_eq!(f.store.release_held(100).await.expect("release"), (5, vec!["default".to_owned()]));
    assert_eq!(f.store.release_held(100).await.expect("release"), (0, vec![]));
    assert_eq!(f.claim(worker, 10).await.jobs.len(), 1);
    put(&f.store, "default", "{}").await;
    assert_eq!(f.claim(worker, 10).await.jobs.len(), 4, "no limit, the rest");
    f.assert_no_violations().await;
}

#[tokio::test]
async fn as_many_of_a_key_run_as_its_limit_says_and_delay_no_other() {
    let f = Fixture::new().await;
    let (a, b) = (f.worker("a").await, f.worker("b").await);
    put(&f.store, "default", r#"{"max_running_per_key": 2}"#).await;
    let mut jobs = vec![urgent(-1, keyed("full")); 50];
    jobs.extend([keyed("other"), job("echo"), keyed("full")]);
    let ids: Vec<i64> = f.enqueue(&jobs).await.iter().map(longshore_common::store::enqueue::Enqueued::id).collect();
    let claimed = f.claim(a, 10).await;
    let got: Vec<i64> = claimed.jobs.iter().map(|job| job.lease.id).collect();
    assert_eq!(got, [ids[0], ids[1], ids[50], ids[51]], "two of the key, and what comes after its others");
    assert!(f.claim(b, 10).await.jobs.is_empty());
    for id in [ids[2], ids[52]] {
        assert_eq!(f.state(id).await, "available");
    }
    succeed(&f, &[claimed.jobs[2].lease, claimed.jobs[0].lease]).await;
    let next: Vec<i64> = f.claim(b, 10).await.jobs.iter().map(|job| job.lease.id).collect();
    assert_eq!(next, [ids[2]]);
    f.assert_no_violations().await;
}

/// Each of its jobs came by itself, so each has left a note.
#[tokio::test]
async fn a_full_key_with_many_jobs_delays_no_other() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    put(&f.store, "default", r#"{"max_running_per_key": 1}"#).await;
    f.enqueue(&[keyed("full")]).await;
    assert_eq!(f.claim(worker, 10).await.jobs.len(), 1);
    f.run("do $$ begin perform longshore.enqueue('echo', concurrency_key => 'full', priority => -1) from generate_series(1, 30000); end $$").await;
    let other = f.enqueue_one(keyed("other")).await;
    let got: Vec<i64> = f.claim(worker, 10).await.jobs.iter().map(|job| job.lease.id).collect();
    assert_eq!(got, [other], "by the first claim");
    f.assert_no_violations().await;
}

/// A claim that comes back to a key, since others have given it nothing, counts what it has let in of it.
#[tokio::test]
async fn a_key_of_two_kinds_is_counted_once() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    put(&f.store, "default", r#"{"max_running_per_key": 2}"#).await;
    let of = |kind: &str, key: &str| NewJob { concurrency_key: Some(key.to_owned()), ..job(kind) };
    let full = ["x", "y", "z"];
    f.enqueue(&full.map(|key| vec![of("a", key); 2]).concat()).await;
    assert_eq!(f.claim(worker, 10).await.jobs.len(), 6);
    let one = f.enqueue_one(of("a", "both")).await;
    f.enqueue(&full.map(|key| of("a", key))).await;
    let two = f.enqueue(&vec![of("b", "both"); 5]).await[0].id();
    let got: Vec<i64> = f.claim(worker, 4).await.jobs.iter().map(|job| job.lease.id).collect();
    assert_eq!(got, [one, two]);
    f.assert_no_violations().await;
}

/// Order holds over jobs with and without keys, whatever the size of a claim.
#[tokio::test]
async fn the_order_holds_with_keys() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    put(&f.store, "default", r#"{"max_running_per_key": 3}"#).await;
    let mut jobs = Vec::new();
    for n in 0..240_usize {
        let priority = i16::try_from(n * 7 % 5).expect("small") - 2;
        let kind = ["a", "b", "c"][n % 3];
        let key = (n % 4 != 0).then(|| format!("k{}", n % 97));
        jobs.push(NewJob { priority: Some(priority), concurrency_key: key, ..job(kind) });
    }
    let mut expected = Vec::new();
    for chunk in jobs.chunks(80) {
        expected.extend(f.enqueue(chunk).await.iter().map(longshore_common::store::enqueue::Enqueued::id).zip(chunk.iter().map(|job| job.priority)));
    }
    expected.sort_by_key(|(id, priority)| (*priority, *id));
    let mut got = Vec::new();
    for n in [1, 7, 100, 13, 200] {
        let claimed = f.claim(worker, n).await;
        got.extend(claimed.jobs.iter().map(|job| job.lease.id));
        succeed(&f, &claimed.jobs.iter().map(|job| job.lease).collect::<Vec<_>>()).await;
        f.assert_no_violations().await;
    }
    got.extend(claim_all(&f, worker, 50).await.iter().map(|lease| lease.id));
    assert_eq!(got, expected.iter().map(|(id, _)| *id).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_kind_that_nobody_knows_takes_no_room() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for settings in [r#"{"max_running_per_key": 1}"#, r#"{"max_running_per_key": 1, "fair": true}"#] {
        put(&f.store, "default", settings).await;
        f.enqueue(&vec![urgent(-5, NewJob { concurrency_key: Some("k".to_owned()), ..job("unknown") }); 20]).await;
        let id = f.enqueue_one(keyed("k")).await;
        f.store.learn_lanes().await.expect("learn");
        let lanes: Vec<i32> = f.store.known_lanes().iter().filter(|lane| *lane.kind == *"echo").map(|lane| lane.lane).collect();
        let claimed = f.store.claim(worker, &mut longshore_common::store::claim::QueueScan::default(), &lanes, 10).await.expect("claim");
        assert_eq!(claimed.jobs.iter().map(|job| job.lease.id).collect::<Vec<_>>(), [id], "{settings}");
        succeed(&f, &[claimed.jobs[0].lease]).await;
        f.assert_no_violations().await;
    }
}

#[tokio::test]
async fn as_many_start_as_the_rate_says() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    put(&f.store, "default", r#"{"rate": {"limit": 10, "per": "10s"}}"#).await;
    f.enqueue(&vec![job("echo"); 100]).await;
    let claimed = f.claim(worker, 7).await;
    assert_eq!(claimed.jobs.len(), 7, "a bucket is full at first");
    succeed(&f, &claimed.jobs.iter().map(|job| job.lease).collect::<Vec<_>>()).await;
    let claimed = f.claim(worker, 50).await;
    assert_eq!(claimed.jobs.len(), 3, "what ends gives no token back");
    let wait = claimed.room_in.expect("it is limited");
    assert!(wait > Duration::from_millis(500) && wait <= Duration::from_secs(1), "a token a second: {wait:?}");
    assert!(f.claim(worker, 50).await.jobs.is_empty());
    f.run("update longshore.buckets set tokens_at = tokens_at - interval '4.5 s'").await;
    let claimed = f.claim(worker, 50).await;
    assert!((4..=5).contains(&claimed.jobs.len()), "tokens come evenly: {}", claimed.jobs.len());
    f.run("update longshore.buckets set tokens_at = tokens_at - interval '1 h'").await;
    assert_eq!(f.claim(worker, 50).await.jobs.len(), 10, "the bucket holds no more than its limit");
    // a clock that was set back gives nothing, and takes nothing
    f.run("update longshore.buckets set tokens_at = now() + interval '1 h', tokens = 2").await;
    assert_eq!(f.claim(worker, 50).await.jobs.len(), 2);
    f.assert_no_violations().await;
}

/// Which key each job has, in the order in which they are claimed.
async fn keys_of(f: &Fixture, leases: &[Lease]) -> Vec<String> {
    let ids: Vec<i64> = leases.iter().map(|lease| lease.id).collect();
    let statement = "select coalesce(j.concurrency_key, '') from unnest($1::bigint[]) with ordinality u(id, n) join longshore.job_data j using (id) order by n";
    f.sql.query(statement, &[&ids]).await.expect("look").iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn keys_of_a_fair_queue_take_turns() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    put(&f.store, "default", r#"{"fair": true}"#).await;
    let mut jobs = vec![keyed("big"); 60];
    jobs.extend(vec![keyed("small"); 5]);
    jobs.extend(vec![job("echo"); 5]);
    f.enqueue(&jobs).await;
    // one by one: exactly in turn
    let mut one_by_one = Vec::new();
    for _ in 0..9 {
        one_by_one.extend(f.claim(worker, 1).await.jobs.iter().map(|job| job.lease));
    }
    let keys = keys_of(&f, &one_by_one).await;
    for round in keys.chunks(3) {
        assert_eq!(round.iter().collect::<HashSet<_>>().len(), 3, "each key once a round: {keys:?}");
    }
    // many at once: each its part
    let six: Vec<Lease> = f.claim(worker, 6).await.jobs.iter().map(|job| job.lease).collect();
    let mut counts = BTreeMap::new();
    keys_of(&f, &six).await.into_iter().for_each(|key| *counts.entry(key).or_insert(0) += 1);
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [2, 2, 2], "{counts:?}");
    // who comes new waits for one round, however long the others have been there
    f.enqueue(&vec![keyed("new"); 2]).await;
    let two: Vec<Lease> = [f.claim(worker, 1).await, f.claim(worker, 1).await].iter().map(|claimed| claimed.jobs[0].lease).collect();
    assert_eq!(keys_of(&f, &two).await.iter().filter(|key| *key == "new").count(), 1);
    // who is alone has all
    let rest = claim_all(&f, worker, 20).await;
    assert_eq!(rest.len(), 60 + 5 + 5 + 2 - 9 - 6 - 2);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn jobs_that_are_held_are_changed_like_others() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    put(&f.store, "default", r#"{"max_running_per_key": 1}"#).await;
    let ids: Vec<i64> = f.enqueue(&vec![keyed("k"); 5]).await.iter().map(longshore_common::store::enqueue::Enqueued::id).collect();
    let first = f.claim(worker, 10).await;
    assert_eq!(first.jobs.len(), 1);
    f.run(&format!("select longshore.cancel({})", ids[1])).await;
    assert_eq!(f.state(ids[1]).await, "cancelled");
    f.run(&format!("select longshore.change_job({}, -7::smallint, null, null, null, null, null)", ids[4])).await;
    assert_eq!(f.state(ids[4]).await, "available");
    f.run(&format!("select longshore.delete_jobs(array[{}]::bigint[])", ids[2])).await;
    assert_eq!(f.state(ids[2]).await, "gone");
    f.assert_no_violations().await;
    // a failed attempt waits, and comes back into held
    f.store.report(&[(first.jobs[0].lease, Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::ZERO) })]).await.expect("report");
    assert_eq!(f.count("longshore.held").await, 3);
    let mut got = Vec::new();
    for _ in 0..3 {
        let claimed = f.claim(worker, 10).await;
        assert_eq!(claimed.jobs.len(), 1);
        got.push(claimed.jobs[0].lease.id);
        succeed(&f, &[claimed.jobs[0].lease]).await;
    }
    assert_eq!(got[0], ids[4], "the changed priority counts");
    assert_eq!(got.iter().collect::<HashSet<_>>(), [ids[0], ids[3], ids[4]].iter().collect());
    f.run(&format!("select longshore.retry({})", ids[1])).await;
    assert_eq!(f.claim(worker, 10).await.jobs[0].lease.id, ids[1]);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn scheduled_jobs_become_held_ones() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    put(&f.store, "default", r#"{"max_running_per_key": 1}"#).await;
    let later = NewJob { when: longshore_common::job::When::After(Duration::from_hours(1)), ..keyed("k") };
    f.enqueue(&[later.clone(), later, keyed("k")]).await;
    f.run("with d as (update longshore.job_data set run_at = now() - interval '1 s' where run_at > now() returning id) update longshore.scheduled s set run_at = now() - interval '1 s' from d where d.id = s.id").await;
    assert_eq!(f.store.promote(100, None).await.expect("promote").count, 2);
    assert_eq!(f.count("longshore.held").await, 3);
    f.assert_no_violations().await;
    assert_eq!(f.claim(worker, 10).await.jobs.len(), 1);
    f.assert_no_violations().await;
}

/// An enqueue whose transaction began before the limit was set may commit after it, at any time.
#[tokio::test]
async fn a_job_that_comes_late_is_limited_all_the_same() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    f.enqueue(&[keyed("k")]).await;
    for settings in [r#"{"max_running_per_key": 1}"#, r#"{"max_running_per_key": 1, "fair": true}"#] {
        put(&f.store, "default", "{}").await;
        let other = crate::support::postgres::connect(f.database.url()).await;
        other.batch_execute("begin; select longshore.enqueue('echo', '{}', concurrency_key => 'k') from generate_series(1, 5)").await.expect("enqueue");
        put(&f.store, "default", settings).await;
        let first = claim_all(&f, worker, 10).await;
        assert!(first.len() <= 1);
        other.batch_execute("commit").await.expect("commit");
        let more = claim_all(&f, worker, 10).await;
        assert_eq!(first.len() + more.len(), 1, "{settings}");
        f.assert_no_violations().await;
        succeed(&f, &[first, more].concat()).await;
        let next = claim_all(&f, worker, 10).await;
        assert_eq!(next.len(), 1);
        succeed(&f, &next).await;
    }
}

/// Everybody does everything at once, and limits change meanwhile; a checker looks all the time. In the end nothing is left over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn limits_hold_under_any_concurrency() {
    let f = Fixture::new().await;
    put(&f.store, "default", r#"{"max_running": 12, "max_running_per_key": 2}"#).await;
    f.enqueue(&[keyed("k0"), job("echo")]).await;
    let until = tokio::time::Instant::now() + Duration::from_secs(8);
    let going = move || tokio::time::Instant::now() < until;
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let store = f.store.clone();
        tasks.push(tokio::spawn(async move {
            while going() {
                let jobs: Vec<NewJob> = (0..fastrand::usize(1..40))
                    .map(|_| urgent(fastrand::i16(0..3), if fastrand::u8(..) < 40 { job("echo") } else { keyed(&format!("k{}", fastrand::u8(..9))) }))
                    .collect();
                store.enqueue(&jobs, &longshore_common::store::enqueue::Origin::default()).await.expect("enqueue");
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..30))).await;
            }
        }));
    }
    for n in 0..4 {
        let (store, worker) = (f.store.clone(), f.worker(&format!("w{n}")).await);
        tasks.push(tokio::spawn(async move {
            store.learn_lanes().await.expect("learn");
            let lanes: Vec<i32> = store.known_lanes().iter().map(|lane| lane.lane).collect();
            let mut mine: Vec<Lease> = Vec::new();
            while going() {
                let claimed =
                    store.claim(worker, &mut longshore_common::store::claim::QueueScan::default(), &lanes, fastrand::usize(1..9)).await.expect("claim");
                mine.extend(claimed.jobs.iter().map(|job| job.lease));
                fastrand::shuffle(&mut mine);
                let reports: Vec<_> = mine
                    .drain(..fastrand::usize(..=mine.len()))
                    .map(|lease| {
                        let outcome = match fastrand::u8(..10) {
                            0 => Outcome::HandedBack,
                            1 => Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::ZERO) },
                            2 => Outcome::Snoozed { delay: Duration::from_millis(50) },
                            _ => Outcome::Succeeded { result: None },
                        };
                        (lease, outcome)
                    })
                    .collect();
                store.report(&reports).await.expect("report");
            }
            let reports: Vec<_> = mine.into_iter().map(|lease| (lease, Outcome::HandedBack)).collect();
            store.report(&reports).await.expect("report");
        }));
    }
    let (store, url) = (f.store.clone(), f.database.url().to_owned());
    tasks.push(tokio::spawn(async move {
        let sql = crate::support::postgres::connect(&url).await;
        while going() {
            store.promote(100, None).await.expect("promote");
            store.release_held(100).await.expect("release");
            // one that waits is cancelled, changed or forgotten
            sql.batch_execute("select longshore.cancel_jobs(array(select id from longshore.held order by random() limit 3)), longshore.delete_jobs(array(select id from longshore.held order by random() limit 2)); select longshore.change_job(id, 1::smallint, null, null, null, null, null) from (select id from longshore.held order by random() limit 2) x")
                .await
                .expect("change");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }));
    let store = f.store.clone();
    tasks.push(tokio::spawn(async move {
        // the counted limits stay; what else is limited comes and goes
        let settings = [
            r#"{"max_running": 12, "max_running_per_key": 2}"#,
            r#"{"max_running": 12, "max_running_per_key": 2, "fair": true}"#,
            r#"{"max_running": 12, "max_running_per_key": 2, "rate": {"limit": 50, "per": "100ms"}}"#,
        ];
        while going() {
            put(&store, "default", settings[fastrand::usize(..settings.len())]).await;
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    }));
    let (mut looks, mut most) = (0, 0);
    while going() {
        let rows = f.sql.query("select r.key, count(*) from longshore.running r join longshore.job_data j using (id) group by r.key", &[]).await.expect("look");
        let counts: HashMap<Option<String>, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let all: i64 = counts.values().sum();
        assert!(all <= 12, "{counts:?}");
        assert!(counts.iter().all(|(key, n)| key.as_deref().is_none_or(str::is_empty) || *n <= 2), "{counts:?}");
        (looks, most) = (looks + 1, most.max(all));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    assert!(looks > 100 && most == 12, "the limit was reached, and looked at: {looks} looks, {most} at most");
    f.assert_no_violations().await;
    // all that is left can run
    put(&f.store, "default", r#"{"max_running_per_key": 2}"#).await;
    let worker = f.worker("last").await;
    loop {
        tokio::time::sleep(Duration::from_millis(60)).await;
        f.store.promote(1000, None).await.expect("promote");
        let leases = claim_all(&f, worker, 100).await;
        if leases.is_empty() {
            break;
        }
        succeed(&f, &leases).await;
    }
    assert_eq!(f.count("longshore.jobs where state not in ('succeeded', 'cancelled')").await, 0);
    f.assert_no_violations().await;
}
