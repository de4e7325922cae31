//! `longshore jobs failures`.

use std::process::ExitCode;

use longshore_common::store::failures::FailureGroup;

use crate::{
    backend::Place,
    output::{self, List},
};

#[derive(Debug, clap::Args)]
pub struct FailureArgs {
    /// Only jobs of this queue; may be repeated
    #[arg(long)]
    queue: Vec<String>,
    /// Only jobs of this kind; may be repeated
    #[arg(long)]
    kind: Vec<String>,
    /// How many groups at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1000))]
    limit: i64,
    /// Print the list as the API gives it
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &FailureArgs, place: &Place) -> anyhow::Result<ExitCode> {
    let groups = place.open().await?.failures(&args.queue, &args.kind, args.limit).await?;
    if args.json {
        output::print_json(&List::whole(groups))?;
    } else if groups.is_empty() {
        output::print("Nothing failed, and nothing waits for another attempt after a failure.")?;
    } else {
        let FailureGroup { kind, fingerprint, .. } = &groups[0];
        let help = format!("To run a group again: longshore jobs retry --kind {kind} --fingerprint {fingerprint} --dry-run");
        output::print(&format!("{}\n\n{help}", for_people(&groups)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn for_people(groups: &[FailureGroup]) -> String {
    let mut table = output::table(&["FINGERPRINT", "KIND", "FAILED", "RETRYABLE", "FIRST", "LAST", "EXAMPLE", "ERROR"]);
    let time = |time: Option<jiff::Timestamp>| time.map(output::time).unwrap_or_default();
    for group in groups {
        let count = |jobs: i64| {
            let number = output::grouped(u64::try_from(jobs).unwrap_or(0));
            if group.estimated && jobs >= 10_000 { format!("{number}+") } else { number }
        };
        table.add_row([
            group.fingerprint.to_string(),
            group.kind.clone(),
            count(group.failed),
            count(group.retryable),
            time(group.first),
            time(group.last),
            group.example.id.to_string(),
            group.example.error.as_deref().map(|error| output::shortened(error, 60)).unwrap_or_default(),
        ]);
    }
    output::align_right(&mut table, 2..4);
    output::lines(&table)
}
