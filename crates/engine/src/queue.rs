//! The line of those in this process who want the same keys, and what is known of their lock, or of their
//! permits. Only its head asks the nodes, and it asks when there is reason to.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::chance::{Decision, Situation, earliest};
use crate::kind::Kind;
use crate::line::{Line, Means};
use crate::node::{Keys, Request};
use crate::nodes::Nodes;
use crate::notice::{Listener, Name, Notice, Sight};
use crate::options::LONGEST_PAUSE;
use crate::permit::{self, Permit};
use crate::signs::Signs;
use crate::time::Instant;
use crate::turns::Turns;
use crate::value::Value;
use crate::view::{Known, View, Watch};
use crate::vote::Vote;

/// A queue that nobody stands in is remembered for so long: who comes back at once is not new.
const MEMORY: Duration = Duration::from_secs(1);

/// How long others get to take what is free, and how long a lock has to be held before more than the
/// first node is watched; on top of two round trips.
const MOMENT: Duration = Duration::from_millis(2);

/// How long a lock is left free for others who ask again and again because no node tells them: longer than their
/// shortest pauses, and a round trip.
const ROOM: Duration = Duration::from_millis(15);

/// The pauses of those, at first; and which part of the time that it takes they are later.
const SHORT_PAUSE: Duration = Duration::from_millis(10);
const PAUSE_SHARE: u32 = 256;

/// The longest round trip that is reckoned with.
const LONGEST_TRIP: Duration = Duration::from_millis(100);

/// So many queues are kept before the first look for those that are over.
const MANY: usize = 1024;

/// What those in a line wait for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    pub(crate) keys: Keys,
    pub(crate) permits: u16,
    kind: Kind,
}

impl Wanted {
    /// May several of those who wait for it have it at once?
    pub(crate) fn has_several(&self) -> bool {
        self.permits > 1 || self.is_shared()
    }

    /// May all who wait for it have it at once?
    pub(crate) fn is_shared(&self) -> bool {
        self.kind.is_shared()
    }

    pub(crate) fn new(keys: Keys, permits: u16, kind: Kind) -> Self {
        Self { keys, permits, kind: kind.awaited() }
    }

    /// What was waited for before this was held.
    pub(crate) fn before(request: &Request) -> Self {
        let permit = request.value.permit(request.permits);
        let keys = permit::keys_of_all(&request.keys, permit);
        Self::new(keys, request.permits, request.kind)
    }
}

/// The queues of a process for one set of nodes, whoever has opened it. Looked up only, so that no order matters.
#[derive(Default)]
pub struct Queues {
    by_wanted: RefCell<HashMap<Wanted, Rc<Queue>>>,
    /// How many there may be before the next look for those that are over.
    limit: Cell<usize>,
}

impl Queues {
    /// The queue for that, a new one if there is none.
    pub(crate) fn queue(&self, wanted: Wanted) -> Rc<Queue> {
        let mut by_wanted = self.by_wanted.borrow_mut();
        if by_wanted.len() > self.limit.get().max(MANY) {
            // What was locked and left to its expiry.
            let now = Instant::now();
            by_wanted.retain(|_, queue| queue.is_of_use(now));
            self.limit.set(by_wanted.len() * 2);
        }
        let entry = by_wanted.entry(wanted);
        let wanted = entry.key().clone();
        entry.or_insert_with(|| Rc::new(Queue::new(wanted))).clone()
    }

    /// The queue for that, if there is one.
    pub(crate) fn find(&self, wanted: &Wanted) -> Option<Rc<Queue>> {
        if self.by_wanted.borrow().is_empty() {
            return None;
        }
        self.by_wanted.borrow().get(wanted).cloned()
    }

    /// The lock of this request lives for so long from now.
    pub(crate) fn prolong(&self, request: &Request, left: Duration) {
        if self.by_wanted.borrow().is_empty() {
            return;
        }
        let Some(queue) = self.find(&Wanted::before(request)) else { return };
        if let Some((held, until)) = &mut queue.permit_of(&request.value).held
            && *held == request.value
        {
            *until = (*until).max(Instant::now() + left);
        }
    }

