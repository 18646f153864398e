//! What must never happen.

use std::fmt;

macro_rules! violations {
    ($($name:ident => $text:literal,)*) => {
        /// An invariant that does not hold.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Violation { $($name,)* }

        impl Violation {
            /// All, by their names, for `crates/mutants`.
            #[allow(dead_code)]
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, stringify!($name)),)*];
        }

        impl fmt::Display for Violation {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }
    };
}

violations! {
    Exclusion => "two hold one lock",
    TooMany => "more hold permits than there are",
    TokenOrder => "a holder has a fencing token that is not greater than that of one before him",
    Unprotected => "a lock is held that no quorum of nodes stores",
    Stale => "a lock was given that was over already",
    Stuck => "a call did not settle by its deadline",
    LossNotTold => "a lock was over before its holder was told",
    LossToldWrongly => "a loss was told twice, or after the release",
    ValueRepeated => "an ownership value was used again",
    Leftover => "a key of nobody was left behind on a node that can be reached",
    KeyLeft => "a key outlived its expiry",
    TaskLeft => "a task was left behind when all was over",
    NodesLeaked => "the nodes are still referred to when all was over",
    Unserved => "a lock was free for long, and a call for it did not have it",
    FailedThoughFree => "a call failed for a lock that was free",
    Starved => "readers who came later passed a writer again and again",
    Overtaken => "a waiter was passed by those of its process that came after it",
    Misreported => "a call told what the nodes did not say",
    NeedlessFailure => "a call about a lock that is held failed, with nothing in its way",
    LossUntrue => "a lock was told lost, and was not",
    NotKept => "a lease was not extended in its time, with nothing in its way",
    Forgotten => "a waiter did not get a lock that was free",
    Livelock => "the nodes were asked for ever while no time passed",
    Panicked => "a panic",
}
