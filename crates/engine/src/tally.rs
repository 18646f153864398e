//! The votes of one round while they come in.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::mem;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::quorum::Quorum;
use crate::vote::{Answer, Bound, Detail, NodeError, Vote};

/// Collects one vote a node for each request, and wakes the round when it is complete or decided.
///
/// Only what arrives while it is open counts: a late "granted" belongs to an attempt that was
/// given up, and its key is on the way to being released.
pub(crate) struct Tally {
    quorum: Quorum,
    /// Whether to stop at the first votes that decide. For a single request.
    fail_fast: Cell<bool>,
    /// The votes of all nodes on the first request, on the second, and so on.
    votes: RefCell<Vec<Option<Vote>>>,
    /// What the answers brought, and of which node, in their order.
    details: RefCell<Vec<(usize, Detail)>>,
    open: Cell<bool>,
    pending: Cell<usize>,
    granted: Cell<usize>,
    taken: Cell<usize>,
    round: Cell<Option<Waker>>,
    /// The node whose vote the round waits for before it asks the others.
    awaited: Cell<Option<usize>>,
}

impl Tally {
    /// A tally of one vote of each of `asked` nodes on each request.
    pub(crate) fn new(quorum: Quorum, requests: usize, asked: usize, fail_fast: bool) -> Rc<Self> {
        Rc::new(Self {
            quorum,
            fail_fast: Cell::new(fail_fast),
            votes: RefCell::new(vec![None; quorum.size() * requests]),
            details: RefCell::default(),
            open: Cell::new(true),
            pending: Cell::new(asked * requests),
            granted: Cell::new(0),
            taken: Cell::new(0),
            round: Cell::new(None),
            awaited: Cell::new(None),
        })
    }

    fn cast(&self, place: usize, vote: Vote) {
        if !self.open.get() {
            return;
        }
        match vote {
            Ok(Answer::Granted) => self.granted.set(self.granted.get() + 1),
            Ok(Answer::Taken) => self.taken.set(self.taken.get() + 1),
            Ok(Answer::Absent) | Err(_) => {}
        }
        self.votes.borrow_mut()[place] = Some(vote);
        self.pending.set(self.pending.get() - 1);
        if (self.is_over() || self.awaited.get() == Some(place))
            && let Some(round) = self.round.take()
        {
            round.wake();
        }
    }

    fn is_over(&self) -> bool {
        self.pending.get() == 0 || self.fail_fast.get() && self.is_decided()
    }

    /// Granted, taken, or neither whatever the others say. (Not as soon as it cannot be granted any
    /// more: whether it is taken is for the caller to know.)
    ///
    /// Nor is it neither while those that want another fencing token may still become a quorum: that one is
    /// proposed at once.
    fn is_decided(&self) -> bool {
        let answered = self.quorum.size() - self.pending.get();
        let (granted, taken) = (self.granted.get(), self.taken.get());
        let granting = granted + self.wanting();
        [granted, taken].iter().any(|&votes| self.quorum.is_reached(votes))
            || [granted, taken].iter().all(|&votes| self.quorum.is_out_of_reach(answered - votes))
                && (self.quorum.is_reached(granting)
                    || self.quorum.is_out_of_reach(answered - granting))
    }

    /// How many nodes want the same of the fencing token: a greater one, or a smaller one.
    fn wanting(&self) -> usize {
        Bound::of_most(&self.details.borrow()).len()
    }

