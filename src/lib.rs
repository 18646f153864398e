//! The Node.js addon around the [quorum engine](redsync_engine).
//!
//! # Layout
//!
//! | place | noun |
//! |---|---|
//! | `binding` | N-API: calls in, completions out; decides nothing |
//! | `node::redis` | a node over one link to a Redis server |
//! | `node::pool` | a node over a pool of JavaScript |
//! | `node::script` | what runs on servers, for both |
//! | `clock`, `random` | the engine's time and randomness, from the operating system |
//! | `fuzz` | what the fuzzers of `fuzz/` drive, and the tests with them |
//!
//! All of it but the N-API entries runs on one thread, which is started by the first call and serves
//! every `Redsync` of the process, worker threads included; but those whose nodes are all pools are served
//! on the thread of their event loop. As a WebAssembly module it has no N-API and no thread, and asks no servers itself.

#![cfg_attr(
    target_family = "wasm",
    allow(dead_code, unused_variables, reason = "what only servers and threads need")
)]

mod binding;
mod clock;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/src/targets.rs"]
pub mod fuzz;
mod node;
mod random;

/// Half of what it cost to keep a lock alive was the C library's allocator, and it is a poor one
/// where that library is musl. What looks for errors of memory looks at the C library's (`scripts/test-memory.js`).
#[cfg(not(any(target_family = "wasm", system_allocator)))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
