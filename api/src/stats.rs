//! Figures for dashboards, counted at most once a second: a thousand open ones cost the database what one does, and none nothing.

use std::{sync::Arc, time::Duration};

use longshore_common::store::{Store, StoreError, stats::Sample};
use tokio::{sync::Mutex, time::Instant};

/// How old figures may become.
const REFRESH: Duration = Duration::from_secs(1);

/// The last figures.
#[derive(Debug, Default)]
pub struct LastStats(Mutex<Option<(Instant, Arc<Sample>)>>);

impl LastStats {
    /// Figures that are at most a second old. Whoever comes while they are counted waits for them.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn get(&self, store: &Store) -> Result<Arc<Sample>, StoreError> {
        let mut last = self.0.lock().await;
        if let Some((counted, sample)) = &*last
            && counted.elapsed() < REFRESH
        {
            return Ok(sample.clone());
        }
        let sample = Arc::new(store.stats().await?);
        *last = Some((Instant::now(), sample.clone()));
        Ok(sample)
    }
}
