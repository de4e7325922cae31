//! The store against a real PostgreSQL: each statement from each state, the rules of the SQL side, and races.

#[path = "../support/mod.rs"]
mod support;

mod bulk;
mod claim;
mod control;
mod control_races;
mod duties;
mod enqueue;
mod events;
mod explain;
mod failures;
mod fixture;
mod keys;
mod lanes;
mod leases;
mod limits;
mod limits_changed;
mod listen;
mod lists;
mod lists_large;
mod moving;
mod notes;
mod older;
mod queues;
mod queues_races;
mod races;

mod report;
mod schedules;
mod schema;
mod sql;
mod states;
mod uniques;
mod workflows;
