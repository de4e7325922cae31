//! The process that runs one attempt for a worker, from outside.

use std::{
    env, io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream as Pair, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use longshore_common::settings::DatabaseSettings;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    net::UnixStream,
    process::{Child, Command},
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{
    PARENT,
    frame::{FromChild, Start, ToChild, receive, send},
};
use crate::{
    death::die_with,
    handler::{AnyHandler, Context, Handled, HandlerError, Running},
    job_log::log_job,
};

/// What a process that has said its last word may take to end: to write its log, say.
const TO_EXIT: Duration = Duration::from_secs(2);

/// Runs attempts in processes of their own.
#[derive(Debug)]
pub(crate) struct Apart(pub Arc<DatabaseSettings>);

impl AnyHandler for Apart {
    fn run(&self, context: Context) -> Running<'_> {
        Box::pin(async move {
            let job = &context.job;
            let checkpoint = context.checkpoint().await?;
            let (mut process, socket) = Process::start().map_err(|error| HandlerError::failed(format!("cannot start a process for it: {error}")))?;
            log_job!(info, job, { losses = job.losses, pid = process.group.as_raw(), },
                "attempts before this one were lost with their workers: it runs in a process of its own");
            let left = context.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let start = Start { job: (**job).clone(), left, checkpoint, database: (&*self.0).into() };
            match talk(socket, start, &context).await {
                Ok(ended) => {
                    process.let_exit();
                    ended
                }
                Err(error) => {
                    let error = process.how_it_ended(&error).await;
                    // for whoever looks for the reason: of a job that has failed since three were lost, the error says no more
                    context.log(format!("longshore: {error}"));
                    Ok(Handled::Lost { error })
                }
            }
        })
    }
}

/// Until the process has said how it ended; an error where it says no more.
async fn talk(socket: UnixStream, start: Start, context: &Context) -> io::Result<Result<Handled, HandlerError>> {
    let (mut from, to) = socket.into_split();
    let to = Mutex::new(to);
    send(&mut *to.lock().await, &ToChild::Start(Box::new(start))).await?;
    let lease = context.job.lease;
    let listen = async {
        loop {
            match receive(&mut from).await? {
                FromChild::Notes(notes) => context.desk.note(lease, |all| all.add(notes)),
                FromChild::Write => {
                    context.desk.write_notes(lease).await;
                    send(&mut *to.lock().await, &ToChild::Written).await?;
                }
                FromChild::Completed(result) => context.completed.with(result),
                FromChild::End(end) => return Ok(end.into_result()),
            }
        }
    };
    let cancel = async {
        context.cancellation.cancelled().await;
        let _ = send(&mut *to.lock().await, &ToChild::Cancel).await; // one that is gone is noticed by listening
        std::future::pending().await
    };
    tokio::select! {
        ended = listen => ended,
        never = cancel => never,
    }
}

/// A process with all that it has started; killed when dropped.
struct Process {
    child: Option<Child>,
    group: Pid,
}

impl Process {
    fn start() -> io::Result<(Self, UnixStream)> {
        let (ours, theirs) = Pair::pair()?;
        ours.set_nonblocking(true)?;
        let mut arguments = env::args_os();
        let mut command = Command::new(program()?);
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        command.args(arguments).env(PARENT, std::process::id().to_string()).stdin(OwnedFd::from(theirs)).process_group(0).kill_on_drop(true);
        ends_with_us(&mut command);
        let child = command.spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).ok_or_else(|| io::Error::other("it has no id"))?;
        Ok((Self { child: Some(child), group: Pid::from_raw(id) }, UnixStream::from_std(ours)?))
    }

    /// It has said its last word: it may exit by itself, while others go on.
    fn let_exit(mut self) {
        let Some(mut child) = self.child.take() else { return };
        let group = self.group;
        tokio::spawn(async move {
            let _ = timeout(TO_EXIT, child.wait()).await;
            let _ = killpg(group, Signal::SIGKILL);
        });
    }

    /// It says no more: it has died, or will.
    async fn how_it_ended(&mut self, error: &io::Error) -> String {
        let Some(child) = &mut self.child else { return String::new() };
        match timeout(TO_EXIT, child.wait()).await {
            Ok(Ok(status)) => shown(status),
            Ok(Err(error)) => format!("its process was lost: {error}"),
            Err(_) => format!("its process did not answer any more ({error}), and was killed"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.is_some() {
            let _ = killpg(self.group, Signal::SIGKILL);
        }
    }
}

fn shown(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(number), _) => {
            let name = Signal::try_from(number).map_or_else(|_| String::new(), |signal| format!(" ({signal})"));
            let hint = if number == Signal::SIGKILL as i32 { ": by the system, if memory ran out, or by somebody" } else { "" };
            format!("its process was ended by signal {number}{name}{hint}")
        }
        (None, Some(code)) => format!("its process exited with code {code} before its handler had ended"),
        (None, None) => format!("its process ended: {status}"),
    }
}

/// This very program, also where its file was replaced or deleted meanwhile.
fn program() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_owned()) } else { env::current_exe() }
}

/// Kills the process when we end, however that comes; where the system cannot do that, it ends when its line is cut. The signal
/// comes when the *thread* that started it ends: that of the worker lives as long as its attempts.
#[expect(unsafe_code, reason = "the only way to run code between fork and exec, where the death signal must be set")]
fn ends_with_us(command: &mut Command) {
    let parent = nix::unistd::getpid();
    // SAFETY: `die_with` makes two system calls and neither allocates nor locks.
    unsafe { command.pre_exec(move || die_with(parent)) };
}
