//! What the tests beside the code share: a clock, nodes in memory, and a request to them.

#![cfg(test)]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::clock::Clock;
use crate::kind::Kind;
use crate::memory::MemoryNode;
use crate::node::{Node, Request};
use crate::nodes::Nodes;

/// Shows so many milliseconds, until it is set.
#[derive(Default)]
pub(crate) struct Now(pub(crate) Cell<u64>);

impl Clock for Now {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.get())
    }

    fn wall(&self) -> Duration {
        self.now()
    }
}

pub(crate) fn rng() -> Box<StdRng> {
    Box::new(StdRng::seed_from_u64(1))
}

/// An empty node, and its clock.
pub(crate) fn node() -> (Rc<Now>, MemoryNode) {
    let clock = Rc::new(Now::default());
    (clock.clone(), MemoryNode::new(clock))
}

/// So many nodes, of which each was asked this.
pub(crate) fn nodes(count: usize, ask: impl Fn(&MemoryNode)) -> Rc<Nodes> {
    let members = (0..count).map(|_| {
        let (_, node) = node();
        ask(&node);
        Rc::new(node) as Rc<dyn Node>
    });
    Nodes::new(Rc::default(), members.collect(), Rc::new(Now::default()), rng(), None)
}

/// About the lock `name`, for so many milliseconds.
pub(crate) fn request(kind: Kind, value: &str, expiry: u64) -> Request {
    Request {
        kind,
        permits: 1,
        token: None,
        keys: Rc::new(["name".into()]),
        value: value.into(),
        expiry: Duration::from_millis(expiry),
        timeout: Duration::from_secs(1),
        quarantine: Duration::ZERO,
    }
}
