//! Runs a job by a call of the user's service: the args are posted to it, signed as Standard Webhooks says, and the answer is
//! the outcome. What is called is said in the settings and nowhere else.
//!
//! ```text
//! args + what the service must know (headers) → signature → call → 2xx: result · 202: it reports by itself · else: error
//! ```

mod secrets;

use std::time::Duration;

use longshore_common::{
    duration,
    job::Kind,
    json::RawJson,
    settings::{HttpSettings, SettingError},
};
use reqwest::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use url::Url;

use self::secrets::Secrets;
use super::{
    calls::{Answer, Caller},
    wall_clock,
};
use crate::handler::{AnyHandler, Context, Handled, HandlerError, Running};

/// A longer checkpoint is left out: servers refuse headers that are much longer than this. The service finds it by
/// `GET /v1/jobs/{id}`.
const MAX_CHECKPOINT: usize = 8 * 1024;

/// How long the rest of a 202 is waited for.
const REST: Duration = Duration::from_secs(1);

/// What a service has answered.
enum Said {
    /// The job is done, with this result.
    Done(Option<RawJson>),
    /// It will report by itself.
    Accepted(Answer),
}

/// Runs the jobs of one kind.
#[derive(Debug)]
pub(super) struct Push {
    kind: Kind,
    url: Url,
    settings: HttpSettings,
    secrets: Secrets,
    caller: Caller,
}

impl AnyHandler for Push {
    fn run(&self, context: Context) -> Running<'_> {
        Box::pin(self.attempt(context))
    }
}

impl Push {
    /// # Errors
    /// Where the URL or a secret cannot be used.
    pub fn new(kind: Kind, settings: HttpSettings, caller: Caller) -> Result<Self, SettingError> {
        let url = super::calls::parse(&settings.url).map_err(|why| SettingError(format!("handlers.{kind}.url: {why}")))?;
        if let Some(why) = caller.refusal(&url) {
            tracing::warn!(%kind, "handlers.{kind}.url: {why}; until then its jobs fail, and are tried again");
        }
        let secrets = Secrets::new(&kind, &settings)?;
        if secrets.is_empty() {
            tracing::warn!(%kind, "handlers.{kind} has no secret, so that its calls are not signed and the service cannot tell whether they are ours: \
                set handlers.{kind}.secret_file");
        }
        Ok(Self { kind, url, settings, secrets, caller })
    }

    async fn attempt(&self, context: Context) -> Result<Handled, HandlerError> {
        let called = tokio::time::timeout(self.settings.timeout, self.call(&context));
        let said = tokio::select! {
            biased;
            called = called => called.unwrap_or_else(|_| {
                Err(HandlerError::failed(format!("there was no whole answer within {} (handlers.{}.timeout)", duration::display(self.settings.timeout), self.kind)))
            })?,
            // the call is dropped, and its connection with it
            () = context.cancellation().cancelled() => return Err(HandlerError::failed("the call was broken off: the job was cancelled")),
        };
        match said {
            Said::Done(result) => Ok(Handled::Done(result)),
            // from here on it is the service's, however long the database, or the rest of the answer, takes
            Said::Accepted(answer) => match context.give_away().await {
                None if context.cancellation().is_cancelled() => Err(HandlerError::failed("the job was cancelled")),
                // without a lease: the service was so quick that it has reported already, or somebody else has the job
                Some(()) | None => {
                    // read, so that the connection serves again; what it says does not matter
                    let _ = tokio::time::timeout(REST, answer.good_body()).await;
                    Ok(Handled::GivenAway)
                }
            },
        }
    }

    async fn call(&self, context: &Context) -> Result<Said, HandlerError> {
        let args = context.job().args.as_str().to_owned();
        let headers = self.headers(context, &args).await?;
        let request = self.caller.request(Method::POST, self.url.clone()).headers(headers).body(args).build();
        let request = request.map_err(|error| HandlerError::failed(format!("the call cannot be made: {}", error.without_url())))?;
        let answer = self.caller.send(request).await?;
        if answer.status() == StatusCode::ACCEPTED {
            return Ok(Said::Accepted(answer));
        }
        Ok(Said::Done(answer.good_body().await?.into_result("answer")))
    }

    async fn headers(&self, context: &Context, args: &str) -> Result<HeaderMap, HandlerError> {
        let job = context.job();
        let id = format!("job_{}", job.lease.id);
        let timestamp = wall_clock().as_second();
        let mut all = vec![
            ("longshore-kind", job.lane.kind.to_string()),
            ("longshore-queue", job.lane.queue.to_string()),
            ("longshore-attempt", job.attempt.to_string()),
            ("longshore-max-attempts", job.max_attempts.to_string()),
            ("longshore-lease", job.lease.lease.to_string()),
        ];
        if let Some(signature) = self.secrets.sign(&id, timestamp, args).await {
            all.push(("webhook-signature", signature));
        }
        all.extend([("webhook-id", id), ("webhook-timestamp", timestamp.to_string())]);
        let checkpoint = context.checkpoint::<RawJson>().await.map_err(|error| HandlerError::failed(longshore_common::log::chain(&error)))?;
        all.extend(checkpoint.and_then(|checkpoint| in_a_header(checkpoint.as_str())).map(|checkpoint| ("longshore-checkpoint", checkpoint)));
        all.extend(job.traceparent.clone().map(|traceparent| ("traceparent", traceparent)));
        let mut headers = HeaderMap::with_capacity(all.len() + 1);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in all {
            let value = HeaderValue::try_from(value).map_err(|_| HandlerError::failed(format!("the header {name} cannot be sent: its value is not ASCII")))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(headers)
    }
}

/// JSON in ASCII and on one line, unless it is too long for a header.
fn in_a_header(json: &str) -> Option<String> {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' | '\r' | '\t' => text.push(' '), // between the values: within strings they are escaped
            c if c.is_ascii() && !c.is_ascii_control() => text.push(c),
            c => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text += &format!("\\u{unit:04x}")),
        }
        if text.len() > MAX_CHECKPOINT {
            return None;
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_the_same_json_in_ascii() {
        let json = "{\"a\":\n\t\"ä😀\\n\u{7f}\"}";
        let text = in_a_header(json).expect("short");
        assert_eq!(text, "{\"a\":  \"\\u00e4\\ud83d\\ude00\\n\\u007f\"}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(read(&text), read(json));
        assert!(in_a_header(&"7".repeat(MAX_CHECKPOINT)).is_some());
        assert!(in_a_header(&format!("\"{}\"", "ä".repeat(MAX_CHECKPOINT / 6 + 1))).is_none());
    }
}
