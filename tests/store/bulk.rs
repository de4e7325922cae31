//! Calls of many jobs by filter: which they take, what they leave, how they end, and what happens beside them.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use longshore_common::{
    job::{Bulk, Call, JobFilter, JobState, Rate, bulk::MAX_JOBS},
    outcome::Outcome,
    store::{claim::QueueScan, read::Fields},
};

use crate::{
    control::everything,
    fixture::{Fixture, job, parsed, store_at},
    lists,
    races::fastrand_below,
    states::job_in,
    support::eventually::eventually,
};

const SOON: Duration = Duration::from_secs(20);

fn all(call: Call) -> Bulk {
    Bulk { call, filter: JobFilter::default(), rate: None, dry_run: false }
}

fn of(call: Call, filter: JobFilter) -> Bulk {
    Bulk { filter, ..all(call) }
}

/// Calls until there are no more, as a script would; the sum, and how many calls it took.
async fn until_done(f: &Fixture, bulk: &Bulk) -> (usize, usize) {
    let (mut sum, mut calls) = (0, 0);
    loop {
        let done = f.store.bulk(bulk, |_| ()).await.expect("done");
        (sum, calls) = (sum + done.count, calls + 1);
        if !done.more {
            return (sum, calls);
        }
        assert!(calls < 50, "it does not end: {done:?}");
    }
}

#[tokio::test]
async fn every_call_takes_the_states_it_goes_with() {
    for call in [Call::Cancel, Call::Retry, Call::Delete] {
        let f = Fixture::new().await;
        let worker = f.worker("w").await;
        let mut jobs = Vec::new();
        // what waits last: the others are claimed on their way
        for state in
            [JobState::Running, JobState::Succeeded, JobState::Failed, JobState::Cancelled, JobState::Retryable, JobState::Scheduled, JobState::Available]
        {
            let (id, _) = job_in(&f, state, worker, job("echo")).await;
            jobs.push((id, state));
        }
        let expected: BTreeSet<i64> = jobs.iter().filter(|(_, state)| state.on(call).is_ok()).map(|(id, _)| *id).collect();
        let before = everything(&f).await;
        let found = f.store.rehearse(&all(call)).await.expect("found");
        assert_eq!((found.count, found.more, found.items.len()), (expected.len(), false, 5.min(expected.len())), "{call:?}");
        assert!(found.items.iter().all(|job| expected.contains(&job.id)) && found.items.is_sorted_by(|a, b| a.id > b.id), "{:?}", found.items);
        assert_eq!(everything(&f).await, before, "a rehearsal changes nothing");
        let mut told = Vec::new();
        let done = f.store.bulk(&all(call), |count| told.push(count)).await.expect("done");
        assert_eq!((done.count, done.more, done.last_run_at, told), (expected.len(), false, None, vec![expected.len()]), "{call:?}");
        assert_eq!(done.queues, BTreeSet::from(["default".to_owned()]));
        for (id, state) in &jobs {
            let then = match state.on(call) {
                Ok(longshore_common::job::Effect::Becomes(state)) => state.word(),
                Ok(longshore_common::job::Effect::Forgotten) => "gone",
                _ => state.word(),
            };
            assert_eq!(f.state(*id).await, then, "{call:?} of a {} job", state.word());
        }
        f.assert_no_violations().await;
        let after = everything(&f).await;
        assert_eq!(f.store.rehearse(&all(call)).await.expect("found").count, 0, "{call:?}: one that runs was asked already");
        let again = f.store.bulk(&all(call), |_| ()).await.expect("done");
        assert_eq!((again.count, again.more), (0, false), "{call:?}: one that runs was asked already");
        assert_eq!(everything(&f).await, after, "{call:?}");
    }
}

