//! What can be set.

/// One setting: where it is found in the file, its default, and what it means.
#[derive(Debug)]
pub struct Setting {
    /// Path in `longshore.toml`; in the environment it is `LONGSHORE_` and this in capitals, `.` written `__`.
    pub key: &'static str,
    /// As it would be written; empty: none.
    pub default: &'static str,
    /// For people.
    pub meaning: &'static str,
}

/// All settings.
pub const SETTINGS: &[Setting] = &[
    Setting { key: "database.url", default: "", meaning: "postgres://user:password@host:port/name; several hosts separated by commas; TLS by sslmode" },
    Setting { key: "database.direct_url", default: "", meaning: "for LISTEN and migrations, where url goes through a transaction pooler" },
    Setting { key: "database.pool", default: "10", meaning: "connections at most, 2 to 1000" },
    Setting { key: "api.listen", default: "127.0.0.1:8000", meaning: "address to listen on; port 0 takes a free one, named in the log line \"listening\"" },
    Setting { key: "api.open", default: "false", meaning: "serve without keys on an address that is not loopback" },
    Setting { key: "api.hosts", default: "", meaning: "names the API answers to, separated by commas; IPs, localhost and names without dots always are" },
    Setting { key: "api.timeout", default: "5s", meaning: "how long a request may take, 100ms to 5m" },
    Setting {
        key: "worker.queues",
        default: "*=50",
        meaning: "queues to serve and how many jobs of each run at once here: \"default=50,emails=10\"; * is every other queue",
    },
    Setting {
        key: "worker.lease",
        default: "30s",
        meaning: "how long a silent worker keeps its jobs, 5s to 1h: shorter rescues sooner, longer forgives longer outages",
    },
    Setting { key: "worker.grace", default: "25s", meaning: "how long running jobs may go on after SIGTERM, 0s to 1h" },
    Setting { key: "worker.poll", default: "200ms", meaning: "how often to look for work where no notification comes, 10ms to 1m" },
    Setting {
        key: "worker.listen",
        default: "",
        meaning: "address on which the worker answers /livez, /readyz and /metrics, to anybody; port 0 takes a free one, named in the log line \"listening\"",
    },
    Setting { key: "worker.builtins", default: "echo,sleep,fail", meaning: "built-in kinds to serve, separated by commas" },
    Setting {
        key: "worker.allow",
        default: "",
        meaning: "networks that services may be called in although they are not public, separated by commas: \"127.0.0.0/8,10.0.0.0/8\"",
    },
    Setting {
        key: "traces.endpoint",
        default: "",
        meaning: "where spans are sent by OTLP over HTTP: a base URL such as http://127.0.0.1:4318; without it there are none",
    },
    Setting {
        key: "traces.sample",
        default: "1",
        meaning: "share of the traces that begin here to be sent, 0 to 1; others are sent or not as their callers say",
    },
    Setting { key: "client.url", default: "", meaning: "commands ask the API there, as https://jobs.example, and not the database" },
    Setting { key: "client.key", default: "", meaning: "the API key that they send" },
    Setting { key: "log", default: "info", meaning: "what to log: error, warn, info, debug, trace, or a filter such as info,longshore_worker=debug" },
    Setting { key: "log_format", default: "text", meaning: "text or json" },
];
