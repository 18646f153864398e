//! The set of nodes that vote, with their clock, their source of luck, and the count of what is under way.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use rand::{Rng, RngExt};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::load::Load;
use crate::node::{Keys, Node};
use crate::quorum::Quorum;
use crate::value::{Owner, Value};

/// N independent nodes.
pub(crate) struct Nodes {
    members: Vec<Rc<dyn Node>>,
    clock: Rc<dyn Clock>,
    rng: RefCell<Box<dyn Rng>>,
    owner: Option<Owner>,
    load: Rc<Load>,
    rounds: Cell<usize>,
    round_ended: Notify,
    busy: Cell<usize>,
    idle: Notify,
    are_closed: Cell<bool>,
}

impl Nodes {
    pub(crate) fn new(
        load: Rc<Load>,
        members: Vec<Rc<dyn Node>>,
        clock: Rc<dyn Clock>,
        rng: Box<dyn Rng>,
        owner: Option<&str>,
    ) -> Rc<Self> {
        Rc::new(Self {
            members,
            clock,
            rng: RefCell::new(rng),
            owner: owner.map(Owner::new),
            load,
            rounds: Cell::new(0),
            round_ended: Notify::new(),
            busy: Cell::new(0),
            idle: Notify::new(),
            are_closed: Cell::new(false),
        })
    }

    pub(crate) fn members(&self) -> &[Rc<dyn Node>] {
        &self.members
    }

    /// Rounds under way.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.get()
    }

    /// Resolves when one more of them has ended.
    pub(crate) async fn round_ended(&self) {
        self.round_ended.notified().await;
    }

    pub(crate) fn begin_rounds(&self, count: usize) {
        self.rounds.set(self.rounds.get() + count);
        self.load.set(self.load.rounds() + count);
    }

    pub(crate) fn end_rounds(&self, count: usize) {
        self.rounds.set(self.rounds.get() - count);
        self.load.set(self.load.rounds() - count);
        self.round_ended.notify_one();
    }

    /// How many votes decide.
    pub(crate) fn quorum(&self) -> Quorum {
        Quorum::of(self.members.len())
    }

    /// The time on the clock that `until` is measured on.
    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// The time since 1970.
    pub(crate) fn wall(&self) -> Duration {
        self.clock.wall()
    }

    pub(crate) fn random_value(&self) -> Value {
        let rng = &mut **self.rng.borrow_mut();
        match &self.owner {
            Some(owner) => Value::random_of(owner, self.wall(), rng),
            None => Value::random(rng),
        }
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

    /// So many numbers from 0, from one that is left to luck.
    pub(crate) fn order_from_any(&self, count: usize) -> impl Iterator<Item = usize> + Clone {
        let first = if count > 1 { self.rng.borrow_mut().random_range(0..count) } else { 0 };
        (first..count).chain(0..first)
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

    /// Marks something as under way, until the guard is dropped. [`Nodes::close`] waits for it.
    pub(crate) fn busy(self: &Rc<Self>) -> Busy {
        self.busy.set(self.busy.get() + 1);
        Busy { nodes: self.clone() }
    }

    /// Waits for what is under way, then closes every node.
    pub(crate) async fn close(&self) {
        while self.busy.get() > 0 {
            self.idle.notified().await;
        }
        self.are_closed.set(true);
        for node in &self.members {
            node.close();
        }
    }

    pub(crate) fn are_closed(&self) -> bool {
        self.are_closed.get()
    }
}

/// Something is under way on these nodes.
pub struct Busy {
    nodes: Rc<Nodes>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.nodes.busy.set(self.nodes.busy.get() - 1);
        // Which takes a lock of its own.
        if self.nodes.busy.get() == 0 {
            self.nodes.idle.notify_waiters();
        }
    }
}
