//! `{"method": "GET", "url": "…", "headers": {}, "body": …}`: makes a call, and keeps its answer. Who enqueues says what is called,
//! so it is served only where the settings name it.

use std::collections::BTreeMap;

use longshore_common::json::RawJson;
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE},
};
use serde::{Deserialize, Serialize};

use super::calls::{self, Caller};
use crate::handler::{Context, Handler, HandlerError};

/// Calls what its args name.
pub(super) struct Http(pub Caller);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    #[serde(default = "get")]
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A text is sent as it is, anything else as JSON.
    #[serde(default)]
    body: Option<serde_json::Value>,
}

fn get() -> String {
    "GET".to_owned()
}

/// What came back.
#[derive(Serialize)]
pub(super) struct Answered {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Option<RawJson>,
}

impl Handler for Http {
    type Args = RawJson;
    type Output = Answered;

    async fn handle(&self, args: RawJson, context: Context) -> Result<Answered, HandlerError> {
        let request = self.request(&args)?;
        let call = async {
            let answer = self.0.send(request).await?;
            let (status, headers) = (answer.status().as_u16(), shown(answer.headers()));
            Ok(Answered { status, headers, body: answer.good_body().await?.into_result("answer") })
        };
        tokio::select! {
            biased;
            answered = call => answered,
            () = context.cancellation().cancelled() => Err(HandlerError::failed("the call was broken off: the job was cancelled")),
        }
    }
}

impl Http {
    /// Args do not change from attempt to attempt: what is wrong with them stays wrong.
    fn request(&self, args: &RawJson) -> Result<reqwest::Request, HandlerError> {
        let call: Call = args.read().map_err(|error| HandlerError::discard(format!("the args are no call: {error}")))?;
        let wrong = |field: &str, why: &dyn std::fmt::Display| HandlerError::discard(format!("args.{field}: {why}"));
        let url = calls::parse(&call.url).map_err(|why| wrong("url", &why))?;
        let method = Method::from_bytes(call.method.as_bytes()).map_err(|why| wrong("method", &why))?;
        let mut headers = HeaderMap::new();
        let body = match call.body {
            None => None,
            Some(serde_json::Value::String(text)) => Some(text),
            Some(value) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Some(value.to_string())
            }
        };
        for (name, value) in &call.headers {
            let key = HeaderName::try_from(name).map_err(|why| wrong(&format!("headers.{name}"), &why))?;
            headers.insert(key, HeaderValue::try_from(value).map_err(|why| wrong(&format!("headers.{name}"), &why))?);
        }
        let mut request = self.0.request(method, url).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        request.build().map_err(|error| HandlerError::discard(format!("the args are no call: {}", error.without_url())))
    }
}

/// Headers that are kept with the result: not what logs somebody in.
fn shown(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut shown = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        if *name == SET_COOKIE {
            continue;
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        shown.entry(name.to_string()).and_modify(|all| *all += &format!(", {value}")).or_insert_with(|| value.into_owned());
    }
    shown
}