#[tokio::test]
async fn every_filter_takes_what_a_list_shows() {
    let f = lists::filled().await;
    let listed = f.store.list_jobs(&JobFilter::default(), Fields::default(), None, 1000).await.expect("list").items;
    for filter in lists::filters(&listed) {
        for call in [Call::Cancel, Call::Retry, Call::Delete] {
            let expected: BTreeSet<i64> = listed.iter().filter(|view| lists::holds(&filter, view) && view.state.on(call).is_ok()).map(|view| view.id).collect();
            let found = f.store.rehearse(&of(call, filter.clone())).await.expect("found");
            assert_eq!((found.count, found.more), (expected.len(), false), "{call:?} {filter:?}");
            assert!(found.items.iter().all(|view| expected.contains(&view.id)), "{call:?} {filter:?}");
            assert_eq!(found.items.len(), expected.len().min(5), "{call:?} {filter:?}");
        }
    }
    // by when they finished, an index of its own
    let finished: Vec<Timestamp> = listed.iter().filter_map(|view| view.finished_at).collect();
    let middle = finished[finished.len() / 2];
    for states in [vec![JobState::Succeeded], vec![JobState::Failed], vec![JobState::Succeeded, JobState::Available]] {
        for (after, before) in [(Some(middle), None), (None, Some(middle)), (Some(finished[finished.len() - 1]), Some(middle))] {
            let filter = JobFilter {
                states: states.clone(),
                queues: vec!["q0".to_owned(), "q1".to_owned()],
                finished_after: after,
                finished_before: before,
                ..JobFilter::default()
            };
            let expected = listed.iter().filter(|view| lists::holds(&filter, view)).count();
            assert_eq!(f.store.rehearse(&of(Call::Delete, filter.clone())).await.expect("found").count, expected, "{filter:?}");
        }
    }
    let nothing = JobFilter { of_none: true, ..JobFilter::default() };
    assert_eq!(until_done(&f, &of(Call::Delete, nothing)).await, (0, 1));
    // and it takes exactly those
    let filter = JobFilter { queues: vec!["q0".to_owned()], kinds: vec!["k2".to_owned()], ..JobFilter::default() };
    let (mut gone, mut left) = (0, 0);
    f.store.bulk(&of(Call::Delete, filter.clone()), |_| ()).await.expect("done");
    for view in &listed {
        let expected = lists::holds(&filter, view) && view.state != JobState::Running;
        assert_eq!(f.state(view.id).await == "gone", expected, "{view:?}");
        (gone, left) = (gone + usize::from(expected), left + usize::from(!expected));
    }
    assert!(gone > 3 && left > 50, "{gone} {left}");
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_call_has_a_most_and_a_loop_ends() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let running = f.leased(worker, job("echo")).await;
    let more = MAX_JOBS + 7;
    f.run(&format!("select longshore.enqueue('echo') from generate_series(1, {more})")).await;
    let found = f.store.rehearse(&all(Call::Cancel)).await.expect("found");
    assert_eq!((found.count, found.more), (MAX_JOBS, true));
    let mut told = Vec::new();
    let done = f.store.bulk(&all(Call::Cancel), |count| told.push(count)).await.expect("done");
    // a slow machine may stop before, and then says so
    assert!(done.more && done.count <= MAX_JOBS && told.last() == Some(&done.count), "{done:?}");
    assert_eq!(done.count + until_done(&f, &all(Call::Cancel)).await.0, more + 1);
    assert_eq!(
        (f.count("longshore.finished where state = 'cancelled'").await, f.state(running.id).await.as_str()),
        (i64::try_from(more).expect("few"), "running")
    );
    assert_eq!(until_done(&f, &of(Call::Retry, JobFilter { states: vec![JobState::Cancelled], ..JobFilter::default() })).await.0, more);
    assert_eq!(until_done(&f, &all(Call::Delete)).await.0, more);
    assert_eq!(f.count("longshore.job_data").await, 1, "it runs");
    f.assert_no_violations().await;
}

