//! What the API tells Prometheus: its own requests, and what stands in the queues, read from the database once a second for all
//! who ask.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use longshore_common::{
    metrics::{Empty, MAX_LABELS, Metric, Metrics, OTHER, Sort, number},
    store::{
        Store,
        stats::{Latency, Sample, Totals, Unhandled},
    },
};
use poem::http::Method;
use prometheus::{GaugeVec, HistogramVec, IntCounterVec};

const REQUESTS: Metric = Metric {
    name: "longshore_api_requests_total",
    sort: Sort::Counter,
    labels: &["method", "path", "status"],
    help: "requests answered, by the route's path as /openapi.json names it",
};
const REQUEST_SECONDS: Metric = Metric {
    name: "longshore_api_request_seconds",
    sort: Sort::Histogram,
    labels: &["method", "path"],
    help: "how long answers took; requests that may ask to wait (?wait=, POST /v1/leases) are left out",
};
const JOBS: Metric = Metric {
    name: "longshore_jobs",
    sort: Sort::Gauge,
    labels: &["queue", "state"],
    help: "jobs by state; waiting ones are counted to 10,000 a queue and estimated above",
};
const OLDEST: Metric = Metric {
    name: "longshore_oldest_available_age_seconds",
    sort: Sort::Gauge,
    labels: &["queue"],
    help: "how long the longest waiting available job has waited; 0 where none waits",
};
const WORKERS: Metric = Metric { name: "longshore_queue_workers", sort: Sort::Gauge, labels: &["queue"], help: "live workers that serve the queue" };
const PAUSED: Metric =
    Metric { name: "longshore_queue_paused", sort: Sort::Gauge, labels: &["queue"], help: "whether the queue takes jobs and starts none: 1, or 0" };
const RATES: Metric = Metric {
    name: "longshore_jobs_per_second",
    sort: Sort::Gauge,
    labels: &["queue", "event"],
    help: "what happened within the last minute, a second: enqueued, started, succeeded, failed (for good), cancelled, retried",
};
const WAITED: Metric = Metric {
    name: "longshore_wait_seconds",
    sort: Sort::Gauge,
    labels: &["queue", "percentile"],
    help: "from when attempts were due to their start, of jobs that finished within the last minute",
};
const RAN: Metric = Metric {
    name: "longshore_run_seconds",
    sort: Sort::Gauge,
    labels: &["queue", "percentile"],
    help: "from an attempt's start to its end, of jobs that finished within the last minute",
};
const UNHANDLED: Metric = Metric {
    name: "longshore_jobs_without_handler",
    sort: Sort::Gauge,
    labels: &["queue", "kind"],
    help: "jobs that wait of a kind for which no live worker of the queue has a handler, counted to 1,000",
};

/// All that the API has beside [`longshore_common::metrics::METRICS`].
pub const METRICS: &[Metric] = &[REQUESTS, REQUEST_SECONDS, JOBS, OLDEST, WORKERS, PAUSED, RATES, WAITED, RAN, UNHANDLED];

/// The route that a request has found, for who counts it outside of the routes.
#[derive(Debug, Clone, Default)]
pub struct Matched(Arc<OnceLock<Arc<str>>>);

impl Matched {
    /// This one, as it is named in `/openapi.json`.
    pub fn is(&self, path: &Arc<str>) {
        let _ = self.0.set(path.clone()); // a request finds one route
    }

    /// Its path; `None`: no route was found.
    pub fn path(&self) -> Option<&Arc<str>> {
        self.0.get()
    }
}

/// What the API counts.
#[derive(Debug)]
pub struct ApiMetrics {
    all: Metrics,
    requests: IntCounterVec,
    seconds: HistogramVec,
}

impl Default for ApiMetrics {
    fn default() -> Self {
        let all = Metrics::new("longshore-api");
        let more = all.more();
        Self { requests: more.counters(&REQUESTS), seconds: more.histograms(&REQUEST_SECONDS), all }
    }
}

impl ApiMetrics {
    /// A request was answered. `may_wait`: how long that took says nothing.
    pub fn answered(&self, method: &Method, matched: &Matched, status: u16, took: Duration, may_wait: bool) {
        // both from the caller: only what is known becomes a label
        let method = if method.as_str().len() <= 7 && METHODS.contains(&method.as_str()) { method.as_str() } else { OTHER };
        let path = matched.0.get().map_or(OTHER, |path| path);
        let mut digits = [0; 3];
        self.requests.with_label_values(&[method, path, status_text(status, &mut digits)]).inc();
        if !may_wait {
            self.seconds.with_label_values(&[method, path]).observe(took.as_secs_f64());
        }
    }

