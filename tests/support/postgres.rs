//! A throw-away PostgreSQL server for each test program, and a database of its own for each test.
//!
//! The server ends with the program, however that ends. Nothing runs at the end of a test program, so its
//! folder (some 60 MB) stays until the next program sweeps. Under `cargo nextest` every test is a program and
//! so starts a server of its own, which costs it a second.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{LazyLock, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use longshore::private_postgres::{Options, PrivatePostgres, Purpose};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use super::eventually::eventually;

const PREFIX: &str = "longshore-test-";
const TEMPLATE: &str = "template_of_tests";

static SERVER: OnceLock<PrivatePostgres> = OnceLock::new();
static MIGRATED: OnceCell<()> = OnceCell::const_new();
static NUMBER: AtomicU32 = AtomicU32::new(1);

/// Drops databases behind the tests' backs: it takes 30 ms that no test need wait for.
static DROPS: LazyLock<Sender<String>> = LazyLock::new(|| {
    let (drops, names) = mpsc::channel::<String>();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime for dropping databases");
        for name in names {
            runtime.block_on(async {
                let admin = connect(&server().url("postgres")).await;
                // With force: what still runs belongs to a test that has ended.
                let statement = format!("drop database {name} with (force)");
                let dropped = admin.batch_execute(&statement).await;
                dropped.expect("drop a test's database");
            });
        }
    });
    drops
});

/// The server of this test program, started by the first call.
pub fn server() -> &'static PrivatePostgres {
    SERVER.get_or_init(|| {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let random = RandomState::new().build_hasher().finish();
        let folder = parent.join(format!("{PREFIX}{}-{random:016x}", std::process::id()));
        PrivatePostgres::start(options(folder, Purpose::Test)).unwrap_or_else(|error| panic!("no PostgreSQL for the tests: {error}"))
    })
}

/// What a test's server in this folder is started with: the programs in the folder that `LONGSHORE_TEST_POSTGRES` names, else
/// those that are found.
pub fn options(folder: impl Into<PathBuf>, purpose: Purpose) -> Options {
    let programs = std::env::var_os("LONGSHORE_TEST_POSTGRES").map(PathBuf::from);
    Options { programs, ..Options::new(folder, purpose) }
}

/// A database for one test, dropped with this value.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
}

impl Database {
    /// A database with nothing in it.
    pub async fn empty() -> Self {
        Self::create("template0").await
    }

    /// A copy of the database that `migrate` filled; it runs once in a test program, on the URL it is given.
    ///
    /// A copy takes some 40 ms, whatever the migrations take.
    pub async fn from_template(migrate: impl AsyncFnOnce(String)) -> Self {
        MIGRATED
            .get_or_init(async || {
                let admin = connect(&server().url("postgres")).await;
                // A test that panicked amid its migration leaves a half, and the next test tries again.
                let fresh = [format!("drop database if exists {TEMPLATE} with (force)"), format!("create database {TEMPLATE} template template0")];
                for statement in fresh {
                    admin.batch_execute(&statement).await.expect("create the template");
                }
                migrate(server().url(TEMPLATE)).await;
            })
            .await;
        Self::create(TEMPLATE).await
    }

    /// The name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where to reach the database: a Unix socket, no password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where to reach the database through a [`super::proxy::Proxy`] in front of [`PrivatePostgres::socket`].
    pub fn url_through(&self, address: std::net::SocketAddr) -> String {
        format!("postgres://postgres@{address}/{}?sslmode=disable", self.name)
    }

    /// A connection to the database, for as long as both live.
    pub async fn connect(&self) -> Connection<'_> {
        Connection { client: connect(&self.url).await, database: PhantomData }
    }

    /// Drops the database; unlike a plain drop it fails the test when somebody is still connected.
    ///
    /// # Panics
    /// When a connection is left two seconds later, with what it did last.
    pub async fn close(self) {
        let admin = connect(&server().url("postgres")).await;
        let others = "select coalesce(string_agg(application_name || ': ' || query, '; '), '')
            from pg_stat_activity where datname = $1";
        eventually("nobody is connected to the database", Duration::from_secs(2), async || {
            let row = admin.query_one(others, &[&self.name]).await.expect("look for connections");
            let left: String = row.get(0);
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
    }

    async fn create(template: &str) -> Self {
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let admin = connect(&server().url("postgres")).await;
        let statement = format!("create database {name} template {template}");
        let created = admin.batch_execute(&statement).await;
        created.expect("create a test's database");
        Self { url: server().url(&name), name }
    }
}

/// A client that does not outlive its database, which would be dropped under it.
pub struct Connection<'a> {
    client: Client,
    database: PhantomData<&'a Database>,
}

impl Deref for Connection<'_> {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connection<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The thread is gone only when the whole program goes.
        let _ = DROPS.send(std::mem::take(&mut self.name));
    }
}

/// Connects to any database of any server.
pub async fn connect(url: &str) -> Client {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.unwrap_or_else(|error| panic!("connect to {url}: {error}"));
    tokio::spawn(connection);
    client
}

/// Removes the folders of test programs that are gone: nobody holds their lock.
fn sweep(parent: &Path) {
    let settled = Duration::from_secs(10);
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        // One that begins just now may not have locked yet.
        let age = entry.metadata().and_then(|folder| folder.modified()).map(|at| at.elapsed());
        let Ok(holder) = File::open(entry.path().join("holder")) else {
            continue;
        };
        if matches!(age, Ok(Ok(age)) if age > settled) && holder.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
