//! How a call is made: with which options, through which set of nodes, and how long it may take.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{Asked, Delay, Keys, Kind, Mutex, Options, Redsync, ValueSource};
use tokio::time::sleep;

use crate::chance::Chance;
use crate::client::Client;
use crate::faults::Fault;
use crate::mutant;
use crate::schedule::Schedule;

/// The longest pause of [`Delay::Random`].
const GO_REDSYNCS_PAUSE: u64 = 250;

/// Longer than anybody waits for the next attempt of his schedule.
const PATIENT: u64 = 30_000;

/// The least time for which a writer's sign keeps readers off, in milliseconds.
const SIGN: u64 = 1000;

/// What is locked.
#[derive(Clone)]
pub struct Target {
    pub names: Keys,
    /// Of how many permits the lock is one.
    pub permits: u16,
    pub mode: Mode,
}

/// Who else may hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Mutex,
    Read,
    Write,
}

impl Mode {
    /// Where attempts are so far apart, at most.
    fn kind(self, longest_pause: u64) -> Kind {
        match self {
            Self::Mutex => Kind::Mutex,
            Self::Read => Kind::Read,
            Self::Write => {
                Kind::Write { sign: Duration::from_millis(sign(longest_pause)), renews: false }
            }
        }
    }
}

/// For how long a sign is there.
fn sign(longest_pause: u64) -> u64 {
    SIGN.max(2 * longest_pause)
}

/// The same of a sign of anybody.
pub fn longest_sign() -> u64 {
    sign(PATIENT)
}

/// How one call of the engine is made.
pub struct Way {
    pub mutex: Mutex,
    options: Options,
    pub redsync: Rc<Redsync>,
    pub target: Target,
    pub expiry: u64,
    pub tries: u64,
    /// For how long it waits at most, in milliseconds.
    wait: u64,
    pub timeout: u64,
    longest_pause: u64,
    pub sources: Sources,
    /// Its node timeout is over before any node can have answered.
    pub is_hasty: bool,
    /// An extension stores the value again where it is gone.
    pub recreates: bool,
    /// The lock has a fencing token.
    pub is_fenced: bool,
}

/// What a call has to wait for, beside the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Values and pauses are there at once.
    Prompt,
    /// They come late.
    Late,
    /// They never come: the call ends when it is aborted.
    Silent,
}

impl Client {
    /// A mutex with options as they come.
    pub fn way(&self, chance: &mut Chance, target: Target, expiry: u64) -> Way {
        let schedule = &self.world.schedule;
        let way = self.plain_way(chance, &self.sets[0], target, expiry);
        let is_alone = schedule.sets == 1 && schedule.slow_sources == 0 && !schedule.orderly;
        if is_alone { way } else { self.in_company(way) }
    }

    /// Another way to the lock of this one, which may be a reader's by now.
    pub fn way_again(&self, chance: &mut Chance, way: &Way, mode: Mode, expiry: u64) -> Way {
        let target = Target { mode, ..way.target.clone() };
        self.plain_way(chance, &way.redsync, target, expiry)
    }

    fn plain_way(
        &self,
        chance: &mut Chance,
        redsync: &Rc<Redsync>,
        target: Target,
        expiry: u64,
    ) -> Way {
        let schedule = &self.world.schedule;
        let (delay, longest_pause) = match chance.within(0..=2) {
            _ if schedule.eager => {
                let pause = chance.within(1..=6);
                (Delay::Fixed(Duration::from_millis(pause)), pause)
            }
            0 => (Delay::Random, GO_REDSYNCS_PAUSE),
            1 => (Delay::Fixed(Duration::from_millis(20)), 20),
            _ => {
                let mut chance = chance.split();
                let pauses = RefCell::new(move || Duration::from_millis(chance.within(0..=100)));
                let ask = Rc::new(move |_| {
                    let pause = pauses.borrow_mut()();
                    Box::pin(async move { Ok(pause) }) as Asked<_>
                });
                (Delay::Ask(ask), 100)
            }
        };
        let wait = if self.percent(schedule.waits) {
            self.aside.borrow_mut().within(1..=2 * schedule.expiry)
        } else {
            u64::MAX
        };
        let tries = if schedule.eager { chance.within(1..=12) } else { chance.within(1..=5) };
        let tries = if wait < u64::MAX && tries > 1 { u64::MAX } else { tries };
        let options = Options {
            kind: target.mode.kind(longest_pause),
            permits: target.permits,
            fencing: self.percent(schedule.fenced) && target.mode != Mode::Read,
            quarantine: schedule.quarantine(),
            expiry: Duration::from_millis(expiry),
            tries,
            wait: Duration::from_millis(wait),
            delay,
            drift_factor: schedule.drift_factor,
            timeout_factor: schedule.timeout_factor,
            fail_fast: chance.percent(50),
            shuffle: chance.percent(30),
            recreate_on_extend: chance.percent(30),
            values: mutant::values(chance),
        };
        let mutex = Mutex::new(redsync.clone(), target.names.clone(), options.clone());
        let timeout = schedule.timeout(expiry).as_millis() as u64 + 1;
        Way {
            mutex,
            redsync: redsync.clone(),
            target,
            expiry,
            tries,
            wait,
            timeout,
            longest_pause,
            sources: Sources::Prompt,
            is_hasty: false,
            recreates: options.recreate_on_extend,
            is_fenced: options.fencing,
            options,
        }
    }

