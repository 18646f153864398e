//! The line of those in this process who want the same keys, and what is known of their lock. Only its
//! head asks the nodes, and it asks when there is reason to.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::chance::{Decision, Situation, Wait};
use crate::line::{Line, Means};
use crate::mutant::Mutant;
use crate::node::Keys;
use crate::nodes::Nodes;
use crate::notice::{Listener, Notice, Sight};
use crate::turns::Turns;
use crate::value::Value;
use crate::view::{Known, View, Watch};
use crate::vote::{Answer, Vote};

/// A queue that nobody stands in is remembered for so long: who comes back at once is not new.
const MEMORY: Duration = Duration::from_secs(1);

/// How long others get to take what is free, and how long a lock has to be held before more than the
/// first node is watched; on top of two round trips.
const MOMENT: Duration = Duration::from_millis(2);

/// The longest round trip that is reckoned with.
const LONGEST_TRIP: Duration = Duration::from_millis(100);

/// The release that made the first node free may not have reached the others yet. That can be so more
/// than once in a row, but not often.
const ORDINARY_SPLITS: u32 = 2;

/// So many queues are kept before the first look for those that are over.
const MANY: usize = 1024;

/// The queues of a process for one set of nodes, whoever has opened it: one for each list of keys.
/// Looked up only, so that no order matters.
#[derive(Default)]
pub struct Queues {
    by_keys: RefCell<HashMap<Keys, Rc<Queue>>>,
    /// How many there may be before the next look for those that are over.
    limit: Cell<usize>,
}

impl Queues {
    /// Joins the end of the line.
    pub(crate) fn join(self: &Rc<Self>, keys: &Keys, means: Means) -> Place {
        let queue = self.queue(keys);
        let ticket = queue.line.join(means);
        let standing = Cell::new(Standing::Present);
        let place =
            Place { queues: self.clone(), keys: keys.clone(), queue, ticket, standing, means };
        if place.may_do_better() {
            place.queue.prefer_better();
        }
        place
    }

    fn queue(&self, keys: &Keys) -> Rc<Queue> {
        let mut by_keys = self.by_keys.borrow_mut();
        if by_keys.len() > self.limit.get().max(MANY) {
            // What was locked and left to its expiry.
            let now = Instant::now();
            by_keys.retain(|_, queue| queue.is_of_use(now));
            self.limit.set(by_keys.len() * 2);
        }
        by_keys.entry(keys.clone()).or_default().clone()
    }

    /// The queue of these keys, if there is one.
    pub(crate) fn find(&self, keys: &Keys) -> Option<Rc<Queue>> {
        if self.by_keys.borrow().is_empty() {
            return None;
        }
        self.by_keys.borrow().get(keys).cloned()
    }

    /// The lock of this value lives for so long from now.
    pub(crate) fn prolong(&self, keys: &Keys, value: &Value, left: Duration) {
        let Some(queue) = self.find(keys) else { return };
        if let Some((held, until)) = queue.held.borrow_mut().as_mut()
            && held == value
        {
            *until = (*until).max(Instant::now() + left);
        }
    }

    /// Forgets the queue if there is no use for it any more.
    pub(crate) fn tidy(&self, keys: &Keys, queue: &Rc<Queue>) {
        if queue.is_of_use(Instant::now()) {
            return;
        }
        let mut by_keys = self.by_keys.borrow_mut();
        if by_keys.get(keys).is_some_and(|known| Rc::ptr_eq(known, queue)) {
            by_keys.remove(keys);
        }
    }
}

