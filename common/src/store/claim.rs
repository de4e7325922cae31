//! The claim: ready jobs are leased to a worker, best first.
//!
//! The lanes of one queue are merged by the database in the exact order (priority, `run_at`, id). Where a claim from the
//! very beginning has become slow, since an old snapshot (a dump, a forgotten transaction) keeps dead rows in the index,
//! claims start behind a watermark, and the beginning is swept at times that keep its cost below a twentieth.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Row, error::SqlState, types::ToSql};

use super::{Statement, Store, StoreError, directory::Lane, field, statement, workers::WorkerNumber};
pub use crate::job::Lease;
use crate::json::RawJson;

const CLAIM: [(usize, Statement); 4] = [
    (1, statement!("claim jobs", "jobs/claim_1.sql")),
    (4, statement!("claim jobs", "jobs/claim_4.sql")),
    (16, statement!("claim jobs", "jobs/claim_16.sql")),
    (64, statement!("claim jobs", "jobs/claim_64.sql")),
];
/// The same, under leases that end by themselves.
const LEASE: [(usize, Statement); 4] = [
    (1, statement!("lease jobs", "jobs/lease_1.sql")),
    (4, statement!("lease jobs", "jobs/lease_4.sql")),
    (16, statement!("lease jobs", "jobs/lease_16.sql")),
    (64, statement!("lease jobs", "jobs/lease_64.sql")),
];
const WITH_WORK: Statement = statement!("find lanes with work", "jobs/with_work.sql");
const HEADS: Statement = statement!("find the best lanes", "jobs/heads.sql");
const HEADS_1_1: Statement = statement!("find the best lanes", "jobs/heads_1_1.sql");

/// Index ranges that one claim can merge.
const MAX_ARMS: usize = 64;
/// A claim from the beginning that takes longer than this has met dead rows.
const SLOW: Duration = Duration::from_millis(5);
/// What taking one job takes, which says nothing of the sweep.
const PER_JOB: Duration = Duration::from_micros(20);
/// The same where the results of others are read for it.
const PER_JOB_WITH_PARENTS: Duration = Duration::from_micros(200);
/// Between two sweeps lie so many times what the last one took.
const SWEEP_SHARE: u32 = 20;

/// A job that was leased, with all that its handler needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeasedJob {
    /// The right to report.
    pub lease: Lease,
    /// Its queue and kind.
    #[serde(with = "super::directory::shared")]
    pub lane: Arc<Lane>,
    /// Number of this attempt, from 1.
    pub attempt: i16,
    /// How many attempts before this one were lost in a row. From two on, it runs apart from all others.
    pub losses: i32,
    /// Attempts at most.
    pub max_attempts: i16,
    /// Lower first.
    pub priority: i16,
    /// When it was due.
    pub run_at: Timestamp,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When this attempt started.
    pub started_at: Timestamp,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// Its queue has limits: its end may make room there.
    pub limited: bool,
    /// It was not started by its `expires_at`, and must not run.
    pub expired: bool,
    /// Id of the request it came with.
    pub request_id: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// For searching.
    pub tags: Vec<String>,
    /// The caller's own notes.
    pub meta: Option<RawJson>,
    /// The results of the jobs that it comes after in its workflow, by name: an object. `None`: there are none.
    pub parents: Option<RawJson>,
    /// What the handler gets.
    pub args: RawJson,
}

/// What a worker remembers of one queue between claims.
#[derive(Debug, Default)]
pub struct QueueScan {
    /// Last job taken, by lane and priority.
    marks: HashMap<i32, BTreeMap<i16, (Timestamp, i64)>>,
    last_sweep: Option<(Instant, Duration)>,
}

/// What a claim brought.
#[derive(Debug)]
pub struct Claimed {
    /// The jobs, best first.
    pub jobs: Vec<LeasedJob>,
    /// Whether the queue may have more that could be taken right now.
    pub more: bool,
    /// The beginning of the queue was not looked at, to spare the database: look again after this.
    pub look_again_in: Option<Duration>,
    /// The queue has limits, and its jobs were counted: there may be room for more after this; zero: when one of its jobs ends. Not
    /// known where the claim brought none.
    pub room_in: Option<Duration>,
}

