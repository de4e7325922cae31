//! How to reach PostgreSQL: URLs with libpq's meaning of `sslmode`, TLS, the pool.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use deadpool_postgres::{Connect, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use secrecy::SecretString;
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_postgres::{Client, Config, Error, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use crate::settings::{DatabaseSettings, SettingError, reveal};

/// Longest wait for a connection, new or from the pool: well below a request's 5 s, so that its answer comes in time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Nobody waits longer for a lock …
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// … nor for more than this part of the time that a statement has: less than a search has, see `filter`.
const TO_WAIT: f64 = 0.7;
/// A peer that does not acknowledge for that long is gone; else a cut cable would hold a connection for 15 minutes.
const TCP_TIMEOUT: Duration = Duration::from_secs(10);

/// How far a server's certificate is trusted: libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// `disable`, `prefer`, `require` without `sslrootcert`: whatever certificate it has.
    Any,
    /// `verify-ca`, `verify-full`, `require` with `sslrootcert`: signed by `sslrootcert` or a root of the system; the host name is checked too.
    Verified,
}

/// How long statements that are waited for no longer than `timeout` wait for a lock.
pub(super) fn lock_timeout(timeout: Duration) -> Duration {
    timeout.mul_f64(TO_WAIT).min(LOCK_TIMEOUT)
}

/// A parsed connection URL.
#[derive(Debug, Clone)]
pub struct Target {
    pub(super) config: Config,
    trust: Trust,
    root_certificate: Option<String>,
}

/// Parses a connection URL.
///
/// tokio-postgres does not know `sslmode=verify-*`, `sslrootcert` and some values of `target_session_attrs`; they are
/// taken out first.
///
/// # Errors
/// In words, without the URL, which may hold a password.
pub fn parse(text: &str) -> Result<Target, String> {
    const FORM: &str = "must be postgres://user:password@host:port/name";
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    if !matches!(scheme, "postgres" | "postgresql") {
        return Err(FORM.to_owned());
    }
    // `url` refuses several hosts, so only the query is looked at with it
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    let options = Url::parse(&format!("http://x/?{query}")).map_err(|error| format!("{FORM}: {error}"))?;
    let (mut trust, mut root_certificate, mut kept) = (Trust::Any, None, Vec::new());
    let mut mode = SslMode::Prefer;
    for (key, value) in options.query_pairs() {
        match (key.as_ref(), value.as_ref()) {
            ("sslmode", "disable") => mode = SslMode::Disable,
            ("sslmode", "allow" | "prefer") => mode = SslMode::Prefer,
            ("sslmode", "require") => mode = SslMode::Require,
            ("sslmode", "verify-ca" | "verify-full") => (mode, trust) = (SslMode::Require, Trust::Verified),
            ("sslmode", other) => return Err(format!("has sslmode={other}; there are disable, prefer, require, verify-ca, verify-full")),
            ("sslrootcert", path) => root_certificate = Some(path.to_owned()),
            ("target_session_attrs", "primary") => kept.push(("target_session_attrs".to_owned(), "read-write".to_owned())),
            (key, value) => kept.push((key.to_owned(), value.to_owned())),
        }
    }
    let query = kept
        .iter()
        .map(|(k, v)| format!("{k}={}", url::form_urlencoded::byte_serialize(v.as_bytes()).collect::<String>().replace('+', "%20")))
        .collect::<Vec<_>>()
        .join("&");
    let mut config: Config = format!("{base}?{query}").parse().map_err(|error| format!("{FORM}: {}", crate::log::chain(&error)))?;
    config.ssl_mode(mode).keepalives_idle(Duration::from_secs(30)).tcp_user_timeout(TCP_TIMEOUT);
    if config.get_connect_timeout().is_none() {
        // it counts for each host: one that is silent must leave time for the next
        let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(u32::MAX).max(1);
        config.connect_timeout(if hosts == 1 { CONNECT_TIMEOUT } else { CONNECT_TIMEOUT.mul_f64(0.8) / hosts });
    }
    // libpq: with a root certificate, `require` means `verify-ca`
    if mode == SslMode::Require && root_certificate.is_some() {
        trust = Trust::Verified;
    }
    Ok(Target { config, trust, root_certificate })
}

impl Target {
    /// From a setting that was checked when it was read.
    pub(super) fn from_setting(url: &SecretString, application_name: &str) -> Result<Self, SettingError> {
        let mut target = parse(reveal(url)).map_err(|why| SettingError(format!("LONGSHORE_DATABASE__URL {why}")))?;
        if target.config.get_application_name().is_none() {
            target.config.application_name(application_name);
        }
        Ok(target)
    }

    /// Host, port and database, for messages; never the password.
    pub fn shown(&self) -> String {
        use tokio_postgres::config::Host;
        let ports = self.config.get_ports();
        let hosts = self.config.get_hosts().iter().enumerate().map(|(i, host)| {
            let port = ports.get(i).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        });
        format!("{}/{}", hosts.collect::<Vec<_>>().join(","), self.config.get_dbname().or(self.config.get_user()).unwrap_or("postgres"))
    }

    /// How long a connection may take until it can be used. What the URL allows ends with the connection to a host, which may then be
    /// silent.
    pub(super) fn time_to_connect(&self) -> Duration {
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(u32::MAX);
        self.config.get_connect_timeout().map_or(CONNECT_TIMEOUT, |each| each.saturating_mul(hosts).max(CONNECT_TIMEOUT))
    }

