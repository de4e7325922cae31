//! `longshore jobs cancel|retry|delete ID…` and `longshore jobs explain ID`.

use std::process::ExitCode;

use anyhow::bail;
use longshore_common::{
    job::{Call, Effect, JobState},
    store::explain::Explanation,
};
use serde::Serialize;

use crate::{backend::Place, output};

#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The job's id
    id: i64,
    /// Print the reasons as the API gives them
    #[arg(long)]
    json: bool,
}

/// What became of one job.
#[derive(Serialize)]
struct Answer {
    id: i64,
    done: bool,
    said: String,
}

/// Does it to each; fails where one was refused, after all have had their turn.
pub async fn run(call: Call, ids: &[i64], json: bool, place: &Place) -> anyhow::Result<ExitCode> {
    let backend = place.open().await?;
    let mut all = Vec::with_capacity(ids.len());
    for id in ids {
        let (done, said) = match backend.control(call, *id).await? {
            Ok(effect) => (true, told(effect)),
            Err(refused) => (false, refused),
        };
        if !json {
            output::print(&if done { format!("job {id}: {said}") } else { said.clone() })?;
        }
        all.push(Answer { id: *id, done, said });
    }
    if json {
        output::print_json(&all)?;
    }
    Ok(if all.iter().all(|one| one.done) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(effect: Effect) -> String {
    match effect {
        Effect::Becomes(JobState::Available) => "available, with one more attempt".to_owned(),
        Effect::Becomes(state) => state.word().to_owned(),
        Effect::Asked => "it runs: its worker is told within a second, and stops it".to_owned(),
        Effect::Changed => "changed".to_owned(),
        Effect::Forgotten => "deleted, with its history".to_owned(),
    }
}

pub async fn explain(args: &ExplainArgs, place: &Place) -> anyhow::Result<ExitCode> {
    let backend = place.open().await?;
    let Some(explanation) = backend.explain(args.id).await? else {
        bail!("there is no job {} in {}: it was never there, or finished so long ago that it was forgotten", args.id, backend.shown());
    };
    if args.json {
        output::print_json(&explanation)?;
    } else {
        output::print(&for_people(&explanation))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub fn for_people(explanation: &Explanation) -> String {
    let mut text = format!("job {} is {}", explanation.id, explanation.state.word());
    if let Some(note) = &explanation.note {
        text = format!("job {}: {note}", explanation.id);
    }
    for one in &explanation.because {
        text += &format!("\n  {:<12} {}", one.reason, one.detail);
        if let Some(until) = one.until {
            text += &format!(" (until {until})");
        }
    }
    text
}
