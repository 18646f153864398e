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
    /// Whoever leaves the line does not wake the next one.
    LeaveWakesNobody,
    /// Whoever is the head stays it, also while it waits for its caller or when it cannot have the lock.
    HeadKeepsTurn,
    /// Whoever came last is the head.
    LastComeFirst,
    /// Closing waits for calls, and not for the releases behind their backs.
    CloseDoesNotWait,
    /// An extension by the holder can shorten his lease.
    LeaseShortened,
    /// One extension that failed, and the lock is told lost.
    LossToldEarly,
    /// A lease is extended when three intervals have passed.
    LateExtension,
    /// The first of two leases of one lock is not replaced.
    LeasedTwice,
    /// A script about several names that was refused is taken to have stored nothing.
    HalfwayForgotten,
    /// Who was asked in the second part of an attempt is forgotten.
    AskedForgotten,
    /// A release is told to have been one, whatever the nodes have said.
    UnlockUnchecked,
    /// A lock is told to be stored, whatever the nodes have said.
    ValidUnchecked,
    /// What a lost lock had stored again on a minority is left there.
    MinorityLeft,
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
