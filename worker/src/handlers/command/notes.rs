//! What a program tells of its job while it runs: it writes its progress and its checkpoint, as JSON, into two files that its
//! environment names.

use std::{
    convert::Infallible,
    io::Read,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use longshore_common::json::RawJson;

use super::folder::Folder;
use crate::handler::Context;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(1);
/// Bytes of a file that are read: more than either may have.
const LONGEST: u64 = 80 * 1024;

/// The two files. They need not be there.
#[derive(Debug)]
pub(super) struct Told {
    progress: PathBuf,
    checkpoint: PathBuf,
}

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct Seen {
    progress: Option<(SystemTime, u64)>,
    checkpoint: Option<(SystemTime, u64)>,
}

impl Told {
    pub fn new(folder: &Folder) -> Self {
        Self { progress: folder.path().join("progress"), checkpoint: folder.path().join("checkpoint") }
    }

    pub fn progress(&self) -> &Path {
        &self.progress
    }

    pub fn checkpoint(&self) -> &Path {
        &self.checkpoint
    }

    /// Looks for as long as it is polled.
    pub async fn follow(&self, context: &Context, seen: &mut Seen) -> Infallible {
        loop {
            tokio::time::sleep(EVERY).await;
            self.look(context, seen).await;
        }
    }

    /// Tells what is new.
    pub async fn look(&self, context: &Context, seen: &mut Seen) {
        if let Some(progress) = read(&self.progress, &mut seen.progress).await {
            let told = progress.map(|progress| context.progress(progress));
            complain(context, "progress", told);
        }
        if let Some(checkpoint) = read(&self.checkpoint, &mut seen.checkpoint).await {
            let told = checkpoint.map(|checkpoint| context.set_checkpoint(checkpoint));
            complain(context, "checkpoint", told);
        }
    }
}

/// The program's own log is where its author looks.
fn complain(context: &Context, what: &str, told: Result<Result<(), crate::NoteError>, String>) {
    match told {
        Ok(Ok(())) => {}
        Ok(Err(error)) => context.log(format!("longshore: {error}")),
        Err(error) => context.log(format!("longshore: the {what} is not kept: {error}")),
    }
}

/// `None`: there is nothing new.
async fn read(path: &Path, seen: &mut Option<(SystemTime, u64)>) -> Option<Result<RawJson, String>> {
    // A link could lead anywhere, and a pipe would hold us up.
    let meta = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let state = (meta.modified().ok()?, meta.len());
    if *seen == Some(state) {
        return None;
    }
    *seen = Some(state);
    let path = path.to_owned();
    let text = tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        std::fs::File::open(path)?.take(LONGEST).read_to_end(&mut text).map(|_| text)
    });
    let text = text.await.ok()?.ok()?;
    if text.is_empty() {
        return None; // it is about to be written
    }
    let text = String::from_utf8(text).map_err(|error| error.to_string());
    Some(text.and_then(|text| RawJson::parse(text).map_err(|error| error.to_string())))
}
