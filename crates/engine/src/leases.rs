//! All locks that are held: one task extends those that are due, many at a time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::ptr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use hashbrown::HashTable;
use tokio::sync::Notify;
use tokio::task::{spawn_local, yield_now};

use crate::cleanup::Cleanup;
use crate::guarded::Guarded;
use crate::lease::{Extension, Hold, Holder, Keep, Lease, Loss};
use crate::node::{Keys, Request, Verb};
use crate::nodes::Nodes;
use crate::notice::Guard;
use crate::queue::Queues;
use crate::round::{Round, Votes};
use crate::schedule::{self, Schedule, take_due};
use crate::time::timeout;
use crate::value::Value;

/// When an extension is due, those are made with it that are due within its interval divided by this:
/// the fewer questions, the less each lock costs.
const TOGETHER: u32 = 16;

/// So many locks are extended in one round,
const AT_ONCE: usize = 512;

/// and no more while so many are being extended: a node has its time to answer from when it is asked,
/// and a hundred thousand locks at once would take it longer. Calls have room of their own: no number
/// of them may keep a lock that is held from being extended.
const MAX_EXTENDING: usize = 4096;

/// The longest sleep while a lock is watched. A machine that was suspended wakes up with its timers
/// where they were: the loss must not wait for them.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// The first pause after an extension that failed; doubled up to the interval, or to half of the
/// time that is left.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The loss is told so much before the lock is over: timers are late, and so is the news.
const MARGIN: Duration = Duration::from_millis(2);

/// The locks of one set of nodes that are kept alive or watched.
pub struct Leases {
    nodes: Rc<Nodes>,
    queues: Rc<Queues>,
    cleanup: Rc<Cleanup>,
    /// By keys and value. Looked up only, so that its order does not matter.
    by_lock: RefCell<HashTable<Rc<Lease>>>,
    hasher: RandomState,
    /// When to extend which.
    extensions: Schedule,
    /// When to see which are over.
    ends: Schedule,
    /// Those of which nodes tell that their keys have changed.
    guarded: Guarded,
    /// The nodes were asked to tell.
    is_told: Cell<bool>,
    next_number: Cell<u64>,
    changed: Notify,
    is_served: Cell<bool>,
    /// How many are being extended.
    extending: Cell<usize>,
    room: Notify,
}

impl Leases {
    pub(crate) fn new(nodes: Rc<Nodes>, queues: Rc<Queues>, cleanup: Rc<Cleanup>) -> Rc<Self> {
        Rc::new(Self {
            nodes,
            queues,
            cleanup,
            by_lock: RefCell::default(),
            hasher: RandomState::new(),
            extensions: Schedule::default(),
            ends: Schedule::default(),
            guarded: Guarded::default(),
            is_told: Cell::default(),
            next_number: Cell::default(),
            changed: Notify::new(),
            is_served: Cell::default(),
            extending: Cell::default(),
            room: Notify::new(),
        })
    }

    /// Keeps a lock alive until the lease is ended or the lock is lost; without an `extension` it is
    /// only watched, and lost when its time is over.
    pub fn begin(
        self: &Rc<Self>,
        hold: Hold,
        extension: Option<Extension>,
        holder: Rc<dyn Holder>,
    ) {
        self.end(&hold.request.keys, &hold.request.value);
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        let now = self.nodes.now();
        let keep = extension.map(|extension| Keep::from(extension, now));
        let lease = Rc::new(Lease {
            request: hold.request,
            drift_factor: hold.drift_factor,
            number,
            keep: Cell::new(keep),
            holder: Cell::new(Some(holder)),
            until: Cell::new(hold.until),
            extends: Cell::default(),
            ends: Cell::default(),
            failures: Cell::default(),
            stopped: Cell::default(),
            recreate: hold.recreate,
        });
        self.plan_end(&lease);
        if let Some(keep) = keep {
            self.plan_extension(&lease, now + keep.interval);
        }
        self.insert(lease);
        if !self.is_served.replace(true) {
            spawn_local(self.clone().serve());
        }
    }

