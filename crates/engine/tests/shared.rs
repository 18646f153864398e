//! Every state that the rule of readers and writers can reach in a small system: 3 nodes, 3 clients, any
//! number of attempts.
//!
//! The rule is that of `readers.rs` and of the scripts, which a node runs as one command. The key stores a
//! writer's value, or the mark while there are readers. Each reader has an end of his own beside it.
//!
//! | the rule | the model |
//! |---|---|
//! | the key and its life | `Node::key`, `Node::left` |
//! | the set of the readers | `Node::readers` |
//! | acquisition and extension of a writer | `Shared::write` |
//! | acquisition and extension of a reader, downgrade | `Shared::enter` |
//! | release of either | `Shared::leave` |
//! | the sign of a writer who waits | none: it only forbids |
//!
//! The model has less than the system, because it allows more:
//!
//! - A command arrives at any time, as often as it likes, or never. So what is late, lost or repeated needs
//!   no state of its own.
//! - An extension stores what has vanished, as it does with `setNXOnExtend`.
//! - A client may give up, or take its time, whatever votes it has. So an answer that is late or lost needs
//!   no state of its own, either. An extension may also succeed after the lock was over.
//! - When an attempt ends, what it has stored is nobody's: no later attempt has its value. It vanishes at any
//!   time, or with its expiry. What arrives late of such an attempt is stored at any time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use redsync_engine::{Answer, Clock, Kind, MemoryNode, READERS as MARK, Request, Value, Verb};
use stateright::{Checker, HasDiscoveries, Model, Property};

const NODES: usize = 3;
const CLIENTS: usize = 3;
/// Stands for all attempts that are over.
const NOBODY: usize = CLIENTS;

const EXCLUSION: &str = "no reader beside a writer, nor two writers";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    #[default]
    Free,
    /// There are readers.
    Mark,
    /// The value of this client.
    Writer(usize),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Node {
    key: Key,
    /// How long the key lives.
    left: u8,
    /// How long each client reads, and nobody; 0 when it does not.
    readers: [u8; CLIENTS + 1],
    /// These clients have heard that what they asked last was granted.
    votes: [bool; CLIENTS],
}

impl Node {
    fn stores(&self, client: usize) -> bool {
        self.key == Key::Writer(client) || self.readers[client] > 0
    }

    fn last(&self) -> u8 {
        self.readers.into_iter().max().unwrap_or_default()
    }

    /// What it stores of this client's attempt is nobody's from now on.
    fn forget(&mut self, client: usize) {
        if self.key == Key::Writer(client) {
            self.key = Key::Writer(NOBODY);
        }
        let left = std::mem::take(&mut self.readers[client]);
        self.readers[NOBODY] = self.readers[NOBODY].max(left);
        self.votes[client] = false;
    }

