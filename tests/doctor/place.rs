//! A PostgreSQL server for one test, since most of what the doctor looks at is the whole server's, with a worker that is well.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hasher, RandomState},
    path::PathBuf,
    time::Duration,
};

use longshore::private_postgres::{PrivatePostgres, Purpose};
use serde_json::Value;
use tokio_postgres::Client;

use crate::support::{
    eventually::eventually,
    postgres::{connect, options},
    process::{Process, Program},
};

/// Long enough for anything that should happen soon, on a machine with much else to do.
pub const SOON: Duration = Duration::from_mins(1);

/// As durable as in production, with room for what the tests make; small, so that little is much.
const SETTINGS: &[&str] = &["fsync=on", "full_page_writes=on", "max_prepared_transactions=5", "wal_level=logical", "max_wal_size=64MB", "min_wal_size=32MB"];

pub struct Place {
    pub sql: Client,
    pub url: String,
    /// Ends before its server: fields are dropped in order.
    pub worker: Option<Process>,
    pub postgres: PrivatePostgres,
}

/// What one run of the doctor said.
#[derive(Debug)]
pub struct Said {
    pub checks: BTreeMap<String, Value>,
    pub code: i32,
}

impl Said {
    /// The names of the checks of a level. How full this machine's own disk is, is no part of a test.
    pub fn of_level(&self, level: &str) -> Vec<&str> {
        self.checks.iter().filter(|(name, check)| check["level"] == level && *name != "disk").map(|(name, _)| &name[..]).collect()
    }

    /// Whether it exits as its checks say.
    fn assert_consistent(&self) {
        let fails = self.checks.values().any(|check| check["level"] == "fail");
        assert_eq!(self.code, i32::from(fails), "{self:#?}");
        for check in self.checks.values() {
            assert_eq!(check["ok"], check["level"] != "fail", "{check}");
            assert_eq!(check["remedy"].is_string(), check["level"] != "ok", "{check}");
        }
    }
}

/// Runs the doctor, with settings.
pub async fn doctor(env: &[(&str, &str)]) -> Said {
    let mut process = env.iter().fold(Program::longshore(["doctor", "--json"]), |program, (name, value)| program.env(name, *value)).start();
    let code = process.wait_exit(SOON).await.code().expect("it is not killed");
    let text = process.all_lines(SOON).await.join("\n");
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON ({error}): {text}"));
    let checks = value["checks"].as_array().expect("a list").iter().map(|check| (check["name"].as_str().expect("a name").to_owned(), check.clone()));
    let said = Said { checks: checks.collect(), code };
    assert_eq!(value["ok"], said.code == 0, "{value}");
    said.assert_consistent();
    said
}

impl Place {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A server with further settings, a schema, and a worker.
    pub async fn start_with(settings: &[&str]) -> Self {
        let random = RandomState::new().build_hasher().finish();
        Self::start_in(std::env::temp_dir().join(format!("longshore-test-{}-{random:016x}", std::process::id())), settings).await
    }

    /// The same, in a folder.
    pub async fn start_in(folder: PathBuf, settings: &[&str]) -> Self {
        let mut options = options(folder, Purpose::Test);
        options.settings = SETTINGS.iter().chain(settings).map(|setting| (*setting).to_owned()).collect();
        let started = tokio::task::spawn_blocking(|| PrivatePostgres::start(options)).await.expect("no panic");
        let postgres = started.unwrap_or_else(|error| panic!("no PostgreSQL: {error}"));
        let url = postgres.url("postgres");
        migrate(&url).await;
        let mut place = Self { sql: connect(&url).await, url, worker: None, postgres };
        place.start_worker().await;
        place
    }

    /// Starts the worker, with the shortest lease there is.
    pub async fn start_worker(&mut self) {
        let worker = Program::longshore(["worker"]).env("LONGSHORE_DATABASE__URL", &self.url).env("LONGSHORE_WORKER__LEASE", "5s").start();
        self.worker.insert(worker).wait_for_line("ready for work", SOON).await;
    }

    pub async fn run(&self, statements: &str) {
        self.sql.batch_execute(statements).await.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }

    pub async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, query: &str) -> T {
        self.sql.query_one(query, &[]).await.unwrap_or_else(|error| panic!("{query}: {error:?}")).get(0)
    }

    pub async fn doctor(&self) -> Said {
        doctor(&[("LONGSHORE_DATABASE__URL", &self.url)]).await
    }

    /// Waits until exactly this check is bad, and it alone; its detail and its remedy have these texts.
    pub async fn is_told(&self, name: &str, level: &str, detail: &[&str], remedy: &[&str]) -> Value {
        self.is_told_with(&[], name, level, detail, remedy).await
    }

    /// The same, with further settings.
    pub async fn is_told_with(&self, env: &[(&str, &str)], name: &str, level: &str, detail: &[&str], remedy: &[&str]) -> Value {
        let env = [&[("LONGSHORE_DATABASE__URL", &self.url[..])], env].concat();
        let check = eventually(&format!("{name} is {level}, and nothing else is bad"), SOON, async || {
            let said = doctor(&env).await;
            let other = if level == "fail" { "warn" } else { "fail" };
            let alone = said.of_level(level) == [name] && said.of_level(other).is_empty();
            if alone { Ok(said.checks[name].clone()) } else { Err(said) }
        })
        .await;
        for (part, texts) in [("detail", detail), ("remedy", remedy)] {
            for text in texts {
                assert!(check[part].as_str().is_some_and(|said| said.contains(text)), "{part} lacks {text:?}: {check:#}");
            }
        }
        check
    }

    /// Waits until nothing is bad.
    pub async fn is_quiet(&self) {
        self.is_quiet_with(&[]).await;
    }

    /// The same, with further settings.
    pub async fn is_quiet_with(&self, env: &[(&str, &str)]) {
        let env = [&[("LONGSHORE_DATABASE__URL", &self.url[..])], env].concat();
        eventually("all is quiet", SOON, async || {
            let said = doctor(&env).await;
            if said.of_level("warn").is_empty() && said.of_level("fail").is_empty() { Ok(()) } else { Err(said) }
        })
        .await;
    }

    pub async fn migrate(&self) {
        migrate(&self.url).await;
    }
}

async fn migrate(url: &str) {
    let mut migrate = Program::longshore(["migrate"]).env("LONGSHORE_DATABASE__URL", url).start();
    assert!(migrate.wait_exit(SOON).await.success());
}
