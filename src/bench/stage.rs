//! What is measured: a database, and programs in processes of their own, started from this very executable.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use longshore_common::store::Store;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};

use super::{
    http::{Connection, Request},
    process,
};
use crate::{
    command::WrongUse,
    database,
    private_postgres::{self, Options, PrivatePostgres, Purpose},
};

/// How long a program may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a program may take to stop: the worker's grace, and some.
const STOPPED_WITHIN: Duration = Duration::from_secs(40);
/// How often is looked again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How often PostgreSQL's memory is looked at.
const SAMPLE: Duration = Duration::from_secs(1);

/// A database for measuring. Dropped: the private PostgreSQL ends and its data go.
pub struct Stage {
    store: Store,
    url: String,
    postgres: Option<PrivatePostgres>,
    server_pid: Option<u32>,
    folder: Folder,
}

/// Removed when dropped, after the server that runs in it, which is declared before it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn new(named: Option<PathBuf>) -> anyhow::Result<Self> {
        let path = named.unwrap_or_else(|| PathBuf::from(format!("/var/tmp/longshore-bench-{}", std::process::id())));
        // not an existing one: it is removed in the end
        fs::create_dir(&path).with_context(|| format!("could not create the folder {}", path.display()))?;
        Ok(Self(path.canonicalize()?))
    }
}

impl Stage {
    /// A private PostgreSQL, as safe as in production.
    pub async fn private(named: Option<PathBuf>) -> anyhow::Result<Self> {
        let folder = Folder::new(named)?;
        let options = Options::new(folder.0.join("postgres"), Purpose::Bench);
        let postgres = tokio::task::spawn_blocking(|| PrivatePostgres::start(options)).await?.context("could not start a PostgreSQL to measure")?;
        let url = postgres.url(private_postgres::DATABASE);
        let store = database::at(&url)?;
        store.migrate().await?;
        Ok(Self { store, url, server_pid: Some(postgres.pid()), postgres: Some(postgres), folder })
    }

    /// The database at a URL; its jobs are forgotten.
    pub async fn on(url: &str, yes: bool) -> anyhow::Result<Self> {
        let store = database::at(url)?;
        store.migrate().await?;
        if store.totals().await?.jobs > 0 && !yes {
            return Err(WrongUse(format!("{} has jobs, which the bench would forget: add --yes if it may", store.shown())).into());
        }
        let server_pid = process::parent_named(store.server().await?.backend_pid, "postgres");
        Ok(Self { store, url: url.to_owned(), postgres: None, server_pid, folder: Folder::new(None)? })
    }

    /// To look at the results.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The server's first process, where it runs on this machine.
    pub fn server_pid(&self) -> Option<u32> {
        self.server_pid
    }

    /// Forgets all jobs.
    pub async fn clear(&self) -> anyhow::Result<()> {
        Ok(self.store.forget_all_jobs().await?)
    }

