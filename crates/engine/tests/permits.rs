//! Every state that a small semaphore can reach: 3 nodes, 2 permits, 3 clients, any number of attempts.
//!
//! Each permit has a key of its own on each node. A client that wants any permit chooses one and asks for
//! it as for a mutex, with a value of its own for each attempt.
//!
//! | the system | the model |
//! |---|---|
//! | `SET NX PX` of the permit's key | `Action::Arrive` and `Action::Late` |
//! | it is deleted if it stores the value | `Action::Vanish` |
//! | the votes of an attempt, for one permit | `Node::votes` |
//! | the time that is left of a quorum's expiry | `Phase::Holding` |
//!
//! The model has less than the system, because it allows more:
//!
//! - A command arrives at any time, as often as it likes, or never. So what is late, lost or repeated needs
//!   no state of its own.
//! - A client may give up, or take its time, whatever votes it has. So an answer that is late or lost needs
//!   none, either.
//! - When an attempt ends, what it has stored is nobody's: no later attempt has its value. Such a key vanishes
//!   at any time, or with its expiry. One that arrives late is stored at any time.
//! - Which permit a client asks for depends on nothing.

use stateright::{Checker, HasDiscoveries, Model, Property};

const NODES: usize = 3;
const QUORUM: usize = 2;
const PERMITS: usize = 2;
const CLIENTS: usize = 3;
/// The owner of what a node stores of an attempt that is over.
const NOBODY: usize = CLIENTS;

const LIMIT: &str = "no more hold a permit than there are";

const ORDERS: [[usize; CLIENTS]; 6] =
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Node {
    /// For each permit the client whose attempt it is, and how long the key lives.
    stored: [Option<(usize, u8)>; PERMITS],
    /// These clients have heard that their attempt was granted.
    votes: [bool; CLIENTS],
}

impl Node {
    fn stores(&self, permit: usize, client: usize) -> bool {
        self.stored[permit].is_some_and(|(stored, _)| stored == client)
    }
}

/// What a client does with a permit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Phase {
    #[default]
    Idle,
    /// The time since the question was sent.
    Asking(usize, u8),
    /// The time that is left.
    Holding(usize, u8),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct State {
    nodes: [Node; NODES],
    clients: [Phase; CLIENTS],
}

impl State {
    /// No node differs from another, no client and no permit: of states that are alike, one is looked
    /// at.
    fn representative(&self) -> Self {
        let states = ORDERS.iter().flat_map(|order| {
            let state = self.reordered(order);
            [state, state.with_permits_swapped()]
        });
        let sorted = states.map(|mut state| {
            state.nodes.sort_unstable();
            state
        });
        sorted.min().unwrap_or(*self)
    }

    fn reordered(&self, order: &[usize; CLIENTS]) -> Self {
        let mut state = *self;
        for (client, &place) in order.iter().enumerate() {
            state.clients[place] = self.clients[client];
            for (node, before) in state.nodes.iter_mut().zip(&self.nodes) {
                node.votes[place] = before.votes[client];
            }
        }
        let stored = state.nodes.iter_mut().flat_map(|node| node.stored.iter_mut().flatten());
        stored.for_each(|(client, _)| *client = order.get(*client).copied().unwrap_or(NOBODY));
        state
    }

    fn with_permits_swapped(mut self) -> Self {
        self.nodes.iter_mut().for_each(|node| node.stored.reverse());
        for phase in &mut self.clients {
            if let Phase::Asking(permit, _) | Phase::Holding(permit, _) = phase {
                *permit = PERMITS - 1 - *permit;
            }
        }
        self
    }

    fn votes(&self, client: usize) -> usize {
        self.nodes.iter().filter(|node| node.votes[client]).count()
    }

    /// Who holds which permit.
    fn holders(&self) -> impl Iterator<Item = (usize, usize)> {
        self.clients.iter().enumerate().filter_map(|(client, phase)| match phase {
            Phase::Holding(permit, _) => Some((client, *permit)),
            Phase::Idle | Phase::Asking(..) => None,
        })
    }

    /// The attempt is over. What nodes store of it is still there.
    fn end(&mut self, client: usize) {
        self.clients[client] = Phase::Idle;
        for node in &mut self.nodes {
            node.votes[client] = false;
            let stored = node.stored.iter_mut().flatten();
            stored.filter(|(stored, _)| *stored == client).for_each(|(stored, _)| *stored = NOBODY);
        }
    }

