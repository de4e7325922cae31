//! Which `postgres` and `initdb` to run: a named folder, else the newest installed, else the embedded one.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::PrivatePostgresError;
use super::account::Account;
use super::embedded;
use super::folder::Folder;

/// The statements of the store need this version or a newer one.
pub(super) const OLDEST_MAJOR: u32 = 15;

/// Folders whose entries each hold one version, with what leads from the entry to its programs.
const VERSIONED: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),         // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                  // the PostgreSQL project's packages for Fedora, RHEL
    ("/usr/libexec", "postgresql", ""),         // Alpine
    ("/opt/homebrew/opt", "postgresql", "bin"), // Homebrew, Apple processors
    ("/usr/local/opt", "postgresql", "bin"),    // Homebrew, Intel processors
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// A folder with the programs of one PostgreSQL version.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    bin: PathBuf,
    version: String,
    major: u32,
    /// The embedded libraries do not lie where its programs were told at build time.
    libraries: Option<PathBuf>,
}

impl Programs {
    /// Finds the newest programs that `account` can run and that can read the data in the folder, if there are any.
    ///
    /// # Errors
    /// [`PrivatePostgresError::NoPrograms`] and [`PrivatePostgresError::OtherMajor`], with everything that was tried.
    pub(super) fn find(named: Option<&Path>, account: Option<&Account>, folder: &Folder) -> Result<Self, PrivatePostgresError> {
        let data = folder.data_version();
        let mut search = Search { account, data, usable: Vec::new(), tried: Vec::new() };
        let folders = named.map_or_else(installed, |named| vec![named.to_owned()]);
        if folders.is_empty() {
            let places = "pg_config, PATH and the usual folders: nothing there";
            search.tried.push(places.to_owned());
        }
        for bin in folders {
            search.consider(&bin.to_string_lossy(), &bin, None);
        }
        // Unpacking takes a second and 40 MB, so only where nothing else serves.
        if search.usable.is_empty() && named.is_none() {
            let name = "the embedded PostgreSQL";
            match embedded::unpack(account.is_some()) {
                Ok(runtime) => {
                    search.consider(name, &runtime.join("bin"), Some(runtime.join("lib")));
                }
                Err(reason) => search.tried.push(format!("{name}: {reason}")),
            }
        }
        let Search { usable, tried, .. } = search;
        let newest = usable.into_iter().max_by_key(|programs| (programs.major, programs.minor()));
        newest.ok_or_else(|| match data {
            Some(data) => PrivatePostgresError::OtherMajor { data_dir: folder.path().to_owned(), data, tried },
            None => PrivatePostgresError::NoPrograms { tried },
        })
    }

    /// The version as PostgreSQL says it: `15.18`, `18beta2`.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Where a program lies.
    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.bin.join(program)
    }

    /// A command line of ours: as `account`, from `/`, deaf to the caller's `PG…` variables and language.
    pub(super) fn command(&self, program: &str, account: Option<&Account>) -> Command {
        let mut command = Command::new(self.path(program));
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").current_dir("/");
        if let Some(libraries) = &self.libraries {
            let name = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
            command.env(name, libraries);
            // It comes without ICU's data, and initdb would look for the collations therein.
            command.env("OLIPHAUNT_INTERNAL_SKIP_ICU_DISCOVERY", "1");
        }
        if let Some(account) = account {
            account.applied_to(&mut command);
        }
        command
    }

    /// Runs `postgres --version` the way the server will run, which also proves that it can.
    fn probe(bin: &Path, libraries: Option<PathBuf>, account: Option<&Account>) -> Result<Self, String> {
        if !is_program(&bin.join("initdb")) {
            return Err("no initdb there".to_owned());
        }
        let mut programs = Self { bin: bin.to_owned(), version: String::new(), major: 0, libraries };
        let output = programs.command("postgres", account).arg("--version").output();
        let output = output.map_err(|error| format!("could not start postgres: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let version = said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let number = version.and_then(|version| Some((version, leading_number(version)?)));
        let Some((version, major)) = number else {
            let complaint = String::from_utf8_lossy(&output.stderr);
            // The embedded one is built against glibc 2.38 and names each symbol that it misses.
            let system = if complaint.contains("GLIBC_") { "this system is too old for it, Debian 13 and Ubuntu 24.04 are not: " } else { "" };
            return Err(format!("{system}{}", complaint.lines().next().unwrap_or("no version")));
        };
        version.clone_into(&mut programs.version);
        programs.major = major;
        Ok(programs)
    }

    fn minor(&self) -> u32 {
        self.version.split_once('.').map_or(0, |(_, minor)| leading_number(minor).unwrap_or(0))
    }
}

/// What was found so far, and what was wrong with the rest.
struct Search<'a> {
    account: Option<&'a Account>,
    /// The major version that the data need.
    data: Option<u32>,
    usable: Vec<Programs>,
    tried: Vec<String>,
}

impl Search<'_> {
    fn consider(&mut self, name: &str, bin: &Path, libraries: Option<PathBuf>) {
        match self.verdict(bin, libraries) {
            Ok(programs) => self.usable.push(programs),
            Err(reason) => self.tried.push(format!("{name}: {reason}")),
        }
    }

    fn verdict(&self, bin: &Path, libraries: Option<PathBuf>) -> Result<Programs, String> {
        let programs = Programs::probe(bin, libraries, self.account)?;
        let Programs { version, major, .. } = &programs;
        match self.data {
            Some(data) if data != *major => Err(format!("PostgreSQL {version} does not read data of {data}")),
            _ if *major < OLDEST_MAJOR => Err(format!("PostgreSQL {version} is older than {OLDEST_MAJOR}")),
            _ => Ok(programs),
        }
    }
}

/// The folders of installed programs, each once.
fn installed() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    if let Some(path) = std::env::var_os("PATH") {
        folders.extend(std::env::split_paths(&path));
    }
    for (parent, prefix, rest) in VERSIONED {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let versions = entries.filter(|entry| starts_with(&entry.file_name(), prefix));
        folders.extend(versions.map(|entry| entry.path().join(rest)));
    }
    // Homebrew and Fedora reach one program by several paths.
    let mut seen = Vec::new();
    folders.retain(|folder| {
        let Ok(real) = folder.join("postgres").canonicalize() else {
            return false;
        };
        let new = is_program(&real) && !seen.contains(&real);
        seen.push(real);
        new
    });
    folders
}

/// The number that a text begins with: the major version in `PG_VERSION` and in `18beta2`.
pub(super) fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

fn starts_with(name: &OsStr, prefix: &str) -> bool {
    name.as_encoded_bytes().starts_with(prefix.as_bytes())
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Whether a program of this name is on the PATH of the person who will type it.
pub(super) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| is_program(&folder.join(program))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_begin_with_their_major() {
        assert_eq!(leading_number("15.18"), Some(15));
        assert_eq!(leading_number("18beta2"), Some(18));
        assert_eq!(leading_number("15\n"), Some(15));
        assert_eq!(leading_number("devel"), None);
    }

    #[test]
    fn the_newest_is_compared_by_number() {
        let minor = |version: &str| {
            let version = version.to_owned();
            Programs { bin: PathBuf::new(), version, major: 15, libraries: None }.minor()
        };
        assert!(minor("15.18") > minor("15.9"));
        assert_eq!(minor("18beta2"), 0);
    }
}
