//! A backlog of signed calls to a service on this machine.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use super::{
    Size,
    drain::{self, Handler},
};
use crate::bench::{figures::Figures, http, stage::Stage};

/// At some thousands a second.
const MOST: u64 = 50_000;
const SLOTS: u64 = 64;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\ntrue";

/// A worker calls the service for each job.
pub async fn run(name: &str, stage: &Stage, size: Size) -> anyhow::Result<Figures> {
    let size = Size { backlog: (size.backlog / 4).clamp(1, MOST), slots: SLOTS, ..size };
    let (addr, service) = start().await?;
    let settings = format!(
        "[worker]\nallow = \"127.0.0.0/8\"\n[handlers.echo]\nurl = \"http://{addr}/jobs\"\nsecret = \"whsec_{}\"\n",
        "Zm9yIHRyeWluZyBvbmx5OiBtYWtlIHlvdXIgb3du"
    );
    let figures = drain::run_by(name, stage, size, Handler { settings: &settings, about: "each job a signed call of a service in the load generator" }).await;
    service.abort();
    figures
}

/// It answers whatever comes, and does as little as possible: it is not what is measured.
async fn start() -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("could not listen for calls")?;
    let addr = listener.local_addr()?;
    let service = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(http::answer(stream, ANSWER));
        }
    });
    Ok((addr, service))
}
