//! `longshore schedules`

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use jiff::Timestamp;
use longshore_common::{
    cron::{self, Cron},
    job::ScheduleName,
    store::schedules::ScheduleView,
};

use crate::{
    backend::{Backend, Place},
    command::WrongUse,
    output::{self, List},
};

/// Lists the schedules, shows when one is due, enqueues its job now. They are set up by `PUT /v1/schedules/{name}`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Word>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// List the schedules, which is what happens without a word too
    List(ListArgs),
    /// Show the next times at which a schedule is due
    Preview(PreviewArgs),
    /// Show when an expression is due: to try one, without a schedule or a database
    Next(NextArgs),
    /// Enqueue the job of a schedule now, besides its due times
    Run(NameArgs),
    /// Delete a schedule; the jobs that it has enqueued stay
    Delete(NameArgs),
}

#[derive(Debug, clap::Args)]
struct NameArgs {
    /// The schedule
    name: String,
    /// Print what became of it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct PreviewArgs {
    #[command(flatten)]
    of: NameArgs,
    /// How many times
    #[arg(short, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    n: u16,
}

#[derive(Debug, clap::Args)]
struct NextArgs {
    /// The expression, such as "30 3 * * MON-FRI", "@daily" or "@every 90s"
    cron: String,
    /// On the clock of which time zone
    #[arg(long, default_value = "UTC")]
    timezone: String,
    /// After this time (2030-01-31T12:00:00Z) [default: now, by this machine's clock]
    #[arg(long, value_name = "TIME")]
    after: Option<Timestamp>,
    /// How many times
    #[arg(short, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    n: u16,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Print the list as the API gives it
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &Args, place: &Place) -> anyhow::Result<ExitCode> {
    if let Some(Word::Next(args)) = &args.command {
        next(args)?;
        return Ok(ExitCode::SUCCESS);
    }
    let backend = place.open().await?;
    match &args.command {
        None | Some(Word::Next(_)) => list(&backend, &args.list).await?,
        Some(Word::List(args)) => list(&backend, args).await?,
        Some(Word::Preview(args)) => preview(&backend, args).await?,
        Some(Word::Run(args)) => run_now(&backend, args).await?,
        Some(Word::Delete(args)) => delete(&backend, args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(backend: &Backend, args: &ListArgs) -> anyhow::Result<()> {
    let schedules = backend.schedules().await?;
    if args.json {
        output::print_json(&List::whole(schedules))
    } else if schedules.is_empty() {
        output::print("No schedules yet: one is set up by PUT /v1/schedules/{name}, see docs/schedules.md.")
    } else {
        output::print(&for_people(&schedules))
    }
}

async fn preview(backend: &Backend, args: &PreviewArgs) -> anyhow::Result<()> {
    let Some(times) = backend.preview_schedule(&args.of.name, args.n).await? else { bail!(none(backend, &args.of.name)) };
    if args.of.json {
        return output::print_json(&serde_json::json!({ "items": times }));
    }
    output::print(&times.into_iter().map(output::time).collect::<Vec<_>>().join("\n"))
}

fn next(args: &NextArgs) -> anyhow::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "only a place to begin, for somebody who looks")]
    let after = args.after.unwrap_or_else(Timestamp::now);
    let rule = cron::zone(&args.timezone).and_then(|zone| Cron::parse(&args.cron, zone)).map_err(WrongUse)?;
    let times: Vec<Timestamp> = std::iter::successors(rule.next_after(after), |at| rule.next_after(*at)).take(usize::from(args.n)).collect();
    if args.json {
        return output::print_json(&serde_json::json!({ "items": times }));
    }
    let zone = cron::zone(&args.timezone).map_err(WrongUse)?;
    output::print(
        &times.into_iter().map(|at| format!("{}  {}", output::time(at), at.to_zoned(zone.clone()).strftime("%a %F %T %Z"))).collect::<Vec<_>>().join("\n"),
    )
}

async fn run_now(backend: &Backend, args: &NameArgs) -> anyhow::Result<()> {
    let name = ScheduleName::new(&args.name).map_err(|why| WrongUse(format!("the name of a schedule {why}")))?;
    let Some(job) = backend.run_schedule(&name).await? else { bail!(none(backend, &name)) };
    if args.json { output::print_json(&job) } else { output::print(&format!("Job {0} is enqueued; see: longshore jobs show {0}", job.id)) }
}

async fn delete(backend: &Backend, args: &NameArgs) -> anyhow::Result<()> {
    if !backend.delete_schedule(&args.name).await? {
        bail!(none(backend, &args.name));
    }
    if args.json {
        output::print_json(&serde_json::json!({ "deleted": args.name }))
    } else {
        output::print(&format!("Schedule \"{}\" is deleted; its jobs stay.", args.name))
    }
}

fn none(backend: &Backend, name: &str) -> String {
    format!("there is no schedule \"{name}\" in {}; `longshore schedules` lists those that there are", backend.shown())
}

fn for_people(schedules: &[ScheduleView]) -> String {
    let mut table = output::table(&["SCHEDULE", "CRON", "TIMEZONE", "KIND", "QUEUE", "NEXT", "LAST"]);
    for schedule in schedules {
        let job = schedule.job.read::<serde_json::Value>().unwrap_or_default();
        let text = |field: &str, default: &str| job[field].as_str().unwrap_or(default).to_owned();
        table.add_row([
            if schedule.paused { format!("{} (paused)", schedule.name) } else { schedule.name.clone() },
            schedule.cron.clone(),
            schedule.timezone.clone(),
            text("kind", ""),
            text("queue", "default"),
            schedule.next_run_at.map_or_else(|| "-".to_owned(), output::time),
            schedule.last_run_at.map_or_else(|| "-".to_owned(), output::time),
        ]);
    }
    output::lines(&table)
}
