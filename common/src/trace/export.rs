//! How spans leave: gathered for a moment and sent together, by a thread of their own. Whatever the collector does, nobody who
//! works waits for it: what does not fit into the queue, or cannot be sent, is dropped.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter},
};
use tracing::Subscriber;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    registry::LookupSpan,
};

use super::{TARGET, turn};
use crate::{
    log::chain,
    program::{VERSION, host},
    settings::{SettingError, TracesSettings},
};

/// How long the first of some spans waits for others.
const MOMENT: Duration = Duration::from_secs(1);
/// Spans that may wait.
const MOST: usize = 8192;
/// How long the collector may take for one call.
const ANSWER: Duration = Duration::from_secs(3);
/// How long a program that ends waits for its last spans to leave.
const LAST: Duration = Duration::from_secs(2);

/// Whose spans are not wanted, and whose lines of the log would only say again what the spans of ours say.
const LEFT_OUT: [&str; 16] = [
    "longshore::",
    "longshore_api",
    "longshore_common",
    "longshore_worker",
    "deadpool",
    "h2",
    "hyper",
    "mio",
    "opentelemetry",
    "poem",
    "refinery",
    "reqwest",
    "rustls",
    "tokio_postgres",
    "tokio_util",
    "tower",
];

/// Sends spans, as long as it is there; dropped, it sends the last ones.
#[derive(Debug)]
pub(crate) struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Where the settings name a collector. `service`: the program, as its spans call it.
    ///
    /// # Errors
    /// Where nothing can be sent to such an endpoint.
    pub(crate) fn start(settings: &TracesSettings, service: &str) -> Result<Option<Self>, SettingError> {
        let Some(endpoint) = &settings.endpoint else { return Ok(None) };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .with_timeout(ANSWER)
            .with_http_client(client().map_err(|error| unusable(&error))?)
            .build()
            .map_err(|error| unusable(&error))?;
        let told = Told { exporter, endpoint: shown(endpoint), lost: AtomicUsize::new(0) };
        let batches = BatchConfigBuilder::default().with_scheduled_delay(MOMENT).with_max_queue_size(MOST).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(told).with_batch_config(batches).build())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample))))
            .with_resource(resource(service))
            .build();
        Ok(Some(Self(provider)))
    }

    /// What makes spans of those of `tracing`: ours, and those of handlers.
    pub(crate) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        let wanted = LEFT_OUT.iter().fold(Targets::new().with_default(LevelFilter::INFO), |all, name| all.with_target(*name, LevelFilter::OFF));
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("longshore"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_error_events_to_status(false) // the outcome says whether an attempt failed
            .with_filter(wanted.with_target(TARGET, LevelFilter::INFO))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        turn(false);
        // that they could not be sent was told
        let _ = self.0.shutdown_with_timeout(LAST);
    }
}

/// The thread that sends has no runtime, so the client blocks it.
fn client() -> reqwest::Result<reqwest::blocking::Client> {
    // a second time changes nothing
    let _ = rustls::crypto::ring::default_provider().install_default();
    let build = || reqwest::blocking::Client::builder().timeout(ANSWER).no_proxy().redirect(reqwest::redirect::Policy::none());
    // without certificates of authorities: then an https collector is not trusted, which its first call tells
    build().build().or_else(|_| build().tls_certs_only([]).build())
}

fn unusable(error: &(dyn std::error::Error + 'static)) -> SettingError {
    SettingError(format!("LONGSHORE_TRACES__ENDPOINT: spans cannot be sent there: {}", chain(error)))
}

/// Who sends. `OTEL_RESOURCE_ATTRIBUTES` may add to it.
fn resource(service: &str) -> Resource {
    let instance = uuid::Uuid::new_v4().to_string();
    Resource::builder()
        .with_service_name(service.to_owned())
        .with_attributes([
            KeyValue::new("service.version", VERSION),
            KeyValue::new("service.instance.id", instance),
            KeyValue::new("host.name", host()),
            KeyValue::new("process.pid", i64::from(std::process::id())),
        ])
        .build()
}

/// Without what may be secret in it.
fn shown(endpoint: &str) -> String {
    url::Url::parse(endpoint).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

/// Says once that the collector is away, and once that it is back.
#[derive(Debug)]
struct Told {
    exporter: opentelemetry_otlp::SpanExporter,
    endpoint: String,
    /// Spans that could not be sent since it is away.
    lost: AtomicUsize,
}

impl SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        match &result {
            Ok(()) => match self.lost.swap(0, Ordering::Relaxed) {
                0 => {}
                lost => tracing::info!(collector = self.endpoint, lost, "the collector of traces takes spans again"),
            },
            Err(error) if self.lost.fetch_add(spans, Ordering::Relaxed) == 0 => tracing::warn!(
                collector = self.endpoint,
                error = chain(error),
                "the collector of traces does not take spans, which are dropped until it does; jobs go on. Start it, or see to it that \
                 LONGSHORE_TRACES__ENDPOINT is the base URL where it takes OTLP over HTTP (port 4318 of most)"
            ),
            Err(_) => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
