//! Every state that the rule of the fencing tokens can reach in a small system.
//!
//! The rule is `acquire-fenced.lua`, which a node runs as one command. The client proposes a token. The
//! node refuses it while the name is taken, or if the token is not greater than the last one that the
//! node granted. Otherwise it stores the lock and the token. An attempt that a quorum grants is
//! complete: the lock has its token.
//!
//! | the script | the model |
//! |---|---|
//! | `EXISTS` of the name | `Node::lock` |
//! | `GET` of the key of the last token | `Node::last` |
//! | `TIME` | `Node::clock` |
//! | `least` and `most` | `Tokens::accepts` |
//! | both `SET` | `Tokens::grant` |
//! | `PX` of the lock | none: a lock vanishes at any time |
//! | `PX` of the last token | `Node::left` |
//!
//! The model has less than the system, because it allows more:
//!
//! - A client proposes anything. So what its clock says, and what it learns from a refusal, is nothing
//!   that the tokens depend on.
//! - A command arrives at any time, or never: it may be late, or lost.
//! - A lock vanishes at any time: it expires, it is released, or its grant was not heard.
//! - An attempt is complete as soon as a quorum has granted it. Its client hears of that later or not
//!   at all, and then fewer attempts begin after it.
//! - A refused command may arrive once more. A refusal changes nothing, so it is no action.

use stateright::{Checker, HasDiscoveries, Model, Property, Representative};

const UNIQUE: &str = "no two locks have the same token";
const ORDER: &str = "a lock that was asked for after another was had has a greater token";

/// The greatest token that is proposed when tokens have nothing to do with clocks.
const PROPOSALS: u8 = 4;

