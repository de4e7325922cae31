//! `longshore jobs [list]`.

use std::process::ExitCode;

use jiff::Timestamp;
use longshore_common::{
    job::{JobState, JobView},
    store::read::{Fields, JobFilter},
};

use crate::{
    command::WrongUse,
    database,
    output::{self, List},
};

#[derive(Debug, clap::Args)]
pub struct ListArgs {
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
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1000))]
    limit: i64,
    /// Only jobs with an id below this: the next page begins where the last one ended
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    /// With --json, also show args and result
    #[arg(long, requires = "json")]
    full: bool,
    /// Print the list as the API gives it
    #[arg(long)]
    json: bool,
}

fn state(word: &str) -> Result<JobState, String> {
    JobState::from_word(word).ok_or_else(|| format!("there are {}", JobState::ALL.map(JobState::word).join(", ")))
}

pub async fn run(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let filter = filter(args)?;
    let fields = Fields { args: args.full, result: args.full };
    // one more than asked for tells whether there is another page
    let mut jobs = database::connect_to_schema().await?.list_jobs(&filter, fields, args.before, args.limit + 1).await?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let more = jobs.len() > limit;
    jobs.truncate(limit);
    let last = jobs.last().map(|job| job.id).filter(|_| more);
    if args.json {
        output::print_json(&List { items: jobs, next_cursor: last.map(|id| id.to_string()) })?;
    } else if jobs.is_empty() && filter == JobFilter::default() {
        output::print("No jobs yet. Try: longshore enqueue echo '{\"hello\": \"world\"}'")?;
    } else if jobs.is_empty() {
        output::print("No jobs like that.")?;
    } else {
        let note = last.map_or_else(String::new, |id| format!("\n\nThere are more: add --before {id}"));
        output::print(&(for_people(&jobs) + &note))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn filter(args: &ListArgs) -> Result<JobFilter, WrongUse> {
    let mut labels: Vec<String> = args.tag.iter().map(|tag| format!("t:{tag}")).collect();
    for pair in &args.meta {
        if !pair.contains('=') {
            return Err(WrongUse(format!("--meta must be KEY=VALUE, is \"{pair}\"")));
        }
        labels.push(format!("m:{pair}"));
    }
    Ok(JobFilter {
        states: args.state.clone(),
        queues: args.queue.clone(),
        kinds: args.kind.clone(),
        labels,
        unique_key: args.unique_key.clone(),
        concurrency_key: args.concurrency_key.clone(),
        created_after: args.created_after,
        created_before: args.created_before,
        finished_after: args.finished_after,
        finished_before: args.finished_before,
    })
}

fn for_people(jobs: &[JobView]) -> String {
    let mut table = output::table(&["ID", "KIND", "QUEUE", "STATE", "ATTEMPT", "ENQUEUED", "DUE OR FINISHED", "ERROR"]);
    for job in jobs {
        table.add_row([
            job.id.to_string(),
            job.kind.clone(),
            job.queue.clone(),
            job.state.word().to_owned(),
            format!("{}/{}", job.attempt, job.max_attempts),
            output::time(job.created_at),
            output::time(job.finished_at.unwrap_or(job.run_at)),
            job.error.as_deref().map(|error| output::shortened(error, 50)).unwrap_or_default(),
        ]);
    }
    output::lines(&table)
}
