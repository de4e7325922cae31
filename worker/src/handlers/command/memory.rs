//! Watches how much memory the processes of commands use together. Each process has a hard limit of its own besides (see
//! `process.rs`); this one is for programs that start others.

use std::{
    collections::HashMap,
    fs,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// How often is looked, once for all commands. A look goes through all processes of the machine, so there is none while no command
/// has run for as long as that.
const EVERY: Duration = Duration::from_millis(200);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Watch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// By process group.
    watched: Mutex<HashMap<u32, Watched>>,
    page: u64,
}

#[derive(Debug)]
struct Watched {
    limit: u64,
    over: Arc<Notify>,
    since: Instant,
}

/// Tells when a group of processes uses more than it may. Watched as long as this is there.
#[derive(Debug)]
pub(super) struct Over {
    watch: Watch,
    group: u32,
    reached: Arc<Notify>,
}

impl Over {
    /// Returns when it does; never, where the system does not tell.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        self.watch.watched().remove(&self.group);
    }
}

impl Watch {
    pub fn new() -> Self {
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
        Self(Arc::new(Inner { watched: Mutex::default(), page: page.and_then(|page| u64::try_from(page).ok()).unwrap_or(4096) }))
    }

    /// Watches a group of processes from now on.
    pub fn watch(&self, group: u32, limit: u64) -> Over {
        let over = Arc::new(Notify::new());
        let mut watched = self.watched();
        if watched.is_empty() && cfg!(target_os = "linux") {
            tokio::spawn(self.clone().look());
        }
        watched.insert(group, Watched { limit, over: over.clone(), since: Instant::now() });
        drop(watched);
        Over { watch: self.clone(), group, reached: over }
    }

    /// Looks until nothing is watched any more.
    async fn look(self) {
        loop {
            tokio::time::sleep(EVERY).await;
            let (none, old) = {
                let watched = self.watched();
                (watched.is_empty(), watched.values().any(|watched| watched.since.elapsed() >= EVERY))
            };
            if none {
                return;
            } else if !old {
                continue;
            }
            let page = self.0.page;
            let Ok(used) = tokio::task::spawn_blocking(move || used_by_groups(page)).await else { return };
            let watched = self.watched();
            for (group, watched) in watched.iter() {
                if used.get(group).is_some_and(|used| *used > watched.limit) {
                    watched.over.notify_one();
                }
            }
            if watched.is_empty() {
                return; // decided while holding the lock: whoever comes now starts anew
            }
        }
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<u32, Watched>> {
        self.0.watched.lock().expect("no panic while held")
    }
}

/// Resident bytes of all process groups. Pages that processes share count for each.
fn used_by_groups(page: u64) -> HashMap<u32, u64> {
    let mut used = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit)
            && let Ok(stat) = fs::read_to_string(entry.path().join("stat"))
            && let Some((group, pages)) = group_and_pages(&stat)
        {
            *used.entry(group).or_default() += pages * page;
        }
    }
    used
}

/// Fields 5 and 24 of `/proc/<pid>/stat` (`proc_pid_stat(5)`); the name in parentheses may hold anything.
fn group_and_pages(stat: &str) -> Option<(u32, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let group = fields.nth(2)?.parse().ok()?;
    let pages = fields.nth(18)?.parse().ok()?;
    Some((group, pages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_the_manual() {
        let stat = "7 (a) b) S 3 70 7 0 -1 4194560 100 200 0 0 11 22 33 44 20 0 1 0 5 4096 321 18446744073709551615";
        assert_eq!(group_and_pages(stat), Some((70, 321)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn we_are_seen() {
        let own = nix::unistd::getpgrp().as_raw().cast_unsigned();
        assert!(used_by_groups(4096).get(&own).is_some_and(|used| *used > 1 << 20));
    }
}
