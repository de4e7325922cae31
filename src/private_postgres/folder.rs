//! What lies where in the folder of a server, who holds it, and how others find the server in it.
//!
//! ```text
//! holder         locked while a process of ours runs the server, with that process's id
//! pgdata/        PostgreSQL's own
//! socket/        the Unix socket, unless the path cannot be one
//! postgres.log   what the server says
//! password       of the superuser, asked for over TCP only
//! url            the server that runs now
//! ```

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::hash::{Hash, Hasher};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::PrivatePostgresError;
use super::account::Account;
use super::error::at;
use super::programs::leading_number;

/// `sun_path` holds 108 bytes on Linux and 104 on macOS, one of them the final zero.
const LONGEST_SOCKET: usize = 103;

/// The log begins anew at a start once it has grown past this.
const LOG_LIMIT: u64 = 8 * 1024 * 1024;

/// How much of the log an error shows.
const LOG_LINES: usize = 20;

/// A folder that we hold: no other process starts a server in it as long as this value lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The kernel lets go of the lock when we die, however that happens.
    _holder: File,
}

impl Folder {
    /// Creates the folder where needed and takes hold of it.
    ///
    /// # Errors
    /// [`PrivatePostgresError::InUse`] where another process holds it, [`PrivatePostgresError::NotOurs`]
    /// where another user made it.
    pub(super) fn hold(path: &Path) -> Result<Self, PrivatePostgresError> {
        // Root's folder is passed through by the user that the server runs as.
        let mode = if Uid::effective().is_root() { 0o711 } else { 0o700 };
        let created = DirBuilder::new().recursive(true).mode(mode).create(path);
        created.map_err(at("create", path))?;
        let path = path.canonicalize().map_err(at("resolve", path))?;
        check_ours(&path)?;
        let holder_file = path.join("holder");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut holder = options.open(&holder_file).map_err(at("open", &holder_file))?;
        match holder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = holder.read_to_string(&mut pid);
                return Err(PrivatePostgresError::InUse { pid: leading_number(&pid), data_dir: path });
            }
            Err(TryLockError::Error(error)) => return Err(at("lock", &holder_file)(error)),
        }
        let written = holder.set_len(0).and_then(|()| writeln!(holder, "{}", std::process::id()));
        written.map_err(at("write", &holder_file))?;
        Ok(Self { path, _holder: holder })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn pgdata(&self) -> PathBuf {
        self.path.join("pgdata")
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.path.join("postgres.log")
    }

    pub(super) fn password_file(&self) -> PathBuf {
        self.path.join("password")
    }

    /// The major version that wrote the data; none where there are no data.
    pub(super) fn data_version(&self) -> Option<u32> {
        leading_number(&fs::read_to_string(self.pgdata().join("PG_VERSION")).ok()?)
    }

    /// The folder for the socket, made ready for the server.
    pub(super) fn socket_dir(&self, account: Option<&Account>, port: u16) -> Result<PathBuf, PrivatePostgresError> {
        let inside = self.path.join("socket");
        let longest = inside.join(format!(".s.PGSQL.{port}"));
        let longest = longest.as_os_str().as_bytes();
        // libpq takes a host with a comma for two hosts, encoded or not.
        let socket_dir = if longest.len() <= LONGEST_SOCKET && !longest.contains(&b',') {
            inside
        } else {
            let mut hasher = DefaultHasher::new();
            self.path.hash(&mut hasher);
            PathBuf::from(format!("/tmp/longshore-{:016x}", hasher.finish()))
        };
        fresh_dir(&socket_dir, account)?;
        Ok(socket_dir)
    }

    /// Opens the log for the next run; the second value is where this run begins in it.
    pub(super) fn open_log(&self) -> Result<(File, u64), PrivatePostgresError> {
        let path = self.log_file();
        if path.metadata().is_ok_and(|metadata| metadata.len() > LOG_LIMIT) {
            fs::rename(&path, path.with_extension("log.1")).map_err(at("rename", &path))?;
        }
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let log = log.map_err(at("open", &path))?;
        let begins = log.metadata().map_err(at("read the length of", &path))?.len();
        Ok((log, begins))
    }

    /// The last lines that the run which began there has logged.
    pub(super) fn log_since(&self, begins: u64) -> String {
        let read = || {
            let mut log = File::open(self.log_file())?;
            log.seek(SeekFrom::Start(begins))?;
            let mut text = Vec::new();
            log.take(LOG_LIMIT).read_to_end(&mut text)?;
            std::io::Result::Ok(text)
        };
        last_lines(&read().unwrap_or_default())
    }

    /// The superuser's password, made when the data were.
    pub(super) fn password(&self) -> Result<String, PrivatePostgresError> {
        let path = self.password_file();
        fs::read_to_string(&path).map_err(at("read", &path))
    }

    /// Tells other processes of this user where the server is.
    pub(super) fn publish(&self, url: &str, socket: &Path) -> Result<(), PrivatePostgresError> {
        let mut notice = format!("{url}\n").into_bytes();
        notice.extend(socket.as_os_str().as_bytes());
        write_private(&self.path.join("url"), &notice)
    }

    /// Takes the notice back.
    pub(super) fn unpublish(&self) {
        let _ = fs::remove_file(self.path.join("url"));
    }
}

