//! Why there is no PostgreSQL, in words that say what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::programs::OLDEST_MAJOR;

/// What a machine needs so that the next try succeeds.
const INSTALL: &str = "\
install one:
  Debian, Ubuntu  apt install postgresql
  Fedora          dnf install postgresql-server
  macOS           brew install postgresql@18
or name a server that runs already: LONGSHORE_DATABASE__URL=postgres://user:password@host/database";

/// Why a private PostgreSQL could not be started or did not stay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivatePostgresError {
    /// Neither an installed nor the embedded PostgreSQL can be run.
    #[error("no PostgreSQL {OLDEST_MAJOR} or newer can be run here\n{}\n{INSTALL}", listed(tried))]
    NoPrograms {
        /// Each place looked at, with what was wrong there.
        tried: Vec<String>,
    },

    /// The data was written by a major version that is not installed.
    #[error(
        "{data_dir} holds data of PostgreSQL {data}, which only PostgreSQL {data} can read, and none was found\n{}\n\
         install PostgreSQL {data} to keep the data, or move {data_dir} away to start empty",
        listed(tried)
    )]
    OtherMajor {
        /// The folder of the server.
        data_dir: PathBuf,
        /// The major version that wrote the data.
        data: u32,
        /// Each place looked at, with what was found there.
        tried: Vec<String>,
    },

    /// Another process runs a server on this data.
    #[error("{data_dir} is in use by {}: stop that process first, or choose another folder", holder(*.pid))]
    InUse {
        /// The folder of the server.
        data_dir: PathBuf,
        /// The process that holds it, where it could be read.
        pid: Option<u32>,
    },

    /// The folder is owned by somebody whom we should not trust with our data.
    #[error("{path} belongs to user {owner}, not to us (user {us}): remove it, or choose another folder")]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// The user id that owns it.
        owner: u32,
        /// The user id that we run as.
        us: u32,
    },

    /// We are root, PostgreSQL refuses to run as root, and no other user is there to run it.
    #[error("PostgreSQL does not run as root, and neither a user `postgres` nor a user `nobody` exists to run it as")]
    NoUser,

    /// The user that PostgreSQL runs as cannot enter the folder.
    #[error(
        "PostgreSQL does not run as root but as user `{user}`, who cannot enter {path}: \
         choose a folder outside of private home directories, such as /var/lib/longshore/dev"
    )]
    Unreachable {
        /// The folder.
        path: PathBuf,
        /// The user that PostgreSQL runs as.
        user: String,
    },

    /// A file operation failed.
    #[error("could not {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },

    /// A program of PostgreSQL could not be started.
    #[error("could not start {program}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why it failed.
        source: io::Error,
    },

    /// The data could not be created.
    #[error("{program} could not create a database cluster in {data_dir} ({status}):\n{output}")]
    Create {
        /// The program that failed.
        program: PathBuf,
        /// The folder of the server.
        data_dir: PathBuf,
        /// How the program ended.
        status: String,
        /// The last lines that it wrote.
        output: String,
    },

    /// The server ended by itself.
    #[error("PostgreSQL {version} on {data_dir} ended ({status}), its log {log_file} says:\n{log}")]
    Ended {
        /// The version of the server.
        version: String,
        /// The folder of the server.
        data_dir: PathBuf,
        /// How the server ended.
        status: String,
        /// The log.
        log_file: PathBuf,
        /// The last lines of this run in the log.
        log: String,
    },

    /// The server did not accept connections in time.
    #[error("PostgreSQL {version} on {data_dir} was not ready within {within:?}, its log {log_file} says:\n{log}")]
    NotReady {
        /// The version of the server.
        version: String,
        /// The folder of the server.
        data_dir: PathBuf,
        /// How long we waited.
        within: Duration,
        /// The log.
        log_file: PathBuf,
        /// The last lines of this run in the log.
        log: String,
    },
}

/// Names the operation and the path for an [`io::Error`], which names neither.
pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PrivatePostgresError {
    let path = path.to_owned();
    move |source| PrivatePostgresError::File { action, path, source }
}

fn listed(tried: &[String]) -> String {
    let lines: Vec<_> = tried.iter().map(|line| format!("  tried {line}")).collect();
    lines.join("\n")
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
