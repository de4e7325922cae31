//! Several callers, workers and duties at once on a few jobs, at random, for thousands of calls. Nobody can say then which answer
//! is right; but each must be right for some state, and the histories that are left must be ones that the model allows.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use longshore_common::{
    job::{Call, Change, JobState, OutcomeKind, state::Transition},
    outcome::Outcome,
    store::{
        Store, StoreError,
        claim::{Lease, QueueScan},
        control::ControlError,
        enqueue::Origin,
        workers::{Registration, WorkerNumber},
    },
};

use crate::{
    fixture::{Fixture, parsed},
    support::postgres::connect,
    tables::{Histories, Tables},
};

/// Who is at it at once, and how often each does something.
const CROWD: u64 = 6;
const CALLS: u32 = 1200;
/// The youngest jobs and leases, which all are about.
const FEW: usize = 6;

/// What all know.
#[derive(Default)]
struct Shared {
    ids: Vec<i64>,
    leases: Vec<Lease>,
}

/// What one of them was told.
#[derive(Default)]
struct Told {
    claimed: Vec<(Lease, i16)>,
    recorded: Vec<(Lease, OutcomeKind, JobState)>,
    retried: Vec<i64>,
}

struct Member {
    name: u64,
    store: Store,
    tables: Tables,
    shared: Arc<Mutex<Shared>>,
    chance: fastrand::Rng,
    told: Told,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_at_once_is_what_the_model_allows() {
    let seed = fastrand::u64(..);
    println!("seed: {seed}");
    let fixture = Fixture::new().await;
    let shared = Arc::new(Mutex::new(Shared::default()));
    let mut crowd = Vec::new();
    for name in 0..CROWD {
        let tables = Tables::new(connect(fixture.database.url()).await).await;
        let chance = fastrand::Rng::with_seed(seed.wrapping_add(name));
        let member = Member { name, store: fixture.store.clone(), tables, shared: shared.clone(), chance, told: Told::default() };
        crowd.push(tokio::spawn(member.live()));
    }
    while !crowd.iter().all(tokio::task::JoinHandle::is_finished) {
        fixture.assert_no_violations().await; // in the middle of it all: the view is one snapshot
    }
    let mut told = Told::default();
    for member in crowd {
        let one = member.await.expect("no panic");
        told.claimed.extend(one.claimed);
        told.recorded.extend(one.recorded);
        told.retried.extend(one.retried);
    }
    fixture.assert_no_violations().await;
    let tables = Tables::new(connect(fixture.database.url()).await).await;
    hold_against(&told, &tables.histories().await);
    tables.run("update longshore.workers set last_seen = now() - interval '1 h'").await;
    fixture.store.rescue().await.expect("rescue");
    assert_eq!(tables.forget_all_jobs().await, Vec::<String>::new());
}

/// The histories that are left against what everybody was told.
fn hold_against(told: &Told, histories: &Histories) {
    let claimed: HashMap<Lease, i16> = told.claimed.iter().copied().collect();
    assert_eq!(claimed.len(), told.claimed.len(), "no job was leased twice under one number");
    let recorded: HashMap<Lease, OutcomeKind> = told.recorded.iter().map(|(lease, outcome, _)| (*lease, *outcome)).collect();
    assert_eq!(recorded.len(), told.recorded.len(), "no attempt was ended twice");
    for (lease, outcome, state) in &told.recorded {
        assert!(may_become(*outcome, claimed[lease], *state), "{lease:?} became {state:?} by {outcome:?}");
    }
    let mut lost = 0;
    for (id, history) in histories {
        let (mut counted, mut ends) = (0, 0); // of those before
        for (n, (lease, attempt, outcome)) in history.iter().enumerate() {
            let lease = Lease { id: *id, lease: *lease };
            let before = n.checked_sub(1).and_then(|n| history[n].2);
            // one that was to be cancelled ends by whatever its holder says: then that counts
            let ended = before.is_some_and(|outcome| is_final(outcome) || !outcome.counts() && *attempt == counted + 2);
            counted += i16::from(before.is_some_and(|outcome| outcome.counts() || ended));
            ends += usize::from(ended);
            assert_eq!((claimed[&lease], *attempt), (counted + 1, counted + 1), "{lease:?} of {history:?}");
            match outcome {
                Some(OutcomeKind::Lost) => {
                    lost += 1;
                    assert!(!recorded.contains_key(&lease), "{lease:?} was lost, and its holder told that its outcome counts");
                }
                outcome => assert_eq!(recorded.get(&lease), outcome.as_ref(), "{lease:?} of {history:?}"),
            }
        }
        let of_it = claimed.keys().filter(|lease| lease.id == *id).count();
        assert_eq!(history.len(), of_it, "each lease of job {id} is in its history: {history:?}");
        let retries = told.retried.iter().filter(|retried| *retried == id).count();
        assert!(ends <= retries, "job {id} went on after its end {ends} times, and was retried {retries} times: {history:?}");
    }
    assert!(histories.len() > 20 && recorded.len() > 200 && lost > 5, "much has happened: {} jobs, {} outcomes, {lost} lost", histories.len(), recorded.len());
}

fn is_final(outcome: OutcomeKind) -> bool {
    matches!(outcome, OutcomeKind::Succeeded | OutcomeKind::Discarded | OutcomeKind::Cancelled | OutcomeKind::Expired)
}

/// Whether a running job may have become that, however many attempts it may have and whether or not it was to be cancelled.
fn may_become(outcome: OutcomeKind, attempt: i16, state: JobState) -> bool {
    let attempt = u32::try_from(attempt).expect("positive");
    let asked = outcome != OutcomeKind::Succeeded && state == JobState::Cancelled;
    let by_itself = [(attempt, true), (attempt, false), (attempt + 1, true), (attempt + 1, false)]
        .into_iter()
        .any(|(max_attempts, waits)| JobState::Running.after(Transition::End { outcome, attempt, max_attempts, losses: 0, waits }) == Ok(state));
    asked || by_itself
}

impl Member {
    /// Does something at random, again and again, and now and then dies as a worker.
    async fn live(mut self) -> Told {
        let mut worker = self.be_born(0).await;
        for n in 0..CALLS {
            match self.chance.u32(..40) {
                0..8 => self.enqueue().await,
                8..16 => self.claim(worker).await,
                16..24 => self.report().await,
                24..33 => self.call().await,
                33..35 => drop(self.store.promote(10, None).await.expect("promote")),
                35 => drop(self.store.expire(10).await.expect("expire")),
                36 => drop(self.store.rescue().await.expect("rescue")),
                37 => self.prune().await,
                38 => drop(self.store.fold_tally().await.expect("fold")),
                _ => worker = self.be_born(n + 1).await, // what it holds is rescued when its lease is over
            }
            if self.chance.bool() && !self.store.heartbeat(worker, Duration::ZERO).await.expect("heartbeat") {
                worker = self.be_born(CALLS + n).await;
            }
        }
        self.told
    }

