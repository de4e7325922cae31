//! People who look: one open dashboard and a thousand, and what they cost. Each has a stream of events and reads again what its page
//! shows, as `dashboard/src/lib/live.svelte.ts` does.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
    time::{interval, sleep},
};

use super::Size;
use crate::bench::{
    check,
    figures::Figures,
    http::{Connection, Request},
    stage::Stage,
};

/// Dashboards that are open.
const MANY: usize = 1000;
/// What their pages read: a dashboard each shows one of them.
const PAGES: [&str; 5] = ["/v1/stats", "/v1/queues", "/v1/jobs?limit=50", "/v1/failures", "/v1/workers"];
/// Jobs that come meanwhile, so that something happens: each is an event for every dashboard.
const JOBS_A_SECOND: u64 = 4;

/// Nobody looks, one does, a thousand do.
pub async fn run(name: &str, stage: &Stage, size: Size) -> anyhow::Result<Figures> {
    let api = stage.api().await?;
    let (enough, until) = oneshot::channel();
    let sender = tokio::spawn(send(Connection::open(api.addr).await?, until));
    sleep(size.warm_up * 2).await;
    let mut notes = Vec::new();
    let mut last = None;
    for dashboards in [0, PAGES.len(), MANY] {
        let mut open = JoinSet::new();
        for n in 0..dashboards {
            open.spawn(read(Connection::open(api.addr).await?, PAGES[n % PAGES.len()]));
            open.spawn(listen(api.addr));
        }
        sleep(size.warm_up * 2).await; // until all of them are there
        let (before, began) = (stage.meter(Some(&api.program), None).await?, Instant::now());
        sleep(size.measured).await;
        let (after, seconds) = (stage.meter(Some(&api.program), None).await?, began.elapsed().as_secs_f64());
        if let Some(ended) = open.try_join_next() {
            ended??; // a fault of one
        }
        open.shutdown().await;
        let used = |of: Option<f64>, before: Option<f64>| of.zip(before).map_or(f64::NAN, |(of, before)| (of - before) / seconds * 100.0);
        notes.push(format!(
            "{dashboards} dashboards: PostgreSQL {:.1} % of a core, the API {:.1} %",
            used(after.server, before.server),
            used(after.api, before.api)
        ));
        last = Some((before, after));
    }
    let _ = enough.send(());
    let jobs = sender.await??;
    let (before, after) = last.context("something was measured")?;
    let mut figures = Figures { notes, ..Figures::of(name, 0, size.measured.as_secs_f64(), before, after) };
    figures.notes.push(format!("while {JOBS_A_SECOND} jobs a second come; five dashboards are one on each page"));
    api.program.stop().await?;
    figures.faults = check::faults(stage, jobs, 0).await?;
    Ok(figures)
}

/// Returns how many jobs were acknowledged.
async fn send(mut connection: Connection, mut until: oneshot::Receiver<()>) -> anyhow::Result<u64> {
    let job = Request::post("/v1/jobs", "application/json", br#"{"kind":"nobody-runs-it"}"#);
    let mut each = interval(Duration::from_millis(1000 / JOBS_A_SECOND));
    let mut jobs = 0;
    while until.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
        each.tick().await;
        connection.expect(&job, 201).await?;
        jobs += 1;
    }
    Ok(jobs)
}

/// An event that concerns the page comes all the time: it is read again as often as a dashboard does at most.
async fn read(mut connection: Connection, page: &str) -> anyhow::Result<()> {
    let request = Request::get_shared(page);
    loop {
        connection.expect(&request, 200).await?;
        sleep(Duration::from_millis(1200)).await;
    }
}

async fn listen(addr: std::net::SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(addr).await.context("could not connect to the API")?;
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let mut events = vec![0; 16 * 1024];
    loop {
        anyhow::ensure!(stream.read(&mut events).await? > 0, "the API ended a stream of events");
    }
}
