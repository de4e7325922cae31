//! Where all is well the doctor is quiet, also while much is going on.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::json;

use crate::{
    place::{Place, SOON, doctor},
    support::{http, process::Program},
};

const RUNS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_system_is_quiet() {
    let place = Place::start_with(&["max_wal_size=1GB", "min_wal_size=80MB"]).await;
    let mut api = Program::longshore(["api"]).env("LONGSHORE_DATABASE__URL", &place.url).env("LONGSHORE_API__LISTEN", "127.0.0.1:0").start();
    let line = api.wait_for_line("listening", SOON).await;
    let address = line.split("addr=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("the line names the address");
    let address = address.parse().expect("an address");
    api.wait_for_line("the schema is up to date", SOON).await;
    let stop = Arc::new(tokio_util::sync::CancellationToken::new());
    let load = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut sent = 0;
            while !stop.is_cancelled() {
                let jobs: Vec<_> = (0..200)
                    .map(|n| match n % 4 {
                        0 => json!({"kind": "sleep", "args": {"for": "50ms"}}),
                        1 => json!({"kind": "fail", "args": {"message": "no", "times": 1}, "queue": "b"}),
                        2 => json!({"kind": "echo", "delay": "1s", "queue": "c"}),
                        _ => json!({"kind": "echo"}),
                    })
                    .collect();
                let answer = http::json(address, "POST", "/v1/jobs/batch", &json!({"jobs": jobs})).await;
                assert_eq!(answer.status, 201, "{}", answer.text());
                sent += jobs.len();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            sent
        }
    });
    for run in 0..RUNS {
        let said = doctor(&[("LONGSHORE_DATABASE__URL", &place.url)]).await;
        assert_eq!((said.of_level("warn"), said.of_level("fail")), (vec![], vec![]), "run {run}: {said:#?}");
    }
    stop.cancel();
    let sent = load.await.expect("no panic");
    assert!(sent >= 200, "there was load");
    let succeeded: i64 = place.one("select count(*) from longshore.finished where state = 'succeeded'").await;
    assert!(succeeded > 0, "and it was worked off");
    // and the page on it has a line on each check, and on no other
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/doctor.md")).expect("the page");
    let documented: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | ")).map(|(name, _)| name).collect();
    let levels = BTreeSet::from(["ok", "warn", "FAIL"]);
    let said = place.doctor().await;
    assert_eq!(said.checks.keys().map(String::as_str).collect::<BTreeSet<_>>(), &documented - &levels);
    let text = Program::longshore(["doctor"]).env("LONGSHORE_DATABASE__URL", &place.url).start().wait_for_line("notifications  they come through", SOON).await;
    assert!(text.starts_with("ok    notifications  "), "for people, it is a line a check: {text}");
}
