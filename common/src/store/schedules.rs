//! Schedules: set up, read, and fired. Whoever fires one holds its row's lock from looking at the due time to the commit that has
//! both its jobs and the next due time: so each due time is used once, whoever dies when, and by the database's clock alone.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;

use super::{
    Statement, Store, StoreError,
    enqueue::{Enqueued, Origin},
    statement,
    transaction::OpenTransaction,
};
use crate::{
    cron::{self, Cron},
    job::{CatchUp, NewJob, OnConflict, Overlap, QueueName, ScheduleName, ScheduleSettings, queue_settings::template},
    json::RawJson,
    log,
};

const LIST: Statement = statement!("list the schedules", "schedules/list.sql");
const LOCK: Statement = statement!("look at a schedule", "schedules/lock.sql");
const PUT: Statement = statement!("set up a schedule", "schedules/put.sql");
const DELETE: Statement = statement!("delete a schedule", "schedules/delete.sql");
const DUE: Statement = statement!("look which schedules are due", "schedules/due.sql");
const FIRED: Statement = statement!("say that schedules were fired", "schedules/fired.sql");
const MARK: Statement = statement!("mark the jobs of schedules", "schedules/mark.sql");
const PREVIEW: Statement = statement!("preview a schedule", "schedules/preview.sql");
const NEXT: Statement = statement!("ask when a schedule is due", "schedules/next.sql");

/// Schedules that are fired in one transaction.
const BATCH: i64 = 100;
/// Due times that are made up for at most.
const MOST_CAUGHT_UP: usize = 1000;
/// A due time that is later than that was missed.
const MISSED: SignedDuration = SignedDuration::from_secs(10);

/// How long a schedule that this program cannot read is left alone, unless it is changed.
const LEFT_ALONE: Duration = Duration::from_mins(10);

/// A schedule, as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// When it is due.
    pub cron: String,
    /// On the clock of which time zone.
    pub timezone: String,
    /// What it enqueues.
    pub job: RawJson,
    /// Whether it enqueues nothing.
    pub paused: bool,
    /// What becomes of missed due times: none, last or all.
    pub catch_up: String,
    /// Whether its jobs may overlap: allow or skip.
    pub overlap: String,
    /// When it is due next; null: it is paused, or never due again.
    pub next_run_at: Option<Timestamp>,
    /// The last due time at which it enqueued a job.
    pub last_run_at: Option<Timestamp>,
    /// The queue of its job.
    #[serde(skip)]
    pub queue: String,
    /// Whether it is due now.
    #[serde(skip)]
    pub due: bool,
}

/// What was fired.
#[derive(Debug, Default)]
pub struct Fired {
    /// How many schedules were due.
    pub schedules: usize,
    /// Queues that got work.
    pub queues: BTreeSet<QueueName>,
}

/// Schedules that this program cannot read, since another version of it, or one with other time zones, wrote them: by name and
/// what is set, and since when. Their rows stay as they are, due, for those who can.
#[derive(Debug, Default)]
pub(super) struct Unreadable(Mutex<HashMap<(String, String), Instant>>);

impl Unreadable {
    /// Names, and what is set for them, as the statements leave them out.
    fn left_alone(&self) -> (Vec<String>, Vec<String>) {
        let mut all = self.0.lock().expect("no panic while held");
        all.retain(|_, since| since.elapsed() < LEFT_ALONE);
        all.keys().cloned().unzip()
    }

    /// Leaves one alone from now on, and says so.
    fn leave(&self, row: &tokio_postgres::Row, error: &StoreError) {
        let name: String = row.get(1);
        tracing::warn!(
            schedule = name,
            error = log::chain(error),
            help = "if no program of another version runs, set the schedule up again",
            "a schedule is due that this program cannot read: it is left to programs that can, and looked at again in ten minutes, or when it is changed"
        );
        self.0.lock().expect("no panic while held").insert((name, row.get(11)), Instant::now());
    }
}

