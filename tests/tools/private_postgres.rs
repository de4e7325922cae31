//! The server that `longshore dev` and the tests run: it keeps data, and it never outlives us.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use longshore::private_postgres::{self, DATABASE, Options, PrivatePostgres, PrivatePostgresError, Purpose};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::eventually::eventually;
use crate::support::postgres::{Database, connect, server};
use crate::support::process::{Process, Program};

const SOON: Duration = Duration::from_mins(1);

/// A folder for a server, removed with this value; if the program is killed, by the next program's sweep.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("longshore-test-{}-{name}", std::process::id()));
        Self(path)
    }

    fn options(&self) -> Options {
        Options::new(&self.0, Purpose::Dev)
    }

    async fn start(&self) -> Result<PrivatePostgres, PrivatePostgresError> {
        start(self.options()).await
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn start(options: Options) -> Result<PrivatePostgres, PrivatePostgresError> {
    let started = tokio::task::spawn_blocking(|| PrivatePostgres::start(options)).await;
    started.expect("no panic")
}

async fn stop(postgres: PrivatePostgres) {
    tokio::task::spawn_blocking(|| postgres.stop()).await.expect("no panic");
}

async fn gone(pid: u32) {
    eventually("the server is gone", SOON, async || !is_alive(pid)).await;
}

/// Alive and not a zombie, which an init that does not reap leaves in some containers.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    kill(Pid::from_raw(pid.cast_signed()), None) != Err(Errno::ESRCH) && !stat.contains(") Z ")
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("a process of ours");
}

/// The other process of some tests: it holds a server until it is killed.
#[tokio::test]
async fn holds_a_server_where_another_test_says() {
    let Some(folder) = std::env::var_os("HOLD_A_SERVER_IN") else {
        return;
    };
    let postgres = start(Options::new(folder, Purpose::Dev)).await.expect("a server");
    eprintln!("holding {}", postgres.pid());
    std::future::pending::<()>().await;
}

/// Starts that other process and returns it with the id of its server.
async fn holder(folder: &Path) -> (Process, u32) {
    let this = std::env::current_exe().expect("this program");
    let test = "private_postgres::holds_a_server_where_another_test_says";
    let program = Program::new(&this.to_string_lossy(), ["--exact", test, "--nocapture"]);
    let mut process = program.env("HOLD_A_SERVER_IN", folder).start();
    let line = process.wait_for_line("holding", SOON).await;
    let pid = line.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("a process id");
    (process, pid)
}

#[tokio::test]
async fn data_are_kept_from_run_to_run() {
    let folder = Folder::new("kept");
    for run in 1..=2 {
        let postgres = folder.start().await.expect("a server");
        let client = connect(&postgres.url(DATABASE)).await;
        client.batch_execute("create table if not exists run (n int)").await.expect("a table");
        client.execute("insert into run values ($1)", &[&run]).await.expect("a row");
        let row = client.query_one("select count(*), current_setting('fsync') from run", &[]).await;
        let row = row.expect("an answer");
        assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (run.into(), "on"));
        let pid = postgres.pid();
        stop(postgres).await;
        assert!(!is_alive(pid));
    }
    let log = fs::read_to_string(folder.0.join("postgres.log")).expect("a log");
    assert!(!log.contains("not properly shut down"), "{log}");
}

#[tokio::test]
async fn a_server_for_tests_leaves_nothing() {
    let folder = Folder::new("thrown-away");
    let postgres = start(Options::new(&folder.0, Purpose::Test)).await.expect("a server");
    let (pid, socket) = (postgres.pid(), postgres.socket());
    assert!(socket.exists());
    stop(postgres).await;
    assert!(!is_alive(pid) && !socket.exists() && !folder.0.exists());
}

#[tokio::test]
async fn a_server_for_tests_does_not_wait_for_the_disk() {
    let database = Database::empty().await;
    let client = database.connect().await;
    let row = client.query_one("show fsync", &[]).await;
    assert_eq!(row.expect("an answer").get::<_, &str>(0), "off");
}

#[tokio::test]
async fn its_programs_say_what_version_they_are() {
    let database = Database::empty().await;
    let client = database.connect().await;
    let row = client.query_one("show server_version", &[]).await.expect("an answer");
    assert!(row.get::<_, &str>(0).starts_with(server().version()));
}

