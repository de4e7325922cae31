//! `longshore bench`: the load generator. It starts everything itself, each program in a process of its own, measures
//! over HTTP as a user would, and after each scenario looks whether the database holds exactly what was acknowledged: a
//! bench that does not check is worthless.

mod check;
mod figures;
mod http;
mod load;
mod process;
mod scenarios;
mod stage;

use std::{io::IsTerminal, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output;
use figures::{Figures, Report};
use scenarios::cycle::Sort;
use stage::Stage;

/// Measures this machine: starts a PostgreSQL that is as safe as in production (`fsync` and `synchronous_commit` on), an API
/// and a worker, each a process, loads them over HTTP, and checks that the data are right. All of it shares this machine,
/// the load generator too.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Only these scenarios; may be repeated
    #[arg(long, value_enum, num_args = 1..)]
    only: Vec<Scenario>,
    /// How long each scenario is measured; drain takes as long as it takes
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// A short run that shows that everything works; its figures say little
    #[arg(long)]
    quick: bool,
    /// Jobs that the worker of `drain` and `cycle` runs at once
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    slots: u64,
    /// Jobs that `drain` begins with
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    backlog: u64,
    /// Finished jobs that `browse` looks at
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(10_000..=100_000_000))]
    finished: u64,
    /// Waiting jobs that `browse` looks at
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..=100_000_000))]
    waiting: u64,
    /// Use this database instead of a private PostgreSQL. ITS JOBS ARE FORGOTTEN: needs --yes if there are any
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Yes, forget the jobs of that database
    #[arg(long, requires = "database_url")]
    yes: bool,
    /// Where the private PostgreSQL keeps its data: the disk that is measured; a folder that does not exist yet
    /// [default: /var/tmp/longshore-bench-…]
    #[arg(long, value_name = "DIR", conflicts_with = "database_url")]
    data: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  longshore bench --quick
  longshore bench --only enqueue-64 latency --seconds 30
  longshore bench --only browse --finished 1000000 --waiting 100000
  longshore bench --json > today.json

The log of the API and the worker is at its default level, info, and goes to a file, as a careful
user's would. Memory is each program's peak; of PostgreSQL, what its processes do not share.";

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// POST /v1/jobs over 64 connections
    #[value(name = "enqueue-64")]
    Enqueue64,
    /// POST /v1/jobs over 256 connections
    #[value(name = "enqueue-256")]
    Enqueue256,
    /// POST /v1/jobs/batch of 1,000 as NDJSON, 2 connections
    #[value(name = "batch-ndjson")]
    BatchNdjson,
    /// POST /v1/jobs/batch of 1,000 as JSON, 2 connections
    #[value(name = "batch-json")]
    BatchJson,
    /// A worker starts on a backlog and works it off
    Drain,
    /// Batches of 500 and a worker at the same time, at most about 20,000 jobs apart
    Cycle,
    /// The same as `cycle`, each job with a unique key
    #[value(name = "cycle-unique")]
    CycleUnique,
    /// The same, each job with one of 500 concurrency keys, in a queue that limits these
    #[value(name = "cycle-key")]
    CycleKey,
    /// The same in a queue with a rate, which is not reached
    #[value(name = "cycle-rate")]
    CycleRate,
    /// The same as workflows: 125 diamonds of four jobs each a request
    #[value(name = "cycle-workflow")]
    CycleWorkflow,
    /// One job at a time, about 80 a second: how soon it starts
    Latency,
    /// Eight users' workers lease a backlog over HTTP and report it, in batches of 100
    Pull,
    /// A thousand users' workers wait over HTTP, and nothing comes: what that costs
    #[value(name = "idle-pullers")]
    IdlePullers,
    /// Nobody looks, then one dashboard is open on each page, then a thousand are: what that costs
    Dashboards,
    /// A worker works off a backlog of which each job is a signed HTTP call of a service on this machine
    Push,
    /// A worker works off a backlog of which each job is a command: `cat`, its args back as the result
    Command,
    /// Every list and view, with millions of jobs made past the API; takes minutes, so only with --only browse
    Browse,
}

