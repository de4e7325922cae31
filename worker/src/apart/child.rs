//! The process that runs one attempt for a worker, from inside.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use longshore_common::{
    json::RawJson,
    notes::Notes,
    store::{Store, listen::Waker},
    trace::{Role, Span},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::frame::{self, End, FromChild, Start, ToChild};
use crate::{
    STATEMENT_TIMEOUT, WorkerError,
    attempt::call,
    handler::{
        Context, HandlerError, Handlers,
        desk::{Completed, Database, Desk},
    },
};

/// The line to the worker.
#[derive(Debug)]
pub(crate) struct Line {
    /// Written to at once and by whoever has something to tell, so that what was told before the process died has arrived.
    socket: Mutex<UnixStream>,
    checkpoint: Mutex<Option<RawJson>>,
    written: Notify,
    /// The attempt has ended: the process ends by itself, once its log is written and its spans are sent.
    ended: AtomicBool,
}

impl Line {
    /// Takes the socket from standard input, where handlers and the processes that they start then find nothing.
    fn take() -> io::Result<UnixStream> {
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
        Ok(socket)
    }

    pub fn note(&self, note: impl FnOnce(&mut Notes)) {
        let mut notes = Notes::default();
        note(&mut notes);
        if let Some(checkpoint) = &notes.checkpoint {
            *self.checkpoint.lock().expect("no panic while held") = Some(checkpoint.clone());
        }
        self.send(&FromChild::Notes(notes));
    }

    pub fn checkpoint(&self) -> Option<RawJson> {
        self.checkpoint.lock().expect("no panic while held").clone().filter(|checkpoint| checkpoint.as_str() != "null")
    }

    pub async fn write_notes(&self) {
        self.send(&FromChild::Write);
        self.written.notified().await;
    }

    pub fn tell_completed(&self, result: Option<&RawJson>) {
        self.send(&FromChild::Completed(result.cloned()));
    }

    fn send(&self, frame: &FromChild) {
        // a worker that is gone takes this process with it
        let _ = frame::write(&mut *self.socket.lock().expect("no panic while held"), frame);
    }

    /// Hears the worker until it is gone, and this process goes with it.
    fn hear(&self, mut socket: UnixStream, cancellation: &CancellationToken) {
        loop {
            match frame::read(&mut socket) {
                Ok(ToChild::Cancel) => cancellation.cancel(),
                Ok(ToChild::Written) => self.written.notify_one(),
                Ok(ToChild::Start(_)) => {}
                Err(_) if self.ended.load(Ordering::Relaxed) => return,
                Err(_) => std::process::exit(1), // where there is no signal at the death of a parent, or it was late
            }
        }
    }
}

/// Runs the attempt that this process was started for.
pub(crate) async fn attempt(handlers: &Handlers) -> Result<(), WorkerError> {
    let broken = WorkerError::Apart;
    let mut socket = Line::take().map_err(broken)?;
    // Whoever stops all of a service's processes means the worker, which then decides when this one ends.
    let (_terminate, _interrupt) = (signal(SignalKind::terminate()).map_err(broken)?, signal(SignalKind::interrupt()).map_err(broken)?);
    let ToChild::Start(start) = frame::read(&mut socket).map_err(broken)? else {
        return Err(broken(io::Error::other("the worker did not say what to do")));
    };
    let Start { job, left, checkpoint, database } = *start;
    // one for a transaction, one for the rest
    let settings = database.into_settings(2);
    let store = Store::new(&settings, "longshore-worker", STATEMENT_TIMEOUT)?;
    let database = Database::new(store.clone(), Waker::start(&store), settings.pool);
    let line = Arc::new(Line {
        socket: Mutex::new(socket.try_clone().map_err(broken)?),
        checkpoint: Mutex::new(checkpoint),
        written: Notify::new(),
        ended: AtomicBool::new(false),
    });
    let cancellation = CancellationToken::new();
    let (hears, cancels) = (line.clone(), cancellation.clone());
    // a thread, so that handlers that block theirs hear it
    thread::Builder::new().name("longshore-line".to_owned()).spawn(move || hears.hear(socket, &cancels)).map_err(broken)?;
    let handler = handlers.get(&job.lane.kind);
    // the attempt's own span is the worker's
    let span = Span::below(job.traceparent.as_deref(), Role::Internal, &format!("run {} apart", job.lane.kind));
    let context = Context {
        job: Arc::new(job),
        deadline: left.and_then(|left| Instant::now().checked_add(left)),
        cancellation,
        completed: Completed::default(),
        desk: Desk::Apart { line: line.clone(), database },
    };
    let ended = match handler {
        // where it was called, it blocks nothing but this process; elsewhere it may be moved by its runtime
        Some(handler) => span.around(call(&*handler, context)).await,
        None => Err(HandlerError::failed("this program has no handler for the kind when it is started anew: it must call run with the same handlers")),
    };
    drop(span);
    line.ended.store(true, Ordering::Relaxed);
    line.send(&FromChild::End(End::of(ended)));
    Ok(())
}
