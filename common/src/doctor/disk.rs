//! How full the database's disk is, where that can be known: where this process is on the database's machine.

use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::{Finding, Level, Server, size};

/// Less than this fails, however large the disk is.
const LEAST: u64 = 1 << 30;
/// Of a hundred bytes, so many free ones at least.
const LEAST_SHARE: u64 = 10;
/// Seconds between the start that a server writes into its data directory and the one that it tells.
const START: i64 = 30;

/// The disk of the database.
#[derive(Debug, Clone)]
pub enum Disk {
    /// Why it was not looked at.
    Unseen(String),
    /// What was seen; of the data directory and of `pg_wal`, the fuller one.
    Space {
        /// What was looked at.
        path: PathBuf,
        /// Bytes that PostgreSQL may still use.
        free: u64,
        /// Bytes in all.
        total: u64,
    },
}

/// Looks at the disk of the data directory, and at that of `pg_wal`, which may be another.
pub(super) fn look(server: &Server) -> Disk {
    let Some(directory) = &server.data_directory else {
        return Disk::Unseen(format!("{0} may not see where the data lie: `grant pg_read_all_settings to {0}`", server.user));
    };
    let directory = Path::new(directory);
    if !is_here(server, directory) {
        return Disk::Unseen("the database is on another machine, or this user cannot see that it is this one".to_owned());
    }
    let spaces = [directory.to_owned(), directory.join("pg_wal")].into_iter().filter_map(|path| {
        let seen = statvfs(&path).ok()?; // pg_wal is PostgreSQL's alone: other users do not see it
        #[expect(clippy::useless_conversion, reason = "how wide these are differs between systems")]
        let (block, free, total) = (u64::from(seen.fragment_size()), u64::from(seen.blocks_available()), u64::from(seen.blocks()));
        Some(Disk::Space { path, free: free.saturating_mul(block), total: total.saturating_mul(block) })
    });
    let free = |disk: &Disk| if let Disk::Space { free, .. } = disk { *free } else { u64::MAX };
    spaces.min_by_key(free).unwrap_or_else(|| Disk::Unseen(format!("this user may not look at {}", directory.display())))
}

/// Whether this data directory is that server's: the server has written its start there. Where that cannot be read, a Unix
/// socket leads to the same machine.
fn is_here(server: &Server, directory: &Path) -> bool {
    match std::fs::read_to_string(directory.join("postmaster.pid")) {
        Ok(text) => {
            let started = text.lines().nth(2).and_then(|line| line.trim().parse::<i64>().ok());
            started.is_some_and(|started| (started - server.started_at.as_second()).abs() <= START)
        }
        Err(_) => server.by_socket && directory.exists(),
    }
}

/// Whether there is room left.
pub fn judge(disk: &Disk) -> Finding {
    let name = "disk";
    let (path, free, total) = match disk {
        Disk::Unseen(why) => return Finding::good(name, format!("not looked at: {why}")),
        Disk::Space { path, free, total } => (path.display(), *free, *total),
    };
    let bytes = |value: u64| size(i64::try_from(value).unwrap_or(i64::MAX));
    let seen = format!("{} of {} are free at {path}", bytes(free), bytes(total));
    if free < LEAST || free < total / 100 * LEAST_SHARE {
        Finding::bad(
            name,
            Level::Fail,
            format!("{seen}: PostgreSQL stops when it is full"),
            "make room there or enlarge it; see replication and wal for what is kept, and forget finished jobs sooner (`retention` of their queue)",
        )
    } else {
        Finding::good(name, seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_a_tenth_and_a_gibibyte() {
        const GIB: u64 = 1 << 30;
        for (free, total, level) in [
            (GIB, 2 * GIB, Level::Ok),
            (GIB - 1, 2 * GIB, Level::Fail),
            (100 * GIB, 1000 * GIB, Level::Ok),
            (99 * GIB, 1000 * GIB, Level::Fail),
            (0, 0, Level::Fail),
        ] {
            let disk = Disk::Space { path: PathBuf::from("/x"), free, total };
            assert_eq!(judge(&disk).level, level, "{free} of {total}");
        }
        let unseen = judge(&Disk::Unseen("it is elsewhere".to_owned()));
        assert_eq!((unseen.level, &unseen.detail[..]), (Level::Ok, "not looked at: it is elsewhere"));
    }
}
