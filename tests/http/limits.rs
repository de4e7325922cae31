//! What is too large, too slow, or half: bodies, time limits, stops.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    api::{Api, JSON, NDJSON, SOON, migrated, problem},
    support::{
        eventually::eventually,
        http::{self, Connection, Response},
        process::{Process, Program},
    },
};

const MIB: usize = 1024 * 1024;

/// Sends the head of a request whose body is announced, and none of the body.
async fn announced(api: &Api, path: &str, length: usize) -> Response {
    let mut connection = Connection::open(api.address).await;
    connection.send_head("POST", path, &[JSON, ("content-length", &length.to_string())]).await.expect("sent");
    connection.response().await.expect("an answer")
}

/// Sends so many bytes of a body without a length, that never ends.
async fn endless(api: &Api, path: &str, content_type: (&str, &str), start: &str, length: usize) -> Response {
    let mut connection = Connection::open(api.address).await;
    connection.send_head("POST", path, &[content_type, ("transfer-encoding", "chunked")]).await.expect("sent");
    connection.send_chunk(start.as_bytes()).await.expect("sent");
    let chunk = vec![b'x'; 64 * 1024];
    let mut left = length - start.len();
    while left > 0 {
        let part = left.min(chunk.len());
        connection.send(format!("{part:x}\r\n").as_bytes()).await.expect("sent");
        connection.send(&chunk[..part]).await.expect("sent");
        left -= part;
        if left > 0 {
            connection.send(b"\r\n").await.expect("sent");
        }
    }
    connection.response().await.expect("an answer")
}

#[tokio::test]
async fn too_large_is_said_early() {
    let api = Api::start().await;
    let before = api.tables().await;
    for (path, limit) in [("/v1/jobs", 2 * MIB), ("/v1/jobs/batch", 32 * MIB)] {
        for length in [limit + 1, limit * 100] {
            let said = problem(&announced(&api, path, length).await, 413, &[], path);
            assert_eq!(said["detail"], format!("at most {limit} bytes are allowed"));
        }
        for (content_type, start) in [(JSON, "{\"jobs\":[{\"kind\":\"k\",\"args\":\""), (NDJSON, "{\"kind\":\"k\"}\n{\"kind\":\"k\",\"args\":\"")] {
            if path == "/v1/jobs" && content_type == NDJSON {
                continue;
            }
            problem(&endless(&api, path, content_type, start, limit + 1).await, 413, &[], path);
        }
    }
    assert_eq!(api.tables().await, before);
    // a job as large as it may be, with all that may surround it
    let args = format!("\"{}\"", "x".repeat(MIB - 2));
    let body = format!(r#"{{{}"kind":"k","args":{args}{}}}"#, " ".repeat(MIB / 2), " ".repeat(MIB / 2 - 20));
    assert!(body.len() > 2 * MIB - 100 && body.len() <= 2 * MIB);
    assert_eq!(api.post("/v1/jobs", &body).await.status, 201);
    api.finish().await;
}

#[tokio::test]
async fn a_caller_who_sends_all_of_too_much_is_told_as_well() {
    let api = Api::start().await;
    for _ in 0..5 {
        problem(&api.post("/v1/jobs", vec![b' '; 3 * MIB]).await, 413, &[], "3 MiB");
    }
    problem(&api.post("/v1/jobs/batch", vec![b' '; 40 * MIB]).await, 413, &[], "40 MiB");
    api.finish().await;
}

#[tokio::test]
async fn a_caller_who_asks_first_is_told_before_sending() {
    let api = Api::start().await;
    let mut stream = TcpStream::connect(api.address).await.expect("connect");
    stream.write_all(b"POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 15\r\n\r\n").await.expect("sent");
    for (said, sent) in [(&b"HTTP/1.1 100"[..], &br#"{"kind":"echo"}"#[..]), (b" Continue\r\n\r\nHTTP/1.1 201", b"")] {
        let mut answer = vec![0; said.len()];
        timeout(SOON, stream.read_exact(&mut answer)).await.expect("in time").expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), String::from_utf8_lossy(said));
        stream.write_all(sent).await.expect("sent");
    }
    drop(stream);
    let mut connection = Connection::open(api.address).await;
    connection.send_head("POST", "/v1/jobs", &[JSON, ("expect", "100-continue"), ("content-length", "9999999")]).await.expect("sent");
    problem(&connection.response().await.expect("an answer"), 413, &[], "expect");
    api.finish().await;
}

