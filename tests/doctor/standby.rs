//! A standby as the primary sees it, in the protocol of replication: it reads the write-ahead log, and says with
//! `hot_standby_feedback` which rows its queries need.

use std::path::PathBuf;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    net::{UnixStream, unix::OwnedWriteHalf},
};

/// Version 3.0 of the protocol.
const PROTOCOL: i32 = 196_608;

pub struct Standby {
    to_primary: OwnedWriteHalf,
    reading: tokio::task::JoinHandle<()>,
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.reading.abort(); // and with both halves the connection ends
    }
}

impl Standby {
    /// Streams from a place in the log, through a slot where one is named.
    pub async fn start(socket: PathBuf, name: &str, slot: Option<&str>, from: &str) -> Self {
        let mut stream = UnixStream::connect(socket).await.expect("connect");
        let parameters = ["user", "postgres", "replication", "true", "application_name", name, ""].join("\0") + "\0";
        let mut startup = PROTOCOL.to_be_bytes().to_vec();
        startup.extend(parameters.as_bytes());
        stream.write_all(&[&length(&startup)[..], &startup].concat()).await.expect("send");
        until(&mut stream, b'Z').await; // ready for a query
        let slot = slot.map(|slot| format!("SLOT {slot} ")).unwrap_or_default();
        let query = format!("START_REPLICATION {slot}PHYSICAL {from}\0");
        stream.write_all(&message(b'Q', query.as_bytes())).await.expect("send");
        until(&mut stream, b'W').await; // data go both ways
        let (mut from_primary, to_primary) = stream.into_split();
        let reading = tokio::spawn(async move {
            let _ = copy(&mut from_primary, &mut sink()).await;
        });
        Self { to_primary, reading }
    }

    /// Says that rows from this transaction on are needed; 0: none.
    pub async fn needs(&mut self, xmin: u32) {
        let none = 0_u32.to_be_bytes();
        // the time, xmin with its epoch, and the same for catalogs
        let feedback = [&b"h"[..], &0_i64.to_be_bytes(), &xmin.to_be_bytes(), &none, &none, &none].concat();
        self.to_primary.write_all(&message(b'd', &feedback)).await.expect("send");
    }
}

/// A length counts itself.
fn length(body: &[u8]) -> [u8; 4] {
    u32::try_from(body.len() + 4).expect("short").to_be_bytes()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &length(body), body].concat()
}

/// Reads messages until one of this type.
async fn until(stream: &mut UnixStream, kind: u8) {
    loop {
        let found = stream.read_u8().await.expect("a message");
        let length = stream.read_u32().await.expect("its length") as usize - 4;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.expect("the rest");
        assert_ne!(found, b'E', "{}", String::from_utf8_lossy(&body));
        if found == kind {
            return;
        }
    }
}
