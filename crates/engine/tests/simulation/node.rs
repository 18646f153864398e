//! A simulated node: a store with a clock of its own, which can be paused and can crash.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::Duration;

use redsync_engine::{
    Answer, Clock, Detail, Guard, Keys, Kind, MemoryNode, Node, Notice, READERS, Request, Value,
    Verb, Window,
};

use crate::clock::SimulatedClock;
use crate::message::Command;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Up,
    /// Holds its connections and answers nothing.
    Paused,
    /// Gone; `forgot` tells whether its data is too.
    Down {
        forgot: bool,
    },
}

/// What has not reached the replica of a node yet, and when it does.
type OnTheWay = VecDeque<(Duration, Verb, Rc<Request>)>;

pub struct SimulatedNode {
    pub clock: Rc<SimulatedClock>,
    window: Window,
    /// What a replica has, and what it will have, so much later.
    replica: Option<(Duration, RefCell<MemoryNode>, RefCell<OnTheWay>)>,
    /// The replica was promoted, and is a life of its own, but to some it is the node still.
    pub is_split: Cell<bool>,
    /// When its clock was last set.
    pub stepped: Cell<u64>,
    /// When it started last, on its own clock; long ago, if it has not yet.
    started: Cell<Option<Duration>>,
    /// Until when those that have a quarantine keep it from granting again what it has forgotten.
    shielded_until: Cell<u64>,
    store: RefCell<MemoryNode>,
    pub state: Cell<State>,
    /// Counts its crashes: what was on its way to an earlier one never arrives.
    pub life: Cell<u32>,
    /// What arrived while it was paused, in order.
    inbox: RefCell<Vec<Command>>,
}

impl SimulatedNode {
    pub fn new(clock: Rc<SimulatedClock>, window: Window, lag: Option<u64>) -> Self {
        let store = || RefCell::new(MemoryNode::with_window(clock.clone(), window));
        Self {
            store: store(),
            window,
            replica: lag.map(|lag| (Duration::from_millis(lag), store(), RefCell::default())),
            is_split: Cell::default(),
            stepped: Cell::default(),
            started: Cell::default(),
            shielded_until: Cell::default(),
            clock,
            state: Cell::new(State::Up),
            life: Cell::default(),
            inbox: RefCell::default(),
        }
    }

    /// What its state makes of a command: `Some` if it can be applied now.
    pub fn receive(&self, command: Command) -> Option<Command> {
        if command.life != self.life.get() {
            return None;
        }
        match self.state.get() {
            State::Up => Some(command),
            State::Paused => {
                self.inbox.borrow_mut().push(command);
                None
            }
            State::Down { .. } => None,
        }
    }

    /// Applies it, in the later of two lives if it comes from those who know of that.
    pub fn apply(
        &self,
        verb: Verb,
        request: &Rc<Request>,
        is_informed: bool,
    ) -> (Answer, Option<Detail>) {
        self.replicate();
        let replica = self.replica.as_ref().filter(|_| !self.is_split.get());
        if let Some((lag, _, on_the_way)) = replica {
            let arrives = self.clock.now() + *lag;
            on_the_way.borrow_mut().push_back((arrives, verb, request.clone()));
        }
        self.life(is_informed).borrow().answer(verb, request)
    }

    /// The later of its lives for those who know of that, if it has two.
    fn life(&self, is_informed: bool) -> &RefCell<MemoryNode> {
        match &self.replica {
            Some((_, later, _)) if is_informed && self.is_split.get() => later,
            _ => &self.store,
        }
    }

    /// What has reached the replica by now is applied there.
    fn replicate(&self) {
        let Some((_, replica, on_the_way)) = &self.replica else { return };
        let mut on_the_way = on_the_way.borrow_mut();
        while on_the_way.front().is_some_and(|(arrives, ..)| *arrives <= self.clock.now()) {
            let Some((_, verb, request)) = on_the_way.pop_front() else { return };
            replica.borrow().apply(verb, &request);
        }
    }

    /// The replica is promoted, with what it has received; the node lives on, and does not know of it.
    pub fn split(&self) {
        self.replicate();
        let Some((_, _, on_the_way)) = &self.replica else { return };
        on_the_way.take();
        self.is_split.set(true);
    }

