//! Migrations, and what must hold for every table and statement.

use std::path::{Path, PathBuf};

use longshore_common::store::migrate::{MigrateError, SchemaState};

use crate::{
    fixture::{Fixture, store_at},
    support::postgres::{Database, connect},
};

#[tokio::test(flavor = "multi_thread")]
async fn many_may_migrate_an_empty_database_at_once() {
    let database = Database::empty().await;
    let starters: Vec<_> = (0..8).map(|_| store_at(database.url())).map(|store| tokio::spawn(async move { store.migrate().await.expect("migrate") })).collect();
    let mut changed = 0;
    for starter in starters {
        changed += usize::from(starter.await.expect("no panic"));
    }
    assert_eq!(changed, 1, "one of them did the work, the others found it done");
    assert!(!store_at(database.url()).migrate().await.expect("migrate again"), "nothing is left to do");
}

#[tokio::test]
async fn a_newer_major_schema_is_left_alone() {
    let f = Fixture::new().await;
    f.run("update longshore.schema_version set major = major + 1, routines = 'of the future'").await;
    assert!(matches!(f.store.schema().await, Ok(SchemaState::TooNew { major: 2 })));
    assert!(matches!(f.store.migrate().await, Err(MigrateError::TooNew(2))));
    assert_eq!(f.count("longshore.schema_version where routines = 'of the future'").await, 1);
}

#[tokio::test]
async fn a_schema_of_another_build_is_left_alone() {
    let f = Fixture::new().await;
    f.run("update longshore.schema_history set checksum = '1' where version = 2; update longshore.schema_version set routines = 'other'").await;
    let error = f.store.migrate().await.expect_err("it is not ours");
    assert!(error.to_string().starts_with("the schema was made by another build of Longshore (its V2__"), "{error}");
    assert_eq!(f.count("longshore.schema_version where routines = 'other'").await, 1);
}

#[tokio::test]
async fn a_newer_minor_schema_is_worked_with_and_not_set_back() {
    let f = Fixture::new().await;
    f.run("update longshore.schema_version set minor = minor + 1, routines = 'newer'").await;
    assert!(matches!(f.store.schema().await, Ok(SchemaState::Known)));
    assert!(!f.store.migrate().await.expect("is fine"));
    assert_eq!(f.count("longshore.schema_version where routines = 'newer'").await, 1);
}

#[tokio::test]
async fn changed_routines_are_installed_anew() {
    let f = Fixture::new().await;
    f.run("update longshore.schema_version set routines = 'older'; drop view longshore.failures").await;
    assert!(f.store.migrate().await.expect("migrate"));
    assert_eq!(f.count("longshore.failures").await, 0);
}

#[tokio::test]
async fn an_empty_database_has_no_schema_yet() {
    let database = Database::empty().await;
    assert!(matches!(store_at(database.url()).schema().await, Ok(SchemaState::Missing)));
}

#[tokio::test]
async fn everything_explains_itself() {
    let f = Fixture::new().await;
    let uncommented = "select c.relname || coalesce('.' || a.attname, '')
          from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and c.relkind = 'r'
         where c.relnamespace = 'longshore'::regnamespace and c.relkind in ('r', 'v', 'S') and c.relname not in ('schema_history')
           and c.relname !~ '_(queue|lane|worker|workflow)_seq$'
           and (a.attnum is null and obj_description(c.oid) is null or a.attnum is not null and col_description(c.oid, a.attnum) is null)
        union all
        select p.proname from pg_proc p where p.pronamespace = 'longshore'::regnamespace and obj_description(p.oid) is null";
    let rows = f.sql.query(uncommented, &[]).await.expect("look");
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(names.is_empty(), "without a comment: {names:?}");
}

fn sql_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sql_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "sql") {
            found.push(path);
        }
    }
}

#[tokio::test]
async fn every_statement_fits_the_schema_and_bears_its_name() {
    let f = Fixture::new().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("common/sql");
    let mut files = Vec::new();
    sql_files(&root, &mut files);
    let statements: Vec<&PathBuf> = files.iter().filter(|path| !path.starts_with(root.join("routines"))).collect();
    assert!(statements.len() > 15, "the files are found");
    for path in statements {
        let text = std::fs::read_to_string(path).expect("readable");
        let name = path.strip_prefix(&root).expect("below").with_extension("");
        assert_eq!(text.lines().next(), Some(format!("-- {}", name.display()).as_str()), "the first line names the statement");
        f.sql.prepare(&text).await.unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
    }
}

#[tokio::test]
async fn roles_may_do_what_they_are_for() {
    let f = Fixture::new().await;
    let refused = async |role: &str, statement: &str| {
        let client = connect(f.database.url()).await;
        client.batch_execute(&format!("set role {role}")).await.expect("the role is there");
        client.batch_execute(statement).await.err().map(|e| e.as_db_error().map(|d| d.message().to_owned()).unwrap_or_default())
    };
    assert_eq!(refused("longshore_producer", "select longshore.enqueue('echo', '{\"a\": 1}', tags => array['x'], unique_key => 'k')").await, None);
    assert!(refused("longshore_producer", "select * from longshore.jobs").await.is_some_and(|why| why.contains("permission denied")));
    assert!(refused("longshore_producer", "delete from longshore.ready").await.is_some_and(|why| why.contains("permission denied")));
    assert_eq!(refused("longshore_reader", "select * from longshore.jobs, longshore.violations, longshore.queues_overview").await, None);
    assert!(refused("longshore_reader", "select longshore.enqueue('echo')").await.is_some_and(|why| why.contains("permission denied")));
    f.assert_no_violations().await;
}

/// The migration asks for it where its user may not create roles: they are made by somebody else, and it is run again.
#[tokio::test]
async fn roles_that_come_late_get_their_rights() {
    let f = Fixture::new().await;
    let reader = "select has_table_privilege('longshore_reader', 'longshore.job_data', 'select')";
    // the role itself is shared by all databases of this server; its rights here are not
    f.run("drop owned by longshore_reader").await;
    assert!(!f.sql.query_one(reader, &[]).await.expect("ask").get::<_, bool>(0));
    assert!(f.store.migrate().await.expect("migrate"), "there was something to do");
    assert!(f.sql.query_one(reader, &[]).await.expect("ask").get::<_, bool>(0));
    assert!(!f.store.migrate().await.expect("migrate"), "and now there is not");
}
