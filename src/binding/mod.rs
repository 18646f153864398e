//! N-API: calls in, completions out. Nothing is decided here.
//!
//! | file | noun |
//! |---|---|
//! | `addon` | what JavaScript sees: `Engine`, `now`, `crossing`, `scripts` |
//! | `wasm` | the same where no addon can be loaded: an engine for pools only |
//! | `crossing` | the names and numbers of all that crosses |
//! | `wire` | the records that cross, and how they are read |
//! | `outbox` | completions on their way to one JavaScript environment |
//! | `host` | takes messages, owns the clients |
//! | `thread` | the engine thread, where a host runs |
//! | `event_loop` | the event loop of JavaScript, where another one runs for pools |
//! | `spin` | spinning for a little while before the thread parks |
//! | `client` | one `Redsync`: its nodes and its calls |
//! | `holders` | who is told of a lock that is kept alive or watched |
//! | `sync` | what two threads touch, as the tests need it |
//! | `races`, `interleavings` | several event loops beside the engine thread, and every order of what they do; in the tests |
//! | `fuzz` | what must hold whatever JavaScript says; in no build but that of the tests and fuzzers |
//!
//! A call does not cross as a function call with arguments but as a record of numbers in a
//! `Float64Array`, with its strings in one text: all calls of a turn of the event loop are one
//! crossing, and so are all completions that are ready. Every call gets exactly one completion.

#[cfg(not(target_family = "wasm"))]
mod addon;
mod client;
mod crossing;
mod event_loop;
#[cfg(any(test, fuzzing))]
#[path = "../../fuzz/src/binding.rs"]
pub mod fuzz;
mod holders;
mod host;
#[cfg(all(test, feature = "loom"))]
mod interleavings;
mod outbox;
#[cfg(all(test, not(feature = "loom")))]
mod races;
#[cfg(not(target_family = "wasm"))]
mod spin;
mod sync;
#[cfg(not(target_family = "wasm"))]
mod thread;
#[cfg(target_family = "wasm")]
mod wasm;
mod wire;
