//! The engine's view of a simulated node: one client's link to it.

use std::cell::{Cell, RefCell};
use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use redsync_engine::{
    Fate, Guard, Health, Keys, Kind, Node, NodeError, Notice, Reply, Request, Verb,
};

use crate::world::World;

/// The state of one link. Commands arrive in the order in which they were sent, and answers too;
/// a reset opens a new connection, on which order begins anew.
#[derive(Default)]
pub struct Link {
    pub connection: Cell<u32>,
    /// The last connection of which late commands may not arrive any more.
    pub swept: Cell<u32>,
    pub last_arrival: Cell<u64>,
    /// When the last of those arrives that others have overtaken.
    pub last_stray: Cell<u64>,
    /// When the last command arrives that a connection that is over has left behind.
    pub last_straggler: Cell<u64>,
    pub last_answer: Cell<u64>,
    pending: RefCell<Vec<(u64, Reply)>>,
    pub is_closed: Cell<bool>,
    /// When it logged in last, and for how long the node had been up then; none where that is long ago.
    pub login: Cell<Option<(u64, Duration)>>,
    /// Who is told of changes to the keys of held locks.
    pub guard: RefCell<Option<Rc<Telling>>>,
    /// What was asked while the node was down, for when it is back.
    pub queue: RefCell<Vec<Question>>,
}

/// A verb, and where its vote goes.
pub type Question = (Verb, Rc<Request>, Reply);

impl Link {
    pub fn expect(&self, number: u64, reply: Reply) {
        self.pending.borrow_mut().push((number, reply));
    }

    /// The right to answer this command, unless that was done.
    pub fn reply_to(&self, number: u64) -> Option<Reply> {
        let mut pending = self.pending.borrow_mut();
        let place = pending.iter().position(|(pending, _)| *pending == number)?;
        Some(pending.remove(place).1)
    }

    pub fn is_wanted(&self, number: u64) -> bool {
        let pending = self.pending.borrow();
        pending.iter().any(|(pending, reply)| *pending == number && reply.is_wanted())
    }

    /// When what is on its way has come.
    pub fn quiet_from(&self) -> u64 {
        self.last_arrival.get().max(self.last_answer.get()).max(self.last_stray.get())
    }

    /// Ends the connection: what was not answered is answered with an error.
    pub fn reset(&self, now: u64, error: &NodeError) {
        self.connection.set(self.connection.get() + 1);
        self.last_straggler.set(self.last_straggler.get().max(self.last_arrival.get()));
        self.last_arrival.set(now);
        self.last_answer.set(now);
        for (_, reply) in self.pending.take() {
            reply.send(Err(error.clone()));
        }
    }

    /// Forgets what waits for answers, as a process does that ends.
    pub fn abandon(&self) {
        self.is_closed.set(true);
        self.pending.take();
        self.queue.take();
        self.guard.take();
    }
}

/// What a node tells of changes, on its way over one link.
pub struct Telling {
    pub world: Weak<World>,
    pub link: usize,
    pub guard: Weak<dyn Guard>,
}

impl Guard for Telling {
    fn changed(&self, key: Option<&str>) {
        if let Some(world) = self.world.upgrade() {
            world.tell_of_change(self.link, key);
        }
    }
}

/// `impl Node` for the engine.
pub struct SimulatedLink {
    pub world: Rc<World>,
    pub index: usize,
}

impl Node for SimulatedLink {
    fn ask(&self, verb: Verb, request: &Rc<Request>, reply: Reply) {
        if self.world.links[self.index].is_closed.get() {
            return reply.send(Err(NodeError::closed().with(Fate::Unsent)));
        }
        self.world.send(self.index, verb, request, reply);
    }

    fn health(&self, _limit: Duration) -> Pin<Box<dyn Future<Output = Health>>> {
        Box::pin(ready(Health::down(NodeError::closed())))
    }

    fn watch(&self, keys: &Keys, kind: Kind, notice: Notice) {
        if !self.world.links[self.index].is_closed.get() {
            self.world.watch(self.index, keys, kind, notice);
        }
    }

    fn tell_of_changes(&self, guard: Weak<dyn Guard>) {
        if self.world.schedule.watches {
            let telling = Telling { world: Rc::downgrade(&self.world), link: self.index, guard };
            self.world.links[self.index].guard.replace(Some(Rc::new(telling)));
            self.world.begin_to_tell(self.index);
        }
    }

    fn watches(&self, _limit: Duration) -> Pin<Box<dyn Future<Output = Option<bool>>>> {
        Box::pin(ready(Some(self.world.schedule.watches)))
    }

    fn may_repeat(&self) -> bool {
        self.world.schedule.repeats > 0
    }

    fn close(&self) {
        let link = &self.world.links[self.index];
        link.is_closed.set(true);
        link.reset(self.world.now(), &NodeError::closed());
        if self.world.schedule.orderly {
            // What has not arrived by then never does: whoever closes has to have waited for it.
            link.swept.set(link.connection.get());
        }
        link.queue.take();
        link.guard.take();
    }
}