    async fn be_born(&self, life: u32) -> WorkerNumber {
        let registration = Registration {
            name: format!("w{}-{life}", self.name),
            host: String::new(),
            version: String::new(),
            queues: Vec::new(),
            kinds: Vec::new(),
            lease: Duration::from_millis(50),
        };
        self.store.register_worker(&registration).await.expect("register")
    }

    async fn enqueue(&mut self) {
        let when = self.one_of(["", "", r#", "delay": 0.01"#, r#", "expires_in": 0.005"#]);
        let rule = self.one_of(["waiting", "active", "kept"]);
        let on_conflict = self.one_of(["return", "reject", "replace"]);
        let key = self.chance.u8(..3);
        let unique =
            if self.chance.bool() { format!(r#", "unique": {{"key": "{key}", "while": "{rule}", "on_conflict": "{on_conflict}"}}"#) } else { String::new() };
        let attempts = self.one_of([1, 2, 5]);
        let new = parsed(&format!(r#"{{"kind": "echo", "max_attempts": {attempts}, "retry": {{"base": 0.005}}, "tags": ["a"]{when}{unique}}}"#));
        match self.store.enqueue(&[new], &Origin::default()).await {
            Ok(enqueued) => self.shared.lock().expect("no panic while held").ids.push(enqueued[0].id()),
            Err(StoreError::KeyHeld { .. }) if on_conflict == "reject" => {}
            Err(error) => panic!("enqueue: {}", longshore_common::log::chain(&error)),
        }
    }

    async fn claim(&mut self, worker: WorkerNumber) {
        self.store.learn_lanes().await.expect("learn");
        let lanes: Vec<i32> = self.store.known_lanes().iter().map(|lane| lane.lane).collect();
        let n = self.chance.usize(1..4);
        let jobs = self.store.claim(worker, &mut QueueScan::default(), &lanes, n).await.expect("claim").jobs;
        assert!(jobs.len() <= n);
        self.told.claimed.extend(jobs.iter().map(|job| (job.lease, job.attempt)));
        self.shared.lock().expect("no panic while held").leases.extend(jobs.iter().map(|job| job.lease));
    }

    /// Somebody's lease, one of the last: often two report the same, or one what was rescued.
    async fn report(&mut self) {
        let leases = self.shared.lock().expect("no panic while held").leases.clone();
        let Some(lease) = self.one_of_the_last(&leases) else { return };
        let outcome = match self.chance.u32(..9) {
            0 => Outcome::Failed { error: "no".to_owned(), retry_in: None },
            1 => Outcome::TimedOut { error: "late".to_owned() },
            2 => Outcome::Discarded { error: "never".to_owned() },
            3 => Outcome::Snoozed { delay: Duration::from_millis(5) },
            4 => Outcome::HandedBack,
            5 => Outcome::Cancelled { error: None },
            6 => Outcome::Expired,
            _ => Outcome::Succeeded { result: None },
        };
        let kind = OutcomeKind::ALL.into_iter().find(|kind| kind.word() == outcome.word()).expect("the same words");
        let reported = self.store.report(&[(lease, outcome)]).await.expect("report");
        self.told.recorded.extend(reported.states.iter().map(|(lease, state)| (*lease, kind, *state)));
    }

    async fn call(&mut self) {
        let ids = self.shared.lock().expect("no panic while held").ids.clone();
        let Some(id) = self.one_of_the_last(&ids) else { return };
        let call = self.one_of([Call::Cancel, Call::Cancel, Call::Retry, Call::Retry, Call::Change, Call::Delete]);
        let change = Change { priority: Some(self.chance.i16(0..9)), ..Change::default() };
        let answer = match call {
            Call::Cancel => self.store.cancel(id).await,
            Call::Retry => self.store.retry(id).await,
            Call::Change => self.store.change(id, &change).await,
            Call::Delete => self.store.delete(id).await,
        };
        match answer {
            Ok(effect) => {
                assert!(JobState::ALL.into_iter().any(|state| state.on(call) == Ok(effect)), "{call:?}: {effect:?}");
                if call == Call::Retry {
                    self.told.retried.push(id);
                }
            }
            Err(ControlError::NotNow { why, .. }) => assert_eq!(why.state.on(call), Err(why)),
            Err(ControlError::NoJob(no)) => assert_eq!(no, id),
            Err(ControlError::KeyHeld { standing, .. }) => assert!(call == Call::Retry && standing != id),
            Err(error) => panic!("{call:?} of job {id}: {}", longshore_common::log::chain(&error)),
        }
    }

    async fn prune(&mut self) {
        let ids = self.shared.lock().expect("no panic while held").ids.clone();
        let Some(id) = self.one_of_the_last(&ids) else { return };
        self.tables.age("update longshore.finished set finished_at = now() - interval '1 year' where id = $1", id).await;
        self.store.prune(10).await.expect("prune");
    }

    fn one_of<T: Copy>(&mut self, of: impl AsRef<[T]>) -> T {
        *self.chance.choice(of.as_ref()).expect("there are some")
    }

    fn one_of_the_last<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        self.chance.choice(&of[of.len().saturating_sub(FEW)..]).copied()
    }
}
