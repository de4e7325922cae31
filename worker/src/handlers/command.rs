//! Runs a job by a program on this machine: args on standard input, the result from standard output, the job's log from
//! standard error. What runs is said in the settings and nowhere else.
//!
//! ```text
//! folder → process (limits, group) → stdin ∥ stdout ∥ stderr ∥ notes → exit code → the rest of its group is killed
//! ```

mod folder;
mod memory;
mod notes;
mod output;
mod process;

use std::{ffi::OsString, pin::Pin, process::ExitStatus, sync::Arc, time::Duration};

use longshore_common::{duration, job::Kind, json::RawJson, settings::CommandSettings};
use tokio::{io::AsyncWriteExt, process::ChildStdin};
use tokio_util::task::TaskTracker;

use self::{folder::Folders, memory::Watch, notes::Told, output::Log, process::Process};
use crate::{
    handler::{AnyHandler, Context, Handled, HandlerError, Running},
    handlers::output::Output,
    job_log::log_job,
};

/// Exit code of a program that says that trying again is of no use (`EX_DATAERR` of sysexits.h).
const DISCARD: i32 = 65;
/// Exit code of a program that wants to be asked again later (`EX_TEMPFAIL` of sysexits.h).
const SNOOZE: i32 = 75;
/// How long is waited for the ends of the pipes once the program itself has ended: what it left behind may hold them open.
const PIPES: Duration = Duration::from_secs(1);

/// What the commands of one worker share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    folders: Arc<Folders>,
    memory: Watch,
    spawner: process::Spawner,
    /// What still ends, or is still removed, when an attempt is over already.
    ending: TaskTracker,
}

impl Shared {
    pub fn new() -> Self {
        let ending = TaskTracker::new();
        Self { folders: Arc::new(Folders::new(ending.clone())), memory: Watch::new(), spawner: process::Spawner::new(ending.clone()), ending }
    }

    /// Returns when nothing is left of any command.
    pub async fn settled(self) {
        self.ending.close();
        self.ending.wait().await;
    }
}

/// Runs the jobs of one kind.
#[derive(Debug)]
pub(crate) struct Command {
    kind: Kind,
    settings: CommandSettings,
    shared: Shared,
}

impl AnyHandler for Command {
    fn run(&self, context: Context) -> Running<'_> {
        Box::pin(self.attempt(context))
    }

    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.shared.clone().settled())
    }

    fn lingers(&self) -> bool {
        true // from TERM to KILL
    }
}

impl Command {
    pub fn new(kind: Kind, settings: CommandSettings, shared: Shared) -> Self {
        if let Err(error) = process::find(&settings.command[0]) {
            tracing::warn!(%kind, "handlers.{kind}: {error}; its jobs fail, and are tried again, until it is there");
        }
        Self { kind, settings, shared }
    }

    async fn attempt(&self, context: Context) -> Result<Handled, HandlerError> {
        let folder = self.shared.folders.make(context.job.lease).await.map_err(|error| HandlerError::failed(error.to_string()))?;
        let told = Told::new(&folder);
        let environment = self.environment(&context, &folder, &told).await?;
        let mut process = self
            .shared
            .spawner
            .start(process::Start { settings: &self.settings, environment, folder })
            .await
            .map_err(|error| HandlerError::failed(error.to_string()))?;
        log_job!(debug, context.job, { pid = process.id(), }, "a command runs");
        let over = self.shared.memory.watch(process.id(), self.settings.memory);
        let pipes = process.pipes();
        let (mut output, mut log, mut seen) = (Output::default(), Log::new(context.clone()), notes::Seen::default());
        let ended = {
            let gather = async { tokio::join!(output::read(&mut output, pipes.stdout), log.read(pipes.stderr)) };
            let feed = feed(pipes.stdin, context.job.args.clone());
            tokio::pin!(gather, feed);
            let (mut gathered, mut is_fed) = (false, false);
            let ended = {
                let ends = self.ends(&mut process, &context, over);
                let tell = told.follow(&context, &mut seen);
                tokio::pin!(ends, tell);
                loop {
                    tokio::select! {
                        ended = &mut ends => break ended,
                        () = &mut feed, if !is_fed => is_fed = true,
                        _ = &mut gather, if !gathered => gathered = true,
                        never = &mut tell => match never {},
                    }
                }
            };
            // whatever it has left in its group would be nobody's
            process.end_rest();
            if !gathered {
                // what has left the group may hold the pipes open: what was written until now counts
                let _ = tokio::time::timeout(PIPES, &mut gather).await;
            }
            ended
        };
        told.look(&context, &mut seen).await;
        let said = log.finish();
        match ended {
            Ended::Failed(why) => Err(HandlerError::failed(with(&why, &said))),
            Ended::With(status) => match status.code() {
                Some(0) => Ok(Handled::Done(output.into_result("output"))),
                Some(SNOOZE) => Err(HandlerError::snooze(self.settings.snooze)),
                Some(DISCARD) => Err(HandlerError::discard(with(&format!("exit code {DISCARD}, which says that trying again is of no use"), &said))),
                Some(code) => Err(HandlerError::failed(with(&format!("exit code {code}"), &said))),
                None => Err(HandlerError::failed(with(&by_signal(status), &said))),
            },
        }
    }

