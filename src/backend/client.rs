//! The HTTP API, as a command calls it: with the API key of the settings, and with words for whatever comes instead of an answer.

use std::time::Duration;

use anyhow::Context;
use longshore_common::{
    key::Scope,
    log,
    settings::{ClientSettings, reveal},
};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header, redirect::Policy};
use serde::{Deserialize, de::DeserializeOwned};

use crate::command::WrongUse;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take. The longest are those of calls of many jobs, which the API itself ends sooner.
const ANSWER: Duration = Duration::from_mins(6);
/// How long a stream may be silent, which says something at least every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// How long to wait, each time that no answer came to what may have been done: all in all as long as an API needs to be started again.
const AGAIN: [u64; 6] = [250, 500, 1000, 2000, 4000, 8000]; // milliseconds

/// Calls one API.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    settings: ClientSettings,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer.
    #[error("the API at {url} cannot be reached: {why}; is it running, and is that its URL (--api, LONGSHORE_CLIENT__URL)?")]
    Unreachable {
        /// Where.
        url: String,
        /// What the network said.
        why: String,
        /// Whether it may have got the request all the same, and done what it asks for.
        sent: bool,
    },
    /// The API said no.
    #[error("{0}")]
    Refused(Refusal),
    /// Something that no API of Longshore says.
    #[error("what answers at {url} is no API of Longshore, or one of another version: {what}")]
    Foreign {
        /// Where.
        url: String,
        /// What came.
        what: String,
    },
}

/// A problem (RFC 9457), and what helps.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Its status.
    pub status: StatusCode,
    /// What the API said of it.
    pub problem: Problem,
    /// Whether it said when to try again.
    come_again: bool,
    help: String,
}

/// What the API says where it refuses.
#[derive(Debug, Clone, Deserialize)]
pub struct Problem {
    /// In a sentence.
    pub detail: String,
    /// Each fault with its place.
    #[serde(default)]
    pub errors: Vec<Fault>,
}

/// One fault.
#[derive(Debug, Clone, Deserialize)]
pub struct Fault {
    /// Where it is, as a JSON pointer.
    pub pointer: String,
    /// What is wrong.
    pub detail: String,
}

impl CallError {
    /// Whether what was asked for may have been done all the same: no answer came, or the API had none from its database.
    pub fn may_be_done(&self) -> bool {
        match self {
            Self::Unreachable { sent, .. } => *sent,
            Self::Refused(refusal) => refusal.status == StatusCode::SERVICE_UNAVAILABLE,
            Self::Foreign { .. } => false,
        }
    }

    /// Whether the API says that the same request, sent before, is being done at this moment.
    fn is_under_way(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == StatusCode::CONFLICT && refusal.come_again)
    }

    /// Whether trying again later may help.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(refusal) => refusal.status == StatusCode::SERVICE_UNAVAILABLE,
            Self::Foreign { .. } => false,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problem.detail)?;
        // a single one stands in the sentence already
        for fault in self.problem.errors.iter().filter(|fault| !self.problem.detail.contains(&fault.pointer)) {
            write!(f, "\n  {} {}", fault.pointer, fault.detail)?;
        }
        f.write_str(&self.help)
    }
}

impl Client {
    /// One for the API at a URL that the settings have checked.
    pub fn new(settings: ClientSettings, url: &str) -> anyhow::Result<Self> {
        let base = Url::parse(url).map_err(|why| WrongUse(format!("{url} is no URL: {why}")))?;
        // a second time changes nothing
        let _ = rustls::crypto::ring::default_provider().install_default();
        let build = || {
            let client = reqwest::Client::builder()
                .user_agent(concat!("longshore/", env!("CARGO_PKG_VERSION")))
                .redirect(Policy::none())
                .connect_timeout(CONNECT)
                .read_timeout(ANSWER);
            // one on this machine is behind no proxy
            let here = matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
            let client = if here { client.no_proxy() } else { client };
            if base.scheme() == "http" { client.tls_certs_only([]) } else { client }
        };
        let http =
            build().build().context("no certificates of authorities were found, so that no https URL can be called: install the package ca-certificates")?;
        Ok(Self { http, base, settings })
    }

