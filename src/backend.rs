//! Where commands find jobs: in the database, or at an API, for somebody who cannot reach the database. One question, one answer of
//! the same type, wherever it comes from.

mod client;
mod enqueue;
mod events;
mod wake;

use anyhow::anyhow;
use jiff::Timestamp;
use longshore_common::{
    job::{AttemptView, Bulk, Call, Change, Effect, JobFilter, JobState, JobView, Rate, ScheduleName, cursor},
    key::Scope,
    program::VERSION,
    settings::api_url,
    store::{
        Store, StoreError,
        bulk::{Bulked, Rehearsed},
        control::ControlError,
        enqueue::Origin,
        explain::Explanation,
        failures::FailureGroup,
        notes::JobLogs,
        queues::QueueView,
        read::{Fields, JobPage},
        schedules::ScheduleView,
        stats::Stats,
        workers::WorkerView,
    },
};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use self::client::{CallError, Client, found};
pub use self::{
    enqueue::{Became, NotStored},
    events::{Events, Heard},
    wake::Waking,
};
use crate::{command, database, output::List};

const JSON: &str = "application/json";

const API_HELP: &str = "Ask the API at this URL, with the key in LONGSHORE_CLIENT__KEY, and not the database [default: LONGSHORE_CLIENT__URL, where it is set]";

/// Which backend a command was told to use.
#[derive(Debug, Default, clap::Args)]
pub struct Place {
    /// The URL of an API.
    #[arg(long, global = true, value_name = "URL", value_parser = api_url, help = API_HELP)]
    pub api: Option<String>,
}

/// Where jobs are found.
#[derive(Debug)]
pub enum Backend {
    /// In the database.
    Database(Store),
    /// At an API.
    Http(Client),
}

/// The body of an answer that is a list.
#[derive(Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

impl Place {
    /// Opens it: the API that was named, or is set, else the database.
    pub async fn open(&self) -> anyhow::Result<Backend> {
        let settings = command::settings()?;
        match self.api.as_ref().or(settings.client.url.as_ref()) {
            Some(url) => Ok(Backend::Http(Client::new(settings.client.clone(), url)?)),
            None => database::with_schema(database::from_settings(&settings)?).await.map(Backend::Database),
        }
    }
}

impl Backend {
    /// Where it is, for messages.
    pub fn shown(&self) -> String {
        match self {
            Self::Database(store) => format!("the database {}", store.shown()),
            Self::Http(client) => format!("the API at {}", client.url()),
        }
    }

    /// What answers there, with its version.
    pub async fn server(&self) -> anyhow::Result<(String, String)> {
        Ok(match self {
            Self::Database(store) => (format!("PostgreSQL {} at {}", store.server().await?.version, store.shown()), VERSION.to_owned()),
            Self::Http(client) => (format!("API at {}", client.url()), client.version().await?),
        })
    }