#[tokio::test]
async fn a_caller_who_dribbles_is_given_up() {
    let api = Api::start_with(&[("LONGSHORE_API__TIMEOUT", "400ms")]).await;
    let before = api.tables().await;
    let good = "{\"kind\":\"k\"}";
    for (path, content_type, start) in [
        ("/v1/jobs", JSON, good.to_owned()),
        ("/v1/jobs/batch", JSON, format!("{{\"jobs\":[{good},{good}]")),
        ("/v1/jobs/batch", NDJSON, format!("{good}\n{good}\n{good}")),
    ] {
        let begun = Instant::now();
        let mut connection = Connection::open(api.address).await;
        connection.send_head("POST", path, &[content_type, ("content-length", "1000")]).await.expect("sent");
        connection.send(start.as_bytes()).await.expect("sent");
        let answer = connection.response().await.expect("an answer");
        let said = problem(&answer, 503, &[], path);
        assert!(said["detail"].as_str().is_some_and(|detail| detail.starts_with("not done within 400ms")), "{said}");
        assert!(begun.elapsed() >= Duration::from_millis(400) && begun.elapsed() < SOON);
        let busy =
            "pg_stat_activity where datname = current_database() and (state like 'idle in transaction%' or state = 'active' and pid <> pg_backend_pid())";
        // a duty may be in the middle of a statement
        eventually("no transaction is left open", SOON, async || match api.count(busy).await {
            0 => Ok(()),
            n => Err(n),
        })
        .await;
    }
    assert_eq!(api.tables().await, before);
    assert_eq!(api.post("/v1/jobs", good).await.status, 201, "and others are served");
    api.finish().await;
}