    /// The same, or a way that is in the way of others.
    fn in_company(&self, mut way: Way) -> Way {
        let schedule = &self.world.schedule;
        let set = self.aside.borrow_mut().index(self.sets.len());
        way.redsync = self.sets[set].clone();
        if schedule.orderly && schedule.watches && self.percent(40) {
            // Notices have to do, or others that leave the line.
            (way.longest_pause, way.options.delay) =
                (PATIENT, Delay::Fixed(Duration::from_millis(PATIENT)));
        }
        if schedule.hasty && set > 0 {
            self.world.faults.count(Fault::Hasty);
            way.is_hasty = true;
            way.expiry = schedule.hasty_expiry();
            way.timeout = schedule.timeout(way.expiry).as_millis() as u64 + 1;
            way.options.expiry = Duration::from_millis(way.expiry);
            let pause = self.aside.borrow_mut().within(50..=1000);
            (way.longest_pause, way.options.delay) =
                (pause, Delay::Fixed(Duration::from_millis(pause)));
            (way.tries, way.options.tries) = (u64::MAX, u64::MAX);
        } else if self.percent(schedule.slow_sources) {
            way.sources = if self.percent(40) { Sources::Silent } else { Sources::Late };
            self.world.faults.count(if way.sources == Sources::Late {
                Fault::LateSource
            } else {
                Fault::SilentSource
            });
            let of_values = self.percent(50);
            let mut aside = self.aside.borrow_mut();
            let latency = Latency { longest: way.source_time(), sources: way.sources };
            if of_values {
                way.options.values = late_values(aside.split(), latency);
            } else {
                way.options.delay = late_pauses(aside.split(), latency, way.longest_pause);
            }
        }
        way.options.kind = way.target.mode.kind(way.longest_pause);
        way.with_its_options()
    }
}

/// How long a function of the caller takes to answer.
#[derive(Clone, Copy)]
struct Latency {
    longest: u64,
    sources: Sources,
}

fn late<T: 'static>(chance: &mut Chance, latency: Latency, answer: T) -> Asked<T> {
    let pause = Duration::from_millis(chance.within(0..=latency.longest));
    Box::pin(async move {
        if latency.sources == Sources::Silent {
            std::future::pending::<()>().await;
        }
        sleep(pause).await;
        Ok(answer)
    })
}

fn late_values(chance: Chance, latency: Latency) -> ValueSource {
    let chance = RefCell::new(chance);
    ValueSource::Ask(Rc::new(move |_| {
        let mut chance = chance.borrow_mut();
        let value = format!("{:022}==", chance.within(0..=u64::MAX));
        late(&mut chance, latency, value)
    }))
}

fn late_pauses(chance: Chance, latency: Latency, longest_pause: u64) -> Delay {
    let chance = RefCell::new(chance);
    Delay::Ask(Rc::new(move |_| {
        let mut chance = chance.borrow_mut();
        let pause = Duration::from_millis(chance.within(0..=longest_pause));
        late(&mut chance, latency, pause)
    }))
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { permits, mode, .. } = self.target;
        write!(f, "{mode:?}, {} tries, {} ms apart at most", self.tries, self.longest_pause)?;
        if permits > 1 {
            write!(f, ", {permits} permits")?;
        }
        if self.is_hasty { write!(f, ", hasty") } else { write!(f, ", {:?}", self.sources) }
    }
}

impl Way {
    /// Through these nodes, with go-redsync's pauses.
    pub fn of(redsync: Rc<Redsync>, target: Target, options: Options) -> Self {
        let kind = target.mode.kind(GO_REDSYNCS_PAUSE);
        let options = Options { kind, permits: target.permits, ..options };
        let timeout = redsync_engine::node_timeout(options.expiry, options.timeout_factor);
        Self {
            expiry: options.expiry.as_millis() as u64,
            tries: options.tries,
            wait: u64::MAX,
            recreates: options.recreate_on_extend,
            is_fenced: options.fencing,
            timeout: timeout.as_millis() as u64 + 1,
            longest_pause: GO_REDSYNCS_PAUSE,
            mutex: Mutex::new(redsync.clone(), target.names.clone(), options.clone()),
            options,
            redsync,
            target,
            sources: Sources::Prompt,
            is_hasty: false,
        }
    }

