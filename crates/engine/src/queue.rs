//! The line of those in this process who want the same keys. Only its head asks the nodes, and it asks
//! when there is reason to.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::mutant::Mutant;
use crate::node::Keys;
use crate::nodes::Nodes;
use crate::turns::Turns;
use crate::value::Value;
use crate::vote::{Answer, Vote};
use crate::watch::{Known, Notice, Sight, View, Watch};

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
    pub(crate) fn join(self: &Rc<Self>, keys: &Keys) -> Place {
        let queue = self.queue(keys);
        let ticket = queue.join();
        Place { queues: self.clone(), keys: keys.clone(), queue, ticket, wake: None }
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
    /// In the order of their tickets, which are counted from `first_ticket`. Who has left is `None`.
    line: RefCell<VecDeque<Option<Option<Rc<Notify>>>>>,
    first_ticket: Cell<u64>,
    /// One entry a node, once somebody has to wait.
    views: RefCell<Vec<View>>,
    next_number: Cell<u64>,
    /// The node whose changes are counted as turns.
    gate: Cell<usize>,
    turns: RefCell<Turns>,
    /// The lock that this process has, as far as is known.
    held: RefCell<Option<(Value, Instant)>>,
    /// Somebody elsewhere wants the lock too.
    has_met_others: Cell<bool>,
    /// What the last attempt heard that asked all nodes.
    heard: RefCell<Option<Vec<Option<Vote>>>>,
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

/// What the head is to do.
enum Next {
    Ask { first: usize },
    Wait(Option<Instant>),
}

impl Queue {
    fn join(&self) -> u64 {
        let mut line = self.line.borrow_mut();
        line.push_back(Some(None));
        self.first_ticket.get() + line.len() as u64 - 1
    }

    fn leave(&self, ticket: u64) {
        let mut line = self.line.borrow_mut();
        let mut first = self.first_ticket.get();
        let was_first = ticket == first;
        if let Some(entry) = line.get_mut((ticket - first) as usize) {
            *entry = None;
        }
        while let Some(None) = line.front() {
            line.pop_front();
            first += 1;
        }
        self.first_ticket.set(first);
        drop(line);
        self.last_used.set(Some(Instant::now()));
        if was_first && !Mutant::LeaveWakesNobody.is_on() {
            self.wake_head();
        }
    }

    fn wake_head(&self) {
        if let Some(Some(Some(wake))) = self.line.borrow().front() {
            wake.notify_one();
        }
    }

    fn is_of_use(&self, now: Instant) -> bool {
        let is_recent = || self.last_used.get().is_some_and(|used| now < used + MEMORY);
        // A lock that nobody else has asked for leaves nothing here while it is held: most are like that.
        let is_wanted = || self.is_held_here(now) || is_recent();
        !self.line.borrow().is_empty() || self.has_met_others.get() && is_wanted()
    }

    fn is_held_here(&self, now: Instant) -> bool {
        self.held.borrow().as_ref().is_some_and(|(_, until)| now < *until)
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
            self.see_all_as(Known::Free);
            self.last_used.set(Some(Instant::now()));
            self.wake_head();
        }
    }

    pub(crate) fn awaits(&self, node: usize, number: u64) -> bool {
        !self.line.borrow().is_empty() && self.current(node, number)
    }

    fn current(&self, node: usize, number: u64) -> bool {
        self.views.borrow().get(node).is_some_and(|view| {
            view.number == number && matches!(view.watch, Watch::Asked | Watch::On)
        })
    }

    pub(crate) fn seen(&self, node: usize, number: u64, sight: Sight) {
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

    pub(crate) fn changed(&self, node: usize, number: u64) {
        if !self.current(node, number) {
            return;
        }
        let mut views = self.views.borrow_mut();
        views[node].change();
        if node == self.gate.get() {
            forget_unwatched(&mut views, node);
        }
        drop(views);
        self.news(Instant::now());
    }

    pub(crate) fn cannot_watch(&self, node: usize, number: u64) {
        if self.current(node, number) {
            self.views.borrow_mut()[node].watch = Watch::Refused;
            self.wake_head();
        }
    }

    /// How long it takes others to take what is free.
    fn moment(&self) -> Duration {
        MOMENT + 2 * self.trip.get()
    }

    fn news(&self, now: Instant) {
        self.last_news.set(Some(now));
        self.wake_head();
    }

    /// Decides what the head does next, and has the nodes watched that have to be.
    fn look(self: &Rc<Self>, nodes: &Nodes, keys: &Keys) -> Next {
        let now = Instant::now();
        let order = nodes.order_of(keys);
        let quorum = nodes.quorum();
        let mut views = self.views.borrow_mut();
        views.resize(order.len(), View::default());
        views.iter_mut().for_each(|view| view.expire(now));
        let count = |known| views.iter().filter(|view| view.known == known).count();

        let gate = order.iter().copied().find(|&node| views[node].watch != Watch::Refused);
        let gate_is_free = gate.is_some_and(|gate| views[gate].known == Known::Free);
        let is_possible = !quorum.is_out_of_reach(count(Known::Taken) + count(Known::Down));
        let is_free = quorum.is_reached(count(Known::Free));
        let moment = self.moment();
        let paused_until = self.paused_until.get().filter(|until| now < *until);
        let mut wake = views.iter().filter_map(|view| view.ends).min();
        let mut watching = Vec::new();
        if is_free || gate_is_free && is_possible {
            let since = self.chance_since.get().unwrap_or(now);
            let has_waited = now >= since + moment;
            if has_waited && !self.turns.borrow().is_our_turn() {
                self.turns.borrow_mut().nobody_came();
            }
            let is_our_turn = self.turns.borrow().is_our_turn();
            if is_our_turn && paused_until.is_none() {
                self.chance_since.set(None);
                let free = order.iter().copied().find(|&node| views[node].known == Known::Free);
                return Next::Ask { first: free.unwrap_or_default() };
            }
            // Leave it to the others, and see whether somebody takes it.
            self.chance_since.set(Some(since));
            wake = if is_our_turn { paused_until } else { Some(since + moment) };
            watching.extend(gate);
        } else {
            self.chance_since.set(None);
            // Most locks are held for a short time, and released on all nodes at once: one node tells
            // enough. For a longer one a quorum is watched.
            let quiet_since = self.last_news.get().unwrap_or(now);
            let is_long = now >= quiet_since + moment;
            if !is_long {
                wake =
                    Some(wake.map_or(quiet_since + moment, |wake| wake.min(quiet_since + moment)));
            }
            if is_long || !self.is_held_here(now) {
                watching.extend(gate);
            }
            if is_long || gate.is_some_and(|gate| views[gate].known != Known::Taken) {
                let is_watched =
                    |view: &View| view.watch == Watch::On && view.known == Known::Taken;
                let mut watched = views.iter().filter(|view| is_watched(view)).count();
                for &node in &order {
                    if quorum.is_reached(watched) {
                        break;
                    }
                    let view = &views[node];
                    let can_watch = view.watch == Watch::Off || view.watch == Watch::Asked;
                    if can_watch && (is_long || view.known == Known::Taken) {
                        watching.push(node);
                        watched += 1;
                    }
                }
            }
        }
        watching.retain(|&node| views[node].watch == Watch::Off);
        watching.dedup();
        let mut notices = Vec::with_capacity(watching.len());
        for node in watching {
            let number = self.next_number.get() + 1;
            self.next_number.set(number);
            let view = &mut views[node];
            (view.watch, view.number, view.asked) = (Watch::Asked, number, Some(now));
            notices.push((node, Notice::new(Rc::downgrade(self), node, number)));
        }
        self.gate.set(gate.unwrap_or_default());
        if let Some((_, until)) = self.held.borrow().as_ref()
            && now < *until
        {
            wake = Some(wake.map_or(*until, |wake| wake.min(*until)));
        }
        // A node may answer at once.
        drop(views);
        for (node, notice) in notices {
            nodes.members()[node].watch(keys, notice);
        }
        Next::Wait(wake)
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
    wake: Option<Rc<Notify>>,
}

impl Place {
    /// Is nobody before it?
    pub(crate) fn is_first(&self) -> bool {
        self.ticket == self.queue.first_ticket.get()
    }

    /// Is there reason to ask at once, without a look at the nodes?
    pub(crate) fn may_ask(&self) -> bool {
        let queue = &self.queue;
        let is_our_turn = || !queue.has_met_others.get() || queue.turns.borrow().is_our_turn();
        self.is_first() && !queue.is_held_here(Instant::now()) && is_our_turn()
    }

    /// Are there others elsewhere who want the lock, so that votes could be split?
    pub(crate) fn is_contended(&self) -> bool {
        self.queue.has_met_others.get()
    }

    /// Is a quorum known to be taken, and watched?
    pub(crate) fn is_watched(&self, nodes: &Nodes) -> bool {
        let views = self.queue.views.borrow();
        let taken = |view: &&View| view.watch == Watch::On && view.known == Known::Taken;
        nodes.quorum().is_reached(views.iter().filter(taken).count())
    }

    /// Resolves when it is first in line and it is worth asking; with the node to ask first.
    pub(crate) async fn chance(&mut self, nodes: &Nodes) -> usize {
        let wake = self.wake.get_or_insert_default().clone();
        let index = (self.ticket - self.queue.first_ticket.get()) as usize;
        if let Some(Some(entry)) = self.queue.line.borrow_mut().get_mut(index) {
            entry.get_or_insert_with(|| wake.clone());
        }
        loop {
            let mut until = None;
            if self.is_first() {
                match self.queue.look(nodes, &self.keys) {
                    Next::Ask { first } => return first,
                    Next::Wait(time) => until = time,
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

    /// Nodes that could not be watched may be able to by now.
    pub(crate) fn try_watching_again(&self) {
        for view in self.queue.views.borrow_mut().iter_mut() {
            if view.watch == Watch::Refused {
                view.watch = Watch::Off;
            }
        }
    }

    /// An attempt has failed, with these votes.
    pub(crate) fn lost(&self, votes: &[Option<Vote>]) {
        let queue = &self.queue;
        let now = Instant::now();
        let mut views = queue.views.borrow_mut();
        views.resize(votes.len(), View::default());
        forget_unwatched(&mut views, usize::MAX);
        for (view, vote) in views.iter_mut().zip(votes) {
            if let Some(vote) = vote {
                view.hear(vote);
            }
        }
        drop(views);
        if votes.contains(&Some(Ok(Answer::Taken))) && !queue.is_held_here(now) {
            queue.has_met_others.set(true);
        }
        if votes.iter().all(Option::is_some) {
            *queue.heard.borrow_mut() = Some(votes.to_vec());
        }
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
        queue.splits.set(0);
        queue.paused_until.set(None);
        queue.see_all_as(Known::Nothing);
    }

    /// What the head has heard of the nodes last; `None` if nothing since the lock was here.
    pub(crate) fn heard(&self) -> Option<Vec<Option<Vote>>> {
        self.queue.heard.borrow().clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.leave(self.ticket);
        self.queues.tidy(&self.keys, &self.queue);
    }
}
