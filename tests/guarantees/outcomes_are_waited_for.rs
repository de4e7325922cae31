//! `wait=`: workers say which jobs have ended while somebody waits, and a request is answered by that.

use std::time::{Duration, Instant};

use longshore_common::{
    settings::Settings,
    store::{Store, listen::Channel},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::system::{SOON, System, post, sleep_job};

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_answers_at_once() {
    let system = System::start().await;
    let worker = system.worker(&[]).await;
    for _ in 0..20 {
        let answer = post(system.address, "/v1/jobs?wait=30s", &json!({"kind": "echo", "args": [1.0]})).await;
        assert_eq!((answer.status, &answer.json()["state"], &answer.json()["result"]), (201, &json!("succeeded"), &json!([1.0])));
    }
    let began = Instant::now();
    let answer = post(system.address, "/v1/jobs?wait=30s", &sleep_job("1s")).await;
    // how fast is told, not asserted: the machine may be busy
    println!("a job of 1 s was answered after {:?}", began.elapsed());
    assert_eq!(answer.json()["state"], "succeeded");
    drop(worker);
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_say_what_has_ended_while_somebody_waits() {
    let system = System::start().await;
    let worker = system.worker(&[]).await;
    let settings = Settings::from_environment([("LONGSHORE_DATABASE__URL".to_owned(), system.database.url().to_owned())].into()).expect("fine");
    let store = Store::new(&settings.database, "test", SOON).expect("fine");
    let stop = CancellationToken::new();
    let mut heard = store.listen(Channel::Ended, stop.clone());
    assert_eq!(heard.recv().await, Some(None), "connected");

    let silent = system.enqueue(&json!({"kind": "echo"})).await;
    system.until(silent, "succeeded").await;
    store.watch_outcomes().await.expect("watch");
    let (told, failed) = (system.enqueue(&json!({"kind": "echo"})).await, system.enqueue(&json!({"kind": "fail", "max_attempts": 1})).await);
    let retried = system.enqueue(&json!({"kind": "fail"})).await;
    let mut ids = Vec::new();
    while ids.len() < 2 {
        let note = tokio::time::timeout(SOON, heard.recv()).await.expect("something is told").expect("it listens").expect("it stays connected");
        ids.extend(note.split(',').map(|id| id.parse::<i64>().expect("an id")));
    }
    ids.sort_unstable();
    assert_eq!(ids, [told, failed], "neither what ended before, nor what is tried again");
    system.until(retried, "retryable").await;
    assert!(tokio::time::timeout(Duration::from_millis(200), heard.recv()).await.is_err(), "nothing else");
    stop.cancel();
    drop(worker);
    system.assert_no_violations().await;
}
