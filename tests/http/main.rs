//! The HTTP API over real sockets: a file a resource. Each test has an API in this process, on a database of its own.

#[path = "../support/mod.rs"]
mod support;

mod api;
mod batch;
mod both_ways;
mod bulk;
mod bulk_commands;
mod command_line;
mod control;
mod database;
mod events;
mod explain;
mod failures;
mod guards;
mod health;
mod idempotency;
mod jobs;
mod jobs_commands;
mod keys;
mod keys_commands;
mod keys_login;
mod keys_queues;
mod leases;
mod limits;
mod lists;
mod logs;
mod metrics;
mod once;
mod openapi;
mod pages;
mod problems;
mod queues_settings;
mod queues_workers;
mod schedules;
mod schema;
mod shared;
mod stats;
mod tail;
mod top;
mod waiting;
mod workflows;
