//! Commands that look at jobs, at the database and over HTTP: the same answers, the same exit codes.

use std::time::Duration;

use longshore_common::{key::Scope, outcome::Outcome};
use serde_json::{Value, json};

use crate::{
    api::{Api, JSON, SOON, create_key},
    support::{eventually::eventually, process::Program},
};

/// Where a command looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Database,
    Http,
}

impl Way {
    pub const BOTH: [Self; 2] = [Self::Database, Self::Http];

    /// The program, set up to look there.
    pub fn program(self, api: &Api, args: &[&str]) -> Program {
        match self {
            Self::Database => Program::longshore(args.iter().copied()).env("LONGSHORE_DATABASE__URL", api.database.url()),
            Self::Http => Program::longshore(args.iter().copied()).env("LONGSHORE_CLIENT__URL", format!("http://{}", api.address)),
        }
    }

    /// Runs `longshore …`; returns its exit code and all that it said.
    pub async fn run(self, api: &Api, args: &[&str]) -> (i32, String) {
        ended(self.program(api, args)).await
    }
}

/// Runs a program to its end.
pub async fn ended(program: Program) -> (i32, String) {
    let mut process = program.start();
    // some are for thousands of jobs
    let code = process.wait_exit(3 * SOON).await.code().expect("no signal");
    (code, process.all_lines(SOON).await.join("\n"))
}

/// Runs it both ways, and wants the same; returns that. What is not there is not there in different places.
async fn both(api: &Api, args: &[&str]) -> (i32, String) {
    let (database, http) = (Way::Database.run(api, args).await, Way::Http.run(api, args).await);
    if http.0 == 0 {
        assert_eq!(database, http, "{args:?}");
    }
    assert_eq!((database.0, database.1.contains("there is no ")), (http.0, http.1.contains("there is no ")), "{args:?}: {database:?} {http:?}");
    http
}

