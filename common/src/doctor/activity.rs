//! Jobs and workers: who is there, what is stuck, and what nobody does.

use super::{Faults, Finding, Jobs, Level, lasting, many};

/// Seconds beyond its lease after which a silent worker should have been declared dead: the duty comes twice a second.
const RESCUED_WITHIN: f64 = 15.0;
/// Seconds that the duties may be late.
const DONE_WITHIN: f64 = 30.0;
/// Seconds that jobs wait for a worker who knows their kind before that is told: one may just be starting.
const STARTS_WITHIN: f64 = 60.0;

const START_DUTIES: &str = "start an API or a worker: each of them does it; where one runs, its log says why not";

/// Whether anybody works, and who is gone without a word.
pub(super) fn workers(jobs: &Jobs) -> Finding {
    let mut faults = Faults::new();
    for worker in jobs.workers.iter().filter(|worker| !worker.pulls && worker.running > 0 && worker.silent > worker.lease + RESCUED_WITHIN) {
        faults.add(
            Level::Fail,
            format!(
                "{} has sent no heartbeat for {} (its lease: {}), holds {}, and nobody takes them back",
                worker.name,
                lasting(worker.silent),
                lasting(worker.lease),
                many(worker.running, "job")
            ),
            START_DUTIES,
        );
    }
    let alive = jobs.workers.iter().filter(|worker| worker.alive).count();
    if alive == 0 {
        faults.add(Level::Fail, "none is alive: jobs are taken, and wait".to_owned(), "start `longshore worker` with the same LONGSHORE_DATABASE__URL");
    }
    faults.finding("workers", || format!("{alive} alive"))
}

/// Jobs that run though their time is over.
pub(super) fn stuck(jobs: &Jobs) -> Finding {
    let mut faults = Faults::new();
    for job in &jobs.overdue {
        faults.add(
            Level::Fail,
            format!(
                "job {} ({} in {}) has been running for {}, its timeout is {}, at {}",
                job.id,
                job.kind,
                job.queue,
                lasting(job.running),
                lasting(job.timeout),
                job.worker
            ),
            format!("`longshore jobs cancel {}`; a worker whose handler does not let go: restart {}", job.id, job.worker),
        );
    }
    let mut finding = faults.finding("stuck", || "no job runs beyond its timeout".to_owned());
    if jobs.overdue_count > 3 {
        finding.detail += &format!(" ({} in all)", jobs.overdue_count);
    }
    finding
}

/// What every API and worker does on the side, and nobody has done.
pub(super) fn due(jobs: &Jobs) -> Finding {
    let mut faults = Faults::new();
    for undone in jobs.undone.iter().filter(|undone| undone.count > 0 && undone.age >= DONE_WITHIN) {
        let more = if undone.count >= 1000 { "or more " } else { "" };
        faults.add(Level::Fail, format!("{} {more}{} have been left undone, the oldest for {}", undone.count, undone.what, lasting(undone.age)), START_DUTIES);
    }
    faults.finding("due", || "what is due is done".to_owned())
}

/// Jobs that nobody can run.
pub(super) fn kinds(jobs: &Jobs) -> Finding {
    if jobs.workers.iter().all(|worker| !worker.alive) {
        return Finding::good("kinds", "not looked at: no worker is alive");
    }
    let mut faults = Faults::new();
    for waiting in jobs.waiting.iter().filter(|waiting| !waiting.paused && waiting.age >= STARTS_WITHIN) {
        let (queue, kind) = (&waiting.queue, &waiting.kind);
        faults.add(
            Level::Fail,
            format!("no live worker of queue {queue} knows the kind {kind}, of which {} since {} ago", waits(waiting.jobs), lasting(waiting.age)),
            format!("start a worker that serves {queue} and has a handler for {kind}; or `longshore jobs cancel --queue {queue} --kind {kind}`"),
        );
    }
    faults.finding("kinds", || "each that waits is known to a live worker".to_owned())
}

/// Jobs that wait because somebody wants them to.
pub(super) fn paused(jobs: &Jobs) -> Finding {
    let mut queues: Vec<(&str, i64, f64)> = Vec::new();
    for waiting in jobs.waiting.iter().filter(|waiting| waiting.paused) {
        match queues.iter_mut().find(|(queue, ..)| *queue == waiting.queue) {
            Some((_, jobs, age)) => (*jobs, *age) = (*jobs + waiting.jobs, age.max(waiting.age)),
            None => queues.push((&waiting.queue, waiting.jobs, waiting.age)),
        }
    }
    let mut faults = Faults::new();
    for (queue, jobs, age) in queues {
        faults.add(
            Level::Warn,
            format!("queue {queue} is paused, and {} there since {} ago", waits(jobs), lasting(age)),
            format!("`longshore queues resume {queue}`"),
        );
    }
    faults.finding("paused", || "no job waits in a paused queue".to_owned())
}

fn waits(jobs: i64) -> String {
    format!("{} {}", many(jobs, "job"), if jobs == 1 { "waits" } else { "wait" })
}
