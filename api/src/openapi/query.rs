//! Query strings and headers as arguments of handlers: they describe themselves in the document.

use std::borrow::Cow;

use longshore_common::fault::{Fault, Faults, token};
use poem::{Request, RequestBody, Result};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaParamIn, MetaSchemaRef},
};
use url::form_urlencoded;

use super::schemas;
use crate::problem::ApiError;

/// Characters of an idempotency key at most.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// What a query string may ask for.
pub trait FromQuery: Sized + Send {
    /// A property a parameter.
    fn parameters() -> MetaSchemaRef;

    /// Reads a query string.
    ///
    /// # Errors
    /// [`ApiError::Invalid`], all faults at once.
    fn parse(query: &str) -> Result<Self, ApiError>;
}

/// A query string.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<'a, T: FromQuery> ApiExtractor<'a> for Query<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Query)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(T::parameters())
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        Ok(Self(T::parse(request.uri().query().unwrap_or_default())?))
    }
}

/// Reads each parameter of a query string; those that do not repeat may be given once.
///
/// # Errors
/// [`ApiError::Invalid`], all faults at once.
pub fn each_parameter(query: &str, repeats: impl Fn(&str) -> bool, mut take: impl FnMut(&str, &str) -> Result<(), String>) -> Result<(), ApiError> {
    let mut faults = Faults::default();
    let mut seen: Vec<Cow<'_, str>> = Vec::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let read = if !repeats(&key) && seen.contains(&key) { Err("is given more than once".to_owned()) } else { take(&key, &value) };
        if let Err(why) = read {
            faults.add(&token(&key), format!("query parameter: {why}"));
        }
        seen.push(key);
    }
    if faults.is_empty() { Ok(()) } else { Err(ApiError::Invalid(faults.into_vec())) }
}

/// The header `Idempotency-Key`, if there is one.
#[derive(Debug)]
pub struct IdempotencyKey(pub Option<String>);

impl<'a> ApiExtractor<'a> for IdempotencyKey {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(schemas::idempotency_key())
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        let mut given = request.headers().get_all("idempotency-key").iter();
        let key = given.next().map(|key| key.to_str().ok().filter(|key| (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len())).map(str::to_owned));
        match (key, given.next()) {
            (None, _) => Ok(Self(None)),
            (Some(Some(key)), None) => Ok(Self(Some(key))),
            // one that is not read must not be taken for none
            _ => Err(header_fault("Idempotency-Key", format!("must be given once, with 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters")).into()),
        }
    }
}

/// A fault of a header.
pub fn header_fault(name: &str, detail: impl std::fmt::Display) -> ApiError {
    ApiError::Invalid(vec![Fault { pointer: String::new(), detail: format!("header {name}: {detail}").into() }])
}

/// A caller who asks for something must not be answered as if that had been done.
pub(super) fn refuse_unknown(request: &Request, known: &[&str]) -> Result<(), ApiError> {
    each_parameter(
        request.uri().query().unwrap_or_default(),
        |_| true,
        |key, _| if known.contains(&key) { Ok(()) } else { Err("is not known here".to_owned()) },
    )
}

/// It is for what enqueues; whatever else has a body may be done twice without harm.
pub(super) fn refuse_idempotency_key(request: &Request) -> Result<(), ApiError> {
    if !request.headers().contains_key("idempotency-key") {
        return Ok(());
    }
    Err(header_fault("Idempotency-Key", "is not taken here: doing this twice does no harm"))
}
