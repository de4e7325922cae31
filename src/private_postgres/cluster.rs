//! The creation of the data: all of it or none, since a half-made data folder cannot be told from a good one.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;

use super::account::Account;
use super::error::at;
use super::folder::{self, Folder};
use super::programs::Programs;
use super::server::ends_with_us;
use super::{DATABASE, PrivatePostgresError, Purpose, SUPERUSER};

/// Creates the data of a new server.
///
/// # Errors
/// [`PrivatePostgresError::Create`] with what PostgreSQL says; nothing but the password remains.
pub(super) fn create(folder: &Folder, programs: &Programs, account: Option<&Account>, purpose: Purpose) -> Result<(), PrivatePostgresError> {
    let staged = folder.path().join("pgdata.new");
    folder::fresh_dir(&staged, account)?;
    initdb(folder, programs, account, purpose, &staged)?;
    if purpose != Purpose::Test {
        create_database(folder, programs, account, &staged)?;
    }
    let pgdata = folder.pgdata();
    fs::rename(&staged, &pgdata).map_err(at("move the new data to", &pgdata))?;
    let synced = File::open(folder.path()).and_then(|folder| folder.sync_all());
    synced.map_err(at("sync", folder.path()))
}

fn initdb(folder: &Folder, programs: &Programs, account: Option<&Account>, purpose: Purpose, staged: &Path) -> Result<(), PrivatePostgresError> {
    let password = random_password()?;
    folder::write_private(&folder.password_file(), password.as_bytes())?;
    let for_initdb = folder.path().join("password.initdb");
    folder::write_private(&for_initdb, password.as_bytes())?;
    account.map_or(Ok(()), |account| account.own(&for_initdb))?;

    let mut command = programs.command("initdb", account);
    command.arg("-D").arg(staged).args(["-U", SUPERUSER, "-E", "UTF8", "--no-locale"]);
    // Who gets to the socket came through a folder that is ours alone; a TCP port is open to every local user.
    command.args(["--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions"]);
    command.arg("--pwfile").arg(&for_initdb);
    if purpose == Purpose::Test {
        command.arg("--no-sync");
    }
    let created = run(command, folder, programs, "initdb", "");
    fs::remove_file(&for_initdb).map_err(at("remove", &for_initdb))?;
    created
}

/// Single-user mode needs neither a client nor a second start.
fn create_database(folder: &Folder, programs: &Programs, account: Option<&Account>, staged: &Path) -> Result<(), PrivatePostgresError> {
    let mut command = programs.command("postgres", account);
    command.arg("--single").arg("-D").arg(staged).args(["-c", "exit_on_error=on", "postgres"]);
    run(command, folder, programs, "postgres", &format!("create database {DATABASE}\n"))
}

fn run(mut command: Command, folder: &Folder, programs: &Programs, program: &str, input: &str) -> Result<(), PrivatePostgresError> {
    let program = programs.path(program);
    ends_with_us(&mut command, Signal::SIGINT);
    let output = output(command, input).map_err(|source| PrivatePostgresError::Spawn { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(PrivatePostgresError::Create {
        program,
        data_dir: folder.path().to_owned(),
        status: output.status.to_string(),
        output: folder::last_lines(&[output.stdout, output.stderr].concat()),
    })
}

fn output(mut command: Command, input: &str) -> std::io::Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends before it reads says why on its way out.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

fn random_password() -> Result<String, PrivatePostgresError> {
    let path = Path::new("/dev/urandom");
    let mut random = [0; 16];
    File::open(path).and_then(|mut file| file.read_exact(&mut random)).map_err(at("read", path))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}
