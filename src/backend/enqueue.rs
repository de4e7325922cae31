//! Enqueuing: one job, or many of a file.

use std::collections::BTreeSet;

use anyhow::anyhow;
use jiff::Timestamp;
use longshore_common::{
    job::NewJob,
    key::Scope,
    store::{
        StoreError,
        enqueue::{Enqueued, Origin},
    },
};
use serde::Deserialize;

use super::{Backend, JSON, client::CallError, wake};

const NDJSON: &str = "application/x-ndjson";

/// What became of a job that was to be enqueued.
#[derive(Debug, Clone, Copy)]
pub enum Became {
    /// It is new.
    New {
        /// Its id.
        id: i64,
        /// When it is due, where that is later.
        due: Option<Timestamp>,
    },
    /// Another one holds its unique key.
    Standing {
        /// That one's id.
        id: i64,
        /// Whether it was replaced.
        replaced: bool,
    },
}

/// What became of a batch of jobs, all of which are stored.
#[derive(Debug, Deserialize)]
pub struct Batch {
    /// In their order.
    pub ids: Vec<i64>,
    /// Which of them stood already.
    pub duplicates: Vec<usize>,
}

/// Why a batch was not stored.
#[derive(Debug)]
pub enum NotStored {
    /// Because of one of its jobs.
    One(usize, anyhow::Error),
    /// Because of all, or something else.
    All(anyhow::Error),
    /// It may be stored: no answer came.
    Unknown(anyhow::Error),
}

impl Backend {
    /// Enqueues one job, which was read from this text.
    pub async fn enqueue(&self, job: &NewJob, text: String) -> anyhow::Result<Became> {
        #[derive(Deserialize)]
        struct Answer {
            id: i64,
            run_at: Timestamp,
            created_at: Timestamp,
            duplicate: Option<bool>,
            replaced: Option<bool>,
        }
        let due = |run_at, created_at| Some(run_at).filter(|run_at| *run_at > created_at);
        Ok(match self {
            Self::Database(store) => match store.enqueue(std::slice::from_ref(job), &Origin::default()).await?[..] {
                [Enqueued::New { id, run_at, created_at, .. }] => Became::New { id, due: due(run_at, created_at) },
                [Enqueued::Duplicate { id, replaced }] => Became::Standing { id, replaced },
                _ => return Err(anyhow!("the database told nothing of the job")),
            },
            Self::Http(client) => {
                let Answer { id, run_at, created_at, duplicate, replaced } = client.post_once(&["v1", "jobs"], JSON, text, Scope::Enqueue).await?;
                match duplicate {
                    Some(true) => Became::Standing { id, replaced: replaced.unwrap_or(false) },
                    _ => Became::New { id, due: due(run_at, created_at) },
                }
            }
        })
    }

    /// Enqueues many jobs, all or none, each with the text, a line, that it was read from.
    pub async fn enqueue_batch(&self, jobs: &[NewJob], lines: &[String]) -> Result<Batch, NotStored> {
        match self {
            Self::Database(store) => match store.enqueue(jobs, &Origin::default()).await {
                Ok(enqueued) => {
                    let duplicates = enqueued.iter().enumerate().filter(|(_, job)| matches!(job, Enqueued::Duplicate { .. })).map(|(index, _)| index);
                    Ok(Batch { ids: enqueued.iter().map(Enqueued::id).collect(), duplicates: duplicates.collect() })
                }
                Err(StoreError::KeyHeld { index, key, standing }) => Err(NotStored::One(index, StoreError::KeyHeld { index, key, standing }.into())),
                Err(away) if away.is_unavailable() => Err(NotStored::Unknown(away.into())),
                Err(error) => Err(NotStored::All(error.into())),
            },
            Self::Http(client) => match client.post_once(&["v1", "jobs", "batch"], NDJSON, lines.join("\n"), Scope::Enqueue).await {
                Ok(batch) => Ok(batch),
                Err(error) if error.may_be_done() => Err(NotStored::Unknown(error.into())),
                Err(CallError::Refused(refusal)) => {
                    let of = refusal.problem.errors.first().and_then(|fault| fault.pointer.strip_prefix("/jobs/")?.split('/').next()?.parse().ok());
                    let error = anyhow::Error::from(CallError::Refused(refusal));
                    Err(match of {
                        Some(index) => NotStored::One(index, error),
                        None => NotStored::All(error),
                    })
                }
                Err(error) => Err(NotStored::All(error.into())),
            },
        }
    }

    /// Wakes the workers of these queues, where nobody else does.
    pub async fn wake(&self, queues: &BTreeSet<String>) {
        if let Self::Database(store) = self {
            wake::wake(store, queues).await;
        }
    }
}
