//! Which workers lease over HTTP, by the names that they give themselves. They are rows of `workers`, so that whoever looks
//! sees them; a claim asks the database for its row's number once in a while only.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use longshore_common::store::{Store, StoreError, leases::Puller, workers::WorkerNumber};
use tokio::time::Instant;

/// How long one counts as alive after it was last shown.
const LIVES: Duration = Duration::from_secs(30);
/// One that was shown so long ago is shown before it claims.
const STALE: Duration = Duration::from_secs(20);
/// How long one that asks no more is remembered, and shown.
const SEEN: Duration = Duration::from_secs(10);
/// Workers a statement at most.
const BATCH: usize = 1000;

/// Those that are known here.
#[derive(Debug, Default)]
pub struct Pullers(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    known: HashMap<String, Known>,
    /// How many requests of each are under way.
    here: HashMap<String, usize>,
}

#[derive(Debug)]
struct Known {
    puller: Puller,
    number: WorkerNumber,
    shown: Instant,
    seen: Instant,
}

/// A request of one that is under way, until it is dropped.
#[derive(Debug)]
pub struct Here<'a> {
    pullers: &'a Pullers,
    name: String,
}

impl Pullers {
    /// A request of it begins.
    pub fn enter(&self, name: &str) -> Here<'_> {
        *self.all().here.entry(name.to_owned()).or_default() += 1;
        Here { pullers: self, name: name.to_owned() }
    }

    /// Its row's number, with what it asks for shown there; `None`: one of Longshore's own workers has that name.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn number(&self, store: &Store, puller: &Puller) -> Result<Option<WorkerNumber>, StoreError> {
        if let Some(known) = self.all().known.get_mut(&puller.name)
            && known.shown.elapsed() < STALE
            && known.puller.queues == puller.queues
            && known.puller.kinds == puller.kinds
        {
            known.seen = Instant::now();
            return Ok(Some(known.number));
        }
        let Some(number) = store.meet_pullers(std::slice::from_ref(puller), LIVES).await?.pop().flatten() else { return Ok(None) };
        let now = Instant::now();
        let All { known, here } = &mut *self.all();
        known.retain(|name, known| here.contains_key(name) || known.seen.elapsed() < STALE);
        known.insert(puller.name.clone(), Known { puller: puller.clone(), number, shown: now, seen: now });
        Ok(Some(number))
    }

    /// Shows that those who ask live, a thousand in a statement.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn show(&self, store: &Store) -> Result<(), StoreError> {
        let here: Vec<(WorkerNumber, Puller)> = {
            let All { known, here } = &*self.all();
            let is_here = |name: &str, known: &Known| here.contains_key(name) || known.seen.elapsed() < SEEN;
            known.iter().filter(|(name, known)| is_here(name, known)).map(|(_, known)| (known.number, known.puller.clone())).collect()
        };
        for some in here.chunks(BATCH) {
            let numbers: Vec<WorkerNumber> = some.iter().map(|(number, _)| *number).collect();
            let seen = store.see_pullers(&numbers).await?;
            // declared dead while the database was away, say
            let dead: Vec<Puller> = some.iter().filter(|(number, _)| !seen.contains(number)).map(|(_, puller)| puller.clone()).collect();
            let met = if dead.is_empty() { Vec::new() } else { store.meet_pullers(&dead, LIVES).await? };
            let met: HashMap<String, WorkerNumber> = dead.into_iter().zip(met).filter_map(|(puller, number)| Some((puller.name, number?))).collect();
            let mut all = self.all();
            for (number, puller) in some {
                if let Some(known) = all.known.get_mut(&puller.name)
                    && let Some(number) = met.get(&puller.name).or_else(|| seen.get(number))
                {
                    (known.number, known.shown) = (*number, Instant::now());
                }
            }
        }
        Ok(())
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().expect("no panic while held")
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        let mut all = self.pullers.all();
        if let Some(here) = all.here.get_mut(&self.name) {
            *here -= 1;
            if *here == 0 {
                all.here.remove(&self.name);
            }
        }
    }
}
