//! What happens, as it happens: from the API's stream, or from the database in the way in which an API reads it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use longshore_common::store::{
    Store,
    events::{Event, EventFilter, GAP},
};
use reqwest::Response;
use serde::Deserialize;

use super::{Backend, Client, client::CallError};

/// How often to look for new ones in the database.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Events a statement at most.
const PAGE: i32 = 1000;
/// How often to say again that somebody reads; it holds for ten minutes.
const WATCH_EVERY: Duration = Duration::from_mins(2);

/// What is heard.
#[derive(Debug, Clone)]
pub enum Heard {
    /// Something has happened.
    Event(Box<Event>),
    /// Some events were missed: so many, where that is known.
    Gap(Option<i64>),
}

/// Reads events. After an error it may be asked again, and goes on where it was.
pub struct Events<'a> {
    backend: &'a Backend,
    filter: EventFilter,
    /// The last event that was seen.
    last: Option<i64>,
    /// It has read before: what happens while it does not is missed.
    began: bool,
    reading: Option<Reading>,
}

/// An open way to the next ones.
enum Reading {
    Database { watched: Instant },
    Http { stream: Response, read: Vec<u8>, come: VecDeque<Heard> },
}

impl<'a> Events<'a> {
    /// Those that meet the filter, from now on.
    pub fn of(backend: &'a Backend, filter: EventFilter) -> Self {
        Self { backend, filter, last: None, began: false, reading: None }
    }

    /// Begins to read, and says what was missed until then; nothing that happens after that is. `None`: it reads already.
    pub async fn begin(&mut self) -> anyhow::Result<Option<Vec<Heard>>> {
        if self.reading.is_some() {
            return Ok(None);
        }
        let mut missed = Vec::new();
        match self.backend {
            Backend::Database(store) => {
                look(store, true).await?;
                let newest = store.last_event().await?;
                if self.last.is_some_and(|last| last > newest) {
                    // the database has lost its events
                    self.last = Some(newest);
                    missed.push(Heard::Gap(None));
                }
                self.last = self.last.or(Some(newest));
                self.reading = Some(Reading::Database { watched: Instant::now() });
            }
            Backend::Http(client) => {
                let stream = client.stream(&["v1", "events"], &query(&self.filter), self.last).await?;
                if self.began && self.last.is_none() {
                    missed.push(Heard::Gap(None));
                }
                self.reading = Some(Reading::Http { stream, read: Vec::new(), come: VecDeque::new() });
            }
        }
        self.began = true;
        Ok(Some(missed))
    }

    /// What comes next.
    pub async fn next(&mut self) -> anyhow::Result<Vec<Heard>> {
        if let Some(missed) = self.begin().await? {
            return Ok(missed);
        }
        let heard = match (self.backend, &mut self.reading) {
            (Backend::Database(store), Some(Reading::Database { watched })) => from_database(store, watched, &self.filter, &mut self.last).await,
            (Backend::Http(client), Some(Reading::Http { stream, read, come })) => from_stream(client, stream, read, come, &mut self.last).await,
            _ => Ok(Vec::new()),
        };
        if heard.is_err() {
            self.reading = None;
        }
        heard
    }
}

/// Numbers what is committed; `watch`: says first that somebody reads.
async fn look(store: &Store, watch: bool) -> anyhow::Result<()> {
    if watch {
        store.watch_events().await?;
    }
    while store.collect_events(PAGE).await? == PAGE {}
    Ok(())
}

async fn from_database(store: &Store, watched: &mut Instant, filter: &EventFilter, last: &mut Option<i64>) -> anyhow::Result<Vec<Heard>> {
    loop {
        let again = watched.elapsed() > WATCH_EVERY;
        look(store, again).await?;
        if again {
            *watched = Instant::now();
        }
        let mut heard = Vec::new();
        for event in store.events_after(last.unwrap_or_default(), PAGE.into()).await? {
            let seen = last.replace(event.pos).unwrap_or_default();
            if event.pos > seen + 1 {
                heard.push(Heard::Gap(Some(event.pos - seen - 1)));
            }
            if event.event == GAP {
                heard.push(Heard::Gap(None));
            } else if filter.wants(&event) {
                heard.push(Heard::Event(event.into()));
            }
        }
        if !heard.is_empty() {
            return Ok(heard);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn from_stream(
    client: &Client,
    stream: &mut Response,
    read: &mut Vec<u8>,
    come: &mut VecDeque<Heard>,
    last: &mut Option<i64>,
) -> anyhow::Result<Vec<Heard>> {
    while come.is_empty() {
        let Some(part) = client.part(stream).await? else {
            return Err(client.broken("it has ended the stream of events").into());
        };
        read.extend(part);
        while let Some(end) = read.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = read.drain(..end + 2).collect();
            if let Some((id, heard)) = told(client, &String::from_utf8_lossy(&block))? {
                *last = id.or(*last);
                come.push_back(heard);
            }
        }
    }
    Ok(come.drain(..).collect())
}

/// Reads one block of a stream; `None`: a comment, which keeps it alive.
fn told(client: &Client, block: &str) -> Result<Option<(Option<i64>, Heard)>, CallError> {
    #[derive(Deserialize)]
    struct Missed {
        missed: Option<i64>,
    }
    let lines = |name: &'static str| block.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim_start));
    // what has several lines is one text
    let data = lines("data").collect::<Vec<_>>().join("\n");
    let (Some(event), false) = (lines("event").next(), data.is_empty()) else { return Ok(None) };
    let id = lines("id").next().and_then(|id| id.parse().ok());
    let heard = if event == GAP { Heard::Gap(client.read::<Missed>(&data)?.missed) } else { Heard::Event(client.read(&data)?) };
    Ok(Some((id, heard)))
}

fn query(filter: &EventFilter) -> Vec<(String, String)> {
    let names = |field: &str, values: &std::collections::BTreeSet<String>| values.iter().map(|value| (field.to_owned(), value.clone())).collect::<Vec<_>>();
    let ids = filter.job_ids.iter().map(|id| ("job_id".to_owned(), id.to_string())).collect();
    [names("queue", &filter.queues), names("kind", &filter.kinds), ids].concat()
}