    fn with_its_options(mut self) -> Self {
        let names = self.target.names.clone();
        self.mutex = Mutex::new(self.redsync.clone(), names, self.options.clone());
        self
    }

    /// The same, but for an extension that stores a value again. For a value that was handed over that is not promised: a
    /// release by its first holder may still be on its way.
    pub fn without_recreation(mut self) -> Self {
        self.options.recreate_on_extend = false;
        self.recreates = false;
        self.with_its_options()
    }

    /// The longest that lock() may take.
    pub fn lock_deadline(&self, tries: u64) -> u64 {
        // Between two scheduled attempts there may be a chance, which may take two rounds beyond the
        // time of the next; that one may be three. At the end come the release and a last look. Each
        // attempt may have to wait for a value, and each pause to be told.
        let rounds = self.proposals() * 5 * self.timeout + 3 * self.source_time() + 10;
        let attempt = rounds + self.longest_pause;
        // A writer takes its signs back, too.
        let end = if self.target.mode == Mode::Write { 3 } else { 2 };
        // One may be under way when the time to wait is over, before the last.
        let longest = attempt.saturating_mul(tries).min((3 * rounds).saturating_add(self.wait));
        longest.saturating_add(end * self.timeout)
    }

    /// How many times as long as any other an attempt may take: where nodes want other fencing tokens, or where
    /// others are quicker to take the permit that it has found.
    fn proposals(&self) -> u64 {
        match self.target.permits {
            1 if self.is_fenced => 3,
            1 => 1,
            // Each has a look of its own.
            _ => 4,
        }
    }

    /// Does it end only when it is aborted?
    pub fn is_endless(&self) -> bool {
        self.is_hasty || self.sources == Sources::Silent
    }

    /// The longest that any other call may take.
    pub fn deadline(&self) -> u64 {
        self.timeout
    }

    fn source_time(&self) -> u64 {
        if self.sources == Sources::Prompt { 0 } else { self.timeout * 4 }
    }

    /// For how long a lock can be free, and this call not have it: when nothing is in its way, and
    /// the nodes tell or its own schedule has come.
    pub fn patience(&self, schedule: &Schedule) -> Option<u64> {
        if self.is_endless() || self.sources != Sources::Prompt {
            return None;
        }
        let rounds = self.rounds(schedule, 12);
        let is_told = schedule.is_told_of_changes();
        Some(if is_told { rounds } else { rounds + self.longest_pause })
    }

    /// The same while nodes and connections fail, but messages are neither lost nor late: for each time that they do, an
    /// attempt may be lost, and the pause before the next, of whoever is first in line. `None`: no such day.
    pub fn patience_in_disorder(&self, schedule: &Schedule) -> Option<u64> {
        let is_certain = schedule.loss == 0 && schedule.spikes == 0 && schedule.refusals == 0;
        let is_prompt = self.patience(schedule).is_some() && schedule.slow_sources == 0;
        // Which of a node's two lives a client sees is nothing that a waiter could be asked about.
        let is_plain = !schedule.orderly && schedule.strays == 0 && schedule.lag.is_none();
        let has_way = is_certain && is_prompt && is_plain;
        has_way.then(|| self.rounds(schedule, 2) + GO_REDSYNCS_PAUSE)
    }

    /// From which nodes an answer comes in time.
    pub fn is_near(&self, schedule: &Schedule) -> Vec<bool> {
        schedule.distances.iter().map(|distance| 2 * distance + 2 < self.timeout).collect()
    }

    /// From when it begins to wait to when it has left its sign, if it leaves one.
    pub fn signs_within(&self, schedule: &Schedule) -> Option<u64> {
        let is_told = self.patience(schedule).is_some() && schedule.orderly;
        let leaves_sign = is_told && self.target.mode == Mode::Write;
        leaves_sign.then(|| self.longest_pause + self.rounds(schedule, 6))
    }

    /// The same of a call that fails: its last attempt may have begun before the lock was free.
    pub fn brief(&self, schedule: &Schedule) -> u64 {
        self.rounds(schedule, 3)
    }

    /// Can a node have answered before it is waited for no more?
    pub fn has_time(&self, schedule: &Schedule) -> bool {
        // What is healed is one millisecond away.
        let trip = if schedule.orderly { schedule.round_trip() } else { 4 };
        self.timeout > trip + 1
    }

    /// So many rounds of whoever is in line, and what is left to others meanwhile.
    fn rounds(&self, schedule: &Schedule, count: u64) -> u64 {
        let round = if schedule.orderly {
            schedule.round_trip()
        } else {
            schedule.timeout(schedule.longest_expiry()).as_millis() as u64 + 1
        };
        let moment = 2 + 2 * schedule.round_trip().min(100);
        self.proposals() * count * round + 2 * moment + 10
    }
}
