//! Held locks: kept alive until they are released, and told of the moment they are lost.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashTable;
use tokio::sync::Notify;
use tokio::task::{spawn_local, yield_now};
use tokio::time::timeout;

use crate::cleanup;
use crate::mutant::Mutant;
use crate::node::{Keys, Request, Verb};
use crate::nodes::Nodes;
use crate::round::{Round, Votes};
use crate::validity;
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

/// When to extend a lock, and when to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// From one extension to the next.
    pub interval: Duration,
    /// Stop this long after the lock was acquired.
    pub max_hold: Duration,
    /// Stop when the holder has shown no sign of life for this long.
    pub max_stall: Duration,
}

/// Why a lock was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its time was over before a quorum had extended it.
    Expired,
    /// A quorum stores somebody else's value.
    Taken,
    /// So many nodes have nothing stored that the others are no quorum.
    Deleted,
    /// It was held for as long as it may be.
    MaxHold,
    /// Its holder has shown no sign of life.
    MaxStall,
    /// The nodes were closed.
    Closed,
}

/// Who holds a lock.
pub trait Holder: Any {
    /// When it last showed a sign of life, on the engine's clock, which shows `now`.
    fn last_alive(&self, now: Duration) -> Duration;
    /// The lock lives longer.
    fn extended(&self, until: Duration);
    /// The lock is lost. Called once, and not after the lease was ended.
    fn lost(&self, why: Loss);
}

/// How a lock is kept alive.
#[derive(Clone, Copy)]
struct Keep {
    interval: Duration,
    /// To be extended no more from then on.
    hold_until: Duration,
    max_stall: Duration,
}

impl Keep {
    fn from(Extension { interval, max_hold, max_stall }: Extension, now: Duration) -> Self {
        let interval = if Mutant::LateExtension.is_on() { interval * 3 } else { interval };
        Self { interval, hold_until: now.saturating_add(max_hold), max_stall }
    }
}

/// There may be very many: what is small here is small a hundred thousand times.
struct Lease {
    /// What it is extended with.
    request: RefCell<Rc<Request>>,
    drift_factor: Cell<f64>,
    /// In the order in which they began.
    number: u64,
    /// `None`: only watched.
    keep: Cell<Option<Keep>>,
    /// `None`: it has ended.
    holder: Cell<Option<Rc<dyn Holder>>>,
    until: Cell<Duration>,
    /// Its place in `Leases::extensions`; `None` while it is being extended, or if it never will be.
    extends: Cell<Option<Duration>>,
    /// Its place in `Leases::ends`: when to see whether it is over. It may have been extended since.
    ends: Cell<Duration>,
    /// Extensions that failed since the last one that did not.
    failures: Cell<u8>,
    /// Why it is not extended any more.
    stopped: Cell<Option<Loss>>,
    /// Store the value again where the key has vanished from a minority.
    recreate: bool,
}

impl Lease {
    fn holder(&self) -> Option<Rc<dyn Holder>> {
        let holder = self.holder.take();
        self.holder.set(holder.clone());
        holder
    }

    /// Is it about that lock? The value alone would not do: it is the caller's, who may use one for all
    /// of his names.
    fn is_of(&self, keys: &Keys, value: &Value) -> bool {
        let request = self.request.borrow();
        request.value == *value && request.keys == *keys
    }

    fn timeout(&self) -> Duration {
        self.request.borrow().timeout
    }

    /// Until when an extension that is asked for at `start` lets it live.
    fn until_from(&self, start: Duration) -> Duration {
        validity::until(start, self.request.borrow().expiry, self.drift_factor.get())
    }

    /// The lock lives longer.
    fn prolong(&self, until: Duration) {
        let so_far = if Mutant::LeaseShortened.is_on() { until } else { self.until.get() };
        self.until.set(so_far.max(until));
        if let Some(holder) = self.holder() {
            holder.extended(self.until.get());
        }
    }
}

