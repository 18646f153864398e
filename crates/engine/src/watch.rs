//! What is known of the keys of a lock, node by node, while somebody waits for it.

use std::cell::Cell;
use std::rc::Weak;
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::Queue;
use crate::vote::{Answer, Vote};

/// How a node stands to the keys of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It stores none of them.
    Free,
    /// It stores one of them at least.
    Taken {
        /// When the last of them expires, from now; `None`: never.
        life: Option<Duration>,
    },
}

/// The right to tell one queue what becomes of its keys on one node: see
/// [`Node::watch`](crate::Node::watch).
///
/// Dropped, it says that the node cannot watch the keys, or not any more.
pub struct Notice {
    queue: Weak<Queue>,
    node: usize,
    number: u64,
    has_seen: Cell<bool>,
}

impl Notice {
    pub(crate) fn new(queue: Weak<Queue>, node: usize, number: u64) -> Self {
        Self { queue, node, number, has_seen: Cell::new(false) }
    }

    /// Is there still somebody who waits for it?
    pub fn is_wanted(&self) -> bool {
        self.queue.upgrade().is_some_and(|queue| queue.awaits(self.node, self.number))
    }

    /// How the keys are now. From here on the node has to tell of every change.
    pub fn seen(&self, sight: Sight) {
        self.has_seen.set(true);
        if let Some(queue) = self.queue.upgrade() {
            queue.seen(self.node, self.number, sight);
        }
    }

    /// One of the keys may have changed since they were seen. What comes after that is for another
    /// notice to tell.
    pub fn changed(&self) {
        if let Some(queue) = self.queue.upgrade() {
            queue.changed(self.node, self.number);
        }
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        let Some(queue) = self.queue.upgrade() else { return };
        if self.has_seen.get() {
            // Whatever happened while nobody looked.
            queue.changed(self.node, self.number);
        } else {
            queue.cannot_watch(self.node, self.number);
        }
    }
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Known {
    #[default]
    Nothing,
    /// Free, or presumably so.
    Free,
    Taken,
    /// It did not answer the last attempt.
    Down,
}

/// Whether a node tells of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Watch {
    #[default]
    Off,
    Asked,
    On,
    /// It cannot, as far as is known.
    Refused,
}

/// One node as the head of a queue sees it.
#[derive(Clone, Copy, Default)]
pub(crate) struct View {
    pub(crate) known: Known,
    pub(crate) watch: Watch,
    /// When what is taken expires.
    pub(crate) ends: Option<Instant>,
    /// When it was last asked.
    pub(crate) asked: Option<Instant>,
    /// The notice that counts.
    pub(crate) number: u64,
}

impl View {
    pub(crate) fn see(&mut self, sight: Sight) {
        self.watch = Watch::On;
        (self.known, self.ends) = match sight {
            Sight::Free => (Known::Free, None),
            Sight::Taken { life } => {
                (Known::Taken, life.and_then(|life| Instant::now().checked_add(life)))
            }
        };
    }

    /// What was taken was released, or extended; what was free was taken.
    pub(crate) fn change(&mut self) {
        self.watch = Watch::Off;
        self.ends = None;
        self.known = if self.known == Known::Taken { Known::Free } else { Known::Nothing };
    }

    /// What the node has just said to an attempt.
    pub(crate) fn hear(&mut self, vote: &Vote) {
        if self.watch == Watch::On && self.known != Known::Taken {
            // What was seen is over, and the notice of it is on its way: it is not the next one.
            self.watch = Watch::Off;
        }
        self.known = match vote {
            // Released by now, and perhaps somebody else's already.
            Ok(Answer::Granted) => Known::Nothing,
            Ok(Answer::Taken) => Known::Taken,
            Ok(Answer::Absent) => Known::Free,
            Err(_) => Known::Down,
        };
    }

    /// Is the end of its life over?
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.ends.is_some_and(|ends| ends <= now) {
            self.change();
        }
    }
}
