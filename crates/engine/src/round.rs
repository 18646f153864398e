//! One question to several nodes at once, about one lock or many.

use std::borrow::Cow;
use std::mem;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::node::{Request, Verb};
use crate::nodes::Nodes;
use crate::quorum::Quorum;
use crate::tally::{Replies, Reply, Tally};
use crate::vote::{Answer, Fate, NodeError, Vote};

/// One fan-out: every node is asked at once, and each has the request's timeout to answer.
pub(crate) struct Round {
    tally: Rc<Tally>,
    requests: usize,
    asked: Vec<usize>,
    deadline: Instant,
    nodes: Rc<Nodes>,
}

impl Round {
    /// Asks the nodes with these indexes, in that order.
    pub(crate) fn ask(
        nodes: &Rc<Nodes>,
        verb: Verb,
        request: &Rc<Request>,
        asked: Vec<usize>,
        fail_fast: bool,
    ) -> Self {
        let round = Self::begin(nodes, 1, request.timeout, asked, fail_fast);
        for &node in &round.asked {
            nodes.members()[node].ask(verb, request, Reply::new(round.tally.clone(), node));
        }
        round
    }

    /// Asks all nodes about each of several locks, which have the timeout of the first.
    pub(crate) fn ask_each(nodes: &Rc<Nodes>, verb: Verb, requests: &Rc<[Rc<Request>]>) -> Self {
        let timeout = requests.first().map_or(Duration::ZERO, |request| request.timeout);
        let round = Self::begin(nodes, requests.len(), timeout, nodes.order(false), false);
        for &node in &round.asked {
            let replies = Replies::new(round.tally.clone(), requests.len(), node);
            nodes.members()[node].ask_each(verb, requests, replies);
        }
        round
    }

    fn begin(
        nodes: &Rc<Nodes>,
        requests: usize,
        timeout: Duration,
        asked: Vec<usize>,
        fail_fast: bool,
    ) -> Self {
        let deadline = Instant::now() + timeout;
        let tally = Tally::new(nodes.quorum(), requests, asked.len(), fail_fast);
        nodes.begin_rounds(requests);
        Self { tally, requests, asked, deadline, nodes: nodes.clone() }
    }

    /// The votes, when all are in, or time is up, or (fail-fast) the quorum has decided.
    pub(crate) async fn votes(mut self) -> Votes<'static> {
        let votes = Cow::Owned(self.close().await);
        let asked = Cow::Owned(mem::take(&mut self.asked));
        Votes { votes, asked, quorum: self.nodes.quorum() }
    }

    /// The votes on each lock, when all are in, or time is up.
    pub(crate) async fn votes_on_each(mut self) -> VotesOnEach {
        let votes = self.close().await;
        VotesOnEach { votes, asked: mem::take(&mut self.asked), quorum: self.nodes.quorum() }
    }

    async fn close(&self) -> Vec<Option<Vote>> {
        let time_is_up = timeout_at(self.deadline, self.tally.over()).await.is_err();
        let mut votes = self.tally.close();
        if time_is_up {
            for of_request in votes.chunks_mut(self.nodes.quorum().size()) {
                for &node in &self.asked {
                    of_request[node].get_or_insert_with(|| Err(NodeError::timed_out()));
                }
            }
        }
        votes
    }
}

/// A round that is given up counts no more votes, and what has not left for a node need not leave.
impl Drop for Round {
    fn drop(&mut self) {
        self.tally.close();
        self.nodes.end_rounds(self.requests);
    }
}

/// The outcome of a round about several locks.
pub(crate) struct VotesOnEach {
    votes: Vec<Option<Vote>>,
    asked: Vec<usize>,
    quorum: Quorum,
}

impl VotesOnEach {
    /// In the order of the requests.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Votes<'_>> {
        let (asked, quorum) = (Cow::Borrowed(&self.asked[..]), self.quorum);
        self.votes.chunks(quorum.size()).map(move |votes| Votes {
            votes: Cow::Borrowed(votes),
            asked: asked.clone(),
            quorum,
        })
    }
}

/// The outcome of a round: one entry a node, `None` where none was awaited.
pub(crate) struct Votes<'a> {
    votes: Cow<'a, [Option<Vote>]>,
    asked: Cow<'a, [usize]>,
    quorum: Quorum,
}

impl Votes<'_> {
    fn count(&self, answer: Answer) -> usize {
        self.votes.iter().filter(|vote| matches!(vote, Some(Ok(given)) if *given == answer)).count()
    }

    /// A quorum has granted.
    pub(crate) fn granted(&self) -> bool {
        self.quorum.is_reached(self.count(Answer::Granted))
    }

    /// A quorum stores somebody else's value.
    pub(crate) fn taken(&self) -> bool {
        self.quorum.is_reached(self.count(Answer::Taken))
    }

    /// So many nodes do not store our value that the others are no quorum, whatever they would say.
    pub(crate) fn lost(&self) -> bool {
        self.quorum.is_out_of_reach(self.count(Answer::Taken) + self.count(Answer::Absent))
    }

    /// The nodes that may have stored what they were asked to store.
    pub(crate) fn holding(&self, is_all_or_nothing: bool) -> Vec<usize> {
        self.asked_where(|vote| match vote {
            Some(Ok(answer)) => *answer == Answer::Granted,
            Some(Err(error)) => match error.fate {
                Fate::Unsent => false,
                Fate::Unknown => true,
                // A script may have been refused half-way.
                Fate::Refused | Fate::Denied => !is_all_or_nothing,
            },
            None => true,
        })
    }

    /// The nodes that have to be asked again.
    pub(crate) fn unsettled(&self) -> Vec<usize> {
        self.asked_where(|vote| match vote {
            Some(Ok(_)) => false,
            Some(Err(error)) => error.fate != Fate::Denied,
            None => true,
        })
    }

    /// The nodes that granted.
    pub(crate) fn granting(&self) -> Vec<usize> {
        self.asked_where(|vote| matches!(vote, Some(Ok(Answer::Granted))))
    }

    /// The nodes that store nothing.
    pub(crate) fn absent(&self) -> Vec<usize> {
        self.asked_where(|vote| matches!(vote, Some(Ok(Answer::Absent))))
    }

    fn asked_where(&self, is_meant: impl Fn(&Option<Vote>) -> bool) -> Vec<usize> {
        self.asked.iter().copied().filter(|&node| is_meant(&self.votes[node])).collect()
    }

    /// One entry a node, for the error that reports them.
    pub(crate) fn into_inner(self) -> Vec<Option<Vote>> {
        self.votes.into_owned()
    }
}