    /// Starts an API; it is ready when this returns.
    pub async fn api(&self) -> anyhow::Result<Api> {
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).context("could not find a free port")?;
        let mut program = self.start("api", &[("LONGSHORE_API__LISTEN", &addr.to_string())])?;
        let ready = Request::get("/readyz");
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Ok(mut connection) = Connection::open(addr).await
                && connection.expect(&ready, 200).await.is_ok()
            {
                return Ok(Api { program, addr });
            }
            program.wait_a_little(deadline).await?;
        }
    }

    /// Starts a worker; it is ready when this returns.
    pub async fn worker(&self, queues: &str) -> anyhow::Result<Program> {
        let mut program = self.worker_unready(queues)?;
        let deadline = Instant::now() + READY_WITHIN;
        while self.store.workers().await?.is_empty() {
            program.wait_a_little(deadline).await?;
        }
        Ok(program)
    }

    /// Starts a worker.
    pub fn worker_unready(&self, queues: &str) -> anyhow::Result<Program> {
        self.worker_with(queues, "")
    }

    /// Starts a worker with what a settings file says.
    pub fn worker_with(&self, queues: &str, settings: &str) -> anyhow::Result<Program> {
        let file = self.folder.0.join("longshore.toml");
        fs::write(&file, settings).with_context(|| format!("could not write {}", file.display()))?;
        let file = file.to_str().context("the folder's name is no text")?;
        self.start("worker", &[("LONGSHORE_WORKER__QUEUES", queues), ("LONGSHORE_CONFIG", file)])
    }

    fn start(&self, role: &'static str, settings: &[(&str, &str)]) -> anyhow::Result<Program> {
        let log = self.folder.0.join(format!("{role}.log"));
        let file = File::options().create(true).append(true).open(&log).with_context(|| format!("could not write to {}", log.display()))?;
        let us = std::env::current_exe().context("could not find this program's own file")?;
        let mut command = Command::new(us);
        command.arg(role).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).kill_on_drop(true).process_group(0);
        // only what is said here counts: no settings of the caller's
        command.current_dir(&self.folder.0);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"LONGSHORE_")) {
            command.env_remove(name);
        }
        command.env("LONGSHORE_DATABASE__URL", &self.url).envs(settings.iter().copied());
        let child = command.spawn().with_context(|| format!("could not start longshore {role}"))?;
        let pid = child.id().with_context(|| format!("longshore {role} ended at once"))?;
        Ok(Program { role, child, pid, log })
    }

    /// What has been used so far.
    pub async fn meter(&self, api: Option<&Program>, worker: Option<&Program>) -> anyhow::Result<Meter> {
        let cpu = |program: Option<&Program>| program.and_then(|program| process::cpu_seconds(program.pid));
        Ok(Meter {
            server: self.server_pid.and_then(process::tree_cpu_seconds),
            api: cpu(api),
            worker: cpu(worker),
            generator: process::cpu_seconds(std::process::id()),
            wal: self.store.wal_bytes().await?,
        })
    }

    /// Watches PostgreSQL's memory from now on.
    pub fn watch_memory(&self) -> Watch {
        let (peak, server) = (Arc::new(AtomicU64::new(0)), self.server_pid);
        let noted = peak.clone();
        let task = tokio::spawn(async move {
            while let Some(mib) = server.and_then(process::tree_private_mib) {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hundred MiB, in KiB")]
                noted.fetch_max((mib * 1024.0) as u64, Ordering::Relaxed);
                tokio::time::sleep(SAMPLE).await;
            }
        });
        Watch { peak, task }
    }

    /// Stops the server and waits for its end.
    pub async fn end(self) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || drop(self)).await?;
        Ok(())
    }

    /// Whether the server is one of ours.
    pub fn is_private(&self) -> bool {
        self.postgres.is_some()
    }
}

/// An API that runs.
pub struct Api {
    pub program: Program,
    pub addr: SocketAddr,
}

/// A program that runs; killed when dropped.
pub struct Program {
    role: &'static str,
    child: Child,
    pid: u32,
    log: PathBuf,
}

impl Program {
    /// Its peak memory.
    pub fn peak_mib(&self) -> Option<f64> {
        process::peak_mib(self.pid)
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let role = self.role;
        // not waited for yet, so the id is still this child's
        kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGTERM).with_context(|| format!("could not stop longshore {role}"))?;
        let ended = tokio::time::timeout(STOPPED_WITHIN, self.child.wait()).await;
        let status = ended.with_context(|| format!("longshore {role} did not stop within {STOPPED_WITHIN:?}"))??;
        ensure!(status.success(), self.obituary(status));
        Ok(())
    }

    async fn wait_a_little(&mut self, deadline: Instant) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(self.obituary(status));
        }
        ensure!(Instant::now() < deadline, "longshore {} was not ready within {READY_WITHIN:?}, its log ends with:\n{}", self.role, last_lines(&self.log));
        tokio::time::sleep(LOOK_AGAIN).await;
        Ok(())
    }

    fn obituary(&self, status: ExitStatus) -> String {
        format!("longshore {} ended ({status}), its log ends with:\n{}", self.role, last_lines(&self.log))
    }
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// CPU seconds and bytes, since the beginning of each process.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    pub server: Option<f64>,
    pub api: Option<f64>,
    pub worker: Option<f64>,
    pub generator: Option<f64>,
    pub wal: i64,
}

/// Looks at PostgreSQL's memory until dropped.
pub struct Watch {
    peak: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// The most so far, in MiB.
    pub fn peak_mib(&self) -> Option<f64> {
        let kib = u32::try_from(self.peak.load(Ordering::Relaxed)).ok()?;
        Some(f64::from(kib) / 1024.0).filter(|mib| *mib > 0.0)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
