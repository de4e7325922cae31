//! The log: one line an event, for people or as JSON.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::settings::{LogFormat, LogSettings};

/// Where a program's log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A service: its log is its output.
    Stdout,
    /// A command: its output is something else.
    Stderr,
}

/// Starts the log. Keep the guard until the program ends: dropping it writes what is left.
///
/// Lines are written by a thread of their own, so that a slow terminal does not slow the server. Where they come faster
/// than they can be written for long, the server waits rather than lose any.
#[must_use]
pub fn start(settings: &LogSettings, target: Target) -> WorkerGuard {
    let terminal = match target {
        Target::Stdout => std::io::stdout().is_terminal(),
        Target::Stderr => std::io::stderr().is_terminal(),
    };
    let builder = NonBlockingBuilder::default().lossy(false).thread_name("log");
    let (writer, guard) = match target {
        // buffered: the writing thread flushes when nothing more is waiting
        Target::Stdout => builder.finish(std::io::BufWriter::with_capacity(1 << 16, std::io::stdout())),
        Target::Stderr => builder.finish(std::io::BufWriter::with_capacity(1 << 16, std::io::stderr())),
    };
    // poem announces its listener by itself; ours says more
    let filter = EnvFilter::new(format!("poem::server=warn,{}", settings.filter));
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
