//! An API for one test, and what every test here says to it.

use std::{net::SocketAddr, time::Duration};

use longshore_api::RunningApi;
use longshore_common::{
    job::QueueName,
    key::{KeyName, NewKey, Scope},
    settings::Settings,
    store::{
        Store,
        claim::{Claimed, QueueScan},
        workers::{Registration, WorkerNumber},
    },
};
use serde_json::Value;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::support::{
    eventually::eventually,
    http::{self, Response},
    postgres::{Database, connect},
};

/// Long enough for anything that should happen soon, on a machine with much else to do.
pub const SOON: Duration = Duration::from_secs(20);

/// The media type of a job, as most requests send it.
pub const JSON: (&str, &str) = ("content-type", "application/json");
/// One job a line.
pub const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// An API in this process, on a database of its own.
pub struct Api {
    pub address: SocketAddr,
    /// For looking, and for ageing rows behind the API's back.
    pub sql: Client,
    /// For being a worker.
    pub store: Store,
    /// Tells the API to stop.
    pub stop: CancellationToken,
    running: RunningApi,
    pub database: Database,
}

impl Api {
    pub async fn start() -> Self {
        // the machine may have much else to do; what a time limit does has tests of its own
        Self::start_with(&[("LONGSHORE_API__TIMEOUT", "30s")]).await
    }

    pub async fn start_with(env: &[(&str, &str)]) -> Self {
        Self::start_after(env, async |_| ()).await.0
    }

    /// Starts it on a database in which something was made first.
    pub async fn start_after<T>(env: &[(&str, &str)], prepare: impl AsyncFnOnce(&Store) -> T) -> (Self, T) {
        let database = migrated().await;
        let settings = settings(database.url(), env);
        let store = Store::new(&settings.database, "test", SOON).expect("the URL is fine");
        let made = prepare(&store).await;
        let sql = connect(database.url()).await;
        let stop = CancellationToken::new();
        let running = longshore_api::start(&settings, stop.clone()).expect("it starts");
        let api = Self { address: running.address, sql, store, stop, running, database };
        eventually("the API is ready", SOON, async || {
            let answer = api.get("/readyz").await;
            if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
        })
        .await;
        (api, made)
    }

    /// Another API on the same database, and what stops it.
    pub async fn beside(&self) -> (RunningApi, CancellationToken) {
        let stop = CancellationToken::new();
        let other = longshore_api::start(&settings(self.database.url(), &[]), stop.clone()).expect("it starts");
        eventually("the other API is ready", SOON, async || {
            let answer = http::request(other.address, "GET", "/readyz", &[], b"").await;
            if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
        })
        .await;
        (other, stop)
    }

    /// Stops the API, and looks at what it leaves behind: the law of conservation, and no connection.
    pub async fn finish(self) {
        let rows = self.sql.query("select id, what from longshore.violations limit 20", &[]).await.expect("ask for violations");
        let said: Vec<String> = rows.iter().map(|row| format!("job {:?} {}", row.get::<_, Option<i64>>(0), row.get::<_, &str>(1))).collect();
        assert!(said.is_empty(), "{said:#?}");
        self.stop.cancel();
        self.stopped().await;
    }

    /// Waits until the API, which has been told to, has stopped.
    pub async fn stopped(self) {
        let Self { running, sql, store, database, .. } = self;
        drop((sql, store));
        tokio::time::timeout(SOON, running.wait()).await.expect("it stops").expect("a clean stop");
        database.close().await;
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"").await
    }

    /// A GET that must succeed.
    pub async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    pub async fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Response {
        self.request("POST", path, &[JSON], body.as_ref()).await
    }

    /// Any request; its answer must have an id.
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let answer = http::request(self.address, method, path, headers, body).await;
        assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{method} {path}: {answer:?}");
        answer
    }

    /// Any request that bears an API key.
    pub async fn with_key(&self, key: &str, method: &str, path: &str, body: &str) -> Response {
        let bearer = format!("Bearer {key}");
        let headers = [JSON, ("authorization", bearer.as_str())];
        self.request(method, path, if body.is_empty() { &headers[1..] } else { &headers }, body.as_bytes()).await
    }

    /// Enqueues one job and returns its id.
    pub async fn enqueue(&self, job: impl AsRef<[u8]>) -> i64 {
        let answer = self.post("/v1/jobs", &job).await;
        assert_eq!(answer.status, 201, "{}: {}", String::from_utf8_lossy(job.as_ref()), answer.text());
        answer.json()["id"].as_i64().expect("an id")
    }

    /// Sends what must be refused with a problem of this status and with these pointers, and must change nothing.
    pub async fn refused(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>, status: u16, pointers: &[&str]) -> Value {
        let before = self.tables().await;
        let answer = self.request("POST", path, headers, body.as_ref()).await;
        let shown = String::from_utf8_lossy(&body.as_ref()[..body.as_ref().len().min(200)]).into_owned();
        let problem = problem(&answer, status, pointers, &shown);
        assert_eq!(self.tables().await, before, "{shown}");
        problem
    }

    /// How many rows each table has that an enqueue may write.
    pub async fn tables(&self) -> Vec<(String, i64)> {
        const TABLES: [&str; 10] = ["job_data", "ready", "scheduled", "running", "finished", "expiring", "labels", "uniques", "queues", "lanes"];
        let statement = TABLES.map(|table| format!("select '{table}', count(*) from longshore.{table}")).join(" union all ");
        let rows = self.sql.query(&statement, &[]).await.expect("count");
        rows.iter().map(|row| (row.get::<_, &str>(0).to_owned(), row.get(1))).collect()
    }

    pub async fn count(&self, what: &str) -> i64 {
        self.sql.query_one(&format!("select count(*) from {what}"), &[]).await.unwrap_or_else(|error| panic!("count {what}: {error:?}")).get(0)
    }

    /// Registers a worker that serves these queues.
    pub async fn worker(&self, name: &str, queues: &[&str]) -> WorkerNumber {
        let registration = Registration {
            name: name.to_owned(),
            host: "test".to_owned(),
            version: "0".to_owned(),
            queues: queues.iter().map(|queue| (*queue).to_owned()).collect(),
            kinds: vec!["echo".to_owned()],
            lease: Duration::from_secs(30),
        };
        self.store.register_worker(&registration).await.expect("register")
    }

    /// Takes up to `n` jobs of a queue, as its worker would.
    pub async fn claim(&self, worker: WorkerNumber, queue: &str, n: usize) -> Claimed {
        self.store.learn_lanes().await.expect("learn lanes");
        let lanes: Vec<i32> = self.store.known_lanes().iter().filter(|l| *l.queue == *queue).map(|l| l.lane).collect();
        self.store.claim(worker, &mut QueueScan::default(), &lanes, n).await.expect("claim")
    }
}

