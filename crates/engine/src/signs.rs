//! The signs that writers have left who wait in a line and have met readers: whoever gets in takes them back, or the last
//! who leaves.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::node::Request;
use crate::round::Votes;

/// The signs of a line that nodes may have: a node has the last one that came to it.
#[derive(Default)]
pub(crate) struct Signs {
    left: RefCell<Vec<Sign>>,
    next_number: Cell<u64>,
}

pub(crate) struct Sign {
    /// The how manyth that was noted.
    number: u64,
    pub(crate) node: usize,
    /// The attempt that has left it.
    pub(crate) request: Rc<Request>,
}

impl Signs {
    /// The number of the next one. An attempt that begins now replaces the signs with smaller numbers.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number.get()
    }

    /// Notes where an attempt has left a sign that began with this number. Of attempts side by side any may be the last.
    pub(crate) fn note(&self, began: u64, request: &Rc<Request>, votes: &Votes<'_>) {
        if request.kind.sign().is_none() {
            return;
        }
        let mut left = self.left.borrow_mut();
        for node in votes.with_readers() {
            left.retain(|sign| sign.node != node || sign.number >= began);
            let number = self.next_number.get();
            self.next_number.set(number + 1);
            left.push(Sign { number, node, request: request.clone() });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.borrow().is_empty()
    }

    /// To be taken back.
    pub(crate) fn take(&self) -> Vec<Sign> {
        self.left.take()
    }
}
