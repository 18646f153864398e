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

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;
    use crate::testing::{nodes, request};
    use crate::vote::Answer;

    const TAKEN: Sight = Sight::Taken { life: None };
    const MS: Duration = Duration::from_millis(1);

    fn wanted(name: &str, permits: u16, kind: Kind) -> Wanted {
        Wanted::new(Rc::from([name.into()]), permits, kind)
    }

    fn queue(permits: u16, kind: Kind) -> Rc<Queue> {
        let queue = Queue::new(wanted("name", permits, kind));
        queue.permits().iter_mut().for_each(|permit| permit.views = vec![View::default(); 3]);
        Rc::new(queue)
    }

    /// What is known of the first permit, node by node, and whether it is watched.
    fn set(queue: &Queue, known: [Known; 3], watch: [Watch; 3]) {
        for (view, (known, watch)) in
            queue.permit(0).views.iter_mut().zip(known.into_iter().zip(watch))
        {
            *view = View { known, watch, ..View::default() };
        }
    }

    #[test]
    fn several_can_have_a_semaphore_and_what_is_read() {
        let has_several = |permits, kind| wanted("name", permits, kind).has_several();
        assert!(has_several(2, Kind::Mutex) && has_several(1, Kind::Read));
        assert!(!has_several(1, Kind::Mutex));
    }

    #[test]
    fn queues_that_are_over_are_looked_for_when_there_are_many_and_twice_as_many() {
        let queues = Queues::default();
        let add = |number: usize| queues.queue(wanted(&number.to_string(), 1, Kind::Mutex));
        let len = || queues.by_wanted.borrow().len();
        (0..=MANY).for_each(|number| drop(add(number)));
        assert_eq!(len(), MANY + 1);
        add(MANY + 1);
        assert_eq!(len(), 1, "nobody stands in the others");
        for number in 0..=MANY {
            add(number).line.join(Means::default());
        }
        (2..5).for_each(|more| drop(add(more * MANY)));
        assert_eq!(len(), MANY + 1 + 3, "not looked for again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_is_tidied_away_when_it_is_of_no_use() {
        let queues = Queues::default();
        let name = || wanted("name", 1, Kind::Mutex);
        let old = queues.queue(name());
        old.has_met_others.set(true);
        old.last_used.set(Some(Instant::now()));
        advance(MEMORY - MS).await;
        queues.tidy(&old);
        assert!(queues.find(&name()).is_some(), "who comes back at once is not new");
        advance(MS).await;
        queues.tidy(&old);
        assert!(queues.find(&name()).is_none());
        let new = queues.queue(name());
        queues.tidy(&old);
        assert!(queues.find(&name()).is_some_and(|found| Rc::ptr_eq(&found, &new)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_life_of_a_lock_is_that_of_its_value_alone() {
        let queues = Queues::default();
        let queue = queues.queue(wanted("name", 1, Kind::Mutex));
        let ticket = queue.line.join(Means::default());
        let (now, wake) = (Instant::now(), queue.line.wake_of(ticket));
        queue.permit(0).held = Some(("ours".into(), now + 10 * MS));
        let until = || queue.permit(0).held_until(now).map(|until| until - now);
        queues.prolong(&request(Kind::Mutex, "another", 0), 20 * MS);
        queues.shorten(&request(Kind::Mutex, "another", 0), 5 * MS);
        assert_eq!(until(), Some(10 * MS));
        queues.prolong(&request(Kind::Mutex, "ours", 0), 20 * MS);
        assert_eq!(until(), Some(20 * MS));
        let _ = timeout(Duration::ZERO, wake.notified()).await;
        queues.shorten(&request(Kind::Mutex, "ours", 0), 5 * MS);
        assert!(timeout(MS, wake.notified()).await.is_ok(), "it may be had sooner");
        assert_eq!(until(), Some(5 * MS));
    }

    #[test]
    fn a_permit_that_is_not_known_to_be_taken_is_picked_before_one_that_is() {
        let (nodes, queue) = (nodes(3, |_| {}), queue(2, Kind::Mutex));
        set(&queue, [Known::Taken; 3], [Watch::Off; 3]);
        queue.permit(1).was_asked_for = true;
        assert!((0..50).all(|_| queue.pick(&nodes) == Some(1)));
    }

    #[test]
    fn a_line_goes_on_where_nobody_can_lose_by_that() {
        for (permits, kind, met_others, has_one, goes_on, has_untried) in [
            (1, Kind::Mutex, false, true, false, false),
            (2, Kind::Mutex, false, true, true, true),
            (2, Kind::Mutex, true, true, false, false),
            (2, Kind::Mutex, false, false, false, false),
            (1, Kind::Read, true, false, true, false),
        ] {
            let queue = queue(permits, kind);
            queue.has_met_others.set(met_others);
            let held = ("ours".into(), Instant::now() + Duration::from_secs(60));
            queue.permit(0).held = has_one.then_some(held);
            assert_eq!((queue.goes_on(), queue.has_untried()), (goes_on, has_untried));
        }
    }

    #[test]
    fn a_release_is_news_but_for_readers() {
        let heard = || Some((vec![Some(Ok(Answer::Taken))], Means::default()));
        for kind in [Kind::Mutex, Kind::Read] {
            let queue = queue(1, kind);
            *queue.heard.borrow_mut() = heard();
            queue.released(&"ours".into());
            let is_news = kind == Kind::Mutex;
            assert_eq!(queue.heard.borrow().is_none(), is_news);
            assert_eq!(queue.last_used.get().is_some(), is_news);
        }
    }

    #[test]
    fn others_have_a_chance_from_a_release_on_where_no_node_tells() {
        for (watch, attempts, have) in
            [(Watch::Refused, 0, true), (Watch::Refused, 1, false), (Watch::Off, 0, false)]
        {
            let queue = queue(1, Kind::Mutex);
            set(&queue, [Known::Taken; 3], [watch; 3]);
            queue.permit(0).attempts = attempts;
            queue.released(&"ours".into());
            assert_eq!(queue.permit(0).chance_since.is_some(), have);
        }
    }

    #[test]
    fn an_answer_makes_up_for_failures() {
        let queue = queue(1, Kind::Mutex);
        queue.failed.set(Some((Instant::now(), Means::default())));
        queue.answered();
        assert!(queue.failed.get().is_none() && queue.answered.get().is_some());
    }

    #[test]
    fn a_chance_is_left_for_longer_to_those_who_are_not_told() {
        let (queue, now) = (queue(1, Kind::Mutex), Instant::now());
        queue.turns.borrow_mut().found_taken(now);
        let room = || queue.room(&queue.permit(0), now);
        assert_eq!(room(), MOMENT);
        set(&queue, [Known::Taken; 3], [Watch::Refused; 3]);
        assert_eq!(room(), ROOM + MOMENT);
    }

    #[test]
    fn what_is_free_is_asked_for_once_at_a_time() {
        let (nodes, queue) = (nodes(3, |_| {}), queue(1, Kind::Mutex));
        set(&queue, [Known::Free; 3], [Watch::Off; 3]);
        queue.permit(0).chance_since = Some(Instant::now());
        queue.permit(0).attempts = 1;
        assert!(matches!(queue.decide(&nodes, false), Next::Wait(None)));
        queue.permit(0).attempts = 0;
        assert!(matches!(queue.decide(&nodes, false), Next::Ask(_)));
        assert_eq!(queue.permit(0).chance_since, None);
    }

    #[test]
    fn it_is_asked_again_only_where_no_node_tells_by_those_who_may() {
        let nodes = nodes(3, |_| {});
        for (may_repeat, watch) in
            [(true, Watch::Refused), (true, Watch::On), (false, Watch::Refused)]
        {
            let is_meant = may_repeat && watch == Watch::Refused;
            let queue = queue(1, Kind::Mutex);
            set(&queue, [Known::Taken; 3], [watch; 3]);
            queue.permit(0).taken_since = Some(Instant::now());
            assert!(matches!(queue.decide(&nodes, may_repeat), Next::Wait(_)));
            assert_eq!(queue.permit(0).ask_again.is_some(), is_meant);
            queue.permit(0).ask_again = Some(Instant::now());
            let next = queue.decide(&nodes, may_repeat);
            assert_eq!(matches!(next, Next::Ask(_)), is_meant);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_notice_counts_while_somebody_waits_for_it_and_there_is_no_later_one() {
        let (nodes, queue) = (nodes(3, |_| {}), queue(1, Kind::Mutex));
        let [first, second, third] = nodes.order_of(&queue.wanted.keys)[..] else {
            panic!("three")
        };
        let ticket = queue.line.join(Means::default());
        set(&queue, [Known::Taken; 3], [Watch::Off; 3]);
        queue.permit(0).last_news = Some(Instant::now() - Duration::from_secs(1));
        queue.permit(0).gate = third;
        queue.decide(&nodes, false);
        assert_eq!(queue.permit(0).gate, first);
        // The nodes have answered at once, each a notice of its own, that nothing is there.
        let numbers = [first, second].map(|node| queue.permit(0).views[node].number);
        assert_eq!(numbers, [1, 2]);
        let name = |node, number| Name { permit: 0, node, number };
        assert!(queue.awaits(name(first, 1)) && !queue.awaits(name(first, 2)));
        queue.seen(name(first, 2), TAKEN);
        assert_eq!(queue.permit(0).views[first].known, Known::Free, "not that one");
        queue.line.leave(ticket);
        assert!(!queue.awaits(name(first, 1)));
    }

    #[test]
    fn a_change_is_news_and_a_node_that_cannot_watch_is_known_but_by_its_last_notice_alone() {
        let queue = queue(1, Kind::Mutex);
        let heard = || queue.heard.borrow().is_some();
        set(&queue, [Known::Taken; 3], [Watch::On; 3]);
        *queue.heard.borrow_mut() = Some((Vec::new(), Means::default()));
        let name = |number| Name { permit: 0, node: 0, number };
        queue.changed(name(1));
        queue.cannot_watch(name(1));
        assert!(heard() && queue.permit(0).last_news.is_none());
        assert_eq!(queue.permit(0).views[0].watch, Watch::On);
        queue.cannot_watch(name(0));
        assert_eq!(queue.permit(0).views[0].watch, Watch::Refused);
        set(&queue, [Known::Taken; 3], [Watch::On; 3]);
        queue.changed(name(0));
        assert!(!heard() && queue.permit(0).last_news.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_round_trip_is_an_eighth_of_the_last_one_and_the_rest_of_those_before() {
        let queue = queue(1, Kind::Mutex);
        for (took, trip) in [(16, 2000), (16, 3750), (10_000, 3281 + 12_500)] {
            let view = View {
                watch: Watch::Asked,
                number: 1,
                asked: Some(Instant::now()),
                ..View::default()
            };
            queue.permit(0).views[0] = view;
            advance(took * MS).await;
            queue.seen(Name { permit: 0, node: 0, number: 1 }, TAKEN);
            assert_eq!(queue.trip.get().as_micros(), trip);
        }
    }

    #[test]
    fn what_the_first_node_tells_spoils_what_is_known_of_those_that_do_not() {
        use Known::{Nothing, Taken};
        for (node, sight, is_spoilt) in [
            (0, Some(TAKEN), true),
            (0, Some(Sight::Free), false),
            (1, Some(TAKEN), false),
            (0, None, true),
            (1, None, false),
        ] {
            let queue = queue(1, Kind::Mutex);
            set(&queue, [Taken; 3], [Watch::On, Watch::On, Watch::Off]);
            let name = Name { permit: 0, node, number: 0 };
            match sight {
                Some(sight) => queue.seen(name, sight),
                None => queue.changed(name),
            }
            let known = queue.permit(0).views[2].known;
            assert_eq!(known, if is_spoilt { Nothing } else { Taken }, "{node} {sight:?}");
            let is_others = is_spoilt && sight.is_some();
            assert_eq!(queue.has_met_others.get(), is_others, "it is somebody's");
        }
    }
}
