//! Deliberate mistakes for the simulation to find: what proves nothing unless it can fail.
//!
//! Without the feature `mutants`, which nothing but the tests of this crate turns on,
//! [`Mutant::is_on`] is the constant `false`, and no trace of a mistake is compiled.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Drift is not deducted from the validity.
    DriftIgnored,
    /// The validity is counted from the answers and not from the question.
    LateClock,
    /// n / 2 votes decide.
    HalfQuorum,
    /// A node that stores our value since an earlier attempt counts as a vote.
    StaleVote,
    /// A quorum is enough, also when the lock is over already.
    UntilUnchecked,
    /// An extension sets the life of a key to less than it was.
    ShorteningExtension,
    /// A call that is cancelled releases nothing.
    CallersRelease,
    /// A call that is cancelled stays in line.
    KeptHead,
}

impl Mutant {
    /// Is this mistake to be made?
    #[cfg(not(feature = "mutants"))]
    #[inline(always)]
    pub(crate) const fn is_on(self) -> bool {
        false
    }

    /// Is this mistake to be made?
    #[cfg(feature = "mutants")]
    pub(crate) fn is_on(self) -> bool {
        chosen::MUTANT.get() == Some(self)
    }

    /// The engine makes this mistake from now on, on this thread.
    #[cfg(feature = "mutants")]
    pub fn choose(mutant: Option<Self>) {
        chosen::MUTANT.set(mutant);
    }
}

#[cfg(feature = "mutants")]
mod chosen {
    use std::cell::Cell;

    thread_local!(pub(super) static MUTANT: Cell<Option<super::Mutant>> = const { Cell::new(None) });
}
