//! `/login` and `/logout`: a cookie for a key and back, for pages in a browser.

use std::{borrow::Cow, sync::Arc};

use longshore_common::fault::{Fault, Faults, token};
use poem::{Body, http::HeaderMap};
use poem_openapi::{ApiResponse, OpenApi};
use serde_json::Value;
use url::form_urlencoded;

use crate::{
    auth, body,
    openapi::{Any, Caller, LoggingIn, LoginBody, Nothing, Refusal},
    problem::ApiError,
    state::State,
};

/// Bytes of a login's body at most: a key is a line.
const MAX_BODY: usize = 4096;

/// The routes of logging in and out.
#[derive(Debug)]
pub struct LoginRoutes(pub Arc<State>);

/// It is done, and there is nothing to say.
#[derive(Debug, ApiResponse)]
pub enum CookieAnswer {
    /// The cookie is set, or taken away.
    #[oai(status = 204)]
    Set(
        /// The cookie `longshore_key`.
        #[oai(header = "Set-Cookie")]
        String,
    ),
}

#[OpenApi]
impl LoginRoutes {
    /// Log in
    ///
    /// Sets a cookie that stands for the header Authorization, until the browser is closed. Needs no key but the one in the
    /// body.
    #[oai(path = "/login", method = "post")]
    async fn log_in(&self, headers: &HeaderMap, body: LoginBody) -> Result<CookieAnswer, Refusal<LoggingIn>> {
        let secure = auth::is_encrypted(headers);
        let key = key_of(body).await?;
        Ok(CookieAnswer::Set(self.0.keys.log_in(&key, secure)?))
    }

    /// Log out
    ///
    /// Takes the cookie away; the key stays valid. Scope: any.
    #[oai(path = "/logout", method = "post")]
    #[expect(clippy::unused_async, reason = "poem-openapi asks for it")]
    async fn log_out(&self, _caller: Caller<Any>) -> Result<CookieAnswer, Refusal<Nothing>> {
        Ok(CookieAnswer::Set(auth::log_out()))
    }
}

/// The key in a body.
async fn key_of(body: LoginBody) -> Result<String, ApiError> {
    let text = read(body.body).await?;
    let mut faults = Faults::default();
    let mut keys = Vec::new();
    let mut take = |name: &str, value: Option<&str>| match (name, value) {
        ("key", Some(key)) => keys.push(key.to_owned()),
        ("key", None) => faults.add("/key", "must be a text"),
        (name, _) => faults.add(&token(name), "is not a known field; allowed is key"),
    };
    if body.is_form {
        form_urlencoded::parse(text.as_bytes()).for_each(|(name, value)| take(&name, Some(&value)));
    } else {
        let value: Value = serde_json::from_str(&text).map_err(|error| ApiError::Malformed(format!("not valid JSON: {error}")))?;
        let Value::Object(fields) = value else { return Err(invalid("", "must be an object with the field key")) };
        fields.iter().for_each(|(name, value)| take(name, value.as_str()));
    }
    if !faults.is_empty() {
        return Err(ApiError::Invalid(faults.into_vec()));
    }
    match (keys.pop(), keys.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(_), false) => Err(invalid("/key", "is given more than once")),
        (None, _) => Err(invalid("/key", "is missing")),
    }
}

async fn read(body: Body) -> Result<String, ApiError> {
    let bytes = body::read(body, MAX_BODY).await?;
    String::from_utf8(bytes.into()).map_err(|_| ApiError::Malformed("not UTF-8".to_owned()))
}

fn invalid(pointer: &str, detail: &'static str) -> ApiError {
    ApiError::Invalid(vec![Fault { pointer: pointer.to_owned(), detail: Cow::Borrowed(detail) }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_read_from_json_and_forms() {
        let read = async |text: &'static str, is_form| match key_of(LoginBody { body: Body::from(text), is_form }).await {
            Ok(key) => key,
            Err(ApiError::Malformed(_)) => "malformed".to_owned(),
            Err(ApiError::Invalid(faults)) => faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect::<Vec<_>>().join("; "),
            Err(other) => panic!("{other:?}"),
        };
        for (text, is_form, found) in [
            (r#"{"key": "ls_a"}"#, false, "ls_a"),
            ("key=ls%5Fa", true, "ls_a"),
            ("", false, "malformed"),
            ("{", false, "malformed"),
            ("key=ls_a", false, "malformed"),
            ("[]", false, " must be an object with the field key"),
            ("{}", false, "/key is missing"),
            ("", true, "/key is missing"),
            (r#"{"key": 1}"#, false, "/key must be a text"),
            (r#"{"key": null}"#, false, "/key must be a text"),
            (r#"{"key": "a", "name": "b"}"#, false, "/name is not a known field; allowed is key"),
            ("key=a&key=b", true, "/key is given more than once"),
            ("key=a&remember=1", true, "/remember is not a known field; allowed is key"),
        ] {
            assert_eq!(read(text, is_form).await, found, "{text}");
        }
    }
}
