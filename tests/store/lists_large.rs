//! Lists among many jobs: what is read for a page, and what a page is that would take too long.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use longshore_common::{
    job::{JobFilter, JobState},
    store::read::Fields,
};

use crate::{
    fixture::{Fixture, store_at},
    support::eventually::eventually,
};

const SOON: Duration = Duration::from_secs(20);
/// Jobs that succeeded last, so that everything else lies behind them.
const SUCCEEDED: i64 = 40_000;

/// The oldest two hundred wait, each of them its own way; then a hundred failed, a hundred were cancelled, and the rest succeeded.
async fn filled() -> Fixture {
    let f = Fixture::new().await;
    f.run(
        "select longshore.enqueue('old', queue => 'a', tags => '{rare}') from generate_series(1, 100);
         select longshore.enqueue('old', queue => 'b', delay => '1h') from generate_series(1, 50);
         select longshore.enqueue('old', queue => 'b', delay => '1h') from generate_series(1, 50);
         update longshore.scheduled set attempt = 1, fingerprint = 7, failed_at = now() where id > 150;
         update longshore.job_data set created_at = now() - interval '11 h';
         select longshore.lane_of('a', 'new'), longshore.lane_of('c', 'new')",
    )
    .await;
    f.run(&format!(
        "with j as (insert into longshore.job_data (created_at, run_at, lane, priority, max_attempts, tags, args)
                    select now() - interval '10 h' * (1 - i / {SUCCEEDED}.0), now(), l.lane, 0, 1, '{{often}}', '{{}}'
                      from longshore.lanes l join longshore.queues q using (queue), generate_series(-199, {SUCCEEDED}) i
                     where l.kind = 'new' and q.name = case when i < 0 then 'c' else 'a' end order by i returning id, lane, created_at),
              f as (insert into longshore.finished (id, lane, state, attempt, finished_at)
                    select id, lane, case when id <= 300 then 'failed' when id <= 400 then 'cancelled' else 'succeeded' end::longshore.job_state, 1, created_at from j
                    returning lane, state),
              l as (insert into longshore.labels (label, id) select 't:often', id from j)
         insert into longshore.tally (lane, state, n) select lane, state, count(*) from f group by lane, state"
    ))
    .await;
    f.run("vacuum analyze longshore.job_data, longshore.finished, longshore.ready, longshore.scheduled, longshore.labels").await;
    f
}

/// Rows of `job_data` and finished that were read so far, by sessions that have ended.
async fn rows_read(f: &Fixture) -> i64 {
    eventually("the store's connections have ended", SOON, async || {
        let others = "pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'";
        if f.count(others).await == 0 { Ok(()) } else { Err("not yet") }
    })
    .await;
    f.run("select pg_stat_clear_snapshot()").await;
    let sum = "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_user_tables where schemaname = 'longshore' and relname in ('finished', 'job_data')";
    f.sql.query_one(sum, &[]).await.expect("look").get(0)
}

async fn now(f: &Fixture) -> Timestamp {
    f.sql.query_one("select now()", &[]).await.expect("ask").get(0)
}

/// The ids on this page and all that follow.
async fn all_pages(f: &Fixture, filter: &JobFilter, mut before: Option<i64>, limit: i64) -> Vec<i64> {
    let mut ids = Vec::new();
    loop {
        let page = f.store.list_jobs(filter, Fields::default(), before, limit).await.expect("list");
        ids.extend(page.items.iter().map(|job| job.id));
        before = page.next;
        if before.is_none() {
            return ids;
        }
    }
}

