//! The schema: tables by numbered migrations, functions and views replaced as a whole when they change. Any number of
//! programs may start at once on an empty database: an advisory lock lets one work, the others find it done.

use std::{hash::Hasher, time::Duration};

use futures_util::StreamExt;
use refinery::error::Kind;
use tokio_postgres::{AsyncMessage, Client};

use super::{Away, Statement, Store, StoreError, statement};

/// Raised by a change that older programs cannot work with; they exit with 3 then.
pub const MAJOR: i32 = 1;
/// Raised by every other change.
pub const MINOR: i32 = 2;

const VERSION: Statement = statement!("read the schema's version", "schema/version.sql");
const ROLES_WAIT: Statement = statement!("look for roles without rights", "schema/roles_wait.sql");
/// Any number, the same in all programs: "longshor" in ASCII.
const LOCK: i64 = 0x6c6f_6e67_7368_6f72;

mod migrations {
    refinery::embed_migrations!("migrations");
}

const ROUTINES: &[(&str, &str)] = &[
    ("01_words", include_str!("../../sql/routines/01_words.sql")),
    ("02_enqueue_batch", include_str!("../../sql/routines/02_enqueue_batch.sql")),
    ("03_enqueue", include_str!("../../sql/routines/03_enqueue.sql")),
    ("04_claim", include_str!("../../sql/routines/04_claim.sql")),
    ("05_report", include_str!("../../sql/routines/05_report.sql")),
    ("06_duties", include_str!("../../sql/routines/06_duties.sql")),
    ("07_views", include_str!("../../sql/routines/07_views.sql")),
    ("08_explain", include_str!("../../sql/routines/08_explain.sql")),
    ("09_control", include_str!("../../sql/routines/09_control.sql")),
    ("10_events", include_str!("../../sql/routines/10_events.sql")),
    ("11_queues", include_str!("../../sql/routines/11_queues.sql")),
    ("12_failures", include_str!("../../sql/routines/12_failures.sql")),
    ("13_notes", include_str!("../../sql/routines/13_notes.sql")),
    ("14_activity", include_str!("../../sql/routines/14_activity.sql")),
    ("15_leases", include_str!("../../sql/routines/15_leases.sql")),
    ("16_roles", include_str!("../../sql/routines/16_roles.sql")),
    ("17_limits", include_str!("../../sql/routines/17_limits.sql")),
    ("18_workflows", include_str!("../../sql/routines/18_workflows.sql")),
];

/// What a program may do with the schema it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// It is one that this program knows.
    Known,
    /// There is none yet, or an older one: whoever migrates has to run first.
    Missing,
    /// It is of a newer major version: touch nothing.
    TooNew {
        /// Which.
        major: i32,
    },
}

/// Why migrating failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database is away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The schema is of a newer major version.
    #[error("the schema has major version {0}, this program knows {MAJOR}: install a newer Longshore; nothing was changed")]
    TooNew(i32),
    /// A migration that this program knows otherwise, or not at all.
    #[error("the schema was made by another build of Longshore ({0}); use that build, or a new database; nothing was changed")]
    OfAnother(String),
    /// A migration failed; it was rolled back.
    #[error("the migration failed and was rolled back; the database user needs the right to create the schema longshore")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Store {
    /// What this program may do with the schema.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn schema(&self) -> Result<SchemaState, StoreError> {
        let exists: bool = self.query_one(statement!("look for the schema", "schema/exists.sql"), &[]).await?.get(0);
        if !exists {
            return Ok(SchemaState::Missing);
        }
        let rows = self.query(VERSION, &[]).await?;
        let Some(row) = rows.first() else { return Ok(SchemaState::Missing) };
        let (major, minor): (i32, i32) = (row.get(0), row.get(1));
        Ok(match major {
            _ if major > MAJOR => SchemaState::TooNew { major },
            _ if (major, minor + 1) < (MAJOR, MINOR) => SchemaState::Missing,
            _ => SchemaState::Known,
        })
    }

    /// Brings the schema up to this program's version; does nothing where it is. Returns whether anything was changed.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub async fn migrate(&self) -> Result<bool, MigrateError> {
        if let SchemaState::TooNew { major } = self.schema().await? {
            return Err(MigrateError::TooNew(major));
        }
        let (mut client, messages) = self.connect_directly().await?;
        // notices ("role … could not be made") belong into the log
        tokio::spawn(messages.for_each(|message| async {
            if let Ok(AsyncMessage::Notice(notice)) = message
                && notice.code().code() == "00000"
                && notice.message().starts_with("role ")
            {
                tracing::warn!("{}", notice.message());
            }
        }));
        let locked = client.query("select pg_advisory_lock($1)", &[&LOCK]);
        match tokio::time::timeout(Duration::from_mins(2), locked).await {
            Ok(result) => drop(result.map_err(|error| failed(&error))?),
            Err(_) => return Err(StoreError::Unavailable { what: "wait for another migration", source: Away::silent(Duration::from_mins(2)) }.into()),
        }
        let result = migrate_locked(&mut client).await;
        let _ = client.query("select pg_advisory_unlock($1)", &[&LOCK]).await; // the end of the connection does it too
        result
    }
}

