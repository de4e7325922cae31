//! `longshore jobs tail`: what happens, a line an event.

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use longshore_common::{
    job::{JobState, Kind, QueueName},
    json, program,
    store::events::{Event, EventFilter, GAP},
};
use serde_json::json;

use crate::{
    backend::{Backend, Events, Heard, Place, is_away},
    output,
};

/// How long to wait before an API or a database that went away is tried again.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct TailArgs {
    /// Only what happens in this queue, or to its jobs; may be repeated
    #[arg(long, value_parser = QueueName::new)]
    queue: Vec<QueueName>,
    /// Only what happens to jobs of this kind; may be repeated
    #[arg(long, value_parser = Kind::new)]
    kind: Vec<Kind>,
    /// Only what happens to this job, until it has ended; may be repeated
    #[arg(long = "job", value_name = "ID", value_parser = clap::value_parser!(i64).range(0..))]
    jobs: Vec<i64>,
    /// Print an event a line as JSON, as GET /v1/events gives it
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
It begins with what happens from now on and goes on until Ctrl-C, which ends it with 0. A line \"gap\" says that
some events were missed. Where the database or the API goes away, it says so on the standard error output, and
goes on when that is back: over HTTP, and mostly at the database, without missing anything of five minutes.

With --job it follows these jobs to their ends, those that have ended already included, and then exits: with 0
where all have succeeded, with 1 where one has failed, was cancelled or deleted, or is not there.

Examples:
  longshore jobs tail --queue emails
  longshore jobs tail --kind send_email --json | jq -r 'select(.event == \"job.failed\") | .error'
  id=$(longshore enqueue report --json | jq '.ids[0]') && longshore jobs tail --job $id";

pub async fn run(args: &TailArgs, place: &Place) -> anyhow::Result<ExitCode> {
    let backend = place.open().await?;
    let stop = program::stop_on_signals()?;
    tokio::select! {
        ended = follow(&backend, args) => ended,
        () = stop.cancelled() => Ok(ExitCode::SUCCESS),
    }
}