#[tokio::test]
async fn it_stops_in_time_and_says_that_there_are_more() {
    let f = Fixture::new().await;
    f.run("select longshore.enqueue('echo') from generate_series(1, 3000)").await;
    // each batch waits a little for somebody: within the time of one statement, so that nothing fails
    f.run("create function slow_job() returns trigger language plpgsql as $$ begin if new.id % 500 = 0 then perform pg_sleep(0.5); end if; return null; end $$; create trigger slow after insert on longshore.finished for each row execute function slow_job()").await;
    let hurried = longshore_common::store::Store::new(&crate::fixture::settings(f.database.url()), "test", Duration::from_secs(2)).expect("the URL is fine");
    let done = hurried.bulk(&all(Call::Cancel), |_| ()).await.expect("no batch takes too long");
    assert!(done.more && done.count >= 500 && done.count < 3000 && done.count.is_multiple_of(500), "{done:?}");
    assert_eq!(f.count("longshore.finished").await, i64::try_from(done.count).expect("few"));
    f.run("drop trigger slow on longshore.finished").await;
    assert_eq!(done.count + until_done(&f, &all(Call::Cancel)).await.0, 3000);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn one_batch_is_done_however_late_it_is() {
    let f = Fixture::new().await;
    f.run("select longshore.enqueue('echo', unique_key => n::text) from generate_series(1, 100) n").await;
    f.store.bulk(&all(Call::Cancel), |_| ()).await.expect("done");
    // to find them takes most of the time that there is
    f.run("create or replace function longshore.key_holder(p_id bigint, p_kind text, p_key text, p_while text) returns bigint language plpgsql volatile as $$ begin perform pg_sleep(0.02); return null; end $$").await;
    let hurried =
        longshore_common::store::Store::new(&crate::fixture::settings(f.database.url()), "test", Duration::from_millis(2700)).expect("the URL is fine");
    let done = hurried.bulk(&all(Call::Retry), |_| ()).await.expect("in time");
    assert_eq!((done.count, done.more), (100, false));
    f.assert_no_violations().await;
}

#[tokio::test]
async fn what_was_done_before_somebody_held_it_up_is_told() {
    let f = Fixture::new().await;
    f.run("select longshore.enqueue('echo') from generate_series(1, 600)").await;
    let other = f.database.connect().await;
    other.batch_execute("begin; select from longshore.ready where id = 550 for update").await.expect("held");
    let hurried = longshore_common::store::Store::new(&crate::fixture::settings(f.database.url()), "test", Duration::from_secs(3)).expect("the URL is fine");
    let done = hurried.bulk(&all(Call::Cancel), |_| ()).await.expect("the first batch");
    assert_eq!((done.count, done.more, done.ended.len()), (500, true, 500));
    let error = hurried.bulk(&all(Call::Cancel), |_| ()).await.expect_err("the first batch is held now");
    assert!(error.is_locked(), "{error}");
    other.batch_execute("rollback").await.expect("let go");
    let done = hurried.bulk(&all(Call::Cancel), |_| ()).await.expect("the rest");
    assert_eq!((done.count, done.more), (100, false));
    f.assert_no_violations().await;
}

#[tokio::test]
async fn what_waits_is_found_past_what_is_finished() {
    let f = Fixture::new().await;
    f.run("select longshore.enqueue('echo') from generate_series(1, 100); select longshore.enqueue('echo', delay => '1h') from generate_series(1, 100)").await;
    f.run(
        "with j as (insert into longshore.job_data (run_at, lane, priority, max_attempts, args)
                    select now(), lane, 0, 1, '{}' from longshore.lanes, generate_series(1, 30000) returning id, lane),
              f as (insert into longshore.finished (id, lane, state, attempt) select id, lane, 'succeeded', 1 from j)
         insert into longshore.tally (lane, state, n) select lane, 'succeeded', count(*) from j group by lane",
    )
    .await;
    f.run("analyze").await;
    let read = async || -> i64 {
        let sum = "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_user_tables where schemaname = 'longshore' and relname in ('finished', 'job_data')";
        f.run("select pg_stat_clear_snapshot()").await;
        f.sql.query_one(sum, &[]).await.expect("look").get(0)
    };
    let before = read().await;
    for filter in [
        JobFilter { queues: vec!["default".to_owned()], ..JobFilter::default() },
        JobFilter { states: vec![JobState::Available], ..JobFilter::default() },
        JobFilter::default(),
    ] {
        // a store of its own: when its connections end, they tell what they have read
        let own = store_at(f.database.url());
        let found = own.rehearse(&of(Call::Cancel, filter)).await.expect("found");
        assert!(found.count >= 100, "{}", found.count);
    }
    let done = store_at(f.database.url()).bulk(&all(Call::Cancel), |_| ()).await.expect("done");
    assert_eq!(done.count, 200);
    eventually("what was read is told", SOON, async || {
        let rows = read().await - before;
        if rows > 500 { Ok(()) } else { Err(format!("{rows} so far")) }
    })
    .await;
    let rows = read().await - before;
    assert!(rows < 10_000, "{rows} rows of job_data and finished were read for 200 jobs");
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_rate_spreads_what_is_retried_evenly() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let mut ids = Vec::new();
    for n in 0..1203 {
        ids.push(f.enqueue_one(parsed(&format!(r#"{{"kind": "echo", "args": {n}}}"#))).await);
    }
    let claimed = f.claim(worker, 1203).await;
    let reports: Vec<_> = claimed.jobs.iter().map(|job| (job.lease, Outcome::Discarded { error: "no".to_owned() })).collect();
    f.store.report(&reports).await.expect("report");
    let never_ran = f.enqueue_one(job("echo")).await;
    f.store.cancel(never_ran).await.expect("waits");
    ids.push(never_ran);
    let retryable = job_in(&f, JobState::Retryable, worker, job("other")).await.0;
    let due = f.store.job(retryable).await.expect("read").expect("is there").run_at;
    let rate = Rate { limit: 7, per: Duration::from_secs(1), from: None };
    let bulk = Bulk { rate: Some(rate), ..all(Call::Retry) };
    assert_eq!(f.store.rehearse(&bulk).await.expect("found").count, 1204);
    let asked = now(&f).await;
    let done = f.store.bulk(&bulk, |_| ()).await.expect("done");
    assert_eq!((done.count, done.more), (1204, false));
    let mut run_ats = Vec::new();
    for (index, id) in ids.iter().enumerate() {
        let job = f.store.job(*id).await.expect("read").expect("is there");
        let expected = match (index, index + 1 == ids.len()) {
            (0, _) => JobState::Available,    // due at once
            (_, true) => JobState::Scheduled, // it never had an attempt
            _ => JobState::Retryable,
        };
        assert_eq!((job.state, job.finished_at, job.max_attempts), (expected, None, 25), "{index}");
        run_ats.push(job.run_at);
    }
    assert!(run_ats[0] >= asked && run_ats[0] <= now(&f).await, "{run_ats:?}");
    for (index, run_at) in run_ats.iter().enumerate() {
        let micros = i64::try_from(index).expect("few") * 1_000_000 / 7;
        assert_eq!(run_at.as_microsecond() - run_ats[0].as_microsecond(), micros, "{index}");
    }
    assert_eq!(done.last_run_at, run_ats.last().copied());
    assert_eq!(f.store.job(retryable).await.expect("read").expect("is there").run_at, due, "what waits is not spread");
    let after = everything(&f).await;
    assert_eq!(until_done(&f, &bulk).await, (0, 1), "nothing that was spread is spread again");
    assert_eq!(everything(&f).await, after);
    // where the next call goes on
    f.store
        .bulk(&of(Call::Cancel, JobFilter { states: vec![JobState::Retryable], kinds: vec!["echo".to_owned()], ..JobFilter::default() }), |_| ())
        .await
        .expect("done");
    let from = done.last_run_at.expect("there is one").checked_add(rate.after(1)).expect("near");
    let done = f.store.bulk(&Bulk { rate: Some(Rate { from: Some(from), ..rate }), ..all(Call::Retry) }, |_| ()).await.expect("done");
    assert_eq!(done.last_run_at.map(Timestamp::as_microsecond), Some(from.as_microsecond() + 1201 * 1_000_000 / 7));
    f.assert_no_violations().await;
}

/// The database's time, by which everything is due.
async fn now(f: &Fixture) -> Timestamp {
    f.sql.query_one("select now()", &[]).await.expect("ask").get(0)
}

#[tokio::test]
async fn who_comes_second_to_a_running_job_has_changed_nothing() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let lease = f.leased(worker, job("echo")).await;
    for (round, again) in [false, true, true].into_iter().enumerate() {
        let row = f.sql.query_one("select met::text, again from longshore.cancel_jobs(array[$1::bigint])", &[&lease.id]).await.expect("runs");
        assert_eq!((row.get::<_, &str>(0), row.get::<_, bool>(1)), ("running", again), "{round}");
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn jobs_whose_key_is_held_are_left_out_and_loops_end() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let mut ended = Vec::new();
    for n in 0..4 {
        let lease = f.leased(worker, parsed(r#"{"kind": "echo", "unique": {"key": "k"}}"#)).await;
        f.store.report(&[(lease, Outcome::Discarded { error: format!("no {n}") })]).await.expect("report");
        ended.push(lease.id);
    }
    let free = f.leased(worker, job("echo")).await;
    f.store.report(&[(free, Outcome::Discarded { error: "no".to_owned() })]).await.expect("report");
    // of four with one key, one may run: which, is open
    assert_eq!(until_done(&f, &all(Call::Retry)).await, (2, 1));
    assert_eq!(f.count("longshore.ready").await, 2);
    let after = everything(&f).await;
    assert_eq!(f.store.rehearse(&all(Call::Retry)).await.expect("found").count, 0, "three are left, whose key is held");
    assert_eq!(until_done(&f, &all(Call::Retry)).await, (0, 1));
    assert_eq!(everything(&f).await, after);
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_cancel_against_workers() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let (mut cancelled, mut claimed, mut asked) = (0, 0, 0);
    for round in 0..300 {
        f.run("select longshore.enqueue('echo') from generate_series(1, 20)").await;
        f.store.learn_lanes().await.expect("learn");
        let lane = f.store.known_lanes()[0].lane;
        let (store, other) = (f.store.clone(), f.store.clone());
        let wait = Duration::from_micros(fastrand_below(4000));
        let claiming = tokio::spawn(async move {
            let mut jobs = Vec::new();
            tokio::time::sleep(wait).await;
            for _ in 0..5 {
                jobs.extend(store.claim(worker, &mut QueueScan::default(), &[lane], 4).await.expect("claim").jobs);
            }
            jobs
        });
        let cancelling = tokio::spawn(async move { other.bulk(&all(Call::Cancel), |_| ()).await.expect("done") });
        let (jobs, done) = (claiming.await.expect("no panic"), cancelling.await.expect("no panic"));
        let rows = f.sql.query_one("select (select count(*) from longshore.finished), (select count(*) from longshore.running where cancel_requested_at is not null), (select count(*) from longshore.running), (select count(*) from longshore.ready)", &[]).await.expect("look");
        let (finished, told, running, ready): (i64, i64, i64, i64) = (rows.get(0), rows.get(1), rows.get(2), rows.get(3));
        assert_eq!((finished + told, ready), (i64::try_from(done.count).expect("few"), 0), "round {round}: what was counted was changed");
        assert_eq!((finished + running, running), (20, i64::try_from(jobs.len()).expect("few")), "round {round}");
        (cancelled, claimed, asked) = (cancelled + finished, claimed + running, asked + told);
        f.assert_no_violations().await;
        let reports: Vec<_> = jobs.iter().map(|job| (job.lease, Outcome::Succeeded { result: None })).collect();
        f.store.report(&reports).await.expect("report");
        f.store.bulk(&all(Call::Delete), |_| ()).await.expect("done");
        assert_eq!(f.count("longshore.job_data").await, 0, "round {round}");
    }
    assert!(cancelled > 100 && claimed > 100 && asked > 0, "both must win sometimes: {cancelled}, {claimed}, {asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_retry_against_enqueues_of_the_same_keys() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let unique = |n: usize| parsed(&format!(r#"{{"kind": "echo", "unique": {{"key": "k{n}"}}}}"#));
    let (mut retried, mut new) = (0, 0);
    for round in 0..300 {
        let jobs: Vec<_> = (0..10).map(unique).collect();
        f.enqueue(&jobs).await;
        let claimed = f.claim(worker, 10).await;
        let reports: Vec<_> = claimed.jobs.iter().map(|job| (job.lease, Outcome::Discarded { error: "no".to_owned() })).collect();
        f.store.report(&reports).await.expect("report");
        let (store, other) = (f.store.clone(), f.store.clone());
        let (late, later) = (Duration::from_micros(fastrand_below(6000)), Duration::from_micros(fastrand_below(6000)));
        let enqueuing = tokio::spawn(async move {
            tokio::time::sleep(late).await;
            let mut fresh = 0;
            for job in jobs.iter().rev() {
                let enqueued = store.enqueue(std::slice::from_ref(job), &longshore_common::store::enqueue::Origin::default()).await.expect("enqueue");
                fresh += usize::from(matches!(enqueued[0], longshore_common::store::enqueue::Enqueued::New { .. }));
            }
            fresh
        });
        let retrying = tokio::spawn(async move {
            tokio::time::sleep(later).await;
            other.bulk(&all(Call::Retry), |_| ()).await.expect("done")
        });
        let (fresh, done) = (enqueuing.await.expect("no panic"), retrying.await.expect("no panic"));
        assert_eq!(fresh + done.count, 10, "round {round}: each key has one holder");
        assert_eq!(f.count("longshore.ready").await, 10);
        f.assert_no_violations().await;
        (retried, new) = (retried + done.count, new + fresh);
        f.store.bulk(&all(Call::Delete), |_| ()).await.expect("done");
    }
    assert!(retried > 50 && new > 50, "both must win sometimes: {retried}, {new}");
}
