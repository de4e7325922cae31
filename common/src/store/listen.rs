//! Telling, and hearing of it: who has enqueued or reported says so, after the commit and a few times a millisecond at most;
//! who waits hears it.
//!
//! A notification is a hint, never the only way to work: whoever misses one finds the work at the next poll.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::sync::CancellationToken;

use super::{Statement, Store, StoreError, statement};

const TELL: Statement = statement!("notify", "watch/tell.sql");
/// The first notification goes at once, the next ones this much later at the earliest: one transaction each, however
/// many jobs. In every enqueue's own transaction they would cost four fifths of its speed.
const DEBOUNCE: Duration = Duration::from_millis(5);
/// Ids in one notification: a payload has less than 8000 bytes.
const IDS: usize = 400;
/// Ids that wait to be told at most, while the database is slow to take them; who waits for the others finds them by polling.
const MAX_IDS: usize = 100_000;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// A queue got work; the payload is its name.
    Work,
    /// Jobs have ended; the payload is their ids, with commas between.
    Ended,
}

impl Channel {
    fn name(self) -> &'static str {
        match self {
            Self::Work => "longshore_wake",
            Self::Ended => "longshore_ended",
        }
    }
}

/// Tells sleeping workers that a queue got work, and those who wait for jobs that they have ended.
#[derive(Debug, Clone)]
pub struct Waker {
    /// Says that something is pending.
    came: mpsc::UnboundedSender<()>,
    pending: Arc<Mutex<Pending>>,
}

#[derive(Debug, Default)]
struct Pending {
    queues: BTreeSet<String>,
    ended: Vec<i64>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.ended.is_empty()
    }

    /// The notifications, as channels and payloads.
    fn take(&mut self) -> (Vec<&'static str>, Vec<String>) {
        let Self { queues, ended } = std::mem::take(self);
        let work = queues.into_iter().map(|queue| (Channel::Work.name(), queue));
        let ended = ended.chunks(IDS).map(|ids| (Channel::Ended.name(), ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",")));
        work.chain(ended).unzip()
    }
}

impl Waker {
    /// Starts the task that notifies; it ends when the waker and all its clones are dropped.
    pub fn start(store: &Store) -> Self {
        let (came, mut coming) = mpsc::unbounded_channel();
        let waker = Self { came, pending: Arc::default() };
        let (store, pending) = (store.clone(), waker.pending.clone());
        tokio::spawn(async move {
            let mut connection: Option<Client> = None;
            while coming.recv().await.is_some() {
                while coming.try_recv().is_ok() {}
                let (channels, payloads) = pending.lock().expect("no panic while held").take();
                if channels.is_empty() {
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
                    let sent = tokio::time::timeout(Duration::from_secs(5), client.query(TELL.text, &[&channels, &payloads])).await;
                    if !matches!(sent, Ok(Ok(_))) {
                        connection = None;
                    }
                }
                tokio::time::sleep(DEBOUNCE).await;
            }
        });
        waker
    }

    /// Notes that a queue has got work. Returns at once.
    pub fn wake(&self, queue: &str) {
        let mut pending = self.pending();
        if !pending.queues.contains(queue) {
            let first = pending.is_empty();
            pending.queues.insert(queue.to_owned());
            self.tell(first);
        }
    }

    /// Notes that jobs have ended or are forgotten, for those who wait for them. Returns at once.
    pub fn ended(&self, ids: impl IntoIterator<Item = i64>) {
        let mut pending = self.pending();
        let first = pending.is_empty();
        let room = MAX_IDS.saturating_sub(pending.ended.len());
        pending.ended.extend(ids.into_iter().take(room));
        self.tell(first && !pending.is_empty());
    }

    fn tell(&self, first: bool) {
        if first {
            let _ = self.came.send(()); // the task ends with the last waker, so it is there
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("no panic while held")
    }
}

/// Waits for a server that may take what it is sent, and say nothing.
async fn within<T>(time: Duration, what: &'static str, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(time, answer).await {
        Ok(answered) => answered.map_err(|error| StoreError::from_postgres(what, &error)),
        Err(_) => Err(StoreError::Unavailable { what, source: super::Away::silent(time) }),
    }
}

/// After so many failures in a row, within a few seconds, it is no passing trouble.
const FAILURES_TO_TELL: u32 = 4;

impl Store {
    /// Hears the payloads of a channel, until `stop` or until the receiver is dropped. Reconnects by itself; after each connect
    /// it says `None` once: something may have been missed, look.
    pub fn listen(&self, channel: Channel, stop: CancellationToken) -> mpsc::Receiver<Option<String>> {
        let (heard, receiver) = mpsc::channel(64);
        let store = self.clone();
        tokio::spawn(async move {
            let (mut wait, mut failures) = (Duration::from_millis(100), 0_u32);
            while !stop.is_cancelled() && !heard.is_closed() {
                let listened = tokio::select! {
                    () = stop.cancelled() => return,
                    listened = store.listen_once(channel, &heard, &mut wait, &mut failures) => listened,
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

    async fn listen_once(&self, channel: Channel, heard: &mpsc::Sender<Option<String>>, wait: &mut Duration, failures: &mut u32) -> Result<(), StoreError> {
        let (client, mut messages) = self.connect_directly().await?;
        // the messages must be read while the statement is under way
        let listen = format!("listen {}", channel.name());
        let listening = client.batch_execute(&listen);
        tokio::pin!(listening);
        let listening = async {
            loop {
                tokio::select! {
                    result = &mut listening => return result,
                    message = messages.next() => if message.is_none() { return Ok(()) },
                }
            }
        };
        within(self.0.timeout, "listen for notifications", listening).await?;
        if *failures >= FAILURES_TO_TELL {
            tracing::info!(database = self.0.direct.shown(), "listening for notifications again");
        }
        (*wait, *failures) = (Duration::from_millis(100), 0);
        if heard.send(None).await.is_err() {
            return Ok(());
        }
        loop {
            let message = tokio::select! {
                () = heard.closed() => return Ok(()),
                message = messages.next() => message,
            };
            match message {
                None => return Ok(()),
                Some(Ok(AsyncMessage::Notification(note))) if note.channel() == channel.name() => {
                    // a full channel means that whoever hears is awake anyway, or polls
                    let _ = heard.try_send(Some(note.payload().to_owned()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(StoreError::from_postgres("listen for notifications", &error)),
            }
        }
    }

    /// A connection of its own, past the pool and any pooler, with what the server sends unasked.
    pub(super) async fn connect_directly(
        &self,
    ) -> Result<(Client, impl futures_util::Stream<Item = Result<AsyncMessage, tokio_postgres::Error>> + Unpin + Send + use<>), StoreError> {
        let what = "connect";
        let tls = self.0.direct.tls().map_err(|error| StoreError::Unavailable { what, source: super::Away::new(super::Cause::Other, error.0) })?;
        let connected = within(self.0.direct.time_to_connect(), what, self.0.direct.config.connect(tls)).await;
        let (client, mut connection) = connected?;
        Ok((client, stream::poll_fn(move |context| connection.poll_message(context))))
    }
}
