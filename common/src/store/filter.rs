//! The one statement whose text depends on its input: jobs by filter. Its WHERE is put together from constant fragments, since
//! `$n is null or …` would defeat the index under a generic plan.
//!
//! A driver gives ids by the narrowest index that the filter has; the other conditions are tested on each of its rows, in the
//! view. A row comparison instead of an equality keeps the planner on the index that is meant: with `lane = $n` it would walk
//! the primary key for a rare kind.
//!
//! A list is walked in steps, each over a window: so many of a driver's newest ids. Each lane and state is an index range of its
//! own, of which no more than a window is read.

use std::time::Instant;

use tokio_postgres::{Row, types::ToSql};

use super::{Away, Store, StoreError, read::COLUMNS};
use crate::job::{Call, JobFilter, JobState};

/// Share of a statement's time that a search for jobs has.
const TO_SEARCH: f64 = 0.8;

/// Prepared statements that a connection may have before one more text that was put together. Preparing takes ten times as long as
/// running a short list, so they are kept; each costs the server some 50 KB, so not all that there ever were.
const MOST_KEPT: usize = 200;

type Param = Box<dyn ToSql + Sync + Send>;

/// A statement that was put together, with its parameters.
pub(super) struct Selection {
    text: String,
    params: Vec<Param>,
}

/// Where a list has come to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Below this id.
    pub before: i64,
    /// Above this one, where it may end early.
    pub after: i64,
    /// Ids that are looked at.
    pub window: i64,
    /// Jobs at most.
    pub limit: i64,
}

/// One step of a list, newest first: jobs as lists show them. Each row begins with the lowest id that was looked at, and how
/// many were; where no job was met, it is one row that says no more than that.
///
/// `ended`: what finished in the filter's times is so little that it is read by that.
pub(super) fn list(filter: &JobFilter, step: Step, ended: bool) -> Selection {
    let states = filter.possible_states();
    let mut parts = Parts::of(filter, &states, step.before, step.window);
    let driver = parts.narrow().or_else(|| ended.then(|| parts.ended())).unwrap_or_else(|| parts.newest(step.after));
    let (ended_at, conditions) = (parts.times(), parts.conditions());
    // before all that the view looks at, it is one probe
    let probe = if ended_at.is_empty() {
        String::new()
    } else {
        format!("cross join lateral (select from longshore.finished i where i.id = d.id{ended_at} offset 0) t")
    };
    let limit = parts.param(step.limit);
    let text = format!(
        "-- jobs/list\nwith d as materialized ({driver} limit $2)
         select w.reached, w.seen, v.* from (select coalesce(min(id), 0) as reached, count(*) as seen from d) w
         left join (select v.* from d {probe} cross join lateral (select {COLUMNS} from longshore.jobs v where v.id = d.id and {conditions} offset 0) v
                     limit ${limit}) v on true"
    );
    Selection { text, params: parts.params }
}

/// How many jobs finished within the filter's times, counted to `most`.
pub(super) fn ended(filter: &JobFilter, most: i64) -> Selection {
    let states = filter.possible_states();
    let mut parts = Parts::of(filter, &states, i64::MAX, most);
    let text = format!("-- jobs/ended\nselect count(*) from (select id from ({}) x where id < $1 limit $2) e", parts.range());
    Selection { text, params: parts.params }
}

