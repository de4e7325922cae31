//! Accepts connections and serves poem's endpoint on them, with hyper.
//!
//! Not by `poem::Server`: it gives a client for ever to send its headers, spins where no more files may be opened, and
//! costs a tenth more a request (it looks for HTTP/2 and for upgrades, which nobody uses here).

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use poem::{
    Endpoint, Response,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// How long a client may take to send the head of a request, the idle time before it included. Longer than clients
/// usually keep idle connections, so that they close first and never send into a closing one.
const HEAD_TIMEOUT: Duration = Duration::from_mins(2);
/// How long not to accept after that failed: files are freed as others end.
const PAUSE: Duration = Duration::from_millis(50);

/// Listens on an address.
///
/// # Errors
/// Where somebody else does, or nobody may.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // accepted connections inherit it; without it small answers wait for the acknowledgement of the one before
    socket.set_nodelay(true)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop`, then accepts no more and gives requests under way `grace` to end. Idle connections are closed at
/// once.
pub async fn serve(listener: TcpListener, endpoint: impl Endpoint<Output = Response> + 'static, stop: &CancellationToken, grace: Duration) {
    let endpoint = Arc::new(endpoint);
    let local = listener.local_addr().map(|address| LocalAddr(address.into())).unwrap_or_default();
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let open = GracefulShutdown::new();
    let cut = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                let (endpoint, local, client) = (endpoint.clone(), local.clone(), RemoteAddr(client.into()));
                let service = service_fn(move |request: hyper::Request<Incoming>| {
                    let endpoint = endpoint.clone();
                    let request = (request, local.clone(), client.clone(), Scheme::HTTP).into();
                    async move { Ok::<_, Infallible>(hyper::Response::from(endpoint.get_response(request).await)) }
                });
                let connection = open.watch(server.serve_connection(TokioIo::new(stream), service));
                let cut = cut.clone();
                // how a connection ends is the client's affair
                tokio::spawn(async move { cut.run_until_cancelled(connection).await });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(grace, open.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and are cut off");
        cut.cancel();
    }
}
