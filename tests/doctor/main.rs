//! `longshore doctor`: each fault is made for real, on a server of its own, and must be named with its culprit and its remedy;
//! once the remedy is applied, all is quiet again.

#[path = "../support/mod.rs"]
mod support;

mod connections;
mod disk;
mod healthy;
mod jobs;
mod locks;
mod place;
mod pooler;
mod rows;
mod schema;
mod server;
mod standby;
