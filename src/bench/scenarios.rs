//! What is done to the programs, a file a scenario.

pub mod batch;
pub mod browse;
pub mod command;
pub mod cycle;
pub mod dashboards;
pub mod drain;
pub mod enqueue;
pub mod latency;
pub mod pull;
pub mod push;

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    Size,
    http::{Connection, Request},
    load::Record,
    stage::Api,
};

/// When is measured: after the programs are warm.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
}

impl Window {
    fn begin(size: Size) -> Self {
        let from = Instant::now() + size.warm_up;
        Self { from, until: from + size.measured }
    }

    fn is_open(&self) -> bool {
        let now = Instant::now();
        self.from <= now && now < self.until
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    fn length(&self) -> Duration {
        self.until - self.from
    }

    async fn opens(&self) {
        sleep_until(self.from).await;
    }

    async fn closes(&self) {
        sleep_until(self.until).await;
    }
}

/// Sends one request again and again over so many connections; each request is so many jobs.
async fn senders(api: &Api, connections: usize, request: &Request, jobs: u64, window: Window, record: &Record) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let mut senders = JoinSet::new();
    for _ in 0..connections {
        let mut connection = Connection::open(api.addr).await?;
        let (request, record) = (request.clone(), record.clone());
        senders.spawn(async move {
            while !window.is_over() {
                let sent = std::time::Instant::now();
                connection.expect(&request, 201).await?;
                record.note(jobs, sent, window.is_open());
            }
            Ok(())
        });
    }
    Ok(senders)
}

/// Waits for the end of all, and for their faults.
async fn all_end(mut tasks: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}