fn failed(error: &tokio_postgres::Error) -> MigrateError {
    StoreError::from_postgres("migrate the schema", error).into()
}

async fn migrate_locked(client: &mut Client) -> Result<bool, MigrateError> {
    let fingerprint = fingerprint();
    let current = client.query_opt("select 1 from pg_class where oid = to_regclass('longshore.schema_version')", &[]).await.map_err(|e| failed(&e))?;
    if current.is_some()
        && let Some(row) = client.query_opt("select major, minor, routines from longshore.schema_version", &[]).await.map_err(|e| failed(&e))?
    {
        let (major, minor, routines): (i32, i32, String) = (row.get(0), row.get(1), row.get(2));
        if major > MAJOR {
            return Err(MigrateError::TooNew(major));
        }
        // a newer program's schema is left as it is: functions never go back
        let same = (major, minor) == (MAJOR, MINOR) && routines == fingerprint;
        if (major, minor) > (MAJOR, MINOR) || same && !client.query_one(ROLES_WAIT.text, &[]).await.map_err(|e| failed(&e))?.get::<_, bool>(0) {
            return Ok(false);
        }
    }
    client.batch_execute("create schema if not exists longshore").await.map_err(|e| failed(&e))?;
    let mut runner = migrations::migrations::runner();
    runner.set_migration_table_name("longshore.schema_history");
    runner.run_async(client).await.map_err(|error| match error.kind() {
        Kind::DivergentVersion(applied, _) | Kind::MissingVersion(applied) => MigrateError::OfAnother(format!("its {applied} is not this one's")),
        _ => MigrateError::Failed(Box::new(error)),
    })?;
    let transaction = client.transaction().await.map_err(|e| failed(&e))?;
    for (name, text) in ROUTINES {
        transaction.batch_execute(text).await.map_err(|error| match StoreError::from_postgres("install functions and views", &error) {
            away @ StoreError::Unavailable { .. } => MigrateError::Store(away),
            other => MigrateError::Failed(format!("{name}: {}", crate::log::chain(&other)).into()),
        })?;
    }
    transaction
        .execute(
            "insert into longshore.schema_version (major, minor, routines) values ($1, $2, $3)
             on conflict (one) do update set major = excluded.major, minor = excluded.minor, routines = excluded.routines",
            &[&MAJOR, &MINOR, &fingerprint],
        )
        .await
        .map_err(|e| failed(&e))?;
    transaction.commit().await.map_err(|e| failed(&e))?;
    Ok(true)
}

/// Changes when any routine does. FNV-1a: it must be the same in every build, which the standard hasher does not promise.
pub(super) fn fingerprint() -> String {
    struct Fnv(u64);
    impl Hasher for Fnv {
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        fn finish(&self) -> u64 {
            self.0
        }
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    for (_, text) in ROUTINES {
        hasher.write(text.as_bytes());
    }
    format!("{:016x}", hasher.finish())
}