    /// Where the API is.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Reads something; needs the scope `read`.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(String, String)]) -> Result<T, CallError> {
        let text = self.text(self.request(Method::GET, path, query), Scope::Read).await?;
        self.read(&text)
    }

    /// The same; `None`: the API says that there is no such thing.
    pub async fn find<T: DeserializeOwned>(&self, what: &str, path: &[&str], query: &[(String, String)]) -> Result<Option<T>, CallError> {
        found(what, self.get(path, query).await)
    }

    /// Sends a request without a body; its answer as text, which is empty for a 204.
    pub async fn act(&self, method: Method, path: &[&str], scope: Scope) -> Result<(StatusCode, String), CallError> {
        self.send(self.request(method, path, &[]), scope).await
    }

    /// Posts a body.
    pub async fn post<T: DeserializeOwned>(&self, path: &[&str], media_type: &'static str, body: String, scope: Scope) -> Result<T, CallError> {
        let request = self.request(Method::POST, path, &[]).header(header::CONTENT_TYPE, media_type).body(body);
        let text = self.text(request, scope).await?;
        self.read(&text)
    }

    /// Posts a body that is taken once, however often it is sent: where no answer comes to what may have been done, it is sent
    /// again with the same Idempotency-Key.
    pub async fn post_once<T: DeserializeOwned>(&self, path: &[&str], media_type: &'static str, body: String, scope: Scope) -> Result<T, CallError> {
        let key = format!("longshore-{:032x}", fastrand::u128(..));
        let mut lost = None;
        for pause in AGAIN.into_iter().map(Some).chain([None]) {
            let request = self.request(Method::POST, path, &[]).header(header::CONTENT_TYPE, media_type).header("idempotency-key", &key);
            let error = match self.text(request.body(body.clone()), scope).await {
                Ok(text) => return self.read(&text),
                Err(error) => error,
            };
            let again = error.may_be_done() || lost.is_some() && (error.is_away() || error.is_under_way());
            if !again {
                return Err(error);
            }
            if lost.is_none() {
                eprintln!("longshore: no good answer to what may have been stored; it is sent again, and stored once: {error}");
                lost = Some(error);
            }
            if let Some(pause) = pause {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
        Err(lost.unwrap_or_else(|| self.broken("nothing was sent")))
    }

    /// Opens a stream of events, after one that was seen.
    pub async fn stream(&self, path: &[&str], query: &[(String, String)], last: Option<i64>) -> Result<Response, CallError> {
        let mut request = self.request(Method::GET, path, query);
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        match tokio::time::timeout(SILENCE, self.answer(request, Scope::Read)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.silent()),
        }
    }

    /// The next part of a stream; `None`: it has ended.
    pub async fn part(&self, stream: &mut Response) -> Result<Option<Vec<u8>>, CallError> {
        match tokio::time::timeout(SILENCE, stream.chunk()).await {
            Ok(Ok(part)) => Ok(part.map(Vec::from)),
            Ok(Err(error)) => Err(self.unreachable(error)),
            Err(_) => Err(self.silent()),
        }
    }

    /// How the API is, and of which version: also where it is not well.
    pub async fn version(&self) -> Result<String, CallError> {
        #[derive(Deserialize)]
        struct Health {
            version: String,
        }
        let response = self.request(Method::GET, &["health"], &[]).send().await.map_err(|error| self.unreachable(error))?;
        let text = response.text().await.map_err(|error| self.unreachable(error))?;
        self.read::<Health>(&text).map(|health| health.version)
    }

    /// Reads an answer.
    pub fn read<T: DeserializeOwned>(&self, text: &str) -> Result<T, CallError> {
        serde_json::from_str(text).map_err(|error| CallError::Foreign { url: self.url().to_owned(), what: error.to_string() })
    }

    fn request(&self, method: Method, path: &[&str], query: &[(String, String)]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        match &self.settings.key {
            Some(key) => request.bearer_auth(reveal(key)),
            None => request,
        }
    }

    async fn text(&self, request: RequestBuilder, scope: Scope) -> Result<String, CallError> {
        self.send(request, scope).await.map(|(_, text)| text)
    }

    async fn send(&self, request: RequestBuilder, scope: Scope) -> Result<(StatusCode, String), CallError> {
        let response = self.answer(request, scope).await?;
        let status = response.status();
        Ok((status, response.text().await.map_err(|error| self.unreachable(error))?))
    }

    /// The head of a good answer.
    async fn answer(&self, request: RequestBuilder, scope: Scope) -> Result<Response, CallError> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let come_again = response.headers().contains_key(header::RETRY_AFTER);
        let text = response.text().await.map_err(|error| self.unreachable(error))?;
        Err(match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => CallError::Refused(Refusal { status, problem, come_again, help: self.help(status, scope) }),
            // a proxy before it, most often
            Err(_) if status.is_server_error() => self.broken(&format!("it said {status}")),
            Err(_) => CallError::Foreign { url: self.url().to_owned(), what: format!("it said {status}") },
        })
    }

    /// What helps, where a key is what is missing.
    fn help(&self, status: StatusCode, scope: Scope) -> String {
        let needed = format!("this needs an API key with the scope {scope} (longshore keys create --name … --scope {scope})");
        match (status, &self.settings.key) {
            (StatusCode::UNAUTHORIZED, None) => format!("\n{needed}, in LONGSHORE_CLIENT__KEY or in the file that LONGSHORE_CLIENT__KEY_FILE names"),
            (StatusCode::UNAUTHORIZED, Some(key)) => {
                format!("\nit does not know the key {}, which LONGSHORE_CLIENT__KEY has; {needed}", beginning(reveal(key)))
            }
            (StatusCode::FORBIDDEN, Some(key)) => format!("\n{needed}; LONGSHORE_CLIENT__KEY has the key {}", beginning(reveal(key))),
            _ => String::new(),
        }
    }

    fn silent(&self) -> CallError {
        self.broken(&format!("it said nothing for {} s", SILENCE.as_secs()))
    }

    /// The error of an API that is not there, or not well.
    pub fn broken(&self, why: &str) -> CallError {
        CallError::Unreachable { url: self.url().to_owned(), why: why.to_owned(), sent: true }
    }

    fn unreachable(&self, error: reqwest::Error) -> CallError {
        let error = error.without_url();
        // what the client says itself is which of its parts failed; what it was, its causes say
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), log::chain);
        CallError::Unreachable { url: self.url().to_owned(), why, sent: !error.is_connect() }
    }
}

/// The public part of a key: what `longshore keys` lists.
fn beginning(key: &str) -> String {
    let public = key.rsplit_once('_').map_or("", |(public, _)| public);
    format!("{public}_…")
}

/// `None` where the API says that there is no such thing; that there is no such path is an error still.
pub fn found<T>(what: &str, answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Err(CallError::Refused(refusal)) if refusal.status == StatusCode::NOT_FOUND && refusal.problem.detail.starts_with(&format!("there is no {what}")) => {
            Ok(None)
        }
        answer => answer.map(Some),
    }
}