/// The jobs that a call of many would change, in any order: their ids, queues, and the time. Left out is what such a call looks
/// past, so that who repeats it comes to an end: jobs that run and were asked for already, and those whose unique key is held.
pub(super) fn candidates(filter: &JobFilter, states: &[JobState], call: Call, limit: i64) -> Selection {
    let mut parts = Parts::of(filter, states, i64::MAX, limit);
    // what waits is found where it stands, past any number of finished jobs
    let driver = parts.narrow().or_else(|| parts.places()).unwrap_or_else(|| parts.all_there_were(0, ""));
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
    /// Runs a statement that was put together. Where it takes too long, the rest of the time is for finding out whether that is the
    /// database's fault or the filter's.
    pub(super) async fn select(&self, what: &'static str, selection: &Selection) -> Result<Vec<Row>, StoreError> {
        let began = Instant::now();
        if let Ok(result) = tokio::time::timeout(self.0.timeout.mul_f64(TO_SEARCH), self.run(what, selection)).await {
            return result;
        }
        match tokio::time::timeout(self.0.timeout.mul_f64(1.0 - TO_SEARCH), self.ping()).await {
            Ok(Ok(())) => Err(StoreError::TooWide { what }),
            _ => self.saw(began, Err(StoreError::Unavailable { what, source: Away::silent(self.0.timeout) })),
        }
    }

    async fn run(&self, what: &'static str, selection: &Selection) -> Result<Vec<Row>, StoreError> {
        let params: Vec<&(dyn ToSql + Sync)> = selection.params.iter().map(|param| &**param as &(dyn ToSql + Sync)).collect();
        self.bounded(what, async {
            let failed = |error: tokio_postgres::Error| StoreError::from_postgres(what, &error);
            let connection = self.connection(what).await?;
            let rows = async {
                // texts are as many as filters: who keeps too many forgets them all
                if connection.statement_cache.size() >= MOST_KEPT {
                    connection.statement_cache.clear();
                }
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
            let asked_for = |state| self.states.is_empty() || self.states.contains(&state);
            let places = [(JobState::Failed, "finished"), (JobState::Retryable, "scheduled")].into_iter().filter(|(state, _)| asked_for(*state));
            let places: Vec<String> =
                places.map(|(_, place)| format!("select i.id from longshore.{place} i where i.lane = l.lane and i.fingerprint = ${n} and i.id < $1")).collect();
            let places = if places.is_empty() { format!("select $1::bigint as id where ${n}::bigint is null") } else { places.join(" union all ") };
            Some(format!(
                "select x.id from longshore.lanes l join longshore.queues q using (queue) cross join lateral ({places}) x where {of} order by x.id desc"
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
        } else if let Some(workflow) = filter.workflow_id {
            let n = self.param(workflow);
            Some(format!("select id from longshore.job_data where workflow_id = ${n} and id < $1 order by workflow_id desc, id desc"))
        } else if let Some(schedule) = &filter.schedule {
            let n = self.param(schedule.clone());
            Some(format!("select id from longshore.job_data where schedule = ${n} and id < $1 order by schedule desc, id desc"))
        } else {
            None
        }
    }

    /// Newest first, below $1, a window of $2: by place, or of all jobs where that would lead to most of them.
    fn newest(&mut self, after: i64) -> String {
        let some_lanes = self.some_lanes();
        if self.states.is_empty() || some_lanes && self.states.contains(&JobState::Succeeded) {
            return self.all_there_were(after, "limit $2");
        }
        let places: Vec<String> = self.states.iter().map(|state| self.newest_of(*state)).collect();
        format!("select id from ({}) x order by id desc", places.join(" union all "))
    }

    /// Newest first, below $1, a window of $2: of one place. No place is in the order of ids but those of what runs or has
    /// finished: an index for what waits would cost each enqueue and each claim more than a look at all of it costs a list.
    fn newest_of(&mut self, state: JobState) -> String {
        let place = match state {
            JobState::Available => return format!("{} union all {}", self.newest_ready(), self.newest_in("held where true")),
            JobState::Scheduled => "scheduled where attempt = 0",
            JobState::Retryable => "scheduled where attempt > 0",
            JobState::Running => "running where true",
            JobState::Succeeded => "finished where state = 'succeeded'",
            JobState::Failed | JobState::Cancelled => return self.unhappy(state),
            JobState::Blocked => "blocked where true",
        };
        self.newest_in(place)
    }

    /// Newest first, below $1, a window of $2: of the rows of a place.
    fn newest_in(&mut self, place: &str) -> String {
        format!("(select id from longshore.{place} and id < $1{} order by id desc limit $2)", self.in_lanes())
    }

    /// Newest first, below $1, a window of $2: available ones. The last of each lane tell an id that the window does not go below,
    /// so that hardly anything of the rest has to be sorted.
    fn newest_ready(&mut self) -> String {
        let (of, in_lanes) = (self.lanes(), self.in_lanes());
        format!(
            "(select id from longshore.ready where id < $1{in_lanes} and id >= coalesce((select min(f.id) from
               (select x.id from longshore.lanes l join longshore.queues q using (queue) cross join lateral
                  (select i.id from longshore.ready i where i.lane = l.lane
                    order by i.lane desc, i.priority desc, i.run_at desc, i.id desc limit $2::bigint + 1000) x
                 where {of} and x.id < $1 order by x.id desc limit $2) f having count(*) = $2), 0)
               order by id desc limit $2)"
        )
    }

    /// Newest first, below $1, a window of $2: failed or cancelled ones.
    fn unhappy(&mut self, state: JobState) -> String {
        let (of, word) = (self.lanes(), state.word());
        format!(
            "(select x.id from longshore.lanes l join longshore.queues q using (queue) cross join lateral
               (select i.id from longshore.finished i where i.state = '{word}' and i.lane >= l.lane and (i.lane, i.id) < (l.lane, $1)
                 order by i.lane desc, i.id desc limit $2) x
               where {of} order by x.id desc limit $2)"
        )
    }

    /// Newest first, below $1: what finished within the filter's times.
    fn ended(&mut self) -> String {
        format!("select id from ({}) x where id < $1 order by id desc", self.range())
    }

    /// In any order: what finished within the filter's times.
    fn range(&mut self) -> String {
        let of = self.lanes();
        let words: Vec<String> = self.states.iter().map(|state| format!("('{}'::longshore.job_state)", state.word())).collect();
        let times = self.times();
        format!(
            "select x.id from longshore.lanes l join longshore.queues q using (queue) cross join (values {}) s(state) cross join lateral
               (select i.id from longshore.finished i where i.lane = l.lane and i.state = s.state{times} offset 0) x where {of}",
            words.join(", ")
        )
    }

    /// A further condition on the time at which a row `i` of finished ended; nothing where none is asked for.
    fn times(&mut self) -> String {
        let mut times = String::new();
        for (condition, time) in [(" and i.finished_at >=", self.filter.finished_after), (" and i.finished_at <", self.filter.finished_before)] {
            if let Some(time) = time {
                times += &format!("{condition} ${}", self.param(time));
            }
        }
        times
    }

    /// In any order: the places of the states, unless that would be all of the many that succeeded.
    fn places(&mut self) -> Option<String> {
        let timed = self.filter.is_timed();
        if self.states.contains(&JobState::Succeeded) && !timed {
            return None;
        }
        // only what is finished has a time of that
        let states: Vec<JobState> = self.states.iter().copied().filter(|state| !timed || state.is_finished()).collect();
        if states.is_empty() {
            return Some("select id from longshore.ready where false".to_owned());
        }
        let of = self.in_lanes();
        let finished = self.times();
        let place = |state: JobState| match state {
            JobState::Available => format!("ready where true{of} union all select id from longshore.held where true"),
            JobState::Scheduled => "scheduled where attempt = 0".to_owned(),
            JobState::Retryable => "scheduled where attempt > 0".to_owned(),
            JobState::Running => "running where true".to_owned(),
            JobState::Succeeded | JobState::Failed | JobState::Cancelled => format!("finished i where state = '{}'{finished}", state.word()),
            JobState::Blocked => "blocked where true".to_owned(),
        };
        let places: Vec<String> = states.into_iter().map(|state| format!("select id from longshore.{}{of}", place(state))).collect();
        Some(places.join(" union all "))
    }

    /// Newest first, below $1: all jobs, or those of some lanes, of each `most`. Of all jobs, only those above `after` that were
    /// enqueued in the filter's times: to look at it here costs a fraction of what the view does.
    fn all_there_were(&mut self, after: i64, most: &str) -> String {
        if self.some_lanes() {
            let of = self.lanes();
            return format!(
                "select x.id from longshore.lanes l join longshore.queues q using (queue) cross join lateral
                   (select i.id from longshore.job_data i where i.lane >= l.lane and (i.lane, i.id) < (l.lane, $1) order by i.lane desc, i.id desc {most}) x
                  where {of} order by x.id desc"
            );
        }
        let mut created = format!("id > ${}", self.param(after));
        for (condition, time) in [(" and created_at >=", self.filter.created_after), (" and created_at <", self.filter.created_before)] {
            if let Some(time) = time {
                created += &format!("{condition} ${}", self.param(time));
            }
        }
        format!("select id from longshore.job_data where id < $1 and {created} order by id desc")
    }

    /// Whether only some lanes are asked for.
    fn some_lanes(&self) -> bool {
        !self.filter.queues.is_empty() || !self.filter.kinds.is_empty()
    }

    /// A further condition on the lane of a place; nothing where all are asked for.
    fn in_lanes(&mut self) -> String {
        if !self.some_lanes() {
            return String::new();
        }
        format!(" and lane = any(array(select l.lane from longshore.lanes l join longshore.queues q using (queue) where {}))", self.lanes())
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
            conditions.push(format!("v.state::text = any(${})", self.param(words)));
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
        for (column, key) in [("unique_key", &filter.unique_key), ("concurrency_key", &filter.concurrency_key), ("schedule", &filter.schedule)] {
            if let Some(key) = key {
                conditions.push(format!("v.{column} = ${}", self.param(key.clone())));
            }
        }
        if let Some(workflow) = filter.workflow_id {
            conditions.push(format!("v.workflow_id = ${}", self.param(workflow)));
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