/// A schedule that is due, under its row's lock.
struct Due {
    name: String,
    rule: Cron,
    job: NewJob,
    catch_up: CatchUp,
    overlap: Overlap,
    next_run_at: Timestamp,
    last_run_at: Option<Timestamp>,
    busy: bool,
}

impl Store {
    /// All schedules, by name; with a name, that one.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn schedules(&self, name: Option<&str>) -> Result<Vec<ScheduleView>, StoreError> {
        Ok(self.query(LIST, &[&name]).await?.iter().map(view).collect())
    }

    /// Makes a schedule, or replaces its settings; whether it was made. While expression and time zone stay, so does the next due
    /// time: what is due is not lost by a change of something else.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn put_schedule(&self, name: &ScheduleName, settings: &ScheduleSettings) -> Result<bool, StoreError> {
        let ScheduleSettings { cron, timezone, rule, job, paused, catch_up, overlap } = settings;
        let transaction = self.begin().await?;
        let put = async {
            let row = one(transaction.query(LOCK, &[&&**name]).await?)?;
            let now: Timestamp = row.get(0);
            let same = row.get::<_, Option<&str>>(1) == Some(cron) && row.get::<_, Option<&str>>(2) == Some(timezone);
            let next = match row.get::<_, Option<Timestamp>>(3).filter(|_| same) {
                _ if *paused => None,
                Some(next) => Some(next),
                None => rule.next_after(now),
            };
            let row = one(transaction
                .query(PUT, &[&&**name, cron, timezone, &&*job.queue, &template(job), paused, &catch_up.word(), &overlap.word(), &next])
                .await?)?;
            Ok(row.get(0))
        };
        end(put.await, transaction).await
    }

    /// Deletes a schedule; its jobs stay. False: there is none of that name.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn delete_schedule(&self, name: &str) -> Result<bool, StoreError> {
        Ok(!self.query(DELETE, &[&name]).await?.is_empty())
    }

    /// Enqueues the job of a schedule now, besides its due times. `None`: there is no such schedule.
    ///
    /// # Errors
    /// As those of [`Store::enqueue`].
    pub async fn run_schedule(&self, name: &ScheduleName, origin: &Origin) -> Result<Option<Enqueued>, StoreError> {
        let Some(schedule) = self.schedules(Some(name)).await?.pop() else { return Ok(None) };
        let job = read_job(&schedule.name, &schedule.job)?;
        let transaction = self.begin().await?;
        let run = async {
            let enqueued = transaction.enqueue(std::slice::from_ref(&job), origin).await?.pop();
            if let Some(Enqueued::New { id, .. }) = enqueued {
                transaction.query(MARK, &[&[id].as_slice(), &[&**name].as_slice(), &[None::<Timestamp>].as_slice()]).await?;
            }
            Ok(enqueued)
        };
        end(run.await, transaction).await
    }

    /// The next `n` due times of a schedule; of one that is paused, those that it would have from now on. `None`: there is none of
    /// that name.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn preview_schedule(&self, name: &str, n: usize) -> Result<Option<Vec<Timestamp>>, StoreError> {
        let row = self.query_one(PREVIEW, &[&name]).await?;
        let (Some(cron), Some(timezone)) = (row.get::<_, Option<&str>>(1), row.get::<_, Option<&str>>(2)) else { return Ok(None) };
        let rule = cron::zone(timezone).and_then(|zone| Cron::parse(cron, zone)).map_err(|why| corrupt(name, &why))?;
        let first = row.get::<_, Option<Timestamp>>(3).or_else(|| rule.next_after(row.get(0)));
        Ok(Some(std::iter::successors(first, |at| rule.next_after(*at)).take(n).collect()))
    }

    /// How long until a schedule is due that this program can read; `None`: none is ever.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn next_schedule_in(&self) -> Result<Option<Duration>, StoreError> {
        let (names, settings) = self.0.unreadable.left_alone();
        let seconds: Option<f64> = match self.query_one(NEXT, &[&names, &settings]).await {
            // the schema of the version before knows no schedules
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => None,
            row => row?.get(0),
        };
        Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)))
    }

    /// Fires schedules that are due, a hundred at most. Whatever is at fault with one of them, the others are fired.
    ///
    /// # Errors
    /// Where the database is away: nothing has happened then, or all of it.
    pub async fn fire_schedules(&self) -> Result<Fired, StoreError> {
        match self.fire(None).await {
            // one of them is at fault: each by itself
            Err(error) if !error.is_unavailable() => {
                tracing::debug!(error = log::chain(&error), "firing schedules together failed; each is fired by itself");
                let mut all = Fired::default();
                for name in self.schedules(None).await?.into_iter().filter(|one| one.due).map(|one| one.name) {
                    match self.fire(Some(&name)).await {
                        Ok(fired) => {
                            all.schedules += fired.schedules;
                            all.queues.extend(fired.queues);
                        }
                        Err(error) if error.is_unavailable() => return Err(error),
                        Err(error) => self.pass_over(&name, &error).await?,
                    }
                }
                Ok(all)
            }
            fired => fired,
        }
    }

    async fn fire(&self, name: Option<&str>) -> Result<Fired, StoreError> {
        let transaction = self.begin().await?;
        end(self.fire_on(&transaction, name).await, transaction).await
    }

    async fn fire_on(&self, transaction: &OpenTransaction, name: Option<&str>) -> Result<Fired, StoreError> {
        let (names, settings) = self.0.unreadable.left_alone();
        let rows = transaction.query(DUE, &[&BATCH, &name, &names, &settings]).await?;
        let Some(now) = rows.first().map(|row| row.get::<_, Timestamp>(0)) else { return Ok(Fired::default()) };
        let (mut names, mut nexts, mut lasts) = (Vec::new(), Vec::new(), Vec::new());
        let (mut jobs, mut ticks) = (Vec::new(), Vec::new());
        for row in &rows {
            let due = match due(row) {
                Ok(due) => due,
                Err(error) => {
                    self.0.unreadable.leave(row, &error);
                    continue;
                }
            };
            let times = due.times(now);
            names.push(due.name.clone());
            nexts.push(next(&due.rule, due.next_run_at, now));
            lasts.push(times.last().copied());
            for time in times {
                jobs.push(due.job.clone());
                ticks.push((due.name.clone(), time));
            }
        }
        if names.is_empty() {
            return Ok(Fired::default());
        }
        let enqueued = transaction.enqueue(&jobs, &Origin::default()).await?;
        let (mut ids, mut schedules, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for (enqueued, (schedule, time)) in enqueued.iter().zip(ticks) {
            if let Enqueued::New { id, .. } = enqueued {
                ids.push(*id);
                schedules.push(schedule);
                times.push(Some(time));
            }
        }
        transaction.query(MARK, &[&ids, &schedules, &times]).await?;
        transaction.query(FIRED, &[&names, &nexts, &lasts]).await?;
        Ok(Fired { schedules: names.len(), queues: jobs.into_iter().map(|job| job.queue).collect() })
    }

    /// What it enqueues is refused: this due time goes by, and somebody should know why.
    async fn pass_over(&self, name: &str, error: &StoreError) -> Result<(), StoreError> {
        tracing::warn!(schedule = name, error = log::chain(error), "a schedule is due, but its job was refused: nothing is enqueued until it is due again");
        let transaction = self.begin().await?;
        let passed = async {
            let (names, settings) = self.0.unreadable.left_alone();
            let rows = transaction.query(DUE, &[&1_i64, &name, &names, &settings]).await?;
            // gone, changed meanwhile, or somebody else has it
            let Some((row, Ok(rule))) = rows.first().map(|row| (row, rule(row))) else { return Ok(()) };
            let next = next(&rule, row.get(7), row.get(0));
            transaction.query(FIRED, &[&[name].as_slice(), &[next].as_slice(), &[None::<Timestamp>].as_slice()]).await?;
            Ok(())
        };
        end(passed.await, transaction).await
    }
}

