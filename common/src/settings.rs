//! Settings: defaults < `longshore.toml` < environment. Each is listed once, in [`SETTINGS`]; one that is unknown or does
//! not parse stops the program with a line that names it, where it came from, and what is allowed or was meant.

mod handlers;
mod list;
mod values;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use config::{Config, File, FileFormat};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

use self::values::{address, api_key, check_url, collector, length, list, networks, number, parse_queues, share};
pub use self::{
    handlers::{CommandSettings, HandlerSettings, HttpSettings},
    list::{SETTINGS, Setting},
    values::api_url,
};
use crate::job::{Kind, QueueName};

/// How to reach PostgreSQL.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// Where; `None`: not set.
    pub url: Option<SecretString>,
    /// Where LISTEN and migrations go, if elsewhere.
    pub direct_url: Option<SecretString>,
    /// Connections at most.
    pub pool: usize,
}

/// How the API serves.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Serve without keys on an address that is not loopback.
    pub open: bool,
    /// Names it answers to.
    pub hosts: Vec<String>,
    /// Of a request.
    pub timeout: Duration,
}

/// Which queues a line of [`WorkerSettings::queues`] means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueuePattern {
    /// One queue.
    Named(QueueName),
    /// Every queue that is not named.
    Other,
}

/// Queues that share slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueShare {
    /// Which.
    pub pattern: QueuePattern,
    /// Jobs at once, 1 to 10,000.
    pub slots: usize,
}

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// What it serves.
    pub queues: Vec<QueueShare>,
    /// How long it may be silent.
    pub lease: Duration,
    /// What SIGTERM leaves running jobs.
    pub grace: Duration,
    /// How often to look for work where no notification comes.
    pub poll: Duration,
    /// Where it answers probes and Prometheus; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Built-in kinds.
    pub builtins: Vec<String>,
    /// Networks in which services may be called although they are not public.
    pub allow: Vec<IpNet>,
    /// Commands and services, by the kind that they run; from the file alone.
    pub handlers: BTreeMap<Kind, HandlerSettings>,
}

/// How commands reach an API.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Where; `None`: commands ask the database.
    pub url: Option<String>,
    /// The API key that they send.
    pub key: Option<SecretString>,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object a line.
    Json,
}

/// What the log tells.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// A `tracing` filter.
    pub filter: String,
    /// How.
    pub format: LogFormat,
}

/// Which spans are sent, and where.
#[derive(Debug, Clone, Default)]
pub struct TracesSettings {
    /// The base URL of a collector, without a slash at its end; `None`: there are no spans.
    pub endpoint: Option<String>,
    /// Share of the traces that begin here, 0 to 1. Of others, their callers say it.
    pub sample: f64,
}

/// All settings, read and checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to reach PostgreSQL.
    pub database: DatabaseSettings,
    /// How the API serves.
    pub api: ApiSettings,
    /// How a worker works.
    pub worker: WorkerSettings,
    /// Which spans are sent.
    pub traces: TracesSettings,
    /// How commands reach an API.
    pub client: ClientSettings,
    /// What the log tells.
    pub log: LogSettings,
}

/// A setting that is unknown, missing or does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(pub String);

impl Settings {
    /// Reads the file (`longshore.toml` in the working directory, or the one that `LONGSHORE_CONFIG` names) and the
    /// environment.
    ///
    /// # Errors
    /// The first setting that is unknown or does not parse.
    pub fn load() -> Result<Self, SettingError> {
        Self::from_environment(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect())
    }