/// Index ranges, column by column, as the statement takes them.
#[derive(Default)]
struct Arms {
    lanes: Vec<i32>,
    priorities: Vec<i16>,
    run_ats: Vec<Timestamp>,
    ids: Vec<i64>,
    belows: Vec<i32>,
}

impl Arms {
    fn push(&mut self, lane: i32, priority: i16, after: (Timestamp, i64), below: i32) {
        self.lanes.push(lane);
        self.priorities.push(priority);
        self.run_ats.push(after.0);
        self.ids.push(after.1);
        self.belows.push(below);
    }
}

const ABOVE_ALL: i32 = 40_000;

impl QueueScan {
    fn sweep_due(&self) -> bool {
        self.last_sweep.is_none_or(|(at, took)| took < SLOW || at.elapsed() > took * SWEEP_SHARE)
    }

    fn next_sweep_in(&self) -> Duration {
        self.last_sweep.map_or(Duration::ZERO, |(at, took)| (took * SWEEP_SHARE).saturating_sub(at.elapsed()))
    }

    /// The whole of each lane.
    fn whole(lanes: &[i32]) -> Arms {
        let mut arms = Arms::default();
        for lane in lanes {
            arms.push(*lane, i16::MIN, (Timestamp::UNIX_EPOCH, 0), ABOVE_ALL);
        }
        arms
    }

    /// Each lane from where the last claims have come to, priority by priority.
    fn behind_marks(&self, lanes: &[i32]) -> Arms {
        let mut arms = Arms::default();
        for lane in lanes {
            let marks = self.marks.get(lane).map(|m| m.iter().collect::<Vec<_>>()).unwrap_or_default();
            if marks.is_empty() {
                arms.push(*lane, i16::MIN, (Timestamp::UNIX_EPOCH, 0), ABOVE_ALL);
            }
            for (index, (priority, after)) in marks.iter().enumerate() {
                let below = marks.get(index + 1).map_or(ABOVE_ALL, |(next, _)| i32::from(**next));
                arms.push(*lane, **priority, **after, below);
            }
        }
        arms
    }

    fn note(&mut self, jobs: &[LeasedJob]) {
        for job in jobs {
            let mark = self.marks.entry(job.lane.lane).or_default().entry(job.priority).or_insert((job.run_at, job.lease.id));
            *mark = (*mark).max((job.run_at, job.lease.id));
        }
    }
}