async fn follow(backend: &Backend, args: &TailArgs) -> anyhow::Result<ExitCode> {
    let filter = EventFilter {
        queues: args.queue.iter().map(ToString::to_string).collect(),
        kinds: args.kind.iter().map(ToString::to_string).collect(),
        job_ids: args.jobs.iter().copied().collect(),
    };
    let mut events = Events::of(backend, filter);
    let mut followed = Followed { left: args.jobs.iter().copied().collect(), unsure: true, well: true };
    let mut told: Option<bool> = None; // whether it was said last that it is there, or that it is away
    loop {
        match step(&mut events, &mut followed, backend).await {
            Ok(heard) => {
                match told.replace(true) {
                    Some(true) => {}
                    Some(false) => eprintln!("longshore: {} is back", backend.shown()),
                    None => eprintln!("longshore: watching {}; Ctrl-C ends it", backend.shown()),
                }
                for one in &heard {
                    followed.hear(one);
                    let line = if args.json { as_json(one)? } else { output::harmless(&(for_people(one) + &on_worker(backend, args, one).await)).into_owned() };
                    if !output::line(&line)? {
                        return Ok(ExitCode::SUCCESS); // nobody reads it any more
                    }
                }
            }
            Err(error) if is_away(&error) => {
                if told.replace(false) != Some(false) {
                    eprintln!("longshore: {} is away, and is tried again: {error:#}", backend.shown());
                }
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(error),
        }
        if !args.jobs.is_empty() && followed.left.is_empty() {
            return Ok(if followed.well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
}

async fn step(events: &mut Events<'_>, followed: &mut Followed, backend: &Backend) -> anyhow::Result<Vec<Heard>> {
    if let Some(missed) = events.begin().await?
        && !missed.is_empty()
    {
        return Ok(missed);
    }
    if followed.unsure {
        followed.look(backend).await?;
        return Ok(Vec::new());
    }
    events.next().await
}

/// Jobs whose ends are waited for.
struct Followed {
    left: BTreeSet<i64>,
    /// One may have ended without an event that is heard: before the first one, or in a gap.
    unsure: bool,
    /// All that have ended have succeeded.
    well: bool,
}

impl Followed {
    fn hear(&mut self, heard: &Heard) {
        match heard {
            Heard::Gap(_) => self.unsure = true,
            Heard::Event(event) => {
                let ended = match &event.event[..] {
                    "job.succeeded" => Some(true),
                    "job.failed" | "job.cancelled" | "job.deleted" => Some(false),
                    _ => None,
                };
                if let (Some(id), Some(well)) = (event.job_id, ended)
                    && self.left.remove(&id)
                {
                    self.well &= well;
                }
            }
        }
    }

    async fn look(&mut self, backend: &Backend) -> anyhow::Result<()> {
        for id in self.left.clone() {
            let state = backend.job(id).await?.map(|(job, _)| job.state);
            if state.is_some_and(|state| !state.is_finished()) {
                continue;
            }
            match state {
                Some(state) => eprintln!("longshore: job {id} is {}", state.word()),
                None => eprintln!("longshore: there is no job {id} in {}, or it was forgotten", backend.shown()),
            }
            self.well &= state == Some(JobState::Succeeded);
            self.left.remove(&id);
        }
        self.unsure = false;
        Ok(())
    }
}

/// Who runs it: no event says so, and looking at each of very many jobs would cost too much.
async fn on_worker(backend: &Backend, args: &TailArgs, heard: &Heard) -> String {
    if let Heard::Event(event) = heard
        && event.event == "job.started"
        && !args.jobs.is_empty()
        && let Some(id) = event.job_id
        && let Ok(Some((job, _))) = backend.job(id).await
        && let Some(worker) = job.worker
    {
        return format!("  on {worker}");
    }
    String::new()
}

fn as_json(heard: &Heard) -> anyhow::Result<String> {
    Ok(match heard {
        Heard::Event(event) => json::on_one_line(&serde_json::to_string(event)?), // progress is told as it came
        Heard::Gap(missed) => json!({ "event": GAP, "missed": missed }).to_string(),
    })
}

fn for_people(heard: &Heard) -> String {
    let event = match heard {
        Heard::Event(event) => event,
        Heard::Gap(Some(missed)) => return format!("gap: {missed} events were missed"),
        Heard::Gap(None) => return "gap: some events were missed".to_owned(),
    };
    let Event { event, at, job_id, kind, queue, attempt, progress, error, .. } = &**event;
    let id = job_id.map(|id| id.to_string()).unwrap_or_default();
    let [kind, queue] = [kind, queue].map(|name| name.as_deref().unwrap_or_default());
    let attempt = attempt.filter(|attempt| *attempt > 0).map(|attempt| format!("attempt {attempt}")).unwrap_or_default();
    let progress = progress.as_ref().map(|progress| output::shortened(progress.as_str(), 40)).unwrap_or_default();
    let error = error.as_deref().map(|error| output::shortened(error, 80)).unwrap_or_default();
    let line = format!("{}  {event:<15} {id:>8}  {kind:<20} {queue:<15} {attempt:<10} {progress}{error}", output::time(*at));
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_ends_once_and_a_gap_makes_unsure() {
        let told = |event: &str, id: i64| {
            let data =
                format!(r#"{{"event": "{event}", "at": "2030-01-31T12:00:00Z", "job_id": {id}, "kind": "k", "queue": "q", "attempt": 1, "error": "a\nb"}}"#);
            Heard::Event(serde_json::from_str(&data).expect("an event"))
        };
        let mut followed = Followed { left: [1, 2].into(), unsure: false, well: true };
        for (heard, left, well, unsure) in [
            (told("job.retryable", 1), 2, true, false),
            (told("job.failed", 3), 2, true, false),
            (told("job.succeeded", 2), 1, true, false),
            (Heard::Gap(Some(1)), 1, true, true),
            (told("job.cancelled", 1), 0, false, true),
        ] {
            followed.hear(&heard);
            assert_eq!((followed.left.len(), followed.well, followed.unsure), (left, well, unsure), "{heard:?}");
        }
        assert_eq!(for_people(&told("job.failed", 3)), "2030-01-31T12:00:00Z  job.failed             3  k                    q               attempt 1  a b");
        assert_eq!(as_json(&Heard::Gap(Some(2))).expect("JSON"), r#"{"event":"gap","missed":2}"#);
    }
}
