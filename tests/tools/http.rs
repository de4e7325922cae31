//! That the client sends what it is told, and reads what comes.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::http::{self, Connection};

/// Answers one connection with `answer` once the request ends with `until`, and returns the request.
///
/// The connection stays open until the task's result is taken, as a server would keep it.
async fn server(until: &'static str, answer: &'static [u8]) -> (SocketAddr, JoinHandle<(String, TcpStream)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        while !request.ends_with(until.as_bytes()) {
            let mut part = [0; 1024];
            let length = stream.read(&mut part).await.expect("a request");
            assert!(length > 0, "the request ended early: {}", String::from_utf8_lossy(&request));
            request.extend(&part[..length]);
        }
        stream.write_all(answer).await.expect("an answer");
        (String::from_utf8(request).expect("text"), stream)
    });
    (address, served)
}

#[tokio::test]
async fn sends_a_body_and_reads_one_of_known_length() {
    let answer = b"HTTP/1.1 201 Created\r\nX-Id: 7 \r\nContent-Length: 8\r\n\r\n{\"a\": 1}ignored";
    let (address, served) = server("}", answer).await;
    let response = http::json(address, "POST", "/v1/jobs", &json!({"kind": "echo"})).await;
    assert_eq!(response.status, 201);
    assert_eq!(response.header("x-id"), Some("7"));
    assert_eq!(response.json(), json!({"a": 1}));
    let (request, _) = served.await.expect("served");
    assert!(request.starts_with("POST /v1/jobs HTTP/1.1\r\nhost: "), "{request}");
    assert!(request.ends_with("content-length: 15\r\nconnection: close\r\n\r\n{\"kind\":\"echo\"}"), "{request}");
}

#[tokio::test]
async fn reads_a_chunked_body() {
    let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        4\r\nWiki\r\n6;x=y\r\npedia \r\n0\r\n\r\n";
    let (address, _served) = server("\r\n\r\n", answer).await;
    let response = http::request(address, "GET", "/", &[], b"").await;
    assert_eq!((response.status, response.text()), (200, "Wikipedia ".to_owned()));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error() {
    let (address, _) = server("\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    let mut connection = Connection::open(address).await;
    connection.send_head("GET", "/", &[]).await.expect("sent");
    let error = connection.response().await.expect_err("a half body");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn sends_a_body_piece_by_piece() {
    let (address, served) = server("0\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n").await;
    let mut connection = Connection::open(address).await;
    connection.send_head("POST", "/", &[("transfer-encoding", "chunked")]).await.expect("sent");
    for chunk in ["one", "two", ""] {
        connection.send_chunk(chunk.as_bytes()).await.expect("sent");
    }
    assert_eq!(connection.response().await.expect("an answer").status, 204);
    let (request, _) = served.await.expect("served");
    assert!(request.ends_with("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
}
