//! The signs that a writer's attempts have left where readers were in the way: a call that ends takes them back.

use std::rc::Rc;

use tokio::time::timeout;

use crate::mutex::Mutex;
use crate::node::Request;
use crate::round::Votes;

impl Mutex {
    /// Notes where an attempt has left a sign, and where it has taken one back: with the lock. It has replaced that of
    /// the attempt before.
    pub(crate) fn note_signs(&self, request: &Rc<Request>, votes: &Votes<'_>) {
        let mut signs = self.signs.borrow_mut();
        if !signs.is_empty() {
            votes.granting().iter().for_each(|node| drop(signs.remove(node)));
        }
        if request.kind.sign().is_some() {
            signs.extend(votes.with_readers().map(|node| (node, request.clone())));
        }
    }

    /// The call has ended: what it has left is taken back. Who has the lock does not wait for that.
    pub(crate) async fn take_back_signs(&self, has_lock: bool) {
        let signs = self.signs.take();
        if signs.is_empty() {
            return;
        }
        let release = |(node, request): (usize, Rc<Request>)| {
            let released = self.redsync.cleanup.release(&request, vec![node]);
            released.map(|released| timeout(request.timeout, released))
        };
        let released: Vec<_> = signs.into_iter().filter_map(release).collect();
        if has_lock {
            return;
        }
        for released in released {
            // Whatever is not released by then goes on in the background.
            let _ = released.await;
        }
    }
}
