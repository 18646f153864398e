//! Who believes to hold which lock, and everything else that the invariants are about.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{Clock, Keys, Quorum, Token, Value};

use crate::clock::SimulatedClock;
use crate::node::SimulatedNode;
use crate::permit::{self, KEYS, SIGNS};
use crate::violation::Violation;
use crate::way::{Mode, Way};

/// Milliseconds from one look at all nodes to the next.
const BETWEEN_LOOKS: u64 = 100;

/// A lock as its holder sees it.
pub struct Belief {
    pub client: usize,
    names: Keys,
    mode: Cell<Mode>,
    /// Of how many permits it is one.
    permits: u16,
    /// Under which the value is stored.
    keys: Keys,
    value: Value,
    clock: Rc<SimulatedClock>,
    until: Cell<Duration>,
    /// Neither being released nor lost, and its process lives.
    is_held: Cell<bool>,
    is_lost: Cell<bool>,
    /// Looked after by the engine, which has promised to tell the loss.
    pub is_leased: Cell<bool>,
    /// When its holder gave it up, on his clock.
    released: Cell<Option<Duration>>,
    /// The engine is to extend it again and again.
    keep: Cell<Option<Keep>>,
    extended: Cell<Duration>,
}

/// How a lock is to be kept alive, as its holder's clock shows it.
#[derive(Clone, Copy)]
pub struct Keep {
    /// From one extension to the end of the next.
    pub within: Duration,
    /// No longer than that.
    pub hold_until: Duration,
}

impl Belief {
    fn is_believed(&self) -> bool {
        self.is_held.get() && self.clock.now() < self.until.get()
    }

    pub fn value(&self) -> &Value {
        &self.value
    }

    pub fn until(&self) -> Duration {
        self.until.get()
    }

    pub fn is_held(&self) -> bool {
        self.is_held.get()
    }

    pub fn mode(&self) -> Mode {
        self.mode.get()
    }

    /// From now on its holder reads.
    pub fn share(&self) {
        self.mode.set(Mode::Read);
    }

    fn is_shared(&self) -> bool {
        self.mode.get() == Mode::Read
    }

    pub fn prolong(&self, until: Duration) {
        self.until.set(self.until.get().max(until));
        self.extended.set(self.clock.now());
    }

    /// How the engine keeps it alive from now on, if it does.
    pub fn keep(&self, keep: Option<Keep>) {
        self.keep.set(keep);
        self.extended.set(self.clock.now());
    }

    /// Is it to be kept alive now?
    pub fn is_kept(&self) -> bool {
        self.keep.get().is_some_and(|keep| self.clock.now() < keep.hold_until)
    }

    /// Should it have been extended by now?
    fn is_overdue(&self) -> bool {
        let since = self.clock.now().saturating_sub(self.extended.get());
        self.is_kept() && self.keep.get().is_some_and(|keep| since > keep.within)
    }

    /// For how much longer it is held.
    pub fn left(&self) -> Duration {
        if self.is_held.get() {
            self.until.get().saturating_sub(self.clock.now())
        } else {
            Duration::ZERO
        }
    }

    /// The holder begins to release it, or gives it away.
    pub fn release(&self) {
        self.is_held.set(false);
        self.released.set(Some(self.clock.now()));
    }

    /// The holder begins to release it, and it keeps others off until then, on his clock: nobody else may hold it, and
    /// a quorum has to store it, as if it were held.
    pub fn rest(&self, until: Duration) {
        self.until.set(until.min(self.until.get()));
        self.keep.set(None);
        self.is_leased.set(false);
    }

    /// Was it given up so long ago?
    fn is_over_for(&self, time: Duration) -> bool {
        self.released.get().is_some_and(|released| self.clock.now() > released + time)
    }

    /// The holder was told that it is lost: true if that was right.
    pub fn lose(&self) -> bool {
        self.is_held.set(false);
        !self.is_lost.replace(true) && self.released.get().is_none()
    }
}

/// An ownership value that was sent to nodes.
struct Used {
    client: usize,
    /// The nodes that were asked to store it, one bit each.
    nodes: u32,
    /// It may be left on a node until it expires there.
    is_excused: bool,
    /// When it was sent last.
    sent: u64,
    /// Whoever has believed to hold the lock by it.
    belief: Option<Rc<Belief>>,
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
    /// When to look for strays again.
    next_look: Cell<u64>,
    pub acquired: Cell<u64>,
    /// The last holder of each name that had a fencing token, and that.
    fenced: RefCell<HashMap<Box<str>, (Value, Token)>>,
}