    /// Somebody waits for the loss of a lock that there is a lease of. Where nodes tell when its keys change, he
    /// need not wait for the next extension to fail. Nodes do not tell of readers, who come and go.
    pub fn guard(self: &Rc<Self>, keys: &Keys, value: &Value) {
        let lease = self.find(keys, value).filter(|lease| !lease.request.kind.is_shared());
        let Some(lease) = lease else { return };
        if !self.is_told.replace(true) {
            let guard = Rc::downgrade(self) as Weak<dyn Guard>;
            self.nodes.members().iter().for_each(|node| node.tell_of_changes(guard.clone()));
        }
        if self.guarded.add(&lease, self.nodes.now()) {
            self.changed.notify_one();
        }
    }

    /// Ends a lease: the lock is neither extended nor lost from now on.
    pub fn end(&self, keys: &Keys, value: &Value) {
        if let Some(lease) = self.find(keys, value) {
            self.remove(&lease);
        }
    }

    /// Is no lock looked after?
    pub fn is_empty(&self) -> bool {
        self.by_lock.borrow().is_empty()
    }

    /// Who holds a lock that there is a lease of.
    pub fn holder(&self, keys: &Keys, value: &Value) -> Option<Rc<dyn Holder>> {
        self.find(keys, value)?.holder()
    }

    /// Keeps a lock alive from now on that there is a lease of. Of the two expiries the longer one counts:
    /// the shorter one may be over before the next extension.
    pub fn keep_alive(self: &Rc<Self>, mut hold: Hold, extension: Extension) {
        let Some(lease) = self.find(hold.keys(), hold.value()) else { return };
        let Some(holder) = lease.holder() else { return };
        if hold.request.expiry <= lease.request.expiry {
            hold.request = lease.request.clone();
            hold.drift_factor = lease.drift_factor;
        }
        hold.until = hold.until.max(lease.until.get());
        hold.recreate = lease.recreate;
        let guarded = self.guarded.holds(&lease).then(|| hold.request.clone());
        self.begin(hold, Some(extension), holder);
        if let Some(request) = guarded {
            self.guard(&request.keys, &request.value);
        }
    }

    /// Extends a lock no more: it is lost when its time is over.
    pub fn let_expire(&self, keys: &Keys, value: &Value) {
        if let Some(lease) = self.find(keys, value) {
            lease.keep.set(None);
        }
    }

    /// A writer's lock that is about to become a reader's is extended as such from now on: what is asked as a writer
    /// behind that would not find it any more.
    pub(crate) fn share(&self, request: &Request) {
        let lease = request.kind.is_shared().then(|| self.find(&request.keys, &request.value));
        let Some(lease) = lease.flatten().filter(|it| !it.request.kind.is_shared()) else { return };
        let Some(holder) = self.remove(&lease) else { return };
        let request = Request { kind: request.kind, ..Request::clone(&lease.request) };
        let shared = Rc::new(Lease {
            request: Rc::new(request),
            drift_factor: lease.drift_factor,
            number: lease.number,
            keep: Cell::new(lease.keep.get()),
            holder: Cell::new(Some(holder)),
            until: Cell::new(lease.until.get()),
            extends: Cell::default(),
            ends: Cell::default(),
            failures: Cell::default(),
            stopped: Cell::new(lease.stopped.get()),
            // A reader who is stored again would pass a writer who waits.
            recreate: false,
        });
        self.plan_end(&shared);
        if lease.keep.get().is_some() {
            // At once, where it was just being extended: nobody hears of that any more.
            self.plan_extension(&shared, lease.extends.get().unwrap_or(self.nodes.now()));
        }
        self.insert(shared);
    }

