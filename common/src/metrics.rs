//! What Prometheus reads: each program's registry, the text it answers with, and labels that cannot become too many.
//!
//! A metric is a constant with its name, labels and meaning; `docs/metrics.md` is written from these constants.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
    core::{Collector, GenericCounter, GenericCounterVec},
};

use crate::{program::VERSION, store::Store};

/// The media type of the answer: Prometheus' text format.
pub const MEDIA_TYPE: &str = prometheus::TEXT_FORMAT;
/// Label values of one sort at most, all others are [`OTHER`]: each is kept by every Prometheus that reads it, for weeks.
pub const MAX_LABELS: usize = 200;
/// What stands for all label values beyond [`MAX_LABELS`]. No queue, kind or method can have that name.
pub const OTHER: &str = "(other)";

/// Bounds of histograms of times, in seconds: from a call on this machine to a job that runs for an hour.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0, 3600.0];

/// What sort of numbers a metric gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Only grows, from 0 at the program's start.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Times in seconds, counted by size.
    Histogram,
}

impl Sort {
    /// Prometheus' word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric, described.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it gives.
    pub sort: Sort,
    /// What it is divided by.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

/// Which program this is.
const BUILD_INFO: Metric = Metric { name: "longshore_build_info", sort: Sort::Gauge, labels: &["program", "version"], help: "always 1" };
/// Whether PostgreSQL answers.
const DATABASE_UP: Metric = Metric {
    name: "longshore_database_up",
    sort: Sort::Gauge,
    labels: &[],
    help: "whether PostgreSQL answered this program's last statement: 1, or 0; the program's log says why it does not, and what helps",
};
/// Connections.
const CONNECTIONS: Metric = Metric {
    name: "longshore_database_connections",
    sort: Sort::Gauge,
    labels: &["state"],
    help: "connections of this program's pool: used, idle, and max, which LONGSHORE_DATABASE__POOL sets",
};
/// Waits for a connection.
const CONNECTION_WAITS: Metric = Metric {
    name: "longshore_database_connection_waiters",
    sort: Sort::Gauge,
    labels: &[],
    help: "statements that wait for a connection; for long above 0: the pool is too small, or PostgreSQL is slow",
};

/// The metrics that every program has.
pub const METRICS: &[Metric] = &[BUILD_INFO, DATABASE_UP, CONNECTIONS, CONNECTION_WAITS];

/// One program's metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    up: Gauge,
    connections: GaugeVec,
    waiters: Gauge,
}

impl Metrics {
    /// Those that every program has.
    pub fn new(program: &str) -> Self {
        let empty = Empty::default();
        empty.gauges(&BUILD_INFO).with_label_values(&[program, VERSION]).set(1.0);
        let (up, waiters) = (empty.gauge(&DATABASE_UP), empty.gauge(&CONNECTION_WAITS));
        Self { up, waiters, connections: empty.gauges(&CONNECTIONS), registry: empty.0 }
    }

    /// Where more metrics go.
    pub fn more(&self) -> Empty {
        Empty(self.registry.clone())
    }

    /// All of them, as Prometheus reads them.
    pub fn text(&self, store: &Store) -> String {
        let pool = store.connections();
        self.up.set(f64::from(u8::from(store.is_there())));
        for (state, n) in [("used", pool.used), ("idle", pool.idle), ("max", pool.max)] {
            self.connections.with_label_values(&[state]).set(number(n));
        }
        self.waiters.set(number(pool.waiting));
        Empty(self.registry.clone()).text()
    }
}

/// A registry, to be filled.
#[derive(Debug, Default)]
pub struct Empty(Registry);

impl Empty {
    /// A counter for each value of its labels.
    pub fn counters(&self, metric: &Metric) -> IntCounterVec {
        self.add(metric, Sort::Counter, GenericCounterVec::new(opts(metric), metric.labels))
    }

    /// A counter without labels.
    pub fn counter(&self, metric: &Metric) -> IntCounter {
        self.add(metric, Sort::Counter, GenericCounter::with_opts(opts(metric)))
    }

    /// A gauge for each value of its labels.
    pub fn gauges(&self, metric: &Metric) -> GaugeVec {
        self.add(metric, Sort::Gauge, GaugeVec::new(opts(metric), metric.labels))
    }

    /// A gauge without labels.
    pub fn gauge(&self, metric: &Metric) -> Gauge {
        self.add(metric, Sort::Gauge, Gauge::with_opts(opts(metric)))
    }

    /// A histogram of seconds for each value of its labels.
    pub fn histograms(&self, metric: &Metric) -> HistogramVec {
        let opts = HistogramOpts::from(opts(metric)).buckets(SECONDS.to_vec());
        self.add(metric, Sort::Histogram, HistogramVec::new(opts, metric.labels))
    }

    /// A histogram of seconds without labels.
    pub fn histogram(&self, metric: &Metric) -> Histogram {
        let opts = HistogramOpts::from(opts(metric)).buckets(SECONDS.to_vec());
        self.add(metric, Sort::Histogram, Histogram::with_opts(opts))
    }

    fn add<C: Collector + Clone + 'static>(&self, metric: &Metric, sort: Sort, made: prometheus::Result<C>) -> C {
        debug_assert_eq!(metric.sort, sort, "{}", metric.name);
        let made = made.unwrap_or_else(|error| unreachable!("{}: names and labels are constants, and a test makes them all: {error}", metric.name));
        // twice only where a program would describe a metric twice, which the same test finds
        let _ = self.0.register(Box::new(made.clone()));
        made
    }

    /// As Prometheus reads it.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.0.gather(), &mut text) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be written");
                String::new()
            }
        }
    }
}

fn opts(metric: &Metric) -> Opts {
    Opts::new(metric.name, metric.help)
}

/// A count as Prometheus takes it.
#[expect(clippy::cast_precision_loss, reason = "what is counted are connections, slots and jobs: far fewer than 2^53")]
pub fn number(n: usize) -> f64 {
    n as f64
}

/// Keeps what is counted of each thing, of [`MAX_LABELS`] things at most; all others share one.
#[derive(Debug)]
pub struct Bounded<K, T> {
    things: Mutex<HashMap<K, T>>,
    other: T,
}

impl<K: std::hash::Hash + Eq, T: Clone> Bounded<K, T> {
    /// Nothing is known but what all others share.
    pub fn new(other: T) -> Self {
        Self { things: Mutex::default(), other }
    }

    /// What is counted of this one.
    pub fn of(&self, key: K, make: impl FnOnce() -> T) -> T {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        if things.len() >= MAX_LABELS && !things.contains_key(&key) {
            return self.other.clone();
        }
        things.entry(key).or_insert_with(make).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_can_be_made() {
        let metrics = Metrics::new("test");
        let text = metrics.more().text();
        assert!(text.contains("# HELP longshore_database_up "), "{text}");
        assert!(text.contains(&format!("longshore_build_info{{program=\"test\",version=\"{VERSION}\"}} 1\n")), "{text}");
    }

    #[test]
    fn labels_are_bounded() {
        let bounded = Bounded::new("other".to_owned());
        for n in 0..2 * MAX_LABELS {
            let expected = if n < MAX_LABELS { n.to_string() } else { "other".to_owned() };
            assert_eq!(bounded.of(n, || n.to_string()), expected);
        }
        assert_eq!(bounded.of(7, || "new".to_owned()), "7", "who was known stays so");
    }
}
