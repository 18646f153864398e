//! What kind of lock is acquired.

/// A kind of lock. The quorum, the rounds, the waiting and the leases are those of all kinds: only what a
/// node stores differs, and by what rule it grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// One holder at a time: each key stores his ownership value, as go-redsync's do.
    #[default]
    Mutex,
}