impl Witness {
    pub fn new(quorum: Quorum, clients: usize) -> Self {
        Self {
            quorum,
            beliefs: RefCell::default(),
            values: RefCell::default(),
            gone: (0..clients).map(|_| Cell::default()).collect(),
            found: RefCell::default(),
            next_look: Cell::default(),
            acquired: Cell::default(),
            fenced: RefCell::default(),
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
        way: &Way,
        value: &Value,
        clock: Rc<SimulatedClock>,
        until: Duration,
    ) -> Rc<Belief> {
        if clock.now() >= until {
            self.report(Violation::Stale);
        }
        self.acquired.set(self.acquired.get() + 1);
        let belief = Rc::new(Belief {
            client,
            names: way.target.names.clone(),
            mode: Cell::new(way.target.mode),
            permits: way.target.permits,
            keys: permit::keys_of(&way.target.names, value),
            value: value.clone(),
            keep: Cell::default(),
            extended: Cell::new(clock.now()),
            clock,
            until: Cell::new(until),
            is_held: Cell::new(true),
            is_lost: Cell::default(),
            is_leased: Cell::default(),
            released: Cell::default(),
        });
        if let Some(used) = self.values.borrow_mut().get_mut(&belief.value) {
            used.belief = Some(belief.clone());
        }
        self.beliefs.borrow_mut().push(belief.clone());
        belief
    }

    /// Whoever holds these names by this value has that fencing token.
    pub fn fence(&self, keys: &Keys, value: &Value, token: Option<Token>) {
        let Some(token) = token else { return self.report(Violation::TokenOrder) };
        let mut fenced = self.fenced.borrow_mut();
        for key in keys.iter() {
            if let Some((before, last)) = fenced.insert(key.clone(), (value.clone(), token)) {
                let is_right = if before == *value { token == last } else { token > last };
                if !is_right {
                    self.report(Violation::TokenOrder);
                }
            }
        }
    }

    pub fn value_used(&self, node: usize, client: usize, value: &Value, now: u64, gone: u64) {
        let mut values = self.values.borrow_mut();
        let used = values.entry(value.clone()).or_insert(Used {
            client,
            nodes: 0,
            is_excused: false,
            sent: now,
            belief: None,
            gone,
        });
        used.sent = now;
        if used.nodes & 1 << node != 0 || used.client != client {
            self.report(Violation::ValueRepeated);
        }
        used.nodes |= 1 << node;
    }

    /// Has anybody held a lock by it?
    pub fn was_held(&self, value: &Value) -> bool {
        self.values.borrow().get(value).is_some_and(|used| used.belief.is_some())
    }

    /// Its keys have been extended, and are there for longer.
    pub fn value_extended(&self, value: &Value, gone: u64) {
        if let Some(used) = self.values.borrow_mut().get_mut(value) {
            used.gone = used.gone.max(gone);
        }
    }

    /// This value may be left on a node until it expires there.
    pub fn excuse(&self, value: &Value) {
        if let Some(used) = self.values.borrow_mut().get_mut(value) {
            used.is_excused = true;
        }
    }

    pub fn is_excused(&self, value: &Value) -> bool {
        self.values.borrow().get(value).is_some_and(|used| used.is_excused)
    }

    /// This client ends without having cleaned up: its locks expire.
    pub fn leaves(&self, client: usize) {
        self.gone[client].set(true);
        for belief in self.beliefs.borrow().iter().filter(|belief| belief.client == client) {
            belief.release();
        }
    }

    /// A client that is being closed may give up what it has to clean up, where nodes do not answer; and
    /// the locks that it holds are there until they expire.
    pub fn closes(&self, client: usize, all_answer: bool) {
        if !all_answer {
            return self.gone[client].set(true);
        }
        for belief in self.beliefs.borrow().iter().filter(|belief| belief.client == client) {
            if belief.is_held.get() {
                self.excuse(&belief.value);
            }
        }
    }

    /// What has to be true of locks that are kept alive, with nothing in the way.
    pub fn look_at_leases(&self) {
        if self.beliefs.borrow().iter().any(|it| it.is_believed() && it.is_overdue()) {
            self.report(Violation::NotKept);
        }
    }

    /// What has to be true at any time.
    pub fn look(
        &self,
        nodes: &[SimulatedNode],
        is_paused: impl Fn(usize) -> bool,
        exact: bool,
        now: u64,
    ) {
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
                other.is_believed()
                    && !(other.is_shared() && belief.is_shared())
                    && other.keys.iter().any(|key| belief.keys.contains(key))
            };
            if beliefs[..index].iter().any(rival) {
                self.report(Violation::Exclusion);
            }
            // Who knows a greater limit may have a permit that nobody else knows of.
            let companion = |other: &&Rc<Belief>| {
                let shares = |name| other.names.contains(name);
                other.is_believed()
                    && other.permits <= belief.permits
                    && belief.names.iter().any(shares)
            };
            if belief.permits > 1
                && beliefs.iter().filter(companion).count() > usize::from(belief.permits)
            {
                self.report(Violation::TooMany);
            }
            let protects = |node: &&SimulatedNode| {
                node.protects(&belief.keys, &belief.value, belief.is_shared(), now)
            };
            let protecting = nodes.iter().filter(protects).count();
            if !self.quorum.is_reached(protecting) {
                self.report(Violation::Unprotected);
            }
        }
    }

    /// What has to be true while nothing is lost or late: a value is stored by an attempt that is under
    /// way, or for a holder. Gives one that is not.
    ///
    /// And a sign is that of a writer that waits, or has what it waited for.
    pub fn find_stray(
        &self,
        nodes: &[SimulatedNode],
        now: u64,
        trip: u64,
        is_writing: impl Fn(usize) -> bool,
    ) -> Option<Value> {
        if now < self.next_look.get() {
            return None;
        }
        self.next_look.set(now + BETWEEN_LOOKS);
        let (attempt, release) = (5 * trip + 20, Duration::from_millis(2 * trip + 20));
        let is_excused = |used: &Used| used.is_excused || self.gone[used.client].get();
        let is_left = |used: &Used| {
            let has_lock = used.belief.as_ref().is_some_and(|belief| !belief.is_over_for(release));
            !has_lock && !is_writing(used.client) && !is_excused(used)
        };
        self.find_sign(nodes, is_left).or_else(|| {
            self.find(nodes, |used| {
                let is_over = match &used.belief {
                    Some(belief) => belief.is_over_for(release),
                    None => now > used.sent + attempt,
                };
                is_over && !is_excused(used)
            })
        })
    }

    /// What has to be true when nobody is at work and every node can be reached: no key of an
    /// attempt that was given up, or of a lock that was released, is there. Gives one that is.
    pub fn find_leftover(&self, nodes: &[SimulatedNode], now: u64) -> Option<Value> {
        self.find(nodes, |used| {
            !used.is_excused && !self.gone[used.client].get() && now < used.gone
        })
    }

    /// A value that is stored on a node, and should not be.
    fn find(&self, nodes: &[SimulatedNode], is_wrong: impl Fn(&Used) -> bool) -> Option<Value> {
        let values = self.values.borrow();
        let stored = nodes.iter().flat_map(|node| KEYS.iter().flat_map(|key| node.holders(key)));
        let mut stored = stored.map(|value| Value::from(value.as_str()));
        stored.find(|value| values.get(value).is_none_or(&is_wrong))
    }

    /// The same of signs.
    fn find_sign(
        &self,
        nodes: &[SimulatedNode],
        is_wrong: impl Fn(&Used) -> bool,
    ) -> Option<Value> {
        let values = self.values.borrow();
        let stored = nodes.iter().flat_map(|node| SIGNS.iter().filter_map(|key| node.get(key)));
        let mut stored = stored.map(|sign| Value::from(sign.trim_start_matches("#sign ")));
        stored.find(|value| values.get(value).is_none_or(&is_wrong))
    }

    /// What has to be true one expiry later.
    pub fn look_at_the_end(&self, nodes: &[SimulatedNode]) {
        if nodes.iter().any(|node| KEYS.iter().chain(&SIGNS).any(|key| node.get(key).is_some())) {
            self.report(Violation::KeyLeft);
        }
    }
}
