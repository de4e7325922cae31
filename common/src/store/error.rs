//! What can go wrong in the store.

use tokio_postgres::error::SqlState;

use super::away::{Away, Cause};

/// Why a call of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// PostgreSQL is down, cut off, read-only or full of connections. It may come back: try again. Where it was a write,
    /// it is not known whether it was stored.
    #[error("could not {what}")]
    Unavailable {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: Away,
    },
    /// The unique key of a new job with `on_conflict: reject` is held.
    #[error("unique key \"{key}\" is held by job {standing}")]
    KeyHeld {
        /// Index of the job among those that were to be enqueued.
        index: usize,
        /// The key.
        key: String,
        /// Who holds it.
        standing: i64,
    },
    /// The unique key of a new job is held by a job of a queue that the caller may neither see nor use.
    #[error("unique key \"{key}\" is held by a job of another queue than the caller's")]
    KeyHeldElsewhere {
        /// Index of the job among those that were to be enqueued.
        index: usize,
        /// The key.
        key: String,
    },
    /// As many jobs wait in the queue of a new one as may.
    #[error("queue \"{queue}\" is full")]
    QueueFull {
        /// Which.
        queue: String,
    },
    /// The search for jobs took longer than a statement may, though the database is there: the filter leads to too many that do
    /// not meet it.
    #[error("could not {what} in time, though the database is there")]
    TooWide {
        /// What was tried.
        what: &'static str,
    },
    /// The database refused a statement: a value that it cannot take, or a fault of ours.
    #[error("the database refused to {what}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// What it said.
        #[source]
        source: DatabaseSaid,
    },
    /// A row does not fit its type: somebody changed the tables by hand, or a fault of ours.
    #[error("{table} {id} is corrupt: {why}")]
    Corrupt {
        /// Which table or view.
        table: &'static str,
        /// Which row.
        id: i64,
        /// What does not fit.
        why: String,
    },
}

/// An error of PostgreSQL in full: tokio-postgres shows no more than "db error".
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct DatabaseSaid {
    text: String,
    code: Option<SqlState>,
}

impl StoreError {
    /// Whether trying again later may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Whether somebody's open transaction holds what was needed. Nothing was done then.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Unavailable { source, .. } if source.cause == Cause::Locked)
    }

    /// Whether the same may go well another time: what was tried is not at fault.
    pub fn may_pass(&self) -> bool {
        self.is_unavailable() || self.is_collision() || self.code() == Some(&SqlState::QUERY_CANCELED)
    }

    /// Whether the transaction met another one and may simply be repeated.
    pub(super) fn is_collision(&self) -> bool {
        self.code().is_some_and(|code| [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code))
    }

    /// What PostgreSQL calls it, where it refused.
    pub(super) fn code(&self) -> Option<&SqlState> {
        if let Self::Refused { source, .. } = self { source.code.as_ref() } else { None }
    }

    pub(super) fn from_postgres(what: &'static str, error: &tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            // what is not said by the server is the connection's fault, except what we encoded or read wrongly
            let text = crate::log::chain(error);
            return if error.is_closed()
                || std::error::Error::source(error).is_some_and(<dyn std::error::Error + 'static>::is::<std::io::Error>)
                || text.contains("connect")
                || text.contains("timeout")
            {
                Self::Unavailable { what, source: Away::broken(error) }
            } else {
                Self::Refused { what, source: DatabaseSaid { text, code: None } }
            };
        };
        let mut text = format!("{} ({})", db.message(), db.code().code());
        for (name, part) in [("detail", db.detail()), ("hint", db.hint()), ("where", db.where_())] {
            if let Some(part) = part {
                text += &format!("; {name}: {}", part.replace('\n', " "));
            }
        }
        if matches!(*db.code(), SqlState::DUPLICATE_PSTATEMENT | SqlState::INVALID_SQL_STATEMENT_NAME) {
            text +=
                "; a pooler stands in between that does not carry prepared statements over: PgBouncer does from 1.21 on, with max_prepared_statements = 200";
        }
        match Cause::of_code(db.code()) {
            Some(cause) => Self::Unavailable { what, source: Away::new(cause, text) },
            None => Self::Refused { what, source: DatabaseSaid { text, code: Some(db.code().clone()) } },
        }
    }

    pub(super) fn from_pool(what: &'static str, error: &deadpool_postgres::PoolError) -> Self {
        use deadpool_postgres::{PoolError, TimeoutType};
        let source = match error {
            PoolError::Backend(error) => match Self::from_postgres(what, error) {
                Self::Refused { source, .. } => Away::new(Cause::Other, source.text),
                other => return other,
            },
            PoolError::Timeout(TimeoutType::Wait) => Away::new(Cause::PoolInUse, "all connections of the pool are in use"),
            PoolError::Timeout(_) => Away::new(Cause::Silent, "no connection could be made in time"),
            other => Away::broken(other),
        };
        Self::Unavailable { what, source }
    }
}
