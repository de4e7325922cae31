//! A collector of traces on this machine: takes OTLP over HTTP, and keeps every span.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{support::eventually::eventually, system::SOON};

/// OpenTelemetry's numbers of what a span is to its parent.
pub const SERVER: i32 = 2;
pub const CLIENT: i32 = 3;
pub const CONSUMER: i32 = 5;

/// A span that came. Ids are hexadecimal, attributes text.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What its process says of itself.
    pub resource: BTreeMap<String, String>,
    pub name: String,
    pub kind: i32,
    pub trace: String,
    pub id: String,
    /// Empty: none.
    pub parent: String,
    pub attributes: BTreeMap<String, String>,
    /// 0: nothing is said, 1: it went well, 2: it failed.
    pub status: i32,
    pub message: String,
    pub events: Vec<String>,
}

impl Seen {
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// What whoever goes on below it is told.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.id)
    }
}

pub struct Collector {
    pub address: SocketAddr,
    spans: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address")).await
    }

    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("it is free");
        let address = listener.local_addr().expect("bound");
        let spans = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn({
            let spans = spans.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, spans.clone()));
                }
            }
        });
        Self { address, spans, task }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn spans(&self) -> Vec<Seen> {
        self.spans.lock().expect("no panic").clone()
    }

    /// Waits for the span that it is about.
    pub async fn until(&self, what: &str, which: impl Fn(&Seen) -> bool) -> Seen {
        eventually(&format!("the span {what} comes"), SOON, async || {
            let spans = self.spans();
            spans.iter().find(|span| which(span)).cloned().ok_or(spans)
        })
        .await
    }

    /// The attempt of a job, by its number.
    pub async fn attempt(&self, job: i64, attempt: u32) -> Seen {
        let (job, attempt) = (job.to_string(), attempt.to_string());
        self.until(&format!("of job {job}, attempt {attempt}"), |span| {
            span.attribute("messaging.message.id") == job && span.attribute("longshore.job.attempt") == attempt
        })
        .await
    }
}

async fn serve(mut stream: TcpStream, spans: Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = Vec::new();
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n").map(|end| end + 4) {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            assert!(head.starts_with("post /v1/traces http/1.1\r\n") && head.contains("content-type: application/x-protobuf"), "{head}");
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).expect("its length");
            let whole = end + length.parse::<usize>().expect("a number");
            if buffer.len() >= whole {
                let request = ExportTraceServiceRequest::decode(&buffer[end..whole]).expect("OTLP");
                spans.lock().expect("no panic").extend(read(request));
                buffer.drain(..whole);
                if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                    return;
                }
                continue;
            }
        }
        if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

fn read(request: ExportTraceServiceRequest) -> Vec<Seen> {
    let mut seen = Vec::new();
    for of_process in request.resource_spans {
        let resource = texts(&of_process.resource.unwrap_or_default().attributes);
        for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let status = span.status.clone().unwrap_or_default();
            assert!(span.start_time_unix_nano > 0 && span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
            seen.push(Seen {
                resource: resource.clone(),
                name: span.name,
                kind: span.kind,
                trace: hexadecimal(&span.trace_id),
                id: hexadecimal(&span.span_id),
                parent: hexadecimal(&span.parent_span_id),
                attributes: texts(&span.attributes),
                status: status.code,
                message: status.message,
                events: span.events.into_iter().map(|event| format!("{} {:?}", event.name, texts(&event.attributes))).collect(),
            });
        }
    }
    seen
}

fn hexadecimal(id: &[u8]) -> String {
    id.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}
