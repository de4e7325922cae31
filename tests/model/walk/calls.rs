//! What callers and workers do.

use std::time::Duration;

use jiff::Timestamp;
use longshore_common::{
    job::{Call, Change, Effect, NewJob, OutcomeKind, Unique, When},
    json::RawJson,
    outcome::Outcome,
    store::{
        StoreError,
        claim::{Lease, QueueScan},
        control::ControlError,
        enqueue::{Enqueued, Origin},
    },
};
use proptest::{prop_assert, prop_assert_eq, sample::Index};

use super::{Walk, Walked};
use crate::{
    fixture::parsed,
    model::Met,
    step::{Due, New},
};

/// Beyond every walk.
const FAR_AWAY: &str = "2999-01-01T00:00:00Z";
const HOUR: Duration = Duration::from_hours(1);

/// As the store takes it. It waits an hour between attempts, so that nothing falls due by itself.
fn new_job(new: &New) -> NewJob {
    let unique =
        new.key.as_ref().map(|key| Unique { key: key.text.to_owned(), rule: key.rule, lasts: key.for_an_hour.then_some(HOUR), on_conflict: key.on_conflict });
    NewJob {
        when: if new.due == Due::Now { When::Now } else { When::After(HOUR) },
        expires_in: new.expires.then_some(HOUR),
        priority: Some(new.priority),
        max_attempts: Some(new.max_attempts),
        unique,
        ..parsed(r#"{"kind": "echo", "tags": ["a"], "meta": {"b": 1}, "retry": {"backoff": "fixed", "base": "1h", "jitter": 0}}"#)
    }
}

impl Walk<'_> {
    pub(super) async fn enqueue(&mut self, new: &[New]) -> Walked {
        let jobs: Vec<NewJob> = new.iter().map(new_job).collect();
        let mut would_be = self.model.clone();
        // ids that nobody has, in the order in which they will be given
        let refused = new.iter().zip(i64::MAX / 2..).position(|(new, id)| matches!(would_be.enqueue(new, id), Met::Refused { .. }));
        let before = self.before(refused.is_some()).await;
        match (self.store.enqueue(&jobs, &Origin::default()).await, refused) {
            (Err(StoreError::KeyHeld { index, .. }), Some(expected)) => {
                prop_assert_eq!(index, expected);
            }
            (Ok(enqueued), None) => {
                prop_assert_eq!(enqueued.len(), new.len());
                for (new, enqueued) in new.iter().zip(enqueued) {
                    let id = enqueued.id();
                    let (met, is) = (self.model.enqueue(new, id), enqueued);
                    match (met, is) {
                        (Met::Nobody, Enqueued::New { .. }) => self.ids.push(id),
                        (Met::Holder { id, replaced }, Enqueued::Duplicate { id: standing, replaced: became }) => {
                            prop_assert_eq!((standing, became), (id, replaced));
                            if replaced {
                                self.touched.insert(id);
                            }
                        }
                        (met, is) => prop_assert!(false, "{:?} became {:?}, by the model {:?}", new, is, met),
                    }
                }
            }
            (answer, refused) => prop_assert!(false, "{:?}, by the model {:?}", answer, refused),
        }
        self.unchanged_since(before).await
    }

    pub(super) async fn claim(&mut self, worker: usize, n: usize) -> Walked {
        let (number, stopped) = (self.crew.workers[worker].number, self.crew.workers[worker].stopped);
        let mut expected = self.model.best(n, |id| self.seen[&id].run_at);
        if stopped {
            expected.clear(); // it was declared dead
        }
        let before = self.before(expected.is_empty()).await;
        self.store.learn_lanes().await.expect("learn");
        let lanes: Vec<i32> = self.store.known_lanes().iter().map(|lane| lane.lane).collect();
        let claimed = self.store.claim(number, &mut QueueScan::default(), &lanes, n).await.expect("claim").jobs;
        prop_assert_eq!(claimed.iter().map(|job| job.lease.id).collect::<Vec<_>>(), expected);
        for leased in claimed {
            let job = self.model.jobs.get_mut(&leased.lease.id).expect("it was expected");
            job.claim(leased.lease.lease, worker);
            prop_assert_eq!((leased.attempt, leased.max_attempts, leased.priority), (job.attempt, job.max_attempts, job.priority));
            prop_assert_eq!(leased.expired, job.attempt == 1 && job.is_overdue());
            self.leases.push(leased.lease);
            self.touched.insert(leased.lease.id);
        }
        self.unchanged_since(before).await?;
        self.crew.replace(worker, self.fixture).await;
        Ok(())
    }

    pub(super) async fn report(&mut self, standing: bool, index: Index, kind: OutcomeKind, waits: bool) -> Walked {
        let held: Vec<Lease> = self.model.jobs.iter().filter_map(|(id, job)| Some(Lease { id: *id, lease: job.held?.0 })).collect();
        let never = self.ids.iter().map(|id| Lease { id: *id, lease: i64::MAX });
        let leases: Vec<Lease> = if standing && !held.is_empty() { held } else { self.leases.iter().copied().chain(never).collect() };
        if leases.is_empty() {
            return Ok(());
        }
        let lease = *index.get(&leases);
        let job = self.model.jobs.get_mut(&lease.id);
        let holds = job.as_ref().is_some_and(|job| job.held.is_some_and(|(held, _)| held == lease.lease));
        let repeated = job.as_ref().is_some_and(|job| job.history.iter().any(|ended| ended.lease == lease.lease && ended.outcome == kind));
        let before = self.before(!holds).await;
        let outcome = outcome(kind, waits);
        let reported = self.store.report(&[(lease, outcome.clone())]).await.expect("report");
        if holds {
            let job = self.model.jobs.get_mut(&lease.id).expect("it runs");
            // a time-out waits by the backoff, whatever the holder says
            job.end(kind, outcome.error(), waits || kind == OutcomeKind::TimedOut);
            prop_assert_eq!(reported.states, vec![(lease, job.state)]);
            prop_assert!(reported.stale.is_empty());
            self.touched.insert(lease.id);
        } else {
            prop_assert_eq!(reported.states, vec![]);
            prop_assert_eq!(!reported.stale.contains(&lease), repeated);
        }
        self.unchanged_since(before).await
    }

    pub(super) async fn call(&mut self, call: Call, index: Index) -> Walked {
        let Some(id) = self.id(index) else { return Ok(()) };
        if call == Call::Change {
            return self.ask_change(id, Change { priority: Some(7), ..Change::default() }, None).await;
        }
        let expected = self.model.jobs.get(&id).map(|job| job.state.on(call));
        let holder = if call == Call::Retry && matches!(expected, Some(Ok(_))) { self.model.key_holder(id) } else { None };
        let before = self.before(!matches!(expected, Some(Ok(_))) || holder.is_some()).await;
        let answer = match call {
            Call::Cancel => self.store.cancel(id).await,
            Call::Retry => self.store.retry(id).await,
            Call::Delete | Call::Change => self.store.delete(id).await,
        };
        match (expected, answer) {
            (None, Err(ControlError::NoJob(no))) => prop_assert_eq!(no, id),
            (Some(Err(not_now)), Err(ControlError::NotNow { why, .. })) => prop_assert_eq!(why, not_now),
            (Some(Ok(_)), Err(ControlError::KeyHeld { standing, .. })) => prop_assert_eq!(Some(standing), holder),
            (Some(Ok(expected)), Ok(effect)) if holder.is_none() => {
                prop_assert_eq!(effect, expected);
                self.touched.insert(id);
                let job = self.model.jobs.get_mut(&id).expect("it is there");
                match effect {
                    Effect::Becomes(state) if call == Call::Cancel => job.cancel(state),
                    Effect::Becomes(state) => job.retry(state),
                    Effect::Asked => job.asked = true,
                    Effect::Forgotten => drop(self.model.jobs.remove(&id)),
                    Effect::Changed => unreachable!("see above"),
                }
            }
            (expected, answer) => prop_assert!(false, "{:?}, by the model {:?}, holder {:?}", answer, expected, holder),
        }
        self.unchanged_since(before).await
    }

    pub(super) async fn change(&mut self, index: Index, due: Option<Due>, max_attempts: Option<i16>) -> Walked {
        let Some(id) = self.id(index) else { return Ok(()) };
        let run_at = due.map(|due| if due == Due::Now { Timestamp::UNIX_EPOCH } else { FAR_AWAY.parse().expect("a time") });
        self.ask_change(id, Change { run_at, max_attempts, ..Change::default() }, due).await
    }

    async fn ask_change(&mut self, id: i64, change: Change, due: Option<Due>) -> Walked {
        let expected = self.model.jobs.get(&id).map(|job| (job.state.on(Call::Change), job.attempt));
        let too_few = matches!((expected, change.max_attempts), (Some((Ok(_), attempt)), Some(most)) if most <= attempt);
        let before = self.before(too_few || !matches!(expected, Some((Ok(_), _)))).await;
        match (expected, self.store.change(id, &change).await) {
            (None, Err(ControlError::NoJob(no))) => prop_assert_eq!(no, id),
            (Some((Err(not_now), _)), Err(ControlError::NotNow { why, .. })) => prop_assert_eq!(why, not_now),
            (Some((_, had)), Err(ControlError::TooFewAttempts { attempt, .. })) if too_few => prop_assert_eq!(attempt, had),
            (Some((Ok(expected), _)), Ok(effect)) if !too_few => {
                prop_assert_eq!(effect, expected);
                self.touched.insert(id);
                let job = self.model.jobs.get_mut(&id).expect("it is there");
                job.priority = change.priority.unwrap_or(job.priority);
                job.max_attempts = change.max_attempts.unwrap_or(job.max_attempts);
                if let Some(due) = due {
                    job.move_to(due);
                }
            }
            (expected, answer) => prop_assert!(false, "{:?}, by the model {:?}, too few: {}", answer, expected, too_few),
        }
        self.unchanged_since(before).await
    }

    pub(super) async fn pause(&mut self, paused: bool) -> Walked {
        if !self.seen.is_empty() {
            prop_assert!(self.store.pause_queue("default", paused).await.expect("pause"), "it is there, since it holds jobs");
            self.model.paused = paused;
        }
        Ok(())
    }

    /// All tables, where the call that follows is to change none.
    async fn before(&self, refused: bool) -> Option<String> {
        if refused { Some(self.tables.everything().await) } else { None }
    }

    async fn unchanged_since(&self, before: Option<String>) -> Walked {
        if let Some(before) = before {
            prop_assert_eq!(self.tables.everything().await, before, "a call that does nothing changes nothing");
        }
        Ok(())
    }
}

fn outcome(kind: OutcomeKind, waits: bool) -> Outcome {
    let delay = if waits { HOUR } else { Duration::ZERO };
    let error = || "said so".to_owned();
    match kind {
        OutcomeKind::Succeeded => Outcome::Succeeded { result: Some(RawJson::empty_object()) },
        OutcomeKind::Failed => Outcome::Failed { error: "no".to_owned(), retry_in: Some(delay) },
        OutcomeKind::TimedOut => Outcome::TimedOut { error: error() },
        OutcomeKind::Snoozed => Outcome::Snoozed { delay },
        OutcomeKind::HandedBack => Outcome::HandedBack,
        OutcomeKind::Cancelled => Outcome::Cancelled { error: waits.then(error) },
        OutcomeKind::Discarded => Outcome::Discarded { error: error() },
        OutcomeKind::Expired => Outcome::Expired,
        OutcomeKind::Lost => unreachable!("no holder reports a loss"),
    }
}
