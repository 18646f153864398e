//! A world on tokio's paused clock: scripted nodes, a seeded generator, and a log of every question.
//!
//! Time passes only when nothing is left to do, and then jumps to the next timer: durations can be
//! compared exactly, and no test sleeps for real.

// Each test binary compiles this file for itself and uses its own part of it.
#![allow(dead_code)]

pub mod node;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use redsync_engine::{
    Answer, CancellationToken, Clock, Error, Held, Keys, Mutex, Node, NodeError, Options, Redsync,
    Verb, Vote,
};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep};

pub use node::{Asked, Behaviour, FOREIGN, ScriptedNode};

/// The key of the lock.
pub const KEY: &str = "the lock";
/// The node timeout of the default options: 8 s * 0.05.
pub const TIMEOUT: Duration = ms(400);
/// How long a slow node takes; well within the node timeout.
pub const SLOW: Duration = ms(100);
/// Long enough for releases to land, too short for a key to expire by itself.
pub const A_WHILE: Duration = ms(1000);

/// What the wall clock shows at the beginning.
pub const WALL: Duration = Duration::from_secs(1_790_000_000);

/// Milliseconds.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The engine's clock on the paused one. Its zero lies an hour back, so that a mix-up of a point in
/// time with a span does not go unnoticed.
pub struct TokioClock(Instant);

impl TokioClock {
    /// A clock that starts now.
    pub fn start() -> Rc<Self> {
        Rc::new(Self(Instant::now()))
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        Duration::from_secs(3600) + self.0.elapsed()
    }

    fn wall(&self) -> Duration {
        WALL + self.0.elapsed()
    }
}

/// Nodes with a script, and what they were asked.
pub struct World {
    /// The engine's view.
    pub redsync: Rc<Redsync>,
    /// The same nodes, for the test.
    pub scripted: Vec<Rc<ScriptedNode>>,
    log: Rc<RefCell<Vec<Asked>>>,
}

impl World {
    /// One node a behaviour.
    pub fn of(behaviours: &[Behaviour]) -> Self {
        Self::seeded(behaviours, 1)
    }

    /// One node a behaviour, and the generator's seed.
    pub fn seeded(behaviours: &[Behaviour], seed: u64) -> Self {
        let clock = TokioClock::start();
        let log = Rc::default();
        let scripted: Vec<_> = behaviours
            .iter()
            .enumerate()
            .map(|(index, &is)| ScriptedNode::new(index, is, clock.clone(), Rc::clone(&log)))
            .collect();
        let members = scripted.iter().map(|node| node.clone() as Rc<dyn Node>).collect();
        let rng = Box::new(StdRng::seed_from_u64(seed));
        Self { redsync: Redsync::new(members, clock, rng), scripted, log }
    }

    /// A mutex on [`KEY`].
    pub fn mutex(&self, options: Options) -> Mutex {
        Mutex::new(self.redsync.clone(), keys(&[KEY]), options)
    }

    /// All nodes behave like this from now on.
    pub fn all_become(&self, behaviour: Behaviour) {
        for node in &self.scripted {
            node.become_(behaviour);
        }
    }

    /// What the nodes store under [`KEY`], node by node.
    pub fn stored(&self) -> Vec<Option<String>> {
        self.scripted.iter().map(|node| node.store.get(KEY)).collect()
    }

    /// Every question so far, in order.
    pub fn log(&self) -> Vec<Asked> {
        self.log.borrow().clone()
    }

    /// The questions with this verb, in order.
    pub fn asked(&self, verb: Verb) -> Vec<Asked> {
        self.log().into_iter().filter(|asked| asked.verb == verb).collect()
    }

    /// The times at which the first node was asked this, counted from `start`.
    pub fn times(&self, verb: Verb, start: Duration) -> Vec<Duration> {
        let on_first = self.asked(verb).into_iter().filter(|asked| asked.node == 0);
        on_first.map(|asked| asked.at - start).collect()
    }

    /// Does no node store anything but a foreign value?
    pub fn is_clean(&self) -> bool {
        let is_foreign = |value: String| value == FOREIGN;
        self.stored().into_iter().flatten().all(is_foreign)
    }

    /// Asserts that no node stores anything but a foreign value.
    pub fn assert_clean(&self, case: &dyn std::fmt::Debug) {
        for (node, stored) in self.stored().into_iter().enumerate() {
            let is_clean = stored.as_deref().is_none_or(|value| value == FOREIGN);
            assert!(is_clean, "{case:?}: a value of ours is left on node {node}");
        }
    }
}

/// Nodes that tell of changes, locked by somebody else.
pub fn taken(size: usize) -> Rc<World> {
    let world = World::of(&vec![Behaviour::Ok; size]);
    for node in &world.scripted {
        node.is_watchable.set(true);
        node.plant(KEY, FOREIGN);
    }
    Rc::new(world)
}

/// Whatever is locked on them is released.
pub fn release(world: &World) {
    world.scripted.iter().for_each(|node| node.wipe(KEY));
}

/// How a call of `lock` ends.
pub type Outcome = Result<Held, Error>;

/// Waits for the lock in a task of its own.
pub fn lock(world: &World, options: Options) -> JoinHandle<Outcome> {
    cancellable(world, options, CancellationToken::new())
}

/// The same, until it is cancelled.
pub fn cancellable(
    world: &World,
    options: Options,
    cancel: CancellationToken,
) -> JoinHandle<Outcome> {
    let mutex = world.mutex(options);
    spawn_local(async move { mutex.lock(&cancel).await })
}

/// The keys of a lock with several names.
pub fn keys(names: &[&str]) -> Keys {
    names.iter().map(|&name| name.into()).collect()
}

/// The default options, but with this number of tries, 10 ms apart.
pub fn tries(tries: u64) -> Options {
    Options { tries, delay: redsync_engine::Delay::Fixed(ms(10)), ..Options::default() }
}

/// Runs a future and tells how long it took.
pub async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    let output = future.await;
    (output, start.elapsed())
}

/// Does something later, in the background.
pub fn after(delay: Duration, act: impl FnOnce() + 'static) {
    spawn_local(async move {
        sleep(delay).await;
        act();
    });
}

/// A lock that is held, or a failure of the test.
pub fn held(outcome: Result<Held, Error>) -> Held {
    outcome.expect("the lock is held")
}

/// A granting vote.
pub fn granted() -> Option<Vote> {
    Some(Ok(Answer::Granted))
}

/// The vote of a node that did not answer in time.
pub fn timed_out() -> Option<Vote> {
    Some(Err(NodeError::timed_out()))
}

/// Every way to choose three of these, order included.
pub fn triples<T: Copy>(of: &[T]) -> Vec<[T; 3]> {
    let mut all = Vec::new();
    for &first in of {
        for &second in of {
            all.extend(of.iter().map(|&third| [first, second, third]));
        }
    }
    all
}