#[tokio::test]
async fn many_who_dribble_hold_nobody_up() {
    // the bodies of batches share 128 MiB; ten that say nothing of their length would take ten times 32
    let api = Api::start_with(&[("LONGSHORE_API__TIMEOUT", "2s")]).await;
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut connection = Connection::open(api.address).await;
        connection.send_head("POST", "/v1/jobs/batch", &[JSON, ("transfer-encoding", "chunked")]).await.expect("sent");
        connection.send_chunk(b"{\"jobs\":[").await.expect("sent");
        held.push(connection);
    }
    for n in 0..20 {
        assert_eq!(api.post("/v1/jobs", format!(r#"{{"kind":"k","args":{n}}}"#)).await.status, 201, "single jobs are taken meanwhile");
    }
    for connection in &mut held {
        problem(&connection.response().await.expect("an answer"), 503, &[], "dribbled");
    }
    let answer = api.post("/v1/jobs/batch", r#"{"jobs":[{"kind":"k"}]}"#).await;
    assert_eq!(answer.status, 201, "and what they held is given back: {}", answer.text());
    api.finish().await;
}

/// A heartbeat that waited behind others' bodies would come when the leases have ended.
#[tokio::test]
async fn who_dribbles_holds_no_heartbeat_up() {
    let api = Api::start().await;
    api.enqueue(r#"{"kind":"k"}"#).await;
    let job = api.post("/v1/leases", "{}").await.json()["jobs"][0].clone();
    let mut held = Vec::new();
    for path in ["/v1/jobs/batch", "/v1/leases/heartbeat", "/v1/leases/report"].into_iter().cycle().take(30) {
        let mut connection = Connection::open(api.address).await;
        connection.send_head("POST", path, &[JSON, ("transfer-encoding", "chunked")]).await.expect("sent");
        connection.send_chunk(b"{\"jobs\":[").await.expect("sent");
        held.push(connection);
    }
    for _ in 0..40 {
        let mut connection = Connection::open(api.address).await;
        connection.send_head("POST", "/v1/jobs", &[JSON, ("transfer-encoding", "chunked")]).await.expect("sent");
        held.push(connection);
    }
    // one that is answered behind them says that they have been seen
    assert_eq!(api.get("/livez").await.status, 200);
    let begun = Instant::now();
    let beat = serde_json::json!({"leases": [{"id": job["id"], "lease": job["lease"]}]});
    assert_eq!(api.post("/v1/leases/heartbeat", beat.to_string()).await.json()["ok"], serde_json::json!([job["id"]]));
    let report = serde_json::json!({"reports": [{"id": job["id"], "lease": job["lease"], "outcome": "complete"}]});
    assert_eq!(api.post("/v1/leases/report", report.to_string()).await.json()["ok"], serde_json::json!([job["id"]]));
    let again = api.post(&format!("/v1/jobs/{}/complete", job["id"]), serde_json::json!({"lease": job["lease"]}).to_string()).await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert!(begun.elapsed() < SOON, "before those who dribble are given up, after 30 s: {:?}", begun.elapsed());
    drop(held);
    api.finish().await;
}

#[tokio::test]
async fn half_a_request_does_not_hold_up_the_stop() {
    let api = Api::start_with(&[("LONGSHORE_API__TIMEOUT", "500ms")]).await;
    let mut halves = Vec::new();
    for half in ["", "P", "POST /v1/jobs HTTP/1.1\r\nhost: loc", "GET /livez HTTP/1.1\r\nhost: localhost\r\n"] {
        let mut connection = Connection::open(api.address).await;
        connection.send(half.as_bytes()).await.expect("sent");
        halves.push(connection);
    }
    let mut idle = Connection::open(api.address).await;
    idle.send_head("GET", "/livez", &[]).await.expect("sent");
    assert_eq!(idle.response().await.expect("an answer").status, 200);
    let begun = Instant::now();
    api.stop.cancel();
    api.stopped().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop((halves, idle));
}

/// An API as a process of its own, with the pid that its memory is looked up by.
async fn process(url: &str, timeout: &str) -> (Process, std::net::SocketAddr) {
    let program = Program::longshore(["api"]).env("LONGSHORE_DATABASE__URL", url).env("LONGSHORE_API__LISTEN", "127.0.0.1:0");
    let mut api = program.env("LONGSHORE_API__TIMEOUT", timeout).start();
    let line = api.wait_for_line("listening", SOON).await;
    let address = line.split("addr=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address").parse().expect("an address");
    api.wait_for_line("the schema is up to date", SOON).await;
    (api, address)
}

#[tokio::test]
async fn a_stop_lets_the_request_under_way_end() {
    let database = migrated().await;
    let (mut api, address) = process(database.url(), "8s").await;
    let mut half_a_header = Connection::open(address).await;
    half_a_header.send(b"POST /v1/jobs HTTP/1.1\r\nhost: loc").await.expect("sent");
    let body = br#"{"kind":"echo","args":"under way"}"#;
    let mut under_way = Connection::open(address).await;
    under_way.send_head("POST", "/v1/jobs", &[JSON, ("content-length", &body.len().to_string())]).await.expect("sent");
    under_way.send(&body[..10]).await.expect("sent");
    // one that is answered behind it says that the other has been seen
    assert_eq!(http::request(address, "GET", "/livez", &[], b"").await.status, 200);
    api.signal(Signal::SIGTERM);
    eventually("no new connection is taken", SOON, async || Connection::try_open(address).await.is_err()).await;
    assert!(!api.has_exited());
    under_way.send(&body[10..]).await.expect("sent");
    let answer = under_way.response().await.expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(api.wait_exit(SOON).await.code(), Some(0), "a clean stop");
    drop(half_a_header);
    let sql = database.connect().await;
    let stored: i64 = sql.query_one("select count(*) from longshore.job_data where args::text = '\"under way\"'", &[]).await.expect("look").get(0);
    assert_eq!(stored, 1);
}

/// The most memory that a process ever had, in bytes.
fn peak(process: &Process) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("a process of ours");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
    line.trim().strip_suffix(" kB").and_then(|number| number.parse::<usize>().ok()).expect("a number") * 1024
}

/// Bytes by which a batch raises the most that a fresh API ever had.
async fn cost_of(content_type: (&str, &str), body: &str, jobs: usize) -> usize {
    assert!(body.len() > 30 * MIB && body.len() <= 32 * MIB, "{}", body.len());
    let database = migrated().await;
    // built for debugging, it is ten times as slow
    let (api, address) = process(database.url(), "2m").await;
    http::request(address, "POST", "/v1/jobs/batch", &[NDJSON], b"{\"kind\":\"k\"}").await;
    let before = peak(&api);
    let answer = http::request(address, "POST", "/v1/jobs/batch", &[content_type], body.as_bytes()).await;
    assert_eq!((answer.status, answer.json()["ids"].as_array().map(Vec::len)), (201, Some(jobs)), "{}", answer.text());
    peak(&api) - before
}

#[tokio::test]
async fn a_full_batch_costs_little_memory() {
    let pad = "x".repeat(32 * MIB / 10_000 - 40);
    let small = (0..10_000).map(|n| format!("{{\"kind\":\"k\",\"args\":\"{n}{pad}\"}}")).collect::<Vec<_>>().join("\n");
    let large = vec![format!("{{\"kind\":\"k\",\"args\":\"{}\"}}", "x".repeat(MIB - 2)); 31].join(",");
    for (content_type, body, jobs) in [(NDJSON, small, 10_000), (JSON, format!("{{\"jobs\":[{large}]}}"), 31)] {
        let cost = cost_of(content_type, &body, jobs).await;
        // 57 to 72 were measured; a body that is kept whole beside its jobs makes it 100
        assert!(cost < 88 * MIB, "a batch of {jobs} jobs, 32 MiB, costs {} MiB", cost / MIB);
    }
}
