//! The signs that writers have left who wait in a line and have met readers: whoever gets in takes them back, or the last
//! who leaves.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::time::timeout;

use crate::mutex::Mutex;
use crate::node::Request;
use crate::round::Votes;

/// The signs of a line that nodes may have: a node has the last one that came to it.
#[derive(Default)]
pub(crate) struct Signs {
    left: RefCell<Vec<Sign>>,
    next_number: Cell<u64>,
}

struct Sign {
    /// The how manyth that was noted.
    number: u64,
    node: usize,
    /// The attempt that has left it.
    request: Rc<Request>,
}

impl Signs {
    /// The number of the next one. An attempt that begins now replaces the signs with smaller numbers.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number.get()
    }

    /// Notes where an attempt has left a sign that began with this number. Of attempts side by side any may be the last.
    pub(crate) fn note(&self, began: u64, request: &Rc<Request>, votes: &Votes<'_>) {
        if request.kind.sign().is_none() {
            return;
        }
        let mut left = self.left.borrow_mut();
        for node in votes.with_readers() {
            left.retain(|sign| sign.node != node || sign.number >= began);
            let number = self.next_number.get();
            self.next_number.set(number + 1);
            left.push(Sign { number, node, request: request.clone() });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.borrow().is_empty()
    }
}

impl Mutex {
    /// The call has ended. What its line has left goes with it if it has the lock, for then readers are next, or if nobody
    /// else of the line needs it. Who has the lock does not wait for that.
    pub(crate) async fn take_back_signs(&self, has_lock: bool) {
        if self.options.kind.sign().is_none() {
            return;
        }
        let queues = &self.redsync.queues;
        let Some(queue) = queues.find(&self.wanted()) else { return };
        if !has_lock && !queue.line.is_empty() {
            return;
        }
        let release = |Sign { node, request, .. }: Sign| {
            let released = self.redsync.cleanup.release(&request, vec![node]);
            // The request may be that of a call which waited for nodes for longer.
            released.map(|released| timeout(self.means().timeout, released))
        };
        let signs = queue.signs.left.take();
        let released: Vec<_> = signs.into_iter().filter_map(release).collect();
        queues.tidy(&queue);
        if has_lock {
            return;
        }
        for released in released {
            // Whatever is not released by then goes on in the background.
            let _ = released.await;
        }
    }
}
