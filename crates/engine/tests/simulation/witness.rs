//! Who believes to hold which lock, and everything else that the invariants are about.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{Clock, Keys, Quorum, Value};

use crate::clock::SimulatedClock;
use crate::node::SimulatedNode;
use crate::violation::Violation;

/// A lock as its holder sees it.
pub struct Belief {
    pub client: usize,
    keys: Keys,
    value: Value,
    clock: Rc<SimulatedClock>,
    until: Cell<Duration>,
    /// Neither being released nor lost, and its process lives.
    is_held: Cell<bool>,
    is_lost: Cell<bool>,
    /// Looked after by the engine, which has promised to tell the loss.
    pub is_leased: Cell<bool>,
    is_released: Cell<bool>,
}

impl Belief {
    fn is_believed(&self) -> bool {
        self.is_held.get() && self.clock.now() < self.until.get()
    }

    pub fn until(&self) -> Duration {
        self.until.get()
    }

    pub fn is_held(&self) -> bool {
        self.is_held.get()
    }

    pub fn prolong(&self, until: Duration) {
        self.until.set(self.until.get().max(until));
    }

    /// The holder begins to release it, or gives it away.
    pub fn release(&self) {
        self.is_held.set(false);
        self.is_released.set(true);
    }

    /// The holder was told that it is lost: true if that was right.
    pub fn lose(&self) -> bool {
        self.is_held.set(false);
        !self.is_lost.replace(true) && !self.is_released.get()
    }
}

/// An ownership value that was sent to nodes.
struct Used {
    client: usize,
    /// The nodes that were asked to store it, one bit each.
    nodes: u32,
    /// It may be left on a node until it expires there.
    is_excused: bool,
    /// When its keys have expired, unless they were late: nobody looks for them any more.
    gone: u64,
}

pub struct Witness {
    quorum: Quorum,
    beliefs: RefCell<Vec<Rc<Belief>>>,
    values: RefCell<HashMap<Value, Used>>,
    /// Clients of which keys may be left: killed or closed.
    gone: Vec<Cell<bool>>,
    found: RefCell<BTreeSet<Violation>>,
    pub acquired: Cell<u64>,
}

impl Witness {
    pub fn new(quorum: Quorum, clients: usize) -> Self {
        Self {
            quorum,
            beliefs: RefCell::default(),
            values: RefCell::default(),
            gone: (0..clients).map(|_| Cell::default()).collect(),
            found: RefCell::default(),
            acquired: Cell::default(),
        }
    }

    pub fn report(&self, violation: Violation) {
        self.found.borrow_mut().insert(violation);
    }

    pub fn found(&self) -> BTreeSet<Violation> {
        self.found.borrow().clone()
    }

    /// A client holds a lock.
    pub fn believe(
        &self,
        client: usize,
        keys: Keys,
        value: Value,
        clock: Rc<SimulatedClock>,
        until: Duration,
    ) -> Rc<Belief> {
        if clock.now() >= until {
            self.report(Violation::Stale);
        }
        self.acquired.set(self.acquired.get() + 1);
        let belief = Rc::new(Belief {
            client,
            keys,
            value,
            clock,
            until: Cell::new(until),
            is_held: Cell::new(true),
            is_lost: Cell::default(),
            is_leased: Cell::default(),
            is_released: Cell::default(),
        });
        self.beliefs.borrow_mut().push(belief.clone());
        belief
    }

    pub fn value_used(&self, node: usize, client: usize, value: &Value, gone: u64) {
        let mut values = self.values.borrow_mut();
        let used = values.entry(value.clone()).or_insert(Used {
            client,
            nodes: 0,
            is_excused: false,
            gone,
        });
        if used.nodes & 1 << node != 0 || used.client != client {
            self.report(Violation::ValueRepeated);
        }
        used.nodes |= 1 << node;
    }

    /// This value may be left on a node until it expires there.
    pub fn excuse(&self, value: &Value) {
        if let Some(used) = self.values.borrow_mut().get_mut(value) {
            used.is_excused = true;
        }
    }

    /// This client ends without having cleaned up: its locks expire.
    pub fn leaves(&self, client: usize) {
        self.gone[client].set(true);
        for belief in self.beliefs.borrow().iter().filter(|belief| belief.client == client) {
            belief.is_held.set(false);
            belief.is_released.set(true);
        }
    }

    /// A client that is being closed may give up what it has to clean up.
    pub fn closes(&self, client: usize) {
        self.gone[client].set(true);
    }

    /// What has to be true at any time.
    pub fn look(&self, nodes: &[SimulatedNode], is_paused: impl Fn(usize) -> bool, exact: bool) {
        let mut beliefs = self.beliefs.borrow_mut();
        beliefs.retain(|belief| belief.is_held.get());
        for (index, belief) in beliefs.iter().enumerate() {
            if !belief.is_believed() {
                if exact && belief.is_leased.get() && !is_paused(belief.client) {
                    self.report(Violation::LossNotTold);
                }
                continue;
            }
            let rival = |other: &Rc<Belief>| {
                other.is_believed() && other.keys.iter().any(|key| belief.keys.contains(key))
            };
            if beliefs[..index].iter().any(rival) {
                self.report(Violation::Exclusion);
            }
            let protecting =
                nodes.iter().filter(|node| node.protects(&belief.keys, &belief.value)).count();
            if !self.quorum.is_reached(protecting) {
                self.report(Violation::Unprotected);
            }
        }
    }

    /// What has to be true when nobody is at work and every node can be reached: no key of an
    /// attempt that was given up, or of a lock that was released, is there.
    pub fn look_for_leftovers(&self, nodes: &[SimulatedNode], keys: &[&str], now: u64) {
        let values = self.values.borrow();
        for (node, key) in nodes.iter().flat_map(|node| keys.iter().map(move |key| (node, key))) {
            let Some(value) = node.get(key) else { continue };
            let is_excused =
                |used: &Used| used.is_excused || self.gone[used.client].get() || now >= used.gone;
            if !values.get(&Value::from(value.as_str())).is_some_and(is_excused) {
                self.report(Violation::Leftover);
            }
        }
    }

    /// What has to be true one expiry later.
    pub fn look_at_the_end(&self, nodes: &[SimulatedNode], keys: &[&str]) {
        if nodes.iter().any(|node| keys.iter().any(|key| node.get(key).is_some())) {
            self.report(Violation::KeyLeft);
        }
    }
}
