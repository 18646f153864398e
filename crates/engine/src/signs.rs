//! The signs that writers have left who wait in a line and have met readers: whoever gets in takes them back, or the last
//! who leaves.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::time::timeout;

use crate::mutex::Mutex;
use crate::node::Request;
use crate::round::Votes;

/// The attempts of a line whose signs the nodes have, by node: each has replaced that of the one before.
#[derive(Default)]
pub(crate) struct Signs {
    by_node: RefCell<BTreeMap<usize, Rc<Request>>>,
}

impl Signs {
    /// Notes where an attempt has left a sign.
    pub(crate) fn note(&self, request: &Rc<Request>, votes: &Votes<'_>) {
        if request.kind.sign().is_some() {
            let signed = votes.with_readers().map(|node| (node, request.clone()));
            self.by_node.borrow_mut().extend(signed);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_node.borrow().is_empty()
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
        let release = |(node, request): (usize, Rc<Request>)| {
            let released = self.redsync.cleanup.release(&request, vec![node]);
            // The request may be that of a call which waited for nodes for longer.
            released.map(|released| timeout(self.means().timeout, released))
        };
        let signs = queue.signs.by_node.take();
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
