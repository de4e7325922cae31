//! Progress, checkpoint and log of a running job: seen while it runs, there when its worker is killed, found again by its
//! next attempt; and never in the way of an outcome.

use std::{collections::BTreeSet, future::Future, time::Duration};

use longshore_common::{job::Kind, json::RawJson, settings::Settings};
use longshore_worker::{Context, Handler, HandlerError, Handlers, NoteError, WorkerError};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    support::{
        eventually::eventually,
        postgres::{Database, connect, server},
        process::{Process, Program},
        proxy::{Proxy, Target},
    },
    system::{SOON, System, count, get, post, sleep_job, start_api, start_worker},
};

/// A handler that is made of a function.
struct Does<F>(F);

impl<F, R> Handler for Does<F>
where
    F: Fn(Context) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Value, HandlerError>> + Send,
{
    type Args = RawJson;
    type Output = Value;
    async fn handle(&self, _: RawJson, context: Context) -> Result<Value, HandlerError> {
        (self.0)(context).await
    }
}

fn does<F, R>(handlers: Handlers, kind: &str, function: F) -> Handlers
where
    F: Fn(Context) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Value, HandlerError>> + Send + 'static,
{
    handlers.with(Kind::new(kind).expect("a kind"), Does(function))
}

/// A worker in this process.
struct Worker(CancellationToken, JoinHandle<Result<(), WorkerError>>);

