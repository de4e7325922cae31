//! `longshore jobs logs ID`.

use std::process::ExitCode;

use anyhow::bail;

use crate::{backend::Place, output};

#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// The job's id
    id: i64,
    /// Print the logs as the API gives them
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &LogsArgs, place: &Place) -> anyhow::Result<ExitCode> {
    let backend = place.open().await?;
    let Some(logs) = backend.logs(args.id).await? else {
        bail!("there is no job {} in {}: it was never there, or finished so long ago that it was forgotten", args.id, backend.shown());
    };
    if args.json {
        output::print_json(&logs)?;
    } else if logs.items.is_empty() {
        output::print(&format!("job {} has logged nothing", args.id))?;
    } else {
        let sections: Vec<String> = logs.items.iter().map(|one| format!("attempt {}\n{}", one.attempt, one.text.trim_end_matches('\n'))).collect();
        output::print(&sections.join("\n\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
