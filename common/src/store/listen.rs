//! Waking: who has enqueued says so, after the commit and a few times a millisecond at most; who sleeps hears it.
//!
//! A notification is a hint, never the only way to work: whoever misses one finds the work at the next poll.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::sync::CancellationToken;

use super::{Store, StoreError};

/// The channel. Payload: the name of a queue that got work.
const CHANNEL: &str = "longshore_wake";
/// The first notification goes at once, the next ones this much later at the earliest: one transaction each, however
/// many jobs. In every enqueue's own transaction they would cost four fifths of its speed.
const DEBOUNCE: Duration = Duration::from_millis(5);

/// Tells sleeping workers that a queue got work.
#[derive(Debug, Clone)]
pub struct Waker {
    queues: mpsc::UnboundedSender<String>,
    last: std::sync::Arc<std::sync::Mutex<BTreeSet<String>>>,
}

impl Waker {
    /// Starts the task that notifies; it ends when the waker and all its clones are dropped.
    pub fn start(store: &Store) -> Self {
        let (queues, mut names) = mpsc::unbounded_channel::<String>();
        let pending = std::sync::Arc::<std::sync::Mutex<BTreeSet<String>>>::default();
        let (store, taken) = (store.clone(), pending.clone());
        tokio::spawn(async move {
            let mut connection: Option<Client> = None;
            while names.recv().await.is_some() {
                while names.try_recv().is_ok() {}
                let woken: Vec<String> = std::mem::take(&mut *taken.lock().expect("no panic while held")).into_iter().collect();
                if woken.is_empty() {
                    continue;
                }
                // A lost notification costs a poll interval, so one that cannot be sent is dropped.
                if connection.as_ref().is_none_or(Client::is_closed) {
                    connection = store.connect_directly().await.ok().map(|(client, messages)| {
                        tokio::spawn(async move { messages.for_each(|_| async {}).await });
                        client
                    });
                }
                if let Some(client) = &connection {
                    let sent = tokio::time::timeout(
                        Duration::from_secs(5),
                        client.query("select pg_notify('longshore_wake', q) from unnest($1::text[]) q", &[&woken]),
                    )
                    .await;
                    if !matches!(sent, Ok(Ok(_))) {
                        connection = None;
                    }
                }
                tokio::time::sleep(DEBOUNCE).await;
            }
        });
        Self { queues, last: pending }
    }

    /// Notes that a queue has got work. Returns at once.
    pub fn wake(&self, queue: &str) {
        let mut pending = self.last.lock().expect("no panic while held");
        if pending.is_empty() || !pending.contains(queue) {
            let first = pending.is_empty();
            pending.insert(queue.to_owned());
            if first {
                let _ = self.queues.send(String::new()); // the task ends with the last waker, so it is there
            }
        }
    }
}

/// After so many failures in a row, within a few seconds, it is no passing trouble.
const FAILURES_TO_TELL: u32 = 4;

impl Store {
    /// Hears which queues get work, until `stop`. Reconnects by itself; after each connect it says `None` once: something
    /// may have been missed, look.
    pub fn listen(&self, stop: CancellationToken) -> mpsc::Receiver<Option<String>> {
        let (heard, receiver) = mpsc::channel(64);
        let store = self.clone();
        tokio::spawn(async move {
            let (mut wait, mut failures) = (Duration::from_millis(100), 0_u32);
            while !stop.is_cancelled() && !heard.is_closed() {
                let listened = tokio::select! {
                    () = stop.cancelled() => return,
                    listened = store.listen_once(&heard, &mut wait, &mut failures) => listened,
                };
                if let Err(error) = listened {
                    let error = crate::log::chain(&error);
                    tracing::debug!(error, "not listening for notifications; polling until this is mended");
                    // while the database is away that is no news; while it is there, the way for LISTEN is another one
                    failures = if store.0.health.is_away() { 0 } else { failures.saturating_add(1) };
                    if failures == FAILURES_TO_TELL {
                        tracing::warn!(
                            database = store.0.direct.shown(),
                            error,
                            help = "is LONGSHORE_DATABASE__DIRECT_URL right?",
                            "cannot listen for notifications though the database is there; work is found by polling, a little later"
                        );
                    }
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(wait.mul_f64(0.75 + fastrand::f64() / 2.0)) => wait = (wait * 2).min(Duration::from_secs(5)),
                }
            }
        });
        receiver
    }

    async fn listen_once(&self, heard: &mpsc::Sender<Option<String>>, wait: &mut Duration, failures: &mut u32) -> Result<(), StoreError> {
        let (client, mut messages) = self.connect_directly().await?;
        // the messages must be read while the statement is under way
        let listening = client.batch_execute("listen longshore_wake");
        tokio::pin!(listening);
        loop {
            tokio::select! {
                result = &mut listening => {
                    result.map_err(|error| StoreError::from_postgres("listen for notifications", &error))?;
                    break;
                }
                message = messages.next() => if message.is_none() { break },
            }
        }
        if *failures >= FAILURES_TO_TELL {
            tracing::info!(database = self.0.direct.shown(), "listening for notifications again");
        }
        (*wait, *failures) = (Duration::from_millis(100), 0);
        if heard.send(None).await.is_err() {
            return Ok(());
        }
        while let Some(message) = messages.next().await {
            match message {
                Ok(AsyncMessage::Notification(note)) if note.channel() == CHANNEL => {
                    // a full channel means that the worker is awake anyway
                    let _ = heard.try_send(Some(note.payload().to_owned()));
                }
                Ok(_) => {}
                Err(error) => return Err(StoreError::from_postgres("listen for notifications", &error)),
            }
        }
        Ok(())
    }

    /// A connection of its own, past the pool and any pooler, with what the server sends unasked.
    pub(super) async fn connect_directly(
        &self,
    ) -> Result<(Client, impl futures_util::Stream<Item = Result<AsyncMessage, tokio_postgres::Error>> + Unpin + Send + use<>), StoreError> {
        let what = "connect";
        let tls = self.0.direct.tls().map_err(|error| StoreError::Unavailable { what, source: super::Away::new(super::Cause::Other, error.0) })?;
        let (client, mut connection) = self.0.direct.config.connect(tls).await.map_err(|error| StoreError::from_postgres(what, &error))?;
        Ok((client, stream::poll_fn(move |context| connection.poll_message(context))))
    }
}
