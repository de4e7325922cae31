//! The events that `GET /v1/events` sends. However many read, they cost the database one reader: this process reads each event
//! once and keeps the last ones in memory, where each reader has nothing but a place. A reader that is too slow for that is
//! told how many it has missed; it costs no memory.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use longshore_common::{
    json,
    store::{
        Store, StoreError,
        events::{Event, GAP},
    },
};
use poem::web::sse;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::problem::ApiError;

/// Readers at once.
const MAX_READERS: usize = 5000;
/// Events that are kept in memory.
const KEPT: usize = 10_000;
/// How often to look for new ones, give or take a quarter.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Events a statement at most.
const PAGE: i32 = 1000;
/// How often to say again that somebody reads; it holds for ten minutes.
const WATCH_EVERY: Duration = Duration::from_mins(2);
/// How long to go on when nobody reads any more: the next one probably comes soon.
const LINGER: Duration = Duration::from_mins(1);

/// The events of this process.
#[derive(Debug)]
pub struct Feed {
    kept: Mutex<Kept>,
    readers: AtomicUsize,
    /// Somebody begins to read.
    came: Notify,
    /// The number of the last event that is kept; `None`: nobody reads yet.
    last: watch::Sender<Option<i64>>,
    stop: CancellationToken,
}

/// The last events: every one after `before` is there.
#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<Told>>,
    before: i64,
}

/// One that reads, until it is dropped.
#[derive(Debug)]
pub struct Reader {
    feed: Arc<Feed>,
    /// The number of the last event that it has seen.
    seen: i64,
    /// It begins with events that may not be kept any more.
    replays: bool,
    /// It began after an event that nobody knows.
    lost: bool,
    last: watch::Receiver<Option<i64>>,
}

/// An event, and what is sent of it: put into words once, for all readers.
#[derive(Debug)]
pub struct Told {
    /// The event.
    pub event: Event,
    /// As a server-sent event.
    pub text: String,
}

impl Told {
    fn new(event: Event) -> Self {
        let data = serde_json::to_string(&event).expect("texts, numbers and JSON are JSON");
        let data = json::on_one_line(&data); // progress is told as it came
        let text = sse::Event::message(data).id(event.pos.to_string()).event_type(&event.event).to_string();
        Self { event, text }
    }
}

/// What comes next.
#[derive(Debug, Clone)]
pub enum Next {
    /// An event.
    Event(Arc<Told>),
    /// Some are missed; `upto` is the last of them.
    Gap {
        /// How many; `None`: it is not known.
        missed: Option<i64>,
        /// The number of the last one.
        upto: i64,
    },
}

impl Feed {
    /// Nobody reads yet. `stop` ends all readers.
    pub fn new(stop: CancellationToken) -> Self {
        Self { kept: Mutex::default(), readers: AtomicUsize::new(0), came: Notify::new(), last: watch::Sender::new(None), stop }
    }

    /// Begins to read: after an event, or with what happens from now on.
    ///
    /// # Errors
    /// [`ApiError::TooManyRead`].
    pub async fn read(self: &Arc<Self>, after: Option<i64>) -> Result<Reader, ApiError> {
        if self.readers.fetch_add(1, Ordering::Relaxed) >= MAX_READERS {
            self.readers.fetch_sub(1, Ordering::Relaxed);
            return Err(ApiError::TooManyRead);
        }
        let mut reader = Reader { feed: self.clone(), seen: i64::MAX, replays: after.is_some(), lost: false, last: self.last.subscribe() };
        self.came.notify_one();
        // from here on nothing is missed; the request's time limit ends the wait
        let last = reader.last.wait_for(Option::is_some).await.ok().and_then(|last| *last).unwrap_or_default();
        reader.seen = after.map_or(last, |after| after.min(last));
        reader.lost = after.is_some_and(|after| after > last);
        Ok(reader)
    }

    /// Reads events while somebody wants them, until `stop`.
    pub async fn keep_up(&self, store: &Store) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.came.notified() => {}
            }
            let mut read_since: Option<Instant> = None; // when it was said last that somebody reads
            let mut idle_since = Instant::now();
            while idle_since.elapsed() < LINGER {
                let looked = async {
                    if read_since.is_none_or(|since| since.elapsed() > WATCH_EVERY) {
                        store.watch_events().await?;
                        read_since = Some(Instant::now());
                    }
                    self.look(store).await
                };
                // that the database is away is said by the store
                if let Err(error) = looked.await
                    && !error.is_unavailable()
                {
                    tracing::error!(error = longshore_common::log::chain(&error), "reading events failed; it is tried again");
                }
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = tokio::time::sleep(LOOK_EVERY.mul_f64(0.75 + fastrand::f64() / 2.0)) => {}
                }
                if self.readers.load(Ordering::Relaxed) > 0 {
                    idle_since = Instant::now();
                }
            }
            // what happens now is not kept
            self.last.send_replace(None);
        }
    }

    /// Takes what has come.
    async fn look(&self, store: &Store) -> Result<(), StoreError> {
        while store.collect_events(PAGE).await? == PAGE {}
        if self.last.borrow().is_none() {
            let last = store.last_event().await?;
            *self.kept() = Kept { events: VecDeque::new(), before: last };
            self.last.send_replace(Some(last));
        }
        loop {
            let after = self.last.borrow().unwrap_or_default();
            let page = store.events_after(after, PAGE.into()).await?;
            let full = page.len() == usize::try_from(PAGE).unwrap_or_default();
            if let Some(last) = page.last().map(|event| event.pos) {
                self.keep(after, page);
                self.last.send_replace(Some(last));
            }
            if !full {
                return Ok(());
            }
        }
    }

    fn keep(&self, after: i64, page: Vec<Event>) {
        let mut kept = self.kept();
        if page.first().is_some_and(|first| first.pos != after + 1) {
            // some have been forgotten before they were read, by a crash of the database perhaps
            *kept = Kept { events: VecDeque::new(), before: page[0].pos - 1 };
        }
        for event in page {
            if kept.events.len() == KEPT
                && let Some(oldest) = kept.events.pop_front()
            {
                kept.before = oldest.event.pos;
            }
            kept.events.push_back(Arc::new(Told::new(event)));
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no panic while held")
    }
}

