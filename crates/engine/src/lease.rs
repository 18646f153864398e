//! Held locks: kept alive until they are released, and told of the moment they are lost.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::cleanup;
use crate::node::{Keys, Request, Verb};
use crate::nodes::Nodes;
use crate::round::{Round, Votes};
use crate::validity;
use crate::value::Value;

/// Extensions that are due within this time are made together, so that each node gets them in one
/// pipeline.
const TOGETHER: Duration = Duration::from_millis(20);

/// So many extensions are asked for in one tick,
const AT_ONCE: usize = 512;

/// and no more while so many rounds are under way: a node has its time to answer from when it is
/// asked, and a hundred thousand locks at once would take it longer.
const MAX_ROUNDS: usize = 4096;

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
pub trait Holder {
    /// When it last showed a sign of life, on the engine's clock.
    fn last_alive(&self) -> Duration;
    /// The lock lives longer.
    fn extended(&self, until: Duration);
    /// The lock is lost. Called once, and not after the lease was ended.
    fn lost(&self, why: Loss);
}

/// A lock, as its holder knows it. The value alone would not do: it is the caller's, who may use
/// one for all of his names.
type Id = (Keys, Value);

struct Lease {
    request: Rc<Request>,
    drift_factor: f64,
    /// `None`: only watched.
    extension: Option<Extension>,
    /// Store the value again where the key has vanished from a minority.
    recreate: bool,
    holder: Rc<dyn Holder>,
    acquired: Duration,
    until: Duration,
    pause: Duration,
    /// Why it is not extended any more.
    stopped: Option<Loss>,
    /// Its place in `Leases::due`, with its number.
    next: Duration,
    number: u64,
}

impl Lease {
    fn id(&self) -> Id {
        id(&self.request)
    }
}

fn id(request: &Request) -> Id {
    (request.keys.clone(), request.value.clone())
}

/// A lock that is to be kept or watched.
pub struct Hold {
    pub(crate) request: Rc<Request>,
    pub(crate) drift_factor: f64,
    pub(crate) recreate: bool,
    pub(crate) until: Duration,
}

/// The leases of one set of nodes. Looked up by their locks only, and served in the order of their
/// times.
#[derive(Default)]
pub(crate) struct Leases {
    by_id: RefCell<HashMap<Id, Lease>>,
    /// When to look at which lease: one entry each.
    due: RefCell<BTreeMap<(Duration, u64), Id>>,
    next_number: Cell<u64>,
    changed: Notify,
    is_served: Cell<bool>,
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
        leases.remove(&id(&hold.request));
        let number = leases.next_number.get();
        leases.next_number.set(number + 1);
        let now = self.now();
        let mut lease = Lease {
            request: hold.request,
            drift_factor: hold.drift_factor,
            extension,
            recreate: hold.recreate,
            holder,
            acquired: now,
            until: hold.until,
            pause: FIRST_PAUSE,
            stopped: None,
            next: Duration::ZERO,
            number,
        };
        let first = extension.map_or(lease.until, |extension| now + extension.interval);
        leases.plan(&mut lease, first);
        leases.by_id.borrow_mut().insert(lease.id(), lease);
        if !leases.is_served.replace(true) {
            spawn_local(serve(self.clone()));
        }
    }

    /// Ends a lease: the lock is neither extended nor lost from now on.
    pub fn end_lease(&self, keys: &Keys, value: &Value) {
        self.leases().remove(&(keys.clone(), value.clone()));
    }

    /// Extends a lock no more: it is lost when its time is over.
    pub fn let_expire(&self, keys: &Keys, value: &Value) {
        let id = (keys.clone(), value.clone());
        if let Some(lease) = self.leases().by_id.borrow_mut().get_mut(&id) {
            lease.extension = None;
        }
    }

    /// The holder has extended the lock by itself.
    pub(crate) fn prolong_lease(&self, request: &Request, until: Duration) {
        if let Some(lease) = self.leases().by_id.borrow_mut().get_mut(&id(request)) {
            lease.until = lease.until.max(until);
            lease.holder.extended(lease.until);
        }
    }

    pub(crate) fn end_all_leases(&self, why: Loss) {
        self.leases().due.take();
        let mut all: Vec<Lease> = self.leases().by_id.take().into_values().collect();
        all.sort_by_key(|lease| lease.number);
        for lease in all {
            lease.holder.lost(why);
        }
        self.leases().changed.notify_one();
    }
}

impl Leases {
    /// Looks at the lease then, and not when it was planned before; in any case before it is over.
    fn plan(&self, lease: &mut Lease, when: Duration) {
        let mut due = self.due.borrow_mut();
        due.remove(&(lease.next, lease.number));
        lease.next = when.min(lease.until.saturating_sub(MARGIN));
        let is_first = due.first_key_value().is_none_or(|((first, _), _)| lease.next < *first);
        due.insert((lease.next, lease.number), lease.id());
        if is_first {
            self.changed.notify_one();
        }
    }

    fn remove(&self, id: &Id) -> Option<Lease> {
        let lease = self.by_id.borrow_mut().remove(id)?;
        self.due.borrow_mut().remove(&(lease.next, lease.number));
        Some(lease)
    }

    /// Has it been neither released nor lost, and is it to be extended?
    fn is_kept(&self, request: &Request) -> bool {
        self.by_id.borrow().get(&id(request)).is_some_and(|lease| lease.extension.is_some())
    }

