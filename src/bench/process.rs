//! What the kernel says of a process. Figures are absent where it says nothing (not Linux, or not ours).

use std::{fs, path::Path};

/// Clock ticks a second in /proc: `USER_HZ`, which is 100 on every machine that Rust runs Linux on.
const TICKS: f64 = 100.0;

/// Seconds of CPU time that a process has used, without its children.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = Stat::read(pid)?;
    Some(stat.ticks / TICKS)
}

/// Seconds of CPU time that a process and all its children have used, those that have ended included.
pub fn tree_cpu_seconds(pid: u32) -> Option<f64> {
    let own = Stat::read(pid)?;
    let children: f64 = children(pid).into_iter().filter_map(Stat::read).map(|stat| stat.ticks).sum();
    Some((own.ticks + own.ended_children + children) / TICKS)
}

/// Peak of a process's memory in MiB.
pub fn peak_mib(pid: u32) -> Option<f64> {
    status(pid, "VmHWM:")
}

/// Memory in MiB that a process and its children do not share, now.
pub fn tree_private_mib(pid: u32) -> Option<f64> {
    let own = status(pid, "RssAnon:")?;
    Some(own + children(pid).into_iter().filter_map(|child| status(child, "RssAnon:")).sum::<f64>())
}

/// Memory in MiB of a process and its children now, shared memory counted once. Slow: the kernel walks all pages.
pub fn tree_pss_mib(pid: u32) -> Option<f64> {
    let pss = |pid: u32| field(&Path::new("/proc").join(pid.to_string()).join("smaps_rollup"), "Pss:");
    let own = pss(pid)?;
    Some(own + children(pid).into_iter().filter_map(pss).sum::<f64>())
}

/// The parent of a process, if that process is here and has this name.
pub fn parent_named(pid: u32, name: &str) -> Option<u32> {
    let named = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
    let parent = Stat::read(pid).filter(|_| named(pid))?.parent;
    Some(parent).filter(|parent| named(*parent))
}

struct Stat {
    parent: u32,
    ticks: f64,
    ended_children: f64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name, in parentheses, may hold anything; the numbers are behind it, beginning with field 3.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        Some(Self { parent: fields.get(1)?.parse().ok()?, ticks: number(14)? + number(15)?, ended_children: number(16)? + number(17)? })
    }
}

fn children(pid: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| Stat::read(*id).is_some_and(|stat| stat.parent == pid)).collect()
}

fn status(pid: u32, name: &str) -> Option<f64> {
    field(&Path::new("/proc").join(pid.to_string()).join("status"), name)
}

/// A line such as `VmHWM:   1234 kB`, in MiB.
fn field(path: &Path, name: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn we_can_be_looked_at() {
        let us = std::process::id();
        assert!(cpu_seconds(us).is_some() && tree_cpu_seconds(us) >= cpu_seconds(us));
        assert!(peak_mib(us).is_some_and(|mib| mib > 0.5) && tree_private_mib(us).is_some() && tree_pss_mib(us).is_some());
        assert_eq!(cpu_seconds(u32::MAX), None);
    }

    #[test]
    fn names_may_hold_anything() {
        let stat = Stat::parse("7 (a) b (c) S 3 7 7 0 -1 4194560 100 200 0 0 11 22 33 44 20 0 1 0 5").expect("a line of /proc");
        assert_eq!((stat.parent, stat.ticks, stat.ended_children), (3, 33.0, 77.0));
    }
}
