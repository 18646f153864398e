//! What the mutexes of one set of nodes share: the nodes, who waits, what is held, and what is still to be
//! released.

use std::rc::Rc;
use std::time::Duration;

use rand::Rng;

use crate::cleanup::Cleanup;
use crate::clock::Clock;
use crate::fencing::Proposals;
use crate::lease::Loss;
use crate::leases::Leases;
use crate::load::Load;
use crate::node::Node;
use crate::nodes::{Busy, Nodes};
use crate::queue::Queues;
use crate::token::Token;
use crate::vote::Bound;

/// N independent nodes, and all that is under way on them.
pub struct Redsync {
    pub(crate) nodes: Rc<Nodes>,
    pub(crate) queues: Rc<Queues>,
    pub(crate) cleanup: Rc<Cleanup>,
    pub(crate) proposals: Proposals,
    /// The locks that are kept alive or watched.
    pub leases: Rc<Leases>,
}

impl Redsync {
    /// At least one node; `rng` makes ownership values, so it has to be a secure one.
    pub fn new(members: Vec<Rc<dyn Node>>, clock: Rc<dyn Clock>, rng: Box<dyn Rng>) -> Rc<Self> {
        Self::sharing(Rc::default(), Rc::default(), members, clock, rng, None)
    }

    /// The same, counting its rounds into a load that it shares with others, and standing in line with
    /// those that have opened the same nodes. Its random values tell people of their owner.
    pub fn sharing(
        load: Rc<Load>,
        queues: Rc<Queues>,
        members: Vec<Rc<dyn Node>>,
        clock: Rc<dyn Clock>,
        rng: Box<dyn Rng>,
        owner: Option<&str>,
    ) -> Rc<Self> {
        let nodes = Nodes::new(load, members, clock, rng, owner);
        let cleanup = Cleanup::new(nodes.clone());
        let leases = Leases::new(nodes.clone(), queues.clone(), cleanup.clone());
        Rc::new(Self { nodes, queues, cleanup, proposals: Proposals::default(), leases })
    }

    /// The time on the clock that `until` is measured on.
    pub fn now(&self) -> Duration {
        self.nodes.now()
    }

    /// A fencing token to propose, for who was told to keep to that.
    pub(crate) fn propose(&self, bound: Option<Bound>) -> Token {
        self.proposals.next(self.nodes.wall(), bound)
    }

    /// A quorum has granted a token that kept to this.
    pub(crate) fn learn(&self, token: Token, bound: Bound) {
        self.proposals.learn(token, bound, self.nodes.wall());
    }

    /// Marks something as under way, until the guard is dropped. [`Redsync::close`] waits for it.
    pub fn busy(&self) -> Busy {
        self.nodes.busy()
    }

    /// Waits until fewer than `limit` rounds of calls are under way: whoever takes in calls can do with
    /// little more memory than the calls themselves need. Those that keep locks alive do not count.
    pub async fn room(&self, limit: usize) {
        while self.nodes.rounds().saturating_sub(self.leases.extending()) >= limit {
            self.nodes.round_ended().await;
        }
    }

    /// Waits for what is under way, then closes every node. Held locks are not extended any more: they
    /// stay, and expire.
    pub async fn close(&self) {
        self.leases.end_all(Loss::Closed);
        self.cleanup.stop();
        self.nodes.close().await;
    }
}