    /// The replica takes over. What it has not received is forgotten.
    pub fn fail_over(&self) {
        self.replicate();
        self.is_split.set(false);
        let Some((_, replica, on_the_way)) = &self.replica else { return };
        on_the_way.take();
        let next = MemoryNode::with_window(self.clock.clone(), self.window);
        self.store.replace(replica.replace(next));
        self.life.set(self.life.get() + 1);
        self.inbox.take();
    }

    /// Those that have a quarantine keep it from granting until then what it has just forgotten.
    pub fn shield_until(&self, time: u64) {
        self.shielded_until.set(time);
    }

    /// How long ago it started, as INFO tells it; `None` if that is long ago.
    pub fn uptime(&self) -> Option<Duration> {
        let started = self.started.get()?;
        // In whole seconds of the wall clock, so it may be one too many; less than nothing, if that was set back.
        Some(Duration::from_secs(self.clock.now().as_secs().saturating_sub(started.as_secs())))
    }

    /// A node that is paused neither looks nor tells.
    pub fn watch(&self, keys: &Keys, kind: Kind, notice: Notice, is_informed: bool) {
        if self.state.get() == State::Up {
            self.life(is_informed).borrow().watch(keys, kind, notice);
        }
    }

    pub fn tell_of_changes(&self, guard: Weak<dyn Guard>, is_informed: bool) {
        self.life(is_informed).borrow().tell_of_changes(guard);
    }

    pub fn forget_watchers(&self) {
        self.store.borrow().forget_watchers();
    }

    /// Ends a pause; gives what has arrived meanwhile.
    pub fn resume(&self) -> Vec<Command> {
        if self.state.get() == State::Paused {
            self.state.set(State::Up);
        }
        self.inbox.take()
    }

    pub fn crash(&self, forgets: bool) {
        self.state.set(State::Down { forgot: forgets });
        self.life.set(self.life.get() + 1);
        self.inbox.take();
        if forgets {
            self.store.replace(MemoryNode::with_window(self.clock.clone(), self.window));
        }
    }

    /// Is back, unless it was already.
    pub fn restart(&self) -> bool {
        let was_down = self.is_down();
        if was_down {
            self.state.set(State::Up);
            self.started.set(Some(self.clock.now()));
        }
        was_down
    }

    pub fn is_down(&self) -> bool {
        matches!(self.state.get(), State::Down { .. })
    }

    /// Is this lock safe here: is its value stored, or the node away with its data until no lock
    /// that it has granted is valid any more?
    pub fn protects(&self, keys: &[Box<str>], value: &Value, is_shared: bool, now: u64) -> bool {
        // A writer's lock becomes a reader's node by node.
        let reads = |key: &str| {
            is_shared && self.store.borrow().readers(key).iter().any(|it| **it == **value)
        };
        self.state.get() == State::Down { forgot: true }
            || now < self.shielded_until.get()
            || keys.iter().all(|key| self.get(key).as_deref() == Some(&**value) || reads(key))
    }

    /// The values of all who hold this key; the mark itself, where there should be readers and are none.
    pub fn holders(&self, key: &str) -> Vec<String> {
        match self.get(key) {
            Some(mark) if mark == READERS => {
                let readers = self.store.borrow().readers(key);
                if readers.is_empty() { vec![mark] } else { readers }
            }
            stored => stored.into_iter().collect(),
        }
    }

    /// Is nothing in the way of one who wants this key, or to read it?
    pub fn is_free_for(&self, key: &str, is_reader: bool) -> bool {
        match self.get(key) {
            None => !is_reader || self.get(&format!("{key}:sign")).is_none(),
            Some(stored) => {
                is_reader && stored == READERS && self.get(&format!("{key}:sign")).is_none()
            }
        }
    }

    /// Is one of these keys a mutex's, or a writer's?
    pub fn is_locked(&self, keys: &[Box<str>]) -> bool {
        keys.iter().any(|key| self.get(key).is_some_and(|stored| stored != READERS))
    }

    /// Does a writer's sign keep readers off?
    pub fn has_sign(&self, keys: &[Box<str>]) -> bool {
        keys.iter().any(|key| self.get(&format!("{key}:sign")).is_some())
    }

    pub fn get(&self, key: &str) -> Option<String> {
        self.store.borrow().get(key)
    }
}
