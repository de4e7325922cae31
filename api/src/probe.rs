//! `longshore-api health`: asks the API that these settings describe how it is. For Docker, whose images have no curl.

use std::{net::IpAddr, time::Duration};

use longshore_common::{
    program::{Exit, Failure},
    settings::Settings,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Longer than the API itself takes to find that its database is away.
const PATIENCE: Duration = Duration::from_secs(3);
/// An answer is a few hundred bytes; a stranger's on that port may be endless.
const MAX_ANSWER: u64 = 4096;

/// The API is not well, or not there.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    /// Nothing answers.
    #[error("no answer from {url}")]
    Silent {
        /// What was asked.
        url: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It answers that it is not well.
    #[error("{url} answers: {answer}")]
    Says {
        /// What was asked.
        url: String,
        /// What it said.
        answer: String,
    },
}

impl Failure for Unwell {
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// Asks `GET /health` on the address that the settings name.
///
/// # Errors
/// [`Unwell`].
pub async fn health(settings: &Settings) -> Result<(), Unwell> {
    let mut address = settings.api.listen;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv6() { IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]) } else { IpAddr::from([127, 0, 0, 1]) });
    }
    let url = format!("http://{address}/health");
    let asked = tokio::time::timeout(PATIENCE, async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET /health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok(answer)
    });
    match asked.await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(answer) if answer.starts_with(b"HTTP/1.1 200 ") => Ok(()),
        Ok(answer) => {
            let answer = String::from_utf8_lossy(&answer);
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
            Err(Unwell::Says { url, answer: format!("{} {body}", head.lines().next().unwrap_or_default()) })
        }
        Err(source) => Err(Unwell::Silent { url, source }),
    }
}