    fn tick(&mut self) {
        self.left = self.left.saturating_sub(1);
        for left in &mut self.readers {
            *left = left.saturating_sub(1);
        }
        if self.left == 0 {
            self.key = Key::Free;
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Client {
    /// It asks as a reader: a writer from his downgrade on.
    enters: bool,
    /// It takes itself for a reader, when it holds the lock.
    reads: bool,
    /// The time since the question was sent, if one is open.
    asks: Option<u8>,
    /// The time that is left of the lock; 0 when it holds none.
    left: u8,
}

impl Client {
    fn new(writes: bool) -> Self {
        Self { enters: !writes, reads: !writes, ..Self::default() }
    }

    fn is_idle(&self) -> bool {
        self.asks.is_none() && self.left == 0
    }

    fn holds_as_reader(&self) -> bool {
        self.left > 0 && self.reads
    }

    fn holds_as_writer(&self) -> bool {
        self.left > 0 && !self.reads
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct State {
    nodes: [Node; NODES],
    clients: [Client; CLIENTS],
}

impl State {
    /// No node differs from another: of states that are alike, one is looked at.
    fn representative(&self) -> Self {
        let mut same = *self;
        same.nodes.sort_unstable();
        same
    }

    fn votes(&self, client: usize) -> usize {
        self.nodes.iter().filter(|node| node.votes[client]).count()
    }

    fn forget_votes(&mut self, client: usize) {
        self.nodes.iter_mut().for_each(|node| node.votes[client] = false);
    }

    fn readers(&self) -> usize {
        self.clients.iter().filter(|client| client.holds_as_reader()).count()
    }

    fn writers(&self) -> usize {
        self.clients.iter().filter(|client| client.holds_as_writer()).count()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    /// An acquisition, or an extension of what is held.
    Ask(usize),
    /// An extension of a writer as a reader.
    Downgrade(usize),
    /// A writer's command arrives, perhaps nobody's any more. (If it is refused, nothing changes.)
    Write {
        client: usize,
        node: usize,
    },
    /// A reader's command arrives.
    Enter {
        client: usize,
        node: usize,
    },
    /// The release of an attempt that is over arrives.
    Leave(usize),
    /// A quorum has granted what was asked.
    Hold(usize),
    /// The attempt is given up, or the lock is released.
    Release(usize),
    Tick,
}

/// The rule, and what can be got wrong in it.
#[derive(Clone, Copy)]
struct Shared {
    writers: [bool; CLIENTS],
    /// Each client's, and nobody's.
    expiries: [u8; CLIENTS + 1],
    quorum: usize,
    /// Readers stand beside the key, which says nothing of them.
    no_mark: bool,
    /// The extension of a reader leaves the life of the mark as it is.
    same_life: bool,
    /// Who enters gives the mark his own life, even if another reads for longer.
    own_life: bool,
    /// A release deletes the mark, even if others read.
    release_deletes: bool,
    /// A release gives the mark the life of any reader, and not of the last.
    release_shortens: bool,
    /// A downgraded writer takes himself for a writer until a quorum has answered.
    late_downgrade: bool,
}

impl Shared {
    /// Nobody's keys live for as long as those of the first client.
    const fn new(writers: [bool; CLIENTS], expiries: [u8; CLIENTS]) -> Self {
        let [first, second, third] = expiries;
        Self {
            writers,
            expiries: [first, second, third, first],
            quorum: NODES / 2 + 1,
            no_mark: false,
            same_life: false,
            own_life: false,
            release_deletes: false,
            release_shortens: false,
            late_downgrade: false,
        }
    }

    fn write(&self, node: &mut Node, client: usize) -> bool {
        if node.key != Key::Free && node.key != Key::Writer(client) {
            return false;
        }
        node.key = Key::Writer(client);
        node.left = node.left.max(self.expiries[client]);
        true
    }

    fn enter(&self, node: &mut Node, client: usize) -> bool {
        let own = match node.key {
            Key::Writer(writer) if writer != client => return false,
            Key::Writer(_) => node.left,
            Key::Mark | Key::Free => 0,
        };
        let is_marked = node.key == Key::Mark;
        if !is_marked && !self.no_mark {
            node.readers = Default::default();
        }
        let (last, so_far) = (node.last(), node.readers[client]);
        let ends = own.max(so_far).max(self.expiries[client]);
        node.readers[client] = ends;
        if self.no_mark {
            (node.key, node.left) = (Key::Free, 0);
        } else if !(self.same_life && so_far > 0) && (ends >= last || self.own_life) {
            (node.key, node.left) = (Key::Mark, ends);
        }
        true
    }

    fn leave(&self, node: &mut Node, client: usize) {
        if node.key == Key::Writer(client) {
            (node.key, node.left) = (Key::Free, 0);
        }
        let ended = std::mem::take(&mut node.readers[client]);
        if node.key != Key::Mark || ended == 0 {
            return;
        }
        let some = node.readers.into_iter().find(|&left| left > 0).unwrap_or_default();
        let last = if self.release_shortens { some } else { node.last() };
        if last == 0 || self.release_deletes {
            (node.key, node.left) = (Key::Free, 0);
        } else if last < ended || self.release_shortens {
            node.left = last;
        }
    }

    fn end(&self, state: &mut State, client: usize) {
        state.clients[client] = Client::new(self.writers[client]);
        state.nodes.iter_mut().for_each(|node| node.forget(client));
    }

    fn tick(&self, state: &mut State) {
        state.nodes.iter_mut().for_each(Node::tick);
        for (index, expiry) in (0..CLIENTS).zip(self.expiries) {
            let client = &mut state.clients[index];
            if client.is_idle() {
                continue;
            }
            client.left = client.left.saturating_sub(1);
            client.asks = client.asks.map(|age| age + 1).filter(|&age| age < expiry);
            let Client { asks, left, .. } = *client;
            if asks.is_none() {
                state.forget_votes(index);
            }
            if asks.is_none() && left == 0 {
                self.end(state, index);
            }
        }
    }

    /// A command arrives.
    fn arrive(&self, state: &mut State, client: usize, node: usize, reads: bool) {
        let node = &mut state.nodes[node];
        let is_granted = if reads { self.enter(node, client) } else { self.write(node, client) };
        let Some(asking) = state.clients.get(client) else { return };
        node.votes[client] |= is_granted && asking.asks.is_some() && asking.enters == reads;
    }
}

impl Model for Shared {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let clients = self.writers.map(Client::new);
        vec![State { clients, ..State::default() }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Tick);
        for (index, client) in state.clients.iter().enumerate() {
            if client.asks.is_none() {
                actions.push(Action::Ask(index));
                if client.holds_as_writer() {
                    actions.push(Action::Downgrade(index));
                }
            } else if state.votes(index) >= self.quorum {
                actions.push(Action::Hold(index));
            }
            if client.is_idle() {
                continue;
            }
            actions.push(Action::Release(index));
            for node in 0..NODES {
                if self.writers[index] {
                    actions.push(Action::Write { client: index, node });
                }
                if client.enters {
                    actions.push(Action::Enter { client: index, node });
                }
            }
        }
        for node in 0..NODES {
            actions.push(Action::Write { client: NOBODY, node });
            actions.push(Action::Enter { client: NOBODY, node });
            actions.push(Action::Leave(node));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        match action {
            Action::Tick => self.tick(&mut next),
            Action::Ask(client) => next.clients[client].asks = Some(0),
            Action::Downgrade(client) => {
                let client = &mut next.clients[client];
                client.asks = Some(0);
                client.enters = true;
                client.reads = !self.late_downgrade;
            }
            Action::Write { client, node } => self.arrive(&mut next, client, node, false),
            Action::Enter { client, node } => self.arrive(&mut next, client, node, true),
            Action::Leave(node) => self.leave(&mut next.nodes[node], NOBODY),
            Action::Hold(index) => {
                let client = &mut next.clients[index];
                let age = client.asks.take()?;
                client.reads = client.enters;
                client.left = client.left.max(self.expiries[index] - age);
                next.forget_votes(index);
            }
            Action::Release(client) => self.end(&mut next, client),
        }
        (next != *state).then(|| next.representative())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(EXCLUSION, |_, state: &State| {
                state.writers() == 0 || state.writers() + state.readers() == 1
            }),
            Property::always("a quorum stores what is held", |model: &Self, state: &State| {
                (0..CLIENTS).filter(|&client| state.clients[client].left > 0).all(|client| {
                    state.nodes.iter().filter(|node| node.stores(client)).count() >= model.quorum
                })
            }),
            Property::sometimes("a writer holds", |_, state: &State| state.writers() > 0),
            Property::sometimes("all readers hold together", |model: &Self, state: &State| {
                let is_reader = |index: usize| !model.writers[index];
                (0..CLIENTS).all(|index| {
                    let client = state.clients[index];
                    client.holds_as_reader() || !is_reader(index)
                })
            }),
            Property::sometimes(
                "a writer has become a reader beside another",
                |model: &Self, state: &State| {
                    let is_downgraded = |index: usize| {
                        model.writers[index] && state.clients[index].holds_as_reader()
                    };
                    state.readers() > 1 && (0..CLIENTS).any(is_downgraded)
                },
            ),
        ]
    }
}

/// Two readers and a writer: one reads for longer than the other.
const READERS: Shared = Shared::new([true, false, false], [1, 2, 1]);

/// One reader and two writers, of whom one has the lock for longer.
const WRITERS: Shared = Shared::new([true, true, false], [2, 1, 1]);

#[test]
fn no_reader_is_beside_a_writer() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for (name, rule) in [("2 readers, 1 writer", READERS), ("1 reader, 2 writers", WRITERS)] {
        let checker = rule.checker().threads(threads).spawn_bfs().join();
        let (states, different) = (checker.state_count(), checker.unique_state_count());
        println!("{name}: {states} states, {different} different");
        assert!(checker.is_done(), "{name}: all states were looked at");
        checker.assert_properties();
    }
}

#[test]
fn a_rule_with_a_mistake_lets_a_reader_in_beside_a_writer() {
    let sound = READERS;
    for (name, mistaken) in [
        ("no mark", Shared { no_mark: true, ..sound }),
        ("an extension leaves the mark's life", Shared { same_life: true, ..sound }),
        ("a reader shortens the mark's life", Shared { own_life: true, ..sound }),
        ("a release deletes the mark", Shared { release_deletes: true, ..sound }),
        ("a release shortens the mark's life", Shared { release_shortens: true, ..sound }),
        ("a quorum of 1", Shared { quorum: 1, ..sound }),
        ("late downgrade", Shared { late_downgrade: true, ..sound }),
    ] {
        let found = HasDiscoveries::AllOf([EXCLUSION].into());
        let checker = mistaken.checker().finish_when(found).spawn_bfs().join();
        println!("{name}: {} states", checker.state_count());
        assert!(checker.discovery(EXCLUSION).is_some(), "{name}: nothing found");
    }
}

/// What a command does in the model, it does on a node.
#[test]
fn a_node_goes_by_the_rule() {
    let mut random = StdRng::seed_from_u64(1);
    let (rule, clock) = (READERS, Rc::new(Now::default()));
    let (node, mut model) = (MemoryNode::new(clock.clone()), Node::default());
    let mut seen = [0; 3];
    for step in 0..100_000 {
        let client = random.random_range(0..=CLIENTS);
        let ask = |verb, kind| {
            let request = Request {
                kind,
                permits: 1,
                token: None,
                keys: Rc::new(["name".into()]),
                value: Value::from(client.to_string().as_str()),
                expiry: TICK * u32::from(rule.expiries[client]),
                timeout: Duration::ZERO,
                quarantine: Duration::ZERO,
            };
            node.apply(verb, &request) == Answer::Granted
        };
        let command = random.random_range(0..4);
        match command {
            0 => {
                let is_granted = ask(RECREATE, Kind::Write { sign: Duration::ZERO, renews: false });
                assert_eq!(rule.write(&mut model, client), is_granted, "step {step}");
            }
            1 => {
                let is_granted = ask(RECREATE, Kind::Read);
                assert_eq!(rule.enter(&mut model, client), is_granted, "step {step}");
            }
            2 => {
                assert_eq!(model.stores(client), ask(Verb::Release, Kind::Read), "step {step}");
                rule.leave(&mut model, client);
            }
            _ => {
                clock.0.set(clock.0.get() + TICK);
                model.tick();
            }
        }
        let (key, kind) = match model.key {
            Key::Free => (None, 0),
            Key::Mark => (Some(MARK.to_owned()), 1),
            Key::Writer(writer) => (Some(writer.to_string()), 2),
        };
        assert_eq!(node.get("name"), key, "step {step}");
        let reads = (0..=CLIENTS).filter(|&client| model.readers[client] > 0);
        let reads: Vec<_> = reads.map(|client| client.to_string()).collect();
        assert_eq!(node.readers("name"), reads, "step {step}");
        seen[kind] += 1;
    }
    assert!(seen.iter().all(|&times| times > 1000), "too little was tried: {seen:?}");
}

const TICK: Duration = Duration::from_millis(10);
const RECREATE: Verb = Verb::Extend { recreate: true };

#[derive(Default)]
struct Now(Cell<Duration>);

impl Clock for Now {
    fn now(&self) -> Duration {
        self.0.get()
    }

    fn wall(&self) -> Duration {
        self.now()
    }
}
