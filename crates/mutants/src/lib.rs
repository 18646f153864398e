//! The engine with mistakes in it: a proof that cannot fail proves nothing.
//!
//! `build.rs` copies the source of the engine and puts each mistake of `mistakes.rs` in, behind a switch.

#![allow(missing_docs, clippy::all, clippy::unwrap_used)]

use std::cell::Cell;

mod mistakes;

pub use mistakes::{MISTAKES, Mistake};

include!(concat!(env!("OUT_DIR"), "/engine.rs"));

thread_local!(static MADE: Cell<&'static str> = const { Cell::new("") });

/// From now on the engine makes this mistake on this thread.
pub fn make(mistake: &'static str) {
    MADE.set(mistake);
}

fn is_made(mistake: &str) -> bool {
    MADE.get() == mistake
}