    /// A lock lives longer.
    pub(crate) fn prolong(&self, request: &Request, until: Duration) {
        if let Some(lease) = self.find(&request.keys, &request.value) {
            lease.prolong(until);
        }
        let left = until.saturating_sub(self.nodes.now());
        self.queues.prolong(request, left);
    }

    /// Ends all leases, and tells why.
    pub(crate) fn end_all(&self, why: Loss) {
        let mut all: Vec<_> = self.by_lock.borrow().iter().cloned().collect();
        all.sort_by_key(|lease| lease.number);
        for lease in all {
            self.lose(&lease, why);
        }
        self.changed.notify_one();
    }

    fn hash(&self, keys: &Keys, value: &Value) -> u64 {
        self.hasher.hash_one((keys, value))
    }

    fn hash_of(&self, lease: &Lease) -> u64 {
        self.hash(&lease.request.keys, &lease.request.value)
    }

    fn insert(&self, lease: Rc<Lease>) {
        let hash = self.hash_of(&lease);
        self.by_lock.borrow_mut().insert_unique(hash, lease, |lease| self.hash_of(lease));
    }

    fn find(&self, keys: &Keys, value: &Value) -> Option<Rc<Lease>> {
        let by_lock = self.by_lock.borrow();
        if by_lock.is_empty() {
            return None;
        }
        by_lock.find(self.hash(keys, value), |lease| lease.is_of(keys, value)).cloned()
    }

    fn plan_extension(&self, lease: &Rc<Lease>, when: Duration) {
        let before = lease.extends.replace(Some(when));
        debug_assert!(before.is_none(), "it has one place only, and none while it is extended");
        self.plan(&self.extensions, lease, when);
    }

    fn plan_end(&self, lease: &Rc<Lease>) {
        let when = lease.until.get().saturating_sub(MARGIN);
        lease.ends.set(when);
        self.plan(&self.ends, lease, when);
    }

    fn plan(&self, schedule: &Schedule, lease: &Rc<Lease>, when: Duration) {
        let mut schedule = schedule.borrow_mut();
        let is_first = schedule.first_key_value().is_none_or(|((first, _), _)| when < *first);
        schedule.insert((when, lease.number), lease.clone());
        if is_first {
            self.changed.notify_one();
        }
    }

    /// Ends a lease, and forgets it. Gives its holder: whoever lets go of that one tells that it has ended.
    fn remove(&self, lease: &Lease) -> Option<Rc<dyn Holder>> {
        let holder = lease.holder.take()?;
        let is_it = |other: &Rc<Lease>| ptr::eq(Rc::as_ptr(other), lease);
        if let Ok(entry) = self.by_lock.borrow_mut().find_entry(self.hash_of(lease), is_it) {
            entry.remove();
        }
        self.ends.borrow_mut().remove(&(lease.ends.get(), lease.number));
        self.guarded.remove(lease);
        if let Some(when) = lease.extends.get() {
            self.extensions.borrow_mut().remove(&(when, lease.number));
        }
        Some(holder)
    }

    /// Ends a lease by the loss of its lock.
    fn lose(&self, lease: &Lease, why: Loss) {
        if let Some(holder) = self.remove(lease) {
            holder.lost(why);
        }
    }

    /// How many are being extended.
    pub(crate) fn extending(&self) -> usize {
        self.extending.get()
    }

    fn begin_extending(&self, count: usize) {
        self.extending.set(self.extending.get() + count);
    }

    fn end_extending(&self, count: usize) {
        self.extending.set(self.extending.get() - count);
        self.room.notify_waiters();
    }

    /// Waits until more can be extended.
    async fn room(&self) {
        while self.extending.get() >= MAX_EXTENDING {
            self.room.notified().await;
        }
    }

    /// When there is something to do.
    fn next(&self) -> Option<Duration> {
        let [extension, end] = [&self.extensions, &self.ends].map(schedule::first);
        [extension, end, self.guarded.next()].into_iter().flatten().min()
    }

