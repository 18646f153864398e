//! What travels between a client and a node, and what else happens at a time.

use std::cmp::Ordering;
use std::rc::Rc;

use redsync_engine::{CancellationToken, Detail, Keys, Kind, Notice, Request, Verb, Vote};

/// A command on its way to a node.
pub struct Command {
    /// Index of the link, and which of its connections.
    pub link: usize,
    pub connection: u32,
    /// The life of the node that it was sent to.
    pub life: u32,
    pub number: u64,
    pub verb: Verb,
    pub request: Rc<Request>,
    /// Still in the client's buffer: it need not leave when nobody wants its answer any more.
    pub is_buffered: bool,
    /// It will be sent again, and answered then.
    pub is_unheard: bool,
}

/// An answer on its way back.
pub struct Answered {
    pub link: usize,
    pub connection: u32,
    pub number: u64,
    pub vote: Vote,
    pub detail: Option<Detail>,
}

/// The wish to watch keys, on its way to a node. Dropped, it cannot.
pub struct Watching {
    pub link: usize,
    pub connection: u32,
    pub life: u32,
    pub keys: Keys,
    pub kind: Kind,
    pub notice: Notice,
}

pub enum What {
    Arrival(Command),
    Answer(Answered),
    /// Somebody begins to watch keys.
    Watch(Watching),
    /// A node tells over a link, and a connection of it, that this key has changed; `None`: any may have.
    Told(usize, u32, Option<Box<str>>),
    /// A fault, and the next one after a pause.
    Fault,
    NodeResumes(usize),
    NodeRestarts(usize),
    /// Its clock jumps by so many milliseconds.
    Jump(usize, i64),
    /// Of its two lives the later one stays.
    Reunion(usize),
    ClientResumes(usize),
    Close(usize),
    Abort(CancellationToken),
    Healing,
    /// Nothing: the invariants are looked at.
    Look,
    /// The end of a pause of the simulation itself.
    Continue,
    /// A call is still waiting for its outcome.
    GiveUp,
}

/// Something that happens at a time, in the order in which it was planned.
pub struct Event {
    pub at: u64,
    pub number: u64,
    pub what: What,
}

impl Ord for Event {
    /// The first is the greatest, as the heap wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Event {}
