//! Held locks: kept alive until they are released, and told of the moment they are lost.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::cleanup;
use crate::node::{Request, Verb};
use crate::nodes::Nodes;
use crate::round::{Round, Votes};
use crate::validity;
use crate::value::Value;

/// Extensions that are due within this time are made together, so that each node gets them in one
/// pipeline.
const TOGETHER: Duration = Duration::from_millis(20);

/// The longest sleep while a lock is watched. A machine that was suspended wakes up with its timers
/// where they were: the loss must not wait for them.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// The first pause after an extension that failed; doubled up to the interval.
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
    /// Distinguishes it from a lease of the same value that was ended.
    number: u64,
}

/// A lock that is to be kept or watched.
pub struct Hold {
    pub(crate) request: Rc<Request>,
    pub(crate) drift_factor: f64,
    pub(crate) recreate: bool,
    pub(crate) until: Duration,
}

/// The leases of one set of nodes. Looked up by value only, and served in the order of their times.
#[derive(Default)]
pub(crate) struct Leases {
    by_value: RefCell<HashMap<Value, Lease>>,
    /// When to look at which lease; of a lease that is gone or was looked at earlier, an entry stays.
    due: RefCell<BinaryHeap<Reverse<(Duration, u64, Value)>>>,
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
        let number = leases.next_number.get();
        leases.next_number.set(number + 1);
        let now = self.now();
        let lease = Lease {
            request: hold.request,
            drift_factor: hold.drift_factor,
            extension,
            recreate: hold.recreate,
            holder,
            acquired: now,
            until: hold.until,
            pause: FIRST_PAUSE,
            stopped: None,
            number,
        };
        let first = extension.map_or(lease.until, |extension| now + extension.interval);
        leases.plan(&lease, first);
        leases.by_value.borrow_mut().insert(lease.request.value.clone(), lease);
        if !leases.is_served.replace(true) {
            spawn_local(serve(self.clone()));
        }
    }

    /// Ends a lease: the lock is neither extended nor lost from now on.
    pub fn end_lease(&self, value: &Value) {
        self.leases().by_value.borrow_mut().remove(value);
    }

    /// The holder has extended the lock by itself.
    pub fn prolong_lease(&self, value: &Value, until: Duration) {
        if let Some(lease) = self.leases().by_value.borrow_mut().get_mut(value) {
            lease.until = lease.until.max(until);
            lease.holder.extended(lease.until);
        }
    }

    pub(crate) fn end_all_leases(&self, why: Loss) {
        let mut all: Vec<Lease> = self.leases().by_value.take().into_values().collect();
        all.sort_by_key(|lease| lease.number);
        for lease in all {
            lease.holder.lost(why);
        }
        self.leases().changed.notify_one();
    }
}

impl Leases {
    fn plan(&self, lease: &Lease, when: Duration) {
        let when = when.min(lease.until.saturating_sub(MARGIN));
        let mut due = self.due.borrow_mut();
        let is_first = due.peek().is_none_or(|Reverse((first, ..))| when < *first);
        due.push(Reverse((when, lease.number, lease.request.value.clone())));
        if is_first {
            self.changed.notify_one();
        }
    }

    /// The leases to look at up to this time.
    fn take_due(&self, until: Duration) -> Vec<Value> {
        let mut due = self.due.borrow_mut();
        let by_value = self.by_value.borrow();
        let mut values = Vec::new();
        while let Some(Reverse((when, ..))) = due.peek()
            && *when <= until
        {
            let Some(Reverse((_, number, value))) = due.pop() else { break };
            if by_value.get(&value).is_some_and(|lease| lease.number == number) {
                values.push(value);
            }
        }
        values
    }
}

/// Looks after the leases for as long as there are any.
async fn serve(nodes: Rc<Nodes>) {
    while !nodes.leases().by_value.borrow().is_empty() {
        let first = nodes.leases().due.borrow().peek().map(|Reverse((when, ..))| *when);
        let now = nodes.now();
        let pause = first.map_or(LONGEST_SLEEP, |when| when.saturating_sub(now));
        if pause > Duration::ZERO {
            // Whichever comes first; a change may have brought something earlier.
            let changed = nodes.leases().changed.notified();
            let _ = timeout(pause.min(LONGEST_SLEEP), changed).await;
        }
        look_at_due(&nodes);
    }
    nodes.leases().due.take();
    nodes.leases().is_served.set(false);
}

fn look_at_due(nodes: &Rc<Nodes>) {
    let now = nodes.now();
    let mut extending = Vec::new();
    for value in nodes.leases().take_due(now) {
        look_at(nodes, now, value, &mut extending);
    }
    if extending.is_empty() {
        return;
    }
    for value in nodes.leases().take_due(now + TOGETHER) {
        look_at(nodes, now, value, &mut extending);
    }
    spawn_local(extend(nodes.clone(), extending));
}

/// Decides what a lease needs now: it is lost, looked at later, or extended.
fn look_at(nodes: &Rc<Nodes>, now: Duration, value: Value, extending: &mut Vec<Rc<Request>>) {
    let mut by_value = nodes.leases().by_value.borrow_mut();
    let Some(lease) = by_value.get_mut(&value) else { return };
    if now + MARGIN >= lease.until {
        let why = lease.stopped.unwrap_or(Loss::Expired);
        drop(by_value);
        return lose(nodes, &value, why);
    }
    let Some(extension) = lease.extension else {
        return nodes.leases().plan(lease, lease.until);
    };
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
        None => extending.push(lease.request.clone()),
        Some(Loss::MaxHold) => nodes.leases().plan(lease, lease.until),
        // It may come back to life before the lock is over.
        Some(_) => nodes.leases().plan(lease, now + FIRST_PAUSE),
    }
}

fn lose(nodes: &Nodes, value: &Value, why: Loss) {
    let lost = nodes.leases().by_value.borrow_mut().remove(value);
    if let Some(lease) = lost {
        lease.holder.lost(why);
    }
}

/// Extends these locks: all are asked for in one tick, so that each node gets one pipeline.
async fn extend(nodes: Rc<Nodes>, requests: Vec<Rc<Request>>) {
    let start = nodes.now();
    let verb = Verb::Extend { recreate: false };
    let ask = |request: &Rc<Request>| Round::ask(&nodes, verb, request, nodes.order(false), false);
    let rounds: Vec<_> = requests.iter().map(ask).collect();
    for (request, round) in requests.iter().zip(rounds) {
        let votes = round.votes().await;
        settle(&nodes, request, start, &votes);
    }
}

fn settle(nodes: &Rc<Nodes>, request: &Rc<Request>, start: Duration, votes: &Votes) {
    let now = nodes.now();
    let mut by_value = nodes.leases().by_value.borrow_mut();
    // Released or lost meanwhile: what was extended is followed by its release.
    let Some(lease) = by_value.get_mut(&request.value) else { return };
    let Some(extension) = lease.extension else { return };
    let until = validity::until(start, request.expiry, lease.drift_factor);
    if votes.granted() && now < until {
        lease.until = lease.until.max(until);
        lease.pause = FIRST_PAUSE;
        lease.holder.extended(lease.until);
        nodes.leases().plan(lease, now + extension.interval);
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
        drop(by_value);
        // What a minority still stores is nobody's lock.
        cleanup::release(nodes, request, votes.granting());
        return lose(nodes, &request.value, why);
    }
    // Too few have answered. The lock is what it was; try again until it is over.
    let pause = lease.pause;
    lease.pause = extension.interval.min(pause * 2);
    nodes.leases().plan(lease, now + pause);
}
