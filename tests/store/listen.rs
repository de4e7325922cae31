//! Telling, and hearing of it, by connections past the pool.

use std::time::Duration;

use longshore_common::{
    settings::DatabaseSettings,
    store::{
        Store,
        listen::{Channel, Waker},
    },
};
use tokio::net::{TcpListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::{
    fixture::{Fixture, settings},
    support::{eventually::eventually, postgres::server},
};

const SOON: Duration = Duration::from_secs(30);

/// A server, or a pooler, that takes a connection and says nothing holds up what comes after for seconds, not for ever.
#[tokio::test]
async fn a_server_that_accepts_and_is_silent_is_given_up() {
    let f = Fixture::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let through = f.database.url_through(listener.local_addr().expect("an address"));
    let direct = DatabaseSettings { direct_url: Some(through.into()), ..settings(f.database.url()) };
    let store = Store::new(&direct, "test", Duration::from_secs(10)).expect("the URL is fine");
    let stop = CancellationToken::new();
    let mut told = f.store.listen(Channel::Work, stop.clone());
    assert_eq!(told.recv().await, Some(None), "it listens");

    let waker = Waker::start(&store);
    waker.wake("lost");
    let mut heard = store.listen(Channel::Work, stop.clone());
    let silent = [listener.accept().await.expect("the waker's"), listener.accept().await.expect("the listener's")];
    let forwards = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = UnixStream::connect(server().socket()).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    eventually("it tells again", SOON, async || {
        waker.wake("told");
        match told.try_recv() {
            Ok(Some(queue)) if queue == "told" => Ok(()),
            other => Err(other),
        }
    })
    .await;
    eventually("it hears again", SOON, async || heard.try_recv()).await;
    stop.cancel();
    forwards.abort();
    drop(silent);
}