    /// What this process counts, as Prometheus reads it.
    pub fn text(&self, store: &Store) -> String {
        self.all.text(store)
    }
}

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// Three digits without a text of its own.
fn status_text(status: u16, digits: &mut [u8; 3]) -> &str {
    for (digit, unit) in digits.iter_mut().zip([100, 10, 1]) {
        *digit = b'0' + u8::try_from(status / unit % 10).unwrap_or_default();
    }
    std::str::from_utf8(digits).unwrap_or(OTHER)
}

/// What stands in the queues that `reaches` says yes to, as Prometheus reads it. Beyond [`MAX_LABELS`] queues those with the fewest
/// unfinished jobs are added up.
pub fn of_queues(sample: &Sample, reaches: impl Fn(&str) -> bool) -> String {
    let page = Page::new();
    let mut queues = sample.of(&reaches).queues;
    queues.sort_by_cached_key(|queue| {
        let counts = &queue.figures.counts;
        std::cmp::Reverse(counts.scheduled + counts.available + counts.running + counts.retryable + counts.blocked)
    });
    let beyond = queues.split_off(queues.len().min(MAX_LABELS));
    for queue in &queues {
        page.figures(&queue.name, &queue.figures, queue.paused);
    }
    if !beyond.is_empty() {
        let mut sum = Totals::default();
        for queue in &beyond {
            sum.add(&queue.figures);
        }
        page.figures(OTHER, &sum, false);
    }
    for Unhandled { queue, kind, jobs } in sample.unhandled(reaches) {
        page.unhandled.with_label_values(&[queue, kind]).set(count(*jobs));
    }
    page.empty.text()
}

struct Page {
    empty: Empty,
    jobs: GaugeVec,
    oldest: GaugeVec,
    workers: GaugeVec,
    paused: GaugeVec,
    rates: GaugeVec,
    waited: GaugeVec,
    ran: GaugeVec,
    unhandled: GaugeVec,
}

impl Page {
    fn new() -> Self {
        let empty = Empty::default();
        Self {
            jobs: empty.gauges(&JOBS),
            oldest: empty.gauges(&OLDEST),
            workers: empty.gauges(&WORKERS),
            paused: empty.gauges(&PAUSED),
            rates: empty.gauges(&RATES),
            waited: empty.gauges(&WAITED),
            ran: empty.gauges(&RAN),
            unhandled: empty.gauges(&UNHANDLED),
            empty,
        }
    }

    fn figures(&self, queue: &str, figures: &Totals, paused: bool) {
        for (state, jobs) in figures.counts.each() {
            self.jobs.with_label_values(&[queue, state]).set(count(jobs));
        }
        self.oldest.with_label_values(&[queue]).set(figures.oldest_available_age.unwrap_or_default());
        self.workers.with_label_values(&[queue]).set(count(figures.workers));
        self.paused.with_label_values(&[queue]).set(f64::from(u8::from(paused)));
        let rates = &figures.rates;
        let named = [
            ("enqueued", rates.enqueued),
            ("started", rates.started),
            ("succeeded", rates.succeeded),
            ("failed", rates.failed),
            ("cancelled", rates.cancelled),
            ("retried", rates.retried),
        ];
        for (event, rate) in named {
            self.rates.with_label_values(&[queue, event]).set(rate);
        }
        for (gauge, Latency { p50, p95, p99 }) in [(&self.waited, figures.latency.wait), (&self.ran, figures.latency.run)] {
            for (percentile, seconds) in [("50", p50), ("95", p95), ("99", p99)] {
                if let Some(seconds) = seconds {
                    gauge.with_label_values(&[queue, percentile]).set(seconds);
                }
            }
        }
    }
}

fn count(n: i64) -> f64 {
    number(usize::try_from(n).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_makes_up_is_no_label() {
        let metrics = ApiMetrics::default();
        let known = Matched::default();
        known.is(&Arc::from("/v1/jobs/{id}"));
        metrics.answered(&Method::GET, &known, 200, Duration::from_millis(3), false);
        metrics.answered(&Method::from_bytes(b"BREW").expect("a method"), &Matched::default(), 404, Duration::ZERO, false);
        metrics.answered(&Method::GET, &known, 200, Duration::from_secs(9), true);
        let text = metrics.all.more().text();
        assert!(text.contains("longshore_api_requests_total{method=\"GET\",path=\"/v1/jobs/{id}\",status=\"200\"} 2\n"), "{text}");
        assert!(text.contains("longshore_api_requests_total{method=\"(other)\",path=\"(other)\",status=\"404\"} 1\n"), "{text}");
        assert!(text.contains("longshore_api_request_seconds_count{method=\"GET\",path=\"/v1/jobs/{id}\"} 1\n"), "{text}");
        assert!(!text.contains("BREW"), "{text}");
    }
}