/// Creates an API key and returns its text; without queues it is not limited.
pub async fn create_key(store: &Store, name: &str, scopes: &[Scope], queues: &[&str]) -> String {
    let queues = queues.iter().map(|queue| QueueName::new(queue).expect("a queue")).collect();
    let new = NewKey { name: KeyName::new(name).expect("a name"), scopes: scopes.iter().copied().collect(), queues };
    let (text, _) = store.create_key(&new).await.expect("create a key").expect("the name is free");
    text.reveal().to_owned()
}

/// A database with the schema, for an API or a process.
pub async fn migrated() -> Database {
    Database::from_template(async |url: String| {
        let settings = settings(&url, &[]);
        Store::new(&settings.database, "test", SOON).expect("the URL is fine").migrate().await.expect("migrate the template");
    })
    .await
}

fn settings(url: &str, env: &[(&str, &str)]) -> Settings {
    let own = [("LONGSHORE_DATABASE__URL", url), ("LONGSHORE_API__LISTEN", "127.0.0.1:0")];
    let environment = own.iter().chain(env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Settings::from_environment(environment).expect("the settings are fine")
}

/// Type and title of the problems, by status.
const PROBLEMS: [(u16, &str, &str); 11] = [
    (400, "malformed", "The body is malformed"),
    (401, "unauthorized", "An API key is needed"),
    (403, "forbidden", "The request is refused"),
    (404, "not-found", "There is no such thing"),
    (405, "method-not-allowed", "The path does not know the method"),
    (409, "conflict", "Something else stands in the way"),
    (413, "too-large", "The body is too large"),
    (415, "unsupported-media-type", "The body is of the wrong media type"),
    (422, "invalid", "The input is invalid"),
    (429, "queue-full", "The queue is full"),
    (503, "unavailable", "Not now; try again"),
];

/// Looks at a problem: its status, type, title, words, and which values were at fault, in their order.
#[track_caller]
pub fn problem(answer: &Response, status: u16, pointers: &[&str], about: &str) -> Value {
    assert_eq!(answer.status, status, "{about}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{about}");
    let problem = answer.json();
    let (_, kind, title) = PROBLEMS.into_iter().find(|(known, ..)| *known == status).expect("a status of the contract");
    assert_eq!(problem["type"], format!("urn:longshore:problem:{kind}"), "{about}");
    assert_eq!(problem["title"], title, "{about}");
    assert_eq!(problem["status"], status, "{about}");
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{about}: {problem}");
    let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found: Vec<&str> = errors.iter().map(|error| error["pointer"].as_str().expect("a pointer")).collect();
    assert_eq!(found, pointers, "{about}: {problem:#}");
    assert!(errors.iter().all(|error| error["detail"].as_str().is_some_and(|detail| !detail.is_empty())), "{about}: {problem:#}");
    let known = ["type", "title", "status", "detail", "errors"];
    assert!(problem.as_object().is_some_and(|fields| fields.keys().all(|key| known.contains(&key.as_str()))), "{about}: {problem:#}");
    assert_eq!(answer.header("retry-after").is_some(), matches!(status, 429 | 503), "{about}: {answer:?}");
    assert_eq!(answer.header("www-authenticate"), (status == 401).then_some("Bearer"), "{about}: {answer:?}");
    problem
}
