//! What the database says: of each job in one row, and of all tables in one hash.

use std::collections::BTreeMap;

use jiff::Timestamp;
use longshore_common::job::OutcomeKind;
use tokio_postgres::{Client, Statement};

/// Each job, with all that the model knows of it, and a hash of the whole row for those that a step does not touch.
const JOBS: &str = "select j.id, j.state::text, j.attempt, j.max_attempts, j.priority, j.run_at,
    regexp_replace(j.error, 'for [0-9.]+ s$', 'for some time'), j.cancel_requested_at is not null, md5(j::text),
    array(select format('%s %s', h.attempt, h.outcome) from (
      select a.lease, a.attempt, a.outcome from longshore.attempts a where a.id = j.id
      union all
      select f.lease, f.attempt, f.outcome from longshore.finished f where f.id = j.id and f.lease is not null) h order by h.lease)
  from longshore.jobs j";

const HISTORIES: &str = "select id, lease, attempt, outcome::text from (
    select id, lease, attempt, outcome from longshore.attempts
    union all
    select id, lease, attempt, outcome from longshore.finished where lease is not null
    union all
    select id, lease, attempt, null from longshore.running) h order by id, lease";

/// Tables that are empty where there is no job.
pub const WITH_JOBS: [&str; 9] = ["job_data", "ready", "scheduled", "running", "finished", "attempts", "labels", "expiring", "tally"];

/// A job as the database shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub state: String,
    pub attempt: i16,
    pub max_attempts: i16,
    pub priority: i16,
    pub error: Option<String>,
    pub asked: bool,
    /// Its ended attempts: number and outcome.
    pub history: Vec<String>,
}

/// The same with what the model does not know.
#[derive(Debug, Clone)]
pub struct Row {
    pub shown: Shown,
    pub run_at: Timestamp,
    pub hash: String,
}

/// The attempts of each job, oldest first: lease, number, and how it ended, if it has.
pub type Histories = BTreeMap<i64, Vec<(i64, i16, Option<OutcomeKind>)>>;

/// The questions, prepared once.
pub struct Tables {
    sql: Client,
    jobs: Statement,
    everything: Statement,
}

impl Tables {
    pub async fn new(sql: Client) -> Self {
        sql.batch_execute("set timezone = 'UTC'; set jit = off").await.expect("set");
        let names = sql.query("select tablename::text from pg_tables where schemaname = 'longshore' order by 1", &[]).await.expect("the tables");
        assert!(names.len() > 15, "all tables are looked at");
        let each = names.iter().map(|row| {
            let table: &str = row.get(0);
            format!("select '{table}' name, coalesce(string_agg(t::text, E'\\n' order by t::text), '') rows from longshore.{table} t")
        });
        let everything =
            format!("select string_agg(name || E'\\n' || rows, E'\\n--\\n' order by name) from ({}) x", each.collect::<Vec<_>>().join(" union all "));
        let (jobs, everything) = (sql.prepare(JOBS).await.expect("prepare"), sql.prepare(&everything).await.expect("prepare"));
        Self { sql, jobs, everything }
    }

    /// All jobs by id.
    pub async fn jobs(&self) -> BTreeMap<i64, Row> {
        let rows = self.sql.query(&self.jobs, &[]).await.expect("read the jobs");
        rows.iter()
            .map(|row| {
                let shown = Shown {
                    state: row.get::<_, Option<String>>(1).unwrap_or_else(|| "nowhere".to_owned()),
                    attempt: row.get::<_, Option<i16>>(2).unwrap_or(-1),
                    max_attempts: row.get(3),
                    priority: row.get(4),
                    error: row.get(6),
                    asked: row.get(7),
                    history: row.get(9),
                };
                (row.get(0), Row { shown, run_at: row.get(5), hash: row.get(8) })
            })
            .collect()
    }

    /// Every row of every table.
    pub async fn everything(&self) -> String {
        self.sql.query_one(&self.everything, &[]).await.expect("read all tables").get(0)
    }

    /// Does something to one job behind the store's back.
    pub async fn age(&self, statement: &str, id: i64) {
        self.sql.execute(statement, &[&id]).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }

    pub async fn run(&self, statement: &str) {
        self.sql.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }

    /// Deletes all jobs, of which none may run, and returns what is left of them: nothing.
    pub async fn forget_all_jobs(&self) -> Vec<String> {
        self.run("select longshore.delete_jobs(array(select id from longshore.job_data)); select longshore.fold_tally()").await;
        self.found(&WITH_JOBS.map(|table| format!("select '{table}', t::text from longshore.{table} t")).join(" union all ")).await
    }

    /// All attempts of the jobs that there are.
    pub async fn histories(&self) -> Histories {
        let rows = self.sql.query(HISTORIES, &[]).await.expect("read the histories");
        let mut histories = Histories::new();
        for row in rows {
            let outcome = row.get::<_, Option<&str>>(3).map(|word| OutcomeKind::ALL.into_iter().find(|kind| kind.word() == word).expect("a word"));
            histories.entry(row.get(0)).or_default().push((row.get(1), row.get(2), outcome));
        }
        histories
    }

    /// What is left of a query that must find nothing.
    pub async fn found(&self, query: &str) -> Vec<String> {
        let rows = self.sql.query(&format!("select x::text from ({query}) x"), &[]).await.unwrap_or_else(|error| panic!("{query}: {error:?}"));
        rows.iter().map(|row| row.get(0)).collect()
    }
}
