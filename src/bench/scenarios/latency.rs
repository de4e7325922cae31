//! An idle system: how long from the request to the answer, the start and the end of its job.

use std::{collections::HashMap, time::Duration};

use anyhow::Context;
use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};

use super::{Size, Window, drain};
use crate::bench::{
    check,
    figures::{Figures, Latency},
    http::Connection,
    load::{self, Record},
    stage::Stage,
};

/// From one job to the next: everything is idle again in between.
const PACE: Duration = Duration::from_millis(12);

/// One job at a time: from before its request is sent to its answer, its start and its end. Start and end are the
/// database's timestamps; it runs on this machine, so its clock is ours.
pub async fn run(name: &str, stage: &Stage, size: Size) -> anyhow::Result<Figures> {
    let api = stage.api().await?;
    let worker = stage.worker("*=50").await?;
    let (watch, record, window) = (stage.watch_memory(), Record::new(), Window::begin(size));
    let mut connection = Connection::open(api.addr).await?;
    let request = load::single();
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sent_at, mut before) = (HashMap::new(), None);
    while !window.is_over() {
        pace.tick().await;
        let measured = window.is_open();
        if measured && before.is_none() {
            before = Some(stage.meter(Some(&api.program), Some(&worker)).await?);
        }
        #[expect(clippy::disallowed_methods, reason = "to compare with the database's, which runs on this machine")]
        let (sent, at) = (std::time::Instant::now(), Timestamp::now());
        connection.expect(&request, 201).await?;
        record.note(1, sent, measured);
        if measured {
            sent_at.insert(id_of(connection.body()).context("the answer to POST /v1/jobs does not begin with the job's id")?, at);
        }
    }
    let after = stage.meter(Some(&api.program), Some(&worker)).await?;
    drain::wait_for(stage, record.acknowledged()).await?;
    let (mut start, mut finish) = (load::histogram(), load::histogram());
    for times in stage.store().times().await? {
        if let Some(sent) = sent_at.get(&times.id) {
            let since = |time: Timestamp| u64::try_from(time.duration_since(*sent).as_micros()).unwrap_or(0);
            start.saturating_record(since(times.started_at));
            finish.saturating_record(since(times.finished_at));
        }
    }
    let mut figures = Figures::of(name, record.measured(), window.length().as_secs_f64(), before.unwrap_or(after), after);
    figures.jobs_per_second = None; // it is what was asked for
    figures.latency = vec![Latency::of("answer", &record.latency()), Latency::of("start", &start), Latency::of("end", &finish)];
    figures.note_memory(stage, Some(&api.program), Some(&worker), &watch);
    worker.stop().await?;
    api.program.stop().await?;
    figures.faults = check::faults(stage, record.acknowledged(), record.acknowledged()).await?;
    Ok(figures)
}

/// The id in `{"id":42,…`.
fn id_of(body: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(body).ok()?;
    let rest = text.split_once("\"id\":")?.1.trim_start();
    rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_found() {
        assert_eq!(id_of(br#"{"id":42,"kind":"echo"}"#), Some(42));
        assert_eq!(id_of(br#"{ "id": 7 }"#), Some(7));
        assert_eq!(id_of(b"[]"), None);
    }
}