/// One queue, and what is known of its lock.
#[derive(Default)]
pub(crate) struct Queue {
    line: Line,
    /// One entry a node, once somebody has to wait.
    views: RefCell<Vec<View>>,
    next_number: Cell<u64>,
    /// The node whose changes are counted as turns.
    gate: Cell<usize>,
    turns: RefCell<Turns>,
    /// The lock that this process has, as far as is known.
    held: RefCell<Option<(Value, Instant)>>,
    /// Attempts under way.
    attempts: Cell<usize>,
    /// When the nodes last answered an attempt.
    answered: Cell<Option<Instant>>,
    /// When and with what means attempts have failed since then.
    failed: Cell<Option<(Instant, Means)>>,
    /// Somebody elsewhere wants the lock too.
    has_met_others: Cell<bool>,
    /// What the last attempt heard, if all nodes were asked and the lock is taken; and its means.
    heard: RefCell<Option<(Vec<Option<Vote>>, Means)>>,
    /// Since when there has been a chance that was left to others.
    chance_since: Cell<Option<Instant>>,
    /// How many chances in a row brought some votes, but too few.
    splits: Cell<u32>,
    /// Until when no chance is taken, for those with whom the votes were split.
    paused_until: Cell<Option<Instant>>,
    /// When something was last heard of the lock.
    last_news: Cell<Option<Instant>>,
    last_used: Cell<Option<Instant>>,
    /// The round trip of a look.
    trip: Cell<Duration>,
}

impl Queue {
    fn is_of_use(&self, now: Instant) -> bool {
        let is_recent = || self.last_used.get().is_some_and(|used| now < used + MEMORY);
        // A lock that nobody else has asked for leaves nothing here while it is held: most are like that.
        let is_wanted = || self.is_held_here(now) || is_recent();
        !self.line.is_empty() || self.has_met_others.get() && is_wanted()
    }

    fn held_until(&self, now: Instant) -> Option<Instant> {
        self.held.borrow().as_ref().map(|(_, until)| *until).filter(|until| now < *until)
    }

    fn is_held_here(&self, now: Instant) -> bool {
        self.held_until(now).is_some()
    }

    /// Forgets what was seen of all nodes, and what is still to be told of them.
    fn see_all_as(&self, known: Known) {
        for view in self.views.borrow_mut().iter_mut() {
            let watch = if view.watch == Watch::Refused { Watch::Refused } else { Watch::Off };
            *view = View { known, watch, ..View::default() };
        }
        self.last_news.set(Some(Instant::now()));
    }

    /// The lock of this value is being released, with the commands already on their way. If nobody
    /// else is to go first the head follows them at once: nodes keep the order of commands.
    pub(crate) fn releasing(&self, value: &Value) {
        if self.turns.borrow().is_our_turn() {
            self.released(value);
        }
    }

    /// The lock of this value has been released.
    pub(crate) fn released(&self, value: &Value) {
        // Nothing is known of one that was acquired when nobody else was here.
        let may_be_held = self.held.borrow().as_ref().is_none_or(|(held, _)| held == value);
        if may_be_held {
            self.held.take();
            self.heard.take();
            self.see_all_as(Known::Free);
            self.last_used.set(Some(Instant::now()));
            self.line.wake_head();
        }
    }

    /// Others may have the means that those lacked who have failed.
    fn prefer_better(&self) {
        if let Some((_, means)) = self.failed.get() {
            self.line.prefer_more_than(means);
        }
    }

    fn answered(&self) {
        self.answered.set(Some(Instant::now()));
        self.failed.set(None);
    }

    /// What nobody waits for a node need not tell: whoever comes next has the nodes watched anew.
    fn forget_watches_of_nobody(&self) {
        if self.line.is_empty() {
            let mut views = self.views.borrow_mut();
            for view in views.iter_mut().filter(|view| view.watch != Watch::Refused) {
                *view = View { watch: Watch::Off, ..View::default() };
            }
        }
    }

    fn current(&self, node: usize, number: u64) -> bool {
        self.views.borrow().get(node).is_some_and(|view| {
            view.number == number && matches!(view.watch, Watch::Asked | Watch::On)
        })
    }

    /// How long it takes others to take what is free.
    fn moment(&self) -> Duration {
        MOMENT + 2 * self.trip.get()
    }

    fn news(&self, now: Instant) {
        self.last_news.set(Some(now));
        self.line.wake_head();
    }

