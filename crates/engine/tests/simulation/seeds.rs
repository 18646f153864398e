//! Schedules that have found something once.

/// A seed of `Profile::Sound`, and what it had found.
pub const SEEDS: &[(u64, &str)] = &[];