    /// Looks after the leases for as long as there are any.
    async fn serve(self: Rc<Self>) {
        while !self.by_lock.borrow().is_empty() {
            let now = self.nodes.now();
            let pause = self.next().map_or(LONGEST_SLEEP, |when| when.saturating_sub(now));
            if pause > Duration::ZERO {
                // Whichever comes first; a change may have brought something earlier.
                let _ = timeout(pause.min(LONGEST_SLEEP), self.changed.notified()).await;
            }
            let now = self.nodes.now();
            self.look_at_ends(now);
            self.look_at_extensions(now);
            self.look_at_guarded(now);
        }
        self.is_served.set(false);
    }

    fn look_at_ends(&self, now: Duration) {
        for lease in take_due(&self.ends, now) {
            if now + MARGIN < lease.until.get() {
                self.plan_end(&lease);
            } else {
                self.lose(&lease, lease.stopped.get().unwrap_or(Loss::Expired));
            }
        }
    }

    fn look_at_extensions(self: &Rc<Self>, now: Duration) {
        let first = self.extensions.borrow().first_key_value().map(|(_, lease)| lease.clone());
        let Some(first) = first.filter(|lease| lease.extends.get() <= Some(now)) else { return };
        let interval = first.keep.get().map_or(Duration::ZERO, |keep| keep.interval);
        let due: VecDeque<_> = take_due(&self.extensions, now + interval / TOGETHER).collect();
        // They have no place any more, also while they wait for room.
        due.iter().for_each(|lease| lease.extends.set(None));
        spawn_local(self.clone().extend_all(due));
    }

    fn look_at_guarded(self: &Rc<Self>, now: Duration) {
        let due = self.guarded.take_due(now);
        if !due.is_empty() {
            spawn_local(self.clone().look_at_all(due.into()));
        }
    }

    /// Are the locks still there? Asked without a change to their keys: nobody else who keeps one of them alive, and
    /// is told of changes, looks for that.
    async fn look_at_all(self: Rc<Self>, mut leases: VecDeque<Rc<Lease>>) {
        while !leases.is_empty() {
            self.room().await;
            let some = leases.drain(..AT_ONCE.min(leases.len()));
            let mut some: Vec<_> = some.filter(|lease| lease.holder().is_some()).collect();
            some.sort_by_key(|lease| lease.request.timeout);
            for alike in some.chunk_by(|one, other| one.request.timeout == other.request.timeout) {
                self.ask(Verb::Owner, alike.to_vec(), |this, lease, votes| {
                    if lease.holder().is_some() {
                        this.lose_if_told(lease, votes);
                    }
                });
            }
            yield_now().await; // calls come first
        }
    }

    /// Does it need an extension now? If not, and ever again, that is planned.
    fn needs(&self, lease: &Rc<Lease>, now: Duration) -> bool {
        let (Some(keep), Some(holder)) = (lease.keep.get(), lease.holder()) else { return false };
        lease.stopped.set(if now >= keep.hold_until {
            Some(Loss::MaxHold)
        } else if now.saturating_sub(holder.last_alive(now)) >= keep.max_stall {
            // It may come back to life before the lock is over.
            self.plan_extension(lease, now + FIRST_PAUSE);
            Some(Loss::MaxStall)
        } else {
            None
        });
        lease.stopped.get().is_none()
    }

    async fn extend_all(self: Rc<Self>, mut leases: VecDeque<Rc<Lease>>) {
        while !leases.is_empty() {
            self.room().await;
            let now = self.nodes.now();
            let some = leases.drain(..AT_ONCE.min(leases.len()));
            let mut some: Vec<_> = some.filter(|lease| self.needs(lease, now)).collect();
            // Those of one round have the same time to answer: none waits for one that may wait longer. And readers are
            // by themselves: a node asks about many others with one command.
            let sort = |lease: &Rc<Lease>| (lease.request.timeout, lease.request.kind.is_shared());
            some.sort_by_key(sort);
            for alike in some.chunk_by(|one, other| sort(one) == sort(other)) {
                self.extend(alike.to_vec());
            }
            yield_now().await; // calls come first
        }
    }

