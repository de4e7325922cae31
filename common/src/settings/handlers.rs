//! `[handlers.*]` in the settings file: which command or which URL runs a kind. Only there: what runs on a worker's machine
//! is said by whoever set it up, never by a request.

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::SettingError;
use crate::{duration, job::Kind};

/// What runs the jobs of one kind.
#[derive(Debug, Clone)]
pub enum HandlerSettings {
    /// A program on the worker's machine.
    Command(CommandSettings),
    /// A user's service, by signed HTTP calls.
    Http(HttpSettings),
}

/// A program that runs the jobs of one kind: args on stdin, result from stdout, log from stderr.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSettings {
    /// The program and its arguments.
    #[serde(deserialize_with = "argv")]
    pub command: Vec<String>,
    /// Jobs of this kind that run at once on this worker; silent: as many as there are slots.
    #[serde(default, deserialize_with = "concurrency")]
    pub concurrency: Option<usize>,
    /// How long an attempt may run, where the job's own timeout is not shorter.
    #[serde(default, deserialize_with = "length")]
    pub timeout: Option<Duration>,
    /// How long a job waits that ended with exit code 75.
    #[serde(default = "snooze", deserialize_with = "required_length")]
    pub snooze: Duration,
    /// Bytes of memory that an attempt's processes may use together.
    #[serde(default = "memory", deserialize_with = "bytes")]
    pub memory: u64,
    /// Time on the processor that each of an attempt's processes may use; silent: no limit of its own.
    #[serde(default, deserialize_with = "length")]
    pub cpu: Option<Duration>,
    /// Bytes that a file may have which an attempt writes.
    #[serde(default = "file_size", deserialize_with = "bytes")]
    pub file_size: u64,
    /// Variables of the worker's environment that the command gets beside its own.
    #[serde(default)]
    pub pass_environment: Vec<String>,
}

/// A service that runs the jobs of one kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// Where the args are sent by POST: http or https.
    pub url: String,
    /// What signs the calls, as `whsec_` and base64; several while they are exchanged: each signs.
    #[serde(default, deserialize_with = "secrets")]
    pub secret: Vec<SecretString>,
    /// Files to read secrets from, instead or besides.
    #[serde(default, deserialize_with = "one_or_many")]
    pub secret_file: Vec<String>,
    /// Calls of this kind at once from this worker; silent: as many as there are slots.
    #[serde(default, deserialize_with = "concurrency")]
    pub concurrency: Option<usize>,
    /// How long an answer may take, where the job's own timeout is not shorter.
    #[serde(default = "answer", deserialize_with = "required_length")]
    pub timeout: Duration,
}

fn snooze() -> Duration {
    Duration::from_secs(30)
}

fn answer() -> Duration {
    Duration::from_secs(30)
}

fn memory() -> u64 {
    1 << 30
}

fn file_size() -> u64 {
    1 << 30
}

/// A text or a list of texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

fn argv<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let argv = Vec::<String>::deserialize(deserializer).map_err(|_| D::Error::custom("command must be a list of texts: the program and its arguments"))?;
    if argv.first().is_none_or(String::is_empty) {
        return Err(D::Error::custom("command must name a program"));
    }
    if argv.iter().any(|argument| argument.contains('\0')) {
        return Err(D::Error::custom("command must not contain a NUL"));
    }
    Ok(argv)
}

fn secrets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SecretString>, D::Error> {
    Ok(one_or_many(deserializer)?.into_iter().map(SecretString::from).collect())
}

fn concurrency<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let n = usize::deserialize(deserializer)?;
    if (1..=10_000).contains(&n) { Ok(Some(n)) } else { Err(D::Error::custom(format!("concurrency is {n}; it must be from 1 to 10000"))) }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Text(String),
}

fn required_length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let length = match Written::deserialize(deserializer)? {
        Written::Number(seconds) => duration::from_seconds(seconds),
        Written::Text(text) => duration::parse(&text),
    }
    .map_err(D::Error::custom)?;
    if length.is_zero() { Err(D::Error::custom("a duration must be longer than nothing")) } else { Ok(length) }
}

fn length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    required_length(deserializer).map(Some)
}

