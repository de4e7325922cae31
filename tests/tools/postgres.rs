//! That each test has a database of its own.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::postgres::{Database, connect};

static MIGRATIONS: AtomicU32 = AtomicU32::new(0);

async fn migrated() -> Database {
    Database::from_template(async |url: String| {
        MIGRATIONS.fetch_add(1, Ordering::SeqCst);
        let client = connect(&url).await;
        client.batch_execute("create table thing (n int)").await.expect("a table");
    })
    .await
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (one, other) = tokio::join!(migrated(), migrated());
    assert_ne!(one.name(), other.name());
    let (one, other) = tokio::join!(one.connect(), other.connect());
    one.batch_execute("insert into thing values (1)").await.expect("a row");
    let rows = other.query("select n from thing", &[]).await.expect("the template's table");
    assert!(rows.is_empty());
}

#[test]
fn the_template_is_made_once_for_all_runtimes() {
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let database = migrated().await;
            database.connect().await.query("select n from thing", &[]).await.expect("the table");
        });
    }
    assert_eq!(MIGRATIONS.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_empty_database_is_empty() {
    let database = Database::empty().await;
    let client = database.connect().await;
    let row = client.query_one("select count(*) from pg_tables where schemaname = 'public'", &[]).await;
    assert_eq!(row.expect("a count").get::<_, i64>(0), 0);
}

#[tokio::test]
#[should_panic(expected = "last seen: \"left behind: select 'me'\"")]
async fn a_connection_left_behind_is_found() {
    let database = Database::empty().await;
    let client = connect(&format!("{}?application_name=left%20behind", database.url())).await;
    client.simple_query("select 'me'").await.expect("an answer");
    database.close().await;
}

#[tokio::test]
async fn a_database_that_nobody_uses_is_closed() {
    let database = Database::empty().await;
    let client = database.connect().await;
    client.simple_query("select 1").await.expect("an answer");
    drop(client);
    database.close().await;
}
