//! A program as users write it: a worker with handlers of their own. It is a test of this test program that becomes that worker
//! when it is told to, so that no other program has to be built.

use std::{ffi::OsStr, time::Duration};

use longshore_worker::{Context, Handler, HandlerError, Handlers, Job, Kind, Settings, program::stop_on_signals};
use serde_json::{Value, json};

use crate::{
    support::process::{Process, Program},
    system::{SOON, System},
};

/// Tells the test that it is to become the worker.
const BECOME: &str = "TEST_BECOMES_A_WORKER";
/// Threads of its runtime, which handlers can block.
const THREADS: usize = 2;

/// Starts it, with the shortest lease there is, and waits until it is ready.
pub async fn start(system: &System, env: &[(&str, &str)]) -> Process {
    let mut program = Program::test("a_users_program::becomes_a_worker")
        .env(BECOME, "1")
        .env("LONGSHORE_DATABASE__URL", system.database.url())
        .env("LONGSHORE_WORKER__LEASE", "5s");
    for (name, value) in env {
        program = program.env(name, *value);
    }
    let mut worker = program.start();
    worker.wait_for_line("ready for work", SOON).await;
    worker
}

#[test]
fn becomes_a_worker() {
    if std::env::var_os(BECOME).as_deref() != Some(OsStr::new("1")) {
        return;
    }
    let settings = Settings::load().expect("settings");
    let log = longshore_common::log::start_with_traces(&settings, "a-users-program", longshore_common::log::Target::Stdout);
    let _until_the_end = log.expect("the collector's address is one");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().expect("a runtime");
    let kind = |name| Kind::new(name).expect("a kind");
    let handlers = Handlers::new()
        .with(kind("park"), Park)
        .with(kind("die"), Die)
        .with(kind("wait"), Wait)
        .with(kind("transfer"), Transfer)
        .with(kind("follow"), Follow)
        .with(kind("traced"), Traced)
        .with(kind("echo"), Echo);
    runtime.block_on(async { longshore_worker::run(&settings, handlers, stop_on_signals().expect("signals")).await }).expect("it works");
    runtime.shutdown_background();
}

/// Blocks its thread for so many seconds.
struct Park;

impl Handler for Park {
    type Args = f64;
    type Output = ();

    async fn handle(&self, seconds: f64, _: Context) -> Result<(), HandlerError> {
        std::thread::sleep(Duration::from_secs_f64(seconds));
        Ok(())
    }
}

/// Takes its process down.
struct Die;

impl Handler for Die {
    type Args = Value;
    type Output = ();

    async fn handle(&self, _: Value, context: Context) -> Result<(), HandlerError> {
        context.log(format!("attempt {} dies in process {}", context.attempt(), std::process::id()));
        std::process::abort();
    }
}

/// Waits for so many seconds, and says in which process; what it tells and gets goes through all that a context has.
struct Wait;

impl Handler for Wait {
    type Args = f64;
    type Output = Value;

    async fn handle(&self, seconds: f64, context: Context) -> Result<Value, HandlerError> {
        let before: Option<i64> = context.checkpoint().await?;
        context.set_checkpoint(before.unwrap_or(0) + 1)?;
        context.progress(0.5)?;
        context.log(format!("waits in process {}", std::process::id()));
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs_f64(seconds)) => {}
            () = context.cancellation().cancelled() => return Err(HandlerError::failed("heard that it is cancelled")),
        }
        Ok(json!({"process": std::process::id(), "before": before}))
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct TransferArgs {
    amount: i64,
    /// What comes after it has completed: "fail", "panic", "stay", "die".
    #[serde(default)]
    then: String,
    /// Before it completes: drop the transaction, "drop", roll it back, "roll back", or wait for a row in "go", "wait".
    #[serde(default)]
    before: String,
}

/// Writes an amount, and completes in the transaction.
struct Transfer;

impl Handler for Transfer {
    type Args = TransferArgs;
    type Output = &'static str;

    async fn handle(&self, args: TransferArgs, context: Context) -> Result<&'static str, HandlerError> {
        let mut transaction = context.transaction().await?;
        transaction.execute("insert into transfers (amount) values ($1)", &[&args.amount]).await?;
        transaction.enqueue(&Job::new("echo", json!({"receipt": args.amount})).queue("receipts")).await?;
        context.log("has written");
        match args.before.as_str() {
            "drop" => return Err(HandlerError::discard("changed its mind")),
            "roll back" => {
                transaction.rollback().await?;
                return Err(HandlerError::discard("changed its mind"));
            }
            "wait" => {
                while transaction.query_one("select not exists (select from go)", &[]).await?.get(0) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            _ => {}
        }
        transaction.complete("in the transaction").await?;
        match args.then.as_str() {
            "fail" => Err(HandlerError::failed("but fails")),
            "panic" => panic!("but panics"),
            "stay" => std::future::pending().await,
            "die" => std::process::abort(),
            _ => Ok("returned"),
        }
    }
}

/// Enqueues jobs that follow.
struct Follow;

impl Handler for Follow {
    type Args = Value;
    type Output = Vec<i64>;

    async fn handle(&self, args: Value, context: Context) -> Result<Vec<i64>, HandlerError> {
        if let Err(error) = context.enqueue(&Job::new("no spaces", ())).await {
            context.log(error);
        }
        let follower = Job::new("echo", &args).queue("followers").tag("follows").unique("one");
        Ok(vec![context.enqueue(&follower).await?, context.enqueue(&follower).await?])
    }
}

/// Makes a span of its own, tells an error, and enqueues a job.
struct Traced;

impl Handler for Traced {
    type Args = Value;
    type Output = i64;

    async fn handle(&self, _: Value, context: Context) -> Result<i64, HandlerError> {
        tracing::info_span!("step", n = 7).in_scope(|| tracing::debug_span!("too small to be told").in_scope(|| ()));
        tracing::error!("something to be told");
        Ok(context.enqueue(&Job::new("echo", ())).await?)
    }
}

struct Echo;

impl Handler for Echo {
    type Args = Value;
    type Output = Value;

    async fn handle(&self, args: Value, _: Context) -> Result<Value, HandlerError> {
        Ok(args)
    }
}
