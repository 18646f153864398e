//! The nodes that vote: one module a backend.

pub mod pool;
pub mod redis;
pub mod side_keys;
