//! Bad input: what is said of it, and that it changes nothing.

use serde_json::json;

use crate::{
    api::{Api, JSON, NDJSON, problem},
    support::http::{self, Connection},
};

/// A field of a job, as JSON, and the pointers that it is refused with.
const FIELDS: &[(&str, &[&str])] = &[
    (r#""queue":"""#, &["/queue"]),
    (r#""queue":"a b""#, &["/queue"]),
    (r#""queue":"ä""#, &["/queue"]),
    (r#""queue":"a\u0000""#, &["/queue"]),
    (r#""queue":"\ud800""#, &["/queue"]),
    (r#""queue":7"#, &["/queue"]),
    (r#""queue":["a"]"#, &["/queue"]),
    (r#""priority":32768"#, &["/priority"]),
    (r#""priority":-32769"#, &["/priority"]),
    (r#""priority":99999999999999999999"#, &["/priority"]),
    (r#""priority":1.5"#, &["/priority"]),
    (r#""priority":"1""#, &["/priority"]),
    (r#""priority":true"#, &["/priority"]),
    (r#""priority":{}"#, &["/priority"]),
    (r#""priority":1e400"#, &["/priority"]),
    (r#""max_attempts":0"#, &["/max_attempts"]),
    (r#""max_attempts":1001"#, &["/max_attempts"]),
    (r#""max_attempts":-1"#, &["/max_attempts"]),
    (r#""max_attempts":65537"#, &["/max_attempts"]),
    (r#""run_at":"today""#, &["/run_at"]),
    (r#""run_at":"2030-01-31""#, &["/run_at"]),
    (r#""run_at":"2030-01-31T12:00:00""#, &["/run_at"]),
    (r#""run_at":"2030-13-31T12:00:00Z""#, &["/run_at"]),
    (r#""run_at":"2030-02-30T12:00:00Z""#, &["/run_at"]),
    (r#""run_at":"infinity""#, &["/run_at"]),
    (r#""run_at":"99999-01-01T00:00:00Z""#, &["/run_at"]),
    (r#""run_at":"""#, &["/run_at"]),
    (r#""run_at":1900000000"#, &["/run_at"]),
    (r#""run_at":"2030-01-31T12:00:00Z","delay":1"#, &["/delay"]),
    (r#""run_at":"never","delay":-1"#, &["/delay", "/run_at", "/delay"]),
    (r#""delay":-1"#, &["/delay"]),
    (r#""delay":"-1s""#, &["/delay"]),
    (r#""delay":"36501d""#, &["/delay"]),
    (r#""delay":1e300"#, &["/delay"]),
    (r#""delay":1e999"#, &["/delay"]),
    (r#""delay":"1 month""#, &["/delay"]),
    (r#""delay":"1 year""#, &["/delay"]),
    (r#""delay":"soon""#, &["/delay"]),
    (r#""delay":"""#, &["/delay"]),
    (r#""delay":"inf""#, &["/delay"]),
    (r#""delay":"NaN""#, &["/delay"]),
    (r#""delay":[]"#, &["/delay"]),
    (r#""delay":true"#, &["/delay"]),
    (r#""expires_in":0"#, &["/expires_in"]),
    (r#""expires_in":"-5s""#, &["/expires_in"]),
    (r#""expires_in":{}"#, &["/expires_in"]),
    (r#""timeout":0"#, &["/timeout"]),
    (r#""timeout":"999ms""#, &["/timeout"]),
    (r#""timeout":604801"#, &["/timeout"]),
    (r#""timeout":"8d""#, &["/timeout"]),
    (r#""timeout":false"#, &["/timeout"]),
    (r#""tags":"a""#, &["/tags"]),
    (r#""tags":{}"#, &["/tags"]),
    (r#""tags":["a",""]"#, &["/tags/1"]),
    (r#""tags":["a",7,null]"#, &["/tags/1", "/tags/2"]),
    (r#""tags":["a\u0000b"]"#, &["/tags/0"]),
    (r#""tags":["\udc00"]"#, &["/tags/0"]),
    (
        r#""tags":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21]"#,
        &[
            "/tags", "/tags/0", "/tags/1", "/tags/2", "/tags/3", "/tags/4", "/tags/5", "/tags/6", "/tags/7", "/tags/8", "/tags/9", "/tags/10", "/tags/11",
            "/tags/12", "/tags/13", "/tags/14", "/tags/15", "/tags/16", "/tags/17", "/tags/18", "/tags/19",
        ],
    ),
    (r#""meta":[]"#, &["/meta"]),
    (r#""meta":"a""#, &["/meta"]),
    (r#""meta":{"a":"\u0000"}"#, &["/meta"]),
    (r#""meta":{"a\u0000":1}"#, &["/meta"]),
    (r#""meta":{"a":"\ud83d"}"#, &["/meta"]),
    (r#""meta":{"a":1e999}"#, &["/meta"]),
    (r#""concurrency_key":"""#, &["/concurrency_key"]),
    (r#""concurrency_key":1"#, &["/concurrency_key"]),
    (r#""concurrency_key":"a\u0000""#, &["/concurrency_key"]),
    (r#""concurrency_key":"\ud800""#, &["/concurrency_key"]),
    (r#""retry":7"#, &["/retry"]),
    (r#""retry":{"backoff":"wild"}"#, &["/retry/backoff"]),
    (r#""retry":{"backoff":1}"#, &["/retry/backoff"]),
    (r#""retry":{"base":-1}"#, &["/retry/base"]),
    (r#""retry":{"base":"31d"}"#, &["/retry/base"]),
    (r#""retry":{"max":"31d"}"#, &["/retry/max"]),
    (r#""retry":{"jitter":1.1}"#, &["/retry/jitter"]),
    (r#""retry":{"jitter":-0.1}"#, &["/retry/jitter"]),
    (r#""retry":{"jitter":"0.1"}"#, &["/retry/jitter"]),
    (r#""retry":{"factor":2}"#, &["/retry/factor"]),
    (r#""retry":{"base":1,"base":1}"#, &["/retry/base"]),
    (r#""unique":"k""#, &["/unique"]),
    (r#""unique":{}"#, &["/unique/key"]),
    (r#""unique":{"key":""}"#, &["/unique/key"]),
    (r#""unique":{"key":"\u0000"}"#, &["/unique/key"]),
    (r#""unique":{"key":"k","while":"never"}"#, &["/unique/while"]),
    (r#""unique":{"key":"k","while":1}"#, &["/unique/while"]),
    (r#""unique":{"key":"k","for":"0s"}"#, &["/unique/for"]),
    (r#""unique":{"key":"k","for":"1 month"}"#, &["/unique/for"]),
    (r#""unique":{"key":"k","on_conflict":"panic"}"#, &["/unique/on_conflict"]),
    (r#""unique":{"key":"k","scope":"queue"}"#, &["/unique/scope"]),
    (r#""unique":{"key":"k","key":"k"}"#, &["/unique/key"]),
    (r#""args":"\u0000""#, &["/args"]),
    (r#""args":{"\u0000":1}"#, &["/args"]),
    (r#""args":["\ud83d"]"#, &["/args"]),
    (r#""args":["\ude00\ud83d"]"#, &["/args"]),
    (r#""args":1e400"#, &["/args"]),
    (r#""args":[-1e400]"#, &["/args"]),
    (r#""args":{},"args":{}"#, &["/args"]),
    (r#""colour":"red""#, &["/colour"]),
    (r#""a/b~c":1"#, &["/a~1b~0c"]),
    (r#""Queue":"a""#, &["/Queue"]),
    (r#""state":"succeeded","id":7"#, &["/state", "/id"]),
    (r#""":1"#, &["/"]),
    (r#""workflow_id":1"#, &["/workflow_id"]),
];

#[tokio::test]
async fn every_field_out_of_range() {
    let api = Api::start().await;
    for (field, pointers) in FIELDS {
        let said = api.refused("/v1/jobs", &[JSON], format!(r#"{{"kind":"k",{field}}}"#), 422, pointers).await;
        if let [pointer] = pointers {
            assert_eq!(said["detail"], format!("{pointer} {}", said["errors"][0]["detail"].as_str().expect("a text")), "one fault is told in the detail");
        }
        // and as one of a batch
        let pointers: Vec<String> = pointers.iter().map(|pointer| format!("/jobs/1{pointer}")).collect();
        let pointers: Vec<&str> = pointers.iter().map(String::as_str).collect();
        api.refused("/v1/jobs/batch", &[JSON], format!(r#"{{"jobs":[{{"kind":"k"}},{{"kind":"k",{field}}}]}}"#), 422, &pointers).await;
    }
    api.finish().await;
}

#[tokio::test]
async fn every_kind_out_of_range() {
    let api = Api::start().await;
    let long = format!("\"{}\"", "x".repeat(129));
    for kind in ["\"\"", "\" a\"", "\"a/b\"", "\"ä\"", "\"a\\u0000\"", "\"\\ud800\"", "7", "null", "[]", "{}", &long, "\"a\",\"kind\":\"b\""] {
        api.refused("/v1/jobs", &[JSON], format!("{{\"kind\":{kind}}}"), 422, &["/kind"]).await;
    }
    let said = api.refused("/v1/jobs", &[JSON], "{}", 422, &["/kind"]).await;
    assert_eq!(said["errors"], json!([{"pointer": "/kind", "detail": "is missing"}]));
    assert_eq!(said["detail"], "/kind is missing");
    for other in ["[]", "null", "7", "\"kind\"", "true", "[{\"kind\":\"a\"}]"] {
        let said = api.refused("/v1/jobs", &[JSON], other, 422, &[""]).await;
        assert!(said["detail"].as_str().is_some_and(|detail| detail.starts_with("the body must be an object, is ")), "{said}");
    }
    api.refused("/v1/jobs", &[JSON], r#"{"kind":"a","\ud800":1}"#, 422, &[""]).await;
    api.finish().await;
}

#[tokio::test]
async fn all_faults_at_once() {
    let api = Api::start().await;
    let job = r#"{"kind": "no spaces", "queue": 7, "args": "\u0000", "priority": 40000, "run_at": "today", "delay": "1 month", "expires_in": 0,
        "max_attempts": 0, "timeout": "500ms", "tags": ["", 3], "meta": [], "concurrency_key": "",
        "retry": {"backoff": "wild", "base": -1, "jitter": 2, "x": 1}, "unique": {"while": "never", "for": "0s"}, "colour": "red", "colour": "blue"}"#;
    let pointers = [
        "/kind",
        "/queue",
        "/args",
        "/priority",
        "/max_attempts",
        "/delay",
        "/run_at",
        "/delay",
        "/expires_in",
        "/timeout",
        "/tags/0",
        "/tags/1",
        "/meta",
        "/concurrency_key",
        "/retry/backoff",
        "/retry/base",
        "/retry/jitter",
        "/retry/x",
        "/unique/key",
        "/unique/while",
        "/unique/for",
        "/colour",
        "/colour",
    ];
    let said = api.refused("/v1/jobs", &[JSON], job, 422, &pointers).await;
    assert_eq!(said["detail"], "23 faults; each is in errors");
    for error in said["errors"].as_array().expect("a list") {
        let detail = error["detail"].as_str().expect("a text");
        assert!(
            detail.starts_with("must ") || detail.starts_with("is ") || detail.starts_with("has ") || detail.contains("allowed") || detail.contains("exclude"),
            "{error}"
        );
    }
    api.finish().await;
}

#[tokio::test]
async fn sizes() {
    let api = Api::start().await;
    let text = |length: usize| format!("\"{}\"", "x".repeat(length));
    let mib = 1024 * 1024;
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let objects = |n: usize| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
    let field = async |name: &str, value: String| {
        let said = api.refused("/v1/jobs", &[JSON], format!(r#"{{"kind":"k","{name}":{value}}}"#), 422, &[&format!("/{name}")]).await;
        said["errors"][0]["detail"].as_str().expect("a text").to_owned()
    };
    assert_eq!(field("args", text(mib - 1)).await, "is 1048577 bytes long; at most 1048576 are allowed");
    assert_eq!(field("args", deep(129)).await, "is nested deeper than 128 levels");
    assert_eq!(field("args", objects(129)).await, "is nested deeper than 128 levels");
    assert_eq!(field("args", deep(200_000)).await, "is nested deeper than 128 levels");
    assert_eq!(field("args", objects(150_000)).await, "is nested deeper than 128 levels");
    assert_eq!(field("args", format!("[1{}]", "0".repeat(400))).await, "has a number too large for a 64-bit float");
    assert_eq!(field("meta", objects(129)).await, "is nested deeper than 128 levels");
    assert_eq!(field("meta", format!(r#"{{"a":{}}}"#, text(16 * 1024))).await, "is 16392 bytes long; at most 16384 are allowed");
    assert!(field("colour", deep(200_000)).await.starts_with("is not a known field"));
    for name in ["queue", "priority", "tags", "retry", "unique", "timeout", "run_at", "concurrency_key"] {
        let pointer = if name == "tags" { "/tags/0" } else { &format!("/{name}") };
        api.refused("/v1/jobs", &[JSON], format!(r#"{{"kind":"k","{name}":{}}}"#, deep(200_000)), 422, &[pointer]).await;
    }
    field("queue", text(129)).await;
    field("concurrency_key", text(256)).await;
    field("concurrency_key", format!("\"{}\"", "ä".repeat(128))).await; // bytes count
    api.refused("/v1/jobs", &[JSON], format!(r#"{{"kind":"k","tags":["a",{}]}}"#, text(65)), 422, &["/tags/1"]).await;
    api.refused("/v1/jobs", &[JSON], format!(r#"{{"kind":"k","unique":{{"key":{}}}}}"#, text(256)), 422, &["/unique/key"]).await;
    // a fault shows no more of the value than fits a line
    let said = field("priority", text(100_000)).await;
    assert_eq!(said, "must be an integer from -32768 to 32767, is the text of 100002 bytes");
    api.finish().await;
}

#[tokio::test]
async fn what_is_not_json() {
    let api = Api::start().await;
    let bodies: &[&[u8]] = &[
        b"",
        b" ",
        b"{",
        b"{\"kind\":\"k\"",
        b"{\"kind\":\"k",
        b"{\"kind\":\"k\"} x",
        b"{\"kind\":\"k\"}{\"kind\":\"k\"}",
        b"{\"kind\":\"k\"},",
        b"\xef\xbb\xbf{\"kind\":\"k\"}",
        b"{\"kind\":\"\xff\"}",
        b"{\"kind\":\"k\",\"args\":\"\xc3\"}",
        b"{\"kind\":\"k\",\"args\":\"\xed\xa0\x80\"}",
        b"\xff\xfe{\0}\0",
        b"{'kind':'k'}",
        b"{kind:\"k\"}",
        b"{\"kind\":\"k\",}",
        b"{\"kind\":\"k\",\"args\":01}",
        b"{\"kind\":\"k\",\"args\":+1}",
        b"{\"kind\":\"k\",\"args\":.5}",
        b"{\"kind\":\"k\",\"args\":NaN}",
        b"{\"kind\":\"k\",\"args\":Infinity}",
        b"{\"kind\":\"k\",\"args\":undefined}",
        b"{\"kind\":\"k\",\"args\":\"\n\"}",
        b"{\"kind\":\"k\",\"args\":\"\\x\"}",
        b"{\"kind\":\"k\",\"args\":\"\\u12\"}",
        b"{\"kind\":\"k\" /* why */}",
        b"kind=k",
        b"\0",
    ];
    for body in bodies {
        let said = api.refused("/v1/jobs", &[JSON], body, 400, &[]).await;
        assert!(said["detail"].as_str().is_some_and(|detail| detail.contains("not valid JSON")), "{said}");
        api.refused("/v1/jobs/batch", &[NDJSON], [&b"{\"kind\":\"k\"}\n"[..], body, b"}x"].concat(), 400, &[]).await;
        if !body.trim_ascii().is_empty() {
            let batch = [&b"{\"jobs\":[{\"kind\":\"k\"},"[..], body, b"]}"].concat();
            // in an array, two jobs are two jobs
            let fine = matches!(*body, b"{\"kind\":\"k\"}{\"kind\":\"k\"}");
            assert!(!fine || serde_json::from_slice::<serde_json::Value>(&batch).is_err());
            api.refused("/v1/jobs/batch", &[JSON], batch, 400, &[]).await;
        }
    }
    api.finish().await;
}

#[tokio::test]
async fn media_types() {
    let api = Api::start().await;
    for good in ["application/json", "application/json; charset=utf-8", "Application/JSON", "text/json", "application/vnd.api+json"] {
        assert_eq!(api.request("POST", "/v1/jobs", &[("content-type", good)], br#"{"kind":"k"}"#).await.status, 201, "{good}");
    }
    assert_eq!(api.request("POST", "/v1/jobs", &[], br#"{"kind":"k"}"#).await.status, 201, "none is taken for JSON");
    for bad in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", "text/html", "", ";", "json"] {
        let said = api.refused("/v1/jobs", &[("content-type", bad)], r#"{"kind":"k"}"#, 415, &[]).await;
        assert!(said["detail"].as_str().is_some_and(|detail| detail.contains("application/json")), "{said}");
        api.refused("/v1/jobs/batch", &[("content-type", bad)], r#"{"jobs":[{"kind":"k"}]}"#, 415, &[]).await;
    }
    let said = api.refused("/v1/jobs", &[NDJSON], r#"{"kind":"k"}"#, 415, &[]).await;
    assert!(said["detail"].as_str().is_some_and(|detail| detail.contains("/v1/jobs/batch")), "{said}");
    api.finish().await;
}

#[tokio::test]
async fn paths_and_methods() {
    let api = Api::start().await;
    for path in ["/nothing", "/v1", "/v1/", "/v1/job", "/v1/jobs/", "/V1/jobs", "//v1/jobs", "/v1/jobs/1/2", "/v1/queues/a/b", "/%00", "/%ff", "/v1/../v1/jobs"]
    {
        for method in ["GET", "POST", "DELETE", "HEAD"] {
            let mut connection = Connection::open(api.address).await;
            connection.send_head(method, path, &[("content-length", "0")]).await.expect("sent");
            let mut answer = connection.response_head().await.expect("an answer");
            assert!(answer.header("x-request-id").is_some());
            if method != "HEAD" {
                while let Some(part) = connection.next_part().await.expect("a body") {
                    answer.body.extend(part);
                }
                problem(&answer, 404, &[], path);
            }
            assert_eq!(answer.status, 404, "{method} {path}");
        }
    }
    for (path, allowed) in [
        ("/v1/jobs", "GET, HEAD, POST"),
        ("/v1/jobs/batch", "POST"),
        ("/v1/jobs/cancel", "POST"),
        ("/v1/jobs/retry", "POST"),
        ("/v1/jobs/delete", "POST"),
        ("/v1/failures", "GET, HEAD"),
        ("/v1/jobs/1", "DELETE, GET, HEAD, PATCH"),
        ("/v1/jobs/1/cancel", "POST"),
        ("/v1/jobs/1/retry", "POST"),
        ("/v1/jobs/1/explain", "GET, HEAD"),
        ("/v1/jobs/1/logs", "GET, HEAD"),
        ("/v1/leases", "POST"),
        ("/v1/leases/heartbeat", "POST"),
        ("/v1/leases/report", "POST"),
        ("/v1/jobs/1/complete", "POST"),
        ("/v1/jobs/1/fail", "POST"),
        ("/v1/jobs/1/snooze", "POST"),
        ("/v1/queues", "GET, HEAD"),
        ("/v1/queues/default/pause", "POST"),
        ("/v1/queues/default/resume", "POST"),
        ("/v1/queues/default", "DELETE, GET, HEAD, PUT"),
        ("/v1/workers", "GET, HEAD"),
        ("/v1/stats", "GET, HEAD"),
        ("/v1/events", "GET, HEAD"),
        ("/livez", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
        ("/health", "GET, HEAD"),
        ("/openapi.json", "GET, HEAD"),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
            if allowed.split(", ").any(|known| known == method) {
                continue;
            }
            let answer = api.request(method, path, &[], b"").await;
            assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}: {}", answer.text());
            problem(&answer, 405, &[], path);
        }
    }
    // what is not a query that a list knows is none of its path either
    assert_eq!(api.get("/v1/jobs?limit=1").await.status, 200);
    api.finish().await;
}

#[tokio::test]
async fn what_would_be_ignored_is_refused() {
    let api = Api::start().await;
    for (path, unknown) in [("/v1/jobs", &["/colour"][..]), ("/v1/jobs/batch", &["/wait", "/colour"])] {
        let answer = api.request("POST", &format!("{path}?wait=30s&colour=red"), &[JSON], br#"{"kind":"echo"}"#).await;
        problem(&answer, 422, unknown, path);
    }
    api.finish().await;
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let api = Api::start().await;
    let id = api.enqueue(r#"{"kind":"echo"}"#).await;
    for (path, status) in
        [("/v1/jobs", 200), (&*format!("/v1/jobs/{id}"), 200), ("/v1/jobs/999999", 404), ("/livez", 200), ("/openapi.json", 200), ("/v1/jobs/batch", 405)]
    {
        let got = api.get(path).await;
        let mut connection = Connection::open(api.address).await;
        connection.send_head("HEAD", path, &[("connection", "close")]).await.expect("sent");
        let head = connection.response_head().await.expect("an answer");
        assert_eq!((head.status, got.status), (status, status), "{path}");
        for name in ["content-type", "content-length"] {
            assert_eq!(head.header(name), got.header(name), "{path}: {name}");
        }
        assert!(head.header("x-request-id").is_some());
        let rest = connection.response_head().await.expect_err("no body, and the connection ends");
        assert_eq!(rest.kind(), std::io::ErrorKind::UnexpectedEof, "{path}");
    }
    api.finish().await;
}

#[tokio::test]
async fn what_is_not_http() {
    let api = Api::start().await;
    for request in [
        &b"hello\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\ncontent-length: 5\r\n\r\n{}",
    ] {
        let mut connection = Connection::open(api.address).await;
        connection.send(request).await.expect("sent");
        if let Ok(answer) = connection.response().await {
            assert!((400..500).contains(&answer.status), "{}: {}", String::from_utf8_lossy(request), answer.status);
        }
    }
    // a body that ends early
    let mut connection = Connection::open(api.address).await;
    connection.send_head("POST", "/v1/jobs", &[JSON, ("content-length", "100")]).await.expect("sent");
    connection.send(br#"{"kind":"echo"}"#).await.expect("sent");
    drop(connection);
    let answer = http::request(api.address, "GET", "/v1/jobs", &[], b"").await;
    assert_eq!(answer.json()["items"], json!([]), "nothing of it is stored");
    api.finish().await;
}
