//! What a program writes: its standard output becomes the result, its standard error the job's log. Both are read to their
//! end, so that it never waits for us; what is beyond the limits is counted and forgotten.

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{handler::Context, handlers::output::Output};

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// Bytes of standard error that an error of the attempt quotes.
const QUOTED: usize = 2 * 1024;
/// A line of the log that is longer is broken.
const LINE: usize = 8 * 1024;

/// Reads all of standard output.
pub(super) async fn read(output: &mut Output, mut stdout: impl AsyncRead + Unpin) {
    let mut chunk = vec![0; CHUNK];
    loop {
        match stdout.read(&mut chunk).await {
            Ok(0) | Err(_) => return, // an end is an end
            Ok(n) => output.take(&chunk[..n]),
        }
    }
}

/// The job's log, from standard error.
#[derive(Debug)]
pub(super) struct Log {
    context: Context,
    /// Of a line that has no end yet.
    begun: Vec<u8>,
    last: Vec<u8>,
}

impl Log {
    pub fn new(context: Context) -> Self {
        Self { context, begun: Vec::new(), last: Vec::new() }
    }

    /// Reads all of it; lines go to the log as they come.
    pub async fn read(&mut self, mut stderr: impl AsyncRead + Unpin) {
        let mut chunk = vec![0; CHUNK];
        loop {
            match stderr.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(n) => self.take(&chunk[..n]),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.last.extend_from_slice(bytes);
        let surplus = self.last.len().saturating_sub(QUOTED);
        self.last.drain(..surplus);
        self.begun.extend_from_slice(bytes);
        if let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') {
            self.tell(end);
            self.begun.drain(..=end);
        }
        if self.begun.len() > LINE {
            self.tell(self.begun.len());
            self.begun.clear();
        }
    }

    fn tell(&self, end: usize) {
        self.context.log(String::from_utf8_lossy(&self.begun[..end]));
    }

    /// What is left goes to the log, and the last of all is returned.
    pub fn finish(self) -> String {
        if !self.begun.is_empty() {
            self.tell(self.begun.len());
        }
        String::from_utf8_lossy(&self.last).trim().to_owned()
    }
}
