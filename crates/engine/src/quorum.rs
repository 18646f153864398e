//! How many votes decide.

/// The number of nodes and of votes that decide: floor(n / 2) + 1.
///
/// Any two quorums share a node, so two clients cannot both have one. An even number of nodes can
/// be split into halves, neither of which is a quorum: that attempt has failed.
///
/// ```
/// use redsync_engine::Quorum;
/// let quorum = Quorum::of(5);
/// assert_eq!(quorum.needed(), 3);
/// assert!(quorum.is_reached(3));
/// assert!(quorum.is_out_of_reach(3)); // three nodes that will not grant leave only two
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    size: usize,
}

impl Quorum {
    /// The quorum of `size` nodes.
    pub fn of(size: usize) -> Self {
        Self { size }
    }

    /// Number of nodes.
    pub fn size(self) -> usize {
        self.size
    }

    /// Number of votes that decide.
    pub fn needed(self) -> usize {
        self.size / 2 + 1
    }

    /// Do that many equal votes decide?
    pub fn is_reached(self, votes: usize) -> bool {
        votes >= self.needed()
    }

    /// Once that many nodes have not granted, can the others still make a quorum?
    pub fn is_out_of_reach(self, not_granted: usize) -> bool {
        self.size - not_granted < self.needed()
    }
}
