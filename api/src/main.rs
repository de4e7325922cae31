//! `longshore-api`: the HTTP API as a program of its own.

use std::process::ExitCode;

use longshore_common::program::Program;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Program { name: "longshore-api", about: "Longshore's HTTP API: jobs in, jobs out, on PostgreSQL." }
        .main(async |settings, stop| longshore_api::run(settings, stop).await, async |settings| longshore_api::health(settings).await)
}
