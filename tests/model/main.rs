//! Random calls against a small model in memory: one after the other, with everything compared after each, and many at once.
//! The model takes every new state from the tables in `job/state.rs` and `job/call.rs`; it has none of its own.

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "it is the fixture of tests/store, which uses all of it")]
#[path = "../store/fixture.rs"]
mod fixture;

mod crowd;
mod job;
mod model;
mod step;
mod tables;
mod walk;
