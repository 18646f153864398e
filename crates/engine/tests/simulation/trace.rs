//! All that happened in a schedule, as one number.

use std::cell::Cell;
use std::fmt;

/// A hash of every event and its time: two runs are the same run if it is the same.
pub struct Trace {
    hash: Cell<u64>,
    /// Whether to print the story, for whoever looks into one seed.
    is_told: bool,
}

impl Trace {
    pub fn new(is_told: bool) -> Self {
        Self { hash: Cell::new(0xcbf2_9ce4_8422_2325), is_told }
    }

    /// A line of the story.
    pub fn tell(&self, at: u64, line: fmt::Arguments<'_>) {
        if self.is_told {
            println!("{at:>7} ms  {line}");
        }
    }

    pub fn add(&self, numbers: &[u64]) {
        for number in numbers {
            let mixed = (self.hash.get() ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.hash.set(mixed ^ mixed >> 29);
        }
    }

    pub fn add_text(&self, text: &str) {
        for chunk in text.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(&[u64::from_le_bytes(word)]);
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash.get()
    }
}
