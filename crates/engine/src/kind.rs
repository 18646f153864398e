//! What kind of lock is acquired.

use std::time::Duration;

/// A kind of lock. The quorum, the rounds, the line and the leases are those of all kinds: only what a node
/// stores differs, by what rule it grants, and what it tells of keys that it watches.
///
/// Readers and writers lock one key only. Beside it stand a set of the readers, each with an end of his own, and
/// the sign of a writer who waits. The key itself stores a writer's value, as that of a mutex does, or the mark
/// [`READERS`](crate::READERS): so a mutex of that key excludes both, and is excluded by both, also another
/// library's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One holder at a time: each key stores his ownership value, as go-redsync's do.
    #[default]
    Mutex,
    /// Any number of holders at a time, but none beside a writer or a mutex, and no new one while a writer's sign is
    /// there. What a writer holds becomes a reader's when it is extended as such: at no time has it neither.
    Read,
    /// One holder at a time, who leaves a sign where readers are in his way.
    Write {
        /// For how long an attempt's sign keeps new readers off, if no later attempt renews it; zero: it leaves none.
        sign: Duration,
        /// His line has left one before: he leaves one whoever is in his way, lest readers get in behind another writer.
        renews: bool,
    },
}

impl Kind {
    /// May others hold it too?
    pub(crate) fn is_shared(self) -> bool {
        self == Self::Read
    }

    /// What those wait for who want it. Writers wait by themselves: a mutex before them would leave no sign, and
    /// readers who take turns would keep them all from the name.
    pub(crate) fn awaited(self) -> Self {
        self.without_sign()
    }

    /// Can it have left a sign?
    pub(crate) fn is_writers(self) -> bool {
        matches!(self, Self::Write { .. })
    }

    /// For how long a sign of it lasts; `None` if it leaves none.
    pub(crate) fn sign(self) -> Option<Duration> {
        match self {
            Self::Write { sign, .. } if !sign.is_zero() => Some(sign),
            _ => None,
        }
    }

    /// The same, which leaves no sign.
    pub(crate) fn without_sign(self) -> Self {
        match self {
            Self::Write { .. } => Self::Write { sign: Duration::ZERO, renews: false },
            other => other,
        }
    }

    /// The same, of a line that has left signs.
    pub(crate) fn renewing_signs(self) -> Self {
        match self {
            Self::Write { sign, .. } => Self::Write { sign, renews: true },
            other => other,
        }
    }

    /// Does it leave a sign whoever is in its way?
    pub(crate) fn renews_sign(self) -> bool {
        matches!(self, Self::Write { renews: true, .. })
    }
}
