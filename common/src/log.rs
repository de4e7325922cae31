//! The log: one line an event, for people or as JSON.

mod gather;

use std::io::{IsTerminal, Write};

use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

pub use self::gather::Guard;
use crate::settings::{LogFormat, LogSettings};

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

/// Starts the log. Keep the guard until the program ends: dropping it writes what is left.
#[must_use]
pub fn start(settings: &LogSettings, target: Target) -> Guard {
    let (terminal, stream): (bool, Box<dyn Write + Send>) = match target {
        Target::Stdout => (std::io::stdout().is_terminal(), Box::new(std::io::stdout())),
        Target::Stderr => (std::io::stderr().is_terminal(), Box::new(std::io::stderr())),
    };
    let (writer, guard) = gather::start(stream);
    let filter = EnvFilter::new(format!("{QUIET},{}", settings.filter));
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(terminal && settings.format == LogFormat::Text);
    let layer = match settings.format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    // A second start (several roles in one process) keeps the first.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    guard
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
