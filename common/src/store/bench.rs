//! What `longshore bench` and `longshore doctor` look at: the server, the whole of the data. Everything here reads or
//! clears whole tables; nothing that serves jobs uses it.

mod fill;

use std::{collections::HashMap, fmt::Write as _};

use jiff::Timestamp;

use super::{Statement, Store, StoreError, statement};

pub use self::fill::{Filling, Ground, VIEWS, View};

const SERVER: Statement = statement!("ask for the server's version", "bench/server.sql");
const VIOLATIONS: Statement = statement!("look for violations", "bench/violations.sql");
const CLEAR: Statement = statement!("forget all jobs", "bench/clear.sql");
const CHECKPOINT: Statement = statement!("write a checkpoint", "bench/checkpoint.sql");
const TOTALS: Statement = statement!("count all jobs", "bench/totals.sql");
const SUCCEEDED: Statement = statement!("count jobs that succeeded", "bench/succeeded.sql");
const TIMES: Statement = statement!("read the times of jobs", "bench/times.sql");
const FUNCTIONS: Statement = statement!("read the time spent in functions", "bench/functions.sql");
const WAL: Statement = statement!("read how much was written ahead", "bench/wal.sql");

/// What the server says of itself.
#[derive(Debug, Clone)]
pub struct Server {
    /// 150018 for 15.18.
    pub version_num: i32,
    /// As text.
    pub version: String,
    /// Its clock.
    pub now: Timestamp,
    /// Connections at most.
    pub max_connections: i32,
    /// The process that answered.
    pub backend_pid: u32,
    /// Settings that throughput depends on, as `name=value`.
    pub settings: String,
}

/// How many jobs there are, by where they stand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Totals {
    /// In all.
    pub jobs: i64,
    /// Not finished.
    pub unfinished: i64,
    /// Succeeded.
    pub succeeded: i64,
    /// Failed or cancelled.
    pub unhappy: i64,
    /// Seconds from the first start to the last finish, of finished jobs.
    pub span: Option<f64>,
}

/// When a finished job was where.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The job.
    pub id: i64,
    /// Start of its last attempt.
    pub started_at: Timestamp,
    /// Its end.
    pub finished_at: Timestamp,
}

impl Store {
    /// What the server says of itself; needs no schema.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn server(&self) -> Result<Server, StoreError> {
        let row = self.query_one(SERVER, &[]).await?;
        Ok(Server {
            version_num: row.get(0),
            version: row.get(1),
            now: row.get(2),
            max_connections: row.get(3),
            backend_pid: row.get::<_, i32>(4).cast_unsigned(),
            settings: row.get(5),
        })
    }

    /// The first of what must not be, in words.
    ///
    /// # Errors
    /// Where the database is away, or has too many jobs to look at in time.
    pub async fn violations(&self, limit: i64) -> Result<Vec<String>, StoreError> {
        let rows = self.query(VIOLATIONS, &[&limit]).await?;
        let text = |id: Option<i64>, what: &str| {
            let mut text = String::new();
            if let Some(id) = id {
                let _ = write!(text, "job {id} ");
            }
            text + what
        };
        Ok(rows.iter().map(|row| text(row.get(0), row.get(1))).collect())
    }

    /// Forgets every job, and writes a checkpoint, so that each measurement begins alike.
    ///
    /// # Errors
    /// Where the database is away, or the user may not.
    pub async fn forget_all_jobs(&self) -> Result<(), StoreError> {
        self.query(CLEAR, &[]).await?;
        self.query(CHECKPOINT, &[]).await.map(|_| ())
    }

    /// Counts all jobs.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn totals(&self) -> Result<Totals, StoreError> {
        let row = self.query_one(TOTALS, &[]).await?;
        Ok(Totals { jobs: row.get(0), unfinished: row.get(1), succeeded: row.get(2), unhappy: row.get(3), span: row.get(4) })
    }

    /// Jobs that succeeded, as the tally has it: cheap.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn succeeded(&self) -> Result<i64, StoreError> {
        Ok(self.query_one(SUCCEEDED, &[]).await?.get(0))
    }

    /// When finished jobs started and ended.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn times(&self) -> Result<Vec<Times>, StoreError> {
        let rows = self.query(TIMES, &[]).await?;
        Ok(rows.iter().map(|row| Times { id: row.get(0), started_at: row.get(1), finished_at: row.get(2) }).collect())
    }

    /// Milliseconds that PostgreSQL has spent in each function of the schema itself, where it tracks that (`track_functions`).
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn function_times(&self) -> Result<HashMap<String, f64>, StoreError> {
        let rows = self.query(FUNCTIONS, &[]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Bytes of write-ahead log since the server was made.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn wal_bytes(&self) -> Result<i64, StoreError> {
        Ok(self.query_one(WAL, &[]).await?.get(0))
    }
}