/// The URL and the socket that [`Folder::publish`] told, as long as the folder is ours.
pub(super) fn published(path: &Path) -> Option<(String, PathBuf)> {
    check_ours(path).ok()?;
    let notice = fs::read(path.join("url")).ok()?;
    let end = notice.iter().position(|byte| *byte == b'\n')?;
    let url = String::from_utf8(notice[..end].to_vec()).ok()?;
    Some((url, PathBuf::from(OsStr::from_bytes(&notice[end + 1..]))))
}

/// Writes a file for our eyes only, so that a reader finds it whole or not at all.
pub(super) fn write_private(path: &Path, content: &[u8]) -> Result<(), PrivatePostgresError> {
    let staged = path.with_extension("new");
    let _ = fs::remove_file(&staged);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged);
    let written = file.and_then(|mut file| file.write_all(content));
    written.and_then(|()| fs::rename(&staged, path)).map_err(at("write", path))
}

/// Makes an empty folder that only the server's user can enter.
pub(super) fn fresh_dir(path: &Path, account: Option<&Account>) -> Result<(), PrivatePostgresError> {
    remove_dir(path)?;
    // Not recursive: it fails on what another user has put there meanwhile.
    DirBuilder::new().mode(0o700).create(path).map_err(at("create", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(at("set the permissions of", path))?;
    account.map_or(Ok(()), |account| account.own(path))
}

/// Removes a folder with all that is in it; no folder is fine.
pub(super) fn remove_dir(path: &Path) -> Result<(), PrivatePostgresError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The last lines of a program's output.
pub(super) fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// The default socket authentication trusts whoever gets in, so the folder must be nobody else's.
fn check_ours(path: &Path) -> Result<(), PrivatePostgresError> {
    let owner = path.metadata().map_err(at("read the owner of", path))?.uid();
    let us = Uid::effective().as_raw();
    if owner == us { Ok(()) } else { Err(PrivatePostgresError::NotOurs { path: path.to_owned(), owner, us }) }
}

/// Quotes a folder for `unix_socket_directories`, which is a list.
pub(super) fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.to_string_lossy().replace('"', "\"\""))
}

/// Encodes a path for the place of a host in a URL, the form that libpq and tokio-postgres take a socket folder in.
pub(super) fn url_host(path: &Path) -> String {
    let mut host = String::new();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                host.push(char::from(byte));
            }
            _ => {
                let _ = write!(host, "%{byte:02X}");
            }
        }
    }
    host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_host() {
        assert_eq!(url_host(Path::new("/tmp/a b/ü")), "%2Ftmp%2Fa%20b%2F%C3%BC");
    }

    #[test]
    fn an_error_shows_the_end_of_the_log() {
        let log: Vec<_> = (1..=30).map(|n| format!("line {n}")).collect();
        let shown = last_lines(log.join("\n").as_bytes());
        assert_eq!(shown.lines().next(), Some("line 11"));
        assert_eq!(shown.lines().last(), Some("line 30"));
    }
}
