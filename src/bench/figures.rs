//! What was measured, for people and for scripts.

use std::{borrow::Cow, fmt::Write as _};

use hdrhistogram::Histogram;
use longshore_common::program::VERSION;
use serde::Serialize;

use super::{
    process,
    stage::{Meter, Program, Stage, Watch},
};
use crate::output;

/// One run of the bench.
#[derive(Debug, Serialize)]
pub struct Report {
    longshore: &'static str,
    postgresql: String,
    private: bool,
    postgresql_settings: String,
    processors: usize,
    optimized: bool,
    pub scenarios: Vec<Figures>,
}

/// What one scenario gave.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    pub name: String,
    /// Jobs within the measured time.
    pub jobs: u64,
    /// The measured time.
    pub seconds: f64,
    /// Absent where it is not what the scenario is about.
    pub jobs_per_second: Option<f64>,
    pub latency: Vec<Latency>,
    pub cpu_us_per_job: Costs,
    pub wal_bytes_per_job: Option<f64>,
    pub peak_mib: Memory,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// What was wrong with the data: must be empty.
    pub faults: Vec<String>,
}

/// From one moment to another.
#[derive(Debug, Serialize)]
pub struct Latency {
    pub what: Cow<'static, str>,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    pub samples: u64,
}

/// CPU time a job; absent where the process did not run, or runs elsewhere.
#[derive(Debug, Default, Serialize)]
pub struct Costs {
    pub server: Option<f64>,
    pub api: Option<f64>,
    pub worker: Option<f64>,
    pub generator: Option<f64>,
}

/// Peaks of memory.
#[derive(Debug, Default, Serialize)]
pub struct Memory {
    pub api: Option<f64>,
    pub worker: Option<f64>,
    /// Of all of PostgreSQL's processes, what they do not share (sampled every second).
    pub server_private: Option<f64>,
    /// The same with what they share, at the end.
    pub server_pss: Option<f64>,
}

impl Latency {
    /// From microseconds.
    pub fn of(what: impl Into<Cow<'static, str>>, micros: &Histogram<u64>) -> Self {
        let ms = |micros: u64| f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1000.0;
        Self {
            what: what.into(),
            p50_ms: ms(micros.value_at_quantile(0.5)),
            p99_ms: ms(micros.value_at_quantile(0.99)),
            max_ms: ms(micros.max()),
            samples: micros.len(),
        }
    }
}

impl Figures {
    /// What `jobs` jobs cost between two readings.
    pub fn of(name: &str, jobs: u64, seconds: f64, before: Meter, after: Meter) -> Self {
        let count = number(jobs);
        let each = |from: Option<f64>, to: Option<f64>| Some((to? - from.unwrap_or(0.0)) * 1e6 / count).filter(|_| jobs > 0);
        Self {
            name: name.to_owned(),
            jobs,
            seconds,
            jobs_per_second: Some(count / seconds),
            cpu_us_per_job: Costs {
                server: each(before.server, after.server),
                api: each(before.api, after.api),
                worker: each(before.worker, after.worker),
                generator: each(before.generator, after.generator),
            },
            wal_bytes_per_job: u64::try_from(after.wal - before.wal).ok().map(|bytes| number(bytes) / count).filter(|_| jobs > 0),
            ..Self::default()
        }
    }

    /// Notes the memory of the programs, which still run.
    pub fn note_memory(&mut self, stage: &Stage, api: Option<&Program>, worker: Option<&Program>, server: &Watch) {
        self.peak_mib = Memory {
            api: api.and_then(Program::peak_mib),
            worker: worker.and_then(Program::peak_mib),
            server_private: server.peak_mib(),
            server_pss: stage.server_pid().and_then(process::tree_pss_mib),
        };
    }

    /// One line, as soon as it is known.
    pub fn summary(&self) -> String {
        let mut text = format!("{:<13}", self.name);
        if let Some(rate) = self.jobs_per_second {
            let _ = write!(text, " {} jobs/s", output::grouped(whole(rate)));
        }
        // more than a few are for the table
        for Latency { what, p50_ms, p99_ms, .. } in self.latency.iter().filter(|_| self.latency.len() < 5) {
            let _ = write!(text, "  {what} p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms");
        }
        for note in &self.notes {
            let _ = write!(text, "; {note}");
        }
        for fault in &self.faults {
            let _ = write!(text, "\n  WRONG: {fault}");
        }
        text
    }
}

impl Report {
    /// The frame, before anything was measured.
    pub async fn of(stage: &Stage) -> anyhow::Result<Self> {
        let server = stage.store().server().await?;
        Ok(Self {
            longshore: VERSION,
            postgresql: server.version,
            private: stage.is_private(),
            postgresql_settings: server.settings,
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            optimized: !cfg!(debug_assertions),
            scenarios: Vec::new(),
        })
    }

    /// Whether the data were right after every scenario.
    pub fn all_right(&self) -> bool {
        self.scenarios.iter().all(|scenario| scenario.faults.is_empty())
    }

    /// The table.
    pub fn for_people(&self) -> String {
        let mut table = output::table(&[
            "scenario",
            "jobs/s",
            "p50 ms",
            "p99 ms",
            "max ms",
            "server µs",
            "api µs",
            "worker µs",
            "bench µs",
            "wal B",
            "api MiB",
            "worker MiB",
            "server MiB",
            "data",
        ]);
        for scenario in &self.scenarios {
            for (index, latency) in scenario.latency.iter().map(Some).chain(scenario.latency.is_empty().then_some(None)).enumerate() {
                table.add_row(scenario.row(latency, index == 0));
            }
        }
        output::align_right(&mut table, 1..13);
        let build = if self.optimized { "" } else { "\nThis is a build for debugging: build with --release for figures that mean something." };
        format!(
            "{}\n\nLongshore {} on {} processors, PostgreSQL {} with {}.\n\
             µs: CPU time a job, of PostgreSQL, API, worker and this load generator, which share the processors. MiB: peak memory;\n\
             of PostgreSQL what its processes do not share. wal B: bytes written ahead a job. Log level info, to a file.{build}",
            output::lines(&table),
            self.longshore,
            self.processors,
            self.postgresql,
            self.postgresql_settings,
        )
    }
}

impl Figures {
    fn row(&self, latency: Option<&Latency>, first: bool) -> Vec<String> {
        let name = match latency {
            Some(latency) if self.latency.len() > 1 => format!("{} {}", self.name, latency.what),
            _ => self.name.clone(),
        };
        let once = |value: Option<f64>, digits: usize| value.filter(|_| first).map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
        let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2}"));
        let Costs { server, api, worker, generator } = self.cpu_us_per_job;
        vec![
            name,
            self.jobs_per_second.filter(|_| first).map_or_else(|| "-".to_owned(), |rate| output::grouped(whole(rate))),
            ms(latency.map(|l| l.p50_ms)),
            ms(latency.map(|l| l.p99_ms)),
            ms(latency.map(|l| l.max_ms)),
            once(server, 1),
            once(api, 1),
            once(worker, 1),
            once(generator, 1),
            once(self.wal_bytes_per_job, 0),
            once(self.peak_mib.api, 0),
            once(self.peak_mib.worker, 0),
            once(self.peak_mib.server_private, 0),
            if self.faults.is_empty() { "right" } else { "WRONG" }.to_owned(),
        ]
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub fn number(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are positive and far below 2^53")]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}