    /// The same, with a given environment.
    ///
    /// # Errors
    /// The first setting that is unknown or does not parse.
    pub fn from_environment(mut environment: BTreeMap<String, String>) -> Result<Self, SettingError> {
        environment.retain(|name, value| name.starts_with("LONGSHORE_") && !value.is_empty());
        let named_file = environment.remove("LONGSHORE_CONFIG").map(PathBuf::from);
        let (file, handlers) = read_file(named_file.as_deref())?;
        let values = Values { file, environment: read_environment(environment)? };
        let url = |key| values.get(key, check_url).map(|v: Option<String>| v.map(SecretString::from));
        let text = |key| values.get(key, |v| Ok(v.to_owned())).map(Option::unwrap_or_default);
        Ok(Self {
            database: DatabaseSettings {
                url: url("database.url")?,
                direct_url: url("database.direct_url")?,
                pool: values.require("database.pool", |v| number(v, 2, 1000))?,
            },
            api: ApiSettings {
                listen: values.require("api.listen", address)?,
                open: values.require("api.open", |v| v.parse().map_err(|_| "must be true or false".to_owned()))?,
                hosts: list(&text("api.hosts")?),
                timeout: values.require("api.timeout", |v| length(v, "100ms", "5m"))?,
            },
            worker: WorkerSettings {
                queues: values.require("worker.queues", parse_queues)?,
                lease: values.require("worker.lease", |v| length(v, "5s", "1h"))?,
                grace: values.require("worker.grace", |v| length(v, "0s", "1h"))?,
                poll: values.require("worker.poll", |v| length(v, "10ms", "1m"))?,
                listen: values.get("worker.listen", address)?,
                builtins: values.require("worker.builtins", |v| Ok(list(v)))?,
                allow: values.get("worker.allow", networks)?.unwrap_or_default(),
                handlers,
            },
            traces: TracesSettings { endpoint: values.get("traces.endpoint", collector)?, sample: values.require("traces.sample", share)? },
            client: ClientSettings { url: values.get("client.url", api_url)?, key: values.get("client.key", api_key)?.map(SecretString::from) },
            log: LogSettings {
                filter: values.require("log", |v| {
                    v.parse::<tracing_subscriber::EnvFilter>().map_err(|e| {
                        format!("is not a log filter ({e}); allowed are error, warn, info, debug, trace, or such as info,longshore_worker=debug")
                    })?;
                    Ok(v.to_owned())
                })?,
                format: values.require("log_format", |v| match v {
                    "text" => Ok(LogFormat::Text),
                    "json" => Ok(LogFormat::Json),
                    _ => Err("must be text or json".to_owned()),
                })?,
            },
        })
    }
}

impl DatabaseSettings {
    /// The URL, or the line that says how to set it.
    ///
    /// # Errors
    /// Where it is not set.
    pub fn required_url(&self) -> Result<&SecretString, SettingError> {
        self.url.as_ref().ok_or_else(|| {
            SettingError("LONGSHORE_DATABASE__URL is not set: it says where PostgreSQL is, as in postgres://user:password@host:5432/name".to_owned())
        })
    }
}

/// A value and where it came from, in words for a message.
type Found = BTreeMap<String, (String, String)>;

struct Values {
    file: Found,
    environment: Found,
}

impl Values {
    fn get<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, SettingError> {
        let default = SETTINGS.iter().find(|s| s.key == key).map_or("", |s| s.default);
        let Some((value, source)) = self.environment.get(key).or_else(|| self.file.get(key)) else {
            return if default.is_empty() { Ok(None) } else { parse(default).map(Some).map_err(SettingError) };
        };
        let shown = if key.ends_with("url") || key.ends_with("key") || key == "traces.endpoint" { "***" } else { value };
        parse(value).map(Some).map_err(|why| SettingError(format!("{source}: \"{shown}\" {why}")))
    }

    fn require<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, SettingError> {
        self.get(key, parse)?.ok_or_else(|| SettingError(format!("{} is not set", env_name(key))))
    }
}

/// `worker.poll` as `LONGSHORE_WORKER__POLL`.
pub fn env_name(key: &str) -> String {
    format!("LONGSHORE_{}", key.to_uppercase().replace('.', "__"))
}

fn read_file(named: Option<&Path>) -> Result<(Found, BTreeMap<Kind, HandlerSettings>), SettingError> {
    let path = named.unwrap_or(Path::new("longshore.toml"));
    let shown = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(error) => return Err(SettingError(format!("cannot read the settings file {shown}: {error}"))),
    };
    let parsed = Config::builder()
        .add_source(File::from_str(&text, FileFormat::Toml))
        .build()
        .and_then(Config::try_deserialize::<BTreeMap<String, config::Value>>)
        .map_err(|error| SettingError(format!("cannot read the settings file {shown}: {error}")))?;
    let (mut found, mut handlers) = (Found::new(), BTreeMap::new());
    for (key, value) in parsed {
        if key == "handlers" {
            handlers = handlers::read(&value, &shown)?;
            continue;
        }
        flatten(&key, &value, &shown, &mut found)?;
    }
    Ok((found, handlers))
}

