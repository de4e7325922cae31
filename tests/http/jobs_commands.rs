//! `longshore jobs explain|cancel|retry|delete` and `longshore queues pause|resume`.

use serde_json::{Value, json};

use crate::{
    api::{Api, SOON},
    support::process::Program,
};

/// Runs `longshore jobs …`; returns its exit code and all that it said.
pub async fn jobs(api: &Api, args: &[&str]) -> (i32, String) {
    longshore(api, "jobs", args).await
}

async fn longshore(api: &Api, command: &str, args: &[&str]) -> (i32, String) {
    let mut process = Program::longshore([&[command], args].concat()).env("LONGSHORE_DATABASE__URL", api.database.url()).start();
    // some are for ten thousand jobs
    let code = process.wait_exit(3 * SOON).await.code().expect("no signal");
    (code, process.all_lines(SOON).await.join("\n"))
}

#[tokio::test]
async fn a_job_from_explained_to_deleted() {
    let api = Api::start().await;
    let id = api.enqueue(r#"{"kind": "echo"}"#).await;
    let word = id.to_string();
    let no_worker = format!("job {id} is available\n  no_worker    there is no live worker: start one");
    assert_eq!(jobs(&api, &["explain", &word]).await, (0, no_worker));
    let (_, text) = jobs(&api, &["explain", &word, "--json"]).await;
    let explained: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(explained, api.read(&format!("/v1/jobs/{id}/explain")).await, "what the API gives");

    let later = api.enqueue(r#"{"kind": "echo", "delay": "1h"}"#).await;
    let (_, said) = jobs(&api, &["explain", &later.to_string()]).await;
    let run_at = api.read(&format!("/v1/jobs/{later}")).await["run_at"].clone();
    let not_due = format!("its run_at is in the future; an earlier one starts it sooner (until {})", run_at.as_str().expect("a time"));
    assert_eq!(said.lines().nth(1), Some(&*format!("  not_due      {not_due}")), "{said}");

    assert_eq!(jobs(&api, &["cancel", &word]).await, (0, format!("job {id}: cancelled")));
    let (code, said) = jobs(&api, &["cancel", &word, "4000000"]).await;
    let refused = format!("job {id}: it is cancelled; only a job that waits or runs can be cancelled\nthere is no job 4000000");
    assert_eq!((code, said), (1, refused));
    assert_eq!(jobs(&api, &["retry", &word]).await, (0, format!("job {id}: available, with one more attempt")));
    let worker = api.worker("w", &["*=50"]).await;
    assert_eq!(api.claim(worker, "default", 1).await.jobs.len(), 1);
    let (_, said) = jobs(&api, &["explain", &word]).await;
    assert!(said.starts_with(&format!("job {id}: it runs since ")) && said.ends_with(" on w") && said.lines().count() == 1, "{said}");
    let (code, text) = jobs(&api, &["delete", &word, "--json"]).await;
    let all: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &all[0]["id"], &all[0]["done"]), (1, &json!(id), &json!(false)), "{text}");
    let asked = format!("job {id}: it runs: its worker is told within a second, and stops it");
    assert_eq!(jobs(&api, &["cancel", &word]).await, (0, asked));
    let other = api.enqueue(r#"{"kind": "echo"}"#).await.to_string();
    assert_eq!(jobs(&api, &["delete", &other]).await, (0, format!("job {other}: deleted, with its history")));
    let (code, said) = jobs(&api, &["explain", &other]).await;
    assert!(code == 1 && said.contains(&format!("there is no job {other}")), "{code} {said}");
    assert_eq!(jobs(&api, &["retry"]).await.0, 2, "which?");
    api.finish().await;
}

#[tokio::test]
async fn a_queue_is_paused_and_resumed() {
    let api = Api::start().await;
    api.enqueue(r#"{"kind": "echo"}"#).await;
    let paused = "Queue \"default\" takes jobs and starts none, until: longshore queues resume default".to_owned();
    assert_eq!(longshore(&api, "queues", &["pause", "default"]).await, (0, paused));
    assert_eq!(api.read("/v1/queues/default").await["paused"], true);
    let (_, list) = longshore(&api, "queues", &[]).await;
    assert!(list.contains("default (paused)"), "{list}");
    let (code, text) = longshore(&api, "queues", &["resume", "default", "--json"]).await;
    assert_eq!((code, &serde_json::from_str::<Value>(&text).expect("JSON")["paused"]), (0, &json!(false)));
    assert_eq!(longshore(&api, "queues", &["resume", "default"]).await, (0, "Queue \"default\" starts jobs.".to_owned()));
    let (code, said) = longshore(&api, "queues", &["pause", "nothing"]).await;
    assert!(code == 1 && said.contains("there is no queue \"nothing\""), "{code} {said}");
    api.finish().await;
}
