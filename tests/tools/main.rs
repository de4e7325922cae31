//! Proof that what the other test programs stand on works, and fails loudly when it should.

#[path = "../support/mod.rs"]
mod support;

mod eventually;
mod http;
mod postgres;
mod private_postgres;
mod process;
mod proxy;
