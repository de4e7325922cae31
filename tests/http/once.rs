//! What a command enqueues over HTTP is enqueued once, whatever becomes of the answers.

use serde_json::Value;

use crate::{
    api::{Api, SOON},
    support::{
        eventually::eventually,
        process::{Process, Program},
        proxy::{Proxy, Target},
    },
};

/// Starts a command whose requests arrive, and whose answers do not; ends the silence when so many jobs are stored.
async fn unheard(api: &Api, args: &[&str], jobs: i64) -> Process {
    let proxy = Proxy::start(Target::Tcp(api.address)).await;
    proxy.blackhole_replies(true);
    let mut command = Program::longshore(args.iter().copied()).env("LONGSHORE_CLIENT__URL", format!("http://{}", proxy.address())).start();
    eventually("they are stored", SOON, async || {
        let stored = api.count("longshore.jobs").await;
        if stored == jobs { Ok(()) } else { Err(stored) }
    })
    .await;
    // as if the API were being started again: nobody listens for a moment
    proxy.refuse(true);
    proxy.cut_all();
    command.wait_for_line("it is sent again, and stored once", SOON).await;
    proxy.resume();
    assert_eq!(command.wait_exit(SOON).await.code(), Some(0));
    command
}

async fn said(command: Process) -> Value {
    let lines = command.all_lines(SOON).await;
    serde_json::from_str(&lines.into_iter().filter(|line| !line.starts_with("longshore: ")).collect::<String>()).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_makes_no_second_job() {
    let api = Api::start().await;
    let command = unheard(&api, &["enqueue", "echo", "--json"], 1).await;
    assert_eq!(said(command).await["ids"], serde_json::json!([1]));
    assert_eq!(api.count("longshore.jobs").await, 1);
    let file = std::env::temp_dir().join(format!("longshore-once-{}.ndjson", std::process::id()));
    std::fs::write(&file, "{\"kind\": \"echo\"}\n".repeat(2500)).expect("temporary file");
    let command = unheard(&api, &["enqueue", "--json", "--file", file.to_str().expect("text")], 1001).await;
    assert_eq!(said(command).await["stored"], 2500);
    assert_eq!(api.count("longshore.jobs").await, 2501, "each once");
    std::fs::remove_file(&file).expect("was written above");
    api.finish().await;
}
