//! A backlog of commands, each a process.

use super::{
    Size,
    drain::{self, Handler},
};
use crate::bench::{figures::Figures, stage::Stage};

/// The shortest program that there is.
const SETTINGS: &str = "[handlers.echo]\ncommand = [\"cat\"]\n";
/// At some hundred a second.
const MOST: u64 = 10_000;
const SLOTS: u64 = 16;

/// A worker runs a process for each job.
pub async fn run(name: &str, stage: &Stage, size: Size) -> anyhow::Result<Figures> {
    let size = Size { backlog: (size.backlog / 20).clamp(1, MOST), slots: SLOTS, ..size };
    drain::run_by(name, stage, size, Handler { settings: SETTINGS, about: "each job a process of cat" }).await
}
