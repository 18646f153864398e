//! A client: a process with a clock, its own nodes objects, and tasks that can be stopped.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{CancellationToken, Clock, Error, Keys, Load, Node, Queues, Redsync, Value};

use tokio::task::spawn_local;

use crate::chance::Chance;
use crate::clock::SimulatedClock;
use crate::faults::Fault;
use crate::link::SimulatedLink;
use crate::message::What;
use crate::violation::Violation;
use crate::waiter::Waiter;
use crate::way::{Mode, Target, Way};
use crate::world::World;

/// The names of the locks.
pub const NAMES: [&str; 2] = ["a", "b"];

/// What timers and hops between tasks may add to a deadline.
pub const SLACK: u64 = 10;

/// Locks on their way from one client to another.
pub type Counter = Rc<RefCell<VecDeque<(Target, Value)>>>;

pub struct Client {
    pub world: Rc<World>,
    pub index: usize,
    pub clock: Rc<SimulatedClock>,
    /// Each has its own links to the nodes; they share the queues.
    pub sets: Vec<Rc<Redsync>>,
    /// Ends every call, when the client is closed.
    pub stop: CancellationToken,
    pub handed_over: Counter,
    pub is_closed: Cell<bool>,
    /// When its last call began.
    last_call: Cell<u64>,
    /// For what only some schedules have: what it draws moves nothing else.
    pub aside: RefCell<Chance>,
}

impl Client {
    pub fn new(
        world: Rc<World>,
        index: usize,
        handed_over: Counter,
        chance: &mut Chance,
        aside: Chance,
    ) -> Rc<Self> {
        let rate = world.schedule.clients[index];
        let zero = Duration::from_secs(1000 * (index as u64 + 1));
        let wall = world.schedule.client_walls[index];
        let clock = SimulatedClock::of_client(world.time.clone(), zero, rate, wall);
        let (load, queues) = (Rc::<Load>::default(), Rc::<Queues>::default());
        let count = world.nodes.len();
        let set = |set| {
            let members = (0..count).map(|node| {
                let index = index * world.links_of_client() + set * count + node;
                Rc::new(SimulatedLink { world: world.clone(), index }) as Rc<dyn Node>
            });
            let (load, queues) = (load.clone(), queues.clone());
            Redsync::sharing(load, queues, members.collect(), clock.clone(), chance.rng(), None)
        };
        let sets = (0..world.schedule.sets).map(set).collect();
        let stop = CancellationToken::new();
        let (is_closed, last_call, aside) = (Cell::default(), Cell::default(), RefCell::new(aside));
        Rc::new(Self { world, index, clock, sets, stop, handed_over, is_closed, last_call, aside })
    }

    /// What a call that locks these names locks.
    pub fn target(&self, names: Keys) -> Target {
        let schedule = &self.world.schedule;
        let mode = match names.len() {
            1 if schedule.shares && self.percent(55) => Mode::Read,
            1 if schedule.shares && self.percent(70) => Mode::Write,
            _ => Mode::Mutex,
        };
        Target { permits: schedule.permits_of(self.index, &names), names, mode }
    }

    /// A decision of those that only some schedules have to make.
    pub fn percent(&self, percent: u32) -> bool {
        percent > 0 && self.aside.borrow_mut().percent(percent)
    }

    pub fn belief_may_end(&self, until: Duration) {
        self.world.plan(self.clock.last_before(until), What::Look);
    }

    /// Waits for a call, which has to settle within this many milliseconds.
    pub async fn settled<T>(&self, way: &Way, within: u64, call: impl Future<Output = T>) -> T {
        let _busy = way.redsync.busy();
        let lost_time = &self.world.lost_time[self.index];
        let (begin, lost_before) = (self.world.now(), lost_time.get());
        self.last_call.set(begin);
        let outcome = call.await;
        let took = self.world.now() - begin;
        if took > within + SLACK + (lost_time.get() - lost_before) {
            self.world.witness.report(Violation::Stuck);
        }
        self.world.trace.add(&[took, self.index as u64]);
        outcome
    }

    /// Waits for a lock, under the eyes of those who see whether it could have been had.
    pub async fn acquire(
        &self,
        way: &Way,
        tries: u64,
        cancel: &CancellationToken,
    ) -> Result<redsync_engine::Held, Error> {
        let waiters = &self.world.waiters;
        let schedule = &self.world.schedule;
        let waiter = Waiter::new(self.index, way, tries, schedule, cancel.clone());
        let waiting = waiters.join(waiter, self.world.now());
        self.world
            .tell(format_args!("client {} goes for {:?}: {way:?}", self.index, way.target.names));
        let outcome = if tries == 1 {
            way.mutex.try_lock(cancel).await
        } else {
            way.mutex.lock(cancel).await
        };
        if let Err(error) = &outcome {
            self.world.tell(format_args!("client {} has it not: {error}", self.index));
        }
        if let Ok(held) = &outcome
            && way.is_fenced
        {
            self.world.witness.fence(&way.target.names, &held.value, held.token);
        }
        match &outcome {
            Ok(_) => waiting.won(),
            Err(Error::Failed { .. } | Error::Taken { .. }) => {
                waiting.failed(way.brief(&self.world.schedule));
            }
            Err(_) => {}
        }
        outcome
    }

    /// The end of an orderly process: every call is aborted, then the nodes are closed.
    pub fn close(self: &Rc<Self>) -> impl Future<Output = ()> + 'static {
        self.is_closed.set(true);
        self.world.witness.closes(self.index, self.world.schedule.orderly);
        self.stop.cancel();
        self.world.faults.count(Fault::Closed);
        let me = self.clone();
        let longest = self.world.schedule.timeout(self.world.schedule.longest_expiry());
        async move {
            let (begin, lost_before) = (me.world.now(), me.world.lost_time[me.index].get());
            let close = |set: &Rc<Redsync>| {
                let set = set.clone();
                spawn_local(async move { set.close().await })
            };
            for closing in me.sets.iter().map(close).collect::<Vec<_>>() {
                closing.await.expect("no panic");
            }
            let lost = me.world.lost_time[me.index].get() - lost_before;
            // The longest round, and the release behind it. A lock that is held is left by calls which the close
            // waits for as well.
            if me.world.now() - begin.max(me.last_call.get())
                > 2 * longest.as_millis() as u64 + SLACK + lost
            {
                me.world.witness.report(Violation::Stuck);
            }
        }
    }

    pub fn now(&self) -> Duration {
        self.clock.now()
    }
}
