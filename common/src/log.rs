//! The log: one line an event, for people or as JSON.

mod gather;

use std::io::{IsTerminal, Write};

use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, registry, util::SubscriberInitExt};

use crate::{
    settings::{LogFormat, LogSettings, SettingError, Settings},
    trace::{self, export::Exporter},
};

/// What these say of an outage or a start, our own lines say better, and once.
const QUIET: &str = "poem::server=warn,tokio_postgres=warn,deadpool=error,deadpool_postgres=error,refinery_core=warn";

/// Where a program's log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A service: its log is its output.
    Stdout,
    /// A command: its output is something else.
    Stderr,
}

/// What is left is sent and written when this is dropped: spans within 2 s, then the lines of the log.
#[derive(Debug)]
pub struct Guard {
    /// Before the log, which may have to tell of it.
    _spans: Option<Exporter>,
    _lines: gather::Guard,
}

/// Starts the log. Keep the guard until the program ends.
#[must_use]
pub fn start(settings: &LogSettings, target: Target) -> Guard {
    start_both(settings, target, None)
}

/// Starts the log and, where the settings name a collector, traces, in which the program has the name of `service`. Keep the guard
/// until the program ends, and a moment longer than its runtime.
///
/// # Errors
/// Where nothing can be sent to the collector that the settings name.
pub fn start_with_traces(settings: &Settings, service: &str, target: Target) -> Result<Guard, SettingError> {
    Ok(start_both(&settings.log, target, Exporter::start(&settings.traces, service)?))
}

fn start_both(settings: &LogSettings, target: Target, spans: Option<Exporter>) -> Guard {
    let (terminal, stream): (bool, Box<dyn Write + Send>) = match target {
        Target::Stdout => (std::io::stdout().is_terminal(), Box::new(std::io::stdout())),
        Target::Stderr => (std::io::stderr().is_terminal(), Box::new(std::io::stderr())),
    };
    let (writer, lines) = gather::start(stream);
    let filter = EnvFilter::new(format!("{QUIET},{},{}=off", settings.filter, trace::TARGET));
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(terminal && settings.format == LogFormat::Text);
    let layer = match settings.format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    let layer = layer.with_filter(filter);
    // A second start (several roles in one process) keeps the first.
    match &spans {
        None => drop(registry().with(layer).try_init()),
        Some(exporter) => {
            if registry().with(layer).with(exporter.layer()).try_init().is_ok() {
                trace::turn(true);
            }
        }
    }
    Guard { _spans: spans, _lines: lines }
}

/// An error with all its causes, on one line: what was tried: why it failed: …
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text += &format!(": {said}");
        }
        cause = error.source();
    }
    text
}
