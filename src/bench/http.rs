//! HTTP/1.1 for the load generator: requests are written once, answers are looked at as little as possible. A library
//! would cost more than the server that is measured beside it.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An answer's head at most.
const MAX_HEAD: usize = 16 * 1024;

/// A request, ready to be sent any number of times.
#[derive(Debug, Clone)]
pub struct Request(Vec<u8>);

impl Request {
    /// A POST.
    pub fn post(path: &str, content_type: &str, body: &[u8]) -> Self {
        Self::with_body("POST", path, content_type, body)
    }

    /// A PUT of JSON.
    pub fn put(path: &str, body: &str) -> Self {
        Self::with_body("PUT", path, "application/json", body.as_bytes())
    }

    fn with_body(method: &str, path: &str, content_type: &str, body: &[u8]) -> Self {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n", body.len());
        Self([head.as_bytes(), body].concat())
    }

    /// A GET that takes an answer of the last second, which it shares with others.
    pub fn get_shared(path: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\ncache-control: max-stale=1\r\n\r\n").into_bytes())
    }

    /// A GET.
    pub fn get(path: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes())
    }
}

/// A connection that is kept.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
    body_at: usize,
}

impl Connection {
    /// Connects.
    pub async fn open(addr: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(addr).await.with_context(|| format!("could not connect to the API at {addr}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(4096), body_at: 0 })
    }

    /// Sends a request and reads the whole answer; returns its status.
    pub async fn send(&mut self, request: &Request) -> anyhow::Result<u16> {
        self.stream.write_all(&request.0).await.context("could not send a request to the API")?;
        self.answer.clear();
        let (mut whole, mut status) = (None, 0);
        while whole.is_none_or(|length| self.answer.len() < length) {
            if self.stream.read_buf(&mut self.answer).await.context("could not read an answer of the API")? == 0 {
                bail!("the API closed a connection in the middle of an answer");
            }
            if whole.is_none() {
                if let Some(end) = self.answer.windows(4).position(|four| four == b"\r\n\r\n") {
                    let length = content_length(&self.answer[..end]).context("an answer of the API has no content-length")?;
                    status = status_of(&self.answer).context("an answer of the API has no status")?;
                    self.body_at = end + 4;
                    whole = Some(self.body_at + length);
                } else if self.answer.len() > MAX_HEAD {
                    bail!("an answer of the API has a head of more than {MAX_HEAD} bytes");
                }
            }
        }
        Ok(status)
    }

    /// Sends a request that must be answered with this status.
    pub async fn expect(&mut self, request: &Request, expected: u16) -> anyhow::Result<()> {
        let status = self.send(request).await?;
        if status != expected {
            let body = String::from_utf8_lossy(self.body());
            bail!("the API answered {status} where {expected} was expected: {}", body.chars().take(300).collect::<String>());
        }
        Ok(())
    }

    /// The body of the last answer.
    pub fn body(&self) -> &[u8] {
        &self.answer[self.body_at..]
    }
}

/// Answers every request on a connection alike, until it is closed: a service that is called.
pub async fn answer(mut stream: TcpStream, answer: &'static [u8]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::with_capacity(4096);
    loop {
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            let whole = end + 4 + content_length(&request[..end]).unwrap_or(0);
            if request.len() >= whole {
                request.drain(..whole);
                stream.write_all(answer).await?;
                continue;
            }
        }
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
}

fn status_of(answer: &[u8]) -> Option<u16> {
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let line = head.split(|byte| *byte == b'\n').find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))?;
    std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn heads_are_read() {
        let head = b"HTTP/1.1 201 Created\r\nLocation: /v1/jobs/1\r\nContent-Length: 12";
        assert_eq!((status_of(head), content_length(head)), (Some(201), Some(12)));
        assert_eq!((status_of(b"HTTP"), content_length(b"HTTP/1.1 204 No Content\r\nx-content-length: 3")), (None, None));
    }

    #[tokio::test]
    async fn an_answer_may_come_in_pieces() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.expect("a request") > 0);
            for piece in ["HTTP/1.1 201 Created\r\ncontent-le", "ngth: 5\r\n\r", "\nhe", "llo"] {
                stream.write_all(piece.as_bytes()).await.expect("the client is there");
                tokio::task::yield_now().await;
            }
        });
        let mut connection = Connection::open(addr).await.expect("it listens");
        assert_eq!(connection.send(&Request::get("/")).await.expect("an answer"), 201);
        assert_eq!(connection.body(), b"hello");
        let error = connection.send(&Request::get("/")).await.expect_err("it is closed");
        assert!(error.to_string().contains("the API"), "{error}");
    }

    #[tokio::test]
    async fn every_request_is_answered_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("bound");
        tokio::spawn(async move { answer(listener.accept().await.expect("a client").0, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await });
        let mut connection = Connection::open(addr).await.expect("it listens");
        for request in [Request::get("/"), Request::post("/", "text/plain", &vec![b'x'; 100_000]), Request::get("/")] {
            connection.expect(&request, 200).await.expect("answered");
            assert_eq!(connection.body(), b"ok");
        }
    }
}
