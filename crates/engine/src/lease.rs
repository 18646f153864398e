//! A lock that is held: kept alive until it is released, or told of the moment that it is lost.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::node::{Keys, Request};
use crate::validity;
use crate::value::Value;

/// When to extend a lock, and when to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// From one extension to the next.
    pub interval: Duration,
    /// Stop this long after the lock was acquired.
    pub max_hold: Duration,
    /// Stop when the holder has shown no sign of life for this long.
    pub max_stall: Duration,
}

/// Why a lock was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its time was over before a quorum had extended it.
    Expired,
    /// A quorum stores somebody else's value.
    Taken,
    /// So many nodes have nothing stored that the others are no quorum.
    Deleted,
    /// It was held for as long as it may be.
    MaxHold,
    /// Its holder has shown no sign of life.
    MaxStall,
    /// The nodes were closed.
    Closed,
}

/// Who holds a lock.
pub trait Holder: Any {
    /// When it last showed a sign of life, on the engine's clock, which shows `now`.
    fn last_alive(&self, now: Duration) -> Duration;
    /// The lock lives longer.
    fn extended(&self, until: Duration);
    /// The lock is lost. Called once, and not after the lease was ended.
    fn lost(&self, why: Loss);
}

/// How a lock is kept alive.
#[derive(Clone, Copy)]
pub(crate) struct Keep {
    pub(crate) interval: Duration,
    /// To be extended no more from then on.
    pub(crate) hold_until: Duration,
    pub(crate) max_stall: Duration,
}

impl Keep {
    pub(crate) fn from(
        Extension { interval, max_hold, max_stall }: Extension,
        now: Duration,
    ) -> Self {
        Self { interval, hold_until: now.saturating_add(max_hold), max_stall }
    }
}

/// There may be very many: what is small here is small a hundred thousand times.
pub(crate) struct Lease {
    /// What it is extended with.
    pub(crate) request: Rc<Request>,
    pub(crate) drift_factor: f64,
    /// In the order in which they began.
    pub(crate) number: u64,
    /// `None`: only watched.
    pub(crate) keep: Cell<Option<Keep>>,
    /// `None`: it has ended, though an extension may still be under way. (A `RefCell` would be larger.)
    pub(crate) holder: Cell<Option<Rc<dyn Holder>>>,
    pub(crate) until: Cell<Duration>,
    /// When it is extended next; `None` while it is, or if it never will be.
    pub(crate) extends: Cell<Option<Duration>>,
    /// When to see whether it is over. It may have been extended since.
    pub(crate) ends: Cell<Duration>,
    /// Extensions that failed since the last one that did not.
    pub(crate) failures: Cell<u8>,
    /// Why it is not extended any more.
    pub(crate) stopped: Cell<Option<Loss>>,
    /// Store the value again where the key has vanished from a minority.
    pub(crate) recreate: bool,
}

impl Lease {
    pub(crate) fn holder(&self) -> Option<Rc<dyn Holder>> {
        let holder = self.holder.take();
        self.holder.set(holder.clone());
        holder
    }

    /// Is it about that lock? The value alone would not do: it is the caller's, who may use one for all
    /// of his names.
    pub(crate) fn is_of(&self, keys: &Keys, value: &Value) -> bool {
        self.request.value == *value && self.request.keys == *keys
    }

    /// Until when an extension that is asked for at `start` lets it live.
    pub(crate) fn until_from(&self, start: Duration) -> Duration {
        validity::until(start, self.request.expiry, self.drift_factor)
    }

    /// The lock lives longer.
    pub(crate) fn prolong(&self, until: Duration) {
        self.until.set(self.until.get().max(until));
        if let Some(holder) = self.holder() {
            holder.extended(self.until.get());
        }
    }
}

/// A lock that is to be kept or watched.
pub struct Hold {
    pub(crate) request: Rc<Request>,
    pub(crate) drift_factor: f64,
    pub(crate) recreate: bool,
    pub(crate) until: Duration,
}

impl Hold {
    /// What is locked.
    pub fn keys(&self) -> &Keys {
        &self.request.keys
    }

    /// The ownership value.
    pub fn value(&self) -> &Value {
        &self.request.value
    }

    /// When it is over.
    pub fn until(&self) -> Duration {
        self.until
    }
}
