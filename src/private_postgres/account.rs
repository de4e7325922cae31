//! As whom the server runs: PostgreSQL refuses root, so root hands it to a user of its own.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Uid, User};

use super::PrivatePostgresError;
use super::error::at;

/// The user that root runs the server as; a plain user needs none.
#[derive(Debug, Clone)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
    pub(super) name: String,
}

impl Account {
    /// `None` for a plain user; for root the owner of the data, else `postgres`, else `nobody`.
    ///
    /// # Errors
    /// [`PrivatePostgresError::NoUser`] where root finds nobody to hand the server to.
    pub(super) fn for_data(data: &Path) -> Result<Option<Self>, PrivatePostgresError> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        // Installing PostgreSQL later brings a user `postgres`, but the data stay with whom they were made by.
        let owner = data.metadata().ok().map(|metadata| Uid::from_raw(metadata.uid()));
        let owner = owner.filter(|owner| !owner.is_root()).and_then(|owner| User::from_uid(owner).ok()?);
        let named = |name| User::from_name(name).ok().flatten();
        let user = owner.or_else(|| named("postgres")).or_else(|| named("nobody"));
        let user = user.ok_or(PrivatePostgresError::NoUser)?;
        Ok(Some(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw(), name: user.name }))
    }

    /// Lets the command run as this user, without root's groups.
    pub(super) fn applied_to(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives a file or folder to this user.
    pub(super) fn own(&self, path: &Path) -> Result<(), PrivatePostgresError> {
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid)).map_err(at("change the owner of", path))
    }

    /// Checks that this user can enter a folder, by letting a command begin there.
    ///
    /// # Errors
    /// [`PrivatePostgresError::Unreachable`] where a folder above is closed to this user.
    pub(super) fn check_enters(&self, folder: &Path) -> Result<(), PrivatePostgresError> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", ":"]).current_dir(folder);
        self.applied_to(&mut command);
        match command.status() {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Err(PrivatePostgresError::Unreachable { path: folder.to_owned(), user: self.name.clone() })
            }
            _ => Ok(()),
        }
    }
}
