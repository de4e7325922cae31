//! Which database a command talks to.

use std::time::Duration;

use anyhow::{Context, anyhow};
use longshore_common::{
    settings::{DatabaseSettings, Settings},
    store::{Store, migrate::SchemaState},
};

use crate::{
    command::{self, SchemaTooNew, WrongUse},
    private_postgres,
};

/// Longest wait for one statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// The database that the settings name, else the one of a running `longshore dev`; its schema may be anything.
pub fn connect() -> anyhow::Result<Store> {
    Ok(from_settings(&command::settings()?)?)
}

/// The same, from settings that were read already.
pub fn from_settings(settings: &Settings) -> Result<Store, WrongUse> {
    let mut database = settings.database.clone();
    if database.url.is_none() {
        database.url = private_postgres::running_dev_url().map(Into::into);
    }
    if database.url.is_none() {
        let api = if settings.client.url.is_some() {
            "; this command works on the database alone, and LONGSHORE_CLIENT__URL is not used"
        } else {
            "; where you reach an API but no database, --api URL asks that"
        };
        return Err(WrongUse(format!(
            "no database: LONGSHORE_DATABASE__URL is not set (postgres://user:password@host:5432/name), and no `longshore dev` runs on this machine, \
             whose PostgreSQL would be used; start one, or set the URL{api}"
        )));
    }
    open(&database)
}

/// The database at a URL.
pub fn at(url: &str) -> Result<Store, WrongUse> {
    open(&DatabaseSettings { url: Some(url.to_owned().into()), direct_url: None, pool: 4 })
}

fn open(database: &DatabaseSettings) -> Result<Store, WrongUse> {
    Store::new(database, "longshore", STATEMENT_TIMEOUT).map_err(|error| WrongUse(error.0))
}

/// The database, with a schema that this program knows.
pub async fn connect_to_schema() -> anyhow::Result<Store> {
    with_schema(connect()?).await
}

/// The same of a database that is connected to.
pub async fn with_schema(store: Store) -> anyhow::Result<Store> {
    match store.schema().await.with_context(|| format!("could not look at the database {}", store.shown()))? {
        SchemaState::Known => Ok(store),
        SchemaState::TooNew { major } => Err(SchemaTooNew(major).into()),
        SchemaState::Missing => {
            Err(anyhow!("the database {} has no schema of Longshore, or an old one: run `longshore migrate`, or start the API, which does it", store.shown()))
        }
    }
}
