//! Workers that are gone, jobs that are stuck, and what nobody does.

use nix::sys::signal::Signal;

use crate::{
    place::{Place, SOON},
    support::{eventually::eventually, process::Program},
};

impl Place {
    /// Enqueues, and waits until the job runs.
    async fn start_job(&self, length: &str, timeout: &str) -> i64 {
        let id = self.one(&format!("select longshore.enqueue('sleep', '{{\"for\": \"{length}\"}}', timeout => '{timeout}')")).await;
        eventually("the job runs", SOON, async || self.one::<bool>(&format!("select exists (select from longshore.running where id = {id})")).await).await;
        id
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_killed_while_nobody_else_is_there() {
    let mut place = Place::start().await;
    place.start_job("10m", "1h").await;
    place.is_quiet().await;
    let name: String = place.one("select name from longshore.workers").await;
    let mut worker = place.worker.take().expect("it runs");
    worker.kill();
    place.run("update longshore.workers set last_seen = last_seen - interval '1 min'").await; // as time will
    let detail = [&name[..], "has sent no heartbeat for 1m", "holds 1 job, and nobody takes them back", "none is alive"];
    place.is_told("workers", "fail", &detail, &["start an API or a worker", "longshore worker"]).await;
    place.start_worker().await;
    place.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_far_beyond_its_timeout() {
    let place = Place::start().await;
    let id = place.start_job("10m", "30 min").await;
    place.is_quiet().await;
    place.run("update longshore.running set started_at = started_at - interval '1 hour'").await;
    let name: String = place.one("select name from longshore.workers").await;
    let detail = [&format!("job {id} (sleep in default) has been running for 1h")[..], "its timeout is 30m", &name];
    place.is_told("stuck", "fail", &detail, &[&format!("longshore jobs cancel {id}"), &format!("restart {name}")]).await;
    let id = id.to_string();
    let mut cancel = Program::longshore(["jobs", "cancel", &id]).env("LONGSHORE_DATABASE__URL", &place.url).start();
    assert!(cancel.wait_exit(SOON).await.success());
    place.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_nobody_knows_and_paused_queues() {
    let place = Place::start().await;
    place.run("select longshore.enqueue('send_fax', '{}', queue => 'office') from generate_series(1, 3)").await;
    place.is_quiet().await; // a worker may just be starting
    let aged = "update longshore.job_data set run_at = run_at - interval '1 hour';
                update longshore.ready set run_at = run_at - interval '1 hour'";
    place.run(aged).await;
    let detail = "no live worker of queue office knows the kind send_fax, of which 3 jobs wait since 1h";
    place.is_told("kinds", "fail", &[detail], &["a handler for send_fax", "longshore jobs cancel --queue office --kind send_fax"]).await;
    place.run("select longshore.pause('office')").await;
    place.is_told("paused", "warn", &["queue office is paused, and 3 jobs wait there since 1h"], &["longshore queues resume office"]).await;
    for args in [["queues", "resume", "office", ""], ["jobs", "cancel", "--queue=office", "--kind=send_fax"]] {
        let args: Vec<&str> = args.into_iter().filter(|arg| !arg.is_empty()).chain((args[0] == "jobs").then_some("--yes")).collect();
        let mut command = Program::longshore(args).env("LONGSHORE_DATABASE__URL", &place.url).start();
        assert!(command.wait_exit(SOON).await.success());
    }
    place.is_quiet().await;
}

/// Its heartbeats come, in its name; but nothing is done by it.
#[tokio::test(flavor = "multi_thread")]
async fn duties_that_nobody_does() {
    let mut place = Place::start().await;
    place.run("select longshore.enqueue('echo', '{}', run_at => now() + interval '1 hour')").await;
    let worker = place.worker.as_mut().expect("it runs");
    worker.signal(Signal::SIGSTOP);
    place
        .run(
            "update longshore.workers set last_seen = now() + interval '10 min';
             update longshore.job_data set run_at = run_at - interval '2 hours';
             update longshore.scheduled set run_at = run_at - interval '2 hours'",
        )
        .await;
    place.is_told("due", "fail", &["1 scheduled jobs that are due have been left undone, the oldest for 1h"], &["start an API or a worker"]).await;
    place.worker.as_mut().expect("it runs").signal(Signal::SIGCONT);
    place.is_quiet().await;
}