    /// Decides what the head does next, and has the nodes watched that have to be.
    fn decide(self: &Rc<Self>, nodes: &Nodes, keys: &Keys) -> Decision {
        let now = Instant::now();
        let order = nodes.order_of(keys);
        let mut views = self.views.borrow_mut();
        views.resize(order.len(), View::default());
        views.iter_mut().for_each(|view| view.expire(now));
        let situation = Situation {
            now,
            quorum: nodes.quorum(),
            views: &views,
            order: &order,
            moment: self.moment(),
            chance_since: self.chance_since.get(),
            is_our_turn: self.turns.borrow().is_our_turn(),
            paused_until: self.paused_until.get().filter(|until| now < *until),
            last_news: self.last_news.get(),
            held_until: self.held_until(now),
        };
        let decision = situation.decide();
        self.gate.set(situation.gate().unwrap_or_default());
        if situation.stood_back_for_nobody() {
            self.turns.borrow_mut().nobody_came();
        }
        let Decision::Wait(Wait { watch, chance_since, .. }) = &decision else {
            self.chance_since.set(None);
            return decision;
        };
        self.chance_since.set(*chance_since);
        let notices: Vec<_> = watch.iter().map(|&node| self.notice(&mut views, node)).collect();
        // A node may answer at once.
        drop(views);
        for (&node, notice) in watch.iter().zip(notices) {
            nodes.members()[node].watch(keys, notice);
        }
        decision
    }

    fn notice(self: &Rc<Self>, views: &mut [View], node: usize) -> Notice {
        let number = self.next_number.get() + 1;
        self.next_number.set(number);
        let view = &mut views[node];
        (view.watch, view.number, view.asked) = (Watch::Asked, number, Some(Instant::now()));
        let listener = Rc::downgrade(self);
        Notice::new(listener as Weak<dyn Listener>, node, number)
    }
}

impl Listener for Queue {
    fn awaits(&self, node: usize, number: u64) -> bool {
        !self.line.is_empty() && self.current(node, number)
    }

    fn seen(&self, node: usize, number: u64, sight: Sight) {
        if !self.current(node, number) {
            return;
        }
        let now = Instant::now();
        let mut views = self.views.borrow_mut();
        if let Some(asked) = views[node].asked {
            // Smoothed: one that was slow says little.
            self.trip.set((7 * self.trip.get() + LONGEST_TRIP.min(now - asked)) / 8);
        }
        views[node].see(sight);
        let is_taken = sight != Sight::Free;
        if is_taken && node == self.gate.get() {
            forget_unwatched(&mut views, node);
        }
        drop(views);
        if is_taken && node == self.gate.get() && !self.is_held_here(now) {
            self.turns.borrow_mut().another();
            self.has_met_others.set(true);
        }
        self.news(now);
    }

    fn changed(&self, node: usize, number: u64) {
        if !self.current(node, number) {
            return;
        }
        let mut views = self.views.borrow_mut();
        views[node].change();
        if node == self.gate.get() {
            forget_unwatched(&mut views, node);
        }
        drop(views);
        self.heard.take();
        self.news(Instant::now());
    }

    fn cannot_watch(&self, node: usize, number: u64) {
        if self.current(node, number) {
            self.views.borrow_mut()[node].watch = Watch::Refused;
            self.line.wake_head();
        }
    }
}

/// What was known of nodes that are not watched is not true any more when another has changed.
fn forget_unwatched(views: &mut [View], changed: usize) {
    for (node, view) in views.iter_mut().enumerate() {
        if node != changed && view.watch == Watch::Off {
            view.known = Known::Nothing;
        }
    }
}

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
        if Mutant::HeadKeepsTurn.is_on() {
            return;
        }
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

    /// Nodes that could not be watched may be able to by now.
    pub(crate) fn try_watching_again(&self) {
        for view in self.queue.views.borrow_mut().iter_mut() {
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
    /// this one yet, whoever is not there in the moment that it leaves wants nothing.
    pub(crate) fn missed(&self, nodes: &Nodes, votes: &[Option<Vote>]) {
        let queue = &self.queue;
        let is_split = votes.contains(&Some(Ok(Answer::Granted)));
        let splits = if is_split { queue.splits.get() + 1 } else { 0 };
        queue.splits.set(splits);
        if splits > ORDINARY_SPLITS {
            let pause = nodes.random_duration(Duration::ZERO, queue.moment());
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
