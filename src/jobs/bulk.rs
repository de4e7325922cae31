//! `longshore jobs cancel|retry|delete`, of jobs by their ids or by a filter. Of many, it does what one call of the API does,
//! again and again until there are no more.

use std::{
    io::{BufRead, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use longshore_common::{
    duration,
    job::{Bulk, Call, Rate},
    store::bulk::{Bulked, Rehearsed},
};
use serde_json::json;

use super::{control, filter::FilterArgs, list};
use crate::{
    backend::{Backend, Place},
    command::WrongUse,
    output,
};

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct CallArgs {
    /// The jobs' ids; or say with flags which jobs are meant
    #[arg(conflicts_with_all = ["FilterArgs", "all", "dry_run", "yes"])]
    ids: Vec<i64>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Every job that the call goes with
    #[arg(long, conflicts_with = "FilterArgs")]
    all: bool,
    /// Change nothing; tell how many it would be, and show five of them
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Print what became of it, for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    #[command(flatten)]
    pub call: CallArgs,
    /// Of finished jobs: let so many run in a time, evenly, as in 10/s, 500/m, 30/10s
    #[arg(long, value_name = "N/TIME", value_parser = rate, conflicts_with = "ids")]
    pub rate: Option<Rate>,
}

fn rate(text: &str) -> Result<Rate, String> {
    let (limit, per) = text.split_once('/').filter(|(_, per)| !per.is_empty()).ok_or("must be a number and a time, such as 10/s or 30/10s")?;
    let limit: u32 = limit
        .parse()
        .ok()
        .filter(|n| Rate::LIMIT.contains(&i64::from(*n)))
        .ok_or_else(|| format!("must begin with a number from 1 to {}", Rate::LIMIT.end()))?;
    // a bare unit is one of it
    let per = if per.starts_with(|c: char| c.is_ascii_digit()) { per.to_owned() } else { format!("1{per}") };
    let per = duration::parse(&per)?;
    if !Rate::PER.contains(&per) {
        return Err(format!("its time must be from {} to {}", duration::display(*Rate::PER.start()), duration::display(*Rate::PER.end())));
    }
    Ok(Rate { limit, per, from: None })
}

pub async fn run(call: Call, args: &CallArgs, rate: Option<Rate>, place: &Place) -> anyhow::Result<ExitCode> {
    if !args.ids.is_empty() {
        return control::run(call, &args.ids, args.json, place).await;
    }
    let filter = args.filter.read()?;
    if filter.is_empty() && !args.all {
        return Err(
            WrongUse("which jobs? Give their ids, or say with --state, --queue, --kind, --tag and the like which are meant, or --all".to_owned()).into()
        );
    }
    let bulk = Bulk { call, filter, rate, dry_run: args.dry_run };
    if !args.dry_run && !args.yes && !may_ask() {
        return Err(WrongUse("nobody is there to be asked (this is no terminal): say --yes, or look first with --dry-run".to_owned()).into());
    }
    let backend = place.open().await?;
    if args.dry_run {
        return tell(&backend.rehearse(&bulk).await?, call, args.json);
    }
    if !args.yes && !confirmed(&backend.rehearse(&bulk).await?, call)? {
        output::print("Nothing was changed.")?;
        return Ok(ExitCode::FAILURE);
    }
    let mut done = Bulked::default();
    let progress = if args.json || !std::io::stderr().is_terminal() { ProgressBar::hidden() } else { bar() };
    let result = do_all(&backend, bulk, &progress, &mut done).await;
    progress.finish_and_clear();
    if call == Call::Retry && !done.queues.is_empty() {
        backend.wake(&done.queues).await;
    }
    result.with_context(|| format!("at least {} {} before", are(done.count, "was", "were"), past(call)))?;
    if args.json {
        let mut totals = json!({"count": done.count});
        if let Some(time) = done.last_run_at {
            totals["last_run_at"] = json!(time);
        }
        output::print_json(&totals)?;
    } else {
        let until = done.last_run_at.map(|time| format!("; the last one is due {}", output::time(time))).unwrap_or_default();
        output::print(&format!("{} {}{until}.", are(done.count, "is", "are"), past(call)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Calls until there are no more; where there is a rate, each call goes on where the one before it ended.
async fn do_all(backend: &Backend, mut bulk: Bulk, progress: &ProgressBar, done: &mut Bulked) -> anyhow::Result<()> {
    loop {
        let before = done.count;
        let step = backend
            .bulk(&bulk, |count| {
                let all = before + count;
                let rate = u64::try_from(all).unwrap_or(0) * 1000 / u64::try_from(progress.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
                progress.set_message(format!("{} jobs {}, {} a second", grouped(all), past(bulk.call), output::grouped(rate)));
            })
            .await?;
        done.count += step.count;
        done.last_run_at = step.last_run_at.max(done.last_run_at);
        done.queues.extend(step.queues);
        if !step.more {
            return Ok(());
        }
        if let (Backend::Http(_), Some(_), Some(last)) = (backend, bulk.rate, step.last_run_at) {
            bail!("there are more, which over HTTP would be due from now on, beside these: run it again at {}", output::time(last));
        }
        bulk.rate = bulk.rate.map(|rate| Rate { from: next(rate, step.last_run_at).or(rate.from), ..rate });
    }
}

/// When the one after the last is due.
fn next(rate: Rate, last: Option<Timestamp>) -> Option<Timestamp> {
    last.and_then(|time| time.checked_add(rate.after(1)).ok())
}

fn tell(found: &Rehearsed, call: Call, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::print_json(&json!({"count": found.count, "more": found.more, "items": found.items}))?;
    } else {
        output::print(&for_people(found, call))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn for_people(found: &Rehearsed, call: Call) -> String {
    let more = if found.more { "more than " } else { "" };
    let shown = if found.items.is_empty() { "." } else { "; the newest of them:" };
    let mut text = format!("{more}{} {}{shown}", are(found.count, "would be", "would be"), past(call));
    if !found.items.is_empty() {
        text = format!("{text}\n\n{}", list::for_people(&found.items));
    }
    text
}

/// Whether somebody can read a question and answer it.
fn may_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn confirmed(found: &Rehearsed, call: Call) -> anyhow::Result<bool> {
    eprint!("{}\n\nGo on? [y/N] ", output::harmless(&for_people(found, call)));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("could not read the answer")?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn past(call: Call) -> &'static str {
    match call {
        Call::Cancel => "cancelled",
        Call::Retry => "retried",
        Call::Delete => "deleted",
        Call::Change => "changed",
    }
}

/// So many jobs are.
fn are(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 job {one}") } else { format!("{} jobs {many}", grouped(count)) }
}

fn grouped(count: usize) -> String {
    output::grouped(u64::try_from(count).unwrap_or(u64::MAX))
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed}").expect("a template of ours");
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_time() {
        for (text, limit, seconds) in [("10/s", 10, 1), ("500/m", 500, 60), ("30/10s", 30, 10), ("1/1h30m", 1, 5400)] {
            assert_eq!(rate(text), Ok(Rate { limit, per: Duration::from_secs(seconds), from: None }), "{text}");
        }
        for text in ["", "10", "/s", "10/", "0/s", "-1/s", "1.5/s", "10/fortnight", "10/0s", "1/25h", "1000001/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
