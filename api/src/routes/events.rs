//! `/v1/events`: what happens, as it happens.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use longshore_common::{key::Scope, store::events::Event};
use poem::web::sse;
use poem_openapi::{OpenApi, param::Header};

use crate::{
    auth::Access,
    feed::{Next, Reader},
    openapi::{Caller, EventQuery, EventStream, Listing, Read, Refusal, header_fault},
    problem::ApiError,
    state::State,
};

/// How often to look whether the caller would still be let in.
const ADMITTED_EVERY: Duration = Duration::from_secs(2);

/// The route of events.
#[derive(Debug)]
pub struct EventRoutes(pub Arc<State>);

/// Which events are wanted; each that is not empty must hold.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// Of these queues.
    pub queues: BTreeSet<String>,
    /// Of jobs of these kinds.
    pub kinds: BTreeSet<String>,
    /// Of these jobs.
    pub job_ids: BTreeSet<i64>,
}

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
        query: EventQuery,
        /// The `id` of the last event that was seen, up to five minutes ago; without it, what happens from now on.
        #[oai(name = "last-event-id")]
        last_event_id: Header<Option<String>>,
    ) -> Result<EventStream, Refusal<Listing>> {
        let state = self.0.clone();
        state.store()?;
        let EventQuery(mut filter) = query;
        for queue in &filter.queues {
            caller.want_queue(queue, Scope::Read, || "/queue".to_owned())?;
        }
        if let (Some(reached), true) = (caller.queues(), filter.queues.is_empty()) {
            filter.queues = reached.iter().cloned().collect();
        }
        let none = caller.queues().is_some_and(<[String]>::is_empty);
        let after = last_event_id.0.as_deref().filter(|id| !id.is_empty()).map(position).transpose()?;
        let reader = state.feed.read(after).await?;
        let watcher = Watcher { access: (*caller).clone(), state, filter, none, reader };
        let events = stream::unfold(watcher, async |mut watcher| Some((stream::iter(watcher.next().await?), watcher)));
        Ok(EventStream(events.flatten().boxed()))
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
}

impl Watcher {
    /// What it is to see next. `None`: the end; it may come again, with the id of the last event.
    async fn next(&mut self) -> Option<Vec<sse::Event>> {
        loop {
            if !self.state.keys.still_admits(&self.access) {
                return None;
            }
            let Ok(next) = tokio::time::timeout(ADMITTED_EVERY, self.reader.next(self.state.bare_store())).await else { continue };
            let events: Vec<sse::Event> = next.ok()??.into_iter().filter_map(|next| self.shown(next)).collect();
            if !events.is_empty() {
                return Some(events);
            }
        }
    }

    fn shown(&self, next: Next) -> Option<sse::Event> {
        match next {
            Next::Event(event) if self.none || !self.filter.wants(&event) => None,
            Next::Event(event) => {
                let data = serde_json::to_string(&*event).ok()?;
                Some(sse::Event::message(data).id(event.pos.to_string()).event_type(&event.event))
            }
            Next::Gap { missed, upto } => {
                let data = serde_json::json!({ "missed": missed }).to_string();
                Some(sse::Event::message(data).id(upto.to_string()).event_type("gap"))
            }
        }
    }
}

impl EventFilter {
    fn wants(&self, event: &Event) -> bool {
        let one_of = |wanted: &BTreeSet<String>, value: &Option<String>| wanted.is_empty() || value.as_ref().is_some_and(|value| wanted.contains(value));
        one_of(&self.queues, &event.queue)
            && one_of(&self.kinds, &event.kind)
            && (self.job_ids.is_empty() || event.job_id.is_some_and(|id| self.job_ids.contains(&id)))
    }
}
