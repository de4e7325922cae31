//! Who may do what. The API keys are kept in memory, so that a request costs the database nothing before it is let in;
//! they are read again every two seconds, so that creating and revoking take effect within five.

mod access;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use longshore_common::{
    key::{ApiKey, Credential},
    log,
    store::Store,
};
use poem::http::{HeaderMap, HeaderValue, Method, header};
use tokio_util::sync::CancellationToken;

pub use self::access::Access;
use crate::problem::ApiError;

/// How old what is known may become, jitter apart.
const REFRESH: Duration = Duration::from_millis(1500);
/// The cookie that stands for the header `Authorization`. Its value is the key itself, so that there are no sessions to keep
/// and revoking the key ends it everywhere.
pub const COOKIE: &str = "longshore_key";

/// What is said to a request without a key.
pub const NO_KEY: &str = "an API key is needed: send it as Authorization: Bearer ls_…, or log in (POST /login). `longshore keys create` makes one";
const NO_SUCH_KEY: &str = "the API key is not known: it is mistyped, or was revoked. `longshore keys list` lists those that there are";
const NOT_ONE_BEARER: &str = "the header Authorization must be there once and read: Bearer ls_…";

/// The API keys that are known.
#[derive(Debug)]
pub struct Keys {
    may_be_open: bool,
    /// By their public part; `None`: they have not been read yet.
    known: RwLock<Option<HashMap<String, Arc<ApiKey>>>>,
}

/// How the API is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    Keys(usize),
    Open,
    Shut,
}

impl Keys {
    /// None is known yet. `may_be_open`: where there are none, everybody is let in.
    pub fn new(may_be_open: bool) -> Self {
        Self { may_be_open, known: RwLock::new(None) }
    }

    /// Whether an API with these keys lets anybody in at all.
    pub fn suffice(&self, keys: &[ApiKey]) -> bool {
        self.may_be_open || !keys.is_empty()
    }

    /// Takes these for all that there are, and says so where that changes how the API is protected.
    pub fn learn(&self, keys: Vec<ApiKey>) {
        let keys: HashMap<_, _> = keys.into_iter().map(|key| (key.prefix.clone(), Arc::new(key))).collect();
        let now = self.protection(&keys);
        let before = self.known.write().unwrap_or_else(PoisonError::into_inner).replace(keys);
        if before.map(|before| self.protection(&before)) == Some(now) {
            return;
        }
        match now {
            Protection::Keys(keys) => tracing::info!(keys, "API keys are set: every request needs one"),
            Protection::Open => tracing::info!("there are no API keys: open to whoever reaches it"),
            Protection::Shut => tracing::warn!("there are no API keys any more: every request is refused until one is created (longshore keys create)"),
        }
    }

    fn protection(&self, keys: &HashMap<String, Arc<ApiKey>>) -> Protection {
        match keys.len() {
            0 if self.may_be_open => Protection::Open,
            0 => Protection::Shut,
            n => Protection::Keys(n),
        }
    }

