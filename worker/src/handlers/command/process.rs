//! The process of a command, with all that it starts: a process group that is ended as a whole, TERM first, KILL after a
//! while; also when nobody waits for it any more.

use std::{
    ffi::OsString,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::mpsc,
    time::Duration,
};

use longshore_common::settings::CommandSettings;
use nix::{
    errno::Errno,
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, killpg},
    },
    unistd::Pid,
};
use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    runtime::Handle,
    sync::oneshot,
};
use tokio_util::task::TaskTracker;

use super::folder::Folder;
use crate::death::die_with;

/// What a program has after TERM to end by itself. Less than a cancelled job's handler has.
const TO_END: Duration = Duration::from_secs(3);
/// Where programs are looked for when the worker has no PATH.
pub(super) const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotStarted {
    /// There is none.
    #[error("cannot start \"{0}\": there is no such program on the worker's PATH ({1}); install it, or name it with its folder")]
    NotOnPath(String, String),
    /// It is there, or should be, but does not start.
    #[error("cannot start \"{0}\": {1}")]
    Failed(String, #[source] io::Error),
    /// The worker is stopping.
    #[error("cannot start \"{0}\": the worker is stopping")]
    Stopping(String),
}

/// Finds the file of a program.
pub(super) fn find(program: &str) -> Result<PathBuf, NotStarted> {
    if program.contains('/') {
        return Ok(program.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| USUAL_PATH.into());
    let is_program = |file: &PathBuf| file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(is_program)
        .ok_or_else(|| NotStarted::NotOnPath(program.to_owned(), path.to_string_lossy().into_owned()))
}

/// What is to be started.
pub(super) struct Start<'a> {
    pub settings: &'a CommandSettings,
    pub environment: Vec<(String, OsString)>,
    pub folder: Folder,
}

struct Request {
    runtime: Handle,
    command: Command,
    started: oneshot::Sender<io::Result<Child>>,
}

/// Starts processes, all from one thread that lives as long as the worker: the signal that ends a program when the worker is
/// killed comes when the *thread* that started it ends (`PR_SET_PDEATHSIG(2const)`). Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Spawner {
    requests: mpsc::Sender<Request>,
    ending: TaskTracker,
}

impl Spawner {
    pub fn new(ending: TaskTracker) -> Self {
        let (requests, received) = mpsc::channel::<Request>();
        let thread = std::thread::Builder::new().name("commands".to_owned()).spawn(move || {
            while let Ok(Request { runtime, mut command, started }) = received.recv() {
                let _runtime = runtime.enter();
                // nobody waits for it any more: it is killed as it is dropped
                let _ = started.send(command.kill_on_drop(true).spawn());
            }
        });
        if let Err(error) = thread {
            tracing::error!(%error, "the thread that starts commands could not be started; commands fail until the worker is started anew");
        }
        Self { requests, ending }
    }

