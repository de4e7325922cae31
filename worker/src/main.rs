//! `longshore-worker`: the worker with its built-in handlers.

use std::process::ExitCode;

use longshore_common::program::Program;
use longshore_worker::handlers;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROGRAM: Program = Program { name: "longshore-worker", about: "Longshore's worker: leases jobs, runs their handlers, records the outcomes." };

fn main() -> ExitCode {
    PROGRAM.main(
        async |settings, stop| longshore_worker::run(settings, handlers::configured(&settings.worker)?, stop).await,
        async |settings| longshore_worker::health(settings).await,
    )
}
