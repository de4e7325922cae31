//! A migrated database with a store on it, and the few things that every test here does.

use std::time::Duration;

use longshore_common::{
    job::{Kind, NewJob, QueueName},
    json::RawJson,
    settings::DatabaseSettings,
    store::{
        Store,
        claim::{Claimed, Lease, QueueScan},
        enqueue::{Enqueued, Origin},
        workers::{Registration, WorkerNumber},
    },
};
use tokio_postgres::Client;

use crate::support::postgres::{Database, connect};

/// A store on a database of its own.
pub struct Fixture {
    pub database: Database,
    pub store: Store,
    /// For looking and for ageing rows behind the store's back.
    pub sql: Client,
}

pub fn settings(url: &str) -> DatabaseSettings {
    DatabaseSettings { url: Some(url.to_owned().into()), direct_url: None, pool: 10 }
}

pub fn store_at(url: &str) -> Store {
    Store::new(&settings(url), "test", Duration::from_secs(10)).expect("the URL is fine")
}

impl Fixture {
    pub async fn new() -> Self {
        let database = Database::from_template(async |url: String| {
            store_at(&url).migrate().await.expect("migrate the template");
        })
        .await;
        let store = store_at(database.url());
        let sql = connect(database.url()).await;
        Self { database, store, sql }
    }

    pub async fn worker(&self, name: &str) -> WorkerNumber {
        let registration = Registration {
            name: name.to_owned(),
            host: "test".to_owned(),
            version: "0".to_owned(),
            queues: vec!["*=50".to_owned()],
            kinds: vec!["echo".to_owned()],
            lease: Duration::from_secs(30),
        };
        self.store.register_worker(&registration).await.expect("register")
    }

    pub async fn enqueue(&self, jobs: &[NewJob]) -> Vec<Enqueued> {
        self.store.enqueue(jobs, &Origin::default()).await.expect("enqueue")
    }

    pub async fn enqueue_one(&self, job: NewJob) -> i64 {
        self.enqueue(&[job]).await[0].id()
    }

    /// Claims from all lanes of the queue "default".
    pub async fn claim(&self, worker: WorkerNumber, n: usize) -> Claimed {
        self.claim_from(worker, "default", n).await
    }

    pub async fn claim_from(&self, worker: WorkerNumber, queue: &str, n: usize) -> Claimed {
        self.store.learn_lanes().await.expect("learn lanes");
        let lanes: Vec<i32> = self.store.known_lanes().iter().filter(|l| *l.queue == *queue).map(|l| l.lane).collect();
        self.store.claim(worker, &mut QueueScan::default(), &lanes, n).await.expect("claim")
    }

    /// Enqueues one job and claims it.
    pub async fn leased(&self, worker: WorkerNumber, job: NewJob) -> Lease {
        let id = self.enqueue_one(job).await;
        let claimed = self.claim(worker, 1).await;
        let lease = claimed.jobs.first().expect("one job").lease;
        assert_eq!(lease.id, id);
        lease
    }

    pub async fn state(&self, id: i64) -> String {
        let row = self.sql.query_opt("select state::text from longshore.jobs where id = $1", &[&id]).await.expect("look");
        row.map_or_else(|| "gone".to_owned(), |row| row.get::<_, Option<String>>(0).unwrap_or_else(|| "nowhere".to_owned()))
    }

    pub async fn count(&self, what: &str) -> i64 {
        self.sql.query_one(&format!("select count(*) from {what}"), &[]).await.unwrap_or_else(|error| panic!("count {what}: {error:?}")).get(0)
    }

    pub async fn run(&self, statement: &str) {
        self.sql.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }

    /// The law of conservation; asked at the end of every test.
    pub async fn assert_no_violations(&self) {
        let rows = self.sql.query("select id, what from longshore.violations limit 20", &[]).await.expect("ask for violations");
        let said: Vec<String> = rows.iter().map(|row| format!("job {:?} {}", row.get::<_, Option<i64>>(0), row.get::<_, &str>(1))).collect();
        assert!(said.is_empty(), "{said:#?}");
    }
}

pub fn job(kind: &str) -> NewJob {
    NewJob::new(Kind::new(kind).expect("a kind"), RawJson::empty_object())
}

/// A job as it would come over HTTP.
pub fn parsed(text: &str) -> NewJob {
    NewJob::parse(text.as_bytes(), "").unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

pub fn in_queue(queue: &str, job: NewJob) -> NewJob {
    NewJob { queue: QueueName::new(queue).expect("a queue"), ..job }
}

/// Lets the one start before the other who was last too late, so that both win on any machine.
#[derive(Default)]
pub struct HeadStart(i32);

impl HeadStart {
    /// Waits as long as some statements take, where the first is to be held up.
    pub async fn first(&self, store: &Store) {
        for _ in 0..self.0 {
            store.ping().await.expect("answers");
        }
    }

    pub async fn second(&self, store: &Store) {
        for _ in self.0..0 {
            store.ping().await.expect("answers");
        }
    }

    pub fn next(&mut self, first_has_won: bool) {
        self.0 = (self.0 + if first_has_won { 1 } else { -1 }).clamp(-20, 20);
    }
}
