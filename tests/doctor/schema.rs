//! A schema that was changed by hand is told, object by object.

use std::{fs, path::Path};

use longshore_common::{doctor::objects, settings::Settings, store::Store};

use crate::place::Place;

/// After a change of migrations or routines: `UPDATE_SNAPSHOTS=1 cargo test --test doctor the_objects`, and the difference is
/// reviewed with the rest.
#[tokio::test(flavor = "multi_thread")]
async fn the_objects_that_the_program_knows_are_those_that_it_makes() {
    let place = Place::start().await;
    let settings = Settings::from_environment([("LONGSHORE_DATABASE__URL".to_owned(), place.url.clone())].into()).expect("fine");
    let store = Store::new(&settings.database, "test", settings.api.timeout).expect("a store");
    let now = objects::lines(&store.objects().await.expect("look"));
    assert!(now.lines().count() > 300, "they are found");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("common/src/doctor/objects.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &now).expect("write the snapshot");
    }
    let before = fs::read_to_string(&path).expect("the snapshot");
    let differs = before.lines().zip(now.lines()).find(|(before, now)| before != now);
    assert!(before == now, "the schema has changed, first at {differs:?}; if that is meant: UPDATE_SNAPSHOTS=1 cargo test --test doctor the_objects");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_changed_by_hand() {
    let place = Place::start().await;
    place.is_quiet().await;
    let migrations = "make it again as `common/migrations` does";
    let anew = "update longshore.schema_version set routines = ''";

    let index: String = place.one("select pg_get_indexdef('longshore.ready_order'::regclass)").await;
    place.run("drop index longshore.ready_order").await;
    place.is_told("objects", "fail", &["index ready_order is missing (on ready (lane, priority, run_at, id))"], &[migrations]).await;
    place.run(&index).await;
    place.is_quiet().await;

    place.run("create or replace function longshore.pause(queue text) returns text language plpgsql as 'begin return null; end'").await;
    place.is_told("objects", "fail", &["function pause(text) was changed: it has another text"], &[anew, "longshore migrate"]).await;
    place.run(anew).await;
    place.migrate().await;
    place.is_quiet().await;

    place.run("drop view longshore.failures").await;
    place.is_told("objects", "fail", &["view failures is missing"], &[anew, "longshore migrate"]).await;
    place.run(anew).await;
    place.migrate().await;
    place.is_quiet().await;

    place
        .run(
            "create function public.spy() returns trigger language plpgsql as 'begin return null; end';
             create trigger audit after insert on longshore.job_data for each statement execute function public.spy()",
        )
        .await;
    let remedy = "drop trigger audit on longshore.job_data";
    place.is_told("objects", "fail", &["trigger audit on job_data was added"], &[remedy]).await;
    place.run(remedy).await;
    place.is_quiet().await;

    place.run("alter table longshore.labels add column note text").await;
    let remedy = "alter table longshore.labels drop column note";
    place.is_told("objects", "warn", &["column labels.note was added (text)"], &[remedy]).await;
    place.run(remedy).await;
    place.is_quiet().await;

    place.run("alter table longshore.labels drop column id cascade").await;
    place.is_told("objects", "fail", &["column labels.id is missing (bigint not null)"], &[migrations]).await;
}
