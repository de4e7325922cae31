//! What handlers tell of their jobs, on its way to the database. It is gathered for about a second, then written in one
//! statement for all attempts of this worker; handlers never wait for that. What an attempt told last is written before its
//! outcome is reported, since nothing can be told under a lease that has ended.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use longshore_common::{
    notes::Notes,
    outcome::Outcome,
    store::{Store, StoreError, claim::Lease},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long notes are gathered at most: what a killed worker's jobs told is there up to a second before.
const EVERY: Duration = Duration::from_secs(1);
/// Attempts a statement at most, and bytes, about.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How long an outcome waits, each time it is tried, for what its attempt told. Notes help people; outcomes are promised.
const OUTCOME_WAITS: Duration = Duration::from_secs(2);

/// Notes of the attempts that run here. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Notebook(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    gathered: Mutex<Gathered>,
    came: Notify,
    /// Held while a statement is under way, so that notes of one attempt are written in their order.
    writing: tokio::sync::Mutex<()>,
    schema_told: AtomicBool,
}

#[derive(Debug, Default)]
struct Gathered {
    /// Nothing of it is sent. At most one for each attempt, and each is bounded.
    pending: HashMap<Lease, Notes>,
    /// What the statement under way is about, by lease.
    under_way: Arc<Vec<(Lease, Notes)>>,
}

impl Gathered {
    fn under_way(&self, lease: Lease) -> Option<&Notes> {
        self.under_way.binary_search_by_key(&lease, |(lease, _)| *lease).ok().map(|at| &self.under_way[at].1)
    }
}

impl Notebook {
    pub fn new(store: Store) -> Self {
        Self(Arc::new(Inner {
            store,
            gathered: Mutex::default(),
            came: Notify::new(),
            writing: tokio::sync::Mutex::default(),
            schema_told: AtomicBool::default(),
        }))
    }

    /// Notes something of an attempt.
    pub fn add(&self, lease: Lease, note: impl FnOnce(&mut Notes)) {
        note(self.gathered().pending.entry(lease).or_default());
        self.0.came.notify_one();
    }

    /// The checkpoint as it will be once everything is written; `None`: there is none.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn checkpoint(&self, lease: Lease) -> Result<Option<longshore_common::json::RawJson>, StoreError> {
        let own = {
            let gathered = self.gathered();
            let told = [gathered.pending.get(&lease), gathered.under_way(lease)];
            told.into_iter().flatten().find_map(|notes| notes.checkpoint.clone())
        };
        match own {
            Some(own) => Ok((own.as_str() != "null").then_some(own)),
            None => self.0.store.checkpoint(lease.id).await,
        }
    }

    /// Writes, about once a second while there is something to write, until `stop` is cancelled; not in the middle of a
    /// statement.
    pub async fn write(self, stop: CancellationToken) {
        loop {
            let due = async {
                self.0.came.notified().await;
                tokio::time::sleep(EVERY.mul_f64(0.75 + fastrand::f64() / 4.0)).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = due => {}
            }
            self.write_those(|_| true).await;
        }
    }

    /// Writes what these attempts, which have ended, told last. Costs nothing where they told nothing. Where it cannot be
    /// written, the outcomes go on all the same.
    pub async fn write_of(&self, ended: impl IntoIterator<Item = Lease>) {
        let told: Vec<Lease> = {
            let gathered = self.gathered();
            if gathered.pending.is_empty() && gathered.under_way.is_empty() {
                return;
            }
            ended.into_iter().filter(|lease| gathered.pending.contains_key(lease) || gathered.under_way(*lease).is_some()).collect()
        };
        if !told.is_empty() {
            let _ = tokio::time::timeout(OUTCOME_WAITS, self.write_those(|lease| told.contains(&lease))).await;
        }
    }

    /// Nothing is of use any more under these leases: their outcomes are stored.
    pub fn forget(&self, ended: &[(Lease, Outcome)]) {
        let mut gathered = self.gathered();
        if !gathered.pending.is_empty() {
            for (lease, _) in ended {
                gathered.pending.remove(lease);
            }
        }
    }

    async fn write_those(&self, which: impl Fn(Lease) -> bool) {
        let _in_order = self.0.writing.lock().await;
        while let Some(batch) = self.take(&which) {
            match self.0.store.note(&batch.notes).await {
                Ok(Some(standings)) => {
                    for lost in standings.iter().filter(|standing| !standing.stands) {
                        tracing::debug!(job.id = lost.lease.id, "the lease is lost: what its handler told is dropped");
                        self.gathered().pending.remove(&lost.lease);
                    }
                }
                Ok(None) => {
                    if !self.0.schema_told.swap(true, Ordering::Relaxed) {
                        tracing::warn!(
                            "the schema is of the version before and keeps no progress, checkpoints and logs: what handlers tell is dropped until it is migrated"
                        );
                    }
                }
                // back into the book, for the next time
                Err(error) if error.is_unavailable() => return,
                Err(error) => self.write_one_by_one(&batch.notes, &error).await,
            }
            batch.done();
        }
    }

    /// One of them is at fault: only that one is lost.
    async fn write_one_by_one(&self, notes: &[(Lease, Notes)], error: &StoreError) {
        tracing::error!(error = longshore_common::log::chain(error), "keeping what {} attempts told failed; trying them one by one", notes.len());
        for one in notes {
            if let Err(error) = self.0.store.note(std::slice::from_ref(one)).await {
                tracing::error!(job.id = one.0.id, error = longshore_common::log::chain(&error), "what this attempt told cannot be kept");
            }
        }
    }

    /// Takes pending notes for one statement; `None`: there are none.
    fn take(&self, which: impl Fn(Lease) -> bool) -> Option<UnderWay<'_>> {
        let mut gathered = self.gathered();
        let (mut count, mut bytes) = (0, 0);
        let mut notes: Vec<(Lease, Notes)> = gathered
            .pending
            .extract_if(|lease, notes| {
                let fits = count < BATCH && bytes < BATCH_BYTES && which(*lease);
                if fits {
                    count += 1;
                    bytes += notes.size();
                }
                fits
            })
            .collect();
        if notes.is_empty() {
            return None;
        }
        notes.sort_unstable_by_key(|(lease, _)| *lease);
        gathered.under_way = Arc::new(notes);
        Some(UnderWay { notebook: self, notes: gathered.under_way.clone(), written: false })
    }

    fn gathered(&self) -> std::sync::MutexGuard<'_, Gathered> {
        self.0.gathered.lock().expect("no panic while held")
    }
}