    /// Resolves when all have voted, or, with fail-fast, when the quorum has decided.
    pub(crate) async fn over(&self) {
        poll_fn(|cx| {
            if self.is_over() {
                return Poll::Ready(());
            }
            self.round.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Resolves with the vote of one node.
    pub(crate) async fn vote_of(&self, node: usize) -> Vote {
        self.awaited.set(Some(node));
        poll_fn(|cx| match &self.votes.borrow()[node] {
            Some(vote) => Poll::Ready(vote.clone()),
            None => {
                self.round.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }

    /// The votes so far. The count goes on until all have voted.
    pub(crate) fn go_on(&self) -> Vec<Option<Vote>> {
        self.fail_fast.set(false);
        self.votes.borrow().clone()
    }

    /// Ends the count. What comes later is ignored.
    pub(crate) fn close(&self) -> Vec<Option<Vote>> {
        self.open.set(false);
        self.votes.take()
    }

    /// Has the answer of this node brought that?
    pub(crate) fn has_brought(&self, node: usize, detail: &Detail) -> bool {
        self.details.borrow().iter().any(|(from, brought)| *from == node && brought == detail)
    }

    /// What the answers have brought.
    pub(crate) fn take_details(&self) -> Vec<(usize, Detail)> {
        self.details.take()
    }
}

/// The right to cast one node's vote on one request. Dropped without a vote, it votes "closed".
pub struct Reply {
    tally: Rc<Tally>,
    /// Where the vote stands in the tally.
    place: usize,
    cast: bool,
}

impl Reply {
    /// To the only request.
    pub(crate) fn new(tally: Rc<Tally>, node: usize) -> Self {
        Self { tally, place: node, cast: false }
    }

    /// Casts the vote.
    pub fn send(mut self, vote: Vote) {
        self.send_early(vote);
    }

    /// Casts the vote though the node is still to answer. That answer does not count.
    pub fn send_early(&mut self, vote: Vote) {
        if !mem::replace(&mut self.cast, true) {
            self.tally.cast(self.place, vote);
        }
    }

    /// What the answer brings, before the vote itself.
    pub fn bring(&self, detail: Detail) {
        self.tally.details.borrow_mut().push((self.place, detail));
    }

    /// Does the round still count votes? Then nothing was asked behind it yet about the same value.
    pub fn is_open(&self) -> bool {
        self.tally.open.get()
    }

    /// Is there still a use for it? What was asked by a round that has failed meanwhile need not be
    /// sent any more; one that was granted is better off with another vote.
    pub fn is_wanted(&self) -> bool {
        self.tally.open.get() || self.tally.quorum.is_reached(self.tally.granted.get())
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.send_early(Err(NodeError::closed()));
    }
}

/// The right to cast one node's votes on several requests: a [`Reply`] for each, in their order.
pub struct Replies {
    tally: Rc<Tally>,
    node: usize,
    requests: Range<usize>,
}

impl Replies {
    /// To so many requests.
    pub(crate) fn new(tally: Rc<Tally>, requests: usize, node: usize) -> Self {
        Self { tally, node, requests: 0..requests }
    }

    /// Those to the first requests, as an object of its own.
    pub fn split_off_first(&mut self, count: usize) -> Self {
        let Range { start, end } = self.requests;
        let middle = end.min(start + count);
        self.requests = middle..end;
        Self { tally: self.tally.clone(), node: self.node, requests: start..middle }
    }
}

impl Iterator for Replies {
    type Item = Reply;

    fn next(&mut self) -> Option<Reply> {
        let request = self.requests.next()?;
        let place = request * self.tally.quorum.size() + self.node;
        Some(Reply { tally: self.tally.clone(), place, cast: false })
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Wake};

    use super::*;
    use crate::vote::Page;

    const NODES: usize = 3;

    fn tally(requests: usize) -> Rc<Tally> {
        Tally::new(Quorum::of(NODES), requests, NODES, false)
    }

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_round_is_woken_by_the_last_vote_alone() {
        let (tally, woken) = (tally(1), Arc::<Woken>::default());
        let waker = Waker::from(woken.clone());
        let mut over = pin!(tally.over());
        assert!(over.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        for (node, times) in [(0, 0), (1, 0), (2, 1)] {
            Reply::new(tally.clone(), node).send(Ok(Answer::Granted));
            assert_eq!(woken.0.load(Ordering::Relaxed), times, "after the vote of node {node}");
        }
    }

    #[test]
    fn what_a_node_has_brought_is_not_told_of_another() {
        let tally = tally(1);
        let page = Detail::Page(Page::of(&[], ""));
        let replies = [0, 1].map(|node| Reply::new(tally.clone(), node));
        replies[0].bring(Detail::Readers);
        replies[1].bring(page.clone());
        let has = |node, detail| tally.has_brought(node, detail);
        assert!(has(0, &Detail::Readers) && has(1, &page));
        assert!(!has(1, &Detail::Readers) && !has(0, &page));
    }

    #[test]
    fn a_reply_is_open_until_the_round_counts_no_more() {
        let tally = tally(1);
        let reply = Reply::new(tally.clone(), 0);
        assert!(reply.is_open());
        tally.close();
        assert!(!reply.is_open());
    }

    #[test]
    fn replies_are_split_in_their_order() {
        let places = |replies: Replies| replies.map(|reply| reply.place).collect::<Vec<_>>();
        let mut rest = Replies::new(tally(5), 5, 1);
        let none = rest.split_off_first(0);
        let (first, second) = (rest.split_off_first(2), rest.split_off_first(1));
        assert_eq!([none, first, second].map(places), [vec![], vec![1, 4], vec![7]]);
        assert_eq!(places(rest.split_off_first(9)), [10, 13]);
        assert_eq!(places(rest), []);
        let tally = tally(5);
        drop(Replies::new(tally.clone(), 5, 1));
        assert_eq!(tally.pending.get(), 5 * (NODES - 1), "a vote on each request");
    }
}