/// Jobs of every sort: finished, failed, running, scheduled, retryable, with all fields.
async fn prepare(api: &Api) -> Vec<i64> {
    let worker = api.worker("w:1", &["*=50"]).await;
    let mut ids = Vec::new();
    let outcomes = [
        Outcome::Succeeded { result: None },
        Outcome::Discarded { error: "refused\nby 10.0.0.7".to_owned() },
        Outcome::Failed { error: "once".to_owned(), retry_in: Some(Duration::from_hours(1)) },
    ];
    for outcome in outcomes {
        ids.push(api.enqueue(r#"{"kind": "echo", "args": {"z": 1.50, "a": [1e2]}, "tags": ["t", "über"], "meta": {"customer": 7}}"#).await);
        let lease = api.claim(worker, "default", 1).await.jobs[0].lease;
        api.store.report(&[(lease, outcome)]).await.expect("report");
    }
    ids.push(api.enqueue(r#"{"kind": "echo", "args": null, "queue": "emails", "unique": {"key": "k"}, "concurrency_key": "c", "timeout": null}"#).await);
    assert_eq!(api.claim(worker, "emails", 1).await.jobs.len(), 1);
    ids.push(api.enqueue(r#"{"kind": "mail", "queue": "emails", "delay": "1h", "timeout": "1500ms", "priority": -3}"#).await);
    let limits = r#"{"max_running": 3, "rate": {"limit": 5, "per": "1500ms"}, "fair": true, "on_failed": {"kind": "tell"}}"#;
    assert_eq!(api.request("PUT", "/v1/queues/emails", &[JSON], limits.as_bytes()).await.status, 200);
    let nightly = r#"{"cron": "30 3 * * *", "timezone": "Europe/Berlin", "job": {"kind": "echo", "args": {"a": 1.0}}}"#;
    assert_eq!(api.request("PUT", "/v1/schedules/nightly", &[JSON], nightly.as_bytes()).await.status, 201);
    ids
}

#[tokio::test]
async fn each_question_has_the_same_answer() {
    let api = Api::start().await;
    let ids = prepare(&api).await;
    for id in ids.iter().map(ToString::to_string) {
        for command in ["show", "explain", "logs"] {
            let (code, said) = both(&api, &["jobs", command, &id, "--json"]).await;
            assert!(code == 0 && serde_json::from_str::<Value>(&said).is_ok(), "{command}: {said}");
            both(&api, &["jobs", command, &id]).await;
        }
        let (_, shown) = Way::Http.run(&api, &["jobs", "show", &id, "--json"]).await;
        assert_eq!(shown, api.get(&format!("/v1/jobs/{id}")).await.text(), "to the byte what the API gives");
    }
    for args in [
        &["jobs"][..],
        &["jobs", "--json"],
        &["jobs", "--full", "--json"],
        &["jobs", "--limit", "2", "--json"],
        &["jobs", "--limit", "2", "--before", "4"],
        &["jobs", "--state", "failed", "--state", "retryable", "--queue", "default", "--kind", "echo", "--tag", "t", "--tag", "über", "--json"],
        &["jobs", "--meta", "customer=7", "--json"],
        &["jobs", "--unique-key", "k", "--json"],
        &["jobs", "--concurrency-key", "c", "--finished-after", "2030-01-31T12:00:00+01:00", "--json"],
        &["jobs", "--created-after", "2020-01-31T12:00:00+01:00", "--created-before", "2099-01-31T12:00:00Z", "--json"],
        &["jobs", "--schedule", "nightly", "--workflow", "7"],
        &["jobs", "failures", "--json"],
        &["jobs", "failures", "--queue", "default", "--kind", "echo", "--limit", "1"],
        &["jobs", "retry", "--state", "failed", "--dry-run", "--json"],
        &["jobs", "delete", "--all", "--dry-run"],
        &["queues", "--json"],
        &["queues"],
        &["schedules", "--json"],
        &["schedules"],
        &["schedules", "preview", "nightly", "-n", "3", "--json"],
        &["workers", "--json"],
        &["workers"],
    ] {
        let (code, said) = both(&api, args).await;
        assert!(code == 0 && !said.is_empty(), "{args:?}: {said}");
    }
    for args in [
        &["jobs", "show", "4000000"][..],
        &["jobs", "explain", "4000000"],
        &["jobs", "logs", "4000000"],
        &["queues", "pause", "nothing"],
        &["queues", "resume", "no/such thing"],
        &["schedules", "preview", "nothing"],
        &["schedules", "run", "nothing"],
        &["schedules", "delete", "nothing"],
    ] {
        let (code, said) = both(&api, args).await;
        assert!(code == 1 && said.contains("there is no "), "{args:?}: {code} {said}");
    }
    let (_, page) = both(&api, &["jobs", "--limit", "2", "--json"]).await;
    let next = serde_json::from_str::<Value>(&page).expect("JSON")["next_cursor"].as_str().expect("there are more").to_owned();
    let (_, rest) = both(&api, &["jobs", "--before", &next, "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&rest).expect("JSON")["items"].as_array().map(Vec::len), Some(ids.len() - 2), "it goes on there");
    api.finish().await;
}

#[tokio::test]
async fn each_call_does_the_same() {
    let api = Api::start().await;
    // so that an id is no other number
    api.sql.batch_execute("select setval('longshore.job_id', 7000000)").await.expect("higher ids");
    let mut said: [Vec<(i32, String)>; 2] = Default::default();
    for (way, said) in Way::BOTH.into_iter().zip(&mut said) {
        let queue = if way == Way::Http { "http" } else { "database" };
        // ids and queues differ, and nothing else
        let mut first = 0;
        let mut run = async |args: &[&str]| {
            let (code, text) = way.run(&api, args).await;
            if first == 0 {
                first = serde_json::from_str::<Value>(&text).expect("JSON")["ids"][0].as_i64().expect("an id");
            }
            said.push((code, numbered(&text, first).replace(queue, "QUEUE")));
            first
        };
        let id = run(&["enqueue", "echo", r#"{"a": 1.50}"#, "--queue", queue, "--tag", "t", "--unique-key", queue, "--json"]).await;
        run(&["enqueue", "echo", "--queue", queue, "--unique-key", queue]).await;
        run(&["enqueue", "echo", "--queue", queue, "--unique-key", queue, "--on-conflict", "replace"]).await;
        run(&["enqueue", "echo", "--queue", queue, "--unique-key", queue, "--on-conflict", "reject"]).await;
        run(&["enqueue", "echo", "--queue", queue, "--retry", "fixed"]).await;
        let word = id.to_string();
        run(&["jobs", "cancel", &word, "4000000"]).await;
        run(&["jobs", "cancel", &word, "--json"]).await;
        run(&["jobs", "retry", &word, "--json"]).await;
        run(&["jobs", "delete", &word]).await;
        run(&["queues", "pause", queue]).await;
        assert_eq!(api.read(&format!("/v1/queues/{queue}")).await["paused"], true);
        run(&["queues", "resume", queue]).await;
        let file = std::env::temp_dir().join(format!("longshore-both-{}-{queue}.ndjson", std::process::id()));
        let path = file.to_str().expect("text");
        // with empty lines between them
        let lines = |n: usize, last: &str| {
            let jobs: Vec<String> = (0..n).map(|n| format!(r#"{{"kind": "echo", "queue": "{queue}", "args": {n}.0}}"#)).collect();
            format!("{}\n\n{last}", jobs.join("\n\n"))
        };
        std::fs::write(&file, lines(1500, "")).expect("temporary file");
        run(&["enqueue", "--file", path, "--json"]).await;
        let held = format!(r#"{{"kind": "echo", "queue": "{queue}", "unique": {{"key": "{queue}-file", "on_conflict": "reject"}}}}"#);
        std::fs::write(&file, lines(2, &format!("{held}\n{held}"))).expect("temporary file");
        run(&["enqueue", "--file", path]).await;
        std::fs::write(&file, lines(2, "{\"kind\": 7}")).expect("temporary file");
        run(&["enqueue", "--file", path]).await;
        std::fs::remove_file(&file).expect("was written above");
        assert_eq!(api.count(&format!("longshore.jobs where queue = '{queue}'")).await, 1501);
        run(&["jobs", "cancel", "--queue", queue, "--yes", "--json"]).await;
        run(&["jobs", "retry", "--queue", queue, "--rate", "30000/m", "--yes"]).await;
        run(&["jobs", "delete", "--queue", queue, "--yes"]).await;
        assert_eq!(api.count(&format!("longshore.jobs where queue = '{queue}'")).await, 0);
        let schedule = format!(r#"{{"cron": "@daily", "job": {{"kind": "echo", "queue": "{queue}"}}}}"#);
        assert_eq!(api.request("PUT", &format!("/v1/schedules/{queue}"), &[JSON], schedule.as_bytes()).await.status, 201);
        let (code, text) = way.run(&api, &["schedules", "run", queue, "--json"]).await;
        assert_eq!((code, &serde_json::from_str::<Value>(&text).expect("JSON")["queue"]), (0, &json!(queue)));
        run(&["schedules", "delete", queue, "--json"]).await;
        assert_eq!(api.get(&format!("/v1/schedules/{queue}")).await.status, 404);
    }
    let [database, http] = said.map(|said| said.into_iter().map(|(code, text)| (code, timeless(&text))).collect::<Vec<_>>());
    for (database, http) in database.iter().zip(&http) {
        // what is refused is refused in the API's words, or in the database's
        let differs = database.0 == 1 && http.0 == 1 && [database, http].iter().all(|(_, said)| said.contains("unique key"));
        assert!(database == http || differs, "{database:?} {http:?}");
    }
    let codes: Vec<i32> = http.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0], "{http:#?}");
    api.finish().await;
}

/// Ids counted from the first one.
fn numbered(text: &str, first: i64) -> String {
    let mut shown = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
        match digits.parse::<i64>() {
            Ok(id) if (first..first + 20).contains(&id) => shown += &format!("#{}{}", id - first, &part[digits.len()..]),
            _ => shown += part,
        }
    }
    shown
}

/// Without what only a clock knows.
fn timeless(text: &str) -> String {
    let words = text.split(' ').map(|word| if word.contains("20") && word.contains('T') && word.ends_with(['Z', '.']) { "TIME" } else { word });
    let text = words.collect::<Vec<_>>().join(" ");
    // ids are not the same where those of a file are counted
    text.split("\"first_id\"").next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_rate_is_not_begun_anew_over_http() {
    let api = Api::start().await;
    api.sql.batch_execute("select longshore.enqueue('k') from generate_series(1, 10050)").await.expect("enqueue");
    assert_eq!(Way::Http.run(&api, &["jobs", "cancel", "--all", "--yes"]).await, (0, "10,050 jobs are cancelled.".to_owned()), "in two calls");
    // how many a call takes is a matter of time
    let retry = &["jobs", "retry", "--all", "--rate", "1000/s", "--yes"];
    let (code, said) = Way::Http.run(&api, retry).await;
    let left = api.count("longshore.finished").await;
    assert!(code == 1 && (50..10_050).contains(&left), "{code} {said}: {left}");
    assert!(said.contains("jobs were retried before: there are more") && said.contains("run it again at "), "{said}");
    eventually("all are retried", 6 * SOON, async || Way::Http.run(&api, retry).await.0 == 0).await;
    assert_eq!(api.count("longshore.finished").await, 0);
    api.finish().await;
}

#[tokio::test]
async fn keys_are_sent_and_what_is_missing_is_said() {
    let (api, [reader, limited]) = Api::start_after(&[], async |store| {
        [create_key(store, "reader", &[Scope::Read], &[]).await, create_key(store, "limited", &[Scope::Enqueue], &["a"]).await]
    })
    .await;
    let with = async |key: &str, args: &[&str]| ended(Way::Http.program(&api, args).env("LONGSHORE_CLIENT__KEY", key)).await;
    let (code, said) = with(&reader, &["jobs", "--json"]).await;
    assert_eq!((code, said), (0, r#"{"items":[],"next_cursor":null}"#.to_owned()));
    let file = std::env::temp_dir().join(format!("longshore-key-{}", std::process::id()));
    std::fs::write(&file, format!("{reader}\n")).expect("temporary file");
    let from_file = Way::Http.program(&api, &["queues", "--json"]).env("LONGSHORE_CLIENT__KEY_FILE", &file);
    assert_eq!(ended(from_file).await.0, 0);
    std::fs::remove_file(&file).expect("was written above");

    let other = format!("{}{}", &reader[..reader.len() - 1], if reader.ends_with('0') { '1' } else { '0' });
    let prefix = |key: &str| key.rsplit_once('_').map(|(public, _)| public.to_owned()).expect("a key");
    for (key, args, said) in [
        (None, &["jobs"][..], vec!["an API key with the scope read".to_owned(), "LONGSHORE_CLIENT__KEY_FILE".to_owned()]),
        (Some(&other), &["jobs"], vec![prefix(&other), "scope read".to_owned()]),
        (Some(&reader), &["jobs", "cancel", "1"], vec!["\"reader\"".to_owned(), "scope admin".to_owned(), prefix(&reader)]),
        (Some(&reader), &["enqueue", "echo"], vec!["nothing was enqueued".to_owned(), "scope enqueue".to_owned()]),
        (Some(&reader), &["queues", "pause", "a"], vec!["scope admin".to_owned()]),
        (Some(&limited), &["enqueue", "echo", "--queue", "b"], vec!["queue \"b\"".to_owned(), "/queue".to_owned()]),
        (Some(&limited), &["top", "--once"], vec!["scope read".to_owned()]),
        (Some(&limited), &["jobs", "tail"], vec!["scope read".to_owned()]),
    ] {
        let program = Way::Http.program(&api, args);
        let (code, text) = ended(if let Some(key) = key { program.env("LONGSHORE_CLIENT__KEY", key) } else { program }).await;
        assert!(code == 1 && said.iter().all(|said| text.contains(said)), "{args:?}: {code} {text}\n{said:?}");
        let secret = key.map_or("nothing", |key| key.rsplit('_').next().expect("a secret"));
        assert!(!text.contains(secret), "{text}");
    }
    let (code, said) = with("ls_secret", &["jobs"]).await;
    assert!(code == 2 && said.contains("LONGSHORE_CLIENT__KEY in the environment: \"***\" must be an API key"), "{code} {said}");
    assert_eq!(with(&limited, &["enqueue", "echo", "--queue", "a"]).await.0, 0);
    api.finish().await;
}

#[tokio::test]
async fn what_is_no_api_is_told_with_its_url() {
    let api = Api::start().await;
    let url = |url: &str| ended(Program::longshore(["--api", url, "jobs"]));
    let (code, said) = url("http://127.0.0.1:1").await;
    assert!(code == 1 && said.contains("the API at http://127.0.0.1:1 cannot be reached: ") && said.contains("--api"), "{code} {said}");
    let (code, said) = url(&format!("http://{}/elsewhere", api.address)).await;
    assert!(code == 1 && said.contains("there is nothing at this path"), "{code} {said}");
    for (bad, said) in [("ftp://a.example", "must be where an API is"), ("http://user:pass@a.example", "LONGSHORE_CLIENT__KEY"), ("nowhere", "must be where")] {
        let (code, text) = url(bad).await;
        assert!(code == 2 && text.contains(said), "{bad}: {code} {text}");
    }
    // the flag is stronger than the setting, which is stronger than the database
    let program = Way::Database.program(&api, &["jobs", "--json", "--api", &format!("http://{}/", api.address)]);
    let (code, said) = ended(program.env("LONGSHORE_CLIENT__URL", "http://127.0.0.1:1")).await;
    assert_eq!((code, said), (0, r#"{"items":[],"next_cursor":null}"#.to_owned()));
    for alone in [&["keys"][..], &["migrate"], &["doctor"], &["bench"], &["dev"], &["api"], &["worker"]] {
        let (code, said) = Way::Database.run(&api, &[alone, &["--api", "http://127.0.0.1:1"]].concat()).await;
        assert!(code == 2 && said.contains("It works on the database alone"), "{alone:?}: {code} {said}");
    }
    let (code, said) = Way::Http.run(&api, &["keys"]).await;
    assert!(code == 2 && said.contains("LONGSHORE_CLIENT__URL is not used") || code == 0, "{code} {said}");
    api.finish().await;
}
