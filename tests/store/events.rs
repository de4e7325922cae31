//! Numbers of events: whoever has seen one has missed none before it.

use crate::{
    fixture::{Fixture, job},
    support::{eventually::eventually, postgres::connect},
};

#[tokio::test]
async fn who_numbers_events_waits_for_whoever_is_doing_so() {
    let f = Fixture::new().await;
    f.store.watch_events().await.expect("watch");
    assert_eq!(f.store.collect_events(10).await.expect("collect"), 1, "the gap before");
    f.enqueue(&[job("echo"), job("echo"), job("echo")]).await;
    // one numbers the first and has not committed
    f.run("begin; select longshore.collect_events(1)").await;
    let store = f.store.clone();
    let second = tokio::spawn(async move { store.collect_events(10).await });
    let looking = connect(f.database.url()).await;
    eventually("the second waits for the lock", std::time::Duration::from_secs(20), async || {
        let row = looking.query_one("select count(*) from pg_locks where locktype = 'advisory' and not granted", &[]).await.expect("look");
        if row.get::<_, i64>(0) == 1 { Ok(()) } else { Err("it does not") }
    })
    .await;
    assert_eq!(f.store.events_after(1, 10).await.expect("read"), [], "nothing is seen before what comes first");
    f.run("commit").await;
    assert_eq!(second.await.expect("no panic").expect("collect"), 2);
    let events = f.store.events_after(1, 10).await.expect("read");
    assert_eq!(events.iter().map(|event| (event.pos, event.job_id)).collect::<Vec<_>>(), [(2, Some(1)), (3, Some(2)), (4, Some(3))]);
}

#[tokio::test]
async fn old_events_are_forgotten_and_not_more_than_a_number_kept() {
    let f = Fixture::new().await;
    f.store.watch_events().await.expect("watch");
    f.enqueue(&[job("echo"), job("echo")]).await;
    assert_eq!(f.store.collect_events(10).await.expect("collect"), 3);
    f.run("update longshore.events set at = now() - interval '5 min 1 s' where pos <= 2").await;
    f.enqueue(&[job("echo")]).await;
    assert_eq!(f.store.collect_events(10).await.expect("collect"), 1);
    let kept = |events: Vec<longshore_common::store::events::Event>| events.iter().map(|event| event.pos).collect::<Vec<_>>();
    assert_eq!(kept(f.store.events_after(0, 10).await.expect("read")), [3, 4]);
    // as if there had been a hundred thousand more
    f.run("select setval('longshore.event_pos', 100003)").await;
    f.enqueue(&[job("echo")]).await;
    assert_eq!(f.store.collect_events(10).await.expect("collect"), 1);
    assert_eq!(kept(f.store.events_after(0, 10).await.expect("read")), [100_004], "3 and 4 are a hundred thousand back");
    assert_eq!(f.store.last_event().await.expect("look"), 100_004);
}
