//! A very small HTTP/1.1 client: what a test sends is what goes over the wire, also half of it, or slowly.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A server that says nothing for so long has failed the test.
const SILENCE: Duration = Duration::from_secs(30);

/// An answer, its body whole.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// Names in lower case, in the server's order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// With the whole answer, when it is none.
    pub fn json(&self) -> Value {
        let parsed = serde_json::from_slice(&self.body);
        parsed.unwrap_or_else(|error| panic!("no JSON ({error}): {} {}", self.status, self.text()))
    }
}

/// Sends one request on a connection of its own and reads the answer.
///
/// # Panics
/// When the server cannot be reached, breaks off, or says nothing for half a minute.
pub async fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let answer = try_request(address, method, path, headers, body).await;
    answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// The same, for a server that may be down or go down.
pub async fn try_request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
    let mut connection = Connection::try_open(address).await?;
    let length = body.len().to_string();
    let headers = [headers, &[("content-length", &length), ("connection", "close")]].concat();
    connection.send_head(method, path, &headers).await?;
    // A server may answer and close before it has read a body that it does not want.
    let _ = connection.send(body).await;
    connection.response().await
}

/// Sends JSON; `Value::Null` sends no body.
pub async fn json(address: SocketAddr, method: &str, path: &str, body: &Value) -> Response {
    if body.is_null() {
        return request(address, method, path, &[], b"").await;
    }
    let headers = [("content-type", "application/json")];
    request(address, method, path, &headers, body.to_string().as_bytes()).await
}

/// A connection for what [`request`] does not do: half a request, a slow body, an endless answer.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    chunked: bool,
    /// What is left of a body whose length was told.
    left: Option<u64>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Self {
        let connected = Self::try_open(address).await;
        connected.unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    /// Connects, if somebody listens.
    pub async fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        Ok(Self { stream: BufReader::new(stream), chunked: false, left: None })
    }

    /// Sends the request line and the headers.
    pub async fn send_head(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        self.send((head + "\r\n").as_bytes()).await
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends one chunk of a body with `transfer-encoding: chunked`; the empty one ends the body.
    pub async fn send_chunk(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.send(&[format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat()).await
    }

    /// Reads an answer to its end.
    pub async fn response(&mut self) -> io::Result<Response> {
        let mut response = self.response_head().await?;
        while let Some(part) = self.next_part().await? {
            response.body.extend(part);
        }
        Ok(response)
    }

    /// Reads the status and the headers; the body, as yet empty in the answer, comes by [`Connection::next_part`].
    pub async fn response_head(&mut self) -> io::Result<Response> {
        let line = self.line().await?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| bad(format!("no status line: {line:?}")))?;
        let mut response = Response { status, headers: Vec::new(), body: Vec::new() };
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad(format!("no header: {line:?}")))?;
            response.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if status == 100 {
            return Box::pin(self.response_head()).await;
        }
        self.chunked = response.header("transfer-encoding") == Some("chunked");
        let empty = matches!(status, 204 | 304).then_some(0);
        let length = response.header("content-length").and_then(|length| length.parse().ok());
        self.left = empty.or(length);
        Ok(response)
    }

    /// Reads the next part of the body as it arrives; `None` after the last.
    pub async fn next_part(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.chunked {
            let size = self.line().await?;
            let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16);
            let mut chunk = vec![0; size.map_err(|_| bad("no chunk size".to_owned()))?];
            bounded(self.stream.read_exact(&mut chunk)).await?;
            self.line().await?;
            return Ok(if chunk.is_empty() { None } else { Some(chunk) });
        }
        if self.left == Some(0) {
            return Ok(None);
        }
        let most = self.left.unwrap_or(u64::MAX).min(16 * 1024);
        let mut part = vec![0; usize::try_from(most).expect("16 KB at most")];
        let length = bounded(self.stream.read(&mut part)).await?;
        part.truncate(length);
        match &mut self.left {
            Some(_) if length == 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(left) => {
                *left -= length as u64;
                Ok(Some(part))
            }
            None => Ok((length > 0).then_some(part)),
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if bounded(self.stream.read_line(&mut line)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

async fn bounded<T>(read: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(SILENCE, read).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

fn bad(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
