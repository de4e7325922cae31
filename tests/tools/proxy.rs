//! That the network fails as it is told to.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::postgres::{Database, connect, server};
use crate::support::proxy::{Proxy, Target};

const SOON: Duration = Duration::from_secs(10);
const LONG_ENOUGH: Duration = Duration::from_millis(150);

/// A server that says back what it hears.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

async fn open(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.expect("the proxy listens")
}

/// Whether the stream says back what it is told.
async fn answers(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"ping").await?;
    let mut heard = [0; 4];
    let answer = timeout(SOON, stream.read_exact(&mut heard)).await;
    answer.map_err(|_| ErrorKind::TimedOut)??;
    assert_eq!(&heard, b"ping");
    Ok(())
}

#[tokio::test]
async fn forwards_also_the_end() {
    let proxy = Proxy::start(Target::Tcp(echo().await)).await;
    let mut stream = open(&proxy).await;
    answers(&mut stream).await.expect("an echo");
    stream.write_all(b"last").await.expect("sent");
    stream.shutdown().await.expect("closed for writing");
    let mut rest = String::new();
    let end = timeout(SOON, stream.read_to_string(&mut rest)).await;
    end.expect("heard of the end").expect("the end");
    assert_eq!(rest, "last");
}

#[tokio::test]
async fn cuts_what_is_open_and_serves_what_comes() {
    let proxy = Proxy::start(Target::Tcp(echo().await)).await;
    let mut old = open(&proxy).await;
    answers(&mut old).await.expect("an echo");
    proxy.cut_all();
    let end = timeout(SOON, old.read(&mut [0])).await.expect("heard of the cut");
    assert_eq!(end.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    answers(&mut open(&proxy).await).await.expect("an echo");
}

#[tokio::test]
async fn refuses_until_it_resumes() {
    let proxy = Proxy::start(Target::Tcp(echo().await)).await;
    let mut before = open(&proxy).await;
    answers(&mut before).await.expect("an echo");
    proxy.refuse(true);
    answers(&mut open(&proxy).await).await.expect_err("refused");
    answers(&mut before).await.expect("open connections stay");
    proxy.resume();
    answers(&mut open(&proxy).await).await.expect("an echo");
}

#[tokio::test]
async fn swallows_and_never_gives_back() {
    for one_way in [Proxy::blackhole, Proxy::blackhole_requests, Proxy::blackhole_replies] {
        let proxy = Proxy::start(Target::Tcp(echo().await)).await;
        let mut stream = open(&proxy).await;
        answers(&mut stream).await.expect("an echo");
        one_way(&proxy, true);
        timeout(LONG_ENOUGH, answers(&mut stream)).await.expect_err("swallowed");
        proxy.resume();
        timeout(LONG_ENOUGH, answers(&mut stream)).await.expect_err("a stream with a hole");
        answers(&mut open(&proxy).await).await.expect("an echo");
    }
}

#[tokio::test]
async fn delays_each_way() {
    let proxy = Proxy::start(Target::Tcp(echo().await)).await;
    proxy.delay(Duration::from_millis(50));
    let mut stream = open(&proxy).await;
    let begin = Instant::now();
    answers(&mut stream).await.expect("an echo");
    assert!(begin.elapsed() >= Duration::from_millis(100), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn stands_between_a_client_and_its_database() {
    let database = Database::empty().await;
    let proxy = Proxy::start(Target::Unix(server().socket())).await;
    let client = connect(&database.url_through(proxy.address())).await;
    client.simple_query("select 1").await.expect("an answer");
    proxy.cut_all();
    let error = timeout(SOON, client.simple_query("select 1")).await.expect("heard of the cut");
    assert!(error.expect_err("no answer").is_closed());
}