/// Commits what has succeeded, rolls back what has not.
async fn end<T>(result: Result<T, StoreError>, transaction: OpenTransaction) -> Result<T, StoreError> {
    match result {
        Ok(result) => transaction.commit().await.map(|()| result),
        Err(error) => {
            // here and now: whoever tries again at once is to find the rows free
            let _ = transaction.rollback().await;
            Err(error)
        }
    }
}

impl Due {
    /// The due times for which a job is enqueued now.
    fn times(&self, now: Timestamp) -> Vec<Timestamp> {
        // a database whose clock was set back does not use a time twice
        let unused = |time: &Timestamp| self.last_run_at.is_none_or(|last| *time > last);
        let most = if self.catch_up == CatchUp::All && self.overlap == Overlap::Allow { MOST_CAUGHT_UP } else { 1 };
        let mut times = self.rule.due(self.next_run_at, now, most);
        let missed = |time: &Timestamp| self.catch_up == CatchUp::None && now.duration_since(*time) > MISSED;
        times.retain(|time| !self.busy && unused(time) && !missed(time));
        times
    }
}

/// The due time after all that have come since `first`, which is one. From the last of them on, so that `@every` keeps its beat.
fn next(rule: &Cron, first: Timestamp, now: Timestamp) -> Option<Timestamp> {
    rule.due(first, now, 1).last().and_then(|last| rule.next_after(*last))
}

