//! Who holds up others.

use crate::{
    place::{Place, SOON},
    support::{eventually::eventually, postgres::connect},
};

impl Place {
    /// Somebody who works by hand, and their process.
    async fn by_hand(&self, statements: &str) -> (tokio_postgres::Client, i32) {
        let client = connect(&format!("{}?application_name=by_hand", self.url)).await;
        client.batch_execute(statements).await.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
        let pid = client.query_one("select pg_backend_pid()", &[]).await.expect("ask").get(0);
        (client, pid)
    }

    /// Until that process has waited so long for a lock.
    async fn waits(&self, pid: i32, long: &str) {
        let waits = format!("select exists (select from pg_locks where pid = {pid} and clock_timestamp() - waitstart >= '{long}')");
        eventually("it waits", SOON, async || self.one::<bool>(&waits).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_has_locked() {
    let place = Place::start().await;
    place.is_quiet().await;
    let (_client, pid) = place.by_hand("begin; lock table longshore.ready in access exclusive mode").await;
    let detail = [&format!("pid {pid} (user postgres, application by_hand) has locked ready")[..], "is idle in transaction", "its last statement: select"];
    let end = format!("select pg_terminate_backend({pid})");
    let told = place.is_told("locks", "fail", &detail, &[&end]).await;
    assert!(!told["detail"].as_str().is_some_and(|said| said.contains("application longshore")), "who waits is not at fault: {told}");
    let unseen = &place.doctor().await.checks["schema"];
    assert!(unseen["ok"] == true && unseen["detail"].as_str().is_some_and(|said| said.contains("see locks")), "{unseen}");
    place.run(&end).await;
    place.is_quiet().await;
    // one that nobody needs just now: told at the first look, since what cannot be read was not looked at
    let (client, _) = place.by_hand("begin; lock table longshore.keys in access exclusive mode").await;
    assert_eq!(place.doctor().await.of_level("fail"), ["locks"]);
    client.batch_execute("commit").await.expect("unlock");
    place.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whom_a_change_of_a_table_waits_for_and_all_others_behind_it() {
    let place = Place::start().await;
    let (reader, pid) = place.by_hand("begin; select from longshore.ready").await;
    place.is_quiet().await; // who only reads is in nobody's way
    let (changer, waits) = place.by_hand("set application_name = changer").await;
    let change = tokio::spawn(async move { changer.batch_execute("begin; alter table longshore.ready add column scrap int; rollback").await });
    place.waits(waits, "0 s").await;
    let (behind, last) = place.by_hand("set application_name = behind").await;
    let behind = tokio::spawn(async move { behind.batch_execute("select from longshore.ready").await });
    place.waits(last, "2.5 s").await; // long enough to be told, were it the changer's fault
    let detail = [&format!("pid {pid} (user postgres, application by_hand) holds what others need")[..], "statements wait for it"];
    let told = place.is_told("locks", "fail", &detail, &[&format!("select pg_terminate_backend({pid})")]).await;
    assert!(!told["remedy"].as_str().is_some_and(|said| said.contains(&waits.to_string())), "{told}");
    reader.batch_execute("commit").await.expect("read");
    change.await.expect("no panic").expect("changed, and rolled back");
    behind.await.expect("no panic").expect("read");
    place.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_has_changed_and_a_prepared_transaction_that_has() {
    let place = Place::start().await;
    place.run("select longshore.enqueue('echo', '{}', queue => 'q')").await;
    place.is_quiet().await;
    let change = "begin; update longshore.queues set paused_at = now() where name = 'q'";
    let (client, pid) = place.by_hand(change).await;
    place.is_quiet().await; // until somebody wants the row
    let other = connect(&place.url).await;
    let waiter = tokio::spawn(async move { other.batch_execute("select longshore.pause('q')").await });
    let detail = [&format!("pid {pid} (user postgres, application by_hand) holds what others need")[..], "; a statement has waited "];
    place.is_told("locks", "fail", &detail, &[&format!("select pg_terminate_backend({pid})")]).await;
    client.batch_execute("prepare transaction 'half a pause'").await.expect("prepare");
    place.is_told("locks", "fail", &["a prepared transaction holds what others need"], &["from pg_prepared_xacts"]).await;
    place.run("rollback prepared 'half a pause'").await;
    waiter.await.expect("no panic").expect("paused");
    place.run("select longshore.resume('q')").await;
    eventually("it runs", SOON, async || place.one::<bool>("select exists (select from longshore.jobs where state = 'succeeded')").await).await;
    place.is_quiet().await;
}
