//! The signs that writers have left who wait in a line and have met readers: whoever gets in takes them back, or the last
//! who leaves.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::task::JoinHandle;

use crate::cleanup::Cleanup;
use crate::node::Request;
use crate::round::Votes;

/// So many are remembered of a node that does not say which one it has: the last one may have been lost on its way.
const MOST_UNSURE: usize = 2;

/// The signs of a line that nodes may have: a node has the last one that came to it.
#[derive(Default)]
pub(crate) struct Signs {
    left: RefCell<Vec<Sign>>,
    next_number: Cell<u64>,
    /// A node has said that it has one.
    are_known: Cell<bool>,
}

pub(crate) struct Sign {
    /// The how manyth that was noted.
    number: u64,
    node: usize,
    /// The attempt that has left it.
    request: Rc<Request>,
    /// On the connections of that attempt: those who stand in line may have opened the nodes each for himself.
    over: Rc<Cleanup>,
}

impl Sign {
    /// Asks the node to delete it, behind the command that has left it; or over these connections if that one's are closed.
    pub(crate) fn take_back(&self, or_over: &Rc<Cleanup>) -> Option<JoinHandle<()>> {
        let over = if self.over.is_over() { or_over } else { &self.over };
        over.release(&self.request, vec![self.node])
    }
}

impl Signs {
    /// The number of the next one. An attempt that begins now replaces the signs with smaller numbers, of its own
    /// connections: a command on another one may come after it.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number.get()
    }

    /// Notes where an attempt has left a sign that began with this number. Of attempts side by side any may be the last.
    pub(crate) fn note(
        &self,
        began: u64,
        request: &Rc<Request>,
        votes: &Votes<'_>,
        over: &Rc<Cleanup>,
    ) {
        if request.kind.sign().is_none() {
            return;
        }
        let mut left = self.left.borrow_mut();
        for node in votes.with_readers() {
            let is_replaced = |sign: &Sign| {
                sign.node == node && sign.number < began && Rc::ptr_eq(&sign.over, over)
            };
            left.retain(|sign| !is_replaced(sign));
            left.push(self.sign(node, request, over));
            self.are_known.set(true);
        }
    }

    /// Notes the nodes where an attempt that was lost may have left one. Returns those that are to be taken back for it.
    pub(crate) fn note_unsure(
        &self,
        request: &Rc<Request>,
        nodes: &[usize],
        over: &Rc<Cleanup>,
    ) -> Vec<Sign> {
        if request.kind.sign().is_none() {
            return Vec::new();
        }
        let mut left = self.left.borrow_mut();
        let mut note = |&node: &usize| {
            left.push(self.sign(node, request, over));
            let mut of_node = (0..left.len()).filter(|&index| left[index].node == node);
            let oldest = of_node.next().filter(|_| of_node.count() >= MOST_UNSURE);
            oldest.map(|oldest| left.remove(oldest))
        };
        nodes.iter().filter_map(&mut note).collect()
    }

    fn sign(&self, node: usize, request: &Rc<Request>, over: &Rc<Cleanup>) -> Sign {
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        Sign { number, node, request: request.clone(), over: over.clone() }
    }

    /// Has the line met readers?
    pub(crate) fn are_known(&self) -> bool {
        self.are_known.get()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.borrow().is_empty()
    }

    /// To be taken back.
    pub(crate) fn take(&self) -> Vec<Sign> {
        self.are_known.set(false);
        self.left.take()
    }
}
