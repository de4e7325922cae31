//! Bodies: how much of them is read, of what media type, and how many at once.

pub mod batch;
pub mod splitter;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use poem::{
    Body,
    http::{HeaderMap, header},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::ApiError;

/// Bytes of a single job's body at most: args of 1 MiB, and room for how they are written.
pub const MAX_JOB_BODY: usize = 2 * 1024 * 1024;
/// Bytes of a batch's body at most.
pub const MAX_BATCH_BODY: usize = 32 * 1024 * 1024;

/// How a batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON value.
    Json,
    /// One JSON value a line.
    Ndjson,
}

/// The format that a request names; one that names none is taken for JSON.
///
/// # Errors
/// [`ApiError::UnsupportedMediaType`] where it names another one.
pub fn format(headers: &HeaderMap, allowed: &'static str) -> Result<Format, ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Format::Json) };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split_once(';').map_or(text, |(essence, _)| essence).trim();
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    if is("application/json") || is("text/json") || essence.to_ascii_lowercase().starts_with("application/") && essence.to_ascii_lowercase().ends_with("+json")
    {
        Ok(Format::Json)
    } else if is("application/x-ndjson") || is("application/ndjson") {
        Ok(Format::Ndjson)
    } else {
        Err(ApiError::UnsupportedMediaType { found: text.to_owned(), allowed })
    }
}

/// The memory that all bodies of one sort may take together. Who finds none left waits; the request's time limit ends that.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Semaphore>);

/// What a body takes of a budget, until it is dropped.
#[derive(Debug)]
pub struct Taken {
    _permit: OwnedSemaphorePermit,
}

/// Bytes of a body that count for nothing where it is read by [`Budget::read`]: a thousand leases, and less than what a connection
/// buffers.
pub const FREE: usize = 64 * KIB;
/// The unit in which budgets count.
const KIB: usize = 1024;

impl Budget {
    /// A budget of that many bytes.
    pub fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / KIB)))
    }

    /// Takes what a body of that declared length needs, or `limit` where none was declared.
    ///
    /// # Errors
    /// [`ApiError::TooLarge`] where more than `limit` was declared.
    pub async fn take(&self, declared: Option<usize>, limit: usize) -> Result<Taken, ApiError> {
        let bytes = declared.unwrap_or(limit);
        if bytes > limit {
            return Err(ApiError::TooLarge(limit));
        }
        let units = u32::try_from(bytes.div_ceil(KIB)).expect("limits are far below 4 TiB");
        let permit = self.0.clone().acquire_many_owned(units).await.expect("the semaphore is never closed");
        Ok(Taken { _permit: permit })
    }

    /// Reads a body as a whole, and takes what it needs once more than [`FREE`] of it has come. So who sends little, or next to
    /// nothing, waits for nobody and keeps nobody waiting.
    ///
    /// # Errors
    /// Those of [`Budget::take`] and [`read`].
    pub async fn read(&self, body: Body, declared: Option<usize>, limit: usize) -> Result<(Bytes, Option<Taken>), ApiError> {
        if declared.is_some_and(|declared| declared > limit) {
            return Err(ApiError::TooLarge(limit));
        }
        gather(body, limit, Some((self, declared))).await
    }
}

/// Reads a body as a whole. One that came in one piece is not copied.
///
/// # Errors
/// [`ApiError::TooLarge`], counted as it comes; [`ApiError::BodyUnread`].
pub async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    gather(body, limit, None).await.map(|(whole, _)| whole)
}

async fn gather(body: Body, limit: usize, budget: Option<(&Budget, Option<usize>)>) -> Result<(Bytes, Option<Taken>), ApiError> {
    let mut chunks = body.into_bytes_stream();
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    let mut taken = None;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(ApiError::BodyUnread)?;
        let length = first.len().max(whole.len()) + chunk.len();
        if length > limit {
            return Err(ApiError::TooLarge(limit));
        }
        if length > FREE
            && taken.is_none()
            && let Some((budget, declared)) = budget
        {
            taken = Some(budget.take(declared, limit).await?);
        }
        if first.is_empty() {
            first = chunk;
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&chunk);
        }
    }
    Ok((if whole.is_empty() { first } else { whole.freeze() }, taken))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn chunked(chunks: &[&'static str]) -> Body {
        Body::from_bytes_stream(stream::iter(chunks.iter().map(|c| Ok::<_, std::io::Error>(Bytes::from_static(c.as_bytes()))).collect::<Vec<_>>()))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        for (chunks, whole) in [(&[][..], ""), (&["abc"], "abc"), (&["a", "b", "", "c"], "abc")] {
            assert_eq!(read(chunked(chunks), 3).await.expect("small enough"), whole);
        }
        for chunks in [&["abcd"][..], &["a", "bc", "d"], &["abc", "d"]] {
            assert!(matches!(read(chunked(chunks), 3).await, Err(ApiError::TooLarge(3))), "{chunks:?}");
        }
    }

    #[test]
    fn media_types() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, text.parse().expect("a header"));
            format(&headers, "application/json").ok()
        };
        for text in ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"] {
            assert_eq!(of(text), Some(Format::Json), "{text}");
        }
        assert_eq!(of("application/x-ndjson"), Some(Format::Ndjson));
        for text in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(format(&HeaderMap::new(), "application/json").ok(), Some(Format::Json));
    }

    #[tokio::test]
    async fn a_budget_is_kept() {
        let budget = Budget::of(4 * KIB);
        let taken = budget.take(None, 4 * KIB).await.expect("fits");
        let wait = tokio::time::timeout(std::time::Duration::from_millis(20), budget.take(Some(1), KIB)).await;
        assert!(wait.is_err(), "nothing is left");
        drop(taken);
        budget.take(Some(KIB), KIB).await.expect("given back");
        assert!(matches!(budget.take(Some(KIB + 1), KIB).await, Err(ApiError::TooLarge(KIB))));
    }

    #[tokio::test]
    async fn what_is_small_waits_for_nobody() {
        let (budget, limit) = (Budget::of(FREE), FREE + 2);
        let all = budget.take(Some(FREE), FREE).await.expect("fits");
        let (small, large) = (" ".repeat(FREE).leak(), " ".repeat(FREE + 1).leak());
        for declared in [None, Some(FREE)] {
            let (whole, taken) = budget.read(chunked(&[small]), declared, limit).await.expect("read");
            assert_eq!((whole.len(), taken.is_none()), (FREE, true));
        }
        let soon = std::time::Duration::from_millis(20);
        for chunks in [&[&*large][..], &[" ", small]] {
            assert!(tokio::time::timeout(soon, budget.read(chunked(chunks), Some(FREE + 1), limit)).await.is_err(), "nothing is left");
        }
        drop(all);
        let budget = Budget::of(limit + KIB);
        let (whole, taken) = budget.read(chunked(&[" ", small]), Some(FREE + 1), limit).await.expect("read");
        assert_eq!((whole.len(), taken.is_some()), (FREE + 1, true));
        assert!(tokio::time::timeout(soon, budget.read(chunked(&[large]), None, limit)).await.is_err(), "what was taken is held");
        assert!(matches!(budget.read(chunked(&[]), Some(limit + 1), limit).await, Err(ApiError::TooLarge(_))), "before it is read");
        assert!(matches!(budget.read(chunked(&[small, "abc"]), None, limit).await, Err(ApiError::TooLarge(_))));
    }
}