/// How much is done.
#[derive(Debug, Clone, Copy)]
struct Size {
    measured: Duration,
    warm_up: Duration,
    backlog: u64,
    slots: u64,
    finished: u64,
    waiting: u64,
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let short = args.quick;
    let size = Size {
        measured: Duration::from_secs(if short { 2 } else { args.seconds }),
        warm_up: if short { Duration::from_millis(300) } else { Duration::from_secs(2) },
        backlog: if short { args.backlog.min(20_000) } else { args.backlog },
        slots: args.slots,
        finished: if short { args.finished.min(100_000) } else { args.finished },
        waiting: if short { args.waiting.min(10_000) } else { args.waiting },
    };
    let usual: Vec<Scenario> = Scenario::value_variants().iter().copied().filter(|scenario| *scenario != Scenario::Browse).collect();
    let scenarios = if args.only.is_empty() { &usual } else { &args.only };
    let progress = if args.json || !std::io::stderr().is_terminal() { ProgressBar::hidden() } else { bar(scenarios.len()) };
    let stage = match (&args.database_url, &args.data) {
        (Some(url), _) => Stage::on(url, args.yes).await?,
        (None, folder) => Stage::private(folder.clone()).await?,
    };
    let mut report = Report::of(&stage).await?;
    let mut interrupted = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    for scenario in scenarios {
        let name = scenario.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        progress.set_message(name.clone());
        let figures = tokio::select! {
            figures = one(*scenario, &name, &stage, size, &progress) => figures.with_context(|| format!("the scenario {name} broke off")),
            _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted: nothing is left behind")),
            _ = interrupted.recv() => Err(anyhow!("interrupted: nothing is left behind")),
        }?;
        if !args.json {
            progress.suspend(|| output::print(&figures.summary()))?;
        }
        report.scenarios.push(figures);
        progress.inc(1);
    }
    progress.finish_and_clear();
    stage.end().await?;
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&format!("\n{}", report.for_people()))?;
    }
    Ok(if report.all_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn one(scenario: Scenario, name: &str, stage: &Stage, size: Size, progress: &ProgressBar) -> anyhow::Result<Figures> {
    stage.clear().await?;
    match scenario {
        Scenario::Enqueue64 => scenarios::enqueue::run(name, stage, size, 64).await,
        Scenario::Enqueue256 => scenarios::enqueue::run(name, stage, size, 256).await,
        Scenario::BatchNdjson => scenarios::batch::run(name, stage, size, load::BatchForm::Ndjson).await,
        Scenario::BatchJson => scenarios::batch::run(name, stage, size, load::BatchForm::Json).await,
        Scenario::Drain => scenarios::drain::run(name, stage, size).await,
        Scenario::Cycle => scenarios::cycle::run(name, stage, size, Sort::Plain).await,
        Scenario::CycleUnique => scenarios::cycle::run(name, stage, size, Sort::Unique).await,
        Scenario::CycleKey => scenarios::cycle::run(name, stage, size, Sort::Key).await,
        Scenario::CycleRate => scenarios::cycle::run(name, stage, size, Sort::Rate).await,
        Scenario::CycleWorkflow => scenarios::cycle::run(name, stage, size, Sort::Workflow).await,
        Scenario::Latency => scenarios::latency::run(name, stage, size).await,
        Scenario::Pull => scenarios::pull::run(name, stage, size).await,
        Scenario::IdlePullers => scenarios::pull::idle(name, stage, size).await,
        Scenario::Dashboards => scenarios::dashboards::run(name, stage, size).await,
        Scenario::Push => scenarios::push::run(name, stage, size).await,
        Scenario::Command => scenarios::command::run(name, stage, size).await,
        Scenario::Browse => scenarios::browse::run(name, stage, size, progress).await,
    }
}

fn bar(scenarios: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {pos}/{len} {msg}  {elapsed}").expect("a template of ours");
    let bar = ProgressBar::new(u64::try_from(scenarios).unwrap_or(0)).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
