//! A place in the line for a lock: what one call that waits knows and does.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::chance::Decision;
use crate::line::Means;
use crate::node::Keys;
use crate::nodes::Nodes;
use crate::queue::{Queue, Queues, forget_unwatched};
use crate::value::Value;
use crate::view::{Known, View, Watch};
use crate::vote::{Answer, TOKEN_REFUSED, Vote};

/// The release that made the first node free may not have reached the others yet. That can be so more
/// than once in a row, but not often.
const ORDINARY_SPLITS: u32 = 2;

/// So often the pause is doubled.
const MOST_DOUBLED: u32 = 7;

/// A place in a queue. Dropping it leaves the queue, and the next one moves up.
pub(crate) struct Place {
    queues: Rc<Queues>,
    keys: Keys,
    queue: Rc<Queue>,
    ticket: u64,
    standing: Cell<Standing>,
    means: Means,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Present,
    SteppedOut,
    Gone,
}

impl Place {
    /// Joins the end of the line.
    pub(crate) fn join(queues: &Rc<Queues>, keys: &Keys, means: Means) -> Self {
        let queue = queues.queue(keys);
        let ticket = queue.line.join(means);
        let standing = Cell::new(Standing::Present);
        let (queues, keys) = (queues.clone(), keys.clone());
        let place = Self { queues, keys, queue, ticket, standing, means };
        if place.may_do_better() {
            place.queue.prefer_better();
        }
        place
    }

    /// Is nobody before it?
    pub(crate) fn is_first(&self) -> bool {
        self.queue.line.is_head(self.ticket)
    }

    /// Is there reason to ask at once, without a look at the nodes?
    pub(crate) fn may_ask(&self) -> bool {
        let queue = &self.queue;
        let is_our_turn = || !queue.has_met_others.get() || queue.turns.borrow().is_our_turn();
        let is_free = || !queue.is_held_here(Instant::now()) && queue.attempts.get() == 0;
        self.is_first() && is_free() && is_our_turn()
    }

    /// Have others failed because the nodes did not answer them in time, who could not wait for as long
    /// as this one?
    fn may_do_better(&self) -> bool {
        self.queue.failed.get().is_some_and(|(_, failed)| self.means.exceed(failed))
    }

    /// Is it known, without asking, what an attempt would be told? By the nodes, which would tell of a
    /// release; or by an attempt of another since that time, unless it failed with less means.
    pub(crate) fn is_informed(&self, nodes: &Nodes, since: Instant) -> bool {
        let queue = &self.queue;
        let is_answered = queue.answered.get().is_some_and(|when| since <= when);
        let has_failed = queue.failed.get().is_some_and(|(when, _)| since <= when);
        queue.is_held_here(Instant::now())
            || self.is_watched(nodes)
            || is_answered
            || has_failed && !self.may_do_better()
    }

    /// Are there others elsewhere who want the lock, so that votes could be split?
    pub(crate) fn is_contended(&self) -> bool {
        self.queue.has_met_others.get()
    }

    /// Is a quorum known to be taken, and watched?
    pub(crate) fn is_watched(&self, nodes: &Nodes) -> bool {
        let views = self.queue.views.borrow();
        nodes.quorum().is_reached(views.iter().filter(|view| view.is_watched_taken()).count())
    }

    /// Resolves when it is first in line and it is worth asking; with the node to ask first.
    pub(crate) async fn chance(&self, nodes: &Nodes) -> usize {
        let queue = &self.queue;
        let wake = queue.line.wake_of(self.ticket);
        loop {
            let mut until = None;
            // One attempt at a time, but for those that the schedule makes.
            if self.is_first() && queue.attempts.get() == 0 {
                if self.may_do_better() && queue.heard.borrow().is_none() {
                    return nodes.order_of(&self.keys)[0];
                }
                match queue.decide(nodes, &self.keys) {
                    Decision::Ask { first } => return first,
                    Decision::Wait(wait) => until = wait.until,
                }
            }
            match until {
                None => wake.notified().await,
                Some(until) => {
                    let _ = timeout_at(until, wake.notified()).await;
                }
            }
        }
    }

    /// Lets others go first until [`Place::step_in`]: it waits for something else than the lock.
    pub(crate) fn step_out(&self) {
        if self.standing.replace(Standing::SteppedOut) == Standing::Present {
            self.queue.line.step_out(self.ticket);
        }
    }

    /// Takes its place again.
    pub(crate) fn step_in(&self) {
        if self.standing.replace(Standing::Present) == Standing::SteppedOut {
            self.queue.line.step_in(self.ticket, self.means);
        }
    }

