//! The facts that [`crate::doctor`] judges. What the user may not see is left out, and not an error.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio_postgres::{AsyncMessage, Row};

use super::{
    Statement, Store, StoreError, field,
    migrate::{MAJOR, MINOR, SchemaState, fingerprint},
    statement,
};
use crate::doctor::{Facts, Holder, HolderSort, Jobs, Locker, Overdue, Schema, Server, Sessions, Slot, Table, Undone, Waiting, WorkerLife};

const SERVER: Statement = statement!("look at the server", "doctor/server.sql");
const CONNECTIONS: Statement = statement!("look who is connected", "doctor/connections.sql");
const HOLDERS: Statement = statement!("look for old snapshots", "doctor/holders.sql");
const LOCKS: Statement = statement!("look who holds up others", "doctor/locks.sql");
const SLOTS: Statement = statement!("look at the replication slots", "doctor/slots.sql");
const TABLES: Statement = statement!("look at the tables", "doctor/tables.sql");
const WAL: Statement = statement!("look at the write-ahead log", "doctor/wal.sql");
const MADE: Statement = statement!("read the schema's version", "doctor/made.sql");
const OBJECTS: Statement = statement!("look at what the schema is made of", "doctor/objects.sql");
const WORKERS: Statement = statement!("look at the workers", "doctor/workers.sql");
const OVERDUE: Statement = statement!("look for jobs beyond their timeout", "doctor/overdue.sql");
const UNDONE: Statement = statement!("look at what is due", "doctor/undone.sql");
const WAITING: Statement = statement!("look for jobs that nobody starts", "doctor/waiting.sql");
const TELL: Statement = statement!("notify", "watch/tell.sql");

/// Where the round trip of a notification goes.
const CHANNEL: &str = "longshore_doctor";
/// A notification arrives within milliseconds, or never.
const ARRIVES_WITHIN: Duration = Duration::from_secs(2);
/// Who truncates or alters a table is through in a moment: so often, and after so long, those who lock it are looked at again.
const LOOKS: u32 = 9;
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// `insufficient_privilege`.
const MAY_NOT: &str = "42501";

/// What was read, or `None` where the user may not.
fn seen<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Err(error) if error.code().is_some_and(|code| code.code() == MAY_NOT) => Ok(None),
        result => result.map(Some),
    }
}

impl Store {
    /// All facts, read one after the other: they are of about the same moment.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn facts(&self) -> Result<Facts, StoreError> {
        let server = server(&self.query_one(SERVER, &[]).await?)?;
        let connections = read(&self.query(CONNECTIONS, &[]).await?, sessions)?;
        let holders = read(&self.query(HOLDERS, &[]).await?, holder)?;
        let mut lockers = read(&self.query(LOCKS, &[]).await?, locker)?;
        for _ in 0..LOOKS {
            if !lockers.iter().any(|locker| locker.barred) {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            lockers = read(&self.query(LOCKS, &[]).await?, locker)?;
        }
        let slots = read(&self.query(SLOTS, &[]).await?, slot)?;
        let wal_bytes = seen(self.query_one(WAL, &[]).await)?.map(|row| field(&row, "bytes", "pg_wal", 0)).transpose()?;
        if lockers.iter().any(|locker| locker.barred) {
            // whoever reads a table now waits with all the others; what is known names the culprit
            return Ok(Facts { server, connections, holders, lockers, slots, tables: Vec::new(), wal_bytes, schema: Schema::Locked, jobs: None });
        }
        let tables = read(&self.query(TABLES, &[]).await?, table)?;
        let schema = self.schema_made().await?;
        let jobs = if matches!(schema, Schema::Known { .. }) { seen(self.job_facts().await)? } else { None };
        Ok(Facts { server, connections, holders, lockers, slots, tables, wal_bytes, schema, jobs })
    }

    async fn schema_made(&self) -> Result<Schema, StoreError> {
        let unseen = || Schema::Unseen { why: "this user may not read it".to_owned() };
        let Some(state) = seen(self.schema().await)? else { return Ok(unseen()) };
        match state {
            SchemaState::Missing => return Ok(Schema::Missing),
            SchemaState::TooNew { major } => return Ok(Schema::TooNew { major }),
            SchemaState::Known => {}
        }
        let Some(row) = seen(self.query_one(MADE, &[]).await)? else { return Ok(unseen()) };
        let get = "schema_version";
        let version = (field(&row, "major", get, 0)?, field(&row, "minor", get, 0)?);
        let ours = version == (MAJOR, MINOR) && field::<String>(&row, "routines", get, 0)? == fingerprint();
        let objects = self.objects().await?;
        Ok(Schema::Known { version, ours, objects })
    }

