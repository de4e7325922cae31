//! Hearing what becomes of jobs: statements and workers tell only while somebody says that they want to hear.

use super::{Statement, Store, StoreError, statement};

const OUTCOMES: Statement = statement!("watch for outcomes", "watch/outcomes.sql");
const ENDED: Statement = statement!("look which jobs have ended", "watch/ended.sql");

impl Store {
    /// Whoever reports outcomes says for the next five minutes, at least, which jobs have ended.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn watch_outcomes(&self) -> Result<(), StoreError> {
        self.query(OUTCOMES, &[]).await.map(|_| ())
    }

    /// Which of these jobs have ended or are forgotten.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn ended_among(&self, ids: &[i64]) -> Result<Vec<i64>, StoreError> {
        Ok(self.query(ENDED, &[&ids]).await?.iter().map(|row| row.get(0)).collect())
    }
}
