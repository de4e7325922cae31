//! Why the database cannot be used, and what helps: whoever reads the one line that the log gives it should know what to do.

use std::{error::Error, io, time::Duration};

use tokio_postgres::error::SqlState;

/// What keeps the database away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    said: String,
    /// As far as it can be told.
    pub cause: Cause,
}

impl std::fmt::Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.said)
    }
}

impl Error for Away {}

/// Kinds of causes: each has its own remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No answer: a cut network, a frozen or overloaded server.
    Silent,
    /// Nobody knows the host's name.
    UnknownHost,
    /// The host is there, and nothing listens on the port.
    Refused,
    /// It is just starting, stopping or recovering.
    NotReady,
    /// It does not take the user or the password.
    Credentials,
    /// It has no database of that name.
    NoDatabase,
    /// It takes no more connections.
    Full,
    /// Its disk is full, or it has no memory left.
    NoRoom,
    /// It is a standby, or was made read-only.
    ReadOnly,
    /// All connections that this process may have are in use.
    PoolInUse,
    /// Somebody's open transaction holds what was needed.
    Locked,
    /// Anything else.
    Other,
}

impl Cause {
    /// What helps.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Silent => "is the network between here and there in order, and the server not overloaded?",
            Self::UnknownHost => "is the host in LONGSHORE_DATABASE__URL spelled right? a container's name is known only while it runs, on its own networks",
            Self::Refused => "start PostgreSQL, or correct host and port in LONGSHORE_DATABASE__URL",
            Self::NotReady => "wait; if it stays so, PostgreSQL's own log says why",
            Self::Credentials => "correct user and password in LONGSHORE_DATABASE__URL; PostgreSQL's own log tells more than it tells us",
            Self::NoDatabase => "create the database, or correct the name at the end of LONGSHORE_DATABASE__URL",
            Self::Full => "raise max_connections of PostgreSQL, or lower LONGSHORE_DATABASE__POOL or the number of processes",
            Self::NoRoom => "make room on PostgreSQL's disk or in its memory",
            Self::ReadOnly => "let LONGSHORE_DATABASE__URL name the primary, or all hosts and target_session_attrs=read-write",
            Self::PoolInUse => "raise LONGSHORE_DATABASE__POOL, or find out what makes PostgreSQL slow",
            Self::Locked => "`longshore doctor` names the transaction that holds it: end that",
            Self::Other => "PostgreSQL's own log may tell more",
        }
    }

    /// Whether it stays until a person does something. Such a cause is told even where it comes to light late, when the
    /// database was away for another reason first.
    pub fn wants_a_person(self) -> bool {
        matches!(self, Self::Credentials | Self::NoDatabase | Self::Full | Self::NoRoom | Self::ReadOnly)
    }

    /// Of an error that the server sent; `None` where it is no sign of being away.
    pub(super) fn of_code(code: &SqlState) -> Option<Self> {
        Some(match code.code() {
            "25006" => Self::ReadOnly,
            "53300" => Self::Full,
            "55P03" => Self::Locked,
            "57014" => return None, // a cancelled query
            code => match code.get(..2).unwrap_or_default() {
                "28" => Self::Credentials,
                "3D" => Self::NoDatabase,
                "53" => Self::NoRoom,
                "57" => Self::NotReady,
                "08" | "58" => Self::Other,
                _ => return None,
            },
        })
    }

    /// Of an error on this side.
    fn of_error(error: &(dyn Error + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(error), |&error| error.source());
        let Some(error) = causes.find_map(<dyn Error>::downcast_ref::<io::Error>) else { return Self::Other };
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused, // not found: a socket's file
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Silent,
            // the resolver's errors have no kind of their own
            _ if error.to_string().contains("lookup address") => Self::UnknownHost,
            _ => Self::Other,
        }
    }
}

impl Away {
    /// With words of one's own.
    pub fn new(cause: Cause, said: impl Into<String>) -> Self {
        Self { said: said.into(), cause }
    }

    /// It did not answer in time.
    pub(super) fn silent(within: Duration) -> Self {
        Self::new(Cause::Silent, format!("no answer within {}", crate::duration::display(within)))
    }

    /// The connection could not be made, or broke.
    pub(super) fn broken(error: &(dyn Error + 'static)) -> Self {
        Self::new(Cause::of_error(error), crate::log::chain(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_causes() {
        for (code, cause) in [
            (SqlState::INVALID_PASSWORD, Some(Cause::Credentials)),
            (SqlState::INVALID_CATALOG_NAME, Some(Cause::NoDatabase)),
            (SqlState::TOO_MANY_CONNECTIONS, Some(Cause::Full)),
            (SqlState::DISK_FULL, Some(Cause::NoRoom)),
            (SqlState::CANNOT_CONNECT_NOW, Some(Cause::NotReady)),
            (SqlState::ADMIN_SHUTDOWN, Some(Cause::NotReady)),
            (SqlState::READ_ONLY_SQL_TRANSACTION, Some(Cause::ReadOnly)),
            (SqlState::CONNECTION_FAILURE, Some(Cause::Other)),
            (SqlState::LOCK_NOT_AVAILABLE, Some(Cause::Locked)),
            (SqlState::QUERY_CANCELED, None),
            (SqlState::UNIQUE_VIOLATION, None),
            (SqlState::SYNTAX_ERROR, None),
        ] {
            assert_eq!(Cause::of_code(&code), cause, "{}", code.code());
        }
    }

    #[test]
    fn errors_of_this_side_have_causes() {
        let of = |error: io::Error| Away::broken(&error).cause;
        assert_eq!(of(io::ErrorKind::ConnectionRefused.into()), Cause::Refused);
        assert_eq!(of(io::ErrorKind::TimedOut.into()), Cause::Silent);
        assert_eq!(of(io::Error::other("failed to lookup address information: Name or service not known")), Cause::UnknownHost);
        assert_eq!(of(io::ErrorKind::BrokenPipe.into()), Cause::Other);
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows() {
        let error = tokio::net::TcpStream::connect("nobody.invalid:5432").await.expect_err("RFC 2606: .invalid never resolves");
        assert_eq!(Away::broken(&error).cause, Cause::UnknownHost, "{error}");
    }
}
