//! Attempts in processes of their own. A job that has lost two workers may be what kills them: from then on it runs where it
//! takes nobody with it.
//!
//! Such a process is the same program, started with the same arguments and a word in its environment ([`PARENT`]); its
//! `longshore_worker::run` finds that word, runs the one attempt with the program's own handlers, and returns. Job, notes and
//! outcome pass over a socket, which is the process's standard input when it starts. It ends with its worker.
//!
//! To the worker it is a handler as any other ([`Apart`]): deadline, cancellation and handing back end it from outside.

mod child;
mod frame;
mod process;

pub(crate) use self::{
    child::{Line, attempt},
    process::Apart,
};

/// The environment variable that says whose attempt a process is to run: the id of the worker's process. Processes that a
/// handler starts inherit it, but not that parent.
const PARENT: &str = "_LONGSHORE_ATTEMPT_FOR";

/// Whether a worker has started this process to run one attempt of a dangerous job: [`run`](crate::run) then does that and
/// nothing else. A program that does much before it calls `run` (takes a port, migrates a database) asks this first.
pub fn runs_one_attempt() -> bool {
    std::env::var_os(PARENT).is_some_and(|parent| *parent == *nix::unistd::getppid().to_string())
}
