//! The table of states in `job/state.rs` against what the statements do: every state, every transition.

use std::time::Duration;

use longshore_common::{
    job::{
        IfFailed, JobState, NewJob, NewTask, NewWorkflow, TaskName, Upstream,
        state::{OutcomeKind, Transition},
    },
    outcome::Outcome,
    store::{claim::Lease, enqueue::Origin, workers::WorkerNumber},
};

use crate::fixture::{Fixture, in_queue, job, parsed};

/// A job that comes after another, which is due in an hour.
async fn blocked(f: &Fixture, new: NewJob) -> i64 {
    let name = |name| TaskName::new(name).expect("a name");
    let first = in_queue("first", NewJob { when: longshore_common::job::When::After(Duration::from_hours(1)), ..job("echo") });
    let tasks = vec![
        NewTask { name: name("first"), place: 0, job: first, after: vec![], if_failed: IfFailed::Cancel },
        NewTask { name: name("second"), place: 1, job: new, after: vec![Upstream::New(0)], if_failed: IfFailed::Cancel },
    ];
    f.store.make_workflow(None, &NewWorkflow { name: None, tasks }, &Origin::default(), None).await.expect("make");
    f.sql.query_one("select max(id) from longshore.job_data", &[]).await.expect("look").get(0)
}

/// Brings a new job into a state; the lease is that of its last attempt, or one that it never had.
pub async fn job_in(f: &Fixture, state: JobState, worker: WorkerNumber, new: NewJob) -> (i64, Lease) {
    let never = |id| Lease { id, lease: 1_000_000 };
    let ended = async |outcome: Outcome| {
        let lease = f.leased(worker, new.clone()).await;
        f.store.report(&[(lease, outcome)]).await.expect("report");
        lease
    };
    let lease = match state {
        JobState::Scheduled => never(f.enqueue_one(NewJob { when: longshore_common::job::When::After(Duration::from_hours(1)), ..new }).await),
        JobState::Available => never(f.enqueue_one(new).await),
        JobState::Running => f.leased(worker, new).await,
        JobState::Retryable => ended(Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::from_hours(1)) }).await,
        JobState::Blocked => never(blocked(f, new).await),
        JobState::Succeeded => ended(Outcome::Succeeded { result: None }).await,
        JobState::Failed => ended(Outcome::Discarded { error: "no".to_owned() }).await,
        JobState::Cancelled => ended(Outcome::Cancelled { error: None }).await,
    };
    assert_eq!(f.state(lease.id).await, state.word());
    (lease.id, lease)
}

async fn after(f: &Fixture, from: JobState, id: i64, transition: Transition) {
    let expected = from.after(transition).unwrap_or(from);
    assert_eq!(f.state(id).await, expected.word(), "{from:?} after {transition:?}");
}

#[tokio::test]
async fn promotion() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for state in JobState::ALL {
        let (id, _) = job_in(&f, state, worker, job("echo")).await;
        f.run(
            "with d as (update longshore.job_data set run_at = now() - interval '1 s' where run_at > now() returning id)
               update longshore.scheduled s set run_at = now() - interval '1 s' from d where d.id = s.id",
        )
        .await;
        f.store.promote(100, None).await.expect("promote");
        after(&f, state, id, Transition::Promote).await;
        f.run("delete from longshore.ready r using longshore.job_data j where j.id = r.id; delete from longshore.job_data j where not exists (select from longshore.places p where p.id = j.id)").await;
    }
}

