//! Answers that are shared. Who reads with `cache-control: max-stale=1` (RFC 9111, 5.2.1.2) takes an answer of the last second: then
//! equal requests with equal rights share one read of the database, whoever sends them. A thousand open dashboards cost what one costs.
//! Who does not say so gets what is true now.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use moka::{Expiry, future::Cache};
use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
};

use crate::{
    auth::Access,
    metrics::Matched,
    problem::{self, Cause},
    waiting::AskedWait,
};

/// How old a shared answer may be.
const FRESH: Duration = Duration::from_secs(1);
/// Bytes of all answers that are kept.
const MOST: u64 = 32 << 20;

/// Shares the answers of another endpoint among those who allow it.
pub struct Shared<E> {
    inner: E,
    answers: Cache<Question, Arc<Answer>>,
}

impl<E> std::fmt::Debug for Shared<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// What is asked, and by whom as far as it matters: answers differ by rights alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    path_and_query: String,
    rights: Option<(Vec<&'static str>, Option<Vec<String>>)>,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    cause: Option<Cause>,
    path: Option<Arc<str>>,
    since: Instant,
}

/// Problems are for those alone who waited for the same read.
struct UntilStale;

impl Expiry<Question, Arc<Answer>> for UntilStale {
    fn expire_after_create(&self, _: &Question, answer: &Arc<Answer>, _: Instant) -> Option<Duration> {
        Some(if answer.status == StatusCode::OK { FRESH.saturating_sub(answer.since.elapsed()) } else { Duration::ZERO })
    }
}

impl<E> Shared<E> {
    /// Nothing is kept yet.
    pub fn around(inner: E) -> Self {
        let weight = |question: &Question, answer: &Arc<Answer>| u32::try_from(question.path_and_query.len() + answer.body.len() + 512).unwrap_or(u32::MAX);
        Self { inner, answers: Cache::builder().max_capacity(MOST).weigher(weight).expire_after(UntilStale).build() }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for Shared<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let Some(question) = question(&request) else { return self.inner.call(request).await };
        // before the read: what is written while it is under way may be missing in it
        let since = Instant::now();
        let matched = request.data::<Matched>().cloned().unwrap_or_default();
        let reading = async {
            let answer = self.inner.call(request).await;
            Arc::new(read(answer, &matched, since).await)
        };
        let answer = self.answers.get_with(question, reading).await;
        if let Some(path) = &answer.path {
            matched.is(path);
        }
        Ok(answer.to_response())
    }
}

/// `None`: this request is to be answered by itself.
fn question(request: &Request) -> Option<Question> {
    let path = request.uri().path();
    // events go on, and what waits for a job has its own line
    let shares = *request.method() == Method::GET && path.starts_with("/v1/") && path != "/v1/events" && AskedWait::of(request).is_zero();
    if !shares || !takes_stale(request.headers()) {
        return None;
    }
    let path_and_query = request.uri().path_and_query()?.as_str().to_owned();
    Some(Question { path_and_query, rights: request.data::<Access>()?.rights() })
}

/// Whether an answer of age [`FRESH`] will do.
fn takes_stale(headers: &HeaderMap) -> bool {
    let directives = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let mut takes = false;
    for directive in directives {
        let (name, value) = directive.trim().split_once('=').map_or((directive.trim(), None), |(name, value)| (name, Some(value.trim_matches('"'))));
        match name.to_ascii_lowercase().as_str() {
            "no-cache" | "no-store" => return false,
            // without a value: however old
            "max-stale" => takes = value.is_none_or(|seconds| seconds.parse().is_ok_and(|seconds| Duration::from_secs(seconds) >= FRESH)),
            _ => {}
        }
    }
    takes
}

async fn read(answer: Result<Response>, matched: &Matched, since: Instant) -> Answer {
    let path = matched.path().cloned();
    let response = answer.unwrap_or_else(problem::from_poem);
    let cause = response.data::<Cause>().cloned();
    let (parts, body) = response.into_parts();
    match body.into_bytes().await {
        Ok(body) => Answer { status: parts.status, headers: parts.headers, body, cause, path, since },
        Err(error) => Answer {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            cause: Some(Cause(format!("could not read the answer's own body: {error}").into())),
            path,
            since,
        },
    }
}

