//! The nodes that vote: one module a backend.

pub mod pool;
#[cfg(not(target_family = "wasm"))]
pub mod redis;
pub mod script;
pub mod side_keys;
