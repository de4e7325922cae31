//! Traces: from the request by the database to the attempt and out to whoever is called, one tree; and logs that say which
//! request and trace a line belongs to.

mod collector;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::collector::{CLIENT, CONSUMER, Collector, SERVER, Seen};
use crate::{
    a_users_program,
    g04_poison_jobs_run_apart::dangerous,
    place::Place,
    push::service::{Call, Reply, Service},
    support::{eventually::eventually, http, process::Process},
    system::{SOON, System, post},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

async fn enqueue(system: &System, job: &Value, headers: &[(&str, &str)]) -> i64 {
    let headers = [&[("content-type", "application/json")], headers].concat();
    let answer = http::request(system.address, "POST", "/v1/jobs", &headers, job.to_string().as_bytes()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_i64().expect("an id")
}

/// As a caller sends it who samples this trace, or does not.
fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

async fn service() -> Service {
    Service::start(|call: Call| async move {
        match call.name() {
            "broken" => Reply::new("500 Internal Server Error", "the disk is full"),
            _ => Reply::new("200 OK", "1"),
        }
    })
    .await
}

async fn stop(process: &mut Process) {
    process.signal(Signal::SIGTERM);
    assert!(process.wait_exit(SOON).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_from_the_request_to_whoever_is_called() {
    let (collector, place, service) = (Collector::start().await, Place::new(), service().await);
    let endpoint = collector.endpoint();
    let on = ("LONGSHORE_TRACES__ENDPOINT", endpoint.as_str());
    let mut system = System::start_with(&[on]).await;
    let handlers = service.handler("notify", "") + "[handlers.shell]\ncommand = [\"sh\", \"-c\", \"printf %s $LONGSHORE_JOB_TRACEPARENT\"]\n";
    let mut worker = place.worker(&system, &handlers, &[on, ("LONGSHORE_WORKER__ALLOW", "127.0.0.0/8")]).await;
    let headers = [("traceparent", traceparent("01")), ("x-request-id", "order-7".to_owned())];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let id = enqueue(&system, &json!({"kind": "notify", "queue": "mails", "max_attempts": 5}), &headers).await;
    system.until(id, "succeeded").await;

    let request = collector.until("of the request", |span| span.name == "POST /v1/jobs").await;
    assert_eq!((request.kind, request.trace.as_str(), request.parent.as_str()), (SERVER, TRACE, CALLER));
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/jobs"),
        ("url.path", "/v1/jobs"),
        ("http.response.status_code", "201"),
        ("longshore.request_id", "order-7"),
    ] {
        assert_eq!(request.attribute(name), value, "{name}");
    }
    let stored: String = system.sql.query_one("select traceparent from longshore.job_data where id = $1", &[&id]).await.expect("there").get(0);
    assert_eq!(stored, request.traceparent(), "what passes through the database");

    let attempt = collector.attempt(id, 1).await;
    assert_eq!((attempt.name.as_str(), attempt.kind, attempt.status), ("run notify", CONSUMER, 1));
    assert_eq!((attempt.trace.as_str(), attempt.parent.as_str()), (TRACE, request.id.as_str()));
    for (name, value) in [
        ("messaging.system", "longshore"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "mails"),
        ("longshore.job.kind", "notify"),
        ("longshore.job.max_attempts", "5"),
        ("longshore.job.outcome", "succeeded"),
        ("longshore.request_id", "order-7"),
    ] {
        assert_eq!(attempt.attribute(name), value, "{name}");
    }

    let call = collector.until("of the call", |span| span.kind == CLIENT).await;
    assert_eq!((call.name.as_str(), call.trace.as_str(), call.parent.as_str()), ("POST", TRACE, attempt.id.as_str()));
    assert_eq!((call.attribute("http.response.status_code"), call.attribute("server.port")), ("200", &*service.address.port().to_string()));
    assert_eq!(service.calls()[0].header("traceparent"), call.traceparent());
    assert!([&request, &attempt, &call].iter().all(|span| span.events.is_empty()), "what libraries log does not come along: {request:?} {attempt:?} {call:?}");

    // a command has the attempt's; where the caller has no trace, the request begins one
    let id = enqueue(&system, &json!({"kind": "shell"}), &[]).await;
    let said = system.until(id, "succeeded").await["result"].clone();
    let attempt = collector.attempt(id, 1).await;
    assert_eq!(said, attempt.traceparent());
    let request = collector.until("of the second request", |span| span.name == "POST /v1/jobs" && span.trace != TRACE).await;
    assert_eq!((&request.parent, &attempt.parent, &attempt.trace), (&String::new(), &request.id, &request.trace));

    for (span, service) in [(&request, "longshore-api"), (&attempt, "longshore-worker")] {
        assert_eq!((span.resource["service.name"].as_str(), span.resource["service.version"].as_str()), (service, env!("CARGO_PKG_VERSION")));
        assert!(["service.instance.id", "host.name"].iter().all(|name| !span.resource[*name].is_empty()), "{:?}", span.resource);
    }
    assert!(request.resource["service.instance.id"] != attempt.resource["service.instance.id"]);
    stop(&mut worker).await;
    stop(&mut system.api).await;
    let others: Vec<Seen> = collector
        .spans()
        .into_iter()
        .filter(|span| !["POST /v1/jobs", "GET /v1/jobs/{id}", "run notify", "run shell", "POST"].contains(&&*span.name))
        .collect();
    assert!(others.is_empty(), "libraries' spans and probes do not come along: {others:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_in_rust_does_is_below_its_attempt() {
    let (collector, system) = (Collector::start().await, System::start().await);
    let endpoint = collector.endpoint();
    let mut worker = a_users_program::start(&system, &[("LONGSHORE_TRACES__ENDPOINT", &endpoint)]).await;
    let id = enqueue(&system, &json!({"kind": "traced"}), &[("traceparent", &traceparent("01"))]).await;
    let follower = system.until(id, "succeeded").await["result"].as_i64().expect("an id");
    let attempt = collector.attempt(id, 1).await;
    assert_eq!((attempt.parent.as_str(), attempt.resource["service.name"].as_str()), (CALLER, "a-users-program"), "this API makes no spans");
    assert_eq!((attempt.status, attempt.events.len()), (1, 1), "an error that it tells is no failure: {attempt:?}");
    let step = collector.until("of the handler", |span| span.name == "step").await;
    assert_eq!((step.trace.as_str(), step.parent.as_str(), step.attribute("n")), (TRACE, attempt.id.as_str(), "7"));
    let second = collector.attempt(follower, 1).await;
    assert_eq!((second.name.as_str(), second.trace.as_str(), second.parent.as_str()), ("run echo", TRACE, attempt.id.as_str()));
    // one that runs in a process of its own, which has a span there
    let id = dangerous(&system, json!({"kind": "traced"})).await;
    system.until(id, "succeeded").await;
    let attempt = collector.attempt(id, 3).await;
    let apart = collector.until("of the process", |span| span.name == "run traced apart").await;
    let step = collector.until("of the handler there", |span| span.name == "step" && span.parent == apart.id).await;
    assert_eq!((&apart.parent, &apart.trace, &step.trace), (&attempt.id, &attempt.trace, &attempt.trace));
    assert!(apart.resource["process.pid"] != attempt.resource["process.pid"]);
    stop(&mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_says_why() {
    let (collector, place, service) = (Collector::start().await, Place::new(), service().await);
    let endpoint = collector.endpoint();
    let system = System::start().await;
    let env = [("LONGSHORE_TRACES__ENDPOINT", endpoint.as_str()), ("LONGSHORE_WORKER__ALLOW", "127.0.0.0/8")];
    let mut worker = place.worker(&system, &service.handler("broken", ""), &env).await;
    let retry = json!({"backoff": "fixed", "base": 0, "jitter": 0});
    let id = enqueue(&system, &json!({"kind": "broken", "max_attempts": 2, "retry": retry}), &[("traceparent", &traceparent("01"))]).await;
    system.until(id, "failed").await;
    for n in [1, 2] {
        let attempt = collector.attempt(id, n).await;
        assert_eq!((attempt.status, attempt.parent.as_str()), (2, CALLER), "each attempt is a child of the request");
        assert!(attempt.message.contains("answered 500 Internal Server Error: the disk is full"), "{attempt:?}");
        assert_eq!((attempt.attribute("longshore.job.outcome"), attempt.attribute("error.type")), ("failed", "failed"));
        assert!(attempt.events.iter().any(|event| event.starts_with("exception") && event.contains("the disk is full")), "{attempt:?}");
        let call = collector.until("of the call", |span| span.kind == CLIENT && span.parent == attempt.id).await;
        assert_eq!((call.status, call.attribute("error.type")), (2, "500"));
    }
    stop(&mut worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_spans_leave_when_a_worker_stops_and_none_of_what_the_caller_does_not_sample() {
    let (collector, place, service) = (Collector::start().await, Place::new(), service().await);
    let endpoint = collector.endpoint();
    let on = ("LONGSHORE_TRACES__ENDPOINT", endpoint.as_str());
    // whatever share is set, the caller's word counts
    let mut system = System::start_with(&[on, ("LONGSHORE_TRACES__SAMPLE", "0")]).await;
    let mut worker = place.worker(&system, &service.handler("notify", ""), &[on, ("LONGSHORE_WORKER__ALLOW", "127.0.0.0/8")]).await;
    let unsampled = enqueue(&system, &json!({"kind": "notify"}), &[("traceparent", &traceparent("00"))]).await;
    let unasked = enqueue(&system, &json!({"kind": "notify"}), &[]).await;
    let sampled = enqueue(&system, &json!({"kind": "notify"}), &[("traceparent", &traceparent("01"))]).await;
    for id in [unsampled, unasked, sampled] {
        system.until(id, "succeeded").await;
    }
    stop(&mut worker).await;
    stop(&mut system.api).await;
    let mut names: Vec<String> = collector.spans().into_iter().map(|span| format!("{} {}", span.name, span.attribute("messaging.message.id"))).collect();
    names.sort();
    assert_eq!(names, ["POST ".to_owned(), "POST /v1/jobs ".to_owned(), format!("run notify {sampled}")]);
    let told = service.calls().iter().filter(|call| call.header("traceparent").ends_with("-00")).count();
    assert_eq!(told, 2, "the services hear that these are not sampled: {:?}", service.calls());
    assert!(service.calls().iter().any(|call| call.header("traceparent").starts_with(&format!("00-{TRACE}-")) && call.header("traceparent").ends_with("-00")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_nothing_up() {
    let system = System::start().await;
    let refused = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound");
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let silent_at = silent.local_addr().expect("bound");
    for address in [silent_at, refused] {
        let endpoint = format!("http://{address}");
        let mut worker = system.worker(&[("LONGSHORE_TRACES__ENDPOINT", &endpoint)]).await;
        for _ in 0..3 {
            let id = system.enqueue(&json!({"kind": "echo"})).await;
            system.until(id, "succeeded").await;
            tokio::time::sleep(Duration::from_millis(1200)).await; // so that each goes into a batch of its own
        }
        let line = worker.wait_for_line("the collector of traces does not take spans", SOON).await;
        assert!(line.contains(&endpoint) && line.contains("LONGSHORE_TRACES__ENDPOINT") && line.contains("error="), "{line}");
        let mut comes_back = None;
        if address == refused {
            let collector = comes_back.insert(Collector::start_at(refused).await);
            let id = system.enqueue(&json!({"kind": "echo"})).await;
            collector.attempt(id, 1).await;
            worker.wait_for_line("the collector of traces takes spans again", SOON).await;
        }
        // so many that they would not leave in time, a batch at a time
        let many = json!({"jobs": vec![json!({"kind": "echo"}); 3000]});
        assert_eq!(post(system.address, "/v1/jobs/batch", &many).await.status, 201);
        eventually("all have succeeded", SOON, async || {
            let left = system.count("longshore.jobs where state <> 'succeeded'").await;
            if left == 0 { Ok(()) } else { Err(left) }
        })
        .await;
        let began = Instant::now();
        stop(&mut worker).await;
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        let lines = worker.all_lines(SOON).await;
        let warnings = lines.iter().filter(|line| line.contains(" WARN ")).count();
        assert_eq!(warnings, 1, "one, whatever number of batches could not be sent: {lines:#?}");
    }
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_say_which_job_request_and_trace_they_are_about() {
    let json_lines = ("LONGSHORE_LOG_FORMAT", "json");
    let system = System::start_with(&[]).await;
    let (mut in_json, queue) = (system.worker(&[json_lines, ("LONGSHORE_WORKER__QUEUES", "in_json=5")]).await, "in_json");
    let mut in_text = system.worker(&[("LONGSHORE_WORKER__QUEUES", "in_text=5")]).await;
    let parent = traceparent("01");
    let headers = [("traceparent", parent.as_str()), ("x-request-id", "order-7")];
    for (kind, state, said) in [("echo", "succeeded", "succeeded"), ("fail", "failed", "failed")] {
        let id = enqueue(&system, &json!({"kind": kind, "queue": queue, "max_attempts": 1}), &headers).await;
        system.until(id, state).await;
        let line = in_json.wait_for_line(&format!("\"job.id\":{id}"), SOON).await;
        let line: Value = serde_json::from_str(line.strip_prefix("out: ").unwrap_or(&line)).unwrap_or_else(|error| panic!("{error}: {line}"));
        for (name, value) in [
            ("message", json!(said)),
            ("job.id", json!(id)),
            ("kind", json!(kind)),
            ("queue", json!(queue)),
            ("attempt", json!(1)),
            ("request_id", json!("order-7")),
            ("trace_id", json!(TRACE)),
        ] {
            assert_eq!(line[name], value, "{name} in {line}");
        }
        let id = enqueue(&system, &json!({"kind": kind, "queue": "in_text", "max_attempts": 1}), &headers).await;
        let line = in_text.wait_for_line(&format!("job.id={id}"), SOON).await;
        let end = format!("request_id=\"order-7\" trace_id=\"{TRACE}\"");
        assert!(line.contains(&format!("{said} job.id={id} kind=\"{kind}\" queue=\"in_text\" attempt=1")) && line.ends_with(&end), "{line}");
    }
    // the API's own lines, with an id that is none left out
    let lines = eventually("the API has told of its requests", SOON, async || {
        let lines: Vec<String> = system.api.lines().into_iter().filter(|line| line.contains("path=\"/v1/jobs\"")).collect();
        if lines.len() == 4 { Ok(lines) } else { Err(lines) }
    })
    .await;
    assert!(lines.iter().all(|line| line.contains("request_id=\"order-7\"") && line.ends_with(&format!("trace_id=\"{TRACE}\""))), "{lines:#?}");
    let id = enqueue(&system, &json!({"kind": "echo", "queue": "in_text"}), &[("traceparent", "nonsense"), ("x-request-id", "order-8")]).await;
    let line = in_text.wait_for_line(&format!("job.id={id}"), SOON).await;
    assert!(line.ends_with("request_id=\"order-8\""), "{line}");
    for worker in [&mut in_json, &mut in_text] {
        stop(worker).await;
    }
}
