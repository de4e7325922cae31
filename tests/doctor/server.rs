//! The server's settings, its clock, and users that may not see everything.

use crate::{
    place::{Place, doctor},
    support::postgres::connect,
};

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_endanger_jobs() {
    let place = Place::start().await;
    place.is_quiet().await;
    for (name, cost) in
        [("synchronous_commit", "loses jobs that were acknowledged"), ("autovacuum", "every claim gets slower"), ("track_counts", "autovacuum does not know")]
    {
        place.run(&format!("alter system set {name} = off")).await;
        place.run("select pg_reload_conf()").await;
        let remedy = format!("alter system set {name} = on; select pg_reload_conf()");
        place.is_told("server", "fail", &[&format!("{name} is off"), cost], &[&remedy]).await;
        for statement in remedy.split("; ") {
            place.run(statement).await;
        }
        place.is_quiet().await;
    }
    drop(place);
    let place = Place::start_with(&["fsync=off", "full_page_writes=off"]).await;
    place.is_told("server", "fail", &["fsync is off", "full_page_writes is off"], &["alter system set fsync = on", "command line"]).await;
}

/// A clock in the database that is wrong: whoever is asked there for the time says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong() {
    let place = Place::start().await;
    place
        .run(
            "create function public.clock_timestamp() returns timestamptz language sql as $$ select pg_catalog.clock_timestamp() - interval '1 hour' $$;
             alter database postgres set search_path = public, pg_catalog",
        )
        .await;
    place.is_told("clock", "fail", &["this machine's is 1h", "ahead of the database's"], &["synchronise both"]).await;
    place.run("alter database postgres reset search_path").await;
    place.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_seen_is_said() {
    let place = Place::start().await;
    place.run("create role onlooker login in role longshore_reader; create role stranger login").await;
    let open = connect(&place.url).await;
    open.batch_execute("begin; create table public.half_done (n int)").await.expect("begin");
    let as_user = |user: &str| place.url.replace("//postgres@", &format!("//{user}@"));
    let said = doctor(&[("LONGSHORE_DATABASE__URL", &as_user("onlooker"))]).await;
    assert_eq!((said.of_level("warn"), said.of_level("fail")), (vec![], vec![]), "{said:#?}");
    for (name, text) in [
        ("transactions", "as far as onlooker sees: `grant pg_read_all_stats to onlooker`"),
        ("wal", "grant pg_monitor to onlooker"),
        ("disk", "grant pg_read_all_settings"),
    ] {
        assert!(said.checks[name]["detail"].as_str().is_some_and(|detail| detail.contains(text)), "{name}: {said:#?}");
    }
    let said = doctor(&[("LONGSHORE_DATABASE__URL", &as_user("stranger"))]).await;
    assert_eq!(said.of_level("fail"), ["schema"], "{said:#?}");
}
