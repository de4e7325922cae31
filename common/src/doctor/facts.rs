//! What was seen of a database, before anybody judges it. Times are seconds, sizes bytes, ages of snapshots transactions.

use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;

/// All that was seen, within a moment.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The server.
    pub server: Server,
    /// Who holds connections, most first.
    pub connections: Vec<Sessions>,
    /// What may keep vacuum from removing dead rows.
    pub holders: Vec<Holder>,
    /// Who holds up others.
    pub lockers: Vec<Locker>,
    /// Replication slots.
    pub slots: Vec<Slot>,
    /// The tables of the schema; empty: there is none.
    pub tables: Vec<Table>,
    /// The write-ahead log on the disk; `None`: the user may not see it.
    pub wal_bytes: Option<i64>,
    /// The schema.
    pub schema: Schema,
    /// Jobs and workers; `None`: there is no schema that is known, or the user may not read it.
    pub jobs: Option<Jobs>,
}

impl Facts {
    /// What may keep vacuum from removing dead rows: slots too, whose age is known in transactions alone.
    pub fn all_holders(&self) -> Vec<Holder> {
        let slots = self.slots.iter().filter(|slot| slot.xmin_age.or(slot.catalog_xmin_age).is_some()).map(|slot| Holder {
            sort: HolderSort::Slot,
            pid: None,
            name: Some(slot.name.clone()),
            user: None,
            application: None,
            state: Some(if slot.active { "active" } else { "inactive" }.to_owned()),
            age: None,
            xmin_age: slot.xmin_age.or(slot.catalog_xmin_age),
            query: None,
        });
        let mut all: Vec<Holder> = self.holders.iter().cloned().chain(slots).collect();
        all.sort_by_key(|holder| std::cmp::Reverse(holder.xmin_age));
        all
    }
}

/// What the server says of itself.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "they are the server's own switches")]
pub struct Server {
    /// As text, such as `17.5`.
    pub version: String,
    /// 170005 for 17.5.
    pub version_num: i32,
    /// Its clock.
    pub now: Timestamp,
    /// When that was, on this machine.
    pub read: Instant,
    /// When it was started.
    pub started_at: Timestamp,
    /// Whether it is in recovery, and so read-only.
    pub standby: bool,
    /// Who asks.
    pub user: String,
    /// Whether that user sees what others do.
    pub sees_all: bool,
    /// Whether it was reached through a Unix socket, and so is on the same machine.
    pub by_socket: bool,
    /// Connections at most.
    pub max_connections: i32,
    /// Of these, for superusers and the like alone.
    pub reserved_connections: i32,
    /// `fsync`.
    pub fsync: bool,
    /// `full_page_writes`.
    pub full_page_writes: bool,
    /// `synchronous_commit` is not off.
    pub synchronous_commit: bool,
    /// `autovacuum`.
    pub autovacuum: bool,
    /// `track_counts`.
    pub track_counts: bool,
    /// `idle_in_transaction_session_timeout`, as PostgreSQL prints it; `0`: none.
    pub idle_in_transaction_session_timeout: String,
    /// `max_wal_size`.
    pub max_wal_bytes: i64,
    /// `wal_keep_size`.
    pub wal_keep_bytes: i64,
    /// The file of the write-ahead log that could not be archived last, where none could since.
    pub unarchived: Option<String>,
    /// Where its data lie; `None`: the user may not see it.
    pub data_directory: Option<String>,
}

/// Connections that are alike.
#[derive(Debug, Clone, Serialize)]
pub struct Sessions {
    /// `application_name`; empty: it has none, or it is not seen.
    pub application: String,
    /// The user.
    pub user: String,
    /// What they do; `unknown`: the user who asks may not see it.
    pub state: String,
    /// How many.
    pub count: i64,
}

/// A transaction that has locked a table of the schema, or that others wait for.
#[derive(Debug, Clone)]
pub struct Locker {
    /// The process; `None`: a prepared transaction.
    pub pid: Option<i32>,
    /// The user.
    pub user: Option<String>,
    /// `application_name`.
    pub application: Option<String>,
    /// What it does; `None`: not seen.
    pub state: Option<String>,
    /// For how long its transaction has been open.
    pub age: Option<f64>,
    /// The beginning of its last statement.
    pub query: Option<String>,
    /// The tables of the schema that it has locked against who writes or reads there.
    pub tables: Option<String>,
    /// How many statements wait for it, directly or behind others.
    pub waiting: i64,
    /// For how long the first of them has.
    pub waited: f64,
    /// Whether a table of the schema cannot be read, and could not for two seconds, by this one's fault or another's.
    pub barred: bool,
}