    pub(super) fn tls(&self) -> Result<MakeRustlsConnect, SettingError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| SettingError(format!("TLS cannot be set up: {error}")))?;
        let config = match (self.trust, &self.root_certificate) {
            (Trust::Any, _) => builder.dangerous().with_custom_certificate_verifier(Arc::new(TakesAny(provider))).with_no_client_auth(),
            (Trust::Verified, Some(path)) => {
                let broken = |error: &dyn std::fmt::Display| SettingError(format!("sslrootcert {path} cannot be used: {error}"));
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_file_iter(path).map_err(|e| broken(&e))? {
                    roots.add(certificate.map_err(|e| broken(&e))?).map_err(|e| broken(&e))?;
                }
                builder.with_root_certificates(roots).with_no_client_auth()
            }
            (Trust::Verified, None) => {
                let native = MakeRustlsConnect::with_native_certs().map(|(connect, _unreadable)| connect);
                return native.map_err(|error| SettingError(format!("the system's root certificates cannot be read: {error:?}")));
            }
        };
        Ok(MakeRustlsConnect::new(config))
    }

    /// Connections for statements that are waited for no longer than `timeout`.
    pub(super) fn pool(&self, settings: &DatabaseSettings, timeout: Duration) -> Result<Pool, SettingError> {
        // A statement that outlives its caller holds the connection for the next one: the server ends it. One that waits for a lock it
        // ends before its caller gives up, who would not know what was the matter.
        let to_wait = lock_timeout(timeout).as_millis().max(1);
        let setup = format!("set statement_timeout = '30s'; set lock_timeout = '{to_wait}ms'; set jit = off");
        let connect = ConnectAtHome { tls: self.tls()?, home: Handle::try_current().ok() };
        let manager = Manager::from_connect(self.config.clone(), connect, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        Pool::builder(manager)
            .max_size(settings.pool)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: Some(CONNECT_TIMEOUT), create: Some(CONNECT_TIMEOUT), recycle: Some(CONNECT_TIMEOUT) })
            .post_create(Hook::async_fn(move |client, _| {
                let setup = setup.clone();
                Box::pin(async move { client.batch_execute(&setup).await.map_err(HookError::Backend) })
            }))
            .build()
            .map_err(|error| SettingError(format!("the connection pool cannot be set up: {error}")))
    }
}

/// Has connections made and driven where the store was made, whoever asks for one: a runtime whose threads are blocked by
/// users' code would not drive them.
struct ConnectAtHome {
    tls: MakeRustlsConnect,
    /// `None`: the store was made outside of any runtime; then it is where the connection is asked for.
    home: Option<Handle>,
}

impl Connect for ConnectAtHome {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        let (config, tls) = (config.clone(), self.tls.clone());
        let home = self.home.clone().unwrap_or_else(Handle::current);
        let connected = home.spawn(async move {
            let (client, connection) = config.connect(tls).await?;
            let driven = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(error = crate::log::chain(&error), "a connection has ended"); // whoever uses it tells
                }
            });
            Ok((client, driven))
        });
        Box::pin(async {
            match connected.await {
                Ok(connected) => connected,
                // the runtime ends, and this one with it
                Err(_) => std::future::pending().await,
            }
        })
    }
}

/// `sslmode=require` encrypts, and trusts whoever answers, as libpq does.
#[derive(Debug)]
struct TakesAny(Arc<CryptoProvider>);

impl ServerCertVerifier for TakesAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_urls_that_libpq_takes() {
        for url in [
            "postgres://demo:demo@db:5432/demo",
            "postgresql://u@a,b:5433/n?target_session_attrs=primary&sslmode=verify-full&sslrootcert=/x.pem",
            "postgres://postgres@%2Ftmp%2Fsocket/longshore?application_name=x%20y",
        ] {
            parse(url).unwrap_or_else(|why| panic!("{url}: {why}"));
        }
        assert_eq!(parse("postgres://u:secret@a,b:5433/n").expect("fine").shown(), "a:5432,b:5433/n");
    }

    #[test]
    fn a_root_certificate_is_looked_at() {
        for (query, trust) in [
            ("", Trust::Any),
            ("?sslmode=require", Trust::Any),
            ("?sslmode=require&sslrootcert=/x.pem", Trust::Verified),
            ("?sslmode=prefer&sslrootcert=/x.pem", Trust::Any),
            ("?sslmode=verify-ca", Trust::Verified),
            ("?sslmode=verify-full&sslrootcert=/x.pem", Trust::Verified),
        ] {
            assert_eq!(parse(&format!("postgres://u@h/n{query}")).expect("fine").trust, trust, "{query}");
        }
    }

    #[test]
    fn a_silent_host_leaves_time_for_the_others() {
        let timeout = |url: &str| *parse(url).expect("fine").config.get_connect_timeout().expect("set");
        assert_eq!(timeout("postgres://u@a/n"), CONNECT_TIMEOUT);
        assert_eq!(timeout("postgres://u@a/n?connect_timeout=7"), Duration::from_secs(7));
        for hosts in ["a,b", "a,b,c", "a,b,c,d,e"] {
            let url = format!("postgres://u@{hosts}/n");
            let others = u32::try_from(hosts.split(',').count() - 1).expect("few");
            assert!(timeout(&url) * others + Duration::from_millis(300) < CONNECT_TIMEOUT, "{hosts}");
        }
    }

    #[test]
    fn refuses_without_showing_the_password() {
        for url in ["mysql://u:secret@h/n", "postgres://u:secret@h:port/n", "postgres://u:secret@h/n?sslmode=perhaps", "host=h password=secret"] {
            let why = parse(url).expect_err(url);
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