/// A number of bytes, or a text such as "512MiB".
fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Number(u64),
        Text(String),
    }
    let (n, shown) = match Size::deserialize(deserializer)? {
        Size::Number(n) => (Some(n), n.to_string()),
        Size::Text(text) => {
            let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let unit = match &text[digits.len()..] {
                "" => Some(1),
                "KiB" => Some(1 << 10),
                "MiB" => Some(1 << 20),
                "GiB" => Some(1 << 30),
                _ => None,
            };
            (digits.trim().parse::<u64>().ok().zip(unit).and_then(|(n, unit)| n.checked_mul(unit)), text)
        }
    };
    n.filter(|n| *n >= 1 << 20).ok_or_else(|| D::Error::custom(format!("\"{shown}\" must be at least 1 MiB, as a number of bytes or such as \"512MiB\"")))
}

/// Reads the table `handlers`; `file` is its name, for messages.
pub(super) fn read(table: &config::Value, file: &str) -> Result<BTreeMap<Kind, HandlerSettings>, SettingError> {
    let wrong = |name: &str, why: &str| SettingError(format!("handlers.{name} in {file}: {why}"));
    let handlers = table.clone().into_table().map_err(|_| SettingError(format!("handlers in {file}: must be tables, such as [handlers.resize]")))?;
    let mut read = BTreeMap::new();
    for (name, value) in handlers {
        let kind = Kind::new(&name).map_err(|why| wrong(&name, &format!("the kind {why}")))?;
        let keys = value.clone().into_table().map_err(|_| wrong(&name, "must be a table with command or url"))?;
        let settings = match (keys.contains_key("command"), keys.contains_key("url")) {
            (true, false) => value.try_deserialize().map(HandlerSettings::Command),
            (false, true) => value.try_deserialize().map(HandlerSettings::Http),
            (true, true) => return Err(wrong(&name, "has both command and url; it must have one of them")),
            (false, false) => return Err(wrong(&name, "has neither command (a program to run) nor url (a service to call)")),
        }
        .map_err(|error| wrong(&name, &error.to_string()))?;
        read.insert(kind, settings);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn handlers_are_read_from_the_file_and_a_fault_names_its_place() {
        let path = std::env::temp_dir().join(format!("longshore-handlers-{}.toml", std::process::id()));
        let read = |text: &str| {
            std::fs::write(&path, text).expect("temporary file");
            Settings::from_environment([("LONGSHORE_CONFIG".to_owned(), path.to_str().expect("text").to_owned())].into())
                .map(|s| s.worker.handlers)
                .map_err(|error| error.0)
        };
        let handlers = read(
            "[handlers.Resize]\ncommand = [\"convert\", \"-\"]\nmemory = \"64MiB\"\n[handlers.\"a.b\"]\nurl = \"https://x.example\"\nsecret = [\"a\", \"b\"]\ntimeout = 10\n",
        )
        .expect("fine");
        let kind = |name| Kind::new(name).expect("fine");
        assert!(matches!(&handlers[&kind("Resize")], HandlerSettings::Command(c)
            if c.command == ["convert", "-"] && c.memory == 64 << 20 && c.snooze == Duration::from_secs(30) && c.concurrency.is_none()));
        assert!(matches!(&handlers[&kind("a.b")], HandlerSettings::Http(h) if h.secret.len() == 2 && h.timeout == Duration::from_secs(10)));
        for (text, said) in [
            ("[handlers.a]\n", "handlers.a in FILE: has neither command"),
            ("[handlers.a]\ncommand = [\"x\"]\nurl = \"y\"\n", "handlers.a in FILE: has both"),
            ("[handlers.\"a b\"]\ncommand = [\"x\"]\n", "handlers.a b in FILE: the kind "),
            ("[handlers.a]\ncommand = \"x y\"\n", "command must be a list of texts"),
            ("[handlers.a]\ncommand = []\n", "command must name a program"),
            ("[handlers.a]\ncommand = [\"x\"]\nmemory = \"64MB\"\n", "\"64MB\" must be at least 1 MiB"),
            ("[handlers.a]\ncommand = [\"x\"]\nmemoty = 5\n", "memoty"),
            ("[handlers.a]\nurl = \"x\"\nconcurrency = 0\n", "it must be from 1 to 10000"),
            ("[handlers.a]\nurl = \"x\"\ntimeout = \"soon\"\n", "\"soon\" is not a duration"),
            ("handlers = 5\n", "handlers in FILE: must be tables"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(&said.replace("FILE", path.to_str().expect("text"))), "{error}");
        }
        std::fs::remove_file(&path).expect("was written above");
    }
}
