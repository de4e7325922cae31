//! Programs one minor version apart work with each other's schema (the contract's guarantee 13): today's store on the schema
//! of the version before, kept in `older/` as its own program made it.

use longshore_common::{
    job::JobState,
    notes::Notes,
    outcome::Outcome,
    store::migrate::{MAJOR, MINOR, SchemaState},
};

use crate::fixture::{Fixture, job};

#[tokio::test]
async fn the_schema_of_the_version_before_is_worked_with_and_brought_up() {
    let f = Fixture::new().await;
    f.run("drop schema longshore cascade").await;
    f.run(include_str!("older/1.1.sql")).await;
    assert!(matches!(f.store.schema().await, Ok(SchemaState::Known)), "a worker goes on");
    let worker = f.worker("w").await;
    let before = f.leased(worker, job("echo")).await;
    let done = f.leased(worker, job("echo")).await;
    let reported = f.store.report(&[(done, Outcome::Discarded { error: "no".to_owned() })]).await.expect("report");
    assert_eq!(reported.states, [(done, JobState::Failed)]);
    assert!(f.store.to_cancel(worker).await.expect("ask").is_empty(), "nothing can be cancelled there");
    assert_eq!(f.store.next_schedule_in().await.expect("ask"), None, "there are no schedules");
    let told = [(before, Notes { log: "line\n".to_owned(), ..Notes::default() })];
    assert_eq!(f.store.note(&told).await.expect("note"), None, "nothing is kept there");
    assert_eq!(f.store.checkpoint(before.id).await.expect("read"), None);

    assert!(f.store.migrate().await.expect("migrate"));
    let row = f.sql.query_one("select major, minor from longshore.schema_version", &[]).await.expect("look");
    assert_eq!((row.get::<_, i32>(0), row.get::<_, i32>(1)), (MAJOR, MINOR));
    assert!(f.store.note(&told).await.expect("note").is_some_and(|standings| standings[0].stands));
    assert_eq!(f.count("longshore.logs").await, 1);
    f.store.cancel(before.id).await.expect("runs since before");
    assert_eq!(f.store.to_cancel(worker).await.expect("ask"), [before]);
    f.store.report(&[(before, Outcome::Cancelled { error: None })]).await.expect("report");
    f.store.retry(done.id).await.expect("is finished");
    assert_eq!((f.state(before.id).await.as_str(), f.state(done.id).await.as_str()), ("cancelled", "available"));
    f.assert_no_violations().await;
}
