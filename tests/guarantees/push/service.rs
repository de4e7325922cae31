//! A user's service on this machine: what it answers is what a test says, byte for byte, and what came is kept.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A call that came.
#[derive(Debug, Clone)]
pub struct Call {
    /// Method and target.
    pub line: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Call {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.line.split_whitespace().nth(1).and_then(|target| target.split('?').next()).map_or("", |path| path.trim_start_matches('/'))
    }
}

/// What is answered.
pub enum Reply {
    /// These bytes; the connection goes on.
    Bytes(Vec<u8>),
    /// These bytes, and then the end.
    Cut(&'static str),
    /// These bytes, and then nothing, until the caller hangs up.
    Stall(&'static str),
    /// Nothing, until the caller hangs up.
    Silence,
    /// A body that never ends.
    Endless,
}

impl Reply {
    /// A whole answer; `head` is the status and what headers it has beside its length.
    pub fn new(head: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        Self::Bytes([format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat())
    }
}

/// What is known of the calls so far.
#[derive(Default)]
pub struct Seen {
    pub calls: Mutex<Vec<Call>>,
    pub connections: AtomicUsize,
    pub at_once: AtomicUsize,
    pub most_at_once: AtomicUsize,
    /// Calls whose caller hung up before there was an answer.
    pub hung_up: AtomicUsize,
}

pub struct Service {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Service {
    pub async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (seen, answer) = (Arc::new(Seen::default()), Arc::new(answer));
        let task = tokio::spawn({
            let seen = seen.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    seen.connections.fetch_add(1, SeqCst);
                    let (seen, answer) = (seen.clone(), answer.clone());
                    tokio::spawn(async move { serve(stream, &seen, &*answer).await });
                }
            }
        });
        Self { address, seen, task }
    }

    pub fn calls(&self) -> Vec<Call> {
        self.seen.calls.lock().expect("no panic").clone()
    }

    /// A handler of this name, whose path is its name.
    pub fn handler(&self, kind: &str, more: &str) -> String {
        format!("[handlers.{kind}]\nurl = \"http://{}/{kind}\"\n{more}\n", self.address)
    }
}

async fn serve<R: Future<Output = Reply>>(mut stream: TcpStream, seen: &Seen, answer: &impl Fn(Call) -> R) {
    let mut buffer = Vec::new();
    loop {
        let Some(call) = read(&mut stream, &mut buffer).await else { return };
        seen.calls.lock().expect("no panic").push(call.clone());
        let now = seen.at_once.fetch_add(1, SeqCst) + 1;
        seen.most_at_once.fetch_max(now, SeqCst);
        let reply = answer(call).await;
        seen.at_once.fetch_sub(1, SeqCst);
        match reply {
            Reply::Bytes(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Reply::Cut(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                return;
            }
            Reply::Stall(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                let _ = stream.read(&mut [0; 16]).await;
                return;
            }
            Reply::Silence => {
                let _ = stream.read(&mut [0; 16]).await;
                seen.hung_up.fetch_add(1, SeqCst);
                return;
            }
            Reply::Endless => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
                while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                seen.hung_up.fetch_add(1, SeqCst);
                return;
            }
        }
    }
}

/// Reads one call; `None`: the connection has ended.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Call> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let mut lines = head.split("\r\n");
            let line = lines.next()?.to_owned();
            let headers: BTreeMap<String, String> =
                lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
            let length: usize = headers.get("content-length").map_or(0, |length| length.parse().expect("a number"));
            if buffer.len() >= end + 4 + length {
                let body = String::from_utf8(buffer[end + 4..end + 4 + length].to_vec()).expect("UTF-8");
                buffer.drain(..end + 4 + length);
                return Some(Call { line, headers, body });
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
