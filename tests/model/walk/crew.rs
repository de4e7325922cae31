//! The workers of the walks. They go on from one walk to the next, until they are declared dead.

use longshore_common::store::workers::WorkerNumber;

use crate::{fixture::Fixture, tables::Tables};

/// A worker, and what has become of it.
pub struct Worker {
    pub number: WorkerNumber,
    pub name: String,
    /// It is not heard of any more.
    pub silent: bool,
    /// It was declared dead.
    pub stopped: bool,
}

/// Two of them.
pub struct Crew {
    pub workers: [Worker; 2],
    born: u32,
}

impl Crew {
    pub async fn new(fixture: &Fixture) -> Self {
        Self { workers: [born(fixture, 0).await, born(fixture, 1).await], born: 2 }
    }

    /// All are well again, for a new walk.
    pub async fn recover(&mut self, fixture: &Fixture, tables: &Tables) {
        for n in 0..self.workers.len() {
            self.replace(n, fixture).await;
            self.workers[n].silent = false;
        }
        tables.run("delete from longshore.workers where stopped_at is not null; update longshore.workers set last_seen = now()").await;
    }

    /// Puts another one into the place of one that was declared dead.
    pub async fn replace(&mut self, n: usize, fixture: &Fixture) {
        if self.workers[n].stopped {
            self.workers[n] = born(fixture, self.born).await;
            self.born += 1;
        }
    }

    pub async fn fall_silent(&mut self, n: usize, tables: &Tables) {
        self.workers[n].silent = true;
        let name = &self.workers[n].name;
        tables.run(&format!("update longshore.workers set last_seen = now() - interval '1 h' where name = '{name}'")).await;
    }
}

async fn born(fixture: &Fixture, number: u32) -> Worker {
    let name = format!("w{number}");
    Worker { number: fixture.worker(&name).await, name, silent: false, stopped: false }
}
