//! What time does, and the duties that notice.

use longshore_common::job::{JobState, OutcomeKind};
use proptest::{prop_assert, prop_assert_eq, sample::Index};

use super::{Walk, Walked};
use crate::job::Expiry;

const FALL_DUE: &str = "with d as (update longshore.job_data set run_at = now() - interval '1 s' where id = $1 and run_at > now() returning id, run_at)
    update longshore.scheduled s set run_at = d.run_at from d where d.id = s.id";
const OVERDUE: &str =
    "with d as (update longshore.job_data set expires_at = now() - interval '1 s' where id = $1 and expires_at > now() returning id, expires_at)
    update longshore.expiring e set expires_at = d.expires_at from d where d.id = e.id";
const GROW_OLD: &str = "update longshore.job_data set created_at = now() - interval '2 h' where id <= $1";
const FINISHED_LONG_AGO: &str = "update longshore.finished set finished_at = now() - interval '1 year' where id = $1";

impl Walk<'_> {
    pub(super) async fn fall_due(&mut self, index: Index) {
        if let Some(id) = self.id(index) {
            self.fall_due_now(id).await;
        }
    }

    async fn fall_due_now(&mut self, id: i64) {
        self.tables.age(FALL_DUE, id).await;
        self.touched.insert(id);
        if let Some(job) = self.model.jobs.get_mut(&id) {
            job.fall_due();
        }
    }

    pub(super) async fn promote(&mut self) -> Walked {
        let promoted = self.store.promote(1000, None).await.expect("promote").count;
        let due: Vec<i64> = self.model.jobs.iter_mut().filter_map(|(id, job)| job.promote().then_some(*id)).collect();
        prop_assert_eq!(promoted, due.len());
        self.touched.extend(due);
        Ok(())
    }

    pub(super) async fn overdue(&mut self, index: Index) {
        let Some(id) = self.id(index) else { return };
        self.tables.age(OVERDUE, id).await;
        self.touched.insert(id);
        if let Some(job) = self.model.jobs.get_mut(&id).filter(|job| job.expiry == Expiry::Ahead) {
            job.expiry = Expiry::Passed;
        }
    }

    pub(super) async fn expire(&mut self) -> Walked {
        let looked_at = self.store.expire(1000).await.expect("expire");
        let over: Vec<i64> = self.model.jobs.iter_mut().filter_map(|(id, job)| job.expire().then_some(*id)).collect();
        prop_assert!(usize::try_from(looked_at).is_ok_and(|n| n >= over.len()), "{} are over, {looked_at} were looked at", over.len());
        self.touched.extend(over);
        Ok(())
    }

    pub(super) async fn grow_old(&mut self, index: Index) {
        let Some(id) = self.id(index) else { return };
        self.tables.age(GROW_OLD, id).await;
        for (id, job) in self.model.jobs.range_mut(..=id) {
            job.old = true;
            self.touched.insert(*id);
        }
    }

    pub(super) async fn rescue(&mut self) -> Walked {
        let rescued: i64 = self.store.rescue().await.expect("rescue").iter().map(|worker| worker.jobs).sum();
        let (mut lost, crew) = (0, &mut *self.crew);
        for (id, job) in &mut self.model.jobs {
            let Some(worker) = job.held.map(|(_, worker)| &crew.workers[worker]).filter(|worker| worker.silent) else { continue };
            job.end(OutcomeKind::Lost, Some(format!("its worker {} was not heard of for some time", worker.name)), true);
            self.touched.insert(*id);
            lost += 1;
        }
        for worker in &mut crew.workers {
            worker.stopped |= worker.silent;
        }
        prop_assert_eq!(rescued, lost);
        Ok(())
    }

    pub(super) async fn lose(&mut self, worker: usize) -> Walked {
        self.crew.replace(worker, self.fixture).await;
        self.claim(worker, 1).await?;
        self.crew.fall_silent(worker, self.tables).await;
        self.rescue().await?;
        let lost: Vec<i64> = self.touched.iter().copied().collect();
        for id in lost {
            self.fall_due_now(id).await;
        }
        self.promote().await
    }

    pub(super) async fn prune(&mut self, index: Index) -> Walked {
        let Some(id) = self.id(index) else { return Ok(()) };
        self.tables.age(FINISHED_LONG_AGO, id).await;
        let pruned = self.store.prune(1000).await.expect("prune");
        let finished = self.model.jobs.get(&id).is_some_and(|job| JobState::is_finished(job.state));
        prop_assert_eq!(pruned, i32::from(finished));
        if finished {
            self.model.jobs.remove(&id);
        }
        Ok(())
    }
}
