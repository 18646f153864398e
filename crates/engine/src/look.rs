//! Which permit of a semaphore to ask for: one that may be free, or after a look at the nodes.

use std::rc::Rc;

use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::mutex::Mutex;
use crate::node::Verb;
use crate::place::Place;
use crate::round::Round;
use crate::value::Value;

/// So many permits are looked at for an attempt that is not the last one.
const FEW_PERMITS: usize = 16;

/// What a look has found.
pub(crate) struct Look {
    /// A permit that a quorum has free.
    pub(crate) free: Option<usize>,
    /// Whether all permits are known by now that were not tried.
    pub(crate) is_complete: bool,
}

impl Mutex {
    /// The permit to ask for where nothing is known, but for what this process holds.
    pub(crate) fn pick(&self) -> usize {
        let nodes = &self.redsync.nodes;
        let permits = usize::from(self.options.permits);
        if permits == 1 {
            return 0;
        }
        let picked = self.redsync.queues.find(&self.wanted()).and_then(|queue| queue.pick(nodes));
        picked.or_else(|| nodes.order_from_any(permits).next()).unwrap_or_default()
    }

    /// Looks at all permits for the last attempt, and at a few for any other, but for those that were tried. Others may
    /// be looking, too: which one is told of those that are free is left to luck.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub(crate) async fn look(
        &self,
        place: Option<&Place>,
        value: &Value,
        tried: &[usize],
        is_last: bool,
        cancel: &CancellationToken,
    ) -> Result<Look, Error> {
        let nodes = &self.redsync.nodes;
        let permits = usize::from(self.options.permits);
        let count = if is_last { permits } else { FEW_PERMITS };
        let looked_at = nodes.order_from_any(permits).filter(|permit| !tried.contains(permit));
        let looked_at: Vec<_> = looked_at.take(count).collect();
        let request = |&permit: &usize| self.request(value.with_permit(permit));
        let requests: Rc<[_]> = looked_at.iter().map(request).collect();
        let round = Round::ask_each(nodes, Verb::Owner, &requests);
        let votes = cancel.run_until_cancelled(round.votes_on_each()).await;
        let votes = votes.ok_or(Error::Cancelled)?;
        place.inspect(|place| place.looked());
        let mut free = None;
        for (permit, votes) in looked_at.iter().zip(votes.iter()) {
            place.inspect(|place| place.hear(*permit, votes.as_slice()));
            if free.is_none() && votes.is_free() {
                free = Some(*permit);
            }
        }
        Ok(Look { free, is_complete: looked_at.len() + tried.len() == permits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Means;
    use crate::options::Options;
    use crate::place::Habits;
    use crate::redsync::Redsync;
    use crate::testing::{node, rng};
    use crate::view::Known;

    #[tokio::test]
    async fn what_a_look_has_seen_is_known_from_then_on() {
        let (clock, node) = node();
        let redsync = Redsync::new(vec![Rc::new(node)], clock, rng());
        let options = Options { permits: 3, ..Options::default() };
        let mutex = Mutex::new(redsync.clone(), Rc::new(["name".into()]), options);
        let theirs = mutex.request(Value::from("theirs").with_permit(1));
        mutex.ask(Verb::Acquire, &theirs).votes().await;
        let habits = Habits { leaves_signs: false, may_repeat: false };
        let place = Place::join(&redsync.queues, mutex.wanted(), Means::default(), habits);
        let (value, cancel) = (Value::from("ours"), CancellationToken::new());
        let look = mutex.look(Some(&place), &value, &[0], true, &cancel).await.expect("votes");
        assert_eq!((look.free, look.is_complete), (Some(2), true));
        let queue = redsync.queues.find(&mutex.wanted()).expect("a queue");
        let known = |permit, known| queue.permit(permit).is_known(known);
        assert!(known(1, Known::Taken) && known(2, Known::Free) && queue.permit(0).is_unknown());
    }
}