    /// The leases to look at up to this time.
    fn take_due(&self, until: Duration) -> Vec<Id> {
        let mut due = self.due.borrow_mut();
        let later = due.split_off(&(until, u64::MAX));
        mem::replace(&mut *due, later).into_values().collect()
    }
}

/// Looks after the leases for as long as there are any.
async fn serve(nodes: Rc<Nodes>) {
    while !nodes.leases().by_id.borrow().is_empty() {
        let first = nodes.leases().due.borrow().keys().next().map(|(when, _)| *when);
        let now = nodes.now();
        let pause = first.map_or(LONGEST_SLEEP, |when| when.saturating_sub(now));
        if pause > Duration::ZERO {
            // Whichever comes first; a change may have brought something earlier.
            let changed = nodes.leases().changed.notified();
            let _ = timeout(pause.min(LONGEST_SLEEP), changed).await;
        }
        look_at_due(&nodes);
    }
    nodes.leases().is_served.set(false);
}

fn look_at_due(nodes: &Rc<Nodes>) {
    let now = nodes.now();
    let mut extending = Vec::new();
    for id in nodes.leases().take_due(now) {
        look_at(nodes, now, id, &mut extending);
    }
    if extending.is_empty() {
        return;
    }
    for id in nodes.leases().take_due(now + TOGETHER) {
        look_at(nodes, now, id, &mut extending);
    }
    // They are settled one after the other: none has to wait for one that may wait longer.
    extending.sort_by_key(|request| request.timeout);
    spawn_local(extend_all(nodes.clone(), extending));
}

async fn extend_all(nodes: Rc<Nodes>, mut requests: Vec<Rc<Request>>) {
    while !requests.is_empty() {
        nodes.room(MAX_ROUNDS).await;
        let mut some: Vec<_> = requests.drain(..AT_ONCE.min(requests.len())).collect();
        some.retain(|request| nodes.leases().is_kept(request));
        extend(&nodes, some);
    }
}

/// Decides what a lease needs now: it is lost, looked at later, or extended.
fn look_at(nodes: &Rc<Nodes>, now: Duration, id: Id, extending: &mut Vec<Rc<Request>>) {
    let mut by_id = nodes.leases().by_id.borrow_mut();
    let Some(lease) = by_id.get_mut(&id) else { return };
    if now + MARGIN >= lease.until {
        let why = lease.stopped.unwrap_or(Loss::Expired);
        drop(by_id);
        return lose(nodes, &id, why);
    }
    let until = lease.until;
    let Some(extension) = lease.extension else { return nodes.leases().plan(lease, until) };
    let held = now.saturating_sub(lease.acquired);
    let stalled = now.saturating_sub(lease.holder.last_alive());
    lease.stopped = if held >= extension.max_hold {
        Some(Loss::MaxHold)
    } else if stalled >= extension.max_stall {
        Some(Loss::MaxStall)
    } else {
        None
    };
    match lease.stopped {
        None => {
            extending.push(lease.request.clone());
            // The loss is told in time, also while nodes take their time.
            nodes.leases().plan(lease, until);
        }
        Some(Loss::MaxHold) => nodes.leases().plan(lease, until),
        // It may come back to life before the lock is over.
        Some(_) => nodes.leases().plan(lease, now + FIRST_PAUSE),
    }
}

fn lose(nodes: &Nodes, id: &Id, why: Loss) {
    if let Some(lease) = nodes.leases().remove(id) {
        lease.holder.lost(why);
    }
}

/// Asks for all of these in one tick, so that each node gets one pipeline.
fn extend(nodes: &Rc<Nodes>, requests: Vec<Rc<Request>>) {
    let start = nodes.now();
    let verb = Verb::Extend { recreate: false };
    let ask = |request: &Rc<Request>| Round::ask(nodes, verb, request, nodes.order(false), false);
    let rounds: Vec<_> = requests.iter().map(ask).collect();
    let nodes = nodes.clone();
    spawn_local(async move {
        for (request, round) in requests.iter().zip(rounds) {
            let votes = round.votes().await;
            settle(&nodes, request, start, &votes);
        }
    });
}

fn settle(nodes: &Rc<Nodes>, request: &Rc<Request>, start: Duration, votes: &Votes) {
    let now = nodes.now();
    let id = id(request);
    let mut by_id = nodes.leases().by_id.borrow_mut();
    // Released or lost meanwhile: what was extended is followed by its release.
    let Some(lease) = by_id.get_mut(&id) else { return };
    let until = validity::until(start, request.expiry, lease.drift_factor);
    if votes.granted() && now < until {
        lease.until = lease.until.max(until);
        lease.holder.extended(lease.until);
        lease.pause = FIRST_PAUSE;
        let next = lease.extension.map_or(lease.until, |extension| now + extension.interval);
        nodes.leases().plan(lease, next);
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
    if votes.taken() || votes.lost() {
        let why = if votes.taken() { Loss::Taken } else { Loss::Deleted };
        drop(by_id);
        // What a minority still stores is nobody's lock.
        cleanup::release(nodes, request, votes.holding(false));
        return lose(nodes, &id, why);
    }
    // Too few have answered. The lock is what it was; try again until it is over.
    let Some(extension) = lease.extension else { return };
    let left = lease.until.saturating_sub(now);
    let pause = lease.pause.min(left / 2).max(FIRST_PAUSE);
    lease.pause = extension.interval.min(lease.pause * 2);
    nodes.leases().plan(lease, now + pause);
}
