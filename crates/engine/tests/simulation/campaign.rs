//! Very many schedules, on all processors.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::faults::Injected;
use crate::run::{Outcome, run};
use crate::schedule::Profile;
use crate::violation::Violation;

/// Seeds that a thread takes at a time.
const AT_ONCE: u64 = 64;

/// A number from the environment.
pub fn from_environment(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
}

/// The one seed to look into, if there is one.
pub fn seed_from_environment() -> Option<u64> {
    std::env::var_os("SEED").map(|_| from_environment("SEED", 0))
}

pub struct Campaign {
    profile: Profile,
    first: u64,
    count: u64,
    stops: bool,
    mistake: Box<dyn Fn() + Sync>,
}

impl Campaign {
    /// `count` schedules from this seed on.
    pub fn of(profile: Profile, first: u64, count: u64) -> Self {
        Self { profile, first, count, stops: false, mistake: Box::new(|| {}) }
    }

    /// Each thread calls this first.
    pub fn with(self, mistake: impl Fn() + Sync + 'static) -> Self {
        Self { mistake: Box::new(mistake), ..self }
    }

    /// Runs no more when something was found.
    pub fn stopping_at_first(self) -> Self {
        Self { stops: true, ..self }
    }

    pub fn run(&self) -> Report {
        let start = Instant::now();
        let next = AtomicU64::new(self.first);
        let end = self.first + self.count;
        let is_over = AtomicBool::new(false);
        let report = Mutex::new(Report::new(self.profile));
        let work = || {
            (self.mistake)();
            let mut own = Report::new(self.profile);
            while !is_over.load(Ordering::Relaxed) {
                let from = next.fetch_add(AT_ONCE, Ordering::Relaxed);
                if from >= end {
                    break;
                }
                for seed in from..end.min(from + AT_ONCE) {
                    own.add(seed, &run(seed, self.profile));
                }
                if self.stops && !own.is_clean() {
                    is_over.store(true, Ordering::Relaxed);
                }
            }
            report.lock().expect("no thread has panicked").merge(&own);
        };
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(work);
            }
        });
        let mut report = report.into_inner().expect("no thread has panicked");
        report.took = start.elapsed();
        report
    }
}

/// What came out of a campaign.
pub struct Report {
    profile: Profile,
    pub schedules: u64,
    pub acquired: u64,
    simulated: u64,
    injected: Injected,
    /// How often each invariant was violated, and by which seed first.
    pub found: BTreeMap<Violation, (u64, u64)>,
    took: Duration,
}

impl Report {
    fn new(profile: Profile) -> Self {
        Self {
            profile,
            schedules: 0,
            acquired: 0,
            simulated: 0,
            injected: Injected::default(),
            found: BTreeMap::new(),
            took: Duration::ZERO,
        }
    }

    fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.schedules += 1;
        self.acquired += outcome.acquired;
        self.simulated += outcome.simulated;
        self.injected += &outcome.injected;
        for &violation in &outcome.found {
            self.count(violation, 1, seed);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.acquired += other.acquired;
        self.simulated += other.simulated;
        self.injected += &other.injected;
        for (&violation, &(times, seed)) in &other.found {
            self.count(violation, times, seed);
        }
    }

    fn count(&mut self, violation: Violation, times: u64, seed: u64) {
        let (count, first) = self.found.entry(violation).or_insert((0, seed));
        *count += times;
        *first = seed.min(*first);
    }

    pub fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    /// The first seed that has violated this.
    pub fn first(&self, violation: Violation) -> Option<u64> {
        self.found.get(&violation).map(|(_, seed)| *seed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        let rate = self.schedules as f64 / seconds;
        writeln!(
            f,
            "{} schedules ({:?}) in {seconds:.1} s, {rate:.0} schedules/s: \
             {} locks acquired, {:.0} simulated hours",
            self.schedules,
            self.profile,
            self.acquired,
            self.simulated as f64 / 3_600_000.0,
        )?;
        writeln!(f, "{}", self.injected)?;
        for (violation, (times, seed)) in &self.found {
            writeln!(f, "VIOLATION: {violation}: in {times} schedules, first seed {seed}")?;
        }
        if self.is_clean() { write!(f, "no violation") } else { Ok(()) }
    }
}

/// A mistake has to be found within so many schedules.
const LIMIT: u64 = 40_000;

/// Makes schedules until each of these was violated.
pub fn must_find(name: &str, campaign: impl Fn(u64, u64) -> Campaign, violations: &[Violation]) {
    let mut searched = 0;
    let mut firsts = vec![None; violations.len()];
    while firsts.contains(&None) && searched < LIMIT {
        // Few first, for most are found soon.
        let count = (searched.max(250)).min(LIMIT - searched);
        let report = campaign(searched, count).run();
        for (first, &violation) in firsts.iter_mut().zip(violations) {
            *first = first.or(report.first(violation));
        }
        searched += count;
    }
    for (first, violation) in firsts.iter().zip(violations) {
        match first {
            Some(seed) => println!("{name}: \"{violation}\" after {} schedules", seed + 1),
            None => panic!("{name}: no \"{violation}\" in {searched} schedules"),
        }
    }
}
