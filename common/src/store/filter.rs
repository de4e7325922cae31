//! The one statement whose text depends on its input: jobs by filter. Its WHERE is put together from constant fragments, since
//! `$n is null or …` would defeat the index under a generic plan.
//!
//! A driver gives ids by the narrowest index that the filter has; the other conditions are tested on each of its rows, in the
//! view. A row comparison instead of an equality keeps the planner on the index that is meant: with `lane = $n` it would walk
//! the primary key for a rare kind.

use tokio_postgres::{Row, types::ToSql};

use super::{Store, StoreError, read::COLUMNS};
use crate::job::{Call, JobFilter, JobState};

type Param = Box<dyn ToSql + Sync + Send>;

/// A statement that was put together, with its parameters.
pub(super) struct Selection {
    text: String,
    params: Vec<Param>,
}

/// Jobs as lists show them, newest first, with ids below `before`.
pub(super) fn list(filter: &JobFilter, before: i64, limit: i64) -> Selection {
    let mut parts = Parts::of(filter, &filter.states, before, limit);
    let driver = parts.narrow().or_else(|| parts.one_place()).unwrap_or_else(|| parts.all_there_were());
    let conditions = parts.conditions();
    let text = format!(
        "-- jobs/list\nselect v.* from ({driver}) d cross join lateral (select {COLUMNS} from longshore.jobs v where v.id = d.id offset 0) v \
         where {conditions} limit $2"
    );
    Selection { text, params: parts.params }
}

/// The jobs that a call of many would change, in any order: their ids, queues, and the time. Left out is what such a call looks
/// past, so that who repeats it comes to an end: jobs that run and were asked for already, and those whose unique key is held.
pub(super) fn candidates(filter: &JobFilter, states: &[JobState], call: Call, limit: i64) -> Selection {
    let mut parts = Parts::of(filter, states, i64::MAX, limit);
    // what waits is found where it stands, past any number of finished jobs
    let driver = parts.narrow().or_else(|| parts.places()).unwrap_or_else(|| parts.all_there_were());
    let conditions = parts.conditions();
    let untouched = match call {
        Call::Cancel => " and (v.state <> 'running' or v.cancel_requested_at is null)",
        Call::Retry => {
            " and (v.unique_key is null or v.finished_at is null or longshore.key_holder(v.id, v.kind, v.unique_key, \
             (select i.unique_while from longshore.job_data i where i.id = v.id)) is null)"
        }
        Call::Delete | Call::Change => "",
    };
    let text = format!(
        "-- jobs/candidates\nselect v.id, v.queue, now() from ({driver}) d cross join lateral (select {COLUMNS} from longshore.jobs v where v.id = d.id offset 0) v \
         where {conditions}{untouched} and $1::bigint > 0 limit $2"
    );
    Selection { text, params: parts.params }
}

impl Store {
    /// Runs a statement that was put together.
    pub(super) async fn select(&self, what: &'static str, selection: &Selection) -> Result<Vec<Row>, StoreError> {
        let params: Vec<&(dyn ToSql + Sync)> = selection.params.iter().map(|param| &**param as &(dyn ToSql + Sync)).collect();
        self.bounded(what, async {
            let failed = |error: tokio_postgres::Error| StoreError::from_postgres(what, &error);
            let connection = self.connection(what).await?;
            let rows = async {
                let prepared = connection.prepare_cached(&selection.text).await.map_err(failed)?;
                connection.query(&prepared, &params).await.map_err(failed)
            };
            let rows = rows.await;
            connection.settle(rows)
        })
        .await
    }
}

/// The fragments; $1 and $2 are what every statement has.
struct Parts<'a> {
    filter: &'a JobFilter,
    states: &'a [JobState],
    params: Vec<Param>,
}

impl<'a> Parts<'a> {
    fn of(filter: &'a JobFilter, states: &'a [JobState], before: i64, limit: i64) -> Self {
        Self { filter, states, params: vec![Box::new(before), Box::new(limit)] }
    }

    fn param(&mut self, value: impl ToSql + Sync + Send + 'static) -> usize {
        self.params.push(Box::new(value));
        self.params.len()
    }

    /// Newest first, below $1: by what few jobs share.
    fn narrow(&mut self) -> Option<String> {
        let filter = self.filter;
        if let Some(fingerprint) = filter.fingerprint {
            let (n, of) = (self.param(fingerprint.0), self.lanes());
            Some(format!(
                "select x.id from longshore.lanes l join longshore.queues q using (queue) cross join lateral
                   (select i.id from longshore.finished i where i.lane = l.lane and i.fingerprint = ${n} and i.id < $1
                    union all
                    select i.id from longshore.scheduled i where i.lane = l.lane and i.fingerprint = ${n} and i.id < $1) x
                  where {of} order by x.id desc"
            ))
        } else if let Some(label) = filter.labels.first() {
            let n = self.param(label.clone());
            Some(format!("select id from longshore.labels where label = ${n} and id < $1 order by label desc, id desc"))
        } else if let Some(key) = &filter.unique_key {
            let n = self.param(key.clone());
            Some(format!("select id from longshore.job_data where unique_key = ${n} and id < $1 order by unique_key desc, id desc"))
        } else if let Some(key) = &filter.concurrency_key {
            let n = self.param(key.clone());
            Some(format!("select id from longshore.job_data where concurrency_key = ${n} and id < $1 order by concurrency_key desc, id desc"))
        } else {
            None
        }
    }

