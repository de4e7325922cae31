//! What one request may do: all, or what its API key allows.

use std::sync::Arc;

use longshore_common::{
    fault::Fault,
    job::JobFilter,
    key::{ApiKey, Scope},
};

use crate::problem::ApiError;

/// What one request may do.
#[derive(Debug, Clone)]
pub struct Access(Option<Arc<ApiKey>>);

impl Access {
    /// Everything: there are no keys.
    pub fn open() -> Self {
        Self(None)
    }

    /// What this key allows.
    pub fn by(key: Arc<ApiKey>) -> Self {
        Self(Some(key))
    }

    /// The key, where one was needed.
    pub(super) fn key(&self) -> Option<&ApiKey> {
        self.0.as_deref()
    }

    /// The name of the key, where one was needed.
    pub fn key_name(&self) -> Option<&str> {
        self.0.as_deref().map(|key| key.name.as_str())
    }

    /// The queues that it is limited to; `None`: all.
    pub fn queues(&self) -> Option<&[String]> {
        self.0.as_deref().and_then(|key| key.queues.as_deref())
    }

    /// What an answer may depend on: the words of its scopes, and its queues; `None`: nothing, since everything is allowed.
    pub fn rights(&self) -> Option<(Vec<&'static str>, Option<Vec<String>>)> {
        self.0.as_deref().map(|key| (key.scopes.iter().map(|scope| scope.word()).collect(), key.queues.clone()))
    }

    /// Whether it may see and use this queue.
    pub fn reaches(&self, queue: &str) -> bool {
        self.0.as_deref().is_none_or(|key| key.reaches(queue))
    }

    /// Whether it may do this.
    ///
    /// # Errors
    /// [`ApiError::OutOfScope`].
    pub fn want(&self, scope: Scope) -> Result<(), ApiError> {
        match self.0.as_deref() {
            Some(key) if !key.may(scope) => Err(ApiError::OutOfScope { key: key.name.clone(), scope }),
            _ => Ok(()),
        }
    }

    /// Whether it may see what concerns all queues.
    ///
    /// # Errors
    /// [`ApiError::Limited`].
    pub fn want_all_queues(&self) -> Result<(), ApiError> {
        match self.0.as_deref() {
            Some(key) if key.queues.is_some() => Err(ApiError::Limited { key: key.name.clone() }),
            _ => Ok(()),
        }
    }

    /// Whether it may use this queue; `pointer` is where the request names it.
    ///
    /// # Errors
    /// [`ApiError::OutOfQueues`].
    pub fn want_queue(&self, queue: &str, scope: Scope, pointer: impl FnOnce() -> String) -> Result<(), ApiError> {
        match self.0.as_deref() {
            Some(key) if !key.reaches(queue) => {
                let known = key.queues.as_deref().unwrap_or_default().join(", ");
                let detail = format!("is queue \"{queue}\", to which this API key does not reach; it is limited to: {known}");
                Err(ApiError::OutOfQueues { key: key.name.clone(), queue: queue.to_owned(), scope, fault: Fault { pointer: pointer(), detail: detail.into() } })
            }
            _ => Ok(()),
        }
    }

    /// Narrows a filter to the queues that may be seen and used. Naming another one is an error, so that nobody takes an empty
    /// answer for an empty queue; `pointer` is where the request names queues.
    ///
    /// # Errors
    /// [`ApiError::OutOfQueues`].
    pub fn narrow(&self, filter: &mut JobFilter, scope: Scope, pointer: &str) -> Result<(), ApiError> {
        for queue in &filter.queues {
            self.want_queue(queue, scope, || pointer.to_owned())?;
        }
        if let (Some(reached), true) = (self.queues(), filter.queues.is_empty()) {
            // as a filter, no queues would mean all
            filter.of_none |= reached.is_empty();
            reached.clone_into(&mut filter.queues);
        }
        Ok(())
    }
}
