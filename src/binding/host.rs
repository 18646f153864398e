//! What serves the messages of JavaScript, on whichever thread: it owns the clients.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SysError;
use redsync_engine::{Clock, Load, Loss, MemoryNode, Node, Queues, Redsync};

use super::client::{Client, Shared};
use super::crossing::Outcome;
use super::outbox::Outbox;
use super::wire::{NO_CALL, Operation, Reader, Record};
use crate::clock::{BootClock, TestClock};
use crate::node::pool::PoolNode;
#[cfg(not(target_family = "wasm"))]
use crate::node::redis::{OnLogin, RedisIdentity, RedisNode, RedisPlace};
use crate::random::OsRandom;

/// Where a node is.
pub enum NodeAddress {
    #[cfg(not(target_family = "wasm"))]
    Redis(Box<RedisPlace>),
    /// A node in this process; those of the same name are the same.
    Memory {
        name: Option<String>,
        /// Of its own, for tests: its number, and how far it is ahead.
        clock: Option<(u32, Duration)>,
    },
    /// A pool of JavaScript, which knows it by the client and the index of the node.
    Pool { is_cluster: bool },
}

/// A node as it is known to all: those who share it are told the same.
#[derive(PartialEq, Eq, Hash)]
pub enum Identity {
    #[cfg(not(target_family = "wasm"))]
    Redis(RedisIdentity),
    Memory(String),
}

impl NodeAddress {
    /// `None` for a node that nobody else can have.
    pub fn identity(&self) -> Option<Identity> {
        match self {
            #[cfg(not(target_family = "wasm"))]
            Self::Redis(place) => Some(Identity::Redis(place.identity())),
            Self::Memory { name, .. } => name.clone().map(Identity::Memory),
            Self::Pool { .. } => None,
        }
    }
}

/// What the engine is told.
pub enum Message {
    /// A new `Redsync`.
    Open { client: u32, outbox: Arc<Outbox>, nodes: Vec<NodeAddress>, owner: Option<String> },
    /// The calls of one turn of an event loop.
    Calls { outbox: Arc<Outbox>, numbers: Vec<f64>, text: String },
    /// An environment is gone.
    Gone { outbox: Arc<Outbox> },
}

/// To be used where tasks can be spawned.
#[derive(Default)]
pub struct Host {
    clients: HashMap<u32, Rc<Client>>,
    /// The nodes of a client that are pools, until it is closed.
    pools: HashMap<u32, HashMap<usize, Weak<PoolNode>>>,
    memory: HashMap<String, Rc<MemoryNode>>,
    /// By their nodes.
    shared: HashMap<Vec<Identity>, Weak<Shared>>,
    clocks: HashMap<u32, Rc<TestClock>>,
    pub load: Rc<Load>,
}

impl Host {
    /// The tasks of the calls are caught one by one by whoever runs them; this catches what starts them, so that a bug
    /// costs some calls and not the engine.
    pub fn handle(&mut self, message: Message) {
        let _ = catch_unwind(AssertUnwindSafe(|| match message {
            Message::Open { client, outbox, nodes, owner } => {
                self.open(client, outbox, nodes, owner.as_deref());
            }
            Message::Calls { outbox, numbers, text } => self.start_all(&numbers, &text, &outbox),
            Message::Gone { outbox } => self.forget(&outbox),
        }));
    }

    /// The records of the calls of one turn of an event loop.
    pub fn start_all(&mut self, numbers: &[f64], text: &str, outbox: &Outbox) {
        let mut reader = Reader::new(numbers, text);
        while let Some(record) = reader.next_record() {
            self.start(record, outbox);
        }
    }

    fn open(
        &mut self,
        client: u32,
        outbox: Arc<Outbox>,
        nodes: Vec<NodeAddress>,
        owner: Option<&str>,
    ) {
        // Without randomness there is no client, and each of its calls is told "closed".
        let shared = self.shared(&nodes);
        let queues = shared.queues.clone();
        if let Ok(nodes) = self.nodes(client, &outbox, queues, nodes, owner) {
            self.clients.insert(client, Client::new(outbox, nodes, shared));
        }
    }

    fn start(&mut self, record: Record, outbox: &Outbox) {
        let client = match record.operation {
            Operation::PoolAnswer(node, answer) => {
                if let Some(pool) = self.asked_pool(record.client, node) {
                    pool.answer(record.call, answer);
                }
                return;
            }
            Operation::Advance(ahead) => {
                return self.clock(record.client, ahead).set(ahead);
            }
            Operation::Unreadable if record.is_awaited => {
                return outbox.push(record.call, Outcome::Panicked, 0.0, |_| Ok(()));
            }
            Operation::Close => self.clients.remove(&record.client),
            _ => self.clients.get(&record.client).cloned(),
        };
        match client {
            Some(client) => client.start(record.call, record.operation),
            // A lease is told of its end, too.
            None if matches!(record.operation, Operation::Watch(_)) => {
                outbox.lost(record.call, Loss::Closed);
            }
            None if record.is_awaited => {
                outbox.push(record.call, Outcome::Closed, 0.0, |_| Ok(()));
            }
            None => {}
        }
    }

