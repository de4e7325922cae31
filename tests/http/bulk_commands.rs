//! `longshore jobs failures`, and `longshore jobs cancel|retry|delete` by filter.

use longshore_common::outcome::Outcome;
use serde_json::{Value, json};

use crate::{api::Api, jobs_commands::jobs};

/// Jobs that failed.
async fn failed(api: &Api, n: usize, error: &str) {
    let worker = api.worker(error, &["*=50"]).await;
    for _ in 0..n {
        api.enqueue(r#"{"kind": "echo"}"#).await;
        let lease = api.claim(worker, "default", 1).await.jobs[0].lease;
        api.store.report(&[(lease, Outcome::Discarded { error: error.to_owned() })]).await.expect("report");
    }
}

#[tokio::test]
async fn a_group_is_found_looked_at_and_retried() {
    let api = Api::start().await;
    let nothing = "Nothing failed, and nothing waits for another attempt after a failure.".to_owned();
    assert_eq!(jobs(&api, &["failures"]).await, (0, nothing));
    failed(&api, 6, "refused by 10.0.0.7").await;
    failed(&api, 1, "gone").await;
    let (code, text) = jobs(&api, &["failures", "--json"]).await;
    let listed: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &listed), (0, &api.read("/v1/failures").await), "what the API gives");
    let group = listed["items"][1]["fingerprint"].as_str().expect("digits");
    let (code, text) = jobs(&api, &["failures", "--kind", "echo", "--queue", "default"]).await;
    let line = text.lines().nth(2).expect("a line a group");
    assert!(code == 0 && line.starts_with(group) && line.ends_with("refused by 10.0.0.7"), "{text}");
    assert!(text.ends_with("--dry-run") && text.contains("longshore jobs retry --kind echo --fingerprint "), "{text}");

    let (code, text) = jobs(&api, &["retry", "--fingerprint", group, "--dry-run"]).await;
    assert_eq!((code, text.lines().next(), text.lines().count()), (0, Some("6 jobs would be retried; the newest of them:"), 8), "{text}");
    assert_eq!(api.count("longshore.finished").await, 7, "nothing was changed");
    let (_, text) = jobs(&api, &["retry", "--fingerprint", group, "--dry-run", "--json"]).await;
    let dry: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&dry["count"], &dry["more"], dry["items"].as_array().map(Vec::len)), (&json!(6), &json!(false), Some(5)));
    let (code, text) = jobs(&api, &["retry", "--fingerprint", group]).await;
    assert!(code == 2 && text.contains("--yes") && text.contains("--dry-run"), "nobody is there to be asked: {code} {text}");
    assert_eq!(api.count("longshore.finished").await, 7);

    let (code, text) = jobs(&api, &["retry", "--fingerprint", group, "--rate", "2/m", "--yes", "--json"]).await;
    let done: Value = serde_json::from_str(&text).expect("JSON");
    let last: String = api.sql.query_one("select to_json(max(run_at) at time zone 'utc')#>>'{}' from longshore.scheduled", &[]).await.expect("look").get(0);
    assert_eq!((code, &done["count"]), (0, &json!(6)));
    let time = |text: &str| text.parse::<jiff::Timestamp>().expect("a time");
    assert_eq!(time(done["last_run_at"].as_str().expect("a time")), time(&format!("{last}Z")));
    assert_eq!(api.count("longshore.scheduled").await, 5, "one is due at once");
    assert_eq!(jobs(&api, &["cancel", "--state", "retryable", "--yes"]).await, (0, "5 jobs are cancelled.".to_owned()));
    assert_eq!(jobs(&api, &["delete", "--state", "failed", "--yes"]).await, (0, "1 job is deleted.".to_owned()));
    assert_eq!(jobs(&api, &["delete", "--all", "--yes", "--json"]).await, (0, r#"{"count":6}"#.to_owned()));
    assert_eq!(api.count("longshore.job_data").await, 0);
    api.finish().await;
}

#[tokio::test]
async fn more_than_one_call_takes_and_what_is_wrong_use() {
    let api = Api::start().await;
    api.sql.batch_execute("select longshore.enqueue('k', tags => array['t']) from generate_series(1, 10050)").await.expect("enqueue");
    let (_, text) = jobs(&api, &["cancel", "--queue", "default", "--dry-run"]).await;
    assert!(text.starts_with("more than 10,000 jobs would be cancelled; the newest of them:"), "{text}");
    for (args, said) in [
        (&["cancel"][..], "which jobs?"),
        (&["cancel", "--yes"], "which jobs?"),
        (&["cancel", "1", "--queue", "a"], "cannot be used with"),
        (&["cancel", "1", "--all"], "cannot be used with"),
        (&["cancel", "1", "--yes"], "cannot be used with"),
        (&["cancel", "--all", "--queue", "a"], "cannot be used with"),
        (&["cancel", "--queue", "a", "--rate", "1/s"], "unexpected argument"),
        (&["retry", "1", "--rate", "1/s"], "cannot be used with"),
        (&["retry", "--queue", "a", "--rate", "fast"], "10/s"),
        (&["delete", "--state", "done"], "there are scheduled"),
        (&["delete", "--fingerprint", "7"], "16 hexadecimal digits"),
        (&["delete", "--meta", "x", "--yes"], "KEY=VALUE"),
        (&["delete", "--queue", "a", "--yes", "--dry-run"], "cannot be used with"),
    ] {
        let (code, text) = jobs(&api, args).await;
        assert!(code == 2 && text.contains(said), "{args:?}: {code} {text}");
    }
    assert_eq!(api.count("longshore.ready").await, 10_050, "nothing was changed");
    assert_eq!(jobs(&api, &["cancel", "--tag", "t", "--yes"]).await, (0, "10,050 jobs are cancelled.".to_owned()));
    assert_eq!(api.count("longshore.finished where state = 'cancelled'").await, 10_050);
    // at a rate, each call goes on where the one before ended
    let (code, text) = jobs(&api, &["retry", "--tag", "t", "--rate", "1000/s", "--yes"]).await;
    assert!(code == 0 && text.starts_with("10,050 jobs are retried; the last one is due "), "{text}");
    let spread = "select count(distinct run_at), (extract(epoch from max(run_at) - min(run_at)) * 1000)::bigint from longshore.job_data";
    let row = api.sql.query_one(spread, &[]).await.expect("look");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (10_050, 10_049), "evenly, over more than one call");
    let text = jobs(&api, &["delete", "--queue", "none", "--yes"]).await;
    assert_eq!(text, (0, "0 jobs are deleted.".to_owned()));
    api.finish().await;
}
