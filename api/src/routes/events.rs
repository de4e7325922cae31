//! `/v1/events`: what happens, as it happens.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use longshore_common::{job::QueueName, key::Scope, store::events::EventFilter};
use poem::web::sse;
use poem_openapi::{OpenApi, param::Header, registry::MetaSchemaRef};

use crate::{
    auth::Access,
    feed::{Next, Reader},
    openapi::{self, Caller, EventStream, FromQuery, Listing, Query, Read, Refusal, each_parameter, header_fault},
    problem::ApiError,
    state::State,
};

/// How often to look whether the caller would still be let in.
const ADMITTED_EVERY: Duration = Duration::from_secs(2);
/// How long a stream is silent at most: a comment keeps those in between from taking it for gone.
const SILENT_FOR: Duration = Duration::from_secs(15);

/// The route of events.
#[derive(Debug)]
pub struct EventRoutes(pub Arc<State>);

#[OpenApi]
impl EventRoutes {
    /// Watch what happens
    ///
    /// Server-sent events: `job.enqueued`, `job.started`, `job.succeeded`, `job.failed`, `job.retryable`, `job.cancelled`,
    /// `job.progress`, `job.snoozed`, `job.handed_back`, `job.retried`, `job.changed`, `job.deleted`, `queue.paused`,
    /// `queue.resumed`, `queue.changed`, `queue.deleted`; `gap` where some were missed. A comment comes every 15 s. With a key that is limited to queues: the
    /// events of those. Scope: `read`.
    #[oai(path = "/v1/events", method = "get")]
    async fn watch(
        &self,
        caller: Caller<Read>,
        query: Query<EventFilter>,
        /// The `id` of the last event that was seen, up to five minutes ago; without it, what happens from now on.
        #[oai(name = "last-event-id")]
        last_event_id: Header<Option<String>>,
    ) -> Result<EventStream, Refusal<Listing>> {
        let state = self.0.clone();
        state.store()?;
        let mut filter = query.0;
        for queue in &filter.queues {
            caller.want_queue(queue, Scope::Read, || "/queue".to_owned())?;
        }
        if let (Some(reached), true) = (caller.queues(), filter.queues.is_empty()) {
            filter.queues = reached.iter().cloned().collect();
        }
        let none = caller.queues().is_some_and(<[String]>::is_empty);
        let after = last_event_id.0.as_deref().filter(|id| !id.is_empty()).map(position).transpose()?;
        let reader = state.feed.read(after).await?;
        let watcher = Watcher { access: (*caller).clone(), state, filter, none, reader, said_at: Instant::now() };
        let said = stream::unfold(watcher, async |mut watcher| Some((watcher.next().await?, watcher)));
        Ok(EventStream(said.boxed()))
    }
}

/// The `id` of an event.
fn position(id: &str) -> Result<i64, ApiError> {
    id.parse().ok().filter(|pos| *pos >= 0).ok_or_else(|| header_fault("Last-Event-ID", "must be the id of an event, a number"))
}

struct Watcher {
    access: Access,
    state: Arc<State>,
    filter: EventFilter,
    /// It may see the events of no queue.
    none: bool,
    reader: Reader,
    said_at: Instant,
}

impl Watcher {
    /// What it is to hear next. `None`: the end; it may come again, with the id of the last event.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.state.keys.still_admits(&self.access) {
                return None;
            }
            let silent_until = self.said_at + SILENT_FOR;
            let patience = ADMITTED_EVERY.min(silent_until.saturating_duration_since(Instant::now()));
            let mut said = String::new();
            match tokio::time::timeout(patience, self.reader.next(self.state.bare_store())).await {
                Ok(next) => next.ok()??.iter().for_each(|next| self.say(next, &mut said)),
                Err(_) if Instant::now() >= silent_until => said.push_str(":\n\n"),
                Err(_) => {}
            }
            if !said.is_empty() {
                self.said_at = Instant::now();
                return Some(said.into());
            }
        }
    }

    fn say(&self, next: &Next, said: &mut String) {
        match next {
            Next::Event(told) if self.none || !self.filter.wants(&told.event) => {}
            Next::Event(told) => said.push_str(&told.text),
            Next::Gap { missed, upto } => {
                let data = serde_json::json!({ "missed": missed }).to_string();
                said.push_str(&sse::Event::message(data).id(upto.to_string()).event_type("gap").to_string());
            }
        }
    }
}

impl FromQuery for EventFilter {
    fn parameters() -> MetaSchemaRef {
        openapi::event_query()
    }

    fn parse(query: &str) -> Result<Self, ApiError> {
        let mut filter = Self::default();
        let name = |value: &str| QueueName::new(value).map(String::from); // kinds are named by the same rule
        let take = |key: &str, value: &str| {
            match key {
                "queue" => filter.queues.insert(name(value)?),
                "kind" => filter.kinds.insert(name(value)?),
                "job_id" => filter.job_ids.insert(value.parse().map_err(|_| format!("must be the id of a job, is \"{value}\""))?),
                _ => return Err("is not known; there are queue, kind, job_id".to_owned()),
            };
            Ok(())
        };
        each_parameter(query, |_| true, take)?;
        Ok(filter)
    }
}