    fn extend(self: &Rc<Self>, leases: Vec<Rc<Lease>>) {
        let start = self.nodes.now();
        self.ask(Verb::Extend { recreate: false }, leases, move |this, lease, votes| {
            this.settle(lease, start, votes);
        });
    }

    fn ask(
        self: &Rc<Self>,
        verb: Verb,
        leases: Vec<Rc<Lease>>,
        settle: impl Fn(&Self, &Rc<Lease>, &Votes<'_>) + 'static,
    ) {
        let requests: Rc<[_]> = leases.iter().map(|lease| lease.request.clone()).collect();
        let round = Round::ask_each(&self.nodes, verb, &requests);
        self.begin_extending(leases.len());
        let this = self.clone();
        spawn_local(async move {
            let votes = round.votes_on_each().await;
            this.end_extending(leases.len());
            for (lease, votes) in leases.iter().zip(votes.iter()) {
                settle(&this, lease, &votes);
            }
        });
    }

    /// The nodes have voted on an extension that was asked for at `start`.
    fn settle(&self, lease: &Rc<Lease>, start: Duration, votes: &Votes<'_>) {
        // Released or lost meanwhile: what was extended is followed by its release.
        if lease.holder().is_none() {
            return;
        }
        let (request, until) = (&lease.request, lease.until_from(start));
        let now = self.nodes.now();
        if votes.granted() && now < until {
            lease.prolong(until);
            self.queues.prolong(request, until - now);
            lease.failures.set(0);
            if let Some(keep) = lease.keep.get() {
                self.plan_extension(lease, now + keep.interval);
            }
            if lease.recreate {
                self.recreate(request, votes.absent());
            }
            return;
        }
        if self.lose_if_told(lease, votes) {
            return;
        }
        // Too few have answered. The lock is what it was; try again until it is over.
        let Some(keep) = lease.keep.get() else { return };
        let left = lease.until.get().saturating_sub(now);
        let failures = lease.failures.get();
        lease.failures.set(failures.saturating_add(1));
        let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.into()));
        let pause = doubled.min(keep.interval).min(left / 2).max(FIRST_PAUSE);
        self.plan_extension(lease, now + pause);
    }

    /// Have the nodes told that the lock is lost?
    fn lose_if_told(&self, lease: &Lease, votes: &Votes<'_>) -> bool {
        let is_lost = votes.taken() || votes.lost();
        if is_lost {
            let why = if votes.taken() { Loss::Taken } else { Loss::Deleted };
            let request = &lease.request;
            // What a minority still stores is nobody's lock. But it may be all that keeps others from it, where the rest
            // has forgotten and abstains: whoever was told how long the lock lives may not know yet that it is lost.
            if why == Loss::Taken || request.quarantine.is_zero() {
                self.cleanup.give_up(request, votes.holding(false));
            }
            self.lose(lease, why);
        }
        is_lost
    }

    /// Stores the value again where it has vanished. Only when a quorum has confirmed the lock: it must
    /// not revive one that was lost.
    fn recreate(&self, request: &Rc<Request>, vanished: Vec<usize>) {
        if !vanished.is_empty() {
            let verb = Verb::Extend { recreate: true };
            let round = Round::ask(&self.nodes, verb, request, vanished, false);
            spawn_local(async move { round.votes().await });
        }
    }
}

impl Guard for Leases {
    fn changed(&self, key: Option<&str>) {
        let now = self.nodes.now();
        match key {
            Some(key) => self.guarded.changed(key, now, self.nodes.members().len()),
            None => self.guarded.all_changed(now),
        }
        self.changed.notify_one();
    }
}