    /// Stops all calls of an environment that is gone, and closes its clients.
    fn forget(&mut self, outbox: &Arc<Outbox>) {
        self.clients.retain(|_, client| {
            let is_theirs = Arc::ptr_eq(&client.outbox, outbox);
            if is_theirs {
                client.cancel_all();
                client.close(NO_CALL);
            }
            !is_theirs
        });
    }

    /// A node over a pool, which is there until the client is closed.
    fn asked_pool(&mut self, client: u32, node: usize) -> Option<Rc<PoolNode>> {
        let pool = self.pools.get(&client).and_then(|pools| pools.get(&node)?.upgrade());
        if pool.is_none() {
            self.pools.remove(&client);
        }
        pool
    }

    fn nodes(
        &mut self,
        client: u32,
        outbox: &Arc<Outbox>,
        queues: Rc<Queues>,
        addresses: Vec<NodeAddress>,
        owner: Option<&str>,
    ) -> Result<Rc<Redsync>, SysError> {
        let clock = addresses.iter().find_map(|address| match address {
            NodeAddress::Memory { clock, .. } => *clock,
            _ => None,
        });
        let clock = self.clock_or_boot(clock);
        let mut members = Vec::with_capacity(addresses.len());
        let is_alone = addresses.len() == 1;
        for (index, address) in addresses.into_iter().enumerate() {
            members.push(self.node(address, (client, index), is_alone, outbox));
        }
        let random = Box::new(OsRandom::new()?);
        Ok(Redsync::sharing(self.load.clone(), queues, members, clock, random, owner))
    }

    /// What those share who have opened these nodes with these logins.
    fn shared(&mut self, addresses: &[NodeAddress]) -> Rc<Shared> {
        let identities: Option<Vec<_>> = addresses.iter().map(NodeAddress::identity).collect();
        let Some(identities) = identities else { return Rc::default() };
        self.shared.retain(|_, shared| shared.strong_count() > 0);
        if let Some(shared) = self.shared.get(&identities).and_then(Weak::upgrade) {
            return shared;
        }
        let shared = Rc::default();
        self.shared.insert(identities, Rc::downgrade(&shared));
        shared
    }

    /// A node over a pool, which JavaScript finds by the client and the index of the node.
    fn pool(
        &mut self,
        (client, index): (u32, usize),
        is_cluster: bool,
        outbox: Arc<Outbox>,
    ) -> Rc<dyn Node> {
        self.pools.retain(|_, pools| pools.values().any(|pool| pool.strong_count() > 0));
        let pool = PoolNode::new(Box::new(move |question, asked, left| {
            outbox.ask_pool((client, index), is_cluster, question, asked, left);
        }));
        self.pools.entry(client).or_default().insert(index, Rc::downgrade(&pool));
        pool
    }

    /// A clock for tests, as it was or, if it is new, so far ahead.
    fn clock(&mut self, number: u32, ahead: Duration) -> Rc<TestClock> {
        self.clocks.retain(|_, clock| Rc::strong_count(clock) > 1);
        let clock = self.clocks.entry(number).or_default();
        clock.set(ahead);
        clock.clone()
    }

    fn clock_or_boot(&mut self, clock: Option<(u32, Duration)>) -> Rc<dyn Clock> {
        match clock {
            Some((number, ahead)) => self.clock(number, ahead),
            None => Rc::new(BootClock),
        }
    }

    fn node(
        &mut self,
        address: NodeAddress,
        place: (u32, usize),
        is_alone: bool,
        outbox: &Arc<Outbox>,
    ) -> Rc<dyn Node> {
        match address {
            #[cfg(not(target_family = "wasm"))]
            NodeAddress::Redis(redis) => {
                // Whether it is the same as another one.
                let on_login = || -> OnLogin {
                    let outbox = outbox.clone();
                    Rc::new(move |run_id: &str| outbox.logged_in(place, run_id))
                };
                Rc::new(RedisNode::at(*redis, (!is_alone).then(on_login)))
            }
            NodeAddress::Memory { name: None, clock } => {
                Rc::new(MemoryNode::new(self.clock_or_boot(clock)))
            }
            NodeAddress::Memory { name: Some(name), clock } => {
                // A node that nobody uses stays for as long as somebody holds a lock on it.
                self.memory.retain(|_, node| Rc::strong_count(node) > 1 || !node.is_empty());
                let clock = self.clock_or_boot(clock);
                let new = || Rc::new(MemoryNode::new(clock));
                self.memory.entry(name).or_insert_with(new).clone()
            }
            NodeAddress::Pool { is_cluster } => self.pool(place, is_cluster, outbox.clone()),
        }
    }
}
