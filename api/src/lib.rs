//! Longshore's HTTP API: routes, bodies, problems, and the server around them. What a job is and how it is stored is
//! `longshore-common`'s; SQL and handlers are not known here.
//!
//! ```text
//! server ─ migrates, keeps the duties     connections ─ accepts, drains
//!   request ─ x-request-id, guard, auth, time limit, panics, the log line
//!     routes ─ the table, and a file a noun
//!       waiting ─ requests that wait for jobs    feed ─ events for those who watch
//!       pages ─ the dashboard and /docs   shared ─ one answer for many who look
//!       last ─ figures, once for all who ask    metrics ─ them and more, for Prometheus
//!       idempotency ─ what is not done twice
//!       body ─ what is read of a request     openapi ─ how it is all described
//!       problem ─ what is said when it fails
//! ```

mod auth;
mod body;
mod connections;
mod feed;
mod guard;
mod idempotency;
mod last;
mod live_queues;
pub mod metrics;
mod openapi;
mod pages;
mod probe;
mod problem;
mod pull;
mod request;
mod routes;
mod server;
mod shared;
mod state;
mod waiting;

pub use self::{
    probe::{Unwell, health},
    server::{RunningApi, StartError, run, start},
};