#[tokio::test]
async fn claim() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for state in JobState::ALL {
        let (id, _) = job_in(&f, state, worker, job("echo")).await;
        f.claim(worker, 100).await;
        after(&f, state, id, Transition::Claim).await;
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn expiry() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for state in JobState::ALL {
        let (id, _) = job_in(&f, state, worker, parsed(r#"{"kind": "echo", "expires_in": "1h"}"#)).await;
        f.run(
            "with d as (update longshore.job_data set expires_at = now() - interval '1 s' where expires_at is not null returning id)
               update longshore.expiring e set expires_at = now() - interval '1 s' from d where d.id = e.id",
        )
        .await;
        f.store.expire(100).await.expect("expire");
        after(&f, state, id, Transition::Expire { started: state == JobState::Retryable }).await;
        f.claim(worker, 100).await; // leaves none available for the next round
    }
    f.assert_no_violations().await;
}

fn outcome(kind: OutcomeKind, waits: bool) -> Outcome {
    let delay = if waits { Duration::from_hours(1) } else { Duration::ZERO };
    let error = || "said so".to_owned();
    match kind {
        OutcomeKind::Succeeded => Outcome::Succeeded { result: None },
        OutcomeKind::Failed => Outcome::Failed { error: error(), retry_in: Some(delay) },
        OutcomeKind::TimedOut => Outcome::TimedOut { error: error() },
        OutcomeKind::Snoozed => Outcome::Snoozed { delay },
        OutcomeKind::HandedBack => Outcome::HandedBack,
        OutcomeKind::Cancelled => Outcome::Cancelled { error: None },
        OutcomeKind::Discarded => Outcome::Discarded { error: error() },
        OutcomeKind::Expired => Outcome::Expired,
        OutcomeKind::Lost => unreachable!("no holder reports a loss"),
    }
}

#[tokio::test]
async fn the_end_of_an_attempt() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for state in JobState::ALL {
        for kind in OutcomeKind::ALL.into_iter().filter(|k| *k != OutcomeKind::Lost) {
            for waits in [true, false] {
                for max_attempts in [1, 25] {
                    if state == JobState::Retryable && max_attempts == 1 {
                        continue; // there is no such job
                    }
                    let (id, lease) = job_in(&f, state, worker, NewJob { max_attempts: Some(max_attempts), ..job("echo") }).await;
                    f.store.report(&[(lease, outcome(kind, waits))]).await.expect("report");
                    // a time-out waits by the backoff, whatever the holder says
                    let waits = waits || kind == OutcomeKind::TimedOut;
                    let transition = Transition::End { outcome: kind, attempt: 1, max_attempts: u32::try_from(max_attempts).expect("small"), losses: 0, waits };
                    after(&f, state, id, transition).await;
                    f.claim(worker, 100).await;
                }
            }
        }
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn losses() {
    let f = Fixture::new().await;
    for max_attempts in [2, 25] {
        let id = f.enqueue_one(NewJob { max_attempts: Some(max_attempts), ..job("echo") }).await;
        for losses in 1..=3_u32 {
            let worker = f.worker(&format!("w-{max_attempts}-{losses}")).await;
            assert_eq!(f.claim(worker, 1).await.jobs[0].attempt, i16::try_from(losses).expect("small"));
            f.run("update longshore.workers set last_seen = now() - interval '1 h' where stopped_at is null").await;
            f.store.rescue().await.expect("rescue");
            let max = u32::try_from(max_attempts).expect("small");
            let transition = Transition::End { outcome: OutcomeKind::Lost, attempt: losses, max_attempts: max, losses, waits: true };
            after(&f, JobState::Running, id, transition).await;
            if f.state(id).await == "failed" {
                break;
            }
            f.run("with d as (update longshore.job_data set run_at = now() where run_at > now() returning id, run_at) update longshore.scheduled s set run_at = d.run_at from d where d.id = s.id").await;
            f.store.promote(10, None).await.expect("promote");
        }
    }
    let errors = f.sql.query("select error from longshore.finished order by id", &[]).await.expect("look");
    let errors: Vec<&str> = errors.iter().map(|row| row.get(0)).collect();
    assert!(errors[0].contains("was not heard of for"), "{errors:?}");
    assert_eq!(errors[1], "its worker died 3 times");
    f.assert_no_violations().await;
}