impl Answer {
    fn to_response(&self) -> Response {
        let mut response = self.body.clone().into_response();
        response.set_status(self.status);
        response.headers_mut().clone_from(&self.headers);
        response.headers_mut().insert(header::AGE, HeaderValue::from(self.since.elapsed().as_secs()));
        if let Some(cause) = &self.cause {
            response.set_data(cause.clone());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use longshore_common::key::{ApiKey, Scope};
    use poem::{endpoint::make, http::Uri};

    use super::*;

    fn asks(path: &'static str, cache: &str, access: &Access) -> Request {
        let mut request = Request::builder().uri(Uri::from_static(path)).header("cache-control", cache).finish();
        request.set_data(access.clone());
        request
    }

    fn limited_to(queue: &str) -> Access {
        Access::by(Arc::new(ApiKey {
            name: queue.to_owned(),
            prefix: queue.to_owned(),
            hash: vec![],
            scopes: vec![Scope::Read],
            queues: Some(vec![queue.to_owned()]),
        }))
    }

    #[test]
    fn who_says_so_takes_a_stale_answer() {
        let access = Access::open();
        for (path, cache, shares) in [
            ("/v1/jobs", "max-stale=1", true),
            ("/v1/jobs?limit=3", "max-stale", true),
            ("/v1/jobs", "max-age=0, Max-Stale=60", true),
            ("/v1/jobs", "", false),
            ("/v1/jobs", "max-stale=0", false),
            ("/v1/jobs", "max-stale=x", false),
            ("/v1/jobs", "max-stale=1, no-cache", false),
            ("/v1/events", "max-stale=1", false),
            ("/v1/jobs/1?wait=5s", "max-stale=1", false),
            ("/metrics", "max-stale=1", false),
        ] {
            assert_eq!(question(&asks(path, cache, &access)).is_some(), shares, "{path} {cache}");
        }
    }

    #[test]
    fn other_rights_are_another_question() {
        let ask = |access: &Access| question(&asks("/v1/jobs", "max-stale=1", access)).expect("shares");
        assert_eq!(ask(&limited_to("a")), ask(&limited_to("a")));
        assert_ne!(ask(&limited_to("a")), ask(&limited_to("b")));
        assert_ne!(ask(&limited_to("a")), ask(&Access::open()));
    }

    #[tokio::test]
    async fn equal_requests_share_one_read_and_problems_are_not_kept() {
        let reads = Arc::new(AtomicUsize::new(0));
        let counted = reads.clone();
        let shared = Arc::new(Shared::around(make(move |request: Request| {
            let reads = counted.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let n = reads.fetch_add(1, Ordering::Relaxed);
                let status = if request.uri().path() == "/v1/bad" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
                Response::builder().status(status).header("x-n", n).body(n.to_string())
            }
        })));
        let ask = async |path: &'static str, cache: &str| {
            let all: Vec<_> = (0..50).map(|_| shared.get_response(asks(path, cache, &Access::open()))).collect();
            futures_util::future::join_all(all).await
        };
        let answers = ask("/v1/jobs", "max-stale=1").await;
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        for mut answer in answers {
            assert_eq!((answer.status(), answer.header("x-n"), answer.header("age")), (StatusCode::OK, Some("0"), Some("0")));
            assert_eq!(answer.take_body().into_string().await.expect("in memory"), "0");
        }
        ask("/v1/jobs", "max-stale=0").await;
        assert_eq!(reads.load(Ordering::Relaxed), 51, "who does not say so reads for itself");
        assert!(ask("/v1/bad", "max-stale=1").await.iter().all(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE));
        ask("/v1/bad", "max-stale=1").await;
        assert!((53..=60).contains(&reads.load(Ordering::Relaxed)), "a problem is not kept: {}", reads.load(Ordering::Relaxed));
        tokio::time::sleep(FRESH).await;
        let again = ask("/v1/jobs", "max-stale=1").await;
        assert_ne!(again[0].header("x-n"), Some("0"), "a second later it is read anew");
    }
}