#[tokio::test]
async fn others_find_the_running_server_and_not_the_stopped() {
    let folder = Folder::new("found");
    let postgres = folder.start().await.expect("a server");
    let url = private_postgres::running_url(&folder.0).expect("a URL");
    assert_eq!(url, postgres.url(DATABASE));
    connect(&url).await;
    stop(postgres).await;
    assert_eq!(private_postgres::running_url(&folder.0), None);
    assert!(!folder.0.join("url").exists());
}

#[tokio::test]
async fn a_tcp_port_asks_for_the_password() {
    let folder = Folder::new("tcp");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let postgres = start(Options { tcp_port: Some(port), ..folder.options() }).await.expect("a server");
    connect(&postgres.tcp_url(DATABASE).expect("a URL")).await;
    let without = format!("postgres://postgres@127.0.0.1:{port}/{DATABASE}");
    let refused = tokio_postgres::connect(&without, tokio_postgres::NoTls).await;
    assert!(refused.is_err(), "any local user could run programs as the server's user");
    assert!(!format!("{postgres:?}").contains("password"));
    stop(postgres).await;
}

#[tokio::test]
async fn an_odd_path_is_quoted_wherever_it_goes() {
    let folder = Folder::new("odd \"quoted\" 'é%20");
    let postgres = folder.start().await.expect("a server");
    connect(&postgres.url(DATABASE)).await;
    let found = private_postgres::running_url(&folder.0);
    assert_eq!(found.as_deref(), Some(&*postgres.url(DATABASE)));
    // The embedded PostgreSQL brings no psql.
    if Command::new("psql").arg("--version").output().is_ok() {
        let typed = format!("{} -Atc 'select 1 + 1'", postgres.psql_command());
        let output = Command::new("sh").args(["-c", &typed]).output();
        let output = output.expect("a shell");
        assert_eq!(output.stdout, b"2\n", "{typed}: {output:?}");
    }
    stop(postgres).await;
}

#[tokio::test]
async fn a_path_that_no_socket_can_have_gets_its_socket_elsewhere() {
    let parent = Folder::new("elsewhere");
    for name in ["a-long-name".repeat(10), "two, hosts".to_owned()] {
        let options = Options::new(parent.0.join(name), Purpose::Dev);
        let postgres = start(options).await.expect("a server");
        connect(&postgres.url(DATABASE)).await;
        let socket = postgres.socket();
        assert!(!socket.starts_with(&parent.0), "{}", socket.display());
        stop(postgres).await;
        assert!(!socket.parent().expect("its folder").exists());
    }
}

