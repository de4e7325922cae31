//! HTTP calls to services outside: to public addresses only, unless the settings allow others; connections are kept, redirects
//! and proxies are not followed, and what comes back has bounds.

mod answer;
mod guard;
mod span;

use std::{net::IpAddr, time::Duration};

use longshore_common::log;
use reqwest::{Client, Request, Response, redirect::Policy};
use url::{Host, Url};

use self::{
    guard::{Forbidden, Guard, Guarded},
    span::Call,
};
use crate::handler::HandlerError;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection is kept that nothing is sent over. Services close such ones, too: Node's after 5 s, and a call that is
/// sent at that moment would fail.
const IDLE: Duration = Duration::from_secs(4);

/// Calls services. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    client: Client,
    guard: Guard,
}

/// Why a URL cannot be called.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadUrl {
    #[error("{0}")]
    Unreadable(#[from] url::ParseError),
    #[error("begins with {0}://, where http:// or https:// are possible")]
    Scheme(String),
}

/// Reads a URL that can be called. What stands in it is never said: it may hold a password.
pub(super) fn parse(url: &str) -> Result<Url, BadUrl> {
    let url = Url::parse(url)?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(BadUrl::Scheme(other.to_owned())),
    }
}

impl Caller {
    /// Calls public addresses, and those in `allow`.
    pub fn new(allow: &[ipnet::IpNet]) -> Self {
        // a second time changes nothing
        let _ = rustls::crypto::ring::default_provider().install_default();
        let guard = Guard::new(allow);
        let build = || {
            Client::builder()
                .user_agent(concat!("longshore/", env!("CARGO_PKG_VERSION")))
                .redirect(Policy::none())
                .no_proxy()
                .referer(false)
                .connect_timeout(CONNECT)
                .pool_idle_timeout(IDLE)
                .dns_resolver(Guarded(guard.clone()))
        };
        let client = build().build().unwrap_or_else(|error| {
            tracing::warn!(
                error = log::chain(&error),
                "no certificates of authorities were found, so that no https service can be called; \
                install them (the package ca-certificates) and start the worker again"
            );
            build().tls_certs_only([]).build().expect("nothing is left that could be missing")
        });
        Self { client, guard }
    }

    /// Why no address of this URL can be called, as far as that is known without asking for its name's addresses.
    pub fn refusal(&self, url: &Url) -> Option<String> {
        let address = match url.host()? {
            Host::Domain(_) => return None,
            Host::Ipv4(address) => IpAddr::V4(address),
            Host::Ipv6(address) => IpAddr::V6(address),
        };
        // the client asks its resolver for names alone
        self.guard.check(&address.to_string(), address).err().map(|forbidden| forbidden.to_string())
    }

    /// A request of this client.
    pub fn request(&self, method: reqwest::Method, url: Url) -> reqwest::RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends it, and returns once the head of the answer is there.
    ///
    /// # Errors
    /// Where it may not be sent, or no answer comes; the error tells where to, but not the path: that may hold a secret.
    pub async fn send(&self, mut request: Request) -> Result<Answer, HandlerError> {
        let place = place(request.url());
        if let Some(why) = self.refusal(request.url()) {
            return Err(HandlerError::failed(format!("{place} was not called: {why}")));
        }
        let mut call = Call::begin(&mut request);
        match self.client.execute(request).await {
            Ok(response) => {
                call.answered(response.status());
                Ok(Answer { response, place, _call: call })
            }
            Err(error) => {
                let error = failure(&place, error);
                call.failed(&error);
                Err(HandlerError::failed(error))
            }
        }
    }
}

/// The head of an answer; its body is still to come.
#[derive(Debug)]
pub(super) struct Answer {
    response: Response,
    place: String,
    /// Ends with it.
    _call: Call,
}

/// `https://host:port`, for messages.
fn place(url: &Url) -> String {
    let host = url.host().map(|host| host.to_string()).unwrap_or_default();
    match url.port_or_known_default() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

/// What went wrong on the way to an answer.
fn failure(place: &str, error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(said) = cause {
        if let Some(forbidden) = said.downcast_ref::<Forbidden>() {
            return format!("{place} was not called: {forbidden}");
        }
        cause = said.source();
    }
    let what = match () {
        () if error.is_connect() && error.is_timeout() => "no connection was made in time",
        () if error.is_connect() => "no connection could be made",
        () if error.is_body() || error.is_decode() => "the answer broke off",
        () => "no answer came",
    };
    // what the client says itself is which of its parts failed; what it was, its causes say
    let why = std::error::Error::source(&error).map(log::chain).unwrap_or_default();
    format!("calling {place}: {what}: {why}")
}