    /// Starts a program.
    pub async fn start(&self, start: Start<'_>) -> Result<Process, NotStarted> {
        let argv = &start.settings.command;
        let failed = |error| NotStarted::Failed(argv[0].clone(), error);
        let mut command = Command::new(find(&argv[0])?);
        command.args(&argv[1..]).env_clear().envs(start.environment).current_dir(start.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        confine(&mut command, start.settings);
        let (started, child) = oneshot::channel();
        let request = Request { runtime: Handle::current(), command, started };
        self.requests.send(request).map_err(|_| NotStarted::Stopping(argv[0].clone()))?;
        let child = child.await.map_err(|_| NotStarted::Stopping(argv[0].clone()))?.map_err(failed)?;
        let id = child.id().ok_or_else(|| failed(io::Error::other("it ended at once")))?;
        if cfg!(target_os = "linux") {
            // where memory runs out, the kernel is to choose it, not the worker (proc_pid_oom_score_adj(5))
            let _ = std::fs::write(format!("/proc/{id}/oom_score_adj"), "1000");
        }
        let group = Pid::from_raw(id.cast_signed());
        Ok(Process { alive: Some(Alive { child, group, folder: start.folder }), ended: false, ending: self.ending.clone() })
    }
}

/// What holds from before the program's first instruction.
#[expect(unsafe_code, reason = "the only way to run code between fork and exec, where limits and the death signal must be set")]
fn confine(command: &mut Command, settings: &CommandSettings) {
    let parent = nix::unistd::getpid();
    let (memory, file_size) = (settings.memory, settings.file_size);
    let cpu = settings.cpu.map(|cpu| cpu.as_secs() + u64::from(cpu.subsec_nanos() > 0));
    let prepare = move || {
        // Private memory that may be written: unlike RLIMIT_AS it does not count what runtimes only reserve.
        lower(Resource::RLIMIT_DATA, memory, memory)?;
        lower(Resource::RLIMIT_FSIZE, file_size, file_size)?;
        lower(Resource::RLIMIT_CORE, 0, 0)?;
        if let Some(cpu) = cpu {
            lower(Resource::RLIMIT_CPU, cpu, cpu + 1)?; // SIGXCPU, then SIGKILL
        }
        die_with(parent)
    };
    // SAFETY: it makes system calls only, and neither allocates nor locks.
    unsafe { command.pre_exec(prepare) };
}

/// Never above what the worker itself has.
fn lower(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let (_, most) = getrlimit(resource)?;
    Ok(setrlimit(resource, soft.min(most), hard.min(most))?)
}

/// A program that runs. Dropped before its end, it is ended in the background.
#[derive(Debug)]
pub(super) struct Process {
    alive: Option<Alive>,
    /// And what it has left in its group is, too.
    ended: bool,
    ending: TaskTracker,
}

#[derive(Debug)]
struct Alive {
    child: Child,
    group: Pid,
    /// Removed after its end.
    folder: Folder,
}

/// The ends of its pipes that are ours.
pub(super) struct Pipes {
    pub stdin: ChildStdin,
    pub stdout: ChildStdout,
    pub stderr: ChildStderr,
}

impl Process {
    fn alive(&mut self) -> &mut Alive {
        self.alive.as_mut().expect("taken by drop alone")
    }

    /// Its id, and its group's.
    pub fn id(&self) -> u32 {
        self.alive.as_ref().map_or(0, |alive| alive.group.as_raw().cast_unsigned())
    }

    /// To be asked for once.
    pub fn pipes(&mut self) -> Pipes {
        let child = &mut self.alive().child;
        let piped = "piped, and taken once";
        Pipes { stdin: child.stdin.take().expect(piped), stdout: child.stdout.take().expect(piped), stderr: child.stderr.take().expect(piped) }
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.alive().child.wait().await
    }

    /// Ends it, with its whole group.
    pub async fn end(&mut self) -> io::Result<ExitStatus> {
        let status = self.alive().end().await;
        self.ended = true;
        status
    }

    /// It has ended: what it left in its group ends, too. (Its id may be given to another process now, but not as that of a
    /// group while this one has members.)
    pub fn end_rest(&mut self) {
        if !self.ended {
            signal(self.alive().group, Signal::SIGKILL);
            self.ended = true;
        }
    }
}

impl Alive {
    async fn end(&mut self) -> io::Result<ExitStatus> {
        signal(self.group, Signal::SIGTERM);
        let by_itself = tokio::time::timeout(TO_END, self.child.wait()).await;
        signal(self.group, Signal::SIGKILL);
        let status = match by_itself {
            Ok(status) => status,
            Err(_) => self.child.wait().await,
        };
        let mark = mark(self.folder.path());
        let _ = tokio::task::spawn_blocking(move || kill_marked(&mark)).await;
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(mut alive) = self.alive.take().filter(|_| !self.ended) else { return };
        if let Ok(runtime) = Handle::try_current() {
            self.ending.spawn_on(async move { drop(alive.end().await) }, &runtime);
        } else {
            signal(alive.group, Signal::SIGKILL);
            let _ = alive.child.start_kill();
        }
    }
}

fn signal(group: Pid, signal: Signal) {
    match killpg(group, signal) {
        Ok(()) | Err(Errno::ESRCH) => {} // nobody is left
        Err(error) => tracing::warn!(group = group.as_raw(), %signal, %error, "the processes of a command could not be ended"),
    }
}

/// What stands in the environment of every process of an attempt, and of no other.
fn mark(folder: &Path) -> Vec<u8> {
    let mut mark = b"LONGSHORE_JOB_PROGRESS_FILE=".to_vec();
    mark.extend_from_slice(folder.as_os_str().as_encoded_bytes());
    mark.push(b'/');
    mark
}

/// Ends what has left the group (setsid) but still bears the mark. Only where the system shows environments.
fn kill_marked(mark: &[u8]) {
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && let Ok(environment) = std::fs::read(entry.path().join("environ"))
            && environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark))
        {
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