#[tokio::test]
async fn a_second_start_names_the_process_that_holds_the_folder() {
    let folder = Folder::new("twice");
    let (process, _) = holder(&folder.0).await;
    let error = folder.start().await.expect_err("held").to_string();
    assert!(error.contains(&format!("in use by process {}", process.pid())), "{error}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_server_ends_with_a_killed_process() {
    let folder = Folder::new("killed");
    let (mut process, pid) = holder(&folder.0).await;
    assert!(is_alive(pid));
    process.kill();
    gone(pid).await;
    assert_eq!(private_postgres::running_url(&folder.0), None);
}

#[tokio::test]
async fn the_folder_of_a_killed_process_can_be_used_at_once() {
    let folder = Folder::new("at-once");
    let (mut process, pid) = holder(&folder.0).await;
    process.kill();
    // The server may still be on its way down.
    let postgres = folder.start().await.expect("a server");
    gone(pid).await;
    connect(&postgres.url(DATABASE)).await;
    stop(postgres).await;
    let log = fs::read_to_string(folder.0.join("postgres.log")).expect("a log");
    assert!(log.contains("received fast shutdown request") && !log.contains("not properly shut down"), "{log}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_outlived_its_process_is_ended() {
    let folder = Folder::new("orphan");
    let postgres = folder.start().await.expect("a server");
    let (pid, socket) = (postgres.pid(), postgres.socket());
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).expect("a command line");
    stop(postgres).await;
    // The same server without the guard that ours has.
    let words = command_line.strip_suffix(b"\0").expect("words").split(|byte| *byte == 0);
    let words = words.map(|word| String::from_utf8(word.to_vec()).expect("text"));
    let socket_dir = socket.parent().expect("its folder");
    fs::create_dir(socket_dir).expect("a folder for the socket");
    fs::set_permissions(socket_dir, PermissionsExt::from_mode(0o777)).expect("open to the server");
    let mut orphan = as_server(&folder, words).start();
    orphan.wait_for_line("ready to accept connections", SOON).await;
    let postgres = folder.start().await.expect("a server");
    assert!(orphan.has_exited());
    stop(postgres).await;
}

#[tokio::test]
async fn a_killed_server_is_noticed_and_starts_again() {
    let folder = Folder::new("crashed");
    let postgres = folder.start().await.expect("a server");
    let client = connect(&postgres.url(DATABASE)).await;
    client.batch_execute("create table kept ()").await.expect("a table");
    assert!(postgres.failure().is_none());
    send(postgres.pid(), Signal::SIGKILL);
    let failure = eventually("the end is noticed", SOON, async || postgres.failure()).await;
    assert!(failure.to_string().contains("signal: 9"), "{failure}");
    stop(postgres).await;
    let postgres = folder.start().await.expect("a server, recovered");
    connect(&postgres.url(DATABASE)).await.batch_execute("table kept").await.expect("the table");
    stop(postgres).await;
}

#[tokio::test]
async fn a_process_that_has_the_id_of_a_killed_server_is_left_alone() {
    let folder = Folder::new("reused");
    let postgres = folder.start().await.expect("a server");
    send(postgres.pid(), Signal::SIGKILL);
    gone(postgres.pid()).await;
    stop(postgres).await;
    // PostgreSQL takes any living process of its own user for a rival.
    let pid_file = folder.0.join("pgdata/postmaster.pid");
    let content = fs::read_to_string(&pid_file).expect("left behind");
    let (_, rest) = content.split_once('\n').expect("lines");
    let mut innocent = as_server(&folder, ["sleep", "60"]).start();
    fs::write(&pid_file, format!("{}\n{rest}", innocent.pid())).expect("written");
    let postgres = folder.start().await.expect("a server");
    assert!(!innocent.has_exited());
    stop(postgres).await;
}

/// A program run by the user that the server runs as.
fn as_server(folder: &Folder, words: impl IntoIterator<Item = impl Into<OsString>>) -> Program {
    let mut command: Vec<OsString> = Vec::new();
    if nix::unistd::Uid::effective().is_root() {
        let owner = fs::metadata(folder.0.join("pgdata")).expect("data");
        let (uid, gid) = (owner.uid().to_string(), owner.gid().to_string());
        let user = ["setpriv", "--reuid", &uid, "--regid", &gid, "--clear-groups"];
        command.extend(user.map(Into::into));
    }
    command.extend(words.into_iter().map(Into::into));
    let program = command.remove(0);
    Program::new(&program.to_string_lossy(), command)
}

#[tokio::test]
async fn data_of_another_version_are_left_alone() {
    let folder = Folder::new("version");
    stop(folder.start().await.expect("a server")).await;
    let version_file = folder.0.join("pgdata/PG_VERSION");
    fs::write(&version_file, "14\n").expect("written");
    let error = folder.start().await.expect_err("another version").to_string();
    assert!(error.contains("holds data of PostgreSQL 14"), "{error}");
    assert!(error.contains("install PostgreSQL 14"), "{error}");
    assert!(version_file.exists());
}

#[tokio::test]
async fn an_error_shows_the_log() {
    let folder = Folder::new("broken");
    stop(folder.start().await.expect("a server")).await;
    fs::write(folder.0.join("pgdata/postgresql.conf"), "no_such_setting = 1\n").expect("written");
    let error = folder.start().await.expect_err("a broken server").to_string();
    assert!(error.contains("unrecognized configuration parameter \"no_such_setting\""), "{error}");
    assert!(error.contains("postgres.log"), "{error}");
}

#[tokio::test]
async fn no_programs_say_what_to_install() {
    let folder = Folder::new("nothing");
    let nothing = Some(PathBuf::from("/nonexistent/bin"));
    let error = start(Options { programs: nothing, ..folder.options() }).await.expect_err("no programs");
    let error = error.to_string();
    for part in ["/nonexistent/bin: no initdb there", "apt install postgresql", "LONGSHORE_DATABASE__URL"] {
        assert!(error.contains(part), "{error}");
    }
}