    /// Keeps up with the keys until `stop`.
    pub async fn keep_up(&self, store: &Store, stop: CancellationToken) {
        let mut told = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(REFRESH.mul_f64(1.0 + fastrand::f64() / 4.0)) => {}
            }
            match store.api_keys().await {
                Ok(keys) => {
                    self.learn(keys);
                    told = false;
                }
                // those known last count: revoking needs the database as well, and without it nothing is served anyway
                Err(error) if error.is_unavailable() => {}
                Err(error) if !told => {
                    tracing::warn!(error = log::chain(&error), "cannot read the API keys; those known last count");
                    told = true;
                }
                Err(_) => {}
            }
        }
    }

    /// Whether what was let in would be let in now: the key may have been revoked, or keys set where there were none.
    pub fn still_admits(&self, access: &Access) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_some_and(|known| match access.key() {
            None => self.protection(known) == Protection::Open,
            Some(key) => known.get(&key.prefix).is_some_and(|now| now.hash == key.hash),
        })
    }

    /// What the sender of these headers may do.
    ///
    /// # Errors
    /// [`ApiError::NoSchema`] until the keys have been read, [`ApiError::Unauthorized`].
    pub fn admit(&self, headers: &HeaderMap) -> Result<Access, ApiError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref().ok_or(ApiError::NoSchema)?;
        if self.protection(known) == Protection::Open {
            return Ok(Access::open());
        }
        find(known, presented(headers)?).map(Access::by)
    }

    /// The cookie for a key, where it is one; `secure`: for encrypted connections alone.
    ///
    /// # Errors
    /// [`ApiError::NoSchema`] until the keys have been read, [`ApiError::Unauthorized`].
    pub fn log_in(&self, key: &str, secure: bool) -> Result<String, ApiError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        find(known.as_ref().ok_or(ApiError::NoSchema)?, key)?;
        Ok(cookie(key, "", secure))
    }
}

/// The answer is the same for a key that nobody has and for a wrong secret.
fn find(known: &HashMap<String, Arc<ApiKey>>, text: &str) -> Result<Arc<ApiKey>, ApiError> {
    let credential = Credential::of(text);
    let key = credential.and_then(|credential| known.get(credential.prefix).filter(|key| key.is(&credential)));
    key.cloned().ok_or(ApiError::Unauthorized(NO_SUCH_KEY))
}

/// The key that a request bears. A header counts before a cookie, also where it is wrong.
fn presented(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut authorization = headers.get_all(header::AUTHORIZATION).iter();
    if let Some(value) = authorization.next() {
        let bearer = value.to_str().ok().and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let one = bearer.filter(|_| authorization.next().is_none());
        return one.map(|(_, key)| key.trim()).ok_or(ApiError::Unauthorized(NOT_ONE_BEARER));
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    let ours = cookies.filter_map(|cookie| cookie.trim().split_once('=')).find(|(name, _)| *name == COOKIE);
    ours.map(|(_, key)| key).ok_or(ApiError::Unauthorized(NO_KEY))
}

/// The cookie that takes the cookie away.
pub fn log_out() -> String {
    cookie("", "; Max-Age=0", false)
}

/// Scripts of a page cannot read it, and no other site's page makes the browser send it.
fn cookie(value: &str, more: &str, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}")
}

/// Whether the browser's side of the connection is encrypted, as a proxy in front of the API says. Who lies here spoils
/// nothing but a cookie of their own.
pub fn is_encrypted(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").map(HeaderValue::as_bytes).is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"))
}

/// What is served to everybody: signs of life, the way to log in, and pages, which hold no data. Where a route needs a key,
/// it refuses requests that come by here.
pub fn needs_no_key(method: &Method, path: &str) -> bool {
    match path {
        "/livez" | "/readyz" | "/health" => true,
        "/login" => *method == Method::POST,
        "/" | "/docs" => matches!(*method, Method::GET | Method::HEAD),
        _ => matches!(*method, Method::GET | Method::HEAD) && (path.starts_with("/docs/") || path.starts_with("/assets/")),
    }
}

#[cfg(test)]
mod tests {
    use longshore_common::key::{ENTROPY, KeyText, Scope};

    use super::*;

