//! Guarantee 10: the line that says that the database is away says why, and what to do; a cause that only a person can
//! mend is told even where it comes to light late.

use std::time::Duration;

use crate::{
    support::{
        eventually::eventually,
        postgres::{Database, connect, server},
        process::{Process, Program},
        proxy::{Proxy, Target},
    },
    system::{SOON, get, start_api},
};

const AWAY: &str = "the database is away";
const STILL: &str = "the database still cannot be used";

fn worker(url: &str, env: &[(&str, &str)]) -> Process {
    env.iter().fold(Program::longshore(["worker"]).env("LONGSHORE_DATABASE__URL", url), |program, (name, value)| program.env(name, *value)).start()
}

/// The first line of a worker with this URL that has the text.
async fn told(url: &str, text: &str) -> String {
    worker(url, &[]).wait_for_line(text, SOON).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_names_what_helps() {
    let database = Database::empty().await;
    let proxy = Proxy::start(Target::Unix(server().socket())).await;
    let url = database.url_through(proxy.address());
    let (base, _name) = url.rsplit_once('/').expect("a database's name");
    let (_user, rest) = url.split_once("://").and_then(|(_, rest)| rest.split_once('@')).expect("a user");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address"); // closed again here
    for (url, cause, help) in [
        (format!("{base}/nowhere"), "does not exist (3D000)", "create the database"),
        (format!("postgres://stranger:guess@{rest}"), "stranger", "correct user and password"),
        (format!("postgres://x:x@{free}/x"), "refused", "start PostgreSQL"),
        ("postgres://x:x@nobody.invalid:5432/x".to_owned(), "lookup address", "spelled right"),
    ] {
        let line = told(&url, AWAY).await;
        assert!(line.contains(cause) && line.contains(help), "{url}: {line}");
        assert!(!line.contains("guess"), "no password in the log: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_must_mend_is_told_late() {
    let database = Database::empty().await;
    let proxy = Proxy::start(Target::Unix(server().socket())).await;
    proxy.refuse(true);
    let url = database.url_through(proxy.address());
    let mut worker = worker(&format!("{}/nowhere", url.rsplit_once('/').expect("a name").0), &[]);
    worker.wait_for_line(AWAY, SOON).await;
    proxy.resume();
    let line = worker.wait_for_line(STILL, SOON).await;
    assert!(line.contains("create the database"), "{line}");
    tokio::time::sleep(Duration::from_secs(5)).await; // it tries again meanwhile, twice at least
    let lines = worker.lines();
    let said = |text| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((said(AWAY), said(STILL)), (1, 1), "each once: {lines:#?}");
    assert!(!worker.has_exited());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_direct_url_is_told() {
    let database = Database::empty().await;
    let (mut api, address) = start_api(database.url(), &[]).await;
    api.wait_for_line("the schema is up to date", SOON).await;
    let proxy = Proxy::start(Target::Unix(server().socket())).await;
    proxy.refuse(true);
    let direct = database.url_through(proxy.address());
    let mut worker = worker(database.url(), &[("LONGSHORE_DATABASE__DIRECT_URL", &direct)]);
    let line = worker.wait_for_line("cannot listen for notifications", SOON).await;
    assert!(line.contains("LONGSHORE_DATABASE__DIRECT_URL"), "{line}");
    proxy.resume();
    worker.wait_for_line("listening for notifications again", SOON).await;
    let sql = connect(database.url()).await;
    eventually("it works all the while", SOON, async || {
        sql.query_one("select count(*) from longshore.workers_overview where alive", &[]).await.expect("ask").get::<_, i64>(0) == 1
    })
    .await;
    assert_eq!(get(address, "/health").await.status, 200);
}
