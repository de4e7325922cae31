//! What the worker answers over HTTP, where `LONGSHORE_WORKER__LISTEN` says so: is it up, can it work, what does it count.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use longshore_common::{metrics, store::Store};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::metrics::WorkerMetrics;

/// How long the database may take to answer before it counts as away: probes want to know soon.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 64;
/// How long not to accept after that failed: files are freed as others end.
const PAUSE: Duration = Duration::from_millis(50);

/// What answers.
#[derive(Debug)]
pub(crate) struct Probe {
    pub store: Store,
    pub metrics: WorkerMetrics,
}

impl Probe {
    /// Answers until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let (probe, places) = (Arc::new(self), Arc::new(Semaphore::new(CONNECTIONS)));
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let probe = probe.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let probe = probe.clone();
                async move { Ok::<_, Infallible>(probe.answer(&request).await) }
            });
            let connection = server.serve_connection(TokioIo::new(stream), service);
            let stop = stop.clone();
            tokio::spawn(async move {
                let _ = stop.run_until_cancelled(connection).await; // how it ends is the client's affair
                drop(place);
            });
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if !matches!(path, "/livez" | "/readyz" | "/metrics") {
            return text(StatusCode::NOT_FOUND, "not found; here are /livez, /readyz and /metrics\n".to_owned());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".to_owned());
            refused.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/metrics" => typed(StatusCode::OK, metrics::MEDIA_TYPE, self.metrics.text(&self.store)),
            "/readyz" if !self.is_ready().await => text(StatusCode::SERVICE_UNAVAILABLE, "unavailable: the database is away; the log says why\n".to_owned()),
            _ => text(StatusCode::OK, "ok\n".to_owned()),
        }
    }

    async fn is_ready(&self) -> bool {
        matches!(tokio::time::timeout(PATIENCE, self.store.ping()).await, Ok(Ok(())))
    }
}

/// Listens, and says where.
///
/// # Errors
/// Where somebody else listens there, or nobody may.
pub(crate) async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(addr = %listener.local_addr()?, answers = "/livez, /readyz, /metrics", "listening");
    Ok(listener)
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(status: StatusCode, media_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(media_type));
    response
}
