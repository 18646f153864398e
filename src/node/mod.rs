//! The nodes that vote: one module a backend.

pub mod callback;
pub mod redis;
