//! What the worker tells Prometheus: attempts by queue and kind, how long they wait and run, how full its slots are.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use longshore_common::{
    metrics::{Bounded, Metric, Metrics, OTHER, Sort, number},
    outcome::Outcome,
    store::{Store, claim::LeasedJob},
};
use prometheus::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec};

use crate::{running::Watched, slots::Slots};

const ATTEMPTS: Metric = Metric {
    name: "longshore_worker_attempts_total",
    sort: Sort::Counter,
    labels: &["queue", "kind", "outcome"],
    help: "attempts that have ended here and are recorded, by outcome; stale: the lease was lost before, so it did not count",
};
const RUN: Metric = Metric { name: "longshore_worker_run_seconds", sort: Sort::Histogram, labels: &["queue", "kind"], help: "how long attempts ran" };
const WAIT: Metric = Metric {
    name: "longshore_worker_wait_seconds",
    sort: Sort::Histogram,
    labels: &["queue", "kind"],
    help: "how long jobs had been due when their attempt started",
};
const CLAIM: Metric =
    Metric { name: "longshore_worker_claim_seconds", sort: Sort::Histogram, labels: &[], help: "how long claims took, those that found nothing included" };
const REPORT: Metric = Metric {
    name: "longshore_worker_report_seconds",
    sort: Sort::Histogram,
    labels: &[],
    help: "how long it took to record outcomes, many in one statement; an outage of the database counts",
};
const SLOTS: Metric = Metric {
    name: "longshore_worker_slots",
    sort: Sort::Gauge,
    labels: &["queue", "state"],
    help: "slots of each entry of LONGSHORE_WORKER__QUEUES: used, and max",
};
const RUNNING: Metric = Metric { name: "longshore_worker_running", sort: Sort::Gauge, labels: &[], help: "attempts that run here now" };
const UNRECORDED: Metric = Metric {
    name: "longshore_worker_unrecorded",
    sort: Sort::Gauge,
    labels: &[],
    help: "attempts that have ended here and whose outcome is not recorded yet; for long above 0: the database is away or slow",
};

/// All that a worker has beside [`longshore_common::metrics::METRICS`].
pub const METRICS: &[Metric] = &[ATTEMPTS, RUN, WAIT, CLAIM, REPORT, SLOTS, RUNNING, UNRECORDED];

/// What the worker tells. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct WorkerMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    all: Metrics,
    attempts: IntCounterVec,
    run: HistogramVec,
    wait: HistogramVec,
    claim: Histogram,
    report: Histogram,
    slots: GaugeVec,
    running: Gauge,
    unrecorded: Gauge,
    lanes: Bounded<i32, Arc<OfLane>>,
    now: Mutex<Option<(Arc<Slots>, Watched)>>,
}

/// What is counted of one kind in one queue.
#[derive(Debug)]
struct OfLane {
    queue: String,
    kind: String,
    /// Nearly all attempts: found without a look at the labels.
    succeeded: IntCounter,
    run: Histogram,
    wait: Histogram,
}

impl WorkerMetrics {
    pub fn new() -> Self {
        let all = Metrics::new("longshore-worker");
        let more = all.more();
        let (attempts, run, wait) = (more.counters(&ATTEMPTS), more.histograms(&RUN), more.histograms(&WAIT));
        let lanes = Bounded::new(Arc::new(OfLane::new(&attempts, &run, &wait, OTHER, OTHER)));
        let (claim, report) = (more.histogram(&CLAIM), more.histogram(&REPORT));
        let (slots, running, unrecorded) = (more.gauges(&SLOTS), more.gauge(&RUNNING), more.gauge(&UNRECORDED));
        Self(Arc::new(Inner { all, attempts, run, wait, claim, report, slots, running, unrecorded, lanes, now: Mutex::default() }))
    }

    /// What is at work from now on.
    pub fn watch(&self, slots: Arc<Slots>, running: Watched) {
        *self.0.now.lock().unwrap_or_else(PoisonError::into_inner) = Some((slots, running));
    }

    pub fn claimed(&self, took: Duration) {
        self.0.claim.observe(took.as_secs_f64());
    }

    pub fn reported(&self, took: Duration) {
        self.0.report.observe(took.as_secs_f64());
    }

    /// An attempt has ended, and that is recorded, unless its lease was lost before.
    pub fn ended(&self, job: &LeasedJob, outcome: &Outcome, ran: Duration, stale: bool) {
        let lane = self.0.lanes.of(job.lane.lane, || Arc::new(OfLane::new(&self.0.attempts, &self.0.run, &self.0.wait, &job.lane.queue, &job.lane.kind)));
        match outcome {
            Outcome::Succeeded { .. } if !stale => lane.succeeded.inc(),
            _ => {
                let word = if stale { "stale" } else { outcome.word() };
                self.0.attempts.with_label_values(&[&*lane.queue, &*lane.kind, word]).inc();
            }
        }
        lane.run.observe(ran.as_secs_f64());
        lane.wait.observe(job.started_at.duration_since(job.run_at).as_secs_f64().max(0.0));
    }

    /// As Prometheus reads it.
    pub fn text(&self, store: &Store) -> String {
        let (mut running, mut unrecorded) = (0, 0);
        if let Some((slots, at_work)) = &*self.0.now.lock().unwrap_or_else(PoisonError::into_inner) {
            (running, unrecorded) = at_work.counts();
            for (queue, used, max) in slots.use_of_each() {
                self.0.slots.with_label_values(&[&*queue, "used"]).set(number(used));
                self.0.slots.with_label_values(&[&*queue, "max"]).set(number(max));
            }
        }
        self.0.running.set(number(running));
        self.0.unrecorded.set(number(unrecorded));
        self.0.all.text(store)
    }
}

impl OfLane {
    fn new(attempts: &IntCounterVec, run: &HistogramVec, wait: &HistogramVec, queue: &str, kind: &str) -> Self {
        Self {
            queue: queue.to_owned(),
            kind: kind.to_owned(),
            succeeded: attempts.with_label_values(&[queue, kind, "succeeded"]),
            run: run.with_label_values(&[queue, kind]),
            wait: wait.with_label_values(&[queue, kind]),
        }
    }
}
