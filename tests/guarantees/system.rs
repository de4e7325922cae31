//! A whole Longshore for one test: a database of its own, an API, workers; all real processes.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::{
    eventually::eventually,
    http,
    postgres::{Database, connect},
    process::{Process, Program},
};

/// Long enough for anything that should happen soon, on a machine with much else to do.
pub const SOON: Duration = Duration::from_secs(20);

pub struct System {
    pub database: Database,
    pub api: Process,
    pub address: SocketAddr,
    pub sql: Client,
}

/// Starts an API and returns where it listens.
pub async fn start_api(url: &str, env: &[(&str, &str)]) -> (Process, SocketAddr) {
    let mut program = Program::longshore(["api"]).env("LONGSHORE_DATABASE__URL", url).env("LONGSHORE_API__LISTEN", "127.0.0.1:0");
    for (name, value) in env {
        program = program.env(name, *value);
    }
    let mut api = program.start();
    let line = api.wait_for_line("listening", SOON).await;
    let address = line.split("addr=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("the line names the address").parse();
    (api, address.expect("an address"))
}

/// Starts a worker with the shortest lease there is and waits until it is ready.
pub async fn start_worker(url: &str, env: &[(&str, &str)]) -> Process {
    let mut program = Program::longshore(["worker"]).env("LONGSHORE_DATABASE__URL", url).env("LONGSHORE_WORKER__LEASE", "5s");
    for (name, value) in env {
        program = program.env(name, *value);
    }
    let mut worker = program.start();
    worker.wait_for_line("ready for work", SOON).await;
    worker
}

impl System {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(env: &[(&str, &str)]) -> Self {
        let database = Database::empty().await;
        let (mut api, address) = start_api(database.url(), env).await;
        api.wait_for_line("the schema is up to date", SOON).await;
        let sql = connect(database.url()).await;
        Self { database, api, address, sql }
    }

    pub async fn worker(&self, env: &[(&str, &str)]) -> Process {
        start_worker(self.database.url(), env).await
    }

    /// Enqueues one job over HTTP and returns its id.
    pub async fn enqueue(&self, job: &Value) -> i64 {
        let answer = post(self.address, "/v1/jobs", job).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_i64().expect("an id")
    }

    pub async fn job(&self, id: i64) -> Value {
        get(self.address, &format!("/v1/jobs/{id}")).await.json()
    }

    /// Waits until a job is in a state, and returns it.
    pub async fn until(&self, id: i64, state: &str) -> Value {
        eventually(&format!("job {id} is {state}"), SOON, async || {
            let job = self.job(id).await;
            if job["state"] == state { Ok(job) } else { Err(job) }
        })
        .await
    }

    pub async fn count(&self, what: &str) -> i64 {
        count(&self.sql, what).await
    }

    pub async fn assert_no_violations(&self) {
        assert_no_violations(&self.sql).await;
    }
}

pub async fn count(sql: &Client, what: &str) -> i64 {
    sql.query_one(&format!("select count(*) from {what}"), &[]).await.unwrap_or_else(|error| panic!("count {what}: {error:?}")).get(0)
}

/// The law of conservation; asked at the end of every test.
pub async fn assert_no_violations(sql: &Client) {
    let rows = sql.query("select id, what from longshore.violations limit 20", &[]).await.expect("ask for violations");
    let said: Vec<String> = rows.iter().map(|row| format!("job {:?} {}", row.get::<_, Option<i64>>(0), row.get::<_, &str>(1))).collect();
    assert!(said.is_empty(), "{said:#?}");
}

pub async fn post(address: SocketAddr, path: &str, body: &Value) -> http::Response {
    http::json(address, "POST", path, body).await
}

/// For a server that may be down or go down.
pub async fn try_post(address: SocketAddr, path: &str, content_type: &str, body: &str) -> std::io::Result<http::Response> {
    http::try_request(address, "POST", path, &[("content-type", content_type)], body.as_bytes()).await
}

pub async fn get(address: SocketAddr, path: &str) -> http::Response {
    http::request(address, "GET", path, &[], b"").await
}

pub fn sleep_job(length: &str) -> Value {
    json!({"kind": "sleep", "args": {"for": length}})
}
