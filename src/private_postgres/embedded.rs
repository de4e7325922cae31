//! The PostgreSQL inside this program (feature `embedded`), unpacked to run like an installed one.
//!
//! `oliphaunt` carries PostgreSQL's files and could run the server, too; but its server takes a Ctrl-C together
//! with us, outlives us when we are killed, and refuses root. So it only unpacks, and the rest is one path.

use std::path::PathBuf;

/// Unpacks PostgreSQL where needed and returns the folder with its `bin`, `lib` and `share`.
///
/// `for_others` puts it where every user can run it, since root's own cache is closed to them.
///
/// # Errors
/// The reason as text: no folder to unpack to, or a build without it.
pub(super) fn unpack(for_others: bool) -> Result<PathBuf, String> {
    carried::unpack(for_others)
}

// The targets that `oliphaunt` carries files for, here, below and in Cargo.toml.
#[cfg(all(
    feature = "embedded",
    any(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")), all(target_os = "macos", target_arch = "aarch64"))
))]
mod carried {
    use std::fs;
    use std::io;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::time::SystemTime;

    /// Where everybody may read, and nobody but root may write.
    const SHARED: &str = "/var/cache/longshore";

    pub(super) fn unpack(for_others: bool) -> Result<PathBuf, String> {
        // A server program that does not exist makes it stop after unpacking and before it touches any data.
        let started = oliphaunt::OliphauntServer::builder().server_executable("/nonexistent/postgres").start();
        let reason = started.err().map_or_else(String::new, |error| error.to_string());
        let cache = cache().ok_or("neither XDG_CACHE_HOME nor HOME is set, so there is no folder to unpack to")?;
        let (parcel, runtime) = newest(&cache).ok_or(reason)?;
        if !for_others {
            return Ok(runtime);
        }
        let shared = Path::new(SHARED).join(parcel);
        share(&runtime, &shared).map_err(|error| format!("could not copy {} to {SHARED}: {error}", runtime.display()))?;
        Ok(shared)
    }

    /// The folder that `oliphaunt` chooses.
    fn cache() -> Option<PathBuf> {
        let folder = ["OLIPHAUNT_RUNTIME_CACHE_DIR", "XDG_CACHE_HOME"].into_iter().find_map(std::env::var_os);
        let folder = folder.map(PathBuf::from);
        let folder = folder.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        Some(folder.join("oliphaunt-embedded"))
    }

    /// The parcel unpacked last, by its name, with its PostgreSQL. An older release of ours may have left another.
    fn newest(cache: &Path) -> Option<(String, PathBuf)> {
        let parcels = fs::read_dir(cache).ok()?.flatten().filter_map(|entry| {
            let runtime = entry.path().join("native-runtime/liboliphaunt-native/runtime");
            let unpacked = runtime.join("bin/postgres").metadata().and_then(|file| file.modified()).ok()?;
            Some((unpacked, entry.file_name().into_string().ok()?, runtime))
        });
        let newest = parcels.max_by_key(|(unpacked, ..): &(SystemTime, _, _)| *unpacked)?;
        Some((newest.1, newest.2))
    }

    /// Copies the programs once; whoever finds the folder finds it complete.
    fn share(from: &Path, to: &Path) -> io::Result<()> {
        if to.exists() {
            return Ok(());
        }
        let staged = to.with_extension(format!("new-{}", std::process::id()));
        if staged.exists() {
            fs::remove_dir_all(&staged)?;
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
            fs::set_permissions(parent, fs::Permissions::from_mode(0o755))?;
        }
        copy(from, &staged)?;
        match fs::rename(&staged, to) {
            // Another process was quicker.
            Err(_) if to.exists() => fs::remove_dir_all(&staged),
            renamed => renamed,
        }
    }

    /// Copies a folder, readable by all.
    fn copy(from: &Path, to: &Path) -> io::Result<()> {
        fs::create_dir(to)?;
        fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let copied = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                copy(&entry.path(), &copied)?;
            } else {
                fs::copy(entry.path(), &copied)?;
                let runs = entry.metadata()?.permissions().mode() & 0o100 != 0;
                fs::set_permissions(&copied, fs::Permissions::from_mode(if runs { 0o755 } else { 0o644 }))?;
            }
        }
        Ok(())
    }
}

#[cfg(not(all(
    feature = "embedded",
    any(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")), all(target_os = "macos", target_arch = "aarch64"))
)))]
mod carried {
    use std::path::PathBuf;

    pub(super) fn unpack(_for_others: bool) -> Result<PathBuf, String> {
        Err("this build carries none".to_owned())
    }
}