#[tokio::test]
async fn what_is_available_is_in_the_order_of_ids_whatever_its_order_is() {
    let f = Fixture::new().await;
    // the last of a lane, which tell how far down to look, are the newest of one queue and the oldest of the other
    f.run(
        "select longshore.enqueue('k', queue => 'q' || i % 2, priority => case i % 2 when 1 then i / 500 else 9 - i / 500 end) from generate_series(1, 5000) i;
           analyze longshore.ready",
    )
    .await;
    let available = JobFilter { states: vec![JobState::Available], ..JobFilter::default() };
    let of_one = JobFilter { queues: vec!["q1".to_owned()], ..available.clone() };
    for limit in [20, 300, 1000] {
        assert_eq!(all_pages(&f, &available, None, limit).await, (1..=5000).rev().collect::<Vec<i64>>(), "{limit} a page");
        assert_eq!(all_pages(&f, &of_one, None, limit).await, (1..=5000).rev().filter(|id| id % 2 == 1).collect::<Vec<i64>>(), "{limit} a page");
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_page_is_read_by_what_it_holds() {
    let f = filled().await;
    let now = now(&f).await;
    let ago = |minutes: i64| Some(now - SignedDuration::from_mins(minutes));
    let states = |states: &[JobState]| JobFilter { states: states.to_vec(), ..JobFilter::default() };
    let in_queue = |queue: &str, filter: JobFilter| JobFilter { queues: vec![queue.to_owned()], ..filter };
    let page = 20;
    for (filter, found) in [
        (JobFilter::default(), page),
        (states(&[JobState::Available]), page),
        (states(&[JobState::Scheduled]), page),
        (states(&[JobState::Retryable]), page),
        (states(&[JobState::Failed]), page),
        (states(&[JobState::Cancelled]), page),
        (states(&[JobState::Succeeded]), page),
        (states(&[JobState::Running]), 0),
        (states(&[JobState::Available, JobState::Failed, JobState::Scheduled]), page),
        (in_queue("a", states(&[JobState::Available])), page),
        (in_queue("b", states(&[JobState::Available])), 0),
        (in_queue("b", states(&[JobState::Retryable])), page),
        (in_queue("c", states(&[JobState::Failed])), page),
        (in_queue("a", states(&[JobState::Failed])), 0),
        (in_queue("b", states(&[JobState::Cancelled])), 0),
        (in_queue("a", states(&[JobState::Succeeded])), page),
        (in_queue("b", JobFilter::default()), page),
        (in_queue("c", JobFilter { kinds: vec!["new".to_owned()], ..JobFilter::default() }), page),
        (JobFilter { kinds: vec!["old".to_owned()], ..states(&[JobState::Available]) }, page),
        (JobFilter { labels: vec!["t:rare".to_owned()], ..JobFilter::default() }, page),
        (JobFilter { finished_after: ago(1), ..JobFilter::default() }, page),
        (JobFilter { finished_after: ago(301), finished_before: ago(300), ..JobFilter::default() }, page),
        (JobFilter { finished_after: ago(-1), ..JobFilter::default() }, 0),
        (JobFilter { finished_before: ago(900), ..JobFilter::default() }, 0),
        (JobFilter { finished_after: ago(900), ..states(&[JobState::Available]) }, 0),
    ] {
        let before = rows_read(&f).await;
        let own = store_at(f.database.url());
        let listed = own.list_jobs(&filter, Fields::default(), None, page).await.expect("list");
        drop(own);
        assert_eq!(i64::try_from(listed.items.len()).expect("few"), found, "{filter:?}");
        assert_eq!(listed.next.is_some(), found == page, "{filter:?}");
        let rows = rows_read(&f).await - before;
        assert!(rows < 3000, "{rows} rows of job_data and finished were read for {filter:?}");
    }
    // times of enqueueing go by ids, but not to the last few thousand of them
    for filter in [
        JobFilter { created_after: ago(1), ..JobFilter::default() },
        JobFilter { created_after: ago(301), created_before: ago(300), ..JobFilter::default() },
        JobFilter { created_before: ago(500), ..JobFilter::default() },
        JobFilter { finished_before: ago(500), ..JobFilter::default() },
        in_queue("a", JobFilter { created_before: ago(300), ..JobFilter::default() }),
    ] {
        let before = rows_read(&f).await;
        let own = store_at(f.database.url());
        let listed = own.list_jobs(&filter, Fields::default(), None, page).await.expect("list");
        drop(own);
        assert_eq!(listed.items.len(), 20, "{filter:?}");
        let rows = rows_read(&f).await - before;
        assert!(rows < 20_000, "{rows} rows of job_data and finished were read for {filter:?}");
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn times_find_all_that_they_are_for() {
    let f = filled().await;
    let now = now(&f).await;
    // enqueued in a transaction that had stood open for hours: by id among others of its time, by time far from them
    f.run("update longshore.job_data set created_at = now() - interval '20 h' where id = 40000").await;
    let ago = |minutes: i64| now - SignedDuration::from_mins(minutes);
    for (after, before) in [(Some(1), None), (Some(301), Some(300)), (Some(300), Some(290)), (Some(2), Some(1))] {
        for times in ["created_at", "finished_at"] {
            let mut filter = JobFilter::default();
            let (least, most) = if times == "created_at" {
                (&mut filter.created_after, &mut filter.created_before)
            } else {
                (&mut filter.finished_after, &mut filter.finished_before)
            };
            (*least, *most) = (after.map(ago), before.map(ago));
            let condition = format!(
                "select id from longshore.jobs where {times} >= coalesce($1, '-infinity'::timestamptz) and {times} < coalesce($2, 'infinity'::timestamptz) order by id desc"
            );
            let rows = f.sql.query(&condition, &[least, most]).await.expect("look");
            let expected: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
            let ids = all_pages(&f, &filter, None, 1000).await;
            assert!(!expected.is_empty() && ids == expected, "{times} {after:?} {before:?}: {} found, {} there", ids.len(), expected.len());
        }
    }
}

#[tokio::test]
async fn a_page_that_takes_too_long_ends_early_and_goes_on() {
    let f = filled().await;
    let filter = JobFilter { states: vec![JobState::Available], labels: vec!["t:often".to_owned()], ..JobFilter::default() };
    assert!(all_pages(&f, &filter, None, 5).await.is_empty(), "there is none");
    f.run("begin; lock table longshore.labels in access exclusive mode").await;
    let (page, ()) = tokio::join!(f.store.list_jobs(&filter, Fields::default(), None, 5), async {
        eventually("the list waits", SOON, async || {
            let waits = f.count("pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'").await;
            if waits == 1 { Ok(()) } else { Err("not yet") }
        })
        .await;
        f.run("select pg_sleep(1.1); commit").await;
    });
    let page = page.expect("list");
    let next = page.next.expect("it goes on");
    assert!(page.items.is_empty() && (400..f.count("longshore.job_data").await).contains(&next), "{next}");
    // it goes on where it came to: nothing is lost on the way
    f.run("insert into longshore.labels select 't:often', id from longshore.ready where id <= 3").await;
    assert_eq!(all_pages(&f, &filter, Some(next), 5).await, [3, 2, 1]);
}
