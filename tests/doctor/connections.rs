//! Connections that are used up, and notifications that get lost.

use crate::{
    place::{Place, doctor},
    pooler::{PgBouncer, deaf},
    support::postgres::connect,
};

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_nearly_used_up() {
    let place = Place::start_with(&["max_connections=40", "superuser_reserved_connections=3"]).await;
    let env = [("LONGSHORE_DATABASE__POOL", "5")];
    let mut held = Vec::new();
    for _ in 0..31 {
        held.push(connect(&format!("{}?application_name=hungry", place.url)).await);
    }
    let remedy = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres' and application_name = 'hungry'";
    place.is_told_with(&env, "connections", "fail", &["of 37 are in use", "31 by hungry of postgres"], &[remedy, "raise max_connections"]).await;
    place.run(remedy).await;
    place.is_quiet_with(&env).await;
    drop(held);
    // where none is left at all, whoever is no superuser is not even let in
    place.run("create role clerk login").await;
    let clerk = place.url.replace("//postgres@", "//clerk@");
    let mut held = Vec::new();
    while let Ok((client, connection)) = tokio_postgres::connect(&clerk, tokio_postgres::NoTls).await {
        tokio::spawn(connection);
        held.push(client);
    }
    let said = doctor(&[("LONGSHORE_DATABASE__URL", &clerk)]).await;
    let says = |part: &str, text: &str| said.checks["database"][part].as_str().is_some_and(|said| said.contains(text));
    assert!(said.of_level("fail") == ["database"] && says("detail", "53300") && says("remedy", "raise max_connections"), "{said:#?}");
    drop(held);
    // and what pools may want does not fit either
    let said = place
        .is_told_with(&[("LONGSHORE_DATABASE__POOL", "30")], "connections", "warn", &["the server takes 37", "may want 64"], &["LONGSHORE_DATABASE__POOL"])
        .await;
    assert_eq!(said["ok"], true, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_that_a_pooler_swallows() {
    let place = Place::start().await;
    place.is_quiet().await;
    let pooler = deaf(place.postgres.socket()).await;
    let url = format!("postgres://postgres@{}/postgres?sslmode=disable", pooler.address);
    let missing = [("LONGSHORE_DATABASE__URL", &url[..])];
    let detail = ["one that was sent did not arrive", "LONGSHORE_WORKER__POLL"];
    place.is_told_with(&missing, "notifications", "warn", &detail, &["set LONGSHORE_DATABASE__DIRECT_URL to PostgreSQL itself"]).await;
    let wrong = [missing[0], ("LONGSHORE_DATABASE__DIRECT_URL", &url)];
    place.is_told_with(&wrong, "notifications", "fail", &detail, &["let LONGSHORE_DATABASE__DIRECT_URL lead to PostgreSQL itself"]).await;
    let away = [missing[0], ("LONGSHORE_DATABASE__DIRECT_URL", "postgres://postgres@127.0.0.1:1/postgres")];
    place.is_told_with(&away, "notifications", "fail", &["nobody can listen"], &["LONGSHORE_DATABASE__DIRECT_URL"]).await;
    place.is_quiet_with(&[missing[0], ("LONGSHORE_DATABASE__DIRECT_URL", &place.url)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_that_pgbouncer_swallows() {
    let place = Place::start().await;
    // before version 1.21 it does not follow prepared statements, so that each run needs one that has seen none
    let Some(bouncer) = PgBouncer::start(&place).await else { return };
    let url = format!("postgres://postgres@{}/postgres?sslmode=disable", bouncer.address);
    let said = doctor(&[("LONGSHORE_DATABASE__URL", &url)]).await;
    assert_eq!((said.of_level("warn"), said.of_level("fail")), (vec!["notifications"], vec![]), "{said:#?}");
    drop(bouncer);
    let Some(bouncer) = PgBouncer::start(&place).await else { return };
    let url = format!("postgres://postgres@{}/postgres?sslmode=disable", bouncer.address);
    let said = doctor(&[("LONGSHORE_DATABASE__URL", &url), ("LONGSHORE_DATABASE__DIRECT_URL", &place.url)]).await;
    assert_eq!((said.of_level("warn"), said.of_level("fail")), (vec![], vec![]), "{said:#?}");
}