    /// Waits for the end of the program, or brings it about.
    async fn ends(&self, process: &mut Process, context: &Context, over: memory::Over) -> Ended {
        let too_long = async {
            match self.settings.timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let why = tokio::select! {
            biased;
            status = process.wait() => return Ended::of(status),
            () = context.cancellation().cancelled() => None,
            () = over.reached() => Some(format!("it used more than {} MiB of memory (handlers.{}.memory), and was killed", self.settings.memory >> 20, self.kind)),
            () = too_long => Some(format!(
                "it ran longer than {} (handlers.{}.timeout), and was ended",
                duration::display(self.settings.timeout.unwrap_or_default()),
                self.kind
            )),
        };
        let status = process.end().await;
        why.map_or_else(|| Ended::of(status), Ended::Failed)
    }

    /// All that the program gets: nothing of the worker's own but what is named.
    async fn environment(&self, context: &Context, folder: &folder::Folder, told: &Told) -> Result<Vec<(String, OsString)>, HandlerError> {
        let job = context.job();
        let text = |name: &str, value: String| (format!("LONGSHORE_JOB_{name}"), OsString::from(value));
        let mut environment = vec![
            ("PATH".to_owned(), std::env::var_os("PATH").unwrap_or_else(|| process::USUAL_PATH.into())),
            ("HOME".to_owned(), folder.path().into()),
            ("TMPDIR".to_owned(), folder.path().into()),
            text("ID", job.lease.id.to_string()),
            text("KIND", job.lane.kind.to_string()),
            text("QUEUE", job.lane.queue.to_string()),
            text("ATTEMPT", job.attempt.to_string()),
            text("MAX_ATTEMPTS", job.max_attempts.to_string()),
            text("LEASE", job.lease.lease.to_string()),
            ("LONGSHORE_JOB_PROGRESS_FILE".to_owned(), told.progress().into()),
            ("LONGSHORE_JOB_CHECKPOINT_FILE".to_owned(), told.checkpoint().into()),
        ];
        if let Some(traceparent) = &job.traceparent {
            environment.push(text("TRACEPARENT", traceparent.clone()));
        }
        if let Some(parents) = &job.parents {
            // a file, since they may be larger than an environment may be
            let path = folder.path().join("parents.json");
            let written = tokio::fs::write(&path, parents.as_str()).await;
            written.map_err(|error| HandlerError::failed(format!("could not write {} for it: {error}", path.display())))?;
            environment.push(("LONGSHORE_JOB_PARENTS_FILE".to_owned(), path.into()));
        }
        let checkpoint = context.checkpoint::<RawJson>().await.map_err(|error| HandlerError::failed(longshore_common::log::chain(&error)))?;
        if let Some(checkpoint) = checkpoint {
            environment.push(text("CHECKPOINT", checkpoint.as_str().to_owned()));
        }
        for name in &self.settings.pass_environment {
            if let Some(value) = std::env::var_os(name) {
                environment.push((name.clone(), value));
            }
        }
        Ok(environment)
    }
}

/// How a program ended.
#[derive(Debug)]
enum Ended {
    With(ExitStatus),
    Failed(String),
}

impl Ended {
    fn of(status: std::io::Result<ExitStatus>) -> Self {
        status.map_or_else(|error| Self::Failed(format!("it is not known how it ended: {error}")), Self::With)
    }
}

/// A program need not read its args: that it closes its standard input is its own affair.
async fn feed(mut stdin: ChildStdin, args: RawJson) {
    let _ = stdin.write_all(args.as_str().as_bytes()).await;
    let _ = stdin.shutdown().await;
}

fn by_signal(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    let number = status.signal().unwrap_or_default();
    match nix::sys::signal::Signal::try_from(number) {
        Ok(nix::sys::signal::Signal::SIGXCPU) => "ended by SIGXCPU: it used more time on the processor than its handler's setting cpu allows".to_owned(),
        Ok(nix::sys::signal::Signal::SIGXFSZ) => "ended by SIGXFSZ: it wrote a file longer than its handler's setting file_size allows".to_owned(),
        Ok(signal) => format!("ended by {signal}"),
        Err(_) => format!("ended by signal {number}"),
    }
}

/// An error that says what the program said last.
fn with(why: &str, said: &str) -> String {
    if said.is_empty() { why.to_owned() } else { format!("{why}: {said}") }
}
