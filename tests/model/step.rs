//! A step of a walk: something that is done to a few jobs. Which job or lease is meant is an index, taken modulo those that
//! there are when the step is done.

use longshore_common::job::{Call, OnConflict, OutcomeKind, UniqueWhile};
use proptest::{
    prelude::{Just, Strategy, any},
    prop_oneof,
    sample::{Index, select},
};

/// What is done.
#[derive(Debug, Clone)]
pub enum Step {
    /// Enqueue jobs, all or nothing.
    Enqueue(Vec<New>),
    /// One of two workers claims at most so many.
    Claim { worker: usize, n: usize },
    /// An outcome is reported under a lease: one of those that stand, or any that ever was (and one that never was).
    Report { standing: bool, lease: Index, outcome: OutcomeKind, waits: bool },
    /// Cancel, retry or delete a job, or set its priority. It may be gone.
    Call { call: Call, job: Index },
    /// Change more than the priority.
    Change { job: Index, due: Option<Due>, max_attempts: Option<i16> },
    /// Pause the queue, or let it go on.
    Pause(bool),
    /// The time of a waiting job has come; nobody has promoted it yet.
    FallDue(Index),
    /// The duty that promotes.
    Promote,
    /// The time has come by which a job was to have started.
    Overdue(Index),
    /// The duty that expires.
    Expire,
    /// A job, and all before it, were enqueued long ago: longer than any `for` of a unique key.
    GrowOld(Index),
    /// A worker is not heard of any more.
    FallSilent(usize),
    /// The duty that rescues.
    Rescue,
    /// So often a worker claims, and all that it holds is lost, and at once available again.
    Lose { worker: usize, times: usize },
    /// A finished job is as old as nobody keeps it, and the duty that prunes comes.
    Prune(Index),
    /// The duty that folds the counts.
    Fold,
}

/// When a job is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Now,
    Later,
}

/// A job that is to be enqueued.
#[derive(Debug, Clone)]
pub struct New {
    pub due: Due,
    pub expires: bool,
    pub priority: i16,
    pub max_attempts: i16,
    pub key: Option<Key>,
}

/// Its unique key, and whether the rule counts for an hour too.
#[derive(Debug, Clone)]
pub struct Key {
    pub text: &'static str,
    pub rule: Option<UniqueWhile>,
    pub for_an_hour: bool,
    pub on_conflict: OnConflict,
}

fn due() -> impl Strategy<Value = Due> {
    prop_oneof![3 => Just(Due::Now), 1 => Just(Due::Later)]
}

fn key() -> impl Strategy<Value = Key> {
    let rules = vec![
        (Some(UniqueWhile::Waiting), false),
        (Some(UniqueWhile::Active), false),
        (Some(UniqueWhile::Kept), false),
        (None, true),
        (Some(UniqueWhile::Waiting), true),
    ];
    let conflicts = vec![OnConflict::Return, OnConflict::Reject, OnConflict::Replace];
    (select(vec!["k", "k", "l"]), select(rules), select(conflicts)).prop_map(|(text, (rule, for_an_hour), on_conflict)| Key {
        text,
        rule,
        for_an_hour,
        on_conflict,
    })
}

fn new() -> impl Strategy<Value = New> {
    let key = proptest::option::weighted(0.75, key());
    (due(), any::<bool>(), 0..3_i16, select(vec![1, 2, 3, 25, 25_i16]), key).prop_map(|(due, expires, priority, max_attempts, key)| New {
        due,
        expires,
        priority,
        max_attempts,
        key,
    })
}

fn outcome() -> impl Strategy<Value = OutcomeKind> {
    let reported: Vec<_> = OutcomeKind::ALL.into_iter().filter(|outcome| *outcome != OutcomeKind::Lost).collect();
    select(reported) // no holder reports a loss
}

/// A step of any kind, those more often that lead on.
pub fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => proptest::collection::vec(new(), 1..=2).prop_map(Step::Enqueue),
        6 => (0..2_usize, 1..=3_usize).prop_map(|(worker, n)| Step::Claim { worker, n }),
        8 => (proptest::bool::weighted(0.75), any::<Index>(), outcome(), any::<bool>())
            .prop_map(|(standing, lease, outcome, waits)| Step::Report { standing, lease, outcome, waits }),
        8 => (select(Call::ALL.to_vec()), any::<Index>()).prop_map(|(call, job)| Step::Call { call, job }),
        3 => (any::<Index>(), proptest::option::of(due()), proptest::option::of(1..=3_i16))
            .prop_map(|(job, due, max_attempts)| Step::Change { job, due, max_attempts }),
        1 => proptest::bool::weighted(0.3).prop_map(Step::Pause),
        2 => any::<Index>().prop_map(Step::FallDue),
        2 => Just(Step::Promote),
        2 => any::<Index>().prop_map(Step::Overdue),
        2 => Just(Step::Expire),
        1 => any::<Index>().prop_map(Step::GrowOld),
        2 => (0..2_usize).prop_map(Step::FallSilent),
        2 => Just(Step::Rescue),
        3 => (0..2_usize, 1..=3_usize).prop_map(|(worker, times)| Step::Lose { worker, times }),
        2 => any::<Index>().prop_map(Step::Prune),
        1 => Just(Step::Fold),
    ]
}
