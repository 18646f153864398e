//! How a node tells somebody what becomes of the keys of a lock.

use std::cell::Cell;
use std::rc::Weak;
use std::time::Duration;

/// How a node stands to the keys of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Nothing is in the way.
    Free,
    /// It stores what is in the way.
    Taken {
        /// When the last of that expires, from now; `None`: never.
        life: Option<Duration>,
    },
}

/// Who is told that keys of held locks have changed: see [`Node::tell_of_changes`](crate::Node::tell_of_changes).
pub trait Guard {
    /// This key may have changed since the node was last asked about it; `None`: any may have. Only takes note of it.
    fn changed(&self, key: Option<&str>);
}

/// Which notice it is: of which permit, of which node, and the how manyth.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) permit: usize,
    pub(crate) node: usize,
    pub(crate) number: u64,
}

/// Who is told.
pub(crate) trait Listener {
    /// Is somebody still waiting for this notice?
    fn awaits(&self, notice: Name) -> bool;
    /// How the keys are.
    fn seen(&self, notice: Name, sight: Sight);
    /// One of the keys may have changed since they were seen.
    fn changed(&self, notice: Name);
    /// The node cannot watch the keys.
    fn cannot_watch(&self, notice: Name);
}

/// The right to tell one queue what becomes of its keys on one node: see
/// [`Node::watch`](crate::Node::watch).
///
/// Dropped, it says that the node cannot watch the keys, or not any more.
pub struct Notice {
    listener: Weak<dyn Listener>,
    name: Name,
    has_seen: Cell<bool>,
}

impl Notice {
    pub(crate) fn new(listener: Weak<dyn Listener>, name: Name) -> Self {
        Self { listener, name, has_seen: Cell::new(false) }
    }

    /// Is there still somebody who waits for it?
    pub fn is_wanted(&self) -> bool {
        self.listener.upgrade().is_some_and(|listener| listener.awaits(self.name))
    }

    /// How the keys are now. From here on the node has to tell of every change.
    pub fn seen(&self, sight: Sight) {
        self.has_seen.set(true);
        if let Some(listener) = self.listener.upgrade() {
            listener.seen(self.name, sight);
        }
    }

    /// One of the keys may have changed since they were seen. What comes after that is for another
    /// notice to tell.
    pub fn changed(&self) {
        if let Some(listener) = self.listener.upgrade() {
            listener.changed(self.name);
        }
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        let Some(listener) = self.listener.upgrade() else { return };
        if self.has_seen.get() {
            // Whatever happened while nobody looked.
            listener.changed(self.name);
        } else {
            listener.cannot_watch(self.name);
        }
    }
}
