//! The signs that a writer's attempts have left where readers were in the way: a call that ends without the lock
//! takes them back.

use std::rc::Rc;

use tokio::time::timeout;

use crate::mutex::Mutex;
use crate::node::Request;
use crate::round::Votes;

impl Mutex {
    /// Notes where an attempt has left a sign. It has replaced that of the attempt before.
    pub(crate) fn note_signs(&self, request: &Rc<Request>, votes: &Votes<'_>) {
        if request.kind.sign().is_some() {
            let nodes = votes.with_readers().map(|node| (node, request.clone()));
            self.signs.borrow_mut().extend(nodes);
        }
    }

    /// The call has ended. Who has the lock has taken the signs back with it, or does so when it is released; where not,
    /// they are over soon.
    pub(crate) async fn take_back_signs(&self, has_lock: bool) {
        let signs = self.signs.take();
        if has_lock || signs.is_empty() {
            return;
        }
        let release = |(node, request)| {
            let released = self.redsync.cleanup.release(&request, vec![node]);
            released.map(|released| timeout(request.timeout, released))
        };
        let released: Vec<_> = signs.into_iter().filter_map(release).collect();
        for released in released {
            // Whatever is not released by then goes on in the background.
            let _ = released.await;
        }
    }
}
