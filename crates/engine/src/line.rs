//! Those in this process who wait for the same keys, in the order in which they came.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

/// What an attempt can do with: how long it waits for a node, and how long its lock lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Means {
    pub(crate) timeout: Duration,
    pub(crate) expiry: Duration,
}

impl Means {
    pub(crate) fn exceed(self, other: Self) -> bool {
        self.timeout > other.timeout || self.expiry > other.expiry
    }

    pub(crate) fn or_more(self, other: Self) -> Self {
        Self { timeout: self.timeout.max(other.timeout), expiry: self.expiry.max(other.expiry) }
    }
}

struct Waiter {
    means: Means,
    /// Once it sleeps.
    wake: Option<Rc<Notify>>,
}

/// A line: first come, first served. Its head is the first of those who are present.
#[derive(Default)]
pub(crate) struct Line {
    /// Those who are present, by their tickets.
    present: RefCell<BTreeMap<u64, Waiter>>,
    next_ticket: Cell<u64>,
    /// How many there are, those who have stepped out included.
    size: Cell<usize>,
    /// The one who is the head out of turn.
    preferred: Cell<Option<u64>>,
}

impl Line {
    /// Takes a ticket, and stands at the end.
    pub(crate) fn join(&self, means: Means) -> u64 {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket + 1);
        self.size.set(self.size.get() + 1);
        self.step_in(ticket, means);
        ticket
    }

    /// Leaves the line for good.
    pub(crate) fn leave(&self, ticket: u64) {
        self.size.set(self.size.get() - 1);
        self.step_out(ticket);
    }

    /// Lets others go first, and keeps its place. Whoever has become the head is told.
    pub(crate) fn step_out(&self, ticket: u64) {
        let was_head = self.is_head(ticket);
        self.present.borrow_mut().remove(&ticket);
        if self.preferred.get() == Some(ticket) {
            self.preferred.set(None);
        }
        if was_head {
            self.wake_head();
        }
    }

    /// Is back at its place.
    pub(crate) fn step_in(&self, ticket: u64, means: Means) {
        self.present.borrow_mut().insert(ticket, Waiter { means, wake: None });
    }

    /// The first of those who can do more than this is the head from now on. If there is none it is
    /// whoever came first.
    pub(crate) fn prefer_more_than(&self, means: Means) {
        let present = self.present.borrow();
        let preferred = present.iter().find(|(_, waiter)| waiter.means.exceed(means));
        self.preferred.set(preferred.map(|(ticket, _)| *ticket));
        self.wake_head();
    }

    pub(crate) fn is_head(&self, ticket: u64) -> bool {
        self.head() == Some(ticket)
    }

    fn head(&self) -> Option<u64> {
        let first = || self.present.borrow().first_key_value().map(|(ticket, _)| *ticket);
        self.preferred.get().or_else(first)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.size.get() == 0
    }

    pub(crate) fn wake_head(&self) {
        let present = self.present.borrow();
        let head = self.head().and_then(|head| present.get(&head));
        if let Some(Waiter { wake: Some(wake), .. }) = head {
            wake.notify_one();
        }
    }

    /// What wakes this one as soon as it is the head and there is news.
    pub(crate) fn wake_of(&self, ticket: u64) -> Rc<Notify> {
        let mut present = self.present.borrow_mut();
        let waiter = present.get_mut(&ticket);
        waiter.map(|waiter| waiter.wake.get_or_insert_default().clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Means =
        Means { timeout: Duration::from_millis(5), expiry: Duration::from_millis(100) };
    const MANY: Means =
        Means { timeout: Duration::from_millis(400), expiry: Duration::from_secs(8) };

    #[test]
    fn the_head_is_the_first_who_is_present() {
        let line = Line::default();
        let [first, second] = [line.join(FEW), line.join(FEW)];
        assert!(line.is_head(first));
        line.step_out(first);
        assert!(line.is_head(second));
        line.step_in(first, FEW);
        assert!(line.is_head(first), "it has kept its place");
        line.leave(first);
        assert!(line.is_head(second));
        line.step_out(second);
        assert!(!line.is_empty(), "it will be back");
        line.leave(second);
        assert!(line.is_empty());
    }

    #[test]
    fn who_can_do_more_is_preferred() {
        let line = Line::default();
        let [first, second, third] = [line.join(FEW), line.join(FEW), line.join(MANY)];
        line.prefer_more_than(FEW);
        assert!(line.is_head(third));
        line.prefer_more_than(MANY);
        assert!(line.is_head(first), "there is none");
        line.prefer_more_than(FEW);
        line.leave(third);
        assert!(line.is_head(first));
        line.leave(first);
        assert!(line.is_head(second));
    }

    #[test]
    fn who_leaves_from_the_middle_leaves_nothing_behind() {
        let line = Line::default();
        let head = line.join(FEW);
        for _ in 0..1000 {
            let ticket = line.join(FEW);
            line.leave(ticket);
        }
        assert_eq!(line.present.borrow().len(), 1);
        assert!(line.is_head(head));
    }

    #[test]
    fn who_has_more_of_anything_can_do_more() {
        let ms = Duration::from_millis;
        let means = |timeout, expiry| Means { timeout: ms(timeout), expiry: ms(expiry) };
        assert!(means(2, 10).exceed(means(1, 20)) && means(1, 20).exceed(means(2, 10)));
        assert!(!means(1, 10).exceed(means(1, 10)));
    }

    #[test]
    fn who_is_preferred_stays_it_when_another_leaves() {
        let line = Line::default();
        let [first, _second, third] = [line.join(FEW), line.join(FEW), line.join(MANY)];
        line.prefer_more_than(FEW);
        line.leave(first);
        assert!(line.is_head(third));
    }
}
