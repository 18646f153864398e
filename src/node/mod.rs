//! The nodes that vote: one module a backend.

pub mod fence;
pub mod pool;
pub mod redis;
