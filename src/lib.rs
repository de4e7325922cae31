//! The command line `longshore`, a file a command. It puts the other crates together and knows no SQL.

mod backend;
pub mod bench;
pub mod cli;
mod command;
mod completions;
mod database;
mod dev;
mod doctor;
mod enqueue;
mod jobs;
mod keys;
mod migrate;
mod output;
pub mod private_postgres;
mod queues;
mod roles;
mod schedules;
mod top;
mod workers;
