//! The set of nodes that vote, and what their mutexes share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use rand::{Rng, RngExt};
use tokio::sync::Notify;

use crate::cleanup::Missed;
use crate::clock::Clock;
use crate::lease::{Leases, Loss};
use crate::node::{Keys, Node};
use crate::queue::Queues;
use crate::quorum::Quorum;
use crate::value::Value;

/// The rounds that are under way, of all sets of nodes that share it.
#[derive(Default)]
pub struct Load {
    rounds: Cell<usize>,
    phase: Cell<u64>,
    turned: Notify,
}

impl Load {
    /// Rounds under way.
    pub fn rounds(&self) -> usize {
        self.rounds.get()
    }

    /// The number of the phase: another one begins with a round where none was under way, and another
    /// when the last of them ends.
    pub fn phase(&self) -> u64 {
        self.phase.get()
    }

    /// Waits until this phase is over.
    pub async fn end_of(&self, phase: u64) {
        while self.phase.get() == phase {
            self.turned.notified().await;
        }
    }

    fn set(&self, rounds: usize) {
        let before = self.rounds.replace(rounds);
        if (before == 0) != (rounds == 0) {
            self.phase.set(self.phase.get() + 1);
            self.turned.notify_one();
        }
    }
}

/// N independent nodes with their clock, their source of randomness, and the count of what is still
/// under way on them.
pub struct Nodes {
    members: Vec<Rc<dyn Node>>,
    clock: Rc<dyn Clock>,
    rng: RefCell<Box<dyn Rng>>,
    load: Rc<Load>,
    queues: Rc<Queues>,
    leases: Leases,
    missed: Vec<Missed>,
    rounds: Cell<usize>,
    /// A round has ended.
    room: Notify,
    busy: Cell<usize>,
    idle: Notify,
    closing: Cell<bool>,
}

impl Nodes {
    /// At least one node; `rng` makes ownership values, so it has to be a secure one.
    pub fn new(members: Vec<Rc<dyn Node>>, clock: Rc<dyn Clock>, rng: Box<dyn Rng>) -> Rc<Self> {
        Self::sharing(Rc::default(), Rc::default(), members, clock, rng)
    }

    /// The same, counting its rounds into a load that it shares with others, and standing in line with
    /// those that have opened the same nodes.
    pub fn sharing(
        load: Rc<Load>,
        queues: Rc<Queues>,
        members: Vec<Rc<dyn Node>>,
        clock: Rc<dyn Clock>,
        rng: Box<dyn Rng>,
    ) -> Rc<Self> {
        Rc::new(Self {
            missed: members.iter().map(|_| Missed::default()).collect(),
            members,
            clock,
            rng: RefCell::new(rng),
            load,
            queues,
            leases: Leases::default(),
            rounds: Cell::new(0),
            room: Notify::new(),
            busy: Cell::new(0),
            idle: Notify::new(),
            closing: Cell::new(false),
        })
    }

    pub(crate) fn members(&self) -> &[Rc<dyn Node>] {
        &self.members
    }

    pub(crate) fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The releases that a node has missed.
    pub(crate) fn missed(&self, node: usize) -> &Missed {
        &self.missed[node]
    }

    /// Waits until fewer than `limit` rounds of calls are under way: whoever takes in calls can do with
    /// little more memory than the calls themselves need. Those that keep locks alive do not count.
    pub async fn room(&self, limit: usize) {
        while self.rounds.get().saturating_sub(self.leases.extending()) >= limit {
            self.room.notified().await;
        }
    }

    pub(crate) fn begin_rounds(&self, count: usize) {
        self.rounds.set(self.rounds.get() + count);
        self.load.set(self.load.rounds() + count);
    }

    pub(crate) fn end_rounds(&self, count: usize) {
        self.rounds.set(self.rounds.get() - count);
        self.load.set(self.load.rounds() - count);
        self.room.notify_one();
    }

    /// How many votes decide.
    pub fn quorum(&self) -> Quorum {
        Quorum::of(self.members.len())
    }

    /// The time on the clock that `until` is measured on.
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    pub(crate) fn random_value(&self) -> Value {
        Value::random(&mut **self.rng.borrow_mut())
    }

    pub(crate) fn random_duration(&self, from: Duration, to: Duration) -> Duration {
        self.rng.borrow_mut().random_range(from..to)
    }

    /// The indexes of all nodes, in the order in which to ask them.
    pub(crate) fn order(&self, shuffle: bool) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.members.len()).collect();
        if shuffle {
            let mut rng = self.rng.borrow_mut();
            for last in (1..order.len()).rev() {
                order.swap(last, rng.random_range(0..=last));
            }
        }
        order
    }

    /// The order in which contenders ask the nodes, the same in every process: whoever has the first
    /// node goes on to the others, so that no votes are split.
    pub(crate) fn order_of(&self, keys: &Keys) -> Vec<usize> {
        // FNV-1a; https://datatracker.ietf.org/doc/html/draft-eastlake-fnv
        let hash = keys[0].bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let size = self.members.len();
        let first = (hash % size as u64) as usize;
        (first..size).chain(0..first).collect()
    }

    pub(crate) fn queues(&self) -> &Rc<Queues> {
        &self.queues
    }

    /// Marks something as under way, until the guard is dropped. [`Nodes::close`] waits for it.
    pub fn busy(self: &Rc<Self>) -> Busy {
        self.busy.set(self.busy.get() + 1);
        Busy { nodes: self.clone() }
    }

    /// Whether `close` has been called: clean-up that would go on retrying gives up.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Waits for what is under way, then closes every node. Held locks are not extended any more: they
    /// stay, and expire.
    pub async fn close(&self) {
        self.closing.set(true);
        self.end_all_leases(Loss::Closed);
        self.missed.iter().for_each(Missed::stop);
        while self.busy.get() > 0 {
            self.idle.notified().await;
        }
        for node in &self.members {
            node.close();
        }
    }
}

/// Something is under way on these nodes.
pub struct Busy {
    nodes: Rc<Nodes>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.nodes.busy.set(self.nodes.busy.get() - 1);
        if self.nodes.busy.get() == 0 {
            self.nodes.idle.notify_waiters();
        }
    }
}