fn due(row: &tokio_postgres::Row) -> Result<Due, StoreError> {
    let name: String = row.get(1);
    let word = |column: usize| row.get::<_, &str>(column);
    Ok(Due {
        rule: rule(row).map_err(|why| corrupt(&name, &why))?,
        job: nobody_to_refuse(read_job(&name, &row.get(4))?),
        catch_up: CatchUp::ALL.into_iter().find(|one| one.word() == word(5)).unwrap_or_default(),
        overlap: Overlap::ALL.into_iter().find(|one| one.word() == word(6)).unwrap_or_default(),
        next_run_at: row.get(7),
        last_run_at: row.get(8),
        busy: row.get(9),
        name,
    })
}

fn rule(row: &tokio_postgres::Row) -> Result<Cron, String> {
    Cron::parse(row.get(2), cron::zone(row.get(3))?)
}

fn read_job(name: &str, job: &RawJson) -> Result<NewJob, StoreError> {
    NewJob::parse(job.as_str().as_bytes(), "").map_err(|error| corrupt(name, &format!("its job cannot be read: {error:?}")))
}

/// A held unique key leaves the standing job as it is, whether that is told or refused.
fn nobody_to_refuse(mut job: NewJob) -> NewJob {
    if let Some(unique) = job.unique.as_mut().filter(|unique| unique.on_conflict == OnConflict::Reject) {
        unique.on_conflict = OnConflict::Return;
    }
    job
}

fn corrupt(name: &str, why: &str) -> StoreError {
    StoreError::Corrupt { table: "schedules", id: 0, why: format!("{name}: {why}") }
}

fn one(mut rows: Vec<tokio_postgres::Row>) -> Result<tokio_postgres::Row, StoreError> {
    rows.pop().ok_or_else(|| StoreError::Corrupt { table: "schedules", id: 0, why: "a statement that gives one row gave none".to_owned() })
}

fn view(row: &tokio_postgres::Row) -> ScheduleView {
    ScheduleView {
        name: row.get(0),
        cron: row.get(1),
        timezone: row.get(2),
        job: row.get(3),
        paused: row.get(4),
        catch_up: row.get(5),
        overlap: row.get(6),
        next_run_at: row.get(7),
        last_run_at: row.get(8),
        queue: row.get(9),
        due: row.get(10),
    }
}
