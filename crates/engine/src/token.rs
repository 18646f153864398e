//! Fencing tokens: numbers that grow with every holder of a name, so that a store can refuse one who comes too
//! late.
//!
//! A ballot: the number is proposed with the acquisition, and a node grants only a greater one than ever before.
//! Two quorums have a node in common, so each holder's number is greater than that of every holder before him;
//! no clock has to be right for that. (The proposal numbers of Paxos:
//! <https://lamport.azurewebsites.net/pubs/paxos-simple.pdf>; what tokens are for:
//! <https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html>)

use std::fmt;
use std::num::NonZeroU64;

/// Behind the random part of an ownership value: `RANDOM#t=TOKEN`.
pub(crate) const IN_VALUE: &str = "#t=";

/// A fencing token: microseconds since 1970 by the clock of whoever proposed it first, or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(NonZeroU64);

impl Token {
    /// The greatest: JavaScript counts no further.
    pub const MAX: u64 = (1 << 53) - 1;

    /// The token of this number, from 1 to [`Token::MAX`].
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).filter(|number| number.get() <= Self::MAX).map(Self)
    }

    /// Its number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The nearest to this number.
    pub(crate) fn nearest(number: u64) -> Self {
        Self::new(number.min(Self::MAX)).unwrap_or(Self(NonZeroU64::MIN))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
