//! What keeps dead rows, or makes too many of them.

use tokio_postgres::IsolationLevel;

use crate::{
    place::{Place, SOON},
    standby::Standby,
    support::{eventually::eventually, postgres::connect},
};

/// A hundred thousand transactions in a second: each block with an exception handler that writes is one.
const MANY_TRANSACTIONS: &str = "create table if not exists public.scrap (n int);
    do $$ begin for n in 1..100001 loop begin insert into public.scrap values (n); exception when others then null; end; end loop; end $$;
    truncate public.scrap";

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_stays_open() {
    let place = Place::start().await;
    place.is_quiet().await;
    let mut forgotten = connect(&format!("{}?application_name=nightly_export", place.url)).await;
    let pid: i32 = forgotten.query_one("select pg_backend_pid()", &[]).await.expect("ask").get(0);
    let open = forgotten.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await.expect("begin");
    open.query("select count(*) from longshore.jobs /* what was it again */", &[]).await.expect("a snapshot");
    place.is_quiet().await; // a moment is nothing
    place.run(MANY_TRANSACTIONS).await;
    let detail = [
        &format!("pid {pid} ")[..],
        "user postgres",
        "application nightly_export",
        "idle in transaction",
        "what was it again",
        "transactions have begun since",
    ];
    let remedy = [&format!("select pg_terminate_backend({pid})")[..], "idle_in_transaction_session_timeout"];
    place.is_told("transactions", "fail", &detail, &remedy).await;
    place.run(remedy[0]).await;
    place.is_quiet().await;
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_that_is_forgotten() {
    let place = Place::start().await;
    let other = connect(&place.url).await;
    other.batch_execute("begin; create table public.half_done (n int); prepare transaction 'order''s end'").await.expect("prepare");
    place.is_quiet().await;
    place.run(MANY_TRANSACTIONS).await;
    place.is_told("prepared", "fail", &["'order''s end' of postgres", "transactions have begun since"], &["`rollback prepared 'order''s end'`"]).await;
    place.run("rollback prepared 'order''s end'").await;
    place.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replication_slots_that_nobody_reads_from() {
    let place = Place::start().await;
    place.run("select pg_create_physical_replication_slot('standby_of_may', true)").await;
    let drop = "select pg_drop_replication_slot('standby_of_may')";
    place.is_told("replication", "warn", &["physical replication slot 'standby_of_may'", "is read by nobody"], &[drop]).await;
    // its 64 MB of max_wal_size are over with the fifth file of 16 MB
    for _ in 0..6 {
        place.run("create table if not exists public.scrap (n int); insert into public.scrap values (1); select pg_switch_wal()").await;
    }
    place.is_told("replication", "fail", &["'standby_of_may'", "MiB of write-ahead log (max_wal_size: 64.0 MiB)"], &[drop]).await;
    place.run(drop).await;
    place.run("checkpoint").await;
    place.is_quiet().await;
    place.run("select pg_create_logical_replication_slot('changes', 'pgoutput')").await;
    place
        .is_told("replication", "warn", &["logical replication slot 'changes'", "rows of the catalogs"], &["select pg_drop_replication_slot('changes')"])
        .await;
    place.run("select pg_drop_replication_slot('changes')").await;
    place.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_rows_that_nobody_removes() {
    let place = Place::start().await;
    place
        .run(
            "alter table longshore.ready set (autovacuum_enabled = off);
             insert into longshore.ready (id, run_at, lane, priority) select -n, now(), 0, 0 from generate_series(1, 150000) n;
             delete from longshore.ready where id < 0",
        )
        .await;
    eventually("PostgreSQL has counted the dead rows", SOON, async || {
        place.one::<i64>("select n_dead_tup from pg_stat_user_tables where relid = 'longshore.ready'::regclass").await >= 150_000
    })
    .await;
    let remedy = "alter table longshore.ready reset (autovacuum_enabled); vacuum longshore.ready";
    place.is_told("bloat", "fail", &["autovacuum is disabled for longshore.ready", "150000 dead rows beside 0 live ones"], &[remedy]).await;
    for statement in remedy.split("; ") {
        place.run(statement).await;
    }
    place.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_with_an_old_query() {
    let place = Place::start().await;
    place.run("select pg_create_physical_replication_slot('standby_of_june', true)").await;
    let from: String = place.one("select pg_current_wal_lsn()::text").await;
    let now: i64 = place.one("select pg_current_xact_id()::text::bigint").await;
    let now = u32::try_from(now).expect("a new server");
    let slotless = async || Standby::start(place.postgres.socket(), "reports", None, &from).await;
    let mut standby = slotless().await;
    let mut reading = Standby::start(place.postgres.socket(), "other", Some("standby_of_june"), &from).await;
    standby.needs(now).await;
    reading.needs(now).await;
    eventually("the primary has heard both", SOON, async || {
        place.one::<bool>("select count(*) = 1 from pg_stat_replication where backend_xmin is not null").await
            && place.one::<bool>("select xmin is not null from pg_replication_slots").await
    })
    .await;
    place.is_quiet().await;
    place.run(MANY_TRANSACTIONS).await;
    place
        .is_told("replication", "warn", &["the standby reports at local", "hot_standby_feedback", "transactions have begun since"], &["on reports: end them"])
        .await;
    standby.needs(0).await;
    place.is_quiet().await; // the slot has a reader, who may go on at any moment
    drop(reading);
    let detail = ["'standby_of_june' is read by nobody", "rows that died within the last 10"];
    let drop_slot = "select pg_drop_replication_slot('standby_of_june')";
    place.is_told("replication", "fail", &detail, &[drop_slot]).await;
    place.run(drop_slot).await;
    place.is_quiet().await;
    drop(standby);
}

/// What is not archived stays, and fills the disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_ahead_log_that_piles_up() {
    let place = Place::start_with(&["archive_mode=on"]).await;
    place.run("alter system set archive_command = 'false'").await;
    place.run("select pg_reload_conf()").await;
    for _ in 0..10 {
        place.run("create table if not exists public.scrap (n int); insert into public.scrap values (1); select pg_switch_wal()").await;
    }
    place.is_told("wal", "warn", &["could not be archived", "more than twice max_wal_size (64.0 MiB)"], &["mend `archive_command`"]).await;
    place.run("alter system set archive_command = 'true'").await;
    place.run("select pg_reload_conf()").await;
    eventually("it is archived", SOON, async || {
        place.run("select pg_switch_wal()").await;
        place.run("checkpoint").await;
        place.one::<bool>("select last_archived_time > last_failed_time and last_archived_time > now() - interval '1 min' from pg_stat_archiver").await
    })
    .await;
    eventually("it is recycled", SOON, async || {
        place.run("checkpoint").await;
        let said = place.doctor().await;
        if said.of_level("warn").is_empty() { Ok(()) } else { Err(said) }
    })
    .await;
    place.is_quiet().await;
}
