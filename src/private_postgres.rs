//! A PostgreSQL server that belongs to us: `longshore dev` keeps its data, tests throw theirs away.
//!
//! It runs the programs that are installed, or the embedded ones, in a folder of its own, and ends when this
//! process ends. It knows nothing of jobs: who starts it gets a URL.

mod account;
mod cluster;
mod embedded;
mod error;
mod folder;
mod programs;
mod server;

use std::fmt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Uid;

use account::Account;
pub use error::PrivatePostgresError;
use folder::Folder;
use programs::Programs;
use server::Server;

/// The database that a server of [`Purpose::Dev`] or [`Purpose::Bench`] begins with.
pub const DATABASE: &str = "longshore";

/// The superuser, named as everywhere, so that dumps fit.
const SUPERUSER: &str = "postgres";

/// Part of the socket's name, also where no TCP port is open.
const DEFAULT_PORT: u16 = 5432;

/// How long a start may take: long enough to recover a data folder that a power cut left behind.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// What the server is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The data are kept and safe from a power cut.
    Dev,
    /// The data are as safe as in production, and the server has the memory of a small one there: for measuring.
    Bench,
    /// The data are thrown away, so nothing waits for the disk; the folder is removed at the end.
    Test,
}

/// What server to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder for all that belongs to the server: data, socket, log. Created where needed; ours alone.
    pub data_dir: PathBuf,
    /// What the server is for.
    pub purpose: Purpose,
    /// Listens on this port of 127.0.0.1, too, for programs that do not know Unix sockets; with a password.
    pub tcp_port: Option<u16>,
    /// The folder with `postgres` and `initdb`; without one, they are looked for.
    pub programs: Option<PathBuf>,
    /// Settings of its own, `name=value`, which win over those of its purpose.
    pub settings: Vec<String>,
}

impl Options {
    /// A server on a Unix socket only, with the programs that are found.
    pub fn new(data_dir: impl Into<PathBuf>, purpose: Purpose) -> Self {
        Self { data_dir: data_dir.into(), purpose, tcp_port: None, programs: None, settings: Vec::new() }
    }
}

/// A server that runs; dropping it stops it, which takes a tenth of a second, at most fifteen seconds.
pub struct PrivatePostgres {
    server: Server,
    folder: Folder,
    purpose: Purpose,
    version: String,
    socket_dir: PathBuf,
    port: u16,
    /// Known where a TCP port was asked for.
    password: Option<String>,
    psql: PathBuf,
    log_begins: u64,
}

impl PrivatePostgres {
    /// Starts the server and returns when it accepts connections: a tenth of a second, a second with new data.
    ///
    /// Blocks; call it before the runtime starts or in `spawn_blocking`. The calling thread may end before the server.
    ///
    /// # Errors
    /// Whatever is missing, or wrong with the folder: see [`PrivatePostgresError`].
    pub fn start(options: Options) -> Result<Self, PrivatePostgresError> {
        let Options { data_dir, purpose, tcp_port, programs, settings } = options;
        let folder = Folder::hold(&data_dir)?;
        let pgdata = folder.pgdata();
        let account = Account::for_data(&pgdata)?;
        let account = account.as_ref();
        if let Some(account) = account {
            account.check_enters(folder.path())?;
        }
        let programs = Programs::find(programs.as_deref(), account, &folder)?;
        if folder.data_version().is_none() {
            cluster::create(&folder, &programs, account, purpose)?;
        }
        server::end_orphan(&folder, account)?;
        let password = tcp_port.map(|_| folder.password()).transpose()?;
        let port = tcp_port.unwrap_or(DEFAULT_PORT);
        let socket_dir = folder.socket_dir(account, port)?;

        let mut command = programs.command("postgres", account);
        command.arg("-D").arg(&pgdata).args(["-p", &port.to_string()]);
        command.arg("-k").arg(folder::quoted(&socket_dir));
        command.args(["-h", if tcp_port.is_some() { "127.0.0.1" } else { "" }]);
        command.args(["-c", server::MARK]);
        for setting in purpose.settings().iter().copied().chain(settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        let (log, log_begins) = folder.open_log()?;
        let server = Server::start(command, log, purpose).map_err(|source| PrivatePostgresError::Spawn { program: programs.path("postgres"), source })?;
        let postgres =
            Self { server, folder, purpose, version: programs.version().to_owned(), socket_dir, port, password, psql: programs.path("psql"), log_begins };
        postgres.wait_ready()?;
        if purpose == Purpose::Dev {
            postgres.folder.publish(&postgres.url(DATABASE), &postgres.socket())?;
        }
        Ok(postgres)
    }

    /// Where to reach a database, over the Unix socket and without a password; for tokio-postgres and psql.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}@{}:{}/{database}", folder::url_host(&self.socket_dir), self.port)
    }

    /// Where to reach a database over TCP, with the password, where a port was asked for.
    pub fn tcp_url(&self, database: &str) -> Option<String> {
        let port = self.port;
        let password = self.password.as_ref()?;
        Some(format!("postgres://{SUPERUSER}:{password}@127.0.0.1:{port}/{database}"))
    }

