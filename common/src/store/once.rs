//! Enqueuing once: a request that bears a key is done in one transaction with the answer that it gets, so that whoever
//! repeats it, at any API, gets that answer and nothing is done again.

use sha2::{Digest, Sha256};

use super::{
    Collisions, Statement, Store, StoreError,
    enqueue::{Enqueued, Origin, Schema, enqueue_within_transaction},
    query_on, read, statement,
};
use crate::{
    job::{JobView, NewJob},
    json::RawJson,
};

const LOCK: Statement = statement!("lock an idempotency key", "idempotency/lock.sql");
const LOOK: Statement = statement!("look for a first answer", "idempotency/look.sql");
const KEEP: Statement = statement!("keep a first answer", "idempotency/keep.sql");
const PRUNE: Statement = statement!("forget first answers", "idempotency/prune.sql");

/// What a request asks, as a hash.
#[derive(Debug, Clone)]
pub struct RequestHash(Sha256);

impl RequestHash {
    /// Of a request for this; its body is added as it comes.
    pub fn of(what: &str) -> Self {
        let mut hash = Self(Sha256::new_with_prefix(what));
        hash.add(b"\0");
        hash
    }

    /// Adds the next part of its body.
    pub fn add(&mut self, part: &[u8]) {
        self.0.update(part);
    }
}

/// A request that is to be done once.
#[derive(Debug, Clone)]
pub struct OnceRequest {
    /// Name of the API key it came with; empty: without one. Keys of different callers have nothing to do with each other.
    pub caller: String,
    /// The idempotency key.
    pub key: String,
    /// What it asks.
    pub hash: RequestHash,
}

/// The first answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub struct FirstAnswer {
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub body: RawJson,
    /// Whether it was given before.
    pub replayed: bool,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// The same request is being done at this moment.
    #[error("a request with this idempotency key is under way")]
    UnderWay,
    /// The key came with another request before.
    #[error("the idempotency key came with another request before")]
    OtherRequest,
    /// The standing job that it met has been forgotten meanwhile.
    #[error("job {0} is gone")]
    Gone(i64),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is done in one transaction with its answer: a status and a body. Done again where the transaction met another one.
pub(super) trait Work: Sync {
    /// Does it; an error takes all back, and so does a refusal.
    fn on(&self, transaction: &deadpool_postgres::Transaction<'_>) -> impl Future<Output = Result<Result<(u16, RawJson), OnceError>, StoreError>> + Send;
}

struct EnqueueJobs<'a, A> {
    lanes: Vec<i32>,
    jobs: &'a [NewJob],
    origin: &'a Origin,
    queues: Option<&'a [String]>,
    answer: A,
}

impl<A: Fn(&[Enqueued], Option<JobView>) -> (u16, RawJson) + Sync> Work for EnqueueJobs<'_, A> {
    async fn on(&self, transaction: &deadpool_postgres::Transaction<'_>) -> Result<Result<(u16, RawJson), OnceError>, StoreError> {
        let enqueued = enqueue_within_transaction(transaction, Schema::Own, &self.lanes, self.jobs, self.origin, self.queues, None).await?;
        let standing = match &enqueued[..] {
            [Enqueued::Duplicate { id, .. }] => match read::job_on(transaction, *id).await? {
                None => return Ok(Err(OnceError::Gone(*id))),
                job => job,
            },
            _ => None,
        };
        Ok(Ok((self.answer)(&enqueued, standing)))
    }
}

impl Store {
    /// Enqueues jobs as [`Store::enqueue_within`] does, if no request with this key was done in the last 24 hours, and keeps the
    /// answer that `answer` makes: of what became of the jobs and, where it is one that met a standing job, of that one.
    ///
    /// # Errors
    /// [`OnceError`]; nothing is stored then.
    pub async fn enqueue_once(
        &self,
        once: &OnceRequest,
        jobs: &[NewJob],
        origin: &Origin,
        queues: Option<&[String]>,
        answer: impl Fn(&[Enqueued], Option<JobView>) -> (u16, RawJson) + Sync,
    ) -> Result<FirstAnswer, OnceError> {
        let names: Vec<_> = jobs.iter().map(|job| (&job.queue, &job.kind)).collect();
        let lanes = self.lanes_of(&names).await?;
        self.in_one_transaction("enqueue jobs once", Some(once), &EnqueueJobs { lanes, jobs, origin, queues, answer }).await
    }

    /// Does something and makes its answer in one transaction, again where that met another one; with `once`, if no request with that
    /// key was done in the last 24 hours.
    pub(super) async fn in_one_transaction(&self, what: &'static str, once: Option<&OnceRequest>, work: &impl Work) -> Result<FirstAnswer, OnceError> {
        let mut collisions = Collisions::none();
        loop {
            let work = self.bounded(what, async {
                let mut connection = self.connection(what).await?;
                let done = once_on(&mut connection, what, once, work).await;
                connection.settle(done)
            });
            match work.await {
                Err(error) if collisions.again(&error) => {}
                Err(error) => return Err(error.into()),
                Ok(done) => return done,
            }
        }
    }

    /// Forgets at most `n` first answers that are older than 24 hours.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn prune_first_answers(&self, n: i64) -> Result<(), StoreError> {
        self.query(PRUNE, &[&n]).await.map(|_| ())
    }
}

/// In one transaction: the lock, the look, what is to be done, its answer. What is not done is rolled back before anybody is
/// answered: the lock would meet whoever comes again at once.
async fn once_on(
    connection: &mut deadpool_postgres::Object,
    what: &'static str,
    once: Option<&OnceRequest>,
    work: &impl Work,
) -> Result<Result<FirstAnswer, OnceError>, StoreError> {
    let failed = |error: tokio_postgres::Error| StoreError::from_postgres(what, &error);
    let transaction = connection.transaction().await.map_err(failed)?;
    let done = match once {
        Some(once) => locked_once(&transaction, once, work).await,
        None => work.on(&transaction).await.map(|done| done.map(|(status, body)| FirstAnswer { status, body, replayed: false })),
    };
    if matches!(done, Ok(Ok(FirstAnswer { replayed: false, .. }))) {
        transaction.commit().await.map_err(failed)?;
    } else if let (Err(error), true) = (transaction.rollback().await, done.is_ok()) {
        return Err(failed(error));
    }
    done
}

async fn locked_once(
    transaction: &deadpool_postgres::Transaction<'_>,
    once: &OnceRequest,
    work: &impl Work,
) -> Result<Result<FirstAnswer, OnceError>, StoreError> {
    let (caller, key, hash) = (&once.caller, &once.key, once.hash.0.clone().finalize().to_vec());
    if query_on(transaction, LOCK, &[caller, key]).await?.first().is_none_or(|row| !row.get::<_, bool>(0)) {
        return Ok(Err(OnceError::UnderWay));
    }
    if let Some(row) = query_on(transaction, LOOK, &[caller, key]).await?.first() {
        let (request, status): (&[u8], i16) = (row.get(0), row.get(1));
        return Ok(if request == hash {
            Ok(FirstAnswer { status: status.unsigned_abs(), body: row.get(2), replayed: true })
        } else {
            Err(OnceError::OtherRequest)
        });
    }
    let (status, body) = match work.on(transaction).await? {
        Ok(answer) => answer,
        Err(why) => return Ok(Err(why)),
    };
    query_on(transaction, KEEP, &[caller, key, &hash, &i16::try_from(status).unwrap_or(i16::MAX), &body]).await?;
    Ok(Ok(FirstAnswer { status, body, replayed: false }))
}
