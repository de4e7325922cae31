//! The server's process: started, watched and ended by a thread of its own.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::account::Account;
use super::folder::{self, Folder};
use super::programs::leading_number;
use super::{PrivatePostgresError, Purpose};

/// How often a wait looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How soon the end of the server is noticed.
const WATCH: Duration = Duration::from_millis(50);
/// How long a fast shutdown may take: it writes a checkpoint, so that the next start need not recover.
const FAST: Duration = Duration::from_secs(10);
/// How long an immediate shutdown may take, which writes nothing.
const IMMEDIATE: Duration = Duration::from_secs(5);

/// A server that runs, until it ends by itself or [`Server::stop`] is called.
#[derive(Debug)]
pub(super) struct Server {
    pid: u32,
    stop: Sender<()>,
    ended: Arc<OnceLock<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the server, which ends with this process, whatever ends this process.
    ///
    /// The thread lives as long as the server: Linux sends the death signal when the *thread* that started
    /// the child ends, so a thread of the caller's would not do.
    pub(super) fn start(mut command: Command, log: File, purpose: Purpose) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        ends_with_us(&mut command, purpose.stop_signal());
        let (stop, orders) = mpsc::channel();
        let (report, started) = mpsc::channel();
        let ended = Arc::new(OnceLock::new());
        let end = Arc::clone(&ended);
        let run = move || match command.spawn() {
            Ok(child) => {
                let _ = report.send(Ok(child.id()));
                let _ = end.set(watch(child, &orders, purpose));
            }
            Err(error) => {
                let _ = report.send(Err(error));
            }
        };
        let thread = thread::Builder::new().name("postgres".to_owned()).spawn(run)?;
        let pid = started.recv().map_err(io::Error::other)??;
        Ok(Self { pid, stop, ended, thread: Some(thread) })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// How the server ended, if it did.
    pub(super) fn ended(&self) -> Option<&str> {
        self.ended.get().map(String::as_str)
    }

    /// Waits until the server accepts connections: `Some(true)` ready, `Some(false)` ended, `None` neither in time.
    pub(super) fn wait_ready(&self, pgdata: &Path, within: Duration) -> Option<bool> {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if self.ended().is_some() {
                return Some(false);
            }
            if is_ready(pgdata, self.pid) {
                return Some(true);
            }
            thread::sleep(LOOK_AGAIN);
        }
        None
    }

    /// Ends the server and waits for it; a second call finds it ended.
    pub(super) fn stop(&mut self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Watches the server until it ends or is told to, and says how it ended.
fn watch(mut child: Child, orders: &Receiver<()>, purpose: Purpose) -> String {
    loop {
        match orders.recv_timeout(WATCH) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return end(&mut child, purpose),
        }
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return status.to_string(),
            Err(error) => return error.to_string(),
        }
    }
}

/// Asks the server to end, less and less kindly.
fn end(child: &mut Child, purpose: Purpose) -> String {
    let pid = child.id();
    for (signal, within) in [(purpose.stop_signal(), FAST), (Signal::SIGQUIT, IMMEDIATE)] {
        // Not yet waited for, so the id is still this child's.
        let _ = send(pid, signal);
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            match child.try_wait() {
                Ok(None) => thread::sleep(LOOK_AGAIN),
                Ok(Some(status)) => return status.to_string(),
                Err(error) => return error.to_string(),
            }
        }
    }
    let _ = child.kill();
    child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Ends a server that outlived the process it belonged to: killed a moment ago, or on a system without death signals.
///
/// Only for who holds the folder, which proves that nobody else means to use this server.
///
/// # Errors
/// [`PrivatePostgresError::InUse`] for a server that we did not start, or that does not end.
pub(super) fn end_orphan(folder: &Folder, account: Option<&Account>) -> Result<(), PrivatePostgresError> {
    let pgdata = folder.pgdata();
    let pid_file = pgdata.join("postmaster.pid");
    let started = Instant::now();
    let mut asked = None;
    loop {
        let Ok(content) = fs::read_to_string(&pid_file) else {
            return Ok(());
        };
        let pid = leading_number(&content).filter(|pid| *pid != std::process::id());
        let Some(pid) = pid.filter(|pid| send(*pid, None) != Err(Errno::ESRCH)) else {
            // PostgreSQL sees itself that nobody is there, and whether children of that server still write.
            return Ok(());
        };
        let command_line = command_line(pid);
        if !command_line.contains(&*pgdata.to_string_lossy()) {
            // Another program has the id today. PostgreSQL would take it for a rival, but never its own parent;
            // without the file it would not look for those children.
            let rest = content.split_once('\n').map_or("", |(_, rest)| rest);
            let content = format!("{}\n{rest}", std::process::id());
            // A new file, since root must not write through what the server's user may have put there.
            folder::write_private(&pid_file, content.as_bytes())?;
            return account.map_or(Ok(()), |account| account.own(&pid_file));
        }
        let signal = if started.elapsed() < FAST { Signal::SIGINT } else { Signal::SIGQUIT };
        if !command_line.contains(MARK) || started.elapsed() > FAST + IMMEDIATE {
            return Err(PrivatePostgresError::InUse { data_dir: folder.path().to_owned(), pid: Some(pid) });
        }
        if asked != Some(signal) {
            let _ = send(pid, signal);
            asked = Some(signal);
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// In the command line of each server of ours, and in the names of its processes.
pub(super) const MARK: &str = "cluster_name=longshore";

/// Ends the child when we end, and keeps a Ctrl-C from it, so that we finish with it before it goes.
#[expect(unsafe_code, reason = "the only way to run code between fork and exec, where the death signal must be set")]
pub(super) fn ends_with_us(command: &mut Command, signal: Signal) {
    command.process_group(0);
    let parent = std::process::id();
    let prepare = move || die_with(parent, signal);
    // SAFETY: `die_with` makes two system calls and neither allocates nor locks.
    unsafe { command.pre_exec(prepare) };
}

/// Runs in the child, after the change of user, which would undo it.
#[cfg(target_os = "linux")]
fn die_with(parent: u32, signal: Signal) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(signal)?;
    if nix::unistd::getppid().as_raw().cast_unsigned() != parent {
        // The parent ended before the signal was set.
        return Err(Errno::ESRCH.into());
    }
    Ok(())
}

/// No death signals here: the next start ends what is left, see [`end_orphan`].
#[cfg(not(target_os = "linux"))]
fn die_with(_parent: u32, _signal: Signal) -> io::Result<()> {
    Ok(())
}

/// Whether the server says so itself in line 8 of its pid file, which is where `pg_ctl` looks, too.
fn is_ready(pgdata: &Path, pid: u32) -> bool {
    let content = fs::read_to_string(pgdata.join("postmaster.pid")).unwrap_or_default();
    let mut lines = content.lines();
    lines.next().and_then(leading_number) == Some(pid) && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}

/// Sends a signal, or none to see whether the process is there.
fn send(pid: u32, signal: impl Into<Option<Signal>>) -> Result<(), Errno> {
    signal::kill(Pid::from_raw(pid.cast_signed()), signal)
}

/// The command line of a process, empty for one that is gone, not reaped, or hidden from us.
fn command_line(pid: u32) -> String {
    if cfg!(target_os = "linux") {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).into_owned()
    } else {
        let output = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output();
        output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
