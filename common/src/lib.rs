//! Longshore's words, rules and store.
//!
//! The rules ([`job`], [`key`], [`duration`], [`json`], [`notes`], [`outcome`]) are pure: no database, no clock, no chance. The [`store`]
//! holds every SQL statement, [`doctor`] judges what it sees. Nothing here knows HTTP or handlers; those are the crates `api` and `worker`.

pub mod cron;
pub mod doctor;
pub mod duration;
pub mod duties;
pub mod fault;
pub mod job;
pub mod json;
pub mod key;
pub mod log;
pub mod metrics;
pub mod notes;
pub mod outcome;
pub mod program;
pub mod settings;
pub mod store;
pub mod trace;

/// The driver of PostgreSQL, for users of the worker crate.
pub use tokio_postgres as postgres;