    fn tick(&mut self, rule: Semaphore) {
        for stored in self.nodes.iter_mut().flat_map(|node| &mut node.stored) {
            *stored = match *stored {
                Some((client, left)) if left > 1 => Some((client, left - 1)),
                _ => None,
            };
        }
        for client in 0..CLIENTS {
            self.clients[client] = match self.clients[client] {
                Phase::Asking(permit, age) if age + 1 < rule.expiry => {
                    Phase::Asking(permit, age + 1)
                }
                Phase::Holding(permit, left) if left > 1 => Phase::Holding(permit, left - 1),
                Phase::Asking(..) if rule.late_clock => continue,
                Phase::Idle | Phase::Asking(..) | Phase::Holding(..) => {
                    self.end(client);
                    continue;
                }
            };
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Ask {
        client: usize,
        permit: usize,
    },
    /// The command of an attempt arrives, and is granted. (A refusal changes nothing.)
    Arrive {
        client: usize,
        permit: usize,
        node: usize,
    },
    /// The same of an attempt that is over.
    Late {
        permit: usize,
        node: usize,
    },
    /// The release of an attempt that is over arrives.
    Vanish {
        permit: usize,
        node: usize,
    },
    Hold(usize),
    /// The attempt is given up, or the permit is released.
    Release(usize),
    Tick,
}

/// The algorithm, and what can be got wrong in it.
#[derive(Clone, Copy)]
struct Semaphore {
    expiry: u8,
    /// The permits have one key: a node grants as many holders of it as there are permits.
    limit_per_node: bool,
    /// A client that goes on to another permit keeps its votes for the last one, and counts both.
    votes_together: bool,
    /// The time is counted from the votes.
    late_clock: bool,
}

impl Semaphore {
    const fn new(expiry: u8) -> Self {
        Self { expiry, limit_per_node: false, votes_together: false, late_clock: false }
    }
}

impl Model for Semaphore {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Tick);
        for (client, &phase) in state.clients.iter().enumerate() {
            let (Phase::Asking(asked, _) | Phase::Holding(asked, _)) = phase else {
                actions.extend((0..PERMITS).map(|permit| Action::Ask { client, permit }));
                continue;
            };
            actions.push(Action::Release(client));
            if matches!(phase, Phase::Asking(..)) {
                if state.votes(client) >= QUORUM {
                    actions.push(Action::Hold(client));
                }
                if self.votes_together {
                    actions.push(Action::Ask { client, permit: PERMITS - 1 - asked });
                }
            }
            for (node, Node { stored, .. }) in state.nodes.iter().enumerate() {
                // Where the permits have one key, it has as many places.
                let is_stored = stored.iter().flatten().any(|(stored, _)| *stored == client);
                let free = stored.iter().position(Option::is_none);
                let place =
                    if self.limit_per_node { free.filter(|_| !is_stored) } else { Some(asked) };
                if let Some(permit) = place.filter(|&place| stored[place].is_none()) {
                    actions.push(Action::Arrive { client, permit, node });
                }
            }
        }
        for (node, Node { stored, .. }) in state.nodes.iter().enumerate() {
            for (permit, stored) in stored.iter().enumerate() {
                match stored {
                    None => actions.push(Action::Late { permit, node }),
                    Some((NOBODY, _)) => actions.push(Action::Vanish { permit, node }),
                    Some(_) => {}
                }
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        match action {
            Action::Tick => next.tick(*self),
            Action::Ask { client, permit } => {
                next.clients[client] = match state.clients[client] {
                    Phase::Asking(_, age) => Phase::Asking(permit, age),
                    Phase::Idle | Phase::Holding(..) => Phase::Asking(permit, 0),
                };
            }
            Action::Arrive { client, permit, node } => {
                let node = &mut next.nodes[node];
                node.stored[permit] = Some((client, self.expiry));
                node.votes[client] = matches!(state.clients[client], Phase::Asking(..));
            }
            Action::Late { permit, node } => {
                next.nodes[node].stored[permit] = Some((NOBODY, self.expiry));
            }
            Action::Vanish { permit, node } => next.nodes[node].stored[permit] = None,
            Action::Hold(client) => {
                let Phase::Asking(permit, age) = state.clients[client] else { return None };
                let left = if self.late_clock { self.expiry } else { self.expiry - age };
                next.clients[client] = Phase::Holding(permit, left);
                next.nodes.iter_mut().for_each(|node| node.votes[client] = false);
            }
            Action::Release(client) => next.end(client),
        }
        (next != *state).then(|| next.representative())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(LIMIT, |_, state: &State| state.holders().count() <= PERMITS),
            Property::always("a quorum stores the permit that is held", |_, state: &State| {
                state.holders().all(|(client, permit)| {
                    let stores = |node: &&Node| node.stores(permit, client);
                    state.nodes.iter().filter(stores).count() >= QUORUM
                })
            }),
            Property::sometimes("two hold, and a third has a vote", |_, state: &State| {
                state.holders().count() == PERMITS
                    && (0..CLIENTS).any(|client| state.votes(client) > 0)
            }),
        ]
    }
}

#[test]
fn no_more_hold_a_permit_than_there_are() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Semaphore::new(3).checker().threads(threads).spawn_bfs().join();
    println!("{} states, {} different", checker.state_count(), checker.unique_state_count());
    assert!(checker.is_done(), "all states were looked at");
    checker.assert_properties();
}

#[test]
fn a_semaphore_with_a_mistake_has_too_many_holders() {
    let sound = Semaphore::new(1);
    for (name, mistaken) in [
        ("limit per node", Semaphore { limit_per_node: true, ..sound }),
        ("votes for different permits", Semaphore { votes_together: true, ..sound }),
        ("late clock", Semaphore { late_clock: true, ..sound }),
    ] {
        let found = HasDiscoveries::AllOf([LIMIT].into());
        let checker = mistaken.checker().finish_when(found).spawn_bfs().join();
        println!("{name}: {} states", checker.state_count());
        assert!(checker.discovery(LIMIT).is_some(), "{name}: never more than there are permits");
    }
}
