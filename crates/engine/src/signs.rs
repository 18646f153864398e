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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kind::Kind;
    use crate::node::Verb;
    use crate::round::Round;
    use crate::testing::{nodes, request};
    use crate::vote::Answer;

    const WRITE: Kind = Kind::Write { sign: Duration::from_secs(1), renews: false };

    fn numbers(signs: &Signs) -> Vec<u64> {
        signs.left.borrow().iter().map(|sign| sign.number).collect()
    }

    #[tokio::test]
    async fn a_sign_replaces_those_that_were_there_when_its_attempt_began() {
        let read = request(Kind::Read, "a reader", 1000);
        let nodes = nodes(3, |node| assert_eq!(node.apply(Verb::Acquire, &read), Answer::Granted));
        let signs = Signs::default();
        let [ours, others] = [(); 2].map(|()| Cleanup::new(nodes.clone()));
        let request = Rc::new(request(WRITE, "a writer", 1000));
        let met =
            Round::ask(&nodes, Verb::Acquire, &request, nodes.order(false), false).votes().await;
        signs.note(signs.next_number(), &request, &met, &ours);
        assert_eq!(numbers(&signs), [0, 1, 2]);
        let began = signs.next_number();
        signs.note(began, &request, &met, &ours);
        assert_eq!(numbers(&signs), [3, 4, 5]);
        signs.note(began, &request, &met, &ours);
        assert_eq!(numbers(&signs), [3, 4, 5, 6, 7, 8], "of an attempt beside it");
        signs.note(signs.next_number(), &request, &met, &others);
        assert_eq!(numbers(&signs), Vec::from_iter(3..12), "over another connection");
        assert!(signs.are_known());
        assert_eq!((signs.take().len(), signs.are_known(), signs.is_empty()), (9, false, true));
    }

    #[test]
    fn of_signs_that_may_be_there_the_last_two_of_each_node_are_remembered() {
        let (cleanup, signs) = (Cleanup::new(nodes(3, |_| {})), Signs::default());
        let note = |kind, nodes: &[usize]| {
            let older =
                signs.note_unsure(&Rc::new(request(kind, "a value", 1000)), nodes, &cleanup);
            older.iter().map(|sign| (sign.node, sign.number)).collect::<Vec<_>>()
        };
        assert_eq!(note(Kind::Mutex, &[0, 1]), []);
        assert!(signs.is_empty(), "it has none");
        assert_eq!([note(WRITE, &[0, 1]), note(WRITE, &[0, 1])], [[], []]);
        assert_eq!([note(WRITE, &[0]), note(WRITE, &[2])], [vec![(0, 0)], vec![]]);
        assert_eq!(numbers(&signs), [1, 2, 3, 4, 5]);
    }
}
