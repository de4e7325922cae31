//! What the answer of a service says of the job: done, later, or never.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{
    StatusCode,
    header::{DATE, HeaderMap, HeaderName, LOCATION, RETRY_AFTER},
};

use super::{Answer, failure};
use crate::{
    handler::HandlerError,
    handlers::{output::Output, wall_clock},
};

/// Bytes of an answer that an error quotes.
const QUOTED: usize = 2 * 1024;
/// A service may put off the next attempt by this much.
const LATEST: Duration = Duration::from_hours(24);

impl Answer {
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Reads the body of an answer that says that all went well; of any other, makes what it says of the attempt.
    ///
    /// # Errors
    /// - 410: trying again is of no use.
    /// - 429 and 503: again after what `Retry-After` says (RFC 9110, 10.2.3), a day at most.
    /// - Any other but 2xx, and an answer that breaks off: again after the job's backoff.
    pub async fn good_body(mut self) -> Result<Output, HandlerError> {
        let status = self.status();
        let mut output = Output::default();
        while !output.is_too_long() {
            match self.response.chunk().await {
                Ok(Some(chunk)) => output.take(&chunk),
                Err(error) if status.is_success() => return Err(HandlerError::failed(failure(&self.place, error))),
                Ok(None) | Err(_) => break, // of an error the status says enough
            }
        }
        if status.is_success() {
            return Ok(output);
        }
        let error = format!("{} answered {status}{}", self.place, self.said(&output));
        Err(match status {
            StatusCode::GONE => HandlerError::discard(error),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => HandlerError::Failed { error, retry_in: retry_after(self.headers()) },
            _ => HandlerError::failed(error),
        })
    }

    fn said(&self, output: &Output) -> String {
        if self.status().is_redirection() {
            // where to, without what may be secret in it
            let target = self.headers().get(LOCATION).and_then(|target| target.to_str().ok()).and_then(|target| target.split(['?', '#']).next());
            return format!(", to {}; redirects are not followed", target.unwrap_or("nowhere"));
        }
        match output.beginning(QUOTED) {
            said if said.is_empty() => String::new(),
            said => format!(": {said}"),
        }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let wanted = text(RETRY_AFTER)?;
    let until = |date: Timestamp| {
        // by the clock of the service, where it tells it
        let now = text(DATE).and_then(self::date).unwrap_or_else(wall_clock);
        date.duration_since(now).try_into().unwrap_or_default() // it has passed
    };
    let after = wanted.parse().ok().map(Duration::from_secs).or_else(|| date(wanted).map(until))?;
    Some(after.min(LATEST))
}

/// Reads an HTTP date (RFC 9110, 5.6.7): its usual form is one of those of RFC 2822.
fn date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let at = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (wanted, date, expected) in [
            (Some("120"), None, Some(120)),
            (Some("0"), None, Some(0)),
            (Some("99999999"), None, Some(24 * 60 * 60)),
            (Some("99999999999999999999999"), None, None),
            (Some("-5"), None, None),
            (Some("soon"), None, None),
            (Some("Sun, 06 Nov 1994 08:50:37 GMT"), Some(at), Some(60)),
            (Some("Mon, 07 Nov 1995 08:50:37 GMT"), Some(at), None),
            (Some("Tue, 07 Nov 1995 08:50:37 GMT"), Some(at), Some(24 * 60 * 60)),
            (Some(at), Some("Sun, 06 Nov 1994 09:49:37 GMT"), Some(0)),
            (Some(at), None, Some(0)),
            (None, Some(at), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(wanted) = wanted {
                headers.insert(RETRY_AFTER, wanted.parse().expect("fine"));
            }
            if let Some(date) = date {
                headers.insert(DATE, date.parse().expect("fine"));
            }
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{wanted:?} at {date:?}");
        }
    }
}
