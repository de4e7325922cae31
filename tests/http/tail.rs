//! `longshore jobs tail`, at the database and over HTTP.

use std::time::Duration;

use longshore_common::outcome::Outcome;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    api::{Api, SOON},
    both_ways::Way,
    support::{
        eventually::eventually,
        postgres::server,
        process::{Process, Program},
        proxy::{Proxy, Target},
    },
};

/// One that watches already.
async fn tail(api: &Api, way: Way, args: &[&str]) -> Process {
    let mut tail = way.program(api, &[&["jobs", "tail"], args].concat()).start();
    tail.wait_for_line("longshore: watching", SOON).await;
    tail
}

/// The events that it has printed, as JSON.
fn events(tail: &Process) -> Vec<Value> {
    tail.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

async fn told(tail: &Process, what: &str, n: usize) -> Vec<Value> {
    eventually(what, SOON, async || {
        let events = events(tail);
        if events.len() >= n { Ok(events) } else { Err(tail.lines()) }
    })
    .await
}

/// Runs the next job of a queue to this outcome.
async fn settle(api: &Api, queue: &str, outcome: Outcome) {
    let worker = api.worker(&format!("w:{queue}:{}", outcome.word()), &["*=50"]).await;
    let lease = api.claim(worker, queue, 1).await.jobs[0].lease;
    api.store.report(&[(lease, outcome)]).await.expect("report");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_in_a_line_each() {
    let api = Api::start().await;
    for way in Way::BOTH {
        let queue = if way == Way::Http { "http" } else { "database" };
        let mut all = tail(&api, way, &["--queue", queue, "--json"]).await;
        let mut people = tail(&api, way, &["--queue", queue, "--kind", "echo"]).await;
        let id = api.enqueue(format!(r#"{{"kind": "echo", "queue": "{queue}"}}"#)).await;
        api.enqueue(r#"{"kind": "echo", "queue": "other"}"#).await;
        settle(&api, queue, Outcome::Discarded { error: "no\nsuch place".to_owned() }).await;
        assert_eq!(api.post(&format!("/v1/queues/{queue}/pause"), "").await.status, 200);
        let told = told(&all, "all is told", 4).await;
        let said: Vec<_> = told.iter().map(|event| (event["event"].as_str().expect("a word"), &event["job_id"], &event["queue"])).collect();
        let (id_told, queue_told) = (json!(id), json!(queue));
        assert_eq!(
            said,
            [
                ("job.enqueued", &id_told, &queue_told),
                ("job.started", &id_told, &queue_told),
                ("job.failed", &id_told, &queue_told),
                ("queue.paused", &Value::Null, &queue_told)
            ],
            "{way:?}"
        );
        assert_eq!((&told[2]["error"], &told[2]["attempt"]), (&json!("no\nsuch place"), &json!(1)));
        let line = people.wait_for_line("job.failed", SOON).await;
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        assert_eq!(words, ["job.failed", &id.to_string(), "echo", queue, "attempt", "1", "no", "such", "place"], "{way:?}");
        for process in [&mut all, &mut people] {
            process.signal(Signal::SIGINT);
            assert_eq!(process.wait_exit(SOON).await.code(), Some(0), "{way:?}: Ctrl-C");
        }
    }
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_tells_in_several_lines_is_told_in_one() {
    let api = Api::start().await;
    let worker = api.worker("w", &["*=50"]).await;
    let tails = [tail(&api, Way::Database, &["--json"]).await, tail(&api, Way::Http, &["--json"]).await];
    api.enqueue(r#"{"kind": "echo"}"#).await;
    let lease = api.claim(worker, "default", 1).await.jobs[0].lease;
    let note = "select longshore.note(array[$1::bigint], array[$2::bigint], array[e'{\"done\": 3,\n \"of\": 10}'::json], '{}', array[''])";
    api.sql.execute(note, &[&lease.id, &lease.lease]).await.expect("note");
    for tail in tails {
        assert_eq!(told(&tail, "its progress", 3).await[2]["progress"], json!({"done": 3, "of": 10}));
    }
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_to_its_end() {
    let api = Api::start().await;
    for way in Way::BOTH {
        let queue = if way == Way::Http { "http" } else { "database" };
        let enqueue = async || api.enqueue(format!(r#"{{"kind": "echo", "queue": "{queue}"}}"#)).await.to_string();
        let ends = async |mut tail: Process, code: i32, why: &str| {
            assert_eq!(tail.wait_exit(SOON).await.code(), Some(code), "{way:?}: {why}");
            tail.all_lines(SOON).await
        };
        let id = enqueue().await;
        let waits = tail(&api, way, &["--job", &id]).await;
        settle(&api, queue, Outcome::Failed { error: "once".to_owned(), retry_in: Some(Duration::ZERO) }).await;
        eventually("it is due again", SOON, async || api.count("longshore.ready").await == 1).await;
        settle(&api, queue, Outcome::Succeeded { result: None }).await;
        let lines = ends(waits, 0, "it succeeded").await;
        assert!(lines.iter().any(|line| line.contains("job.retryable")) && lines.iter().any(|line| line.contains("job.succeeded")), "{way:?}: {lines:#?}");
        assert!(lines.iter().any(|line| line.contains("job.started") && line.contains(" on w:")), "{way:?}: {lines:#?}");
        ends(tail(&api, way, &["--job", &id]).await, 0, "it had ended already").await;

        let other = enqueue().await;
        let both = tail(&api, way, &["--job", &id, "--job", &other]).await;
        assert_eq!(api.post(&format!("/v1/jobs/{other}/cancel"), "").await.status, 200);
        ends(both, 1, "one was cancelled").await;
        let lines = ends(tail(&api, way, &["--job", "4000000"]).await, 1, "it is not there").await;
        assert!(lines.iter().any(|line| line.contains("there is no job 4000000")), "{lines:?}");
    }
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_when_what_went_away_is_back() {
    let api = Api::start().await;
    for way in Way::BOTH {
        let (proxy, name, url) = match way {
            Way::Database => {
                let proxy = Proxy::start(Target::Unix(server().socket())).await;
                let url = api.database.url_through(proxy.address());
                (proxy, "LONGSHORE_DATABASE__URL", url)
            }
            Way::Http => {
                let proxy = Proxy::start(Target::Tcp(api.address)).await;
                let url = format!("http://{}", proxy.address());
                (proxy, "LONGSHORE_CLIENT__URL", url)
            }
        };
        let mut tail = Program::longshore(["jobs", "tail", "--json"]).env(name, url).start();
        tail.wait_for_line("longshore: watching", SOON).await;
        let first = api.enqueue(r#"{"kind": "echo"}"#).await;
        told(&tail, "the first", 1).await;
        proxy.refuse(true);
        proxy.cut_all();
        tail.wait_for_line("is away, and is tried again: ", SOON).await;
        let missed = api.enqueue(r#"{"kind": "echo"}"#).await;
        proxy.resume();
        tail.wait_for_line("is back", SOON).await;
        let last = api.enqueue(r#"{"kind": "echo"}"#).await;
        let told = told(&tail, "all three", 3).await;
        let ids: Vec<i64> = told.iter().filter_map(|event| event["job_id"].as_i64()).collect();
        assert_eq!(ids, [first, missed, last], "{way:?}: once each, and none is missed");
        assert_eq!(tail.lines().iter().filter(|line| line.contains("is away")).count(), 1, "{way:?}: said once");

        // the tables of events are empty after a crash, and some numbers are never given
        api.sql.batch_execute("select setval('longshore.event_pos', (select last_value + 7 from longshore.event_pos))").await.expect("a gap");
        let after = api.enqueue(r#"{"kind": "echo"}"#).await;
        let told = eventually("the gap and what comes after it", SOON, async || {
            let events = events(&tail);
            if events.len() >= 5 { Ok(events) } else { Err(events) }
        })
        .await;
        assert_eq!((&told[3], &told[4]["job_id"]), (&json!({"event": "gap", "missed": 7}), &json!(after)), "{way:?}");
        tail.signal(Signal::SIGTERM);
        assert_eq!(tail.wait_exit(SOON).await.code(), Some(0), "{way:?}");
    }
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_nobody_reads_it() {
    let api = Api::start().await;
    let script = "\"$0\" jobs tail --json | head -n 1";
    let mut both = Program::new("bash", ["-c", script, env!("CARGO_BIN_EXE_longshore")]).env("LONGSHORE_DATABASE__URL", api.database.url()).start();
    both.wait_for_line("longshore: watching", SOON).await;
    eventually("it notices", SOON, async || {
        api.enqueue(r#"{"kind": "echo"}"#).await;
        both.has_exited()
    })
    .await;
    assert_eq!(events(&both).len(), 1);
    api.finish().await;
}