/// Notes that are being written. Unless that succeeds they go back into the book, below what came meanwhile; also where
/// whoever writes them loses patience.
struct UnderWay<'a> {
    notebook: &'a Notebook,
    notes: Arc<Vec<(Lease, Notes)>>,
    written: bool,
}

impl UnderWay<'_> {
    fn done(mut self) {
        self.written = true;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut gathered = self.notebook.gathered();
        gathered.under_way = Arc::default();
        if self.written {
            return;
        }
        for (lease, notes) in std::mem::take(&mut self.notes).iter() {
            let mut all = notes.clone();
            if let Some(later) = gathered.pending.remove(lease) {
                all.add(later);
            }
            gathered.pending.insert(*lease, all);
        }
        self.notebook.0.came.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use longshore_common::{json::RawJson, settings::Settings};

    use super::*;

    /// One whose database is not there.
    fn notebook() -> Notebook {
        let url = ("LONGSHORE_DATABASE__URL".to_owned(), "postgres://nobody@127.0.0.1:1/nothing".to_owned());
        let settings = Settings::from_environment([url].into()).expect("fine");
        Notebook::new(Store::new(&settings.database, "test", Duration::from_secs(5)).expect("connects later"))
    }

    const A: Lease = Lease { id: 1, lease: 1 };
    const B: Lease = Lease { id: 2, lease: 2 };

    fn number(n: i32) -> Option<RawJson> {
        RawJson::from_value(&n).ok()
    }

    #[tokio::test]
    async fn what_is_not_written_goes_below_what_came_meanwhile() {
        let notebook = notebook();
        notebook.add(A, |notes| *notes = Notes { progress: number(0), checkpoint: number(1), log: "first\n".to_owned() });
        notebook.add(B, |notes| notes.log("other\n"));
        let under_way = notebook.take(|lease| lease == A).expect("there is one");
        assert_eq!(notebook.checkpoint(A).await.expect("is not asked for"), number(1), "while it is under way, too");
        notebook.add(A, |notes| notes.progress = number(1));
        notebook.add(A, |notes| notes.log("second\n"));
        drop(under_way);
        let all = notebook.take(|_| true).expect("there are two");
        let expected = Notes { progress: number(1), checkpoint: number(1), log: "first\nsecond\n".to_owned() };
        assert_eq!(all.notes[..], [(A, expected), (B, Notes { log: "other\n".to_owned(), ..Notes::default() })]);
        all.done();
        assert!(notebook.take(|_| true).is_none());
    }

    #[tokio::test]
    async fn a_statement_has_a_bound_and_the_rest_comes_after_it() {
        let notebook = notebook();
        for id in 0..2500 {
            notebook.add(Lease { id, lease: 1 }, |notes| notes.log("x"));
        }
        let mut sizes = Vec::new();
        while let Some(batch) = notebook.take(|_| true) {
            sizes.push(batch.notes.len());
            batch.done();
        }
        assert_eq!(sizes, [1000, 1000, 500]);
        for id in 0..200 {
            notebook.add(Lease { id, lease: 1 }, |notes| notes.log(&"x".repeat(60_000)));
        }
        let first = notebook.take(|_| true).expect("there are many").notes.iter().map(|(_, notes)| notes.size()).sum::<usize>();
        assert!((BATCH_BYTES..BATCH_BYTES + 200_000).contains(&first), "{first}");
    }

    #[tokio::test]
    async fn a_database_that_is_away_holds_up_nothing_and_loses_nothing() {
        let notebook = notebook();
        notebook.add(A, |notes| notes.log("line\n"));
        let ended = [(A, Outcome::HandedBack), (B, Outcome::HandedBack)];
        tokio::time::timeout(OUTCOME_WAITS * 2, notebook.write_of([A, B])).await.expect("it gives up");
        assert_eq!(notebook.take(|_| true).map(|batch| batch.notes[..] == [(A, Notes { log: "line\n".to_owned(), ..Notes::default() })]), Some(true));
        notebook.forget(&ended);
        assert!(notebook.take(|_| true).is_none());
    }
}
