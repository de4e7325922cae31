//! What is read at most once in a while, however many ask: a thousand open dashboards cost the database what one does, and none
//! nothing.

use std::{sync::Arc, time::Duration};

use longshore_common::store::StoreError;
use tokio::{sync::Mutex, time::Instant};

/// What was read last.
#[derive(Debug)]
pub struct Last<T> {
    /// How old it may become.
    refresh: Duration,
    read: Mutex<Option<(Instant, Arc<T>)>>,
}

impl<T> Last<T> {
    /// Nothing yet; what is read may become so old.
    pub fn within(refresh: Duration) -> Self {
        Self { refresh, read: Mutex::new(None) }
    }

    /// What was read last, or by `read` where that is too old. Whoever comes meanwhile waits for it.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn get(&self, read: impl AsyncFnOnce() -> Result<T, StoreError>) -> Result<Arc<T>, StoreError> {
        let mut last = self.read.lock().await;
        if let Some((when, value)) = &*last
            && when.elapsed() < self.refresh
        {
            return Ok(value.clone());
        }
        let value = Arc::new(read().await?);
        *last = Some((Instant::now(), value.clone()));
        Ok(value)
    }
}
