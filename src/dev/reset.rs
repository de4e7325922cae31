//! `longshore dev --reset`: forgets the data, as long as nobody runs on it.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// Why the data are still there.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// Somebody runs on it.
    #[error("{} is in use: stop the `longshore dev` that runs there first; nothing was forgotten", .0.display())]
    InUse(PathBuf),
    /// It is not what we think it is.
    #[error("{} is not a folder of `longshore dev`: it has a pgdata, but no file `holder`; nothing was forgotten", .0.display())]
    NotOurs(PathBuf),
    /// A file operation failed.
    #[error("could not {what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Forgets what is in the folder; no data there is fine.
pub fn forget(folder: &Path) -> Result<(), ResetError> {
    let pgdata = folder.join("pgdata");
    let holder = match File::open(folder.join("holder")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return if pgdata.exists() { Err(ResetError::NotOurs(folder.to_owned())) } else { Ok(()) },
        opened => opened.map_err(failed("open", &folder.join("holder")))?,
    };
    match holder.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(ResetError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => return Err(failed("lock", &folder.join("holder"))(error)),
    }
    // moved away first: data that are half removed cannot be told from good ones
    let forgotten = folder.join("pgdata.forgotten");
    remove(&forgotten)?;
    match fs::rename(&pgdata, &forgotten) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("move away", &pgdata)(error)),
        _ => {}
    }
    remove(&forgotten)
}

fn remove(folder: &Path) -> Result<(), ResetError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", folder)(error)),
        _ => Ok(()),
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ResetError {
    let path = path.to_owned();
    move |source| ResetError::File { what, path, source }
}
