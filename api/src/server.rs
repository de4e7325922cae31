//! The server: listens at once, so that probes are answered while the database is away; brings up the schema beside it;
//! drains when it is told to stop.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use longshore_common::{
    duties,
    program::{Exit, Failure, VERSION},
    settings::{SettingError, Settings},
    store::{Store, StoreError, migrate::MigrateError, until_available},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{auth::Keys, connections, guard::Guard, request::EveryRequest, routes, shared::Shared, state::State};

/// What a stop leaves requests beyond their own time limit.
const BEYOND_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the API could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is missing or wrong.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Nobody may listen there, or somebody does.
    #[error("cannot listen on {address} (LONGSHORE_API__LISTEN)")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The schema cannot be brought up.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// It is not known who may use it.
    #[error("cannot read the API keys")]
    Keys(#[source] StoreError),
    /// The server ended by itself.
    #[error("the server ended")]
    Ended(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Failure for StartError {
    fn exit(&self) -> Exit {
        match self {
            Self::Setting(error) => error.exit(),
            Self::Migrate(error) => error.exit(),
            Self::Listen { .. } | Self::Keys(_) | Self::Ended(_) => Exit::Failed,
        }
    }
}

/// An API that listens.
#[derive(Debug)]
pub struct RunningApi {
    /// Where; with a port of its own where the settings left that open.
    pub address: SocketAddr,
    serving: JoinHandle<Result<(), StartError>>,
}

impl RunningApi {
    /// Waits until it has stopped.
    ///
    /// # Errors
    /// Where it ended by itself.
    pub async fn wait(self) -> Result<(), StartError> {
        self.serving.await.unwrap_or_else(|panic| Err(StartError::Ended(panic.into())))
    }
}

/// Runs the API until `stop`.
///
/// # Errors
/// Where it cannot start, or ends by itself.
pub async fn run(settings: &Settings, stop: CancellationToken) -> Result<(), StartError> {
    start(settings, stop)?.wait().await
}

/// Starts the API; it listens when this returns.
///
/// # Errors
/// Where a setting is wrong or the address cannot be listened on. What is wrong with the database is found later, by
/// [`RunningApi::wait`].
pub fn start(settings: &Settings, stop: CancellationToken) -> Result<RunningApi, StartError> {
    let address = settings.api.listen;
    let store = Store::new(&settings.database, "longshore-api", State::statement_timeout(settings.api.timeout))?;
    tracing::info!(version = VERSION, database = store.shown(), "longshore-api serves the HTTP API");
    let cannot = |source| StartError::Listen { address, source };
    let listener = connections::listen(address).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    tracing::info!(addr = %address, "listening");
    let serving = tokio::spawn(serve(settings.clone(), store, listener, stop));
    Ok(RunningApi { address, serving })
}

async fn serve(settings: Settings, store: Store, listener: TcpListener, stop: CancellationToken) -> Result<(), StartError> {
    let timeout = settings.api.timeout;
    let listen = settings.api.listen;
    // stops when the API is told to, and when it cannot go on
    let stop = stop.child_token();
    let _stops_the_rest = stop.clone().drop_guard();
    let state = Arc::new(State::new(store.clone(), Keys::new(listen.ip().is_loopback() || settings.api.open), &stop));
    let endpoint =
        EveryRequest::around(Shared::around(routes::routes(&state)), Guard::new(&settings.api.hosts), state.keys.clone(), state.metrics.clone(), timeout);
    let background = tokio::spawn(work_behind(listen, settings.worker.poll, store, state, stop.clone()));
    let background = async {
        let result = background.await.unwrap_or_else(|panic| Err(StartError::Ended(panic.into())));
        stop.cancel();
        result
    };
    let ((), worked) = tokio::join!(connections::serve(listener, endpoint, &stop, timeout + BEYOND_TIMEOUT), background);
    worked?;
    tracing::info!("stopped");
    Ok(())
}

/// Brings up the schema and learns the API keys, then does what must be done whoever runs. Ends with `stop`.
async fn work_behind(listen: SocketAddr, poll: Duration, store: Store, state: Arc<State>, stop: CancellationToken) -> Result<(), StartError> {
    let Some(changed) = migrate(&store, &stop).await? else { return Ok(()) };
    let Some(keys) = until_available(&stop, || store.api_keys()).await else { return Ok(()) };
    let keys = keys.map_err(StartError::Keys)?;
    if !state.keys.suffice(&keys) {
        return Err(SettingError(format!(
            "LONGSHORE_API__LISTEN={listen} is not a loopback address, and there are no API keys: anybody who reaches it could use it. Create a key \
             (longshore keys create --name … --scope …), or set LONGSHORE_API__OPEN=true where the network keeps strangers out"
        ))
        .into());
    }
    state.keys.learn(keys);
    state.open();
    tracing::info!(changed, "the schema is up to date");
    let (duties, queues) = (duties::run(store.clone(), state.waker.clone(), poll, stop.clone()), state.live_queues.keep_up(&store, stop.clone()));
    tokio::join!(duties, queues, state.waiting.keep_up(&store), state.feed.keep_up(&store), state.pull.keep_up(&store, poll), state.keys.keep_up(&store, stop));
    Ok(())
}

/// Migrates as soon as the database can be reached, and returns whether that changed anything; `None`: `stop` came first.
async fn migrate(store: &Store, stop: &CancellationToken) -> Result<Option<bool>, StartError> {
    let migrated = until_available(stop, async || match store.migrate().await {
        Err(MigrateError::Store(away)) if away.is_unavailable() => Err(away),
        other => Ok(other),
    });
    match migrated.await {
        None => Ok(None),
        Some(Err(error)) => Err(MigrateError::Store(error).into()),
        Some(Ok(result)) => Ok(Some(result?)),
    }
}
