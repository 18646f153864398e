//! Everything that is left to chance comes from here, and all of it from one seed.

use std::ops::RangeInclusive;

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

/// A generator of decisions.
pub struct Chance(SmallRng);

impl Chance {
    /// The decisions of a seed.
    pub fn of(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// An independent generator: what one part of a schedule draws does not move another.
    pub fn split(&mut self) -> Self {
        Self::of(self.0.next_u64())
    }

    /// A generator for the engine.
    pub fn rng(&mut self) -> Box<dyn Rng> {
        Box::new(self.split().0)
    }

    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        self.0.random_range(range)
    }

    pub fn index(&mut self, len: usize) -> usize {
        self.0.random_range(0..len)
    }

    pub fn percent(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    /// Between two numbers, and every other time one of them: faults live at the ends.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        match self.within(0..=3) {
            0 => low,
            1 => high,
            _ => self.0.random_range(low..=high),
        }
    }
}
