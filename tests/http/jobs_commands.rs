//! `longshore jobs explain|cancel|retry|delete`.

use serde_json::{Value, json};

use crate::{
    api::{Api, SOON},
    support::process::Program,
};

/// Runs `longshore jobs …`; returns its exit code and all that it said.
async fn jobs(api: &Api, args: &[&str]) -> (i32, String) {
    let mut process = Program::longshore([&["jobs"], args].concat()).env("LONGSHORE_DATABASE__URL", api.database.url()).start();
    let code = process.wait_exit(SOON).await.code().expect("no signal");
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

    assert_eq!(jobs(&api, &["cancel", &word]).await, (0, format!("job {id}: cancelled")));
    let (code, said) = jobs(&api, &["cancel", &word, "4000000"]).await;
    let refused = format!("job {id}: it is cancelled; only a job that waits or runs can be cancelled\nthere is no job 4000000");
    assert_eq!((code, said), (1, refused));
    assert_eq!(jobs(&api, &["retry", &word]).await, (0, format!("job {id}: available, with one more attempt")));
    let worker = api.worker("w", &["*=50"]).await;
    assert_eq!(api.claim(worker, "default", 1).await.jobs.len(), 1);
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