    /// The lock of this request is nobody's any more, and lives for so long from now at most.
    pub(crate) fn shorten(&self, request: &Request, left: Duration) {
        let Some(queue) = self.find(&Wanted::before(request)) else { return };
        if let Some((held, until)) = &mut queue.permit_of(&request.value).held
            && *held == request.value
        {
            *until = (*until).min(Instant::now() + left);
        }
        queue.line.wake_head();
    }

    /// Forgets the queue if there is no use for it any more.
    pub(crate) fn tidy(&self, queue: &Rc<Queue>) {
        if queue.is_of_use(Instant::now()) {
            return;
        }
        let mut by_wanted = self.by_wanted.borrow_mut();
        if by_wanted.get(&queue.wanted).is_some_and(|known| Rc::ptr_eq(known, queue)) {
            by_wanted.remove(&queue.wanted);
        }
    }
}

/// One queue, and what is known of its permits.
pub(crate) struct Queue {
    pub(crate) wanted: Wanted,
    pub(crate) line: Line,
    /// One at least.
    permits: RefCell<Vec<Permit>>,
    pub(crate) next_number: Cell<u64>,
    pub(crate) turns: RefCell<Turns>,
    /// When the nodes last answered an attempt; of several permits, one that looked for whichever is free.
    pub(crate) answered: Cell<Option<Instant>>,
    /// When and with what means attempts have failed since then.
    pub(crate) failed: Cell<Option<(Instant, Means)>>,
    /// Somebody elsewhere wants the lock too.
    pub(crate) has_met_others: Cell<bool>,
    /// What the last attempt heard, if all nodes were asked and everything is taken; and its means.
    pub(crate) heard: RefCell<Option<(Vec<Option<Vote>>, Means)>>,
    pub(crate) signs: Signs,
    pub(crate) last_used: Cell<Option<Instant>>,
    /// The round trip of a look.
    pub(crate) trip: Cell<Duration>,
}

impl Queue {
    fn new(wanted: Wanted) -> Self {
        Self {
            permits: RefCell::new((0..wanted.permits).map(|_| Permit::default()).collect()),
            wanted,
            line: Line::default(),
            next_number: Cell::default(),
            turns: RefCell::default(),
            answered: Cell::default(),
            failed: Cell::default(),
            has_met_others: Cell::default(),
            heard: RefCell::default(),
            signs: Signs::default(),
            last_used: Cell::default(),
            trip: Cell::default(),
        }
    }

    fn is_of_use(&self, now: Instant) -> bool {
        let is_recent = || self.last_used.get().is_some_and(|used| now < used + MEMORY);
        let is_held = || self.permits.borrow().iter().any(|permit| permit.is_held_here(now));
        // A lock that nobody else has asked for leaves nothing here while it is held: most are like that. But who
        // takes another permit should know which it has.
        let met_others = self.has_met_others.get();
        !self.line.is_empty()
            || !self.signs.is_empty()
            || (met_others || self.wanted.permits > 1) && is_held()
            || met_others && is_recent()
    }