    /// Newest first, below $1: a single place that is in the order of ids.
    fn one_place(&self) -> Option<String> {
        match *self.states {
            [state @ (JobState::Failed | JobState::Cancelled)] => Some(format!(
                "select id from longshore.finished where state <> 'succeeded' and state = '{}' and id < $1 order by state desc, id desc",
                state.word()
            )),
            [JobState::Running] => Some("select id from longshore.running where id < $1 order by id desc".to_owned()),
            [JobState::Succeeded] if self.filter.queues.is_empty() && self.filter.kinds.is_empty() => {
                Some("select id from longshore.finished where state = 'succeeded' and id < $1 order by id desc".to_owned())
            }
            _ => None,
        }
    }

    /// In any order: the places of the states, unless that would be all of the many that succeeded.
    fn places(&mut self) -> Option<String> {
        let timed = self.filter.finished_after.is_some() || self.filter.finished_before.is_some();
        if self.states.contains(&JobState::Succeeded) && !timed {
            return None;
        }
        // nothing leads to blocked yet, and only what is finished has a time of that
        let states: Vec<JobState> = self.states.iter().copied().filter(|state| *state != JobState::Blocked && (!timed || state.is_finished())).collect();
        if states.is_empty() {
            return Some("select id from longshore.ready where false".to_owned());
        }
        let mut of = String::new();
        if !self.filter.queues.is_empty() || !self.filter.kinds.is_empty() {
            of = format!(" and lane = any(array(select l.lane from longshore.lanes l join longshore.queues q using (queue) where {}))", self.lanes());
        }
        let mut finished = String::new();
        for (condition, time) in [(" and finished_at >=", self.filter.finished_after), (" and finished_at <", self.filter.finished_before)] {
            if let Some(time) = time {
                finished += &format!("{condition} ${}", self.param(time));
            }
        }
        let place = |state: JobState| match state {
            JobState::Available => "ready where true".to_owned(),
            JobState::Scheduled => "scheduled where attempt = 0".to_owned(),
            JobState::Retryable => "scheduled where attempt > 0".to_owned(),
            JobState::Running => "running where true".to_owned(),
            JobState::Succeeded => format!("finished where state = 'succeeded'{finished}"),
            JobState::Failed | JobState::Cancelled => format!("finished where state <> 'succeeded' and state = '{}'{finished}", state.word()),
            JobState::Blocked => "ready where false".to_owned(),
        };
        let places: Vec<String> = states.into_iter().map(|state| format!("select id from longshore.{}{of}", place(state))).collect();
        Some(places.join(" union all "))
    }

    /// Newest first, below $1: all jobs, or those of some lanes.
    fn all_there_were(&mut self) -> String {
        if self.filter.queues.is_empty() && self.filter.kinds.is_empty() {
            return "select id from longshore.job_data where id < $1 order by id desc".to_owned();
        }
        let of = self.lanes();
        format!(
            "select x.id from longshore.lanes l join longshore.queues q using (queue) cross join lateral
               (select i.id from longshore.job_data i where i.lane >= l.lane and (i.lane, i.id) < (l.lane, $1) order by i.lane desc, i.id desc) x
              where {of} order by x.id desc"
        )
    }

    /// Which lanes: a condition on lanes `l` and queues `q`.
    fn lanes(&mut self) -> String {
        let mut of = Vec::new();
        if !self.filter.queues.is_empty() {
            of.push(format!("q.name = any(${})", self.param(self.filter.queues.clone())));
        }
        if !self.filter.kinds.is_empty() {
            of.push(format!("l.kind = any(${})", self.param(self.filter.kinds.clone())));
        }
        if of.is_empty() { "true".to_owned() } else { of.join(" and ") }
    }

    /// What must hold of a row `v` of the view, whatever drove to it.
    fn conditions(&mut self) -> String {
        let filter = self.filter;
        let mut conditions = vec!["true".to_owned()];
        if !self.states.is_empty() {
            let words: Vec<String> = self.states.iter().map(|state| state.word().to_owned()).collect();
            conditions.push(format!("v.state = any(${})", self.param(words)));
        }
        if !filter.queues.is_empty() {
            conditions.push(format!("v.queue = any(${})", self.param(filter.queues.clone())));
        }
        if !filter.kinds.is_empty() {
            conditions.push(format!("v.kind = any(${})", self.param(filter.kinds.clone())));
        }
        for label in &filter.labels {
            conditions.push(format!("exists (select from longshore.labels b where b.label = ${} and b.id = v.id)", self.param(label.clone())));
        }
        for (column, key) in [("unique_key", &filter.unique_key), ("concurrency_key", &filter.concurrency_key)] {
            if let Some(key) = key {
                conditions.push(format!("v.{column} = ${}", self.param(key.clone())));
            }
        }
        for (condition, time) in [
            ("v.created_at >=", filter.created_after),
            ("v.created_at <", filter.created_before),
            ("v.finished_at >=", filter.finished_after),
            ("v.finished_at <", filter.finished_before),
        ] {
            if let Some(time) = time {
                conditions.push(format!("{condition} ${}", self.param(time)));
            }
        }
        conditions.join(" and ")
    }
}