    /// Jobs by filter, newest first, below an id.
    pub async fn jobs(&self, filter: &JobFilter, fields: Fields, before: Option<i64>, limit: i64) -> anyhow::Result<JobPage> {
        let client = match self {
            Self::Database(store) => return Ok(store.list_jobs(filter, fields, before, limit).await?),
            Self::Http(client) => client,
        };
        let mut query = filter.pairs();
        let mut add = |field: &str, value: String| query.push((field.to_owned(), value));
        add("limit", limit.to_string());
        let large: Vec<&str> = [("args", fields.args), ("result", fields.result)].into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name).collect();
        if !large.is_empty() {
            add("fields", large.join(","));
        }
        if let Some(before) = before {
            add("cursor", cursor::encode(before.max(0)));
        }
        let List { items, next_cursor } = client.get(&["v1", "jobs"], &query).await?;
        let next =
            next_cursor.map(|text| cursor::decode(&text).ok_or_else(|| anyhow!("{} gives a cursor that this version does not know: {text}", self.shown())));
        Ok(JobPage { items, next: next.transpose()? })
    }

    /// One job with its attempts.
    pub async fn job(&self, id: i64) -> anyhow::Result<Option<(JobView, Vec<AttemptView>)>> {
        #[derive(Deserialize)]
        struct Past {
            history: Vec<AttemptView>,
        }
        Ok(match self {
            Self::Database(store) => store.job_with_history(id).await?,
            Self::Http(client) => {
                // read twice: what is kept as it came cannot be a part of something larger
                let answer: Option<Box<serde_json::value::RawValue>> = client.find("job", &["v1", "jobs", &id.to_string()], &[]).await?;
                answer.map(|text| Ok::<_, CallError>((client.read(text.get())?, client.read::<Past>(text.get())?.history))).transpose()?
            }
        })
    }

    /// What the handler of a job logged.
    pub async fn logs(&self, id: i64) -> anyhow::Result<Option<JobLogs>> {
        Ok(match self {
            Self::Database(store) => store.logs(id).await?,
            Self::Http(client) => client.find("job", &["v1", "jobs", &id.to_string(), "logs"], &[]).await?,
        })
    }

    /// Why a job is not running.
    pub async fn explain(&self, id: i64) -> anyhow::Result<Option<Explanation>> {
        Ok(match self {
            Self::Database(store) => store.explain(id, None).await?,
            Self::Http(client) => client.find("job", &["v1", "jobs", &id.to_string(), "explain"], &[]).await?,
        })
    }

    /// What failed, by group.
    pub async fn failures(&self, queues: &[String], kinds: &[String], limit: i64) -> anyhow::Result<Vec<FailureGroup>> {
        Ok(match self {
            Self::Database(store) => store.failures(queues, kinds, limit).await?,
            Self::Http(client) => {
                let filter = JobFilter { queues: queues.to_vec(), kinds: kinds.to_vec(), ..JobFilter::default() };
                let query = [filter.pairs(), vec![("limit".to_owned(), limit.to_string())]].concat();
                client.get::<Items<_>>(&["v1", "failures"], &query).await?.items
            }
        })
    }

    /// Does it to one job. What it says where it does not: in words, of which the job is named.
    pub async fn control(&self, call: Call, id: i64) -> anyhow::Result<Result<Effect, String>> {
        let client = match self {
            Self::Database(store) => {
                let done = match call {
                    Call::Cancel => store.cancel(id).await,
                    Call::Retry => store.retry(id).await,
                    Call::Delete => store.delete(id).await,
                    Call::Change => store.change(id, &Change::default()).await,
                };
                return match done {
                    Ok(effect) => Ok(Ok(effect)),
                    Err(ControlError::Store(error)) => Err(error.into()),
                    Err(refused) => Ok(Err(longshore_common::log::chain(&refused))),
                };
            }
            Self::Http(client) => client,
        };
        let number = id.to_string();
        let (method, path): (_, &[&str]) = match call {
            Call::Cancel => (Method::POST, &["v1", "jobs", &number, "cancel"]),
            Call::Retry => (Method::POST, &["v1", "jobs", &number, "retry"]),
            Call::Delete => (Method::DELETE, &["v1", "jobs", &number]),
            Call::Change => (Method::PATCH, &["v1", "jobs", &number]),
        };
        match client.act(method, path, Scope::Admin).await {
            Ok((status, _)) => Ok(Ok(match call {
                Call::Cancel if status == StatusCode::ACCEPTED => Effect::Asked,
                Call::Cancel => Effect::Becomes(JobState::Cancelled),
                Call::Retry => Effect::Becomes(JobState::Available),
                Call::Delete => Effect::Forgotten,
                Call::Change => Effect::Changed,
            })),
            Err(CallError::Refused(refusal)) if matches!(refusal.status, StatusCode::NOT_FOUND | StatusCode::CONFLICT) => {
                let said = refusal.problem.detail;
                Ok(Err(if said.starts_with("it is ") { format!("job {id}: {said}") } else { said }))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// One call of many jobs; `told` hears how many are done. Over HTTP each call with a rate begins anew, from now.
    pub async fn bulk(&self, bulk: &Bulk, told: impl FnMut(usize)) -> anyhow::Result<Bulked> {
        #[derive(Deserialize)]
        struct Done {
            count: usize,
            more: bool,
            last_run_at: Option<Timestamp>,
        }
        Ok(match self {
            Self::Database(store) => store.bulk(bulk, told).await?,
            Self::Http(client) => {
                let Done { count, more, last_run_at } = client.post(&["v1", "jobs", word(bulk.call)], JSON, body(bulk), Scope::Admin).await?;
                let mut told = told;
                told(count);
                Bulked { count, more, last_run_at, ..Bulked::default() }
            }
        })
    }

    /// What such a call would be for.
    pub async fn rehearse(&self, bulk: &Bulk) -> anyhow::Result<Rehearsed> {
        #[derive(Deserialize)]
        struct Found {
            count: usize,
            more: bool,
            items: Vec<JobView>,
        }
        Ok(match self {
            Self::Database(store) => store.rehearse(bulk).await?,
            Self::Http(client) => {
                let bulk = Bulk { dry_run: true, ..bulk.clone() };
                let Found { count, more, items } = client.post(&["v1", "jobs", word(bulk.call)], JSON, body(&bulk), Scope::Admin).await?;
                Rehearsed { count, more, items }
            }
        })
    }

    /// All queues.
    pub async fn queues(&self) -> anyhow::Result<Vec<QueueView>> {
        Ok(match self {
            Self::Database(store) => store.queues(None).await?,
            Self::Http(client) => client.get::<Items<_>>(&["v1", "queues"], &[]).await?.items,
        })
    }

    /// Pauses a queue, or lets it start jobs again; `None`: there is no such queue.
    pub async fn pause_queue(&self, name: &str, paused: bool) -> anyhow::Result<Option<QueueView>> {
        Ok(match self {
            Self::Database(store) => {
                if !store.pause_queue(name, paused).await? {
                    return Ok(None);
                }
                store.queues(Some(name)).await?.pop()
            }
            Self::Http(client) => {
                let path = ["v1", "queues", name, if paused { "pause" } else { "resume" }];
                let answer = client.act(Method::POST, &path, Scope::Admin).await;
                found("queue", answer)?.map(|(_, text)| client.read(&text)).transpose()?
            }
        })
    }

    /// All schedules.
    pub async fn schedules(&self) -> anyhow::Result<Vec<ScheduleView>> {
        Ok(match self {
            Self::Database(store) => store.schedules(None).await?,
            Self::Http(client) => client.get::<Items<_>>(&["v1", "schedules"], &[]).await?.items,
        })
    }

    /// When a schedule is due, so many times; `None`: there is no such schedule.
    pub async fn preview_schedule(&self, name: &str, n: u16) -> anyhow::Result<Option<Vec<Timestamp>>> {
        Ok(match self {
            Self::Database(store) => store.preview_schedule(name, n.into()).await?,
            Self::Http(client) => {
                let query = [("n".to_owned(), n.to_string())];
                client.find::<Items<_>>("schedule", &["v1", "schedules", name, "preview"], &query).await?.map(|times| times.items)
            }
        })
    }

    /// Enqueues the job of a schedule; `None`: there is no such schedule.
    pub async fn run_schedule(&self, name: &ScheduleName) -> anyhow::Result<Option<JobView>> {
        Ok(match self {
            Self::Database(store) => {
                let Some(enqueued) = store.run_schedule(name, &Origin::default()).await? else { return Ok(None) };
                store.job(enqueued.id()).await?
            }
            Self::Http(client) => {
                let answer = client.act(Method::POST, &["v1", "schedules", name, "run"], Scope::Enqueue).await;
                found("schedule", answer)?.map(|(_, text)| client.read(&text)).transpose()?
            }
        })
    }

    /// Deletes a schedule; false: there is none.
    pub async fn delete_schedule(&self, name: &str) -> anyhow::Result<bool> {
        Ok(match self {
            Self::Database(store) => store.delete_schedule(name).await?,
            Self::Http(client) => found("schedule", client.act(Method::DELETE, &["v1", "schedules", name], Scope::Admin).await)?.is_some(),
        })
    }

    /// The workers that are alive.
    pub async fn workers(&self) -> anyhow::Result<Vec<WorkerView>> {
        Ok(match self {
            Self::Database(store) => store.workers().await?,
            Self::Http(client) => client.get::<Items<_>>(&["v1", "workers"], &[]).await?.items,
        })
    }

    /// Counts, rates and latencies.
    pub async fn stats(&self) -> anyhow::Result<Stats> {
        Ok(match self {
            Self::Database(store) => store.stats().await?.of(|_| true),
            Self::Http(client) => client.get(&["v1", "stats"], &[]).await?,
        })
    }
}

/// Whether the database, or the API, is away, and may come back.
pub fn is_away(error: &anyhow::Error) -> bool {
    let away = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref().is_some_and(StoreError::is_unavailable) || cause.downcast_ref().is_some_and(CallError::is_away)
    };
    error.chain().any(away)
}

/// As the path has it.
fn word(call: Call) -> &'static str {
    match call {
        Call::Cancel => "cancel",
        Call::Retry => "retry",
        Call::Delete => "delete",
        Call::Change => "change",
    }
}

/// The body of a call of many jobs.
fn body(bulk: &Bulk) -> String {
    let Bulk { filter, rate, dry_run, .. } = bulk;
    let mut fields = serde_json::Map::new();
    for (field, value) in filter.pairs() {
        if JobFilter::repeats(&field) {
            if let Value::Array(values) = fields.entry(field).or_insert_with(|| json!([])) {
                values.push(json!(value));
            }
        } else {
            fields.insert(field, json!(value));
        }
    }
    let mut body = json!({"filter": fields, "all": filter.is_empty(), "dry_run": dry_run});
    if let Some(Rate { limit, per, .. }) = rate {
        body["rate"] = json!({"limit": limit, "per": per.as_secs_f64()});
    }
    body.to_string()
}
