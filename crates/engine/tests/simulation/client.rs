//! A client: a process with a clock, its own nodes object, and tasks that can be stopped.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{CancellationToken, Clock, Delay, Keys, Mutex, Node, Nodes, Options, Value};

use crate::chance::Chance;
use crate::clock::SimulatedClock;
use crate::faults::Fault;
use crate::link::SimulatedLink;
use crate::message::What;
use crate::mutant;
use crate::violation::Violation;
use crate::world::World;

/// The names of the locks.
pub const NAMES: [&str; 2] = ["a", "b"];

/// What timers and hops between tasks may add to a deadline.
const SLACK: u64 = 10;

/// Locks on their way from one client to another.
pub type Counter = Rc<RefCell<VecDeque<(Keys, Value)>>>;

pub struct Client {
    pub world: Rc<World>,
    pub index: usize,
    pub clock: Rc<SimulatedClock>,
    pub nodes: Rc<Nodes>,
    /// Ends every call, when the client is closed.
    pub stop: CancellationToken,
    pub handed_over: Counter,
    pub is_closed: Cell<bool>,
}

/// How one call of the engine is made.
pub struct Way {
    pub mutex: Mutex,
    pub keys: Keys,
    pub expiry: u64,
    pub tries: u64,
    timeout: u64,
    longest_pause: u64,
}

impl Client {
    pub fn new(
        world: Rc<World>,
        index: usize,
        handed_over: Counter,
        chance: &mut Chance,
    ) -> Rc<Self> {
        let rate = world.schedule.clients[index];
        let zero = Duration::from_secs(1000 * (index as u64 + 1));
        let clock = SimulatedClock::of_client(world.time.clone(), zero, rate);
        let count = world.nodes.len();
        let members = (0..count)
            .map(|node| {
                let index = index * count + node;
                Rc::new(SimulatedLink { world: world.clone(), index }) as Rc<dyn Node>
            })
            .collect();
        let nodes = Nodes::new(members, clock.clone(), chance.rng());
        let stop = CancellationToken::new();
        let is_closed = Cell::new(false);
        Rc::new(Self { world, index, clock, nodes, stop, handed_over, is_closed })
    }

    /// A mutex with options as they come.
    pub fn way(&self, chance: &mut Chance, keys: Keys, expiry: u64) -> Way {
        let schedule = &self.world.schedule;
        let (delay, longest_pause) = match chance.within(0..=2) {
            _ if schedule.eager => {
                let pause = chance.within(1..=6);
                (Delay::Fixed(Duration::from_millis(pause)), pause)
            }
            0 => (Delay::Random, 250),
            1 => (Delay::Fixed(Duration::from_millis(20)), 20),
            _ => {
                let mut chance = chance.split();
                let pauses = RefCell::new(move || Duration::from_millis(chance.within(0..=100)));
                let ask = Rc::new(move |_| {
                    let pause = pauses.borrow_mut()();
                    Box::pin(async move { Ok(pause) }) as redsync_engine::Asked<_>
                });
                (Delay::Ask(ask), 100)
            }
        };
        let tries = if schedule.eager { chance.within(1..=12) } else { chance.within(1..=5) };
        let options = Options {
            expiry: Duration::from_millis(expiry),
            tries,
            delay,
            drift_factor: schedule.drift_factor,
            timeout_factor: schedule.timeout_factor,
            fail_fast: chance.percent(50),
            shuffle: chance.percent(30),
            recreate_on_extend: chance.percent(30),
            values: mutant::values(chance),
        };
        let mutex = Mutex::new(self.nodes.clone(), keys.clone(), options);
        let timeout = schedule.timeout(expiry).as_millis() as u64 + 1;
        Way { mutex, keys, expiry, tries, timeout, longest_pause }
    }

    pub fn belief_may_end(&self, until: Duration) {
        self.world.plan(self.clock.last_before(until), What::Look);
    }

    /// Waits for a call, which has to settle within this many milliseconds.
    pub async fn settled<T>(&self, within: u64, call: impl Future<Output = T>) -> T {
        let _busy = self.nodes.busy();
        let lost_time = &self.world.lost_time[self.index];
        let (begin, lost_before) = (self.world.now(), lost_time.get());
        let outcome = call.await;
        let took = self.world.now() - begin;
        if took > within + SLACK + (lost_time.get() - lost_before) {
            self.world.witness.report(Violation::Stuck);
        }
        self.world.trace.add(&[took, self.index as u64]);
        outcome
    }

    /// The end of an orderly process: every call is aborted, then the nodes are closed.
    pub fn close(self: &Rc<Self>) -> impl Future<Output = ()> + 'static {
        self.is_closed.set(true);
        self.world.witness.closes(self.index);
        self.stop.cancel();
        self.world.faults.count(Fault::Closed);
        let me = self.clone();
        let longest = self.world.schedule.timeout(self.world.schedule.longest_expiry());
        async move {
            let (begin, lost_before) = (me.world.now(), me.world.lost_time[me.index].get());
            me.nodes.close().await;
            let lost = me.world.lost_time[me.index].get() - lost_before;
            // The longest round, and the release behind it.
            if me.world.now() - begin > 2 * longest.as_millis() as u64 + SLACK + lost {
                me.world.witness.report(Violation::Stuck);
            }
        }
    }

    pub fn now(&self) -> Duration {
        self.clock.now()
    }
}

impl Way {
    /// The longest that lock() may take.
    pub fn lock_deadline(&self, tries: u64) -> u64 {
        // Between two scheduled attempts there may be a chance, which may take two rounds beyond the
        // time of the next; that one may be three. At the end come the release and a last look.
        (5 * self.timeout + self.longest_pause + 10) * tries + 2 * self.timeout
    }

    /// The longest that any other call may take.
    pub fn deadline(&self) -> u64 {
        self.timeout
    }
}
