//! The jobs that are sent, and what is noted of each.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde_json::json;

use super::http::Request;

/// Bytes of args of every job: what a careful user passes, ids and a few words.
const ARGS_BYTES: usize = 200;

/// How a batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchForm {
    /// A job a line.
    Ndjson,
    /// `{"jobs": […]}`
    Json,
}

/// One job.
pub fn job() -> String {
    job_with("")
}

/// One job with more fields, each behind a comma.
pub fn job_with(more: &str) -> String {
    let args = |filling: usize| json!({"to": "somebody@example.com", "template": "welcome", "text": "x".repeat(filling)}).to_string();
    let args = args(ARGS_BYTES - args(0).len());
    format!("{{\"kind\":\"echo\",\"args\":{args}{more}}}")
}

/// `POST /v1/jobs`
pub fn single() -> Request {
    Request::post("/v1/jobs", "application/json", job().as_bytes())
}

/// `POST /v1/jobs/batch`
pub fn batch(jobs: usize, form: BatchForm) -> Request {
    let jobs = vec![job(); jobs];
    match form {
        BatchForm::Ndjson => lines(&jobs),
        BatchForm::Json => Request::post("/v1/jobs/batch", "application/json", format!("{{\"jobs\":[{}]}}", jobs.join(",")).as_bytes()),
    }
}

/// `POST /v1/jobs/batch`, a job a line.
pub fn lines(jobs: &[String]) -> Request {
    Request::post("/v1/jobs/batch", "application/x-ndjson", (jobs.join("\n") + "\n").as_bytes())
}

/// What the senders note, all in one: they share a thread, so nobody ever waits for it.
#[derive(Debug, Clone)]
pub struct Record(Arc<Mutex<Noted>>);

#[derive(Debug)]
struct Noted {
    acknowledged: u64,
    measured: u64,
    latency: Histogram<u64>,
}

impl Record {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Noted { acknowledged: 0, measured: 0, latency: histogram() })))
    }

    /// So many jobs were acknowledged, in answer to a request that was sent then.
    pub fn note(&self, jobs: u64, sent: Instant, measured: bool) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.acknowledged += jobs;
        if measured {
            noted.measured += jobs;
            noted.latency.saturating_record(micros(sent.elapsed()));
        }
    }

    /// Jobs in all.
    pub fn acknowledged(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).acknowledged
    }

    /// Jobs within the measured time.
    pub fn measured(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).measured
    }

    /// Request to answer, in microseconds, within the measured time.
    pub fn latency(&self) -> Histogram<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).latency.clone()
    }
}

/// For microseconds, up to two minutes.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000, 3).expect("fixed bounds")
}

/// A duration in microseconds.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use longshore_common::job::NewJob;

    use super::*;

    #[test]
    fn a_job_has_two_hundred_bytes_of_args() {
        let job = NewJob::parse(job().as_bytes(), "").expect("a good job");
        assert_eq!(job.args.as_str().len(), ARGS_BYTES);
    }
}
