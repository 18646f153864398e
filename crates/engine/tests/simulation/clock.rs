//! Clocks that do not run alike.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use redsync_engine::Clock;

/// Milliseconds since the start of the simulation.
pub type Time = Rc<Cell<u64>>;

/// A clock that runs `rate` times as fast as the simulation, from a zero of its own.
pub struct SimulatedClock {
    time: Time,
    zero: Duration,
    /// Its rate, since when, and what it showed then.
    pace: Cell<(f64, u64, Duration)>,
    /// Counts whole milliseconds, as a Redis server does.
    is_whole: bool,
    /// What the wall clock showed at the start; it may jump.
    wall: Cell<Duration>,
}

impl SimulatedClock {
    /// A client's clock.
    pub fn of_client(time: Time, zero: Duration, rate: f64, wall: i64) -> Rc<Self> {
        Self::new(time, zero, rate, false, wall)
    }

    /// A node's clock.
    pub fn of_node(time: Time, zero: Duration, rate: f64, wall: i64) -> Rc<Self> {
        Self::new(time, zero, rate, true, wall)
    }

    fn new(time: Time, zero: Duration, rate: f64, is_whole: bool, wall: i64) -> Rc<Self> {
        let (pace, wall) = (Cell::new((rate, 0, zero)), Cell::new(around(wall)));
        Rc::new(Self { time, zero, pace, is_whole, wall })
    }

    /// From now on it runs so fast.
    pub fn run(&self, rate: f64) {
        let now = self.time.get();
        self.pace.set((rate, now, self.shows(now)));
    }

    /// It is set, by so many milliseconds.
    pub fn step(&self, millis: i64) {
        let (now, (rate, ..)) = (self.time.get(), self.pace.get());
        self.pace.set((rate, now, moved(self.shows(now), millis)));
    }

    /// The wall clock jumps by so many milliseconds.
    pub fn jump(&self, millis: i64) {
        self.wall.set(moved(self.wall.get(), millis));
    }

    /// The last millisecond of the simulation in which this clock shows less than `time`.
    pub fn last_before(&self, time: Duration) -> u64 {
        let (rate, since, then) = self.pace.get();
        let left = time.saturating_sub(then).as_secs_f64() / rate;
        let near = since + (left * 1000.0).ceil() as u64;
        if self.shows(near) < time { near } else { near.saturating_sub(1) }
    }

    fn shows(&self, millis: u64) -> Duration {
        let (rate, since, then) = self.pace.get();
        then + Duration::from_millis(millis - since).mul_f64(rate)
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Duration {
        let now = self.shows(self.time.get());
        if self.is_whole { Duration::from_millis(now.as_millis() as u64) } else { now }
    }

    fn wall(&self) -> Duration {
        self.wall.get() + self.shows(self.time.get()) - self.zero
    }
}

/// What a wall clock shows at the start that is so many milliseconds ahead.
fn around(millis: i64) -> Duration {
    moved(Duration::from_secs(1_790_000_000), millis)
}

fn moved(time: Duration, millis: i64) -> Duration {
    let by = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 { time - by } else { time + by }
}