/// A lock that is to be kept or watched.
pub struct Hold {
    pub(crate) request: Rc<Request>,
    pub(crate) drift_factor: f64,
    pub(crate) recreate: bool,
    pub(crate) until: Duration,
}

impl Hold {
    /// What is locked.
    pub fn keys(&self) -> &Keys {
        &self.request.keys
    }

    /// The ownership value.
    pub fn value(&self) -> &Value {
        &self.request.value
    }

    /// When it is over.
    pub fn until(&self) -> Duration {
        self.until
    }
}

/// Leases in the order of a time, and of their numbers.
type Schedule = RefCell<BTreeMap<(Duration, u64), Rc<Lease>>>;

/// The leases of one set of nodes.
#[derive(Default)]
pub(crate) struct Leases {
    /// By keys and value. Looked up only, so that its order does not matter.
    by_lock: RefCell<HashTable<Rc<Lease>>>,
    hasher: RandomState,
    /// When to extend which.
    extensions: Schedule,
    /// When to see which are over.
    ends: Schedule,
    next_number: Cell<u64>,
    changed: Notify,
    is_served: Cell<bool>,
    /// How many are being extended.
    extending: Cell<usize>,
    room: Notify,
}

impl Nodes {
    /// Keeps a lock alive until the lease is ended or the lock is lost; without an `extension` it is
    /// only watched, and lost when its time is over.
    pub fn lease(
        self: &Rc<Self>,
        hold: Hold,
        extension: Option<Extension>,
        holder: Rc<dyn Holder>,
    ) {
        let leases = self.leases();
        if !Mutant::LeasedTwice.is_on() {
            leases.remove(&hold.request.keys, &hold.request.value);
        }
        let number = leases.next_number.get();
        leases.next_number.set(number + 1);
        let now = self.now();
        let keep = extension.map(|extension| Keep::from(extension, now));
        let lease = Rc::new(Lease {
            request: RefCell::new(hold.request),
            drift_factor: Cell::new(hold.drift_factor),
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
        leases.plan_end(&lease);
        if let Some(keep) = keep {
            leases.plan_extension(&lease, now + keep.interval);
        }
        leases.insert(lease);
        if !leases.is_served.replace(true) {
            spawn_local(serve(self.clone()));
        }
    }

    /// Ends a lease: the lock is neither extended nor lost from now on.
    pub fn end_lease(&self, keys: &Keys, value: &Value) {
        self.leases().remove(keys, value);
    }

    /// Who holds a lock that there is a lease of.
    pub fn holder(&self, keys: &Keys, value: &Value) -> Option<Rc<dyn Holder>> {
        self.leases().find(keys, value)?.holder()
    }

    /// Keeps a lock alive from now on that there is a lease of. Of the two expiries the longer one counts:
    /// the shorter one may be over before the next extension.
    pub fn keep_alive(&self, hold: Hold, extension: Extension) {
        if let Some(lease) = self.leases().find(hold.keys(), hold.value()) {
            if hold.request.expiry > lease.request.borrow().expiry {
                lease.request.replace(hold.request);
                lease.drift_factor.set(hold.drift_factor);
            }
            let now = self.now();
            lease.keep.set(Some(Keep::from(extension, now)));
            lease.stopped.take();
            self.leases().plan_extension(&lease, now + extension.interval);
        }
    }

    /// Extends a lock no more: it is lost when its time is over.
    pub fn let_expire(&self, keys: &Keys, value: &Value) {
        if let Some(lease) = self.leases().find(keys, value) {
            lease.keep.set(None);
        }
    }

    /// A lock lives longer.
    pub(crate) fn prolong(&self, request: &Request, until: Duration) {
        if let Some(lease) = self.leases().find(&request.keys, &request.value) {
            lease.prolong(until);
        }
        let left = until.saturating_sub(self.now());
        self.queues().prolong(&request.keys, &request.value, left);
    }

    pub(crate) fn end_all_leases(&self, why: Loss) {
        self.leases().extensions.take();
        self.leases().by_lock.take();
        let ends = self.leases().ends.take();
        let mut all: Vec<_> = ends.into_values().collect();
        all.sort_by_key(|lease| lease.number);
        for lease in all {
            if let Some(holder) = lease.holder.take() {
                holder.lost(why);
            }
        }
        self.leases().changed.notify_one();
    }
}

impl Leases {
    fn hash(&self, keys: &Keys, value: &Value) -> u64 {
        self.hasher.hash_one((keys, value))
    }

    fn hash_of(&self, lease: &Lease) -> u64 {
        let request = lease.request.borrow();
        self.hash(&request.keys, &request.value)
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
        // It has one place only, also when it is planned while it is being extended.
        if let Some(before) = lease.extends.replace(Some(when)) {
            self.extensions.borrow_mut().remove(&(before, lease.number));
        }
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

    /// Ends a lease, and gives its holder.
    fn end(&self, lease: &Lease) -> Option<Rc<dyn Holder>> {
        let holder = lease.holder.take()?;
        let is_it = |other: &Rc<Lease>| ptr::eq(Rc::as_ptr(other), lease);
        if let Ok(entry) = self.by_lock.borrow_mut().find_entry(self.hash_of(lease), is_it) {
            entry.remove();
        }
        self.ends.borrow_mut().remove(&(lease.ends.get(), lease.number));
        if let Some(when) = lease.extends.get() {
            self.extensions.borrow_mut().remove(&(when, lease.number));
        }
        Some(holder)
    }

    fn remove(&self, keys: &Keys, value: &Value) {
        if let Some(lease) = self.find(keys, value) {
            self.end(&lease);
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
        let first = |schedule: &Schedule| schedule.borrow().keys().next().map(|(when, _)| *when);
        [first(&self.extensions), first(&self.ends)].into_iter().flatten().min()
    }
}

/// Takes the leases that are due up to this time.
fn take_due(schedule: &Schedule, until: Duration) -> impl Iterator<Item = Rc<Lease>> {
    let mut schedule = schedule.borrow_mut();
    let later = schedule.split_off(&(until, u64::MAX));
    mem::replace(&mut *schedule, later).into_values()
}

/// Looks after the leases for as long as there are any.
async fn serve(nodes: Rc<Nodes>) {
    while !nodes.leases().by_lock.borrow().is_empty() {
        let now = nodes.now();
        let next = nodes.leases().next();
        let pause = next.map_or(LONGEST_SLEEP, |when| when.saturating_sub(now));
        if pause > Duration::ZERO {
            // Whichever comes first; a change may have brought something earlier.
            let changed = nodes.leases().changed.notified();
            let _ = timeout(pause.min(LONGEST_SLEEP), changed).await;
        }
        let now = nodes.now();
        look_at_ends(nodes.leases(), now);
        look_at_extensions(&nodes, now);
    }
    nodes.leases().is_served.set(false);
}

fn look_at_ends(leases: &Leases, now: Duration) {
    for lease in take_due(&leases.ends, now) {
        if now + MARGIN < lease.until.get() {
            leases.plan_end(&lease);
        } else if let Some(holder) = leases.end(&lease) {
            holder.lost(lease.stopped.get().unwrap_or(Loss::Expired));
        }
    }
}

fn look_at_extensions(nodes: &Rc<Nodes>, now: Duration) {
    let leases = nodes.leases();
    let first = leases.extensions.borrow().first_key_value().map(|(_, lease)| lease.clone());
    let Some(first) = first.filter(|lease| lease.extends.get() <= Some(now)) else { return };
    let interval = first.keep.get().map_or(Duration::ZERO, |keep| keep.interval);
    let due: VecDeque<_> = take_due(&leases.extensions, now + interval / TOGETHER).collect();
    // They have no place any more, also while they wait for room.
    due.iter().for_each(|lease| lease.extends.set(None));
    spawn_local(extend_all(nodes.clone(), due));
}

/// Does it need an extension now? If not, and ever again, that is planned.
fn needs(leases: &Leases, lease: &Rc<Lease>, now: Duration) -> bool {
    let (Some(keep), Some(holder)) = (lease.keep.get(), lease.holder()) else { return false };
    lease.stopped.set(if now >= keep.hold_until {
        Some(Loss::MaxHold)
    } else if now.saturating_sub(holder.last_alive(now)) >= keep.max_stall {
        // It may come back to life before the lock is over.
        leases.plan_extension(lease, now + FIRST_PAUSE);
        Some(Loss::MaxStall)
    } else {
        None
    });
    lease.stopped.get().is_none()
}

async fn extend_all(nodes: Rc<Nodes>, mut leases: VecDeque<Rc<Lease>>) {
    while !leases.is_empty() {
        nodes.leases().room().await;
        let now = nodes.now();
        let some = leases.drain(..AT_ONCE.min(leases.len()));
        let mut some: Vec<_> = some.filter(|lease| needs(nodes.leases(), lease, now)).collect();
        // Those of one round have the same time to answer: none waits for one that may wait longer.
        some.sort_by_key(|lease| lease.timeout());
        for alike in some.chunk_by(|one, other| one.timeout() == other.timeout()) {
            extend(&nodes, alike.to_vec());
        }
        yield_now().await; // calls come first
    }
}

fn extend(nodes: &Rc<Nodes>, leases: Vec<Rc<Lease>>) {
    let start = nodes.now();
    // It may be kept with another expiry by the time that the nodes have answered.
    let untils: Vec<_> = leases.iter().map(|lease| lease.until_from(start)).collect();
    let requests: Rc<[_]> = leases.iter().map(|lease| lease.request.borrow().clone()).collect();
    let round = Round::ask_each(nodes, Verb::Extend { recreate: false }, &requests);
    nodes.leases().begin_extending(leases.len());
    let nodes = nodes.clone();
    spawn_local(async move {
        let votes = round.votes_on_each().await;
        nodes.leases().end_extending(leases.len());
        for ((lease, until), votes) in leases.iter().zip(untils).zip(votes.iter()) {
            settle(&nodes, lease, until, &votes);
        }
    });
}

fn settle(nodes: &Rc<Nodes>, lease: &Rc<Lease>, until: Duration, votes: &Votes<'_>) {
    // Released or lost meanwhile: what was extended is followed by its release.
    if lease.holder().is_none() {
        return;
    }
    let leases = nodes.leases();
    let request = &lease.request.borrow().clone();
    let now = nodes.now();
    if votes.granted() && now < until {
        lease.prolong(until);
        nodes.queues().prolong(&request.keys, &request.value, until - now);
        lease.failures.set(0);
        if let Some(keep) = lease.keep.get() {
            leases.plan_extension(lease, now + keep.interval);
        }
        if lease.recreate {
            // Only now that a quorum has confirmed the lock: storing it again must not revive one
            // that was lost.
            let vanished = votes.absent();
            if !vanished.is_empty() {
                let verb = Verb::Extend { recreate: true };
                let round = Round::ask(nodes, verb, request, vanished, false);
                spawn_local(async move { round.votes().await });
            }
        }
        return;
    }
    if votes.taken() || votes.lost() || Mutant::LossToldEarly.is_on() {
        let why = if votes.taken() { Loss::Taken } else { Loss::Deleted };
        // What a minority still stores is nobody's lock.
        cleanup::release(nodes, request, votes.holding(false));
        if let Some(holder) = leases.end(lease) {
            holder.lost(why);
        }
        return;
    }
    // Too few have answered. The lock is what it was; try again until it is over.
    let Some(keep) = lease.keep.get() else { return };
    let left = lease.until.get().saturating_sub(now);
    let failures = lease.failures.get();
    lease.failures.set(failures.saturating_add(1));
    let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.into()));
    let pause = doubled.min(keep.interval).min(left / 2).max(FIRST_PAUSE);
    leases.plan_extension(lease, now + pause);
}
