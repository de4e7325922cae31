//! Whether the database holds what it should.

use super::stage::Stage;

/// What is wrong, in words; nothing where all is right.
///
/// `jobs` were acknowledged, and `finished` of them must have succeeded.
pub async fn faults(stage: &Stage, jobs: u64, finished: u64) -> anyhow::Result<Vec<String>> {
    let totals = stage.store().totals().await?;
    let mut faults = Vec::new();
    let mut must_be = |what: &str, found: i64, right: u64| {
        if i64::try_from(right) != Ok(found) {
            faults.push(format!("{found} jobs {what}, it must be {right}"));
        }
    };
    must_be("are stored", totals.jobs, jobs);
    must_be("have succeeded", totals.succeeded, finished);
    must_be("wait or run", totals.unfinished, jobs - finished);
    must_be("have failed or were cancelled", totals.unhappy, 0);
    faults.extend(stage.store().violations(10).await?);
    Ok(faults)
}