    /// Leaves the line for good.
    pub(crate) fn leave(&self) {
        if self.standing.replace(Standing::Gone) != Standing::Gone {
            self.queue.last_used.set(Some(Instant::now()));
            self.queue.line.leave(self.ticket);
            self.queue.forget_watches_of_nobody();
        }
    }

    /// Nodes that could not be watched may be able to by now, and may grant what they refused.
    pub(crate) fn try_watching_again(&self) {
        for view in self.queue.views.borrow_mut().iter_mut() {
            view.refuses = false;
            if view.watch == Watch::Refused {
                view.watch = Watch::Off;
            }
        }
    }

    /// The nodes are being asked, until this is dropped.
    pub(crate) fn asks(&self) -> Asking<'_> {
        self.queue.attempts.set(self.queue.attempts.get() + 1);
        Asking { queue: &self.queue }
    }

    /// An attempt has lost the lock to somebody else, with these votes.
    pub(crate) fn lost(&self, votes: &[Option<Vote>], is_taken: bool) {
        self.hear(votes);
        let queue = &self.queue;
        queue.answered();
        let is_known = is_taken && votes.iter().all(Option::is_some);
        *queue.heard.borrow_mut() = is_known.then(|| (votes.to_vec(), self.means));
    }

    /// An attempt has failed, because too few nodes answered in time. Those go first who may do better.
    pub(crate) fn failed(&self, votes: &[Option<Vote>]) {
        self.hear(votes);
        let queue = &self.queue;
        let (_, failed) = queue.failed.get().unwrap_or((Instant::now(), Means::default()));
        let failed = failed.or_more(self.means);
        queue.failed.set(Some((Instant::now(), failed)));
        // Who could wait for longer may still be right.
        queue.heard.borrow_mut().take_if(|(_, means)| !means.exceed(failed));
        queue.prefer_better();
    }

    fn hear(&self, votes: &[Option<Vote>]) {
        let queue = &self.queue;
        let now = Instant::now();
        if votes.contains(&Some(Ok(Answer::Taken))) && !queue.is_held_here(now) {
            queue.has_met_others.set(true);
        }
        if !self.is_first() {
            return; // what the head goes by is its own
        }
        let mut views = queue.views.borrow_mut();
        views.resize(votes.len(), View::default());
        forget_unwatched(&mut views, usize::MAX);
        for (view, vote) in views.iter_mut().zip(votes) {
            if let Some(vote) = vote {
                view.hear(vote);
            }
        }
        drop(views);
        queue.last_news.set(Some(now));
    }

    /// A chance was taken for nothing: with some votes, or with none.
    ///
    /// Votes can be split again and again with those who want other keys too, and begin at another node
    /// with that list. So each pauses at random, but not for long: to a process that does not know of
    /// this one yet, whoever is not there in the moment that it leaves wants nothing. Only where it is the fencing
    /// token again and again, each pause is longer: no holder is that much quicker.
    pub(crate) fn missed(&self, nodes: &Nodes, votes: &[Option<Vote>]) {
        let queue = &self.queue;
        let wants_another =
            |vote: &&Option<Vote>| matches!(vote, Some(Err(error)) if error.code == TOKEN_REFUSED);
        let wanting = votes.iter().filter(wants_another).count();
        let is_split = wanting > 0 || votes.contains(&Some(Ok(Answer::Granted)));
        let is_token = nodes.quorum().is_out_of_reach(wanting);
        let splits = if is_split { queue.splits.get() + 1 } else { 0 };
        queue.splits.set(splits);
        if splits > ORDINARY_SPLITS {
            let doubled = if is_token { (splits - ORDINARY_SPLITS).min(MOST_DOUBLED) } else { 0 };
            let longest = queue.moment() * (1 << doubled);
            let pause = nodes.random_duration(Duration::ZERO, longest);
            queue.paused_until.set(Some(Instant::now() + pause));
        }
    }

    /// It holds the lock, for so long.
    pub(crate) fn won(&self, value: &Value, left: Duration) {
        let queue = &self.queue;
        let now = Instant::now();
        queue.turns.borrow_mut().own(now);
        *queue.held.borrow_mut() = Some((value.clone(), now + left));
        queue.heard.take();
        queue.answered();
        queue.splits.set(0);
        queue.paused_until.set(None);
        queue.see_all_as(Known::Nothing);
    }

    /// What was heard of the nodes last, if it is that the lock is taken, and nothing was heard since.
    pub(crate) fn heard(&self) -> Option<Vec<Option<Vote>>> {
        self.queue.heard.borrow().as_ref().map(|(votes, _)| votes.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
        self.queues.tidy(&self.keys, &self.queue);
    }
}

/// An attempt is under way.
pub(crate) struct Asking<'a> {
    queue: &'a Queue,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.queue.attempts.set(self.queue.attempts.get() - 1);
        self.queue.line.wake_head();
    }
}
