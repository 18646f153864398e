//! Held locks whose loss somebody waits for: nodes tell when their keys change, and it is looked at them then.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashTable;

use crate::lease::Lease;
use crate::schedule::{self, Schedule};

/// Whatever a lock's keys go through, so often it is looked at them for each node, at most, within the span below:
/// whoever deletes them does so on one node after the other, and a node may have come back a moment ago.
const LOOKS_PER_NODE: usize = 2;

/// The expiry divided by this.
const SPANS: u32 = 12;

/// Where any key may have changed it is looked at all locks so much later, for the same may be on its way from other
/// nodes,
const ALL_AFTER: Duration = Duration::from_millis(20);

/// and no more often than this.
const ALL_EVERY: Duration = Duration::from_secs(1);

/// The first look comes so much later, at all together that came meanwhile: most locks are released before.
const FIRST_AFTER: Duration = Duration::from_millis(100);

/// The looks at one lock that changes of its keys have led to.
#[derive(Clone, Copy, Default)]
struct Looks {
    /// So many since a time.
    since: Duration,
    count: usize,
    next: Option<Duration>,
}

/// All of them. There may be very many: one takes little more than its place in a table.
#[derive(Default)]
pub(crate) struct Guarded {
    /// Each lease by each of its keys, with the index of that.
    by_key: RefCell<HashTable<(Rc<Lease>, u32)>>,
    hasher: RandomState,
    /// Those at which it was not looked yet, in the order of their numbers, and some that have ended.
    new: RefCell<Vec<Rc<Lease>>>,
    new_next: Cell<Option<Duration>>,
    /// Of those whose keys have changed, by their numbers.
    looks: RefCell<BTreeMap<u64, Looks>>,
    due: Schedule,
    /// When to look at all, and when that was last done.
    all_next: Cell<Option<Duration>>,
    all_last: Cell<Option<Duration>>,
}

impl Guarded {
    /// Gives whether that is news.
    pub(crate) fn add(&self, lease: &Rc<Lease>, now: Duration) -> bool {
        if self.holds(lease) {
            return false;
        }
        for (index, key) in lease.request.keys.iter().enumerate() {
            let entry = (lease.clone(), index as u32);
            let rehash = |(lease, index): &(Rc<Lease>, u32)| self.hash(key_of(lease, *index));
            self.by_key.borrow_mut().insert_unique(self.hash(key), entry, rehash);
        }
        self.new.borrow_mut().push(lease.clone());
        if self.new_next.get().is_none() {
            self.new_next.set(Some(now + FIRST_AFTER));
        }
        true
    }

    pub(crate) fn remove(&self, lease: &Lease) {
        let mut by_key = self.by_key.borrow_mut();
        if by_key.is_empty() {
            return;
        }
        for key in lease.request.keys.iter() {
            let is_it = |(other, _): &(Rc<Lease>, u32)| other.number == lease.number;
            if let Ok(entry) = by_key.find_entry(self.hash(key), is_it) {
                entry.remove();
            }
        }
        if let Some(Looks { next: Some(next), .. }) = self.looks.borrow_mut().remove(&lease.number)
        {
            self.due.borrow_mut().remove(&(next, lease.number));
        }
    }

    pub(crate) fn holds(&self, lease: &Lease) -> bool {
        let hash = self.hash(key_of(lease, 0));
        let is_it = |(other, _): &(Rc<Lease>, u32)| other.number == lease.number;
        self.by_key.borrow().find(hash, is_it).is_some()
    }

    /// A key has changed on one of so many nodes.
    pub(crate) fn changed(&self, key: &str, now: Duration, nodes: usize) {
        let by_key = self.by_key.borrow();
        let of_key = by_key.iter_hash(self.hash(key));
        let of_key = of_key.filter(|(lease, index)| key_of(lease, *index) == key);
        of_key.for_each(|(lease, _)| self.look_soon(lease, now, nodes));
    }

    /// Any key may have changed.
    pub(crate) fn all_changed(&self, now: Duration) {
        if self.all_next.get().is_none() {
            let earliest = self.all_last.get().map_or(Duration::ZERO, |last| last + ALL_EVERY);
            self.all_next.set(Some(earliest.max(now + ALL_AFTER)));
        }
    }

    /// When it is to be looked at the first of them.
    pub(crate) fn next(&self) -> Option<Duration> {
        let next = [schedule::first(&self.due), self.new_next.get(), self.all_next.get()];
        next.into_iter().flatten().min()
    }

    /// Takes those at which it is to be looked.
    pub(crate) fn take_due(&self, now: Duration) -> Vec<Rc<Lease>> {
        let is_for_all = take_if_due(&self.all_next, now);
        let is_for_new = take_if_due(&self.new_next, now) || is_for_all;
        let new = if is_for_new { self.new.take() } else { Vec::new() };
        let mut due: Vec<_> = if is_for_all {
            self.all_last.set(Some(now));
            self.due.take();
            let by_key = self.by_key.borrow();
            let first_keys = by_key.iter().filter(|(_, index)| *index == 0);
            first_keys.map(|(lease, _)| lease.clone()).collect()
        } else {
            schedule::take_due(&self.due, now).chain(new).collect()
        };
        // The order of the table is left to luck.
        due.sort_by_key(|lease| lease.number);
        let mut looks = self.looks.borrow_mut();
        for lease in &due {
            looks.entry(lease.number).and_modify(|looks| looks.next = None);
        }
        due
    }

    /// Now, or as soon as it may be after so many looks.
    fn look_soon(&self, lease: &Rc<Lease>, now: Duration, nodes: usize) {
        let span = lease.request.expiry / SPANS;
        let mut looks = self.looks.borrow().get(&lease.number).copied().unwrap_or_default();
        if looks.next.is_some() {
            return;
        }
        if now >= looks.since + span {
            (looks.since, looks.count) = (now, 0);
        } else if looks.count >= LOOKS_PER_NODE * nodes {
            (looks.since, looks.count) = (looks.since + span, 0);
        }
        looks.count += 1;
        self.plan(lease, looks.since.max(now), looks);
    }

    fn plan(&self, lease: &Rc<Lease>, when: Duration, looks: Looks) {
        self.due.borrow_mut().insert((when, lease.number), lease.clone());
        self.looks.borrow_mut().insert(lease.number, Looks { next: Some(when), ..looks });
    }

    fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }
}

fn key_of(lease: &Lease, index: u32) -> &str {
    &lease.request.keys[index as usize]
}

fn take_if_due(next: &Cell<Option<Duration>>, now: Duration) -> bool {
    let is_due = next.get().is_some_and(|next| next <= now);
    if is_due {
        next.set(None);
    }
    is_due
}