    pub(crate) fn permits(&self) -> RefMut<'_, Vec<Permit>> {
        self.permits.borrow_mut()
    }

    pub(crate) fn permit(&self, permit: usize) -> RefMut<'_, Permit> {
        RefMut::map(self.permits.borrow_mut(), |permits| &mut permits[permit])
    }

    fn permit_of(&self, value: &Value) -> RefMut<'_, Permit> {
        self.permit(value.permit(self.wanted.permits))
    }

    /// The permit to ask for without a look at the nodes: one that this process neither has nor asks for, and that
    /// may be free as far as is known. Which one of them is left to luck, so that processes do not meet there.
    pub(crate) fn pick(&self, nodes: &Nodes) -> Option<usize> {
        let now = Instant::now();
        let permits = self.permits.borrow();
        let order = nodes.order_from_any(permits.len());
        let is_others = |permit: &usize| {
            let permit = &permits[*permit];
            permit.attempts == 0 && !permit.is_held_here(now)
        };
        let others = || order.clone().filter(is_others);
        others()
            .find(|&permit| permits[permit].is_known(Known::Free))
            .or_else(|| others().find(|&permit| permits[permit].is_unknown()))
            .or_else(|| others().find(|&permit| !permits[permit].is_known(Known::Taken)))
            .or_else(|| others().next())
    }

    /// Does the line go on while its head asks? What is for all he takes from nobody; and of several permits, while
    /// all that are not to be had are this process's own, each of those who ask gets one. Where there are others, who
    /// comes second could get one, and the first none.
    pub(crate) fn goes_on(&self) -> bool {
        let now = Instant::now();
        let has_one = || self.permits.borrow().iter().any(|permit| permit.is_held_here(now));
        self.wanted.is_shared()
            || self.wanted.permits > 1 && !self.has_met_others.get() && has_one()
    }

    /// Is there a permit of which nothing is known but that nobody else has wanted one so far?
    pub(crate) fn has_untried(&self) -> bool {
        let is_untried = |permit: &Permit| permit.attempts == 0 && permit.is_unknown();
        self.wanted.permits > 1 && self.goes_on() && self.permits.borrow().iter().any(is_untried)
    }

    /// Is nobody elsewhere to go first? Readers stand in nobody's way, and a writer's sign is in theirs.
    pub(crate) fn is_our_turn(&self) -> bool {
        self.wanted.is_shared() || self.turns.borrow().is_our_turn()
    }

    /// The lock of this value is being released, with the commands already on their way. If nobody
    /// else is to go first the head follows them at once: nodes keep the order of commands.
    pub(crate) fn releasing(&self, value: &Value) {
        if self.is_our_turn() {
            self.released(value);
        }
    }

    /// The lock of this value has been released. That of a reader was in no other reader's way.
    pub(crate) fn released(&self, value: &Value) {
        if self.wanted.is_shared() {
            return;
        }
        let mut permit = self.permit_of(value);
        // Nothing is known of one that was acquired when nobody else was here.
        let may_be_held = permit.held.as_ref().is_none_or(|(held, _)| held == value);
        if may_be_held {
            if permit.held.take().is_none() && permit.taken_since.take().is_some() {
                self.turns.borrow_mut().found_ourselves();
            }
            permit.see_all_as(Known::Free);
            if permit.is_untold() && permit.attempts == 0 {
                // Others have a chance from now on, whoever waits here.
                permit.chance_since = Some(Instant::now());
            }
            drop(permit);
            self.heard.take();
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

    /// The nodes have answered an attempt to get one permit, which says nothing of any other.
    pub(crate) fn answered(&self) {
        self.failed.set(None);
        if self.wanted.permits == 1 {
            self.looked();
        }
    }

    /// They have told of all there is to have.
    pub(crate) fn looked(&self) {
        self.answered.set(Some(Instant::now()));
    }

    /// What nobody waits for a node need not tell: whoever comes next has the nodes watched anew.
    pub(crate) fn forget_watches_of_nobody(&self) {
        if self.line.is_empty() {
            self.permits.borrow_mut().iter_mut().for_each(Permit::forget_watches);
        }
    }

    fn is_current(&self, Name { permit, node, number }: Name) -> bool {
        self.permits.borrow().get(permit).is_some_and(|permit| permit.awaits(node, number))
    }

    /// How long it takes others to take what is free.
    pub(crate) fn moment(&self) -> Duration {
        MOMENT + 2 * self.trip.get()
    }

    /// How long a chance is left to others.
    fn room(&self, permit: &Permit, now: Instant) -> Duration {
        let is_asked_for = permit.is_untold() && self.turns.borrow().has_found_others(now);
        if is_asked_for { ROOM + self.moment() } else { self.moment() }
    }

    /// Decides what the head does next, and has the nodes watched that have to be. If none of them tells of changes the
    /// head asks again and again, if it `may_repeat`.
    pub(crate) fn decide(self: &Rc<Self>, nodes: &Nodes, may_repeat: bool) -> Next {
        let now = Instant::now();
        let order = nodes.order_of(&self.wanted.keys);
        let mut permits = self.permits.borrow_mut();
        let (mut until, mut watch) = (None, Vec::new());
        for index in nodes.order_from_any(permits.len()) {
            let permit = &mut permits[index];
            // One attempt at a time, but for those that the schedule makes.
            if permit.attempts > 0 {
                continue;
            }
            permit.views.resize(order.len(), View::default());
            permit.views.iter_mut().for_each(|view| view.expire(now));
            let is_untold = permit.is_untold();
            if may_repeat && is_untold && permit.ask_again.is_none() {
                permit.ask_again = permit.taken_since.map(|since| {
                    let longest = LONGEST_PAUSE.min(SHORT_PAUSE.max((now - since) / PAUSE_SHARE));
                    now + nodes.random_duration(longest / 2, longest)
                });
            }
            let situation = Situation {
                now,
                quorum: nodes.quorum(),
                views: &permit.views,
                order: &order,
                moment: self.moment(),
                room: self.room(permit, now),
                ask_again: permit.ask_again.filter(|_| may_repeat && is_untold),
                chance_since: permit.chance_since,
                is_our_turn: self.is_our_turn(),
                paused_until: permit.pause_left(now),
                last_news: permit.last_news,
                held_until: permit.held_until(now),
            };
            let (decision, gate) = (situation.decide(), situation.gate());
            if situation.stood_back_for_nobody() {
                self.turns.borrow_mut().nobody_came();
            }
            permit.gate = gate.unwrap_or_default();
            match decision {
                Decision::Ask { first } => {
                    // What this process has just released itself is nobody's yet on any node.
                    let is_own = is_untold
                        && !situation.stood_back_for_nobody()
                        && permit.views.iter().all(|view| view.known == Known::Free);
                    permit.chance_since = None;
                    return Next::Ask(Chance { permit: index, first: (!is_own).then_some(first) });
                }
                Decision::Wait(wait) => {
                    permit.chance_since = wait.chance_since;
                    until = earliest(until, wait.until);
                    watch.extend(wait.watch.into_iter().map(|node| (index, node)));
                }
            }
        }
        let notices: Vec<_> =
            watch.iter().map(|&(permit, node)| self.notice(&mut permits, permit, node)).collect();
        // A node may answer at once.
        drop(permits);
        for (&(permit, node), notice) in watch.iter().zip(notices) {
            let keys = permit::keys_of(&self.wanted.keys, permit);
            nodes.members()[node].watch(&keys, self.wanted.kind, notice);
        }
        Next::Wait(until)
    }

    fn notice(self: &Rc<Self>, permits: &mut [Permit], permit: usize, node: usize) -> Notice {
        let number = self.next_number.get() + 1;
        self.next_number.set(number);
        let view = &mut permits[permit].views[node];
        (view.watch, view.number, view.asked) = (Watch::Asked, number, Some(Instant::now()));
        let listener = Rc::downgrade(self);
        Notice::new(listener as Weak<dyn Listener>, Name { permit, node, number })
    }
}

/// What the head of a queue does next.
pub(crate) enum Next {
    Ask(Chance),
    /// Look again at that time, or when a node tells something.
    Wait(Option<Instant>),
}

/// What may be had.
#[derive(Clone, Copy)]
pub(crate) struct Chance {
    pub(crate) permit: usize,
    /// The node to ask first; none if all may be asked at once.
    pub(crate) first: Option<usize>,
}

impl Listener for Queue {
    fn awaits(&self, notice: Name) -> bool {
        !self.line.is_empty() && self.is_current(notice)
    }

    fn seen(&self, notice: Name, sight: Sight) {
        if !self.is_current(notice) {
            return;
        }
        let (now, node) = (Instant::now(), notice.node);
        let mut permit = self.permit(notice.permit);
        if let Some(asked) = permit.views[node].asked {
            // Smoothed: one that was slow says little.
            self.trip.set((7 * self.trip.get() + LONGEST_TRIP.min(now - asked)) / 8);
        }
        permit.views[node].see(sight);
        let is_taken = sight != Sight::Free && node == permit.gate;
        if is_taken {
            permit.forget_unwatched(node);
        }
        if is_taken && !permit.is_held_here(now) {
            self.turns.borrow_mut().another();
            self.has_met_others.set(true);
            permit.is_taken_anew = true;
        }
        permit.last_news = Some(now);
        drop(permit);
        self.line.wake_head();
    }

    fn changed(&self, notice: Name) {
        if !self.is_current(notice) {
            return;
        }
        let mut permit = self.permit(notice.permit);
        permit.views[notice.node].change();
        if notice.node == permit.gate {
            permit.forget_unwatched(notice.node);
        }
        permit.last_news = Some(Instant::now());
        drop(permit);
        self.heard.take();
        self.line.wake_head();
    }

    fn cannot_watch(&self, notice: Name) {
        if self.is_current(notice) {
            self.permit(notice.permit).views[notice.node].watch = Watch::Refused;
            self.line.wake_head();
        }
    }
}
