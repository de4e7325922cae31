//! Real processes: started, listened to, signalled, and never left behind.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{sleep, timeout};

/// How often output and exit are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A program to be started.
#[derive(Debug)]
pub struct Program {
    command: Command,
    name: String,
}

impl Program {
    /// The `longshore` of this build, with the arguments, and none of the caller's `LONGSHORE_…` settings.
    pub fn longshore(args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self::new(env!("CARGO_BIN_EXE_longshore"), args)
    }

    /// The test program itself, where it runs one test and nothing else: one that becomes another program.
    ///
    /// # Panics
    /// When the program is not there any more.
    pub fn test(name: &str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut program = Self::new(&program.to_string_lossy(), ["--exact", name, "--nocapture", "--test-threads", "1"]);
        name.clone_into(&mut program.name);
        program
    }

    /// Any program.
    pub fn new(program: &str, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let mut command = Command::new(program);
        // Not where a person keeps a settings file of their own.
        command.args(&args).current_dir(std::env::temp_dir());
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"LONGSHORE_") {
                command.env_remove(name);
            }
        }
        let base = program.rsplit('/').next().unwrap_or(program);
        let name = args.iter().fold(base.to_owned(), |name, arg| name + " " + &arg.to_string_lossy());
        Self { command, name }
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Starts it, with its output kept line by line.
    pub fn start(mut self) -> Process {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = self.command.spawn();
        let mut child = started.unwrap_or_else(|error| panic!("start {}: {error}", self.name));
        let output = Arc::new(Mutex::new(Vec::new()));
        if let Some(stdout) = child.stdout.take() {
            keep(stdout, "out", Arc::clone(&output));
        }
        if let Some(stderr) = child.stderr.take() {
            keep(stderr, "err", Arc::clone(&output));
        }
        Process { name: self.name, child, exited: None, output }
    }
}

/// A program that runs; killed when dropped, and its output printed when the test fails.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    exited: Option<ExitStatus>,
    output: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that contains the text, said before or from now on, and returns the whole line.
    ///
    /// # Panics
    /// With all output, when the line does not come in time or the program ends without it.
    pub async fn wait_for_line(&mut self, text: &str, within: Duration) -> String {
        let looked = timeout(within, async {
            loop {
                // Asked first: the last line may come between the two questions.
                let complete = self.has_exited() && Arc::strong_count(&self.output) == 1;
                if let Some(line) = self.lines().into_iter().find(|line| line.contains(text)) {
                    return Some(line);
                }
                if complete {
                    return None;
                }
                sleep(LOOK_AGAIN).await;
            }
        });
        let Ok(line) = looked.await else {
            panic!("{} did not say {text:?} within {within:?}", self.name);
        };
        line.unwrap_or_else(|| panic!("{} ended without saying {text:?}", self.name))
    }

    /// All lines so far, of both streams, without marks of which.
    pub fn lines(&self) -> Vec<String> {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.iter().map(|line| line[LABEL..].to_owned()).collect()
    }

    /// All lines of a program that has ended; its last ones may still be on their way.
    pub async fn all_lines(&self, within: Duration) -> Vec<String> {
        let read = timeout(within, async {
            while Arc::strong_count(&self.output) > 1 {
                sleep(LOOK_AGAIN).await;
            }
        });
        assert!(read.await.is_ok(), "somebody else holds the output of {} open", self.name);
        self.lines()
    }

    /// Sends a signal: `SIGTERM` asks to end, `SIGKILL` ends, `SIGSTOP` freezes and `SIGCONT` thaws.
    ///
    /// # Panics
    /// When the process has ended, since its id may be another's by now.
    pub fn signal(&mut self, signal: Signal) {
        assert!(!self.has_exited(), "{} has ended before {signal}", self.name);
        let pid = Pid::from_raw(self.pid().cast_signed());
        kill(pid, signal).unwrap_or_else(|error| panic!("send {signal} to {}: {error}", self.name));
    }

    /// Waits until the program ends.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let exit = timeout(within, async {
            while !self.has_exited() {
                sleep(LOOK_AGAIN).await;
            }
        });
        assert!(exit.await.is_ok(), "{} did not end within {within:?}", self.name);
        self.exited.expect("set by has_exited")
    }

    /// Whether the program has ended.
    pub fn has_exited(&mut self) -> bool {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().expect("a child of ours");
        }
        self.exited.is_some()
    }

    /// Ends it at once and waits for that.
    pub fn kill(&mut self) {
        if !self.has_exited() {
            let _ = self.child.kill();
            self.exited = self.child.wait().ok();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let by_itself = self.has_exited();
        self.kill();
        if thread::panicking() {
            let status = self.exited.map_or_else(String::new, |status| status.to_string());
            let end = if by_itself { "ended" } else { "was ended by the test" };
            let mut report = format!("--- {} (process {}) {end}: {status}\n", self.name, self.pid());
            for line in self.output.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let _ = writeln!(report, "{line}");
            }
            eprintln!("{report}---");
        }
    }
}

/// The length of `out | `, before each line in a report.
const LABEL: usize = 6;

/// Reads a stream to its end in a thread of its own, so that the program never waits for a reader.
fn keep(stream: impl Read + Send + 'static, label: &'static str, output: Arc<Mutex<Vec<String>>>) {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line);
            let text = format!("{label} | {}", text.trim_end());
            output.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            line.clear();
        }
    });
}
