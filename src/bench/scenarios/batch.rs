//! Batches of 1,000 over two connections, as NDJSON and as JSON.

use super::{Size, enqueue};
use crate::bench::{
    figures::Figures,
    load::{self, BatchForm},
    stage::Stage,
};

/// Jobs a request.
pub const JOBS: usize = 1000;
/// Enough to keep both processors busy.
pub const CONNECTIONS: usize = 2;

/// Batches of a thousand.
pub async fn run(name: &str, stage: &Stage, size: Size, form: BatchForm) -> anyhow::Result<Figures> {
    enqueue::measure(name, stage, size, CONNECTIONS, &load::batch(JOBS, form), JOBS as u64).await
}
