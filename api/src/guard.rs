//! Which requests are not looked at: those made for a foreign name (a web page whose name was pointed at this address),
//! and changing ones that a browser makes for another site. Programs that are no browser send neither header, and pass.

use std::net::IpAddr;

use poem::{
    Request,
    http::{HeaderMap, HeaderValue, Method, header},
};

use crate::problem::ApiError;

/// The names that the API answers to, besides IPs, `localhost` and names without dots.
#[derive(Debug)]
pub struct Guard {
    hosts: Vec<String>,
}

impl Guard {
    /// A guard that lets these names in.
    pub fn new(hosts: &[String]) -> Self {
        Self { hosts: hosts.to_vec() }
    }

    /// Looks at a request before anything else does.
    ///
    /// # Errors
    /// [`ApiError::UnknownHost`], [`ApiError::CrossSite`].
    pub fn check(&self, request: &Request) -> Result<(), ApiError> {
        let authority = request.uri().authority().map(|a| a.as_str().as_bytes());
        let hosts = request.headers().get_all(header::HOST).iter().map(HeaderValue::as_bytes).chain(authority);
        for host in hosts {
            if !self.knows(host) {
                return Err(ApiError::UnknownHost(String::from_utf8_lossy(host).into_owned()));
            }
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if !reads && cross_site(request.headers(), authority) {
            return Err(ApiError::CrossSite);
        }
        Ok(())
    }

    fn knows(&self, host: &[u8]) -> bool {
        let Ok(host) = std::str::from_utf8(host) else { return false };
        let name = without_port(host);
        let name = name.strip_suffix('.').unwrap_or(name);
        !name.contains(['.', ':']) || name.parse::<IpAddr>().is_ok() || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// `name:port`, `1.2.3.4:port`, `[::1]:port`; without the brackets.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

fn cross_site(headers: &HeaderMap, authority: Option<&[u8]>) -> bool {
    if headers.get("sec-fetch-site").is_some_and(|site| matches!(site.as_bytes(), b"cross-site" | b"same-site")) {
        return true;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let own = headers.get(header::HOST).map(HeaderValue::as_bytes).or(authority);
    let name = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, name)| name.as_bytes());
    // "null", as from a sandboxed page, has no name
    !name.zip(own).is_some_and(|(name, own)| name.eq_ignore_ascii_case(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, headers: &[(&'static str, &str)]) -> Request {
        headers.iter().fold(Request::builder().method(method), |r, (name, value)| r.header(*name, *value)).finish()
    }

    #[test]
    fn knows_its_names() {
        let guard = Guard::new(&["jobs.example.com".to_owned()]);
        for host in ["127.0.0.1:8000", "[::1]:8000", "10.1.2.3", "localhost", "localhost:80", "api", "api.:80", "JOBS.example.com:443"] {
            assert!(guard.check(&request(Method::GET, &[("host", host)])).is_ok(), "{host}");
        }
        for host in ["evil.example", "jobs.example.com.evil.example:8000", "1.2.3.4.nip.io"] {
            assert!(matches!(guard.check(&request(Method::GET, &[("host", host)])), Err(ApiError::UnknownHost(_))), "{host}");
        }
        assert!(guard.check(&request(Method::POST, &[])).is_ok(), "HTTP/1.0 has no Host");
    }

    #[test]
    fn refuses_changes_from_other_sites() {
        let guard = Guard::new(&[]);
        let check = |method, headers: &[(&'static str, &str)]| guard.check(&request(method, &[&[("host", "localhost:8000")], headers].concat()));
        for headers in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "http://localhost:3000")],
            &[("origin", "null")],
            &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
        ] {
            assert!(matches!(check(Method::POST, headers), Err(ApiError::CrossSite)), "{headers:?}");
            assert!(check(Method::GET, headers).is_ok(), "{headers:?}");
        }
        for headers in [&[][..], &[("sec-fetch-site", "same-origin"), ("origin", "http://localhost:8000")], &[("sec-fetch-site", "none")]] {
            assert!(check(Method::DELETE, headers).is_ok(), "{headers:?}");
        }
    }
}
