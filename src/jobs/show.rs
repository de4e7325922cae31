//! `longshore jobs show ID`.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::bail;
use longshore_common::{
    duration,
    job::{AttemptView, JobView},
    json::RawJson,
};
use serde::Serialize;

use crate::{backend::Place, output};

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The job's id
    id: i64,
    /// Print the job as the API gives it
    #[arg(long)]
    json: bool,
}

/// One job as `GET /v1/jobs/{id}` shows it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    job: &'a JobView,
    history: &'a [AttemptView],
}

pub async fn run(args: &ShowArgs, place: &Place) -> anyhow::Result<ExitCode> {
    let backend = place.open().await?;
    let Some((job, history)) = backend.job(args.id).await? else {
        bail!("there is no job {} in {}: it was never there, or finished so long ago that it was forgotten", args.id, backend.shown());
    };
    if args.json {
        output::print_json(&Shown { job: &job, history: &history })?;
    } else {
        output::print(&for_people(&job, &history))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub fn for_people(job: &JobView, history: &[AttemptView]) -> String {
    let mut text = format!("job {}: {} in queue {} is {}\n", job.id, job.kind, job.queue, job.state.word());
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let _ = write!(text, "\n  {name:<16} {value}");
        }
    };
    let json = |value: &Option<RawJson>| value.as_ref().map(|value| output::shortened(value.as_str(), 2000));
    line("error", job.error.clone().map(|error| error.replace('\n', "\n                   ")));
    line("progress", json(&job.progress));
    line("checkpoint", json(&job.checkpoint));
    line("args", json(&job.args));
    line("result", json(&job.result.clone().flatten()));
    line("attempt", Some(format!("{} of {}", job.attempt, job.max_attempts)));
    line("timeout", Some(job.timeout.map_or_else(|| "none".to_owned(), |seconds| display(seconds.0))));
    line("priority", Some(job.priority.to_string()));
    line("tags", Some(job.tags.join(", ")));
    line("meta", Some(job.meta.as_str().to_owned()).filter(|meta| meta != "{}"));
    line("unique key", job.unique_key.clone());
    line("concurrency key", job.concurrency_key.clone());
    line("worker", job.worker.clone());
    line("enqueued", Some(job.created_at.to_string()));
    line("enqueued by", job.enqueued_by.clone());
    line("request", job.request_id.clone());
    line("due", Some(job.run_at.to_string()));
    line("expires", job.expires_at.map(|time| time.to_string()));
    line("started", job.started_at.map(|time| time.to_string()));
    line("finished", job.finished_at.map(|time| time.to_string()));
    if history.is_empty() {
        return text + "\n\nNo attempt yet.";
    }
    let mut table = output::table(&["ATTEMPT", "STARTED", "TOOK", "OUTCOME", "WORKER", "ERROR"]);
    for attempt in history {
        let took = attempt.finished_at.map_or_else(String::new, |end| display(end.duration_since(attempt.started_at).as_secs_f64()));
        table.add_row([
            attempt.attempt.to_string(),
            attempt.started_at.to_string(),
            took,
            attempt.outcome.map_or_else(|| "runs".to_owned(), |outcome| outcome.word().to_owned()),
            attempt.worker.clone().unwrap_or_default(),
            attempt.error.as_deref().map(|error| output::shortened(error, 60)).unwrap_or_default(),
        ]);
    }
    text + "\n\n" + &output::lines(&table)
}

fn display(seconds: f64) -> String {
    duration::from_seconds(seconds).map_or_else(|_| "-".to_owned(), duration::display)
}