/// Tables become dotted keys; the table form of `worker.queues` becomes its text form.
fn flatten(key: &str, value: &config::Value, file: &str, found: &mut Found) -> Result<(), SettingError> {
    let source = format!("{key} in {file}");
    if let Ok(table) = value.clone().into_table() {
        if key == "worker.queues" {
            let shares: BTreeMap<String, String> = table.into_iter().map(|(name, slots)| (name, slots.to_string())).collect();
            let text = shares.iter().map(|(name, slots)| format!("{name}={slots}")).collect::<Vec<_>>().join(",");
            found.insert(key.to_owned(), (text, source));
            return Ok(());
        }
        for (name, value) in table {
            flatten(&format!("{key}.{name}"), &value, file, found)?;
        }
        return Ok(());
    }
    if !SETTINGS.iter().any(|s| s.key == key) {
        return Err(SettingError(format!("{source}: there is no such setting{}", meant(key, std::borrow::ToOwned::to_owned))));
    }
    let text = match value.clone().into_array() {
        Ok(items) => items.into_iter().map(|v| v.to_string()).collect::<Vec<_>>().join(","),
        Err(_) => value.to_string(),
    };
    found.insert(key.to_owned(), (text, source));
    Ok(())
}

/// `LONGSHORE_…_FILE` reads the value from a file, so that a secret need not stand in the environment.
fn read_environment(environment: BTreeMap<String, String>) -> Result<Found, SettingError> {
    let mut found = Found::new();
    for (name, value) in environment {
        let key_of = |name: &str| name.trim_start_matches("LONGSHORE_").to_lowercase().replace("__", ".");
        let known = |key: &str| SETTINGS.iter().any(|s| s.key == key);
        let (key, value, source) = match name.strip_suffix("_FILE") {
            Some(plain) if known(&key_of(plain)) => {
                let text =
                    std::fs::read_to_string(&value).map_err(|error| SettingError(format!("{name} in the environment: cannot read \"{value}\": {error}")))?;
                (key_of(plain), text.trim_end_matches(['\r', '\n']).to_owned(), format!("{name} in the environment, the content of {value}"))
            }
            _ => (key_of(&name), value, format!("{name} in the environment")),
        };
        if !known(&key) {
            return Err(SettingError(format!("{source}: there is no such setting{}", meant(&key, env_name))));
        }
        found.insert(key, (value, source));
    }
    Ok(found)
}

fn meant(key: &str, spell: impl Fn(&str) -> String) -> String {
    let nearest = SETTINGS.iter().max_by(|a, b| strsim::jaro_winkler(a.key, key).total_cmp(&strsim::jaro_winkler(b.key, key)));
    let all = SETTINGS.iter().map(|s| spell(s.key)).collect::<Vec<_>>().join(", ");
    match nearest {
        Some(s) if strsim::jaro_winkler(s.key, key) > 0.85 => format!("; did you mean {}?", spell(s.key)),
        _ => format!("; there are {all}"),
    }
}

impl std::fmt::Display for QueueShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.pattern, self.slots)
    }
}

impl std::fmt::Display for QueuePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Named(name) => name,
            Self::Other => "*",
        })
    }
}

