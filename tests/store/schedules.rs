//! Schedules: what is set for them, and that each due time is used once, whoever fires.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use longshore_common::{
    job::{ScheduleName, ScheduleSettings},
    store::{enqueue::Origin, schedules::ScheduleView},
};

use crate::fixture::{Fixture, store_at};

fn name(name: &str) -> ScheduleName {
    ScheduleName::new(name).expect("a name")
}

async fn put(f: &Fixture, schedule: &str, text: &str) -> bool {
    let settings = ScheduleSettings::parse(text.as_bytes(), &name(schedule)).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    f.store.put_schedule(&name(schedule), &settings).await.expect("put")
}

async fn get(f: &Fixture, name: &str) -> ScheduleView {
    f.store.schedules(Some(name)).await.expect("read").pop().expect("it is there")
}

/// As if nothing had run for so long.
async fn missed(f: &Fixture, name: &str, ago: &str) {
    f.run(&format!("update longshore.schedules set next_run_at = date_trunc('second', now() - interval '{ago}'), last_run_at = null where name = '{name}'"))
        .await;
}

/// Due times of the jobs that a schedule has enqueued, in order.
async fn times(f: &Fixture, name: &str) -> Vec<Timestamp> {
    let rows = f.sql.query("select scheduled_for from longshore.jobs where schedule = $1 order by id", &[&name]).await.expect("look");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn what_is_set_is_shown_and_a_due_time_stays_while_its_rule_does() {
    let f = Fixture::new().await;
    assert!(put(&f, "s", r#"{"cron":"*/5 * * * *","job":{"kind":"a","queue":"q","args":{"n":1.50},"delay":"1m"}}"#).await, "it is made");
    let made = get(&f, "s").await;
    assert_eq!((&*made.cron, &*made.timezone, &*made.catch_up, &*made.overlap, made.paused), ("*/5 * * * *", "UTC", "last", "allow", false));
    assert_eq!(made.job.as_str(), r#"{"kind":"a","queue":"q","args":{"n":1.50},"delay":60}"#);
    let next = made.next_run_at.expect("it is due");
    assert!(next.as_second() % 300 == 0 && made.last_run_at.is_none() && !made.due, "{made:?}");
    missed(&f, "s", "7 min").await;
    let due = get(&f, "s").await.next_run_at;
    assert!(!put(&f, "s", r#"{"cron":"*/5 * * * *","job":{"kind":"b"},"overlap":"skip"}"#).await, "it is replaced");
    assert_eq!(get(&f, "s").await.next_run_at, due, "what is due is not lost");
    put(&f, "s", r#"{"cron":"*/5 * * * *","timezone":"Asia/Tokyo","job":{"kind":"b"}}"#).await;
    assert!(get(&f, "s").await.next_run_at > due);
    put(&f, "s", r#"{"cron":"*/5 * * * *","timezone":"Asia/Tokyo","job":{"kind":"b"},"paused":true}"#).await;
    assert_eq!(get(&f, "s").await.next_run_at, None);
    assert!(f.store.delete_schedule("s").await.expect("deleted") && !f.store.delete_schedule("s").await.expect("asked"));
}

#[tokio::test]
async fn missed_times_follow_catch_up() {
    let f = Fixture::new().await;
    for (catch_up, jobs) in [("none", 0), ("last", 1), ("all", 10)] {
        put(&f, catch_up, &format!(r#"{{"cron":"* * * * * *","job":{{"kind":"a"}},"catch_up":"{catch_up}"}}"#)).await;
        // the last of the ten is 20 s late
        f.run(&format!(
            "update longshore.schedules set cron = '@every 60s', next_run_at = date_trunc('second', now()) - interval '560 s' where name = '{catch_up}'"
        ))
        .await;
        assert_eq!(f.store.fire_schedules().await.expect("fired").schedules, 1);
        let times = times(&f, catch_up).await;
        assert_eq!(times.len(), jobs, "{catch_up}: {times:?}");
        let after = get(&f, catch_up).await;
        assert_eq!(after.last_run_at, times.last().copied(), "{catch_up}");
        assert!(after.next_run_at.is_some() && !after.due, "{after:?}");
        assert!(times.windows(2).all(|two| two[1].duration_since(two[0]).as_secs() == 60), "{times:?}");
        let (last, next) = (times.last(), after.next_run_at.expect("it is due"));
        assert!(last.is_none_or(|last| next.duration_since(*last).as_secs() == 60), "it keeps its beat: {last:?}, {next}");
    }
    // one that is on time is not missed; and no more than a thousand are made up for
    put(&f, "now", r#"{"cron":"@every 60s","job":{"kind":"a"},"catch_up":"none"}"#).await;
    missed(&f, "now", "0 s").await;
    put(&f, "days", r#"{"cron":"@every 60s","job":{"kind":"a"},"catch_up":"all"}"#).await;
    missed(&f, "days", "3 days").await;
    f.store.fire_schedules().await.expect("fired");
    assert_eq!((times(&f, "now").await.len(), times(&f, "days").await.len()), (1, 1000));
    // a database whose clock was set back does not use a time twice
    f.run("update longshore.schedules set next_run_at = date_trunc('second', now()) - interval '1 s', last_run_at = now() + interval '1 h' where name = 'now'")
        .await;
    assert_eq!((f.store.fire_schedules().await.expect("fired").schedules, times(&f, "now").await.len()), (1, 1));
    assert!(times(&f, "days").await.last() <= get(&f, "days").await.last_run_at.as_ref());
    f.assert_no_violations().await;
}

#[tokio::test]
async fn while_its_job_is_unfinished_one_that_may_not_overlap_enqueues_nothing() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    put(&f, "s", r#"{"cron":"* * * * *","job":{"kind":"echo"},"overlap":"skip","catch_up":"all"}"#).await;
    let fire = async || {
        missed(&f, "s", "3 min").await;
        f.store.fire_schedules().await.expect("fired");
        times(&f, "s").await.len()
    };
    assert_eq!(fire().await, 1, "all that were missed would overlap");
    assert_eq!(fire().await, 1, "it waits");
    let leased = f.claim(worker, 5).await.jobs[0].lease;
    assert_eq!(fire().await, 1, "it runs");
    f.store.report(&[(leased, longshore_common::outcome::Outcome::Succeeded { result: None })]).await.expect("report");
    assert_eq!(fire().await, 2);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_job_that_is_refused_passes_a_time_over_and_keeps_no_other_from_being_fired() {
    let f = Fixture::new().await;
    crate::queues::set(&f, "full", r#"{"max_waiting":0}"#).await;
    put(&f, "full", r#"{"cron":"* * * * *","job":{"kind":"a","queue":"full"}}"#).await;
    put(&f, "good", r#"{"cron":"* * * * *","job":{"kind":"a"}}"#).await;
    put(&f, "held", r#"{"cron":"* * * * *","job":{"kind":"a","unique":{"key":"k","on_conflict":"reject"}}}"#).await;
    for round in 1..=2 {
        for name in ["full", "good", "held"] {
            missed(&f, name, "1 min").await;
        }
        f.store.fire_schedules().await.expect("fired");
        let counts = (times(&f, "full").await.len(), times(&f, "good").await.len(), times(&f, "held").await.len());
        assert_eq!(counts, (0, round, 1), "the unique key is held from the second time on");
        assert!(!get(&f, "full").await.due && !get(&f, "held").await.due);
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn what_one_program_cannot_read_is_left_to_others() {
    let f = Fixture::new().await;
    let put_all = async || {
        for name in ["zone", "rule", "job"] {
            put(&f, name, r#"{"cron":"* * * * *","job":{"kind":"a"}}"#).await;
        }
    };
    put_all().await;
    put(&f, "good", r#"{"cron":"* * * * *","job":{"kind":"a"}}"#).await;
    // as one of another version, or with other time zones, would have written them; more than are fired at once
    f.run("update longshore.schedules set timezone = 'Mars/Olympus' where name = 'zone'").await;
    f.run("update longshore.schedules set cron = '@sometimes' where name = 'rule'").await;
    f.run(r#"update longshore.schedules set job = '{"kind":"a","colour":"red"}' where name = 'job'"#).await;
    f.run("insert into longshore.schedules (name, cron, timezone, queue, job) select 'more' || n, '@sometimes', 'UTC', 'default', '{}' from generate_series(1, 120) n")
        .await;
    f.run("update longshore.schedules set next_run_at = date_trunc('second', now()) - interval '1 h' where name <> 'good'").await;
    let before = get(&f, "zone").await.next_run_at;
    missed(&f, "good", "1 min").await;
    let fired = async || {
        let mut fired = 0;
        for _ in 0..3 {
            fired += f.store.fire_schedules().await.expect("fired").schedules;
        }
        fired
    };
    assert_eq!((fired().await, times(&f, "good").await.len()), (1, 1), "those that can be read are fired");
    let wait = f.store.next_schedule_in().await.expect("asked").expect("the good one");
    assert!(wait > Duration::ZERO, "and what cannot be read is not tried again at once: {wait:?}");
    for name in ["zone", "rule", "job"] {
        let left = get(&f, name).await;
        assert_eq!((left.next_run_at, left.due, times(&f, name).await.len()), (before, true, 0), "{name}");
    }
    // another program can, or somebody has put it right: at once
    put_all().await;
    missed(&f, "zone", "1 min").await;
    missed(&f, "job", "1 min").await;
    assert_eq!(fired().await, 2);
    assert_eq!([times(&f, "zone").await.len(), times(&f, "rule").await.len(), times(&f, "job").await.len()], [1, 0, 1]);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn run_by_hand_moves_neither_time() {
    let f = Fixture::new().await;
    put(&f, "s", r#"{"cron":"@daily","job":{"kind":"a"},"paused":true}"#).await;
    let before = get(&f, "s").await;
    let enqueued = f.store.run_schedule(&name("s"), &Origin::default()).await.expect("run").expect("it is there");
    let after = get(&f, "s").await;
    assert_eq!((before.next_run_at, before.last_run_at), (after.next_run_at, after.last_run_at));
    let job = f.store.job(enqueued.id()).await.expect("read").expect("there");
    assert_eq!((job.schedule.as_deref(), job.scheduled_for), (Some("s"), None));
    assert!(f.store.run_schedule(&name("t"), &Origin::default()).await.expect("asked").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_fires_each_time_is_used_once() {
    let f = Fixture::new().await;
    for n in 0..20 {
        put(&f, &format!("s{n}"), r#"{"cron":"@every 1s","job":{"kind":"a"},"catch_up":"all"}"#).await;
    }
    for round in 0..60 {
        f.run("update longshore.schedules set next_run_at = coalesce(last_run_at + interval '1 s', date_trunc('second', now()) - interval '9 min')").await;
        let fire = async || store_at(f.database.url()).fire_schedules().await.expect("fired");
        // one of them is killed, or drops it, in the middle
        let killed = tokio::time::timeout(Duration::from_millis(round % 12), fire());
        let _ = tokio::join!(fire(), fire(), killed, fire());
    }
    let mut ids = BTreeSet::new();
    for n in 0..20 {
        f.store.fire_schedules().await.expect("fired");
        let times = times(&f, &format!("s{n}")).await;
        assert!(times.len() > 500, "{}", times.len());
        assert!(times.windows(2).all(|two| two[1].duration_since(two[0]).as_secs() == 1), "each once, none left out");
        ids.insert(times.len());
    }
    f.assert_no_violations().await;
}
