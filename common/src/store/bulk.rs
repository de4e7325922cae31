//! Calls of many jobs by filter: which they are, and what is done to them in batches, each a transaction of its own, so that
//! nothing is locked for long and work goes on between.

use std::{collections::BTreeSet, time::Instant};

use jiff::Timestamp;

use super::{
    Statement, Store, StoreError,
    control::{CANCEL, DELETE, RETRY},
    filter,
    read::{Fields, view},
    statement,
};
use crate::job::{Bulk, Call, JobState, JobView, bulk::MAX_JOBS};

const SOME: Statement = statement!("read some jobs", "jobs/some.sql");
/// Jobs a transaction.
const BATCH: usize = 500;
/// Share of the time that a statement may take after which no further batch begins: the last one has the rest.
const TO_BEGIN: f64 = 0.75;
/// Jobs that a dry run shows.
const EXAMPLES: usize = 5;

/// What came of a call of many jobs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bulked {
    /// So many were changed.
    pub count: usize,
    /// Whether there are more, so that it should be called again.
    pub more: bool,
    /// Of a retry with a rate: when the last one is due.
    pub last_run_at: Option<Timestamp>,
    /// The queues that got work.
    pub queues: BTreeSet<String>,
    /// The jobs that have ended or are forgotten by it.
    pub ended: Vec<i64>,
}

/// What would come of it.
#[derive(Debug, Clone)]
pub struct Rehearsed {
    /// So many would be changed.
    pub count: usize,
    /// Whether there are more than one call takes.
    pub more: bool,
    /// Five of them.
    pub items: Vec<JobView>,
}

/// A job that a call is for.
struct Candidate {
    id: i64,
    queue: String,
}

impl Store {
    /// Does what is asked to at most [`MAX_JOBS`] jobs; `told` hears how many it has been so far. A job that has moved
    /// meanwhile, so that the call does not go with its state any more, is left as it is and not counted.
    ///
    /// # Errors
    /// Where the database is away; some batches may have been done then.
    pub async fn bulk(&self, bulk: &Bulk, mut told: impl FnMut(usize)) -> Result<Bulked, StoreError> {
        let began = Instant::now();
        let mut done = Bulked::default();
        let (candidates, more, now) = self.candidates(bulk).await?;
        done.more = more;
        let first = bulk.rate.and_then(|rate| rate.from).unwrap_or(now);
        let due = |index: usize| bulk.rate.and_then(|rate| first.checked_add(rate.after(index)).ok());
        for (number, batch) in candidates.chunks(BATCH).enumerate() {
            // the first is always done: who repeats the call would else get nowhere
            if number > 0 && began.elapsed() > self.0.timeout.mul_f64(TO_BEGIN) {
                done.more = true;
                break;
            }
            let ids: Vec<i64> = batch.iter().map(|candidate| candidate.id).collect();
            let run_ats: Vec<Timestamp> = (0..ids.len()).filter_map(|offset| due(number * BATCH + offset)).collect();
            let rows = match bulk.call {
                Call::Cancel => self.again(CANCEL, &[&ids]).await,
                Call::Retry => self.again(RETRY, &[&ids, &run_ats]).await,
                Call::Delete => self.again(DELETE, &[&ids]).await,
                Call::Change => Ok(Vec::new()), // of many, there is none
            };
            let rows = match rows {
                // what was done is told; who repeats the call is told of the lock
                Err(error) if number > 0 && error.is_locked() => {
                    done.more = true;
                    break;
                }
                rows => rows?,
            };
            for row in rows {
                let (id, met): (i64, Option<&str>) = (row.get(0), row.get(1));
                let goes = met.and_then(JobState::from_word).is_some_and(|state| state.on(bulk.call).is_ok());
                // its key is held; it runs, and was asked for by somebody else meanwhile
                if goes && row.get::<_, Option<i64>>(2).is_none() && !row.get::<_, bool>(3) {
                    let offset = ids.partition_point(|other| *other < id);
                    done.count += 1;
                    done.last_run_at = run_ats.get(offset).copied().max(done.last_run_at);
                    done.queues.insert(batch[offset].queue.clone());
                    if bulk.call != Call::Retry && met != Some(JobState::Running.word()) {
                        done.ended.push(id);
                    }
                }
            }
            told(done.count);
        }
        Ok(done)
    }

    /// Which jobs it would be, without changing anything.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn rehearse(&self, bulk: &Bulk) -> Result<Rehearsed, StoreError> {
        let (candidates, more, _) = self.candidates(bulk).await?;
        let ids: Vec<i64> = candidates.iter().rev().take(EXAMPLES).map(|candidate| candidate.id).collect();
        let rows = self.query(SOME, &[&ids]).await?;
        let items = rows.iter().map(|row| view(row, Fields::default())).collect::<Result<_, _>>()?;
        Ok(Rehearsed { count: candidates.len(), more, items })
    }

    /// The jobs that a call is for, by id, as many as one takes; whether there are more; and the database's time.
    async fn candidates(&self, bulk: &Bulk) -> Result<(Vec<Candidate>, bool, Timestamp), StoreError> {
        let states = bulk.states();
        let limit = i64::try_from(MAX_JOBS).unwrap_or(i64::MAX) + 1;
        let rows = if bulk.filter.of_none || states.is_empty() {
            Vec::new()
        } else {
            self.select("look for jobs", &filter::candidates(&bulk.filter, &states, bulk.call, limit)).await?
        };
        let now = rows.first().map_or(Timestamp::UNIX_EPOCH, |row| row.get(2));
        let mut candidates: Vec<Candidate> = rows.iter().map(|row| Candidate { id: row.get(0), queue: row.get(1) }).collect();
        let more = candidates.len() > MAX_JOBS;
        candidates.truncate(MAX_JOBS);
        candidates.sort_unstable_by_key(|candidate| candidate.id);
        Ok((candidates, more, now))
    }
}
