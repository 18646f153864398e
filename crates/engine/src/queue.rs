//! The line of those in this process who want the same keys, and what is known of their lock. Only its
//! head asks the nodes, and it asks when there is reason to.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::chance::{Decision, Situation, Wait};
use crate::kind::Kind;
use crate::line::{Line, Means};
use crate::node::Keys;
use crate::nodes::Nodes;
use crate::notice::{Listener, Notice, Sight};
use crate::turns::Turns;
use crate::value::Value;
use crate::view::{Known, View, Watch};
use crate::vote::Vote;

/// A queue that nobody stands in is remembered for so long: who comes back at once is not new.
const MEMORY: Duration = Duration::from_secs(1);

/// How long others get to take what is free, and how long a lock has to be held before more than the
/// first node is watched; on top of two round trips.
const MOMENT: Duration = Duration::from_millis(2);

/// The longest round trip that is reckoned with.
const LONGEST_TRIP: Duration = Duration::from_millis(100);

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
    /// The queue of these keys, a new one if there is none.
    pub(crate) fn queue(&self, keys: &Keys) -> Rc<Queue> {
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
    pub(crate) line: Line,
    /// One entry a node, once somebody has to wait.
    pub(crate) views: RefCell<Vec<View>>,
    pub(crate) next_number: Cell<u64>,
    /// The node whose changes are counted as turns.
    pub(crate) gate: Cell<usize>,
    pub(crate) turns: RefCell<Turns>,
    /// The lock that this process has, as far as is known.
    pub(crate) held: RefCell<Option<(Value, Instant)>>,
    /// Attempts under way.
    pub(crate) attempts: Cell<usize>,
    /// When the nodes last answered an attempt.
    pub(crate) answered: Cell<Option<Instant>>,
    /// When and with what means attempts have failed since then.
    pub(crate) failed: Cell<Option<(Instant, Means)>>,
    /// Somebody elsewhere wants the lock too.
    pub(crate) has_met_others: Cell<bool>,
    /// What the last attempt heard, if all nodes were asked and the lock is taken; and its means.
    pub(crate) heard: RefCell<Option<(Vec<Option<Vote>>, Means)>>,
    /// Since when there has been a chance that was left to others.
    pub(crate) chance_since: Cell<Option<Instant>>,
    /// How many chances in a row brought some votes, but too few.
    pub(crate) splits: Cell<u32>,
    /// Until when no chance is taken, for those with whom the votes were split.
    pub(crate) paused_until: Cell<Option<Instant>>,
    /// When something was last heard of the lock.
    pub(crate) last_news: Cell<Option<Instant>>,
    pub(crate) last_used: Cell<Option<Instant>>,
    /// The round trip of a look.
    pub(crate) trip: Cell<Duration>,
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

    pub(crate) fn is_held_here(&self, now: Instant) -> bool {
        self.held_until(now).is_some()
    }

    /// Forgets what was seen of all nodes, and what is still to be told of them.
    pub(crate) fn see_all_as(&self, known: Known) {
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
    pub(crate) fn prefer_better(&self) {
        if let Some((_, means)) = self.failed.get() {
            self.line.prefer_more_than(means);
        }
    }

    pub(crate) fn answered(&self) {
        self.answered.set(Some(Instant::now()));
        self.failed.set(None);
    }

    /// What nobody waits for a node need not tell: whoever comes next has the nodes watched anew.
    pub(crate) fn forget_watches_of_nobody(&self) {
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
    pub(crate) fn moment(&self) -> Duration {
        MOMENT + 2 * self.trip.get()
    }

    fn news(&self, now: Instant) {
        self.last_news.set(Some(now));
        self.line.wake_head();
    }

    /// Decides what the head does next, and has the nodes watched that have to be.
    pub(crate) fn decide(self: &Rc<Self>, nodes: &Nodes, keys: &Keys) -> Decision {
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
            nodes.members()[node].watch(keys, Kind::default(), notice);
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
pub(crate) fn forget_unwatched(views: &mut [View], changed: usize) {
    for (node, view) in views.iter_mut().enumerate() {
        if node != changed && view.watch == Watch::Off {
            view.known = Known::Nothing;
        }
    }
}