/// What sort of thing may hold vacuum back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HolderSort {
    /// An open transaction of this database.
    Transaction,
    /// A prepared transaction of this database.
    Prepared,
    /// A replication slot.
    Slot,
    /// A standby with `hot_standby_feedback`, without a slot.
    Standby,
}

/// What may keep vacuum from removing dead rows.
#[derive(Debug, Clone, Serialize)]
pub struct Holder {
    /// What it is.
    pub sort: HolderSort,
    /// Its process, where it has one.
    pub pid: Option<i32>,
    /// Its name, where it has no process; of a standby, its address.
    pub name: Option<String>,
    /// Whose it is.
    pub user: Option<String>,
    /// Its `application_name`.
    pub application: Option<String>,
    /// What it does.
    pub state: Option<String>,
    /// How long it has been open; `None`: that is not known of its sort.
    pub age: Option<f64>,
    /// How many transactions were begun since its snapshot.
    pub xmin_age: Option<i64>,
    /// The beginning of its last statement.
    pub query: Option<String>,
}

/// A replication slot.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// physical or logical.
    pub sort: String,
    /// Whether anybody reads from it.
    pub active: bool,
    /// How many transactions ago the rows died that it keeps.
    pub xmin_age: Option<i64>,
    /// The same, of the catalogs' rows alone.
    pub catalog_xmin_age: Option<i64>,
    /// Write-ahead log that it keeps.
    pub retained: Option<i64>,
    /// Whether what it needs is gone.
    pub lost: bool,
}

/// A table of the schema. Numbers of rows are estimates.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Live rows.
    pub live: i64,
    /// Dead rows that nobody has removed.
    pub dead: i64,
    /// On the disk, without indexes.
    pub bytes: i64,
    /// When autovacuum last came to an end there.
    pub last_autovacuum: Option<Timestamp>,
    /// When anybody last vacuumed it.
    #[serde(skip)]
    pub last_vacuum: Option<Timestamp>,
    /// Whether autovacuum may come there.
    #[serde(skip)]
    pub autovacuum: bool,
}

/// The schema, as this program finds it.
#[derive(Debug, Clone)]
pub enum Schema {
    /// There is none, or an old one.
    Missing,
    /// It is of a newer major version.
    TooNew {
        /// Which.
        major: i32,
    },
    /// Somebody has locked tables of it: nobody can read them.
    Locked,
    /// It cannot be looked at.
    Unseen {
        /// Why.
        why: String,
    },
    /// This program works with it.
    Known {
        /// Its versions.
        version: (i32, i32),
        /// Whether it is exactly this program's: the same versions and the same routines.
        ours: bool,
        /// What it is made of: a name and what belongs to it.
        objects: Vec<(String, String)>,
    },
}

/// Jobs and workers.
#[derive(Debug, Clone, Default)]
pub struct Jobs {
    /// Workers that have not stopped; those that were silent for longest first.
    pub workers: Vec<WorkerLife>,
    /// The jobs that are furthest beyond their timeout, five at most.
    pub overdue: Vec<Overdue>,
    /// How many are.
    pub overdue_count: i64,
    /// What the duties have not done.
    pub undone: Vec<Undone>,
    /// Jobs that wait though they are due: in paused queues, or of kinds that no live worker knows.
    pub waiting: Vec<Waiting>,
}

/// A worker that has not stopped, as far as its row says.
#[derive(Debug, Clone)]
pub struct WorkerLife {
    /// `host:pid:start`.
    pub name: String,
    /// A user's own worker: its leases do not hang on it.
    pub pulls: bool,
    /// Whether its last heartbeat is no older than its lease.
    pub alive: bool,
    /// Since that heartbeat.
    pub silent: f64,
    /// How long it may be silent.
    pub lease: f64,
    /// Jobs it holds.
    pub running: i64,
}

/// A running job beyond its timeout.
#[derive(Debug, Clone)]
pub struct Overdue {
    /// The job.
    pub id: i64,
    /// What it is.
    pub kind: String,
    /// Its queue.
    pub queue: String,
    /// Who holds it.
    pub worker: String,
    /// For how long.
    pub running: f64,
    /// How long it may run.
    pub timeout: f64,
}

/// Something that the duties do within seconds, and have not.
#[derive(Debug, Clone)]
pub struct Undone {
    /// What, in the plural.
    pub what: String,
    /// How many, counted to 1,000.
    pub count: i64,
    /// For how long the oldest.
    pub age: f64,
}

/// Due jobs of one lane that nobody starts.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Where.
    pub queue: String,
    /// What.
    pub kind: String,
    /// Whether the queue is paused; otherwise no live worker knows the kind.
    pub paused: bool,
    /// How many, counted to 1,000.
    pub jobs: i64,
    /// For how long the oldest of them.
    pub age: f64,
}
