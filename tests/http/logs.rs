//! `GET /v1/jobs/{id}/logs`, progress and checkpoint of a job, and the same from the command line.

use std::time::Duration;

use longshore_common::{json::RawJson, key::Scope, notes::Notes, outcome::Outcome, store::claim::Lease};
use serde_json::{Value, json};

use crate::{
    api::{Api, SOON, create_key, problem},
    support::process::Program,
};

async fn note(api: &Api, lease: Lease, progress: &str, checkpoint: &str, log: &str) {
    let json = |text: &str| (!text.is_empty()).then(|| RawJson::parse(text.to_owned()).expect("JSON"));
    let notes = Notes { progress: json(progress), checkpoint: json(checkpoint), log: log.to_owned() };
    assert!(api.store.note(&[(lease, notes)]).await.expect("note").expect("kept")[0].stands);
}

#[tokio::test]
async fn what_handlers_tell_is_shown() {
    let api = Api::start().await;
    let worker = api.worker("w", &["*=50"]).await;
    let id = api.enqueue(r#"{"kind": "echo"}"#).await;
    let (job, logs) = (format!("/v1/jobs/{id}"), format!("/v1/jobs/{id}/logs"));
    let first = api.claim(worker, "default", 1).await.jobs[0].lease;
    assert_eq!(api.read(&logs).await, json!({"items": []}));
    note(&api, first, "0.5", r#"{"at": 7}"#, "one\ntwo\n").await;
    let shown = api.read(&job).await;
    assert_eq!((&shown["progress"], &shown["checkpoint"]), (&json!(0.5), &json!({"at": 7})));
    let listed = api.read("/v1/jobs").await;
    assert_eq!((&listed["items"][0]["progress"], &listed["items"][0]["checkpoint"]), (&json!(0.5), &json!({"at": 7})));
    api.store.report(&[(first, Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::ZERO) })]).await.expect("report");
    let second = api.claim(worker, "default", 1).await.jobs[0].lease;
    note(&api, second, r#"{"done": 3, "of": 9}"#, "", "three \u{1f980}\n").await;
    assert_eq!(api.read(&logs).await, json!({"items": [{"attempt": 1, "text": "one\ntwo\n"}, {"attempt": 2, "text": "three \u{1f980}\n"}]}));
    let shown = api.read(&job).await;
    assert_eq!((&shown["progress"], &shown["checkpoint"]), (&json!({"done": 3, "of": 9}), &json!({"at": 7})));

    let longshore = async |args: &[&str]| {
        let mut process = Program::longshore([&["jobs"], args].concat()).env("LONGSHORE_DATABASE__URL", api.database.url()).start();
        let code = process.wait_exit(SOON).await.code().expect("no signal");
        (code, process.all_lines(SOON).await.join("\n"))
    };
    let word = id.to_string();
    assert_eq!(longshore(&["logs", &word]).await, (0, "attempt 1\none\ntwo\n\nattempt 2\nthree \u{1f980}".to_owned()));
    let (code, text) = longshore(&["logs", &word, "--json"]).await;
    assert_eq!((code, serde_json::from_str::<Value>(&text).expect("JSON")), (0, api.read(&logs).await), "what the API gives");
    let (_, text) = longshore(&["show", &word]).await;
    for line in [r#"  progress         {"done": 3, "of": 9}"#, r#"  checkpoint       {"at": 7}"#] {
        assert!(text.lines().any(|said| said == line), "{text}");
    }
    let silent = api.enqueue(r#"{"kind": "echo"}"#).await;
    assert_eq!(longshore(&["logs", &silent.to_string()]).await, (0, format!("job {silent} has logged nothing")));
    let (code, said) = longshore(&["logs", "4000000"]).await;
    assert!(code == 1 && said.contains("there is no job 4000000"), "{code} {said}");
    assert!(!longshore(&["show", &silent.to_string()]).await.1.contains("progress"), "there is none");

    for id in ["0", "4000000", "x", "+1", "9007199254740992"] {
        problem(&api.get(&format!("/v1/jobs/{id}/logs")).await, 404, &[], id);
    }
    api.store.report(&[(second, Outcome::Succeeded { result: None })]).await.expect("report");
    assert_eq!(api.read(&logs).await["items"].as_array().map(Vec::len), Some(2), "kept with the job");
    assert_eq!(api.request("DELETE", &job, &[], b"").await.status, 204);
    problem(&api.get(&logs).await, 404, &[], "forgotten with the job");
    api.finish().await;
}

#[tokio::test]
async fn logs_of_another_queues_job_are_not_there() {
    let (api, (all, ours, theirs, enqueuer)) = Api::start_after(&[], async |store| {
        (
            create_key(store, "all", &[Scope::Admin], &[]).await,
            create_key(store, "ours", &[Scope::Read], &["ours"]).await,
            create_key(store, "theirs", &[Scope::Admin], &["theirs"]).await,
            create_key(store, "enqueuer", &[Scope::Enqueue], &["ours"]).await,
        )
    })
    .await;
    let worker = api.worker("w", &["*=50"]).await;
    let id = api.with_key(&all, "POST", "/v1/jobs", r#"{"kind": "echo", "queue": "ours"}"#).await.json()["id"].clone();
    note(&api, api.claim(worker, "ours", 1).await.jobs[0].lease, "", "", "secret\n").await;
    let path = format!("/v1/jobs/{id}/logs");
    for key in [&all, &ours] {
        assert_eq!(api.with_key(key, "GET", &path, "").await.json(), json!({"items": [{"attempt": 1, "text": "secret\n"}]}));
    }
    let theirs = api.with_key(&theirs, "GET", &path, "").await;
    problem(&theirs, 404, &[], "told as if it was not there");
    assert!(!theirs.text().contains("secret") && !theirs.text().contains("ours"));
    problem(&api.with_key(&enqueuer, "GET", &path, "").await, 403, &[], "the scope is read");
    api.finish().await;
}
