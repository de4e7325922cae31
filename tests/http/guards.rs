//! Who is let in: names that the API answers to, and what browsers say of where a request comes from.

use std::fmt::Write as _;

use crate::{
    api::{Api, JSON, problem},
    support::http::{Connection, Response},
};

const BODY: &str = r#"{"kind":"echo"}"#;

/// A request with a header `Host` of its own, and with whatever else; none where it is empty.
async fn send(api: &Api, line: &str, headers: &[(&str, &str)]) -> Response {
    let mut head = format!("{line}\r\n");
    for (name, value) in headers.iter().chain(&[JSON]) {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let body = if line.starts_with("POST") { BODY } else { "" };
    let _ = write!(head, "content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let mut connection = Connection::open(api.address).await;
    connection.send(head.as_bytes()).await.expect("sent");
    let answer = connection.response().await.expect("an answer");
    assert!(answer.header("x-request-id").is_some(), "{line} {headers:?}");
    answer
}

#[tokio::test]
async fn names() {
    let api = Api::start_with(&[("LONGSHORE_API__HOSTS", "jobs.example.com,Other.example")]).await;
    let port = api.address.port();
    for host in [
        "localhost",
        &format!("localhost:{port}"),
        &format!("127.0.0.1:{port}"),
        "[::1]:8000",
        "10.1.2.3",
        "api",
        "api:8000",
        "jobs.example.com",
        "JOBS.example.com:443",
        "other.example",
    ] {
        assert_eq!(send(&api, "GET /v1/jobs HTTP/1.1", &[("host", host)]).await.status, 200, "{host}");
        assert_eq!(send(&api, "POST /v1/jobs HTTP/1.1", &[("host", host)]).await.status, 201, "{host}");
    }
    assert_eq!(send(&api, "GET /v1/jobs HTTP/1.0", &[]).await.status, 200, "HTTP/1.0 knows no Host");
    let before = api.tables().await;
    for host in
        ["evil.example", "evil.example:8000", "jobs.example.com.evil.example", "1.2.3.4.nip.io", "127.0.0.1.evil.example:8000", "evil.example@localhost"]
    {
        for line in ["GET /v1/jobs HTTP/1.1", "POST /v1/jobs HTTP/1.1", "GET /livez HTTP/1.1", "GET /openapi.json HTTP/1.1", "GET /nothing HTTP/1.1"] {
            let said = problem(&send(&api, line, &[("host", host)]).await, 403, &[], host);
            assert!(said["detail"].as_str().is_some_and(|detail| detail.contains("LONGSHORE_API__HOSTS")), "{said}");
        }
    }
    // what the request line names counts as well
    problem(&send(&api, "GET http://evil.example/v1/jobs HTTP/1.1", &[("host", "localhost")]).await, 403, &[], "absolute");
    assert_eq!(send(&api, "GET http://localhost/v1/jobs HTTP/1.1", &[("host", "localhost")]).await.status, 200);
    assert_eq!(api.tables().await, before);
    api.finish().await;
}

#[tokio::test]
async fn browsers() {
    let api = Api::start().await;
    let host = format!("localhost:{}", api.address.port());
    let own = format!("http://{host}");
    let cross: &[&[(&str, &str)]] = &[
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "https://evil.example")],
        &[("origin", "http://localhost:1")],
        &[("origin", "http://localhost")],
        &[("origin", "null")],
        &[("origin", "")],
        &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
        &[("sec-fetch-site", "cross-site"), ("origin", &own)],
    ];
    let before = api.tables().await;
    for headers in cross {
        let headers = [headers, &[("host", host.as_str())][..]].concat();
        for line in
            ["POST /v1/jobs HTTP/1.1", "POST /v1/jobs/batch HTTP/1.1", "DELETE /v1/jobs/1 HTTP/1.1", "PUT /v1/queues/a HTTP/1.1", "PATCH /nothing HTTP/1.1"]
        {
            problem(&send(&api, line, &headers).await, 403, &[], &format!("{line} {headers:?}"));
        }
        assert_eq!(send(&api, "GET /v1/jobs HTTP/1.1", &headers).await.status, 200, "reading is not changing: {headers:?}");
    }
    assert_eq!(api.tables().await, before);
    let fine: &[&[(&str, &str)]] = &[
        &[],
        &[("sec-fetch-site", "same-origin"), ("origin", &own)],
        &[("sec-fetch-site", "none")],
        &[("origin", &own)],
        &[("referer", "https://evil.example/")],
    ];
    for headers in fine {
        assert_eq!(send(&api, "POST /v1/jobs HTTP/1.1", &[headers, &[("host", host.as_str())][..]].concat()).await.status, 201, "{headers:?}");
    }
    // no answer invites other sites to read it
    let preflight = [("host", host.as_str()), ("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    for line in ["OPTIONS /v1/jobs HTTP/1.1", "GET /v1/jobs HTTP/1.1"] {
        let answer = send(&api, line, &preflight).await;
        assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control-")), "{answer:?}");
    }
    api.finish().await;
}
