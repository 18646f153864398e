//! What kind of lock is acquired.

/// A kind of lock. The quorum, the rounds, the line and the leases are those of all kinds: only what a node
/// stores differs, by what rule it grants, and what it tells of keys that it watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// One holder at a time: each key stores his ownership value, as go-redsync's do.
    #[default]
    Mutex,
}
