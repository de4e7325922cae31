//! Facts for tests of judgements: of a server that is well.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::{Facts, Jobs, Schema, Server, Table};

pub(super) fn facts() -> Facts {
    let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24);
    let server = Server {
        version: "17.5".to_owned(),
        version_num: 170_005,
        now,
        read: Instant::now(),
        started_at: now - SignedDuration::from_hours(10),
        standby: false,
        user: "longshore".to_owned(),
        sees_all: true,
        by_socket: false,
        max_connections: 100,
        reserved_connections: 3,
        fsync: true,
        full_page_writes: true,
        synchronous_commit: true,
        autovacuum: true,
        track_counts: true,
        idle_in_transaction_session_timeout: "1min".to_owned(),
        max_wal_bytes: 1 << 30,
        wal_keep_bytes: 0,
        unarchived: None,
        data_directory: None,
    };
    let jobs = Some(Jobs::default());
    Facts { server, connections: vec![], holders: vec![], lockers: vec![], slots: vec![], tables: vec![], wal_bytes: None, schema: Schema::Missing, jobs }
}

pub(super) fn table(name: &str, live: i64, dead: i64, bytes: i64) -> Table {
    Table { name: name.to_owned(), live, dead, bytes, last_autovacuum: None, last_vacuum: None, autovacuum: true }
}