impl Kept {
    /// At most `n` events after one; `None`: not all of them are kept.
    fn after(&self, pos: i64, n: usize) -> Option<Vec<Arc<Told>>> {
        let start = self.events.partition_point(|told| told.event.pos <= pos);
        (pos >= self.before).then(|| self.events.range(start..).take(n).cloned().collect())
    }
}

impl Reader {
    /// What comes next, a few hundred at most; waits until there is something. `None`: the server stops, or has not read for a
    /// while because nobody did.
    ///
    /// # Errors
    /// Where the database is away, for one that asks for events that are not in memory any more.
    pub async fn next(&mut self, store: &Store) -> Result<Option<Vec<Next>>, StoreError> {
        const AT_ONCE: usize = 256;
        if std::mem::take(&mut self.lost) {
            return Ok(Some(vec![Next::Gap { missed: None, upto: self.seen }]));
        }
        loop {
            self.last.borrow_and_update();
            let (kept, before) = {
                let kept = self.feed.kept();
                (kept.after(self.seen, AT_ONCE), kept.before)
            };
            let next = match kept {
                Some(events) => {
                    self.replays = false;
                    events
                }
                None if self.replays => {
                    store.events_after(self.seen, AT_ONCE.try_into().unwrap_or_default()).await?.into_iter().map(Told::new).map(Arc::new).collect()
                }
                None => Vec::new(),
            };
            if !next.is_empty() {
                return Ok(Some(self.take(next)));
            }
            if self.seen < before {
                let missed = before - self.seen;
                (self.seen, self.replays) = (before, false);
                return Ok(Some(vec![Next::Gap { missed: Some(missed), upto: before }]));
            }
            tokio::select! {
                () = self.feed.stop.cancelled() => return Ok(None),
                changed = self.last.changed() => if changed.is_err() { return Ok(None) },
            }
        }
    }

    fn take(&mut self, events: Vec<Arc<Told>>) -> Vec<Next> {
        let mut next = Vec::with_capacity(events.len());
        for told in events {
            let pos = told.event.pos;
            if pos > self.seen + 1 {
                next.push(Next::Gap { missed: Some(pos - self.seen - 1), upto: pos - 1 });
            }
            self.seen = pos;
            next.push(if told.event.event == GAP { Next::Gap { missed: None, upto: pos } } else { Next::Event(told) });
        }
        next
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.feed.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use longshore_common::settings::Settings;

    use super::*;

    fn events(positions: std::ops::RangeInclusive<i64>) -> Vec<Event> {
        let event = |pos| Event {
            pos,
            event: "job.started".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            job_id: Some(pos),
            kind: None,
            queue: None,
            attempt: None,
            progress: None,
            error: None,
        };
        positions.map(event).collect()
    }

    /// One that is never asked.
    fn store() -> Store {
        let url = ("LONGSHORE_DATABASE__URL".to_owned(), "postgres://nobody@127.0.0.1:1/nothing".to_owned());
        let settings = Settings::from_environment([url].into()).expect("fine");
        Store::new(&settings.database, "test", Duration::from_secs(1)).expect("connects later")
    }

    async fn next(reader: &mut Reader) -> Vec<Next> {
        reader.next(&store()).await.expect("no database is asked").expect("it goes on")
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed_and_costs_no_memory() {
        let feed = Arc::new(Feed::new(CancellationToken::new()));
        feed.last.send_replace(Some(0));
        let (mut slow, mut quick) = (feed.read(None).await.expect("few read"), feed.read(None).await.expect("few read"));
        let kept = i64::try_from(KEPT).expect("few");
        feed.keep(0, events(1..=10));
        assert_eq!(next(&mut quick).await.len(), 10);
        feed.keep(10, events(11..=kept + 25));
        assert_eq!(feed.kept().events.len(), KEPT);
        let gap = next(&mut slow).await;
        assert!(matches!(gap[..], [Next::Gap { missed: Some(25), upto: 25 }]), "{gap:?}");
        assert!(matches!(next(&mut quick).await[..], [Next::Gap { missed: Some(15), upto: 25 }]), "ten were seen");
        for reader in [&mut slow, &mut quick] {
            let mut seen = 25;
            while seen < kept + 25 {
                for next in next(reader).await {
                    assert!(matches!(next, Next::Event(told) if told.event.pos == seen + 1));
                    seen += 1;
                }
            }
        }
        // events that were forgotten before this process read them
        feed.keep(kept + 25, events(kept + 30..=kept + 31));
        let gap = next(&mut slow).await;
        assert!(matches!(gap[..], [Next::Gap { missed: Some(4), .. }]), "{gap:?}");
        assert_eq!(next(&mut slow).await.len(), 2);
        drop((slow, quick));
        assert_eq!(feed.readers.load(Ordering::Relaxed), 0);
    }
}
