//! The names and numbers of all that crosses, each told once: `lib/crossing.js` takes them from here.

use std::collections::HashMap;

use redsync_engine::Loss;

use crate::node::pool::Said;

/// What crosses as a number and has a name on both sides.
pub trait Numbered: Copy + 'static {
    const ALL: &'static [(&'static str, Self)];

    fn number(self) -> i32;

    fn from_number(number: f64) -> Option<Self> {
        Self::ALL.iter().map(|(_, it)| *it).find(|it| f64::from(it.number()) == number)
    }
}

/// Makes such an enum, or such a one of an enum that stands where its noun is.
macro_rules! numbered {
    ($(#[$about:meta])* enum $set:ident {
        $($(#[$doc:meta])* $name:ident $(= $number:literal)?,)*
    }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub enum $set { $($(#[$doc])* $name $(= $number)?,)* }

        numbered!($set { $($name),* });
    };
    ($set:ident { $($name:ident),* }) => {
        impl Numbered for $set {
            const ALL: &'static [(&'static str, Self)] = &[$((stringify!($name), Self::$name)),*];

            fn number(self) -> i32 {
                match self { $(Self::$name => Self::$name as i32),* }
            }
        }
    };
}

numbered! {
    /// What a record asks for; `wire::Operation` says with what.
    enum Code {
        Lock, TryLock, Unlock, Extend, Valid, Cancel, Answer, Health, Ready, Close, Watch, LetExpire,
        PoolAnswer, Advance, Inspect, Adopt, Scan, Guard,
    }
}

impl Code {
    /// Whether the call is a new one, to be told how it ended.
    pub fn has_completion(self) -> bool {
        use Code::*;
        !matches!(self, Cancel | Answer | Watch | LetExpire | PoolAnswer | Advance | Guard)
    }
}

numbered! {
    /// The outcome of a call, or a question of the engine to it.
    enum Outcome {
        /// `number`: until, on the boot clock; text: the value.
        Held,
        /// `number`: 1 true, 0 false.
        Done,
        /// `number`: attempts; text: one line a node.
        Failed,
        Taken,
        NotExtended,
        Expired,
        /// The caller's own function failed; JavaScript knows why.
        Refused,
        Cancelled,
        Closed,
        /// A bug: the task of the call has panicked.
        Panicked,
        /// Text: one line a node.
        Health,
        /// Text: one line a node, then the values.
        Inspected,
        /// `number`: the length of where to go on, which the text begins with; then the keys in JSON.
        Page,
        /// `number`: attempts made. Not the end of the call, but a question to it.
        AskDelay,
        /// `number`: the attempt.
        AskValue,
        /// What the call saw, ahead of its completion. `number`: attempts; text: how often it waited,
        /// then one line a node.
        Report,
        /// The lock of this lease is lost. `number`: until, on the boot clock; text: the number of why.
        Lost,
        /// This lease has ended, and not by a loss: nothing more is said under its number.
        Ended,
        /// Nobody asks for the lock of this lease to be extended any more.
        Dropped,
        /// A node was connected to. The call is the client, `number` the index of the node; text: what the server
        /// calls itself, '' if it does not say.
        LoggedIn,
        /// This and all below are for a pool. What follows, up to the question, is one question. The call
        /// is the client, `number` the index of the node; text: the ownership value.
        ToPool,
        /// A key of the question. `number`: its expiry; text: the key.
        Key,
        /// The key of the last fencing token of a key of the question. `number`: the token that is proposed;
        /// text: the key.
        FenceKey,
        /// The key of those who read what a key of the question stands for.
        ReadersKey,
        /// The key of the sign of a writer. `number`: how long that lasts, 0 for none; text: the key.
        SignKey,
        /// The question, which is the call. `number`: until when somebody waits for it, on the boot clock.
        AskAcquire,
        AskAcquireFenced,
        AskAcquireRead,
        AskAcquireWrite,
        AskAcquireWriteFenced,
        AskRelease,
        AskReleaseRead,
        AskReleaseWrite,
        AskExtend,
        /// Extend, and store the value again where the key has vanished.
        AskRecreate,
        AskExtendRead,
        AskRecreateRead,
        AskShorten,
        AskOwner,
        AskOwnerRead,
        /// Is the pool there?
        AskHealth,
        AskInspect,
        /// Which keys may be locks? The key is a pattern, the value says where to go on.
        AskScan,
    }
}

numbered!(Said { Granted, Taken, Absent, Found, Above, UpTo, Readers, Page, Failed, Unsent });

numbered!(Loss { Expired, Taken, Deleted, MaxHold, MaxStall, Closed });

numbered! {
    /// What is so of a mutex, bit by bit.
    enum Flag {
        FailFast = 1, Shuffle = 2, RecreateOnExtend = 4, AskValue = 8, AskDelay = 16, RandomDelay = 32,
        Fencing = 64, Read = 128, Write = 256,
    }
}

numbered! {
    /// Where the numbers of a record stand; the last one says where those of its operation begin.
    enum Header { Length, Operation, Call, Client, Operands, }
}

numbered! {
    /// Where the operands of a call on a mutex stand among those; the last one says where the lengths of
    /// its keys begin.
    enum Operand {
        Expiry, Tries, Wait, Delay, DriftFactor, TimeoutFactor, Flags, Interval, MaxHold, MaxStall, Until,
        Quarantine, Permits, Value, Keys,
    }
}

numbered! {
    /// Where the numbers of a completion stand; the last one says where the next one begins.
    enum Completion {
        Call, Outcome, Number,
        /// The length of its text.
        Text,
        Next,
    }
}

#[cfg(not(target_family = "wasm"))]
numbered! {
    /// The first number of the clients of the engine thread, and of those of an event loop.
    enum First { ThreadClient = 1, LoopClient = 0x4000_0000, }
}

#[cfg(target_family = "wasm")]
numbered! {
    /// All clients are of the event loop, and a clock for tests is told of there, too.
    enum First { LoopClient = 1, }
}

/// The numbers of all names, by the set and by the name.
pub fn sets() -> HashMap<&'static str, HashMap<&'static str, i32>> {
    HashMap::from([
        ("OPERATION", numbers::<Code>()),
        ("OUTCOME", numbers::<Outcome>()),
        ("VOTE", numbers::<Said>()),
        ("LOSS", numbers::<Loss>()),
        ("FLAG", numbers::<Flag>()),
        ("HEADER", numbers::<Header>()),
        ("OPERAND", numbers::<Operand>()),
        ("COMPLETION", numbers::<Completion>()),
        ("FIRST", numbers::<First>()),
    ])
}

fn numbers<Set: Numbered>() -> HashMap<&'static str, i32> {
    Set::ALL.iter().map(|(name, it)| (*name, it.number())).collect()
}