    fn key(byte: u8) -> (KeyText, ApiKey) {
        let text = KeyText::of(&[byte; ENTROPY]);
        let (prefix, hash) = (text.credential().prefix.to_owned(), text.credential().hash.to_vec());
        (text, ApiKey { name: format!("k{byte}"), prefix, hash, scopes: vec![Scope::Read], queues: None })
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn nobody_is_let_in_before_the_keys_are_known() {
        for may_be_open in [true, false] {
            assert!(matches!(Keys::new(may_be_open).admit(&HeaderMap::new()), Err(ApiError::NoSchema)));
            assert!(matches!(Keys::new(may_be_open).log_in("x", false), Err(ApiError::NoSchema)));
        }
    }

    #[test]
    fn without_keys_it_is_open_only_where_it_may_be() {
        let (open, shut) = (Keys::new(true), Keys::new(false));
        assert!(open.suffice(&[]) && !shut.suffice(&[]) && shut.suffice(&[key(1).1]));
        open.learn(vec![]);
        shut.learn(vec![]);
        assert!(open.admit(&HeaderMap::new()).is_ok());
        assert!(matches!(shut.admit(&HeaderMap::new()), Err(ApiError::Unauthorized(NO_KEY))));
        for keys in [&open, &shut] {
            keys.learn(vec![key(1).1]);
            assert!(matches!(keys.admit(&HeaderMap::new()), Err(ApiError::Unauthorized(NO_KEY))), "with a key, it is needed");
            let sent = headers(&[("authorization", &format!("Bearer {}", key(1).0.reveal()))]);
            assert!(keys.admit(&sent).is_ok());
            keys.learn(vec![key(2).1]);
            assert!(matches!(keys.admit(&sent), Err(ApiError::Unauthorized(NO_SUCH_KEY))), "it was revoked");
        }
        open.learn(vec![]);
        shut.learn(vec![]);
        assert!(open.admit(&HeaderMap::new()).is_ok() && shut.admit(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_request_bears_one_key() {
        for (sent, found) in [
            (&[("authorization", "Bearer a")][..], Ok("a")),
            (&[("authorization", "bEARER   a ")], Ok("a")),
            (&[("cookie", "longshore_key=a")], Ok("a")),
            (&[("cookie", "x=1; longshore_key=a; y=2")], Ok("a")),
            (&[("cookie", "x=1"), ("cookie", "longshore_key=a")], Ok("a")),
            (&[("authorization", "Bearer a"), ("cookie", "longshore_key=b")], Ok("a")),
            (&[], Err(NO_KEY)),
            (&[("cookie", "longshore_keys=a; xlongshore_key=a; LONGSHORE_KEY=a; longshore_key")], Err(NO_KEY)),
            (&[("authorization", "a")], Err(NOT_ONE_BEARER)),
            (&[("authorization", "Bearer")], Err(NOT_ONE_BEARER)),
            (&[("authorization", "Basic a")], Err(NOT_ONE_BEARER)),
            (&[("authorization", "Bearerx a")], Err(NOT_ONE_BEARER)),
            (&[("authorization", "")], Err(NOT_ONE_BEARER)),
            (&[("authorization", "Basic a"), ("cookie", "longshore_key=b")], Err(NOT_ONE_BEARER)),
            (&[("authorization", "Bearer a"), ("authorization", "Bearer a")], Err(NOT_ONE_BEARER)),
        ] {
            match (presented(&headers(sent)), found) {
                (Ok(key), Ok(expected)) => assert_eq!(key, expected, "{sent:?}"),
                (Err(ApiError::Unauthorized(why)), Err(expected)) => assert_eq!(why, expected, "{sent:?}"),
                (seen, _) => panic!("{sent:?}: {seen:?}"),
            }
        }
    }

    #[test]
    fn what_everybody_may_load() {
        for path in ["/livez", "/readyz", "/health", "/", "/docs", "/docs/a.js", "/assets/a.js"] {
            assert!(needs_no_key(&Method::GET, path), "{path}");
        }
        assert!(needs_no_key(&Method::POST, "/login") && !needs_no_key(&Method::GET, "/login"));
        for path in ["", "//", "/v1/jobs", "/openapi.json", "/nothing", "/logout", "/livez/", "/LIVEZ", "/docs2", "/assets", "/v1/../livez"] {
            assert!(!needs_no_key(&Method::GET, path), "{path}");
        }
        assert!(!needs_no_key(&Method::POST, "/docs") && !needs_no_key(&Method::DELETE, "/assets/a"));
    }
}
