//! The header `Idempotency-Key`: the same request again gets its first answer, and nothing is done twice.

use longshore_common::{
    json::RawJson,
    store::{
        StoreError,
        once::{OnceError, OnceRequest, RequestHash},
    },
};
use poem_openapi::registry::{MetaSchema, Registry};
use serde::Serialize;

use crate::{
    auth::Access,
    openapi::{IdempotencyKey, Schema, header_fault},
    problem::ApiError,
};

/// An answer's body: made now, or as the first one was.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answered<T> {
    Now(T),
    First(RawJson),
}

impl<T: Schema> Schema for Answered<T> {
    const NAME: &'static str = T::NAME;
    fn schema() -> MetaSchema {
        T::schema()
    }
    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// A request that bears a key; its body is still to be hashed.
pub fn once(access: &Access, key: IdempotencyKey, what: &str) -> Option<OnceRequest> {
    Some(OnceRequest { caller: access.key_name().unwrap_or_default().to_owned(), key: key.0?, hash: RequestHash::of(what) })
}

/// What the caller is told of a request that was not done; `of_store` says it of what the store refused.
pub fn refusal(error: OnceError, of_store: impl FnOnce(StoreError) -> ApiError) -> ApiError {
    match error {
        OnceError::UnderWay => ApiError::UnderWay,
        OnceError::OtherRequest => header_fault("Idempotency-Key", "came with another request in the last 24 hours; send that one again, or take a new key"),
        OnceError::Gone(id) => ApiError::NotFound { what: "job", name: id.to_string() },
        OnceError::Store(error) => of_store(error),
    }
}
