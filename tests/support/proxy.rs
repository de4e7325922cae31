//! A network that fails on demand, between a program and its database.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// What the proxy forwards to.
#[derive(Debug, Clone)]
pub enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// The way that bytes go.
#[derive(Debug, Clone, Copy)]
enum Way {
    ToServer,
    ToClient,
}

#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    /// Connections from before the last cut are closed.
    cuts: u64,
    swallow_to_server: bool,
    swallow_to_client: bool,
    refuse: bool,
    delay: Duration,
}

impl Faults {
    fn swallows(&self, way: Way) -> bool {
        match way {
            Way::ToServer => self.swallow_to_server,
            Way::ToClient => self.swallow_to_client,
        }
    }
}

/// A proxy that runs until it is dropped, which cuts what goes through it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    faults: watch::Sender<Faults>,
    listening: AbortHandle,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start(target: Target) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("the address of a bound listener");
        let (faults, seen) = watch::channel(Faults::default());
        let listening = tokio::spawn(listen(listener, target, seen)).abort_handle();
        Self { address, faults, listening }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets every connection that is open now; new ones are served.
    pub fn cut_all(&self) {
        self.faults.send_modify(|faults| faults.cuts += 1);
    }

    /// Accepts connections and bytes but forwards nothing, not even that a side has closed: a pulled cable.
    ///
    /// A connection that has lost bytes loses all that follow, also after [`Proxy::resume`], until it is cut.
    pub fn blackhole(&self, on: bool) {
        self.blackhole_requests(on);
        self.blackhole_replies(on);
    }

    /// As [`Proxy::blackhole`], from the client to the server only.
    pub fn blackhole_requests(&self, on: bool) {
        self.faults.send_modify(|faults| faults.swallow_to_server = on);
    }

    /// As [`Proxy::blackhole`], from the server to the client only: the server acts, and nobody hears of it.
    pub fn blackhole_replies(&self, on: bool) {
        self.faults.send_modify(|faults| faults.swallow_to_client = on);
    }

    /// Resets new connections at once; those that are open stay.
    pub fn refuse(&self, on: bool) {
        self.faults.send_modify(|faults| faults.refuse = on);
    }

    /// Holds back whatever is read, each way, for this long before it goes on.
    pub fn delay(&self, delay: Duration) {
        self.faults.send_modify(|faults| faults.delay = delay);
    }

    /// Ends all faults; cut connections stay cut.
    pub fn resume(&self) {
        self.faults.send_modify(|faults| *faults = Faults { cuts: faults.cuts, ..Faults::default() });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut_all();
    }
}

async fn listen(listener: TcpListener, target: Target, faults: watch::Receiver<Faults>) {
    while let Ok((client, _)) = listener.accept().await {
        if faults.borrow().refuse {
            let _ = client.set_zero_linger();
            continue;
        }
        tokio::spawn(serve(client, target.clone(), faults.clone()));
    }
}

async fn serve(client: TcpStream, target: Target, faults: watch::Receiver<Faults>) -> io::Result<()> {
    // Small messages go back and forth; waiting to fill a packet would look like a slow server.
    client.set_nodelay(true)?;
    match target {
        Target::Tcp(address) => {
            let server = TcpStream::connect(address).await?;
            server.set_nodelay(true)?;
            forward(client, server, faults).await
        }
        Target::Unix(path) => forward(client, UnixStream::connect(path).await?, faults).await,
    }
}

async fn forward<S>(mut client: TcpStream, mut server: S, faults: watch::Receiver<Faults>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut cut = faults.clone();
    let before = cut.borrow().cuts;
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = tokio::io::split(&mut server);
        let both = async { tokio::try_join!(pump(from_client, to_server, Way::ToServer, &faults), pump(from_server, to_client, Way::ToClient, &faults),) };
        tokio::select! {
            ended = both => return ended.map(|_| ()),
            _ = cut.wait_for(|faults| faults.cuts > before) => {}
        }
    }
    client.set_zero_linger()
}

/// Forwards one way until the side that is read closes; a black hole never ends.
async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, way: Way, faults: &watch::Receiver<Faults>) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut lost = false;
    loop {
        let length = from.read(&mut buffer).await?;
        let Faults { delay, .. } = *faults.borrow();
        if !delay.is_zero() {
            sleep(delay).await;
        }
        lost |= faults.borrow().swallows(way);
        match (lost, length) {
            (true, 0) => std::future::pending().await,
            (true, _) => {}
            (false, 0) => return to.shutdown().await,
            (false, _) => to.write_all(&buffer[..length]).await?,
        }
    }
}
