//! Every state that a small system can reach: 3 nodes, 2 clients, 2 attempts each, an expiry of 3.
//!
//! The simulation runs the engine itself, and chooses at random. This is a model of it, in which
//! nothing is left to chance: a command may be late by any time or have no answer, a pause may be as
//! long as it likes, and a release that got lost may be repeated at any time later.

use stateright::{Checker, HasDiscoveries, Model, Property, Representative};

const NODES: usize = 3;
const CLIENTS: usize = 2;
const QUORUM: usize = 2;
const ATTEMPTS: u8 = 2;
const EXPIRY: u8 = 3;
/// Releases that get lost on their way.
const LOSSES: u8 = 1;

/// What has to be so in every state.
const ALWAYS: [&str; 2] = ["at most one holds the lock", "a quorum stores what is held"];

/// Whose attempt a key belongs to.
type Value = (u8, u8);

/// What is between one client and one node. The client sends each node the same: acquire and
/// release, in turns. They arrive in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Link {
    /// So many of them have arrived.
    arrived: u8,
    /// The client has heard that this attempt was granted.
    has_granted: bool,
    /// The attempt of which the release got lost.
    missed: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Node {
    /// The value, and how long it lives.
    stored: Option<(Value, u8)>,
    links: [Link; CLIENTS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Phase {
    Idle,
    /// The time since the question was sent.
    Asking(u8),
    /// The time that is left.
    Holding(u8),
    /// Its time is over.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Client {
    /// Commands sent to each node.
    sent: u8,
    phase: Phase,
}

impl Client {
    /// Attempts made, this one included.
    fn attempt(self) -> u8 {
        self.sent.div_ceil(2)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct State {
    nodes: [Node; NODES],
    clients: [Client; CLIENTS],
    losses: u8,
}

/// No node differs from another, and no client.
impl Representative for State {
    fn representative(&self) -> Self {
        let mut same = *self;
        let mut mirrored = *self;
        mirrored.clients.reverse();
        for node in &mut mirrored.nodes {
            node.links.reverse();
            if let Some(((client, _), _)) = &mut node.stored {
                *client = 1 - *client;
            }
        }
        same.nodes.sort_unstable();
        mirrored.nodes.sort_unstable();
        same.min(mirrored)
    }
}

impl State {
    fn votes(&self, client: usize) -> usize {
        self.nodes.iter().filter(|node| node.links[client].has_granted).count()
    }

    fn holds(&self, client: usize) -> bool {
        matches!(self.clients[client].phase, Phase::Holding(_))
    }

    fn tick(&mut self, late_clock: bool) {
        for node in &mut self.nodes {
            node.stored = match node.stored {
                Some((value, left)) if left > 1 => Some((value, left - 1)),
                _ => None,
            };
        }
        for client in &mut self.clients {
            client.phase = match client.phase {
                Phase::Asking(age) if age + 1 < EXPIRY => Phase::Asking(age + 1),
                Phase::Asking(_) if late_clock => client.phase,
                Phase::Holding(left) if left > 1 => Phase::Holding(left - 1),
                Phase::Asking(_) | Phase::Holding(_) => Phase::Over,
                Phase::Idle | Phase::Over => client.phase,
            };
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Ask(usize),
    /// The next command arrives, and its answer is heard. (An answer that is late or lost needs no
    /// state of its own: whoever has a quorum of votes may still take its time, or give up.)
    Arrive {
        client: usize,
        node: usize,
    },
    Lose {
        client: usize,
        node: usize,
    },
    Repeat {
        client: usize,
        node: usize,
    },
    Hold(usize),
    /// The attempt is given up, or the lock is released.
    Release(usize),
    Tick,
}

/// The algorithm, and what can be got wrong in it.
#[derive(Clone, Copy, Default)]
struct Redlock {
    /// One value for all attempts of a client.
    one_value: bool,
    /// The time is counted from the votes.
    late_clock: bool,
    /// Votes of an earlier attempt count.
    stale_votes: bool,
}

impl Redlock {
    fn value(self, client: usize, attempt: u8) -> Value {
        (client as u8, if self.one_value { 1 } else { attempt })
    }

    fn arrive(self, state: &mut State, client: usize, node: usize) {
        let sent = state.clients[client].sent;
        let node = &mut state.nodes[node];
        let link = &mut node.links[client];
        link.arrived += 1;
        let value = self.value(client, link.arrived.div_ceil(2));
        let is_acquire = link.arrived % 2 == 1;
        if is_acquire && node.stored.is_none() {
            node.stored = Some((value, EXPIRY));
            // An answer counts while its question is the last thing that was sent.
            link.has_granted |= link.arrived == sent;
        } else if !is_acquire {
            node.remove(value);
        }
    }
}

impl Node {
    fn remove(&mut self, value: Value) {
        self.stored = self.stored.filter(|(stored, _)| *stored != value);
    }
}

impl Model for Redlock {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let client = Client { sent: 0, phase: Phase::Idle };
        vec![State { nodes: Default::default(), clients: [client; CLIENTS], losses: LOSSES }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Tick);
        for (client, &Client { sent, phase }) in state.clients.iter().enumerate() {
            match phase {
                Phase::Idle if sent < 2 * ATTEMPTS => actions.push(Action::Ask(client)),
                Phase::Idle => {}
                Phase::Asking(_) => {
                    actions.push(Action::Release(client));
                    if state.votes(client) >= QUORUM {
                        actions.push(Action::Hold(client));
                    }
                }
                Phase::Holding(_) | Phase::Over => actions.push(Action::Release(client)),
            }
            for (node, Node { links, .. }) in state.nodes.iter().enumerate() {
                let link = links[client];
                if link.arrived < sent {
                    let is_acquire = link.arrived % 2 == 0;
                    actions.push(Action::Arrive { client, node });
                    if !is_acquire && state.losses > 0 {
                        actions.push(Action::Lose { client, node });
                    }
                }
                if link.missed.is_some() {
                    actions.push(Action::Repeat { client, node });
                }
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        match action {
            Action::Tick => next.tick(self.late_clock),
            Action::Ask(client) => {
                next.clients[client].sent += 1;
                next.clients[client].phase = Phase::Asking(0);
            }
            Action::Arrive { client, node } => self.arrive(&mut next, client, node),
            Action::Lose { client, node } => {
                let link = &mut next.nodes[node].links[client];
                link.arrived += 1;
                link.missed = Some(link.arrived.div_ceil(2));
                next.losses -= 1;
            }
            Action::Repeat { client, node } => {
                let attempt = next.nodes[node].links[client].missed.take()?;
                next.nodes[node].remove(self.value(client, attempt));
            }
            Action::Hold(client) => {
                let Phase::Asking(age) = state.clients[client].phase else { return None };
                let left = if self.late_clock { EXPIRY } else { EXPIRY - age };
                next.clients[client].phase = Phase::Holding(left);
            }
            Action::Release(client) => {
                next.clients[client].sent += 1;
                next.clients[client].phase = Phase::Idle;
                for node in &mut next.nodes {
                    node.links[client].has_granted &= self.stale_votes;
                }
            }
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ALWAYS[0], |_, state: &State| {
                !(0..CLIENTS).all(|client| state.holds(client))
            }),
            Property::always(ALWAYS[1], |model: &Self, state: &State| {
                (0..CLIENTS).filter(|&client| state.holds(client)).all(|client| {
                    let value = model.value(client, state.clients[client].attempt());
                    let stores =
                        |node: &&Node| node.stored.is_some_and(|(stored, _)| stored == value);
                    state.nodes.iter().filter(stores).count() >= QUORUM
                })
            }),
            Property::sometimes("a lock is held in the last attempt", |_, state: &State| {
                (0..CLIENTS).any(|client| state.holds(client))
                    && state.clients.iter().all(|client| client.attempt() == ATTEMPTS)
            }),
        ]
    }
}

#[test]
fn no_state_violates_exclusion() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Redlock::default().checker().threads(threads).symmetry().spawn_dfs().join();
    println!("{} states, {} different", checker.state_count(), checker.unique_state_count());
    assert!(checker.is_done(), "all states were looked at");
    checker.assert_properties();
}

#[test]
fn a_model_with_a_mistake_violates_exclusion() {
    let sound = Redlock::default();
    let mistakes = [
        ("one value", Redlock { one_value: true, ..sound }),
        ("late clock", Redlock { late_clock: true, ..sound }),
        ("stale votes", Redlock { stale_votes: true, ..sound }),
    ];
    for (name, mistaken) in mistakes {
        let found = HasDiscoveries::AnyFailures;
        let checker = mistaken.checker().symmetry().finish_when(found).spawn_dfs().join();
        println!("{name}: {} states", checker.state_count());
        // The example of what is sometimes so is a discovery, too.
        let is_violated = |name| checker.discovery(name).is_some();
        assert!(ALWAYS.into_iter().any(is_violated), "{name}: nothing found");
    }
}
