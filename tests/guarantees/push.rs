//! Services that are called: what they answer becomes the outcome, whatever they do harms that attempt alone, and nothing is
//! called that should not be.

pub mod service;

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use self::service::{Call, Reply, Service};
use crate::{
    place::Place,
    support::{
        eventually::eventually,
        process::{Process, Program},
    },
    system::{SOON, System, get, post},
};

const SECRET: &str = "whsec_Zm9yIHRyeWluZyBvbmx5OiBtYWtlIHlvdXIgb3du";
/// Calls of this machine are allowed.
const HERE: [(&str, &str); 1] = [("LONGSHORE_WORKER__ALLOW", "127.0.0.0/8")];

async fn stop(mut worker: Process) {
    worker.signal(Signal::SIGTERM);
    assert!(worker.wait_exit(SOON).await.success());
}

fn once(kind: &str) -> Value {
    json!({"kind": kind, "args": {"z": 1, "a": "ü"}, "max_attempts": 1})
}

fn seconds(from: &Value, to: &Value) -> f64 {
    let at = |time: &Value| time.as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
    at(to).duration_since(at(from)).as_secs_f64()
}

/// Answers by the name of the path.
async fn by_name(call: Call) -> Reply {
    let ok = |body: &str| Reply::new("200 OK", body);
    match call.name() {
        "json" => ok("{\"b\": 1.10, \"a\": [2]}\n"),
        "created" => Reply::new("201 Created", "7"),
        "text" => ok("two words"),
        "nothing" => Reply::Bytes(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        "bytes" => Reply::new("200 OK", b"a\xffb"),
        "long" => Reply::new("200 OK", vec![b'x'; 3 << 20]),
        "gone" => Reply::new("410 Gone", "no such customer"),
        "broken" => Reply::new("500 Internal Server Error", "the disk is full".to_owned() + &"!".repeat(5000)),
        "missing" => Reply::new("404 Not Found", ""),
        "moved" => Reply::new("302 Found\r\nlocation: /json?token=s3cret", ""),
        "cut" => Reply::Cut("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"),
        "dead" => Reply::Cut(""),
        "nonsense" => Reply::Cut("Good morning!\r\n\r\n"),
        "slow" => Reply::Silence,
        "endless" => Reply::Endless,
        "busy" => Reply::new("503 Service Unavailable\r\nretry-after: 3600", "later"),
        "limited" => Reply::new("429 Too Many Requests\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 09:19:37 GMT", ""),
        "overloaded" => Reply::new("503 Service Unavailable", ""),
        "accepted" if call.header("longshore-queue") == "slow" => Reply::Stall("HTTP/1.1 202 Accepted\r\ncontent-length: 100\r\n\r\nI"),
        "accepted" => Reply::new("202 Accepted", "I see"),
        other => Reply::new("404 Not Found", format!("there is no {other}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_answers_is_the_outcome() {
    let (system, place, service) = (System::start().await, Place::new(), Service::start(by_name).await);
    let secret = format!("secret = \"{SECRET}\"");
    let plain = ["json", "created", "text", "nothing", "bytes", "long", "gone", "broken", "missing", "moved", "cut", "dead", "nonsense"];
    let mut handlers: String = plain.map(|kind| service.handler(kind, &secret)).concat();
    handlers += &(service.handler("slow", "timeout = \"500ms\"") + &service.handler("endless", "timeout = \"500ms\""));
    handlers += "[handlers.refused]\nurl = \"http://someone:pa55@127.0.0.1:1/path?token=s3cret\"\n";
    handlers += "[handlers.nowhere]\nurl = \"http://no-such-name.invalid/\"\n";
    // a proxy of the environment would answer, if it were asked
    let proxy = format!("http://{}", service.address);
    let worker = place.worker(&system, &handlers, &[&HERE[..], &[("HTTP_PROXY", &proxy), ("http_proxy", &proxy), ("ALL_PROXY", &proxy)]].concat()).await;
    let (long, broken) = (3 << 20, format!("answered 500 Internal Server Error: the disk is full{}", "!".repeat(2 * 1024 - 16)));
    for (kind, outcome, result, error) in [
        ("json", "succeeded", json!({"b": 1.10, "a": [2]}), ""),
        ("created", "succeeded", json!(7), ""),
        ("text", "succeeded", json!("two words"), ""),
        ("nothing", "succeeded", json!(null), ""),
        ("bytes", "succeeded", json!({"omitted": "the answer is not UTF-8", "bytes": 3}), ""),
        ("long", "succeeded", json!("omitted"), ""),
        ("gone", "discarded", json!(null), "answered 410 Gone: no such customer"),
        ("broken", "failed", json!(null), &broken),
        ("missing", "failed", json!(null), "answered 404 Not Found"),
        ("moved", "failed", json!(null), "answered 302 Found, to /json; redirects are not followed"),
        ("cut", "failed", json!(null), "the answer broke off"),
        ("dead", "failed", json!(null), "no answer came"),
        ("nonsense", "failed", json!(null), "no answer came"),
        ("slow", "failed", json!(null), "there was no whole answer within 500ms (handlers.slow.timeout)"),
        ("endless", "failed", json!(null), "there was no whole answer within 500ms (handlers.endless.timeout)"),
        ("refused", "failed", json!(null), "calling http://127.0.0.1:1: no connection could be made: "),
        ("nowhere", "failed", json!(null), "calling http://no-such-name.invalid:80: no connection could be made: "),
    ] {
        let id = system.enqueue(&once(kind)).await;
        let job = system.until(id, if outcome == "succeeded" { "succeeded" } else { "failed" }).await;
        assert_eq!(job["history"][0]["outcome"], outcome, "{kind}: {job}");
        if kind == "long" {
            assert!(job["result"]["omitted"].as_str().is_some_and(|why| why.contains("longer than the 1048576 bytes")), "{}", job["result"]);
            assert!(job["result"]["bytes"].as_u64().is_some_and(|bytes| (1 << 20..long).contains(&bytes)), "{}", job["result"]);
        } else {
            assert_eq!(job["result"], result, "{kind}");
        }
        let said = job["error"].as_str().unwrap_or_default();
        assert!(said.contains(error) && (said.ends_with(error) || kind != "broken"), "{kind}: {said}");
        assert!(!said.contains("s3cret") && !said.contains("pa55"), "{kind}: {said}");
    }
    assert!(!service.calls().iter().any(|call| call.line.contains("token")), "neither a redirect nor a proxy was followed");
    eventually("both that took too long were hung up on", SOON, async || {
        let hung_up = service.seen.hung_up.load(SeqCst);
        if hung_up == 2 { Ok(()) } else { Err(hung_up) }
    })
    .await;
    stop(worker).await;
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_tells_all_about_the_attempt() {
    let (system, place, service) = (System::start().await, Place::new(), Service::start(by_name).await);
    let file = place.0.join("secrets");
    std::fs::write(&file, format!("{SECRET}\n")).expect("written");
    let both = format!("secret = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\nsecret_file = \"{}\"", file.display());
    let mut worker = place.worker(&system, &(service.handler("text", &both) + &service.handler("json", "")), &HERE).await;
    worker.wait_for_line("handlers.json has no secret", SOON).await;
    let args = "{\"z\" : 1.50,\n \"a\": \"ü😀\"}";
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let body = format!("{{\"kind\": \"text\", \"queue\": \"mails\", \"max_attempts\": 5, \"args\": {args}}}");
    let headers = [("content-type", "application/json"), ("traceparent", traceparent)];
    let answer = crate::support::http::request(system.address, "POST", "/v1/jobs", &headers, body.as_bytes()).await.json();
    let id = answer["id"].as_i64().expect("an id");
    system.until(id, "succeeded").await;
    let calls = service.calls();
    let call = &calls[0];
    assert_eq!((call.line.as_str(), call.body.as_str(), calls.len()), ("POST /text HTTP/1.1", args, 1), "byte for byte");
    let id_header = format!("job_{id}");
    for (name, value) in [
        ("content-type", "application/json"),
        ("webhook-id", &id_header),
        ("longshore-kind", "text"),
        ("longshore-queue", "mails"),
        ("longshore-attempt", "1"),
        ("longshore-max-attempts", "5"),
        ("longshore-checkpoint", ""),
        ("traceparent", traceparent),
        ("user-agent", concat!("longshore/", env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(call.header(name), value, "{name}");
    }
    assert!(call.header("longshore-lease").parse::<i64>().is_ok(), "{call:?}");
    let signatures: Vec<&str> = call.header("webhook-signature").split(' ').collect();
    assert!(signatures.len() == 2 && signatures.iter().all(|one| one.starts_with("v1,") && one.len() == 47), "{signatures:?}");
    let now = jiff::Timestamp::from_second(call.header("webhook-timestamp").parse().expect("seconds")).expect("a time");
    assert!(seconds(&json!(now), &system.job(id).await["finished_at"]).abs() < 60.0, "{call:?}");
    let unsigned = system.enqueue(&once("json")).await;
    system.until(unsigned, "succeeded").await;
    assert_eq!(service.calls()[1].headers.get("webhook-signature"), None);
    stop(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_has_too_much_to_do_says_when() {
    let (system, place, service) = (System::start().await, Place::new(), Service::start(by_name).await);
    let worker = place.worker(&system, &["busy", "limited", "overloaded"].map(|kind| service.handler(kind, "")).concat(), &HERE).await;
    for (kind, after) in [("busy", 3600.0), ("limited", 1800.0), ("overloaded", 500.0)] {
        let retry = json!({"backoff": "fixed", "base": 500, "jitter": 0});
        let id = system.enqueue(&json!({"kind": kind, "retry": retry})).await;
        let job = system.until(id, "retryable").await;
        let waits = seconds(&job["history"][0]["finished_at"], &job["run_at"]);
        assert!((waits - after).abs() < 2.0, "{kind} waits {waits} s");
        assert_eq!(job["history"][0]["outcome"], "failed");
    }
    stop(worker).await;
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_report_later_whatever_becomes_of_the_worker() {
    let (system, place, service) = (System::start().await, Place::new(), Service::start(by_name).await);
    let handlers = service.handler("accepted", "timeout = \"1s\"");
    let mut worker = place.worker(&system, &handlers, &HERE).await;
    let mut ids = Vec::new();
    for report in ["complete", "fail", "nothing"] {
        let timeout = if report == "nothing" { 3 } else { 60 };
        let retry = json!({"backoff": "fixed", "base": 0, "jitter": 0});
        // one of them with an answer whose rest never comes: it was accepted all the same
        let queue = if report == "fail" { "slow" } else { "default" };
        ids.push(system.enqueue(&json!({"kind": "accepted", "queue": queue, "timeout": timeout, "retry": retry, "max_attempts": 2})).await);
    }
    eventually("all three are given away", SOON, async || {
        let given = system.count("longshore.running where lease_until is not null").await;
        if given == 3 { Ok(()) } else { Err(given) }
    })
    .await;
    // longer than the rest of an answer may take
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(system.count("longshore.running where lease_until is not null").await, 3);
    worker.signal(Signal::SIGKILL);
    worker.wait_exit(SOON).await;
    let lease = |id: i64| {
        let calls = service.calls();
        let call = calls.iter().find(|call| call.header("webhook-id") == format!("job_{id}")).expect("it was called");
        call.header("longshore-lease").to_owned()
    };
    // its lease ends by itself, and it is tried again: by nobody, as there is no worker
    let job = eventually("the third has timed out", SOON, async || {
        let job = system.job(ids[2]).await;
        if job["history"][0]["outcome"] == "timed_out" { Ok(job) } else { Err(job) }
    })
    .await;
    assert_eq!(job["state"], "available", "{job}");
    let late = post(system.address, &format!("/v1/jobs/{}/complete", ids[2]), &json!({"lease": lease(ids[2])})).await;
    assert_eq!(late.status, 409, "{}", late.text());
    // longer than a lease of the worker's would have lasted
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(system.job(ids[0]).await["state"], "running");
    let heartbeat =
        json!({"leases": [{"id": ids[0], "lease": lease(ids[0]), "progress": 0.5, "checkpoint": {"at": "ü"}, "log": "half of it\n"}], "extend": "60s"});
    let told = post(system.address, "/v1/leases/heartbeat", &heartbeat).await.json();
    assert_eq!(told["ok"], json!([ids[0]]), "{told}");
    let done = post(system.address, &format!("/v1/jobs/{}/complete", ids[0]), &json!({"lease": lease(ids[0]), "result": "late"})).await;
    assert!(done.status < 300, "{}", done.text());
    let failed = post(system.address, &format!("/v1/jobs/{}/fail", ids[1]), &json!({"lease": lease(ids[1]), "error": "after all", "discard": true})).await;
    assert!(failed.status < 300, "{}", failed.text());
    let (done, failed) = (system.job(ids[0]).await, system.job(ids[1]).await);
    assert_eq!((&done["state"], &done["attempt"], &done["result"], &done["progress"]), (&json!("succeeded"), &json!(1), &json!("late"), &json!(0.5)));
    assert_eq!((&failed["state"], &failed["error"]), (&json!("failed"), &json!("after all")));
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_reports_before_it_answers_is_heard() {
    let system = System::start().await;
    let api = system.address;
    let place = Place::new();
    let service = Service::start(move |call: Call| async move {
        let id = call.header("webhook-id").trim_start_matches("job_").to_owned();
        let report = post(api, &format!("/v1/jobs/{id}/complete"), &json!({"lease": call.header("longshore-lease"), "result": "early"})).await;
        assert!(report.status < 300, "{}", report.text());
        Reply::new("202 Accepted", "")
    })
    .await;
    let mut worker = place.worker(&system, &service.handler("early", ""), &HERE).await;
    for _ in 0..50 {
        let id = system.enqueue(&once("early")).await;
        let job = system.until(id, "succeeded").await;
        assert_eq!((&job["result"], &job["attempt"]), (&json!("early"), &json!(1)));
    }
    worker.signal(Signal::SIGTERM);
    assert!(worker.wait_exit(SOON).await.success());
    let lines = worker.all_lines(SOON).await.join("\n");
    assert!(!lines.contains("the lease was lost"), "{lines}");
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_keeps_is_told_to_the_next_attempt() {
    let system = System::start().await;
    let api = system.address;
    let place = Place::new();
    let service = Service::start(move |call: Call| async move {
        if call.header("longshore-attempt") == "2" {
            return Reply::new("200 OK", call.header("longshore-checkpoint"));
        }
        let id: i64 = call.header("webhook-id").trim_start_matches("job_").parse().expect("a number");
        let note = json!({"leases": [{"id": id, "lease": call.header("longshore-lease"), "progress": 0.25, "checkpoint": {"page": 7, "of": "ä\n"}, "log": "to page 7\n"}]});
        let told = post(api, "/v1/leases/heartbeat", &note).await.json();
        assert_eq!(told["ok"], json!([id]), "{told}");
        Reply::new("500 Internal Server Error", "half way")
    })
    .await;
    let worker = place.worker(&system, &service.handler("pages", ""), &HERE).await;
    let id = system.enqueue(&json!({"kind": "pages", "retry": {"backoff": "fixed", "base": 0, "jitter": 0}})).await;
    let job = system.until(id, "succeeded").await;
    assert_eq!((&job["result"], &job["attempt"], &job["progress"]), (&json!({"page": 7, "of": "ä\n"}), &json!(2), &json!(0.25)));
    assert!(service.calls()[1].header("longshore-checkpoint").is_ascii());
    let logs = get(api, &format!("/v1/jobs/{id}/logs")).await.json();
    assert_eq!(logs["items"][0]["text"], "to page 7\n", "{logs}");
    stop(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_with_its_job() {
    let (system, place, service) = (System::start().await, Place::new(), Service::start(by_name).await);
    let worker = place.worker(&system, &service.handler("slow", ""), &HERE).await;
    let hung_up = async |n: usize| {
        eventually("the caller has hung up", SOON, async || {
            let hung_up = service.seen.hung_up.load(SeqCst);
            if hung_up == n { Ok(()) } else { Err(hung_up) }
        })
        .await;
    };
    // the job's own timeout is the shorter one
    let late = system.enqueue(&json!({"kind": "slow", "timeout": 1, "max_attempts": 1})).await;
    assert_eq!(system.until(late, "failed").await["history"][0]["outcome"], "timed_out");
    hung_up(1).await;
    let cancelled = system.enqueue(&once("slow")).await;
    system.until(cancelled, "running").await;
    eventually("it is called", SOON, async || if service.calls().len() == 2 { Ok(()) } else { Err(service.calls().len()) }).await;
    assert_eq!(post(system.address, &format!("/v1/jobs/{cancelled}/cancel"), &Value::Null).await.status, 202);
    let job = system.until(cancelled, "cancelled").await;
    assert!(seconds(&job["cancel_requested_at"], &job["finished_at"]) < 4.0, "it is not waited for: {job}");
    hung_up(2).await;
    stop(worker).await;
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_used_again_and_calls_are_limited() {
    let (system, place) = (System::start().await, Place::new());
    let service = Service::start(|_| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Reply::new("200 OK", "true")
    })
    .await;
    let worker = place.worker(&system, &service.handler("many", "concurrency = 4"), &HERE).await;
    let jobs: Vec<Value> = (0..500).map(|n| json!({"kind": "many", "args": n})).collect();
    assert_eq!(post(system.address, "/v1/jobs/batch", &json!({"jobs": jobs})).await.status, 201);
    eventually("all are done", SOON, async || {
        let done = system.count("longshore.jobs where state = 'succeeded'").await;
        if done == 500 { Ok(()) } else { Err(done) }
    })
    .await;
    let (connections, most) = (service.seen.connections.load(SeqCst), service.seen.most_at_once.load(SeqCst));
    assert!(connections <= 8, "500 calls, {connections} connections");
    assert!((2..=4).contains(&most), "{most} calls at once");
    stop(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_not_public_are_not_called() {
    let (system, place, service) = (System::start().await, Place::new(), Service::start(by_name).await);
    let port = service.address.port();
    let hosts = [
        "127.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f000001",
        "0x7f.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "localhost",
        "LOCALHOST",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "10.0.0.1",
        "[fd00:ec2::254]",
        "[64:ff9b::7f00:1]",
    ];
    let handlers: Vec<String> = hosts.iter().enumerate().map(|(n, host)| format!("[handlers.h{n}]\nurl = \"http://{host}:{port}/json\"\n")).collect();
    let handlers = handlers.concat();
    let env = [("LONGSHORE_WORKER__BUILTINS", "echo,http"), ("LONGSHORE_WORKER__ALLOW", "192.168.77.0/24")];
    let mut worker = place.worker(&system, &handlers, &env).await;
    worker.wait_for_line("handlers.h0.url: 127.0.0.1 is a loopback address", SOON).await;
    for (n, host) in hosts.iter().enumerate() {
        // by the settings, and by a job
        let by_job = json!({"kind": "http", "args": {"url": format!("http://{host}:{port}/json")}, "max_attempts": 1});
        for job in [once(&format!("h{n}")), by_job] {
            let id = system.enqueue(&job).await;
            let error = system.until(id, "failed").await["error"].to_string();
            assert!(error.contains("was not called: ") && error.contains("LONGSHORE_WORKER__ALLOW must name its network"), "{host}: {error}");
        }
    }
    assert_eq!((service.calls().len(), service.seen.connections.load(SeqCst)), (0, 0));
    stop(worker).await;
    // where they are allowed, in whatever form
    let worker = place.worker(&system, &handlers, &HERE).await;
    for (n, host) in hosts.iter().enumerate().filter(|(_, host)| host.contains("7f") || host.contains("127") || host.eq_ignore_ascii_case("localhost")) {
        if !host.contains("64:ff9b") {
            let id = system.enqueue(&once(&format!("h{n}"))).await;
            assert_eq!(system.until(id, "succeeded").await["state"], "succeeded", "{host}");
        }
    }
    stop(worker).await;
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_may_name_what_is_called_where_that_is_wanted() {
    let (system, place) = (System::start().await, Place::new());
    let service = Service::start(|call: Call| async move {
        match call.name() {
            "echo" => Reply::new(
                "200 OK\r\nx-two: a\r\nx-two: b\r\nset-cookie: s=1",
                json!([call.line, call.header("x-from"), call.header("content-type"), call.body]).to_string(),
            ),
            _ => by_name(call).await,
        }
    })
    .await;
    let at = |path: &str| format!("http://{}/{path}", service.address);
    let without = place.worker(&system, "", &HERE).await;
    let unknown = system.enqueue(&json!({"kind": "http", "args": {"url": at("echo")}})).await;
    let known = system.enqueue(&json!({"kind": "echo"})).await;
    system.until(known, "succeeded").await;
    assert_eq!((system.job(unknown).await["state"].as_str(), service.calls().len()), (Some("available"), 0), "only where it is named");
    stop(without).await;
    let worker = place.worker(&system, "", &[HERE[0], ("LONGSHORE_WORKER__BUILTINS", "echo,http")]).await;
    let job = system.until(unknown, "succeeded").await;
    assert_eq!((&job["result"]["status"], &job["result"]["headers"]["x-two"]), (&json!(200), &json!("a, b")));
    assert_eq!((&job["result"]["body"], &job["result"]["headers"]["set-cookie"]), (&json!(["GET /echo HTTP/1.1", "", "", ""]), &json!(null)));
    let full = json!({"method": "PUT", "url": at("echo"), "headers": {"x-from": "us"}, "body": {"a": "ü"}});
    let id = system.enqueue(&json!({"kind": "http", "args": full})).await;
    assert_eq!(system.until(id, "succeeded").await["result"]["body"], json!(["PUT /echo HTTP/1.1", "us", "application/json", "{\"a\":\"ü\"}"]));
    for (args, outcome, said) in [
        (json!({"url": at("echo"), "colour": "red"}), "discarded", "unknown field `colour`"),
        (json!({"method": "GET"}), "discarded", "missing field `url`"),
        (json!({"url": "ftp://a.example/"}), "discarded", "args.url: begins with ftp://"),
        (json!({"url": "echo"}), "discarded", "args.url: relative URL"),
        (json!({"url": at("echo"), "method": "G T"}), "discarded", "args.method: "),
        (json!({"url": at("echo"), "headers": {"a b": "c"}}), "discarded", "args.headers.a b: "),
        (json!({"url": at("gone")}), "discarded", "answered 410 Gone"),
        (json!({"url": at("broken")}), "failed", "answered 500 Internal"),
    ] {
        let id = system.enqueue(&json!({"kind": "http", "args": args, "max_attempts": 1})).await;
        let job = system.until(id, "failed").await;
        assert_eq!(job["history"][0]["outcome"], outcome, "{job}");
        assert!(job["error"].as_str().is_some_and(|error| error.contains(said)), "{}", job["error"]);
    }
    stop(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_or_url_that_cannot_be_used_stops_the_worker() {
    let place = Place::new();
    let short = "whsec_c2hvcnQ=";
    for (handler, said) in [
        (format!("secret = \"{short}\""), "handlers.x.secret: a secret must be whsec_"),
        ("secret = \"correct horse battery staple\"".to_owned(), "handlers.x.secret: a secret must be whsec_"),
        ("secret_file = \"/no/such/file\"".to_owned(), "handlers.x.secret_file: /no/such/file: cannot be read: No such file"),
        (String::new(), "handlers.x.url: begins with gopher://"),
    ] {
        let scheme = if handler.is_empty() { "gopher" } else { "https" };
        let config = place.settings(&format!("[handlers.x]\nurl = \"{scheme}://u:pa55@a.example/\"\n{handler}\n"));
        let mut worker = Program::longshore(["worker"]).env("LONGSHORE_DATABASE__URL", "postgres://u@127.0.0.1:1/n").env("LONGSHORE_CONFIG", &config).start();
        assert_eq!(worker.wait_exit(SOON).await.code(), Some(2), "{handler}");
        let lines = worker.all_lines(SOON).await.join("\n");
        assert!(lines.contains(said), "{lines}");
        assert!(!lines.contains("c2hvcnQ") && !lines.contains("battery") && !lines.contains("pa55"), "{lines}");
    }
}
