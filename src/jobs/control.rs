//! `longshore jobs cancel|retry|delete ID…` and `longshore jobs explain ID`.

use std::process::ExitCode;

use anyhow::bail;
use longshore_common::{
    job::{Call, Change, Effect, JobState},
    store::{Store, control::ControlError, explain::Explanation},
};
use serde::Serialize;

use crate::{database, output};

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
pub async fn run(call: Call, ids: &[i64], json: bool) -> anyhow::Result<ExitCode> {
    let store = database::connect_to_schema().await?;
    let mut all = Vec::with_capacity(ids.len());
    for id in ids {
        let (done, said) = match ask(&store, call, *id).await {
            Ok(effect) => (true, told(effect)),
            Err(ControlError::Store(error)) => return Err(error.into()),
            Err(refused) => (false, longshore_common::log::chain(&refused)),
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

async fn ask(store: &Store, call: Call, id: i64) -> Result<Effect, ControlError> {
    match call {
        Call::Cancel => store.cancel(id).await,
        Call::Retry => store.retry(id).await,
        Call::Delete => store.delete(id).await,
        Call::Change => store.change(id, &Change::default()).await,
    }
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

pub async fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let store = database::connect_to_schema().await?;
    let Some(explanation) = store.explain(args.id, None).await? else {
        bail!("there is no job {} in {}: it was never there, or finished so long ago that it was forgotten", args.id, store.shown());
    };
    if args.json {
        output::print_json(&explanation)?;
    } else {
        output::print(&for_people(&explanation))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn for_people(explanation: &Explanation) -> String {
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
