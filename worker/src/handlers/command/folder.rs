//! A folder of its own for each attempt: where its program stands, its HOME and its TMPDIR. Gone when the attempt is over.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use longshore_common::store::claim::Lease;
use nix::fcntl::{Flock, FlockArg};
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

/// The beginning of the name of each worker's folder, within the system's folder for temporary files.
const PREFIX: &str = "longshore-commands-";

/// Why an attempt got no folder.
#[derive(Debug, thiserror::Error)]
#[error("could not make a folder for the attempt in {}: {source}; TMPDIR names another place", parent.display())]
pub(super) struct NoFolder {
    parent: PathBuf,
    #[source]
    source: io::Error,
}

/// Where the folders of one worker lie.
#[derive(Debug)]
pub(super) struct Folders {
    own: OnceCell<Own>,
    ending: TaskTracker,
}

/// This worker's folder. It holds a lock as long as it lives, by which others tell that it does.
#[derive(Debug)]
struct Own {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Drop for Own {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

impl Folders {
    /// None is made before it is wanted.
    pub fn new(ending: TaskTracker) -> Self {
        Self { own: OnceCell::new(), ending }
    }

    /// Makes a folder that nobody but this user may look into.
    pub async fn make(&self, lease: Lease) -> Result<Folder, NoFolder> {
        let parent = std::env::temp_dir();
        let wrong = |source| NoFolder { parent: parent.clone(), source };
        let make_own = || async {
            let parent = parent.clone();
            tokio::task::spawn_blocking(move || own(&parent)).await.map_err(io::Error::other)?
        };
        let own = self.own.get_or_try_init(make_own).await.map_err(wrong)?;
        let path = own.path.join(format!("{}-{}", lease.id, lease.lease));
        // a few microseconds: not worth another thread
        DirBuilder::new().mode(0o700).create(&path).map_err(wrong)?;
        Ok(Folder { path, ending: self.ending.clone() })
    }
}

/// Makes this worker's folder, and removes those of workers that are dead.
fn own(parent: &Path) -> io::Result<Own> {
    for left in fs::read_dir(parent)?.filter_map(Result::ok) {
        let path = left.path();
        if left.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
            && let Ok(_held_until_it_is_gone) = lock(&path)
        {
            remove(&path);
        }
    }
    for _ in 0..TRIES {
        let path = parent.join(format!("{PREFIX}{}-{:08x}", std::process::id(), fastrand::u32(..)));
        DirBuilder::new().mode(0o700).create(&path)?;
        if let Ok(lock) = lock(&path)
            && path.exists()
        {
            return Ok(Own { path, _lock: lock });
        }
    }
    Err(io::Error::other("other workers took each that was made for one that a dead worker had left"))
}

/// Another worker that starts at the same moment may lock and remove a new folder before it is locked by whom it is for.
const TRIES: usize = 100;

/// Fails where somebody has it.
fn lock(folder: &Path) -> io::Result<Flock<File>> {
    let file = File::open(folder)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno.into())
}

/// The folder of one attempt. Dropped, it is removed, whatever its program has put into it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    ending: TaskTracker,
}

impl Folder {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        if fs::remove_dir(&path).is_ok() {
            return; // it was empty, as most are
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(self.ending.spawn_blocking_on(move || remove(&path), &runtime)),
            Err(_) => remove(&path),
        }
    }
}

/// Removes a folder. Links in it are not followed. Where a program took the right to write from folders of its own, it is
/// given back first.
fn remove(path: &Path) {
    if fs::remove_dir_all(path).is_ok() {
        return;
    }
    allow(path, 0);
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %path.display(), %error, "the folder of a command that has ended could not be removed; the next start of a worker tries again");
    }
}

/// Folders deeper than that are left to be complained of.
const DEEPEST: usize = 256;

fn allow(folder: &Path, depth: usize) {
    let _ = fs::set_permissions(folder, Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if depth < DEEPEST && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            allow(&entry.path(), depth + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_goes_with_all_that_is_in_it_but_not_what_it_links_to() {
        let ending = TaskTracker::new();
        let folders = Folders::new(ending.clone());
        let folder = folders.make(Lease { id: 1, lease: 2 }).await.expect("made");
        let path = folder.path().to_owned();
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o700);
        let outside = std::env::temp_dir().join(format!("longshore-outside-{}", std::process::id()));
        fs::create_dir(&outside).expect("made");
        fs::write(outside.join("kept"), "x").expect("written");
        fs::create_dir_all(path.join("a/b")).expect("made");
        fs::write(path.join("a/b/file"), "x").expect("written");
        std::os::unix::fs::symlink(&outside, path.join("a/link")).expect("linked");
        fs::set_permissions(path.join("a/b"), Permissions::from_mode(0o500)).expect("set");
        drop(folder);
        ending.close();
        ending.wait().await;
        assert!(!path.exists() && outside.join("kept").exists());
        fs::remove_dir_all(&outside).expect("removed");
    }

    #[tokio::test]
    async fn what_dead_workers_left_goes_and_living_ones_keep_theirs() {
        let parent = std::env::temp_dir().join(format!("longshore-sweep-{}", std::process::id()));
        fs::create_dir(&parent).expect("made");
        let living = own(&parent).expect("made");
        let dead = parent.join(format!("{PREFIX}1-dead"));
        fs::create_dir(&dead).expect("made");
        let next = own(&parent).expect("made");
        assert!(!dead.exists() && living.path.exists() && next.path.exists());
        drop((living, next));
        assert_eq!(fs::read_dir(&parent).expect("there").count(), 0);
        // many that start at once
        for _ in 0..50 {
            let start = std::sync::Barrier::new(8);
            let all: Vec<_> = std::thread::scope(|scope| {
                let each = || {
                    start.wait();
                    own(&parent).expect("made")
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(each)).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            assert!(all.iter().all(|own| own.path.exists()));
        }
        fs::remove_dir(&parent).expect("removed");
    }
}
