//! What goes wrong in a schedule.

use std::cell::Cell;
use std::fmt;
use std::ops::AddAssign;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// One kind of fault, or of event that a lock has to survive.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            pub const ALL: &[(Fault, &str)] = &[$((Fault::$name, $text),)*];
        }
    };
}

faults! {
    Delayed => "messages delayed beyond the node timeout",
    Lost => "commands lost",
    Unanswered => "answers lost",
    Refused => "commands refused",
    Unsent => "commands that never left",
    Reset => "links reset",
    /// A command of a link that was reset, applied behind those of the link that came after it.
    Straggler => "commands of a reset link applied behind newer ones",
    NodePaused => "nodes paused",
    NodeCrashed => "nodes crashed, data kept",
    NodeForgot => "nodes crashed, data lost",
    FailedOver => "nodes failed over to a replica that lags",
    Jumped => "clocks of nodes that jumped",
    Paced => "clocks of nodes that ran faster or slower from then on",
    Stepped => "clocks of nodes that were set, by less than the drift",
    Stuttered => "nodes that stood still for a moment",
    /// It was granted, and the node was back before the round was over.
    Amnesia => "nodes that granted a lock, told so, and forgot it at once",
    Repeated => "commands that a client sent twice",
    Strayed => "commands that others of their link overtook",
    Split => "nodes with two lives, each with some of the clients",
    Abstained => "acquisitions refused by nodes that have just started",
    OtherToken => "acquisitions refused for their fencing tokens",
    ClientPaused => "clients paused",
    ClientKilled => "clients killed",
    Aborted => "calls aborted",
    Closed => "clients closed",
    Dropped => "locks dropped without unlock",
    HandedOver => "locks handed over by value",
    Stalled => "holders that show no sign of life",
    /// A script about several names that was refused when it had stored the first.
    RefusedHalfway => "scripts refused half-way",
    Hasty => "calls too hasty for their way to the nodes",
    LateSource => "calls whose values or pauses come late",
    Rested => "locks that keep others off after their release",
    SilentSource => "calls whose values or pauses never come",
}

/// The faults of nodes and connections, each of which can cost an attempt.
const FAILURES: &[Fault] = &[
    Fault::Unsent,
    Fault::Reset,
    Fault::NodePaused,
    Fault::Stuttered,
    Fault::NodeCrashed,
    Fault::NodeForgot,
    Fault::Amnesia,
    Fault::FailedOver,
    Fault::Split,
];

const COUNT: usize = Fault::ALL.len();

/// How often each fault was injected.
#[derive(Clone, Debug)]
pub struct Injected([u64; COUNT]);

impl Default for Injected {
    fn default() -> Self {
        Self([0; COUNT])
    }
}

impl AddAssign<&Self> for Injected {
    fn add_assign(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, more)| *sum += more);
    }
}

impl Injected {
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &(fault, text) in Fault::ALL {
            writeln!(f, "  {:>12} {text}", self.of(fault))?;
        }
        write!(f, "  {:>12} faults in all", self.total())
    }
}

/// The faults of the schedule that is running.
pub struct Counter([Cell<u64>; COUNT]);

impl Default for Counter {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Cell::default()))
    }
}

impl Counter {
    /// How often a node or a connection has failed.
    pub fn failures(&self) -> u64 {
        FAILURES.iter().map(|&fault| self.0[fault as usize].get()).sum()
    }

    pub fn count(&self, fault: Fault) {
        let cell = &self.0[fault as usize];
        cell.set(cell.get() + 1);
    }

    pub fn injected(&self) -> Injected {
        Injected(std::array::from_fn(|index| self.0[index].get()))
    }
}
