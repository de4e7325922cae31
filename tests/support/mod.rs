//! What tests share: a database each, real processes, a network that fails on demand, bounded waits.
//!
//! A test program takes it in with `#[path = "../support/mod.rs"] mod support;`. It knows neither the schema
//! nor the API; `tests/tools` proves that it works.

#![allow(dead_code, reason = "each test program uses a part")]

pub mod eventually;
pub mod http;
pub mod postgres;
pub mod process;
pub mod proxy;