/// The text of a secret, for the one place that needs it.
pub fn reveal(secret: &SecretString) -> &str {
    secret.expose_secret()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(vars: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::from_environment(vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()).map_err(|e| e.0)
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let s = with(&[]).expect("defaults are fine");
        assert_eq!(s.worker.queues, [QueueShare { pattern: QueuePattern::Other, slots: 50 }]);
        assert_eq!((s.worker.lease, s.worker.poll, s.database.pool), (Duration::from_secs(30), Duration::from_millis(200), 10));
        assert!(s.database.url.is_none() && !s.api.open);
    }

    #[test]
    fn a_fault_names_the_setting_its_source_and_what_is_allowed() {
        for (name, value, said) in [
            ("LONGSHORE_WORKER__QUEUE", "a=1", "LONGSHORE_WORKER__QUEUE in the environment: there is no such setting; did you mean LONGSHORE_WORKER__QUEUES?"),
            ("LONGSHORE_COLOUR", "red", "LONGSHORE_COLOUR in the environment: there is no such setting; there are LONGSHORE_DATABASE__URL, "),
            ("LONGSHORE_WORKER__LEASE", "1s", "LONGSHORE_WORKER__LEASE in the environment: \"1s\" must be from 5s to 1h"),
            ("LONGSHORE_DATABASE__POOL", "many", "\"many\" must be a number from 2 to 1000"),
            ("LONGSHORE_WORKER__ALLOW", "127.0.0.0/8,10.0.0.0/33", "\"10.0.0.0/33\" is none"),
            ("LONGSHORE_WORKER__QUEUES", "a=0", "the number in \"a=0\" must be a number from 1 to 10000"),
            ("LONGSHORE_WORKER__QUEUES", "a=1,a=2", "\"a\" stands twice"),
            ("LONGSHORE_DATABASE__URL", "mysql://x", "LONGSHORE_DATABASE__URL in the environment: \"***\" must be"),
            ("LONGSHORE_DATABASE__URL_FILE", "/nowhere/url", "LONGSHORE_DATABASE__URL_FILE in the environment: cannot read \"/nowhere/url\""),
            ("LONGSHORE_CLIENT__URL", "ftp://jobs.example", "\"***\" must be where an API is, such as"),
            ("LONGSHORE_CLIENT__URL", "https://jobs.example?key=1", "a key goes into LONGSHORE_CLIENT__KEY"),
            ("LONGSHORE_CLIENT__KEY", "ls_secret", "LONGSHORE_CLIENT__KEY in the environment: \"***\" must be an API key"),
            ("LONGSHORE_CONFIG", "/nowhere.toml", "cannot read the settings file /nowhere.toml"),
            ("LONGSHORE_TRACES__SAMPLE", "2", "\"2\" must be a number from 0 to 1"),
            ("LONGSHORE_TRACES__ENDPOINT", "127.0.0.1:4318", "LONGSHORE_TRACES__ENDPOINT in the environment: \"***\" must be the base URL"),
            ("LONGSHORE_TRACES__ENDPOINT", "http://a/v1/traces", "/v1/traces is added to it"),
            ("LONGSHORE_LOG_FORMAT", "xml", "\"xml\" must be text or json"),
        ] {
            let error = with(&[(name, value)]).expect_err(name);
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_file_is_below_the_environment() {
        let path = std::env::temp_dir().join(format!("longshore-settings-{}.toml", std::process::id()));
        std::fs::write(&path, "[worker]\npoll = \"1s\"\nlease = 60\nqueues = { emails = 10, \"*\" = 5 }\n[api]\nhosts = [\"a.example\", \"b.example\"]\n")
            .expect("temporary file");
        let file = path.to_str().expect("text");
        let s = with(&[("LONGSHORE_CONFIG", file), ("LONGSHORE_WORKER__POLL", "2s")]).expect("fine");
        assert_eq!((s.worker.poll, s.worker.lease), (Duration::from_secs(2), Duration::from_mins(1)));
        assert_eq!(s.worker.queues.iter().map(ToString::to_string).collect::<Vec<_>>(), ["*=5", "emails=10"]);
        assert_eq!(s.api.hosts, ["a.example", "b.example"]);
        assert_eq!(with(&[("LONGSHORE_WORKER__ALLOW", "10.1.0.0/16, ::1")]).expect("fine").worker.allow.len(), 2);
        std::fs::write(&path, "[worker]\npol = \"1s\"\n").expect("temporary file");
        assert_eq!(
            with(&[("LONGSHORE_CONFIG", file)]).expect_err("unknown"),
            format!("worker.pol in {file}: there is no such setting; did you mean worker.poll?")
        );
        std::fs::remove_file(path).expect("was written above");
    }
}
