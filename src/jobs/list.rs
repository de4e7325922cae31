//! `longshore jobs [list]`.

use std::process::ExitCode;

use longshore_common::{
    job::JobView,
    store::read::{Fields, JobPage},
};

use super::filter::FilterArgs;
use crate::{
    backend::Place,
    output::{self, List},
};

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
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

pub async fn run(args: &ListArgs, place: &Place) -> anyhow::Result<ExitCode> {
    let filter = args.filter.read()?;
    let fields = Fields { args: args.full, result: args.full };
    let backend = place.open().await?;
    let JobPage { items: mut jobs, next: mut last } = backend.jobs(&filter, fields, args.before, args.limit).await?;
    // a page may end before it is full, where few of very many jobs are meant
    while let Some(before) = last
        && let left @ 1.. = args.limit - i64::try_from(jobs.len())?
    {
        let page = backend.jobs(&filter, fields, Some(before), left).await?;
        jobs.extend(page.items);
        last = page.next;
    }
    if args.json {
        output::print_json(&List { items: jobs, next_cursor: last.map(|id| id.to_string()) })?;
    } else if jobs.is_empty() && filter.is_empty() {
        output::print("No jobs yet. Try: longshore enqueue echo '{\"hello\": \"world\"}'")?;
    } else if jobs.is_empty() {
        output::print("No jobs like that.")?;
    } else {
        let note = last.map_or_else(String::new, |id| format!("\n\nThere are more: add --before {id}"));
        output::print(&(for_people(&jobs) + &note))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub fn for_people(jobs: &[JobView]) -> String {
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
