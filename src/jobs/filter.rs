//! Which jobs: the flags that lists and calls of many jobs share.

use jiff::Timestamp;
use longshore_common::job::{Fingerprint, JobFilter, JobState};

use crate::command::WrongUse;

#[derive(Debug, Default, clap::Args)]
pub struct FilterArgs {
    /// Only jobs in this state: scheduled, available, running, retryable, blocked, succeeded, failed or
    /// cancelled; may be repeated
    #[arg(long, value_parser = state)]
    state: Vec<JobState>,
    /// Only jobs of this queue; may be repeated
    #[arg(long)]
    queue: Vec<String>,
    /// Only jobs of this kind; may be repeated
    #[arg(long)]
    kind: Vec<String>,
    /// Only jobs with this tag; repeated: with all of them
    #[arg(long)]
    tag: Vec<String>,
    /// Only jobs whose meta has this, as in customer=7; repeated: all of them
    #[arg(long, value_name = "KEY=VALUE")]
    meta: Vec<String>,
    /// Only the jobs with this unique key
    #[arg(long, value_name = "KEY")]
    unique_key: Option<String>,
    /// Only the jobs with this concurrency key
    #[arg(long, value_name = "KEY")]
    concurrency_key: Option<String>,
    /// Only jobs that this schedule has enqueued
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Only jobs of this workflow
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    workflow: Option<i64>,
    /// Only jobs that failed with an error of this group, as `longshore jobs failures` shows it
    #[arg(long, value_name = "DIGITS")]
    fingerprint: Option<Fingerprint>,
    /// Only jobs enqueued at this time or later (2030-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME")]
    created_after: Option<Timestamp>,
    /// Only jobs enqueued before this time
    #[arg(long, value_name = "TIME")]
    created_before: Option<Timestamp>,
    /// Only jobs finished at this time or later
    #[arg(long, value_name = "TIME")]
    finished_after: Option<Timestamp>,
    /// Only jobs finished before this time
    #[arg(long, value_name = "TIME")]
    finished_before: Option<Timestamp>,
}

fn state(word: &str) -> Result<JobState, String> {
    JobState::from_word(word).ok_or_else(|| format!("there are {}", JobState::ALL.map(JobState::word).join(", ")))
}

impl FilterArgs {
    /// The filter, as the store takes it.
    pub fn read(&self) -> Result<JobFilter, WrongUse> {
        let mut labels: Vec<String> = self.tag.iter().map(|tag| format!("t:{tag}")).collect();
        for pair in &self.meta {
            if !pair.contains('=') {
                return Err(WrongUse(format!("--meta must be KEY=VALUE, is \"{pair}\"")));
            }
            labels.push(format!("m:{pair}"));
        }
        Ok(JobFilter {
            states: self.state.clone(),
            queues: self.queue.clone(),
            kinds: self.kind.clone(),
            labels,
            unique_key: self.unique_key.clone(),
            concurrency_key: self.concurrency_key.clone(),
            schedule: self.schedule.clone(),
            workflow_id: self.workflow,
            fingerprint: self.fingerprint,
            created_after: self.created_after,
            created_before: self.created_before,
            finished_after: self.finished_after,
            finished_before: self.finished_before,
            of_none: false,
        })
    }
}
