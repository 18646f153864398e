//! Who holds a lock that is kept alive or watched, on the side of JavaScript.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use redsync_engine::{Holder, Loss};

use super::crossing::Outcome;
use super::outbox::Outbox;
use crate::clock;

/// What somebody wants of a lease.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The lock is to be kept alive.
    Kept,
    /// No more than to be told.
    Told,
    /// It was to be kept, but can be reached no more. Somebody may still listen.
    Dropped,
}

/// All who are told of a lock, by the numbers of their leases: of its loss or of another end, and of one of
/// them exactly once. They are more than one only if the lock was adopted beside who held it already.
///
/// There may be very many: for one, a vector of one is all that it takes.
pub struct Holders {
    outbox: Arc<Outbox>,
    all: Cell<Vec<(u32, Wish)>>,
}

impl Holders {
    /// The first, of a lock that is over at `until`.
    pub fn of(outbox: &Arc<Outbox>, who: (u32, Wish), until: Duration) -> Rc<Self> {
        outbox.set_until(who.0, Some(until));
        Rc::new(Self { outbox: outbox.clone(), all: Cell::new(vec![who]) })
    }

    /// Another one.
    pub fn join(&self, who: (u32, Wish), until: Duration) {
        self.outbox.set_until(who.0, Some(until));
        let mut all = self.all.take();
        self.end(&mut all, |(_, wish)| wish == Wish::Dropped);
        all.push(who);
        self.all.set(all);
    }

    /// Is the lock to be kept alive if this number does not ask for it any more?
    pub fn is_kept_without(&self, number: u32) -> bool {
        let mut all = self.all.take();
        let mut is_kept = true;
        if let Some(mine) = all.iter_mut().find(|(each, _)| *each == number) {
            mine.1 = Wish::Dropped;
            is_kept = all.iter().any(|(_, wish)| *wish == Wish::Kept);
            if is_kept {
                self.end(&mut all, |(each, _)| each == number);
            } else {
                self.outbox.push(number, Outcome::Dropped, 0.0, |_| Ok(()));
            }
        }
        self.all.set(all);
        is_kept
    }

    fn end(&self, all: &mut Vec<(u32, Wish)>, is_meant: impl Fn((u32, Wish)) -> bool) {
        for (number, _) in all.extract_if(.., |each| is_meant(*each)) {
            self.outbox.ended(number);
        }
    }
}

impl Holder for Holders {
    fn last_alive(&self, now: Duration) -> Duration {
        // A clock for tests runs ahead of the one that the turns are told by.
        let boot = clock::now();
        self.outbox.last_turn(boot) + now.saturating_sub(boot)
    }

    fn extended(&self, until: Duration) {
        let all = self.all.take();
        for (number, _) in &all {
            self.outbox.set_until(*number, Some(until));
        }
        self.all.set(all);
    }

    fn lost(&self, why: Loss) {
        for (number, _) in self.all.take() {
            self.outbox.lost(number, why);
        }
    }
}

impl Drop for Holders {
    fn drop(&mut self) {
        for (number, _) in self.all.take() {
            self.outbox.ended(number);
        }
    }
}
