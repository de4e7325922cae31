//! Lines of the log, gathered for a moment and written together by a thread of its own.
//!
//! A server that answers tens of thousands of requests a second writes as many lines. One by one, by a thread that was woken
//! for them, a line was a third of such a request's CPU time: 8 of 26 µs.

use std::{
    io::Write,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// How long the first of some lines waits for others.
const MOMENT: Duration = Duration::from_millis(2);
/// Bytes that may wait. Where lines come faster than they can be written for long, whoever logs waits: none is lost.
const MOST: usize = 1024 * 1024;

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    came: Condvar,
    taken: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    ended: bool,
}

/// Where the subscriber writes to.
#[derive(Clone)]
pub(super) struct Gather(Arc<Shared>);

/// Writes what is left when dropped.
#[derive(Debug)]
pub struct Guard {
    shared: Option<Gather>,
    thread: Option<JoinHandle<()>>,
}

/// Starts the writing thread.
pub(super) fn start(stream: Box<dyn Write + Send>) -> (Gather, Guard) {
    let gather = Gather(Arc::default());
    let writing = gather.clone();
    let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || writing.write_all_that_comes(stream)).ok();
    let guard = Guard { shared: Some(gather.clone()), thread };
    (gather, guard)
}

impl Gather {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner) // a half line is better than no log
    }

    fn write_all_that_comes(&self, mut stream: Box<dyn Write + Send>) {
        let mut lines = Vec::new();
        loop {
            let waiting = self.0.came.wait_while(self.waiting(), |w| w.lines.is_empty() && !w.ended);
            let ended = waiting.unwrap_or_else(PoisonError::into_inner).ended;
            if !ended {
                std::thread::sleep(MOMENT);
            }
            std::mem::swap(&mut self.waiting().lines, &mut lines);
            self.0.taken.notify_all();
            // nobody reads it any more: there is nobody to tell
            let _ = stream.write_all(&lines).and_then(|()| stream.flush());
            lines.clear();
            if ended {
                return;
            }
        }
    }
}

impl Write for &Gather {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let room = self.0.taken.wait_while(self.waiting(), |w| w.lines.len() > MOST && !w.ended);
        let mut waiting = room.unwrap_or_else(PoisonError::into_inner);
        let first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if first {
            self.0.came.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Gather {
    type Writer = &'a Gather;

    fn make_writer(&'a self) -> &'a Gather {
        self
    }
}

impl std::fmt::Debug for Gather {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gather")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(gather) = self.shared.take() {
            gather.waiting().ended = true;
            gather.0.came.notify_all();
            gather.0.taken.notify_all();
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_whole_also_more_than_may_wait() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (gather, guard) = start(Box::new(Kept(kept.clone())));
        let line = format!("{}\n", "x".repeat(999));
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let (gather, line) = (gather.clone(), line.clone());
                std::thread::spawn(move || (0..1000).for_each(|_| (&gather).write_all(line.as_bytes()).expect("never fails")))
            })
            .collect();
        for writer in writers {
            writer.join().expect("no panic");
        }
        drop(guard);
        let kept = kept.lock().expect("no panic");
        assert_eq!(kept.len(), 4 * 1000 * 1000);
        assert!(kept.chunks(1000).all(|chunk| chunk == line.as_bytes()));
    }
}