/// What became of an attempt on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Vote {
    None,
    /// The lock is stored, its token is not yet.
    Locked,
    Granted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Node<const ATTEMPTS: usize> {
    /// The attempt whose lock is stored.
    lock: Option<usize>,
    /// The last token that was granted; 0 when there is none, or its key has expired.
    last: u8,
    /// How long the key of the last token lives, if it expires.
    left: u8,
    clock: u8,
    votes: [Vote; ATTEMPTS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Attempt {
    token: u8,
    /// The greatest token of those attempts that were complete when this one began.
    floor: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct State<const NODES: usize, const ATTEMPTS: usize> {
    nodes: [Node<ATTEMPTS>; NODES],
    /// In the order in which they begin, so no two states differ by the names of attempts alone.
    attempts: [Option<Attempt>; ATTEMPTS],
    /// A node has forgotten all, or its clock was set back.
    is_broken: bool,
}

/// No node differs from another.
impl<const NODES: usize, const ATTEMPTS: usize> Representative for State<NODES, ATTEMPTS> {
    fn representative(&self) -> Self {
        let mut same = *self;
        same.nodes.sort_unstable();
        same
    }
}

impl<const NODES: usize, const ATTEMPTS: usize> State<NODES, ATTEMPTS> {
    fn has_quorum(&self, attempt: usize, least: Vote) -> bool {
        self.nodes.iter().filter(|node| node.votes[attempt] >= least).count() > NODES / 2
    }

    fn complete(&self) -> impl Iterator<Item = Attempt> {
        let is_complete = |&attempt: &usize| self.has_quorum(attempt, Vote::Granted);
        (0..ATTEMPTS).filter(is_complete).filter_map(|attempt| self.attempts[attempt])
    }

    fn is_unique(&self) -> bool {
        let tokens = || self.complete().map(|attempt| attempt.token);
        tokens().enumerate().all(|(index, token)| tokens().skip(index + 1).all(|it| it != token))
    }

    /// All attempts are complete, and each began when the one before it was.
    fn is_in_turn(&self) -> bool {
        let floors = self.complete().skip(1).map(|attempt| attempt.floor);
        self.complete().count() == ATTEMPTS
            && self.complete().map(|attempt| attempt.token).zip(floors).all(|(a, b)| a == b)
    }

    /// A lock was had, no node knows its token any more, and another is asked for.
    fn is_forgotten(&self) -> bool {
        self.nodes.iter().all(|node| node.last == 0)
            && self.attempts.iter().flatten().any(|attempt| attempt.floor > 0)
    }
}

impl<const ATTEMPTS: usize> Node<ATTEMPTS> {
    const NEW: Self =
        Self { lock: None, last: 0, left: 0, clock: 0, votes: [Vote::None; ATTEMPTS] };

    fn tick(&mut self) {
        self.clock += 1;
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.last = 0;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    /// The next attempt proposes this token.
    Begin(u8),
    /// The command arrives, and is granted.
    Arrive {
        attempt: usize,
        node: usize,
    },
    /// The second command arrives, if there is one.
    Store {
        attempt: usize,
        node: usize,
    },
    Vanish(usize),
    /// The clock of this node goes on. Clocks are apart by any time, because each goes by itself.
    Tick(usize),
    Forget(usize),
    SetBack(usize),
}

/// How a node stores the token of a lock.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Store {
    #[default]
    WithTheLock,
    /// By a second command.
    Later,
    /// By a second command, which does nothing if the lock is gone, and never lowers the last token.
    WhileLocked,
}

/// A token has to be near the clock of the node, and the key of the last token expires.
#[derive(Clone, Copy)]
struct Window {
    /// How far from the clock a token may be.
    width: u8,
    /// How long the key of the last token lives.
    life: u8,
    /// Nothing is too small because of the clock.
    no_least: bool,
    /// Nothing is too great.
    no_most: bool,
    /// The rule reads a clock that goes in steps of this.
    step: u8,
    /// A grant takes no time. Otherwise a node grants once in a tick.
    at_once: bool,
    /// One clock is set back by so much, once.
    set_back: u8,
}

impl Window {
    const fn new(width: u8, life: u8) -> Self {
        let (no_least, no_most, at_once) = (false, false, false);
        Self { width, life, no_least, no_most, step: 1, at_once, set_back: 0 }
    }

    /// Where clocks and proposals end: what was granted in the first two ticks has expired.
    fn end(self) -> u8 {
        self.life + 2
    }
}

/// The rule, and what can be got wrong in it.
#[derive(Clone, Copy, Default)]
struct Tokens<const NODES: usize, const ATTEMPTS: usize> {
    window: Option<Window>,
    /// The last token is accepted once more.
    equal: bool,
    store: Store,
    /// With the lock, the last token is removed.
    release_drops: bool,
    /// Nothing is proposed: a node counts its grants, and the token is the maximum of a quorum.
    counts: bool,
    /// One node forgets all, once.
    forgets: bool,
}

impl<const NODES: usize, const ATTEMPTS: usize> Tokens<NODES, ATTEMPTS> {
    fn accepts(&self, node: &Node<ATTEMPTS>, token: u8) -> bool {
        let (mut least, mut most) = (node.last, u8::MAX);
        if let Some(window) = self.window {
            let now = node.clock - node.clock % window.step;
            if !window.no_least {
                least = least.max(now.saturating_sub(window.width));
            }
            if !window.no_most {
                most = (node.last + 1).max(now + window.width);
            }
        }
        self.counts || (token > least || self.equal && token == least) && token <= most
    }

    fn grant(&self, node: &mut Node<ATTEMPTS>, attempt: usize, asked: &mut Attempt) {
        // A lock only forbids, so with windows each vanishes at once, which allows the most.
        node.lock = if self.window.is_none() { Some(attempt) } else { None };
        node.votes[attempt] = Vote::Locked;
        if self.counts {
            node.last += 1;
            asked.token = asked.token.max(node.last);
        }
        if self.store == Store::WithTheLock {
            node.votes[attempt] = Vote::Granted;
            node.last = if self.counts { node.last } else { asked.token };
        }
        if let Some(window) = self.window {
            node.left = window.life;
            if !window.at_once {
                node.tick();
            }
        }
    }
}

impl<const NODES: usize, const ATTEMPTS: usize> Model for Tokens<NODES, ATTEMPTS> {
    type State = State<NODES, ATTEMPTS>;
    type Action = Action;

    fn init_states(&self) -> Vec<Self::State> {
        vec![State { nodes: [Node::NEW; NODES], attempts: [None; ATTEMPTS], is_broken: false }]
    }

    fn actions(&self, state: &Self::State, actions: &mut Vec<Action>) {
        if state.complete().count() == ATTEMPTS {
            return; // All that counts has happened.
        }
        if state.attempts.contains(&None) {
            let greatest = self.window.map_or(PROPOSALS, Window::end);
            let proposals = if self.counts { 0..=0 } else { 1..=greatest };
            actions.extend(proposals.map(Action::Begin));
        }
        for (attempt, asked) in state.attempts.iter().enumerate() {
            let Some(asked) = asked else { break };
            // What is counted is the token once a quorum has counted. Later grants are not heard.
            let is_counted = self.counts && state.has_quorum(attempt, Vote::Locked);
            for (node, Node { votes, lock, .. }) in state.nodes.iter().enumerate() {
                let is_free = lock.is_none() && self.accepts(&state.nodes[node], asked.token);
                match votes[attempt] {
                    Vote::None if is_free && !is_counted => {
                        actions.push(Action::Arrive { attempt, node });
                    }
                    Vote::Locked if is_counted || !self.counts => {
                        actions.push(Action::Store { attempt, node });
                    }
                    Vote::None | Vote::Locked | Vote::Granted => {}
                }
            }
        }
        let set_back = self.window.map_or(0, |window| window.set_back);
        for (index, node) in state.nodes.iter().enumerate() {
            if node.lock.is_some() {
                actions.push(Action::Vanish(index));
            }
            if self.window.is_some_and(|window| node.clock < window.end()) {
                actions.push(Action::Tick(index));
            }
            if self.forgets && !state.is_broken {
                actions.push(Action::Forget(index));
            }
            if (1..=node.clock).contains(&set_back) && !state.is_broken {
                actions.push(Action::SetBack(index));
            }
        }
    }

    fn next_state(&self, state: &Self::State, action: Action) -> Option<Self::State> {
        let mut next = *state;
        match action {
            Action::Begin(token) => {
                let floor = state.complete().map(|attempt| attempt.token).max().unwrap_or(0);
                let attempt = next.attempts.iter_mut().find(|attempt| attempt.is_none())?;
                *attempt = Some(Attempt { token, floor });
            }
            Action::Arrive { attempt, node } => {
                self.grant(&mut next.nodes[node], attempt, next.attempts[attempt].as_mut()?);
            }
            Action::Store { attempt, node } => {
                let (node, token) = (&mut next.nodes[node], state.attempts[attempt]?.token);
                node.last = match self.store {
                    Store::WhileLocked if node.lock != Some(attempt) => return None,
                    Store::WhileLocked => node.last.max(token),
                    Store::WithTheLock | Store::Later => token,
                };
                node.votes[attempt] = Vote::Granted;
            }
            Action::Vanish(node) => {
                let node = &mut next.nodes[node];
                node.lock = None;
                node.last = if self.release_drops { 0 } else { node.last };
            }
            Action::Tick(node) => next.nodes[node].tick(),
            Action::Forget(node) => {
                (next.nodes[node].lock, next.nodes[node].last) = (None, 0);
                next.is_broken = true;
            }
            Action::SetBack(node) => {
                let (node, set_back) = (&mut next.nodes[node], self.window?.set_back);
                node.clock -= set_back;
                // A key expires at a time, which is further away now.
                node.left += if node.left > 0 { set_back } else { 0 };
                next.is_broken = true;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(UNIQUE, |_, state: &Self::State| state.is_unique()),
            Property::always(ORDER, |_, state: &Self::State| {
                state.complete().all(|attempt| attempt.token > attempt.floor)
            }),
            Property::sometimes("all locks are had in turn", |_, state: &Self::State| {
                state.is_in_turn()
            }),
        ];
        if self.window.is_some() {
            let name = "a token is forgotten";
            properties
                .push(Property::sometimes(name, |_, state: &Self::State| state.is_forgotten()));
        }
        properties
    }
}

fn assert_holds<const NODES: usize, const ATTEMPTS: usize>(
    name: &str,
    rule: Tokens<NODES, ATTEMPTS>,
) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = rule.checker().threads(threads).symmetry().spawn_dfs().join();
    let (states, different) = (checker.state_count(), checker.unique_state_count());
    println!("{name}, {NODES} nodes, {ATTEMPTS} attempts: {states} states, {different} different");
    assert!(checker.is_done(), "{name}: all states were looked at");
    checker.assert_properties();
}

/// Both properties are violated.
fn assert_violates<const NODES: usize, const ATTEMPTS: usize>(
    name: &str,
    rule: Tokens<NODES, ATTEMPTS>,
) {
    let found = HasDiscoveries::AllOf([UNIQUE, ORDER].into());
    let checker = rule.checker().symmetry().finish_when(found).spawn_dfs().join();
    println!("{name}, {NODES} nodes, {ATTEMPTS} attempts: {} states", checker.state_count());
    for property in [UNIQUE, ORDER] {
        assert!(checker.discovery(property).is_some(), "{name}: nothing violates {property:?}");
    }
}

fn rule<const NODES: usize, const ATTEMPTS: usize>() -> Tokens<NODES, ATTEMPTS> {
    Tokens::default()
}

fn within<const ATTEMPTS: usize>(window: Window) -> Tokens<3, ATTEMPTS> {
    Tokens { window: Some(window), ..rule() }
}

#[test]
fn tokens_grow() {
    assert_holds("any proposal", rule::<3, 4>());
    assert_holds("any proposal", rule::<5, 3>());
}

#[test]
fn tokens_grow_when_the_last_one_may_expire() {
    assert_holds("width 1, life 2", within::<3>(Window::new(1, 2)));
    assert_holds("width 1, life 3", within::<3>(Window::new(1, 3)));
    assert_holds("width 2, life 4", within::<2>(Window::new(2, 4)));
    assert_holds("width 2, life 5", within::<2>(Window::new(2, 5)));
}

/// Twice the width is enough while a node grants once in a tick, reads its clock as it is, and never
/// sets it back. Otherwise the life is longer by as much: the script reads whole seconds, and has an
/// hour for that.
#[test]
fn a_longer_life_makes_up_for_clocks() {
    let longer = Window::new(1, 3);
    let short = Window::new(1, 2);
    for (name, window) in [
        ("a clock in steps of 2", Window { step: 2, ..longer }),
        ("many grants in a tick", Window { at_once: true, ..longer }),
        ("a clock set back", Window { set_back: 1, ..longer }),
    ] {
        assert_holds(name, within::<3>(window));
        assert_violates(name, within::<3>(Window { life: short.life, ..window }));
    }
}

#[test]
fn a_rule_with_a_mistake_violates_the_order() {
    let sound = rule::<3, 3>();
    for (name, mistaken) in [
        ("equal token", Tokens { equal: true, ..sound }),
        ("token by a second command", Tokens { store: Store::Later, ..sound }),
        ("release drops the token", Tokens { release_drops: true, ..sound }),
        ("maximum of counts", Tokens { counts: true, ..sound }),
        ("write-back", Tokens { counts: true, store: Store::Later, ..sound }),
        ("a node forgets", Tokens { forgets: true, ..sound }),
    ] {
        assert_violates(name, mistaken);
    }
    // Neither the counts nor the second command are a mistake by themselves.
    let careful = Tokens { counts: true, store: Store::WhileLocked, ..sound };
    assert_holds("write-back while locked", careful);
}

#[test]
fn a_window_with_a_mistake_violates_the_order() {
    let sound = Window::new(1, 3);
    for (name, mistaken) in [
        ("no least", Window { no_least: true, ..sound }),
        ("no most", Window { no_most: true, ..sound }),
        ("neither", Window { no_least: true, no_most: true, ..sound }),
        ("width 1, life 1", Window::new(1, 1)),
        ("width 2, life 3", Window::new(2, 3)),
        ("width 2, life 2", Window::new(2, 2)),
    ] {
        assert_violates(name, within::<2>(mistaken));
    }
}
