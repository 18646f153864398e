//! A simulated node: a store with a clock of its own, which can be paused and can crash.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use redsync_engine::{Answer, Keys, MemoryNode, Node, Notice, Request, Value, Verb};

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

pub struct SimulatedNode {
    clock: Rc<SimulatedClock>,
    store: RefCell<MemoryNode>,
    pub state: Cell<State>,
    /// Counts its crashes: what was on its way to an earlier one never arrives.
    pub life: Cell<u32>,
    /// What arrived while it was paused, in order.
    inbox: RefCell<Vec<Command>>,
}

impl SimulatedNode {
    pub fn new(clock: Rc<SimulatedClock>) -> Self {
        Self {
            store: RefCell::new(MemoryNode::new(clock.clone())),
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

    pub fn apply(&self, verb: Verb, request: &Request) -> Answer {
        self.store.borrow().apply(verb, request)
    }

    /// A node that is paused neither looks nor tells.
    pub fn watch(&self, keys: &Keys, notice: Notice) {
        if self.state.get() == State::Up {
            self.store.borrow().watch(keys, notice);
        }
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
            self.store.replace(MemoryNode::new(self.clock.clone()));
        }
    }

    /// Is back, unless it was already.
    pub fn restart(&self) -> bool {
        let was_down = self.is_down();
        if was_down {
            self.state.set(State::Up);
        }
        was_down
    }

    pub fn is_down(&self) -> bool {
        matches!(self.state.get(), State::Down { .. })
    }

    /// Is this lock safe here: is its value stored, or the node away with its data until no lock
    /// that it has granted is valid any more?
    pub fn protects(&self, keys: &[Box<str>], value: &Value) -> bool {
        self.state.get() == State::Down { forgot: true }
            || keys.iter().all(|key| self.get(key).as_deref() == Some(&**value))
    }

    pub fn get(&self, key: &str) -> Option<String> {
        self.store.borrow().get(key)
    }
}