impl Store {
    /// Leases at most `n` jobs of these lanes, all of one queue, to a worker, for as long as its heartbeats come. A worker that
    /// was declared dead gets none.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn claim(&self, worker: WorkerNumber, scan: &mut QueueScan, lanes: &[i32], n: usize) -> Result<Claimed, StoreError> {
        self.claim_under(worker, scan, lanes, n, None).await
    }

    /// The same, under leases that last `lease_for` unless they are extended ([`extend_leases`](Self::extend_leases)).
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn lease(&self, worker: WorkerNumber, scan: &mut QueueScan, lanes: &[i32], n: usize, lease_for: Duration) -> Result<Claimed, StoreError> {
        self.claim_under(worker, scan, lanes, n, Some(lease_for)).await
    }

    async fn claim_under(
        &self,
        worker: WorkerNumber,
        scan: &mut QueueScan,
        lanes: &[i32],
        n: usize,
        lease_for: Option<Duration>,
    ) -> Result<Claimed, StoreError> {
        let lanes = self.best_lanes(lanes).await?;
        if lanes.is_empty() || n == 0 {
            return Ok(Claimed { jobs: Vec::new(), more: false, look_again_in: None, room_in: None });
        }
        let mut sweeping = scan.sweep_due();
        let mut arms = if sweeping { QueueScan::whole(&lanes) } else { scan.behind_marks(&lanes) };
        if arms.lanes.len() > MAX_ARMS {
            (sweeping, arms) = (true, QueueScan::whole(&lanes));
        }
        let started = Instant::now();
        let statements = if lease_for.is_some() { LEASE } else { CLAIM };
        let (_, statement) = statements.into_iter().find(|(size, _)| *size >= arms.lanes.len()).unwrap_or(statements[3]);
        let asked = i32::try_from(n).unwrap_or(i32::MAX);
        let lease_s = lease_for.map(|length| length.as_secs_f64());
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&worker.0, &asked, &arms.lanes, &arms.priorities, &arms.run_ats, &arms.ids, &arms.belows];
        if lease_s.is_some() {
            params.push(&lease_s);
        }
        let rows = self.query(statement, &params).await?;
        let took = started.elapsed();
        // the schema of the version before knows no limits
        let room_in =
            rows.first().and_then(|row| row.try_get::<_, Option<f64>>("again_s").ok().flatten()).map(|s| Duration::try_from_secs_f64(s).unwrap_or_default());
        let mut jobs = rows.into_iter().map(|row| self.leased(&row, room_in.is_some())).collect::<Result<Vec<_>, _>>()?;
        if sweeping {
            // per job taken, since taking many is slow for a good reason, and reading parents' results is another
            let good_reasons = jobs.iter().map(|job| if job.parents.is_some() { PER_JOB_WITH_PARENTS } else { PER_JOB }).sum();
            scan.last_sweep = Some((Instant::now(), took.saturating_sub(good_reasons)));
        }
        jobs.sort_unstable_by_key(|job| (job.priority, job.run_at, job.lease.id));
        scan.note(&jobs);
        let more = jobs.len() == n;
        let look_again_in = (!more && !sweeping).then(|| scan.next_sweep_in());
        Ok(Claimed { jobs, more, look_again_in, room_in })
    }

    /// Where there are more lanes than one claim can merge: those whose first job is best.
    async fn best_lanes(&self, lanes: &[i32]) -> Result<Vec<i32>, StoreError> {
        if lanes.len() <= MAX_ARMS {
            return Ok(lanes.to_vec());
        }
        let with_work = self.lanes_with_work(lanes).await?;
        if with_work.len() <= MAX_ARMS {
            return Ok(with_work);
        }
        let most = i64::try_from(MAX_ARMS).unwrap_or(64);
        let rows = match self.query(HEADS, &[&with_work, &most]).await {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => self.query(HEADS_1_1, &[&with_work, &most]).await?,
            rows => rows?,
        };
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Which of these lanes have a job that may be claimed. What it takes grows with those that have, not with those asked for.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn lanes_with_work(&self, lanes: &[i32]) -> Result<Vec<i32>, StoreError> {
        let mut ascending = lanes.to_vec();
        ascending.sort_unstable();
        let rows = match self.query(WITH_WORK, &[&ascending]).await {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => self.query(HEADS_1_1, &[&ascending, &i64::MAX]).await?,
            rows => rows?,
        };
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    fn leased(&self, row: &Row, limited: bool) -> Result<LeasedJob, StoreError> {
        let id: i64 = field(row, "id", "ready", 0)?;
        let lane: i32 = field(row, "lane", "ready", id)?;
        let lane = self.lane(lane).ok_or_else(|| StoreError::Corrupt { table: "ready", id, why: format!("its lane {lane} is unknown") })?;
        let timeout: Option<i32> = field(row, "timeout_ms", "job_data", id)?;
        Ok(LeasedJob {
            lease: Lease { id, lease: field(row, "lease", "running", id)? },
            lane,
            attempt: field(row, "attempt", "running", id)?,
            started_at: field(row, "started_at", "running", id)?,
            priority: field(row, "priority", "job_data", id)?,
            run_at: field(row, "run_at", "job_data", id)?,
            created_at: field(row, "created_at", "job_data", id)?,
            // the schema of the version before does not tell
            losses: row.try_get("losses").unwrap_or(0),
            max_attempts: field(row, "max_attempts", "job_data", id)?,
            timeout: timeout.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
            limited,
            expired: field(row, "expired", "job_data", id)?,
            request_id: field(row, "request_id", "job_data", id)?,
            traceparent: field(row, "traceparent", "job_data", id)?,
            tags: field::<Option<Vec<String>>>(row, "tags", "job_data", id)?.unwrap_or_default(),
            meta: field(row, "meta", "job_data", id)?,
            // the schema of the version before knows no workflows
            parents: row.try_get("parents").unwrap_or(None),
            args: field(row, "args", "job_data", id)?,
        })
    }
}