    /// The Unix socket that the server listens on.
    pub fn socket(&self) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{}", self.port))
    }

    /// What a person types to look into the database.
    pub fn psql_command(&self) -> String {
        // Homebrew's versions are not on the PATH, and the embedded PostgreSQL has no psql.
        let installed = self.psql.exists() && !programs::on_path("psql");
        let psql = if installed { self.psql.to_string_lossy() } else { "psql".into() };
        format!("{psql} '{}'", self.url(DATABASE))
    }

    /// The folder of the server, with its data and its log.
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// The version of the server, such as `15.18`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// `None` as long as the server runs, else how it ended and its last words.
    pub fn failure(&self) -> Option<PrivatePostgresError> {
        let status = self.server.ended()?.to_owned();
        Some(PrivatePostgresError::Ended {
            version: self.version.clone(),
            data_dir: self.data_dir().to_owned(),
            status,
            log_file: self.folder.log_file(),
            log: self.folder.log_since(self.log_begins),
        })
    }

    /// Stops the server and waits for its end; open connections are cut, committed data are kept.
    pub fn stop(self) {
        drop(self);
    }

    fn wait_ready(&self) -> Result<(), PrivatePostgresError> {
        match self.server.wait_ready(&self.folder.pgdata(), READY_WITHIN) {
            Some(true) => Ok(()),
            Some(false) => Err(self.failure().unwrap_or_else(|| self.not_ready())),
            None => Err(self.not_ready()),
        }
    }

    fn not_ready(&self) -> PrivatePostgresError {
        PrivatePostgresError::NotReady {
            version: self.version.clone(),
            data_dir: self.data_dir().to_owned(),
            within: READY_WITHIN,
            log_file: self.folder.log_file(),
            log: self.folder.log_since(self.log_begins),
        }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        self.folder.unpublish();
        self.server.stop();
        let _ = folder::remove_dir(&self.socket_dir);
        if self.purpose == Purpose::Test {
            let _ = folder::remove_dir(self.folder.path());
        }
    }
}

impl fmt::Debug for PrivatePostgres {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivatePostgres").field("version", &self.version).field("data_dir", &self.data_dir()).field("pid", &self.pid()).finish_non_exhaustive()
    }
}

impl Purpose {
    /// Fast with data to keep; immediate without.
    fn stop_signal(self) -> Signal {
        match self {
            Self::Dev | Self::Bench => Signal::SIGINT,
            Self::Test => Signal::SIGQUIT,
        }
    }

    /// Settings besides PostgreSQL's defaults, which are those that a user will meet elsewhere.
    fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Dev => &[
                // A million finished jobs and their indexes stay in memory; a laptop has it to spare.
                "shared_buffers=256MB",
                // A bulk load writes this much before a checkpoint is forced, not 1 GB: fewer full pages again.
                "max_wal_size=2GB",
                // Several roles, each with its pool, beside a person with psql.
                "max_connections=200",
                // Every five minutes a line of no use to the reader of this log.
                "log_checkpoints=off",
            ],
            Self::Bench => &[
                "shared_buffers=1GB",
                "max_wal_size=4GB",
                "min_wal_size=2GB",
                "checkpoint_timeout=15min",
                "autovacuum_naptime=5s",
                // which of our functions takes the time: two looks at the clock a call
                "track_functions=pl",
                "max_connections=200",
                "log_checkpoints=off",
            ],
            Self::Test => &[
                // The data do not outlive the server, so nothing waits for the disk and no page is logged twice.
                "fsync=off",
                "full_page_writes=off",
                // Many tests at once, each with the pools of several processes.
                "max_connections=300",
                // A program's tests end before either is reached: no checkpoint disturbs a measured wait.
                "checkpoint_timeout=1h",
                "max_wal_size=2GB",
                "log_checkpoints=off",
            ],
        }
    }
}

/// The folder of `longshore dev`: `/var/lib/longshore/dev` for root, else below the user's data folder.
///
/// `None` where neither `XDG_DATA_HOME` nor a home directory is known. Not `/var/tmp` for root: systemd removes
/// files there that nobody touched for a month, from between the others.
pub fn default_dev_dir() -> Option<PathBuf> {
    if Uid::effective().is_root() {
        return Some(PathBuf::from("/var/lib/longshore/dev"));
    }
    let data_home = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data_home = data_home.or_else(|| Some(std::env::home_dir()?.join(".local/share")))?;
    Some(data_home.join("longshore/dev"))
}

/// The URL of the server that `longshore dev` runs in its default folder now, if one answers.
pub fn running_dev_url() -> Option<String> {
    running_url(&default_dev_dir()?)
}

/// The URL of the [`Purpose::Dev`] server that runs in this folder now, if one answers.
pub fn running_url(data_dir: &Path) -> Option<String> {
    let (url, socket) = folder::published(data_dir)?;
    // A killed `longshore dev` leaves the notice behind.
    UnixStream::connect(socket).is_ok().then_some(url)
}