impl Worker {
    fn start(url: &str, grace: &str, handlers: Handlers) -> Self {
        let env = [("LONGSHORE_DATABASE__URL", url), ("LONGSHORE_WORKER__GRACE", grace)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Settings::from_environment(env.into()).expect("fine");
        let stop = CancellationToken::new();
        let worker = stop.clone();
        Self(stop, tokio::spawn(async move { longshore_worker::run(&settings, handlers, worker).await }))
    }

    async fn stop(self) {
        self.0.cancel();
        self.1.await.expect("no panic").expect("a clean stop");
    }
}

impl System {
    async fn logs(&self, id: i64) -> Vec<(i64, String)> {
        let logs = get(self.address, &format!("/v1/jobs/{id}/logs")).await.json();
        let items = logs["items"].as_array().expect("a list");
        items.iter().map(|one| (one["attempt"].as_i64().expect("a number"), one["text"].as_str().expect("text").to_owned())).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_and_log_are_seen_while_it_runs() {
    let system = System::start().await;
    let _worker = system.worker(&[]).await;
    let (long, short) = (system.enqueue(&sleep_job("10m")).await, system.enqueue(&sleep_job("1s")).await);
    let mut seen = BTreeSet::new();
    eventually("it tells how far it is, again and again", SOON, async || {
        let job = system.job(long).await;
        assert!(job["state"] != "succeeded", "{job}");
        if let Some(progress) = job["progress"].as_f64() {
            assert_eq!(system.logs(long).await, [(1, "sleeps for 10m\n".to_owned())]);
            seen.insert(progress.to_string());
        }
        if seen.len() >= 3 { Ok(()) } else { Err(job) }
    })
    .await;
    let job = system.until(short, "succeeded").await;
    assert_eq!((&job["progress"], &job["checkpoint"]), (&json!(1), &Value::Null));
    assert_eq!(system.logs(short).await, [(1, "sleeps for 1s\nwoke up\n".to_owned())]);
    system.assert_no_violations().await;
}

const CHILD: &str = "TEST_WORKER_URL";

/// Not a test: the worker of the next one, in a process of its own, so that it can be killed.
#[tokio::test(flavor = "multi_thread")]
async fn worker_to_be_killed() {
    let Some(url) = std::env::var_os(CHILD) else { return };
    let handlers = does(Handlers::new(), "count", async |context| {
        let begin: u64 = context.checkpoint().await?.unwrap_or(0);
        for n in begin + 1.. {
            context.log(n);
            context.set_checkpoint(n)?;
            context.progress(json!({ "n": n }))?;
            println!("told {n}");
            if context.attempt() == 2 && n == begin + 10 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(json!(begin))
    });
    Worker::start(url.to_str().expect("text"), "1s", handlers).1.await.expect("no panic").expect("it never ends");
}

fn child(url: &str) -> Process {
    Program::test("jobs_tell_how_far_they_are::worker_to_be_killed").env(CHILD, url).start()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_attempt_goes_on_where_a_killed_worker_was() {
    let system = System::start().await;
    let mut doomed = child(system.database.url());
    let id = system.enqueue(&json!({"kind": "count", "retry": {"backoff": "fixed", "base": 0}})).await;
    eventually("it counts", SOON, async || system.job(id).await["progress"]["n"].as_u64().is_some_and(|n| n > 200)).await;
    doomed.signal(Signal::SIGKILL);
    doomed.wait_exit(SOON).await;
    let printed = doomed.all_lines(SOON).await.iter().filter_map(|line| line.strip_prefix("told ")?.parse::<u64>().ok()).max().expect("it said so");
    let job = system.job(id).await;
    let kept = job["checkpoint"].as_u64().expect("a number");
    // one line each 10 ms: a second is a hundred; the machine may be slow
    println!("{printed} were told, {kept} were kept");
    assert!(kept <= printed && printed - kept < 300, "{printed} were told, {kept} were kept");
    let lines = |from: u64, to: u64| (from..=to).fold(String::new(), |text, n| text + &format!("{n}\n"));
    assert_eq!((&job["state"], &job["progress"]), (&json!("running"), &json!({"n": kept})));
    assert_eq!(system.logs(id).await, [(1, lines(1, kept))], "what was kept belongs together");

    // as if its lease of 30 s was over
    system.sql.batch_execute("update longshore.workers set last_seen = now() - interval '31 s'").await.expect("age");
    let _next = child(system.database.url());
    let job = system.until(id, "succeeded").await;
    assert_eq!((&job["result"], &job["attempt"], &job["checkpoint"], &job["progress"]), (&json!(kept), &json!(2), &json!(kept + 10), &json!({"n": kept + 10})));
    assert_eq!(system.logs(id).await, [(1, lines(1, kept)), (2, lines(kept + 1, kept + 10))]);
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_outcome_overtakes_what_was_told_before_it() {
    fn told(context: &Context) -> Result<(), NoteError> {
        context.log("begins");
        context.set_checkpoint(json!({"of": context.job().lease.id}))?;
        context.log("ends");
        context.progress(1)
    }
    let system = System::start().await;
    let handlers = does(Handlers::new(), "succeeds", async |context| Ok(told(&context).map(|()| Value::Null)?));
    let handlers = does(handlers, "fails", async |context| {
        told(&context)?;
        Err(HandlerError::discard("no"))
    });
    let handlers = does(handlers, "panics", async |context| {
        told(&context)?;
        panic!("as it is meant to")
    });
    let handlers = does(handlers, "late", async |context| {
        told(&context)?;
        std::future::pending().await
    });
    let handlers = does(handlers, "snoozes", async |context| {
        told(&context)?;
        Err(HandlerError::snooze(Duration::from_hours(1)))
    });
    let handlers = does(handlers, "stays", async |context| {
        told(&context)?;
        std::future::pending().await
    });
    let worker = Worker::start(system.database.url(), "100ms", handlers);
    let kinds = ["succeeds", "fails", "panics", "late", "snoozes", "stays"];
    let jobs: Vec<Value> = (0..300).map(|n| json!({"kind": kinds[n % 6], "timeout": if n % 6 == 3 { 1 } else { 60 }, "max_attempts": 1})).collect();
    let answer = post(system.address, "/v1/jobs/batch", &json!({"jobs": jobs})).await.json();
    let ids: Vec<i64> = answer["ids"].as_array().expect("ids").iter().map(|id| id.as_i64().expect("an id")).collect();
    // those that stay hold all slots at the end
    eventually("only those that stay run", SOON, async || {
        let (ended, running) = (system.count("longshore.finished").await, system.count("longshore.running").await);
        if ended == 200 && running == 50 { Ok(()) } else { Err((ended, running)) }
    })
    .await;
    worker.stop().await;
    for (n, id) in ids.iter().enumerate() {
        let job = system.job(*id).await;
        let state = ["succeeded", "failed", "failed", "failed", "scheduled", "available"][n % 6];
        assert_eq!((&job["state"], &job["progress"], &job["checkpoint"]), (&json!(state), &json!(1), &json!({"of": id})), "{job}");
        let logs = system.logs(*id).await;
        // one that was claimed, handed back and claimed again has told it twice
        assert!(!logs.is_empty() && logs.iter().all(|log| *log == (1, "begins\nends\n".to_owned())), "{}: {logs:?}", kinds[n % 6]);
    }
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_limit_is_said_to_the_handler_at_once() {
    let system = System::start().await;
    let handlers = does(Handlers::new(), "share", async |context| Ok(context.progress(1.5).map(|()| Value::Null)?));
    let handlers = does(handlers, "nan", async |context| Ok(context.progress(f64::NAN).map(|()| Value::Null)?));
    let handlers = does(handlers, "object", async |context| Ok(context.progress(json!({"a": "x".repeat(4096)})).map(|()| Value::Null)?));
    let handlers = does(handlers, "long", async |context| Ok(context.set_checkpoint("x".repeat(65_535)).map(|()| Value::Null)?));
    let handlers = does(handlers, "nul", async |context| Ok(context.set_checkpoint("\0").map(|()| Value::Null)?));
    let handlers = does(handlers, "keys", async |context| Ok(context.set_checkpoint(std::collections::HashMap::from([(vec![1], 1)])).map(|()| Value::Null)?));
    let handlers = does(handlers, "other", async |context| {
        context.set_checkpoint("text")?;
        let number: Option<u64> = context.checkpoint().await?;
        Ok(json!(number))
    });
    let handlers = does(handlers, "all", async |context| {
        assert_eq!(context.checkpoint::<Value>().await?, None);
        context.set_checkpoint("x".repeat(65_534))?;
        assert_eq!(context.checkpoint::<String>().await?.map(|text| text.len()), Some(65_534), "one's own, at once");
        context.progress(json!({"a": "x".repeat(4096 - 8)}))?;
        for n in 0..20_000 {
            context.log(format_args!("line {n}\0"));
        }
        Ok(json!(true))
    });
    let handlers = does(handlers, "null", async |context| {
        context.set_checkpoint(1)?;
        context.set_checkpoint(())?;
        Ok(json!(context.checkpoint::<u64>().await?))
    });
    let worker = Worker::start(system.database.url(), "1s", handlers);
    for (kind, error) in [
        ("share", "the progress must be a number from 0 to 1, or an object"),
        ("nan", "the progress must be a number from 0 to 1, or an object"),
        ("object", "the progress is 4104 bytes long; at most 4096 are allowed"),
        ("long", "the checkpoint is 65537 bytes long; at most 65536 are allowed"),
        ("nul", "the checkpoint has a NUL character (\\u0000) in a string"),
        ("keys", "the checkpoint does not fit: key must be a string"),
        ("other", "the checkpoint does not fit: invalid type: string \"text\", expected u64 at line 1 column 6"),
    ] {
        let id = system.enqueue(&json!({"kind": kind, "max_attempts": 1})).await;
        let job = system.until(id, "failed").await;
        assert_eq!((&job["error"], &job["progress"]), (&json!(error), &Value::Null), "{kind}");
    }
    let id = system.enqueue(&json!({"kind": "all", "max_attempts": 1})).await;
    let job = system.until(id, "succeeded").await;
    assert_eq!((job["checkpoint"].as_str().map(str::len), job["progress"]["a"].as_str().map(str::len)), (Some(65_534), Some(4088)));
    let log = system.logs(id).await.remove(0).1;
    assert!(log.len() <= 65_536 && log.len() > 65_500 && log.starts_with("… (cut: ") && log.ends_with("line 19999\u{fffd}\n"), "{}", log.len());
    let id = system.enqueue(&json!({"kind": "null"})).await;
    let job = system.until(id, "succeeded").await;
    assert_eq!((&job["result"], &job["checkpoint"]), (&Value::Null, &Value::Null));
    worker.stop().await;
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_is_there_when_the_database_is_back() {
    let database = Database::empty().await;
    let proxy = Proxy::start(Target::Unix(server().socket())).await;
    let (mut api, address) = start_api(database.url(), &[]).await;
    api.wait_for_line("the schema is up to date", SOON).await;
    let sql = connect(database.url()).await;
    let (begun, go_on) = (CancellationToken::new(), CancellationToken::new());
    let handlers = {
        let (begun, go_on) = (begun.clone(), go_on.clone());
        does(Handlers::new(), "tells", move |context| {
            let (begun, go_on) = (begun.clone(), go_on.clone());
            async move {
                context.log("before");
                context.progress(0.1)?;
                begun.cancelled().await;
                for n in 1..=50 {
                    context.log(n);
                    context.progress(f64::from(n) / 100.0)?;
                    context.set_checkpoint(n)?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                go_on.cancel();
                Ok(Value::Null)
            }
        })
    };
    let worker = Worker::start(&database.url_through(proxy.address()), "10s", handlers);
    let id = post(address, "/v1/jobs", &json!({"kind": "tells"})).await.json()["id"].as_i64().expect("an id");
    let job = async || get(address, &format!("/v1/jobs/{id}")).await.json();
    eventually("the first is kept", SOON, async || job().await["progress"] == 0.1).await;
    proxy.refuse(true);
    proxy.cut_all();
    begun.cancel();
    go_on.cancelled().await;
    assert_eq!((&job().await["state"], &job().await["progress"]), (&json!("running"), &json!(0.1)));
    proxy.resume();
    let done = eventually("it is done", SOON, async || {
        let job = job().await;
        if job["state"] == "succeeded" { Ok(job) } else { Err(job) }
    })
    .await;
    assert_eq!((&done["progress"], &done["checkpoint"], &done["attempt"]), (&json!(0.5), &json!(50), &json!(1)));
    let logs = get(address, &format!("/v1/jobs/{id}/logs")).await.json();
    let expected = (1..=50).fold("before\n".to_owned(), |text, n| text + &format!("{n}\n"));
    assert_eq!(logs["items"], json!([{"attempt": 1, "text": expected}]));
    worker.stop().await;
    assert_eq!(count(&sql, "longshore.violations").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_do_not_wait_for_tables_that_are_locked() {
    let system = System::start().await;
    let worker = Worker::start(
        system.database.url(),
        "1s",
        does(Handlers::new(), "tells", async |context| {
            context.log("in vain");
            Ok(Value::Null)
        }),
    );
    let other = connect(system.database.url()).await;
    other.batch_execute("begin; lock table longshore.logs in exclusive mode").await.expect("locked");
    let id = system.enqueue(&json!({"kind": "tells"})).await;
    system.until(id, "succeeded").await;
    other.batch_execute("commit").await.expect("unlocked");
    let next = system.enqueue(&json!({"kind": "tells"})).await;
    system.until(next, "succeeded").await;
    assert_eq!((system.logs(id).await, system.logs(next).await), (vec![], vec![(1, "in vain\n".to_owned())]));
    worker.stop().await;
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_the_lease_is_not_heard_any_more() {
    let system = System::start().await;
    let handlers = does(Handlers::new(), "tells", async |context| {
        for n in 0.. {
            context.log(n);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Value::Null)
    });
    let worker = Worker::start(system.database.url(), "100ms", handlers);
    let first = system.enqueue(&json!({"kind": "tells"})).await;
    eventually("it is heard", SOON, async || !system.logs(first).await.is_empty()).await;
    system.sql.batch_execute("select longshore.report(array[id], array[lease], array['discarded']) from longshore.running").await.expect("taken away");
    let before = system.logs(first).await;
    let second = system.enqueue(&json!({"kind": "tells"})).await;
    // both were told to the same worker: where the second has been heard twice, the first would have been
    let length = async |id| system.logs(id).await.first().map_or(0, |log| log.1.len());
    for _ in 0..2 {
        let heard = length(second).await;
        eventually("the second is heard", SOON, async || length(second).await > heard).await;
    }
    assert_eq!(system.logs(first).await, before);
    worker.stop().await;
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_on_with_the_schema_of_the_version_before() {
    let database = Database::empty().await;
    let sql = connect(database.url()).await;
    sql.batch_execute(include_str!("../store/older/1.1.sql")).await.expect("the older schema");
    let mut worker = start_worker(database.url(), &[]).await;
    sql.batch_execute(r#"select longshore.enqueue('sleep', '{"for": "1500ms"}') from generate_series(1, 20)"#).await.expect("enqueue");
    eventually("they succeed", SOON, async || count(&sql, "longshore.finished where state = 'succeeded'").await == 20).await;
    let line = "keeps no progress, checkpoints and logs";
    worker.wait_for_line(line, SOON).await;
    worker.signal(Signal::SIGTERM);
    assert!(worker.wait_exit(SOON).await.success());
    let said = worker.all_lines(SOON).await;
    assert_eq!(said.iter().filter(|said| said.contains(line)).count(), 1, "{said:#?}");
    assert!(!said.iter().any(|said| said.contains("ERROR")), "{said:#?}");
}
