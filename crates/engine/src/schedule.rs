//! Leases in the order in which there is something to do about them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem;
use std::rc::Rc;
use std::time::Duration;

use crate::lease::Lease;

/// Leases in the order of a time, and of their numbers.
pub(crate) type Schedule = RefCell<BTreeMap<(Duration, u64), Rc<Lease>>>;

/// The time of the first.
pub(crate) fn first(schedule: &Schedule) -> Option<Duration> {
    schedule.borrow().keys().next().map(|(when, _)| *when)
}

/// Takes the leases that are due up to this time.
pub(crate) fn take_due(schedule: &Schedule, until: Duration) -> impl Iterator<Item = Rc<Lease>> {
    let mut schedule = schedule.borrow_mut();
    let later = schedule.split_off(&(until, u64::MAX));
    mem::replace(&mut *schedule, later).into_values()
}