    /// What the schema is made of, as [`crate::doctor::objects`] compares it: a name, and what belongs to it.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn objects(&self) -> Result<Vec<(String, String)>, StoreError> {
        read(&self.query(OBJECTS, &[]).await?, |row| Ok((get(row, "name")?, get(row, "detail")?)))
    }

    async fn job_facts(&self) -> Result<Jobs, StoreError> {
        let overdue = self.query(OVERDUE, &[]).await?;
        Ok(Jobs {
            workers: read(&self.query(WORKERS, &[]).await?, worker)?,
            overdue_count: overdue.first().map_or(Ok(0), |row| get(row, "jobs"))?,
            overdue: read(&overdue, self::overdue)?,
            undone: read(&self.query(UNDONE, &[]).await?, |row| Ok(Undone { what: get(row, "what")?, count: get(row, "n")?, age: get(row, "age")? }))?,
            waiting: read(&self.query(WAITING, &[]).await?, waiting)?,
        })
    }

    /// Whether a notification that is sent through the pool arrives where programs listen.
    ///
    /// # Errors
    /// Where nobody can listen there, or the database is away.
    pub async fn notifications_arrive(&self) -> Result<bool, StoreError> {
        let (client, mut messages) = self.connect_directly().await?;
        let payload = format!("{:016x}", fastrand::u64(..));
        let listen = format!("listen {CHANNEL}");
        let (tells, arrival) = tokio::sync::oneshot::channel();
        let expected = payload.clone();
        // the messages must be read while the statement is under way
        tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                if let Ok(AsyncMessage::Notification(note)) = message
                    && note.payload() == expected
                {
                    let _ = tells.send(()); // whoever has given up needs no answer
                    return;
                }
            }
        });
        self.bounded("listen for notifications", async {
            client.batch_execute(&listen).await.map_err(|error| StoreError::from_postgres("listen for notifications", &error))
        })
        .await?;
        self.query(TELL, &[&[CHANNEL].as_slice(), &[payload].as_slice()]).await?;
        Ok(matches!(tokio::time::timeout(ARRIVES_WITHIN, arrival).await, Ok(Ok(()))))
    }
}

fn read<T>(rows: &[Row], one: impl Fn(&Row) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
    rows.iter().map(one).collect()
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, column: &str) -> Result<T, StoreError> {
    field(row, column, "the catalogs", 0)
}

fn server(row: &Row) -> Result<Server, StoreError> {
    Ok(Server {
        version: get(row, "version")?,
        version_num: get(row, "version_num")?,
        now: get(row, "now")?,
        read: Instant::now(),
        started_at: get(row, "started_at")?,
        standby: get(row, "standby")?,
        user: get(row, "user")?,
        sees_all: get(row, "sees_all")?,
        by_socket: get(row, "by_socket")?,
        max_connections: get(row, "max_connections")?,
        reserved_connections: get(row, "reserved_connections")?,
        fsync: get(row, "fsync")?,
        full_page_writes: get(row, "full_page_writes")?,
        synchronous_commit: get(row, "synchronous_commit")?,
        autovacuum: get(row, "autovacuum")?,
        track_counts: get(row, "track_counts")?,
        idle_in_transaction_session_timeout: get(row, "idle_in_transaction_session_timeout")?,
        max_wal_bytes: get(row, "max_wal_bytes")?,
        wal_keep_bytes: get(row, "wal_keep_bytes")?,
        unarchived: get(row, "unarchived")?,
        data_directory: get(row, "data_directory")?,
    })
}

fn sessions(row: &Row) -> Result<Sessions, StoreError> {
    Ok(Sessions { application: get(row, "application")?, user: get(row, "user")?, state: get(row, "state")?, count: get(row, "count")? })
}

fn holder(row: &Row) -> Result<Holder, StoreError> {
    let sort = match get(row, "sort")? {
        "transaction" => HolderSort::Transaction,
        "prepared" => HolderSort::Prepared,
        _ => HolderSort::Standby,
    };
    Ok(Holder {
        sort,
        pid: get(row, "pid")?,
        name: get(row, "name")?,
        user: get(row, "user")?,
        application: get(row, "application")?,
        state: get(row, "state")?,
        age: get(row, "age")?,
        xmin_age: get(row, "xmin_age")?,
        query: get(row, "query")?,
    })
}

fn locker(row: &Row) -> Result<Locker, StoreError> {
    Ok(Locker {
        pid: get(row, "pid")?,
        user: get(row, "user")?,
        application: get(row, "application")?,
        state: get(row, "state")?,
        age: get(row, "age")?,
        query: get(row, "query")?,
        tables: get(row, "tables")?,
        waiting: get(row, "waiting")?,
        waited: get(row, "waited")?,
        barred: get(row, "barred")?,
    })
}

fn slot(row: &Row) -> Result<Slot, StoreError> {
    Ok(Slot {
        name: get(row, "name")?,
        sort: get(row, "type")?,
        active: get(row, "active")?,
        xmin_age: get(row, "xmin_age")?,
        catalog_xmin_age: get(row, "catalog_xmin_age")?,
        retained: get(row, "retained")?,
        lost: get(row, "lost")?,
    })
}

fn table(row: &Row) -> Result<Table, StoreError> {
    Ok(Table {
        name: get(row, "name")?,
        live: get(row, "live")?,
        dead: get(row, "dead")?,
        bytes: get(row, "bytes")?,
        last_autovacuum: get(row, "last_autovacuum")?,
        last_vacuum: get(row, "last_vacuum")?,
        autovacuum: get(row, "autovacuum")?,
    })
}

fn worker(row: &Row) -> Result<WorkerLife, StoreError> {
    Ok(WorkerLife {
        name: get(row, "name")?,
        pulls: get(row, "pulls")?,
        alive: get(row, "alive")?,
        silent: get(row, "silent")?,
        lease: get(row, "lease")?,
        running: get(row, "running")?,
    })
}

fn overdue(row: &Row) -> Result<Overdue, StoreError> {
    Ok(Overdue {
        id: get(row, "id")?,
        kind: get(row, "kind")?,
        queue: get(row, "queue")?,
        worker: get(row, "worker")?,
        running: get(row, "running")?,
        timeout: get(row, "timeout")?,
    })
}

fn waiting(row: &Row) -> Result<Waiting, StoreError> {
    Ok(Waiting { queue: get(row, "queue")?, kind: get(row, "kind")?, paused: get(row, "paused")?, jobs: get(row, "jobs")?, age: get(row, "age")? })
}
