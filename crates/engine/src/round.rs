//! One question to several nodes at once, about one lock or many.

use std::borrow::Cow;
use std::mem;
use std::rc::Rc;
use std::time::Duration;

use crate::node::{Request, Verb};
use crate::nodes::Nodes;
use crate::quorum::Quorum;
use crate::tally::{Replies, Reply, Tally};
use crate::time::{Instant, timeout_at};
use crate::vote::{Answer, Bound, Detail, Fate, NodeError, Vote};

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

    /// Asks the nodes one after the other until one answers, and if that one grants all others at once.
    ///
    /// Contenders that ask in the same order meet at the first node: one of them goes on, and the
    /// others have stored nothing that would have to be released. All at once, each could get a
    /// minority, again and again.
    ///
    /// One that does not grant for its fencing token's sake is passed over like one that does not answer, until
    /// they are a quorum: one alone may be the one that is wrong, and no others could have kept to what it wants.
    ///
    /// Where readers are in a writer's way, all others are asked too: his sign keeps new ones off only if a quorum
    /// cannot be had without a node that has it.
    pub(crate) async fn one_first(
        nodes: &Rc<Nodes>,
        request: &Rc<Request>,
        order: &[usize],
        fail_fast: bool,
    ) -> Votes<'static> {
        let mut refusing = 0;
        let mut round = Self::begin(nodes, 1, request.timeout, order.to_vec(), fail_fast);
        round.asked.clear();
        let mut deadline = round.deadline;
        for (index, &node) in order.iter().enumerate() {
            round.also_ask(Verb::Acquire, request, node);
            // A first node that hangs must leave time for the others.
            let limit = (Instant::now() + request.timeout / 2).min(deadline);
            let vote = timeout_at(limit, round.tally.vote_of(node)).await;
            match vote {
                Ok(Ok(Answer::Taken)) if !round.tally.has_brought(node, &Detail::Readers) => break,
                Ok(Ok(Answer::Granted | Answer::Taken)) | Err(_) => {
                    // Each node has the whole timeout from when it is asked: who needs more than half of
                    // it could otherwise never be second.
                    round.deadline = Instant::now() + request.timeout;
                    for &other in &order[index + 1..] {
                        round.also_ask(Verb::Acquire, request, other);
                    }
                    return round.votes().await;
                }
                Ok(Ok(Answer::Absent)) => {
                    refusing += 1;
                    if nodes.quorum().is_reached(refusing) {
                        break;
                    }
                    // The next one has a time of its own, too.
                    deadline = Instant::now() + request.timeout;
                }
                Ok(Err(_)) => {}
            }
        }
        let (votes, asked) = (round.tally.close(), mem::take(&mut round.asked));
        round.outcome(votes, asked)
    }

    fn also_ask(&mut self, verb: Verb, request: &Rc<Request>, node: usize) {
        self.asked.push(node);
        self.nodes.members()[node].ask(verb, request, Reply::new(self.tally.clone(), node));
    }

    /// The votes, when all are in, or time is up, or (fail-fast) the quorum has decided.
    pub(crate) async fn votes(mut self) -> Votes<'static> {
        let (votes, asked) = (self.close().await, mem::take(&mut self.asked));
        self.outcome(votes, asked)
    }

    /// The votes as they are when they decide (fail-fast), with the round going on; else as `votes`.
    pub(crate) async fn first_votes(&self) -> Votes<'static> {
        let time_is_up = timeout_at(self.deadline, self.tally.over()).await.is_err();
        let votes = if time_is_up { self.close().await } else { self.tally.go_on() };
        self.outcome(votes, self.asked.clone())
    }

    /// The votes on each lock, when all are in, or time is up.
    pub(crate) async fn votes_on_each(mut self) -> VotesOnEach {
        let votes = self.close().await;
        VotesOnEach { votes, asked: mem::take(&mut self.asked), quorum: self.nodes.quorum() }
    }

    fn outcome(&self, votes: Vec<Option<Vote>>, asked: Vec<usize>) -> Votes<'static> {
        Votes {
            votes: Cow::Owned(votes),
            asked: Cow::Owned(asked),
            quorum: self.nodes.quorum(),
            details: self.tally.take_details(),
        }
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
            details: Vec::new(),
        })
    }
}

/// The outcome of a round: one entry a node, `None` where none was awaited.
pub(crate) struct Votes<'a> {
    votes: Cow<'a, [Option<Vote>]>,
    asked: Cow<'a, [usize]>,
    quorum: Quorum,
    /// What answers have brought, and of which node.
    details: Vec<(usize, Detail)>,
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

    /// So few nodes have answered that they are no quorum, whatever they said.
    pub(crate) fn failed(&self) -> bool {
        let errors = self.votes.iter().filter(|vote| matches!(vote, Some(Err(_)))).count();
        self.quorum.is_out_of_reach(errors)
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

    /// Those of them that have not said so.
    pub(crate) fn silent(&self, is_all_or_nothing: bool) -> Vec<usize> {
        let mut silent = self.holding(is_all_or_nothing);
        silent.retain(|&node| !self.granted_by(node));
        silent
    }

    /// The nodes that have to be asked again.
    pub(crate) fn unsettled(&self) -> Vec<usize> {
        self.asked_where(|vote| match vote {
            Some(Ok(_)) => false,
            Some(Err(error)) => error.fate != Fate::Denied,
            None => true,
        })
    }

    /// Has every node that was asked answered, or had its time?
    pub(crate) fn are_complete(&self) -> bool {
        self.asked.iter().all(|&node| self.votes[node].is_some())
    }

    /// Has this node granted?
    pub(crate) fn granted_by(&self, node: usize) -> bool {
        matches!(self.votes.get(node), Some(Some(Ok(Answer::Granted))))
    }

    /// The nodes that granted.
    pub(crate) fn granting(&self) -> Vec<usize> {
        self.asked_where(|vote| matches!(vote, Some(Ok(Answer::Granted))))
    }

    /// The nodes that store somebody else's value, or so they say.
    pub(crate) fn taking(&self) -> Vec<usize> {
        self.asked_where(|vote| matches!(vote, Some(Ok(Answer::Taken))))
    }

    /// The nodes that have readers in a writer's way, or a sign of his.
    pub(crate) fn with_readers(&self) -> impl Iterator<Item = usize> {
        let with_readers = self.details.iter().filter(|(_, brought)| *brought == Detail::Readers);
        with_readers.map(|(node, _)| *node)
    }

    /// The nodes that store nothing.
    pub(crate) fn absent(&self) -> Vec<usize> {
        self.asked_where(|vote| matches!(vote, Some(Ok(Answer::Absent))))
    }

    fn asked_where(&self, is_meant: impl Fn(&Option<Vote>) -> bool) -> Vec<usize> {
        self.asked.iter().copied().filter(|&node| is_meant(&self.votes[node])).collect()
    }

    /// One entry a node.
    pub(crate) fn as_slice(&self) -> &[Option<Vote>] {
        &self.votes
    }

    /// Is there a quorum of nodes that store nothing?
    pub(crate) fn is_free(&self) -> bool {
        self.quorum.is_reached(self.absent().len())
    }

    /// Those of these nodes that were not asked.
    pub(crate) fn not_asked(&self, mut nodes: Vec<usize>) -> Vec<usize> {
        nodes.retain(|node| !self.asked.contains(node));
        nodes
    }

    /// With the votes of a question to the other nodes.
    pub(crate) fn and(self, others: Self) -> Votes<'static> {
        let (mut votes, mut asked) = (self.votes.into_owned(), self.asked.into_owned());
        let details = self.details.into_iter().chain(others.details).collect();
        for &node in others.asked.iter() {
            votes[node].clone_from(&others.votes[node]);
        }
        asked.extend_from_slice(&others.asked);
        Votes { votes: Cow::Owned(votes), asked: Cow::Owned(asked), quorum: self.quorum, details }
    }

    /// What a proposal has to keep to for a quorum to grant it; `None` if it is not the token that is in the way.
    ///
    /// It is what a quorum needs and no more: one node whose clock is years ahead must not take the others with it.
    /// So there is none while fewer nodes have told theirs than have to grant yet.
    pub(crate) fn bound_of_quorum(&self) -> Option<Bound> {
        let missing = self.missing_for_quorum()?;
        Bound::of_most(&self.details).get(missing - 1).copied()
    }

    /// What a proposal has to keep to for all of those nodes to grant it that want another.
    pub(crate) fn bound_of_all(&self) -> Option<Bound> {
        Bound::of_most(&self.details).pop()
    }

    /// How many more have to grant for a quorum; `None` if none have to, or so many cannot.
    fn missing_for_quorum(&self) -> Option<usize> {
        let errors = self.votes.iter().filter(|vote| matches!(vote, Some(Err(_)))).count();
        let refusing = self.count(Answer::Taken) + errors;
        let missing = self.quorum.needed().saturating_sub(self.count(Answer::Granted));
        (missing > 0 && !self.quorum.is_out_of_reach(refusing)).then_some(missing)
    }

    /// The votes as they are told: with an error of each node that wanted another fencing token.
    pub(crate) fn with_bounds_as_errors(mut self) -> Self {
        for (node, detail) in mem::take(&mut self.details) {
            if let Detail::Bound(bound) = detail {
                self.votes.to_mut()[node] = Some(Err(bound.error()));
            }
        }
        self
    }

    /// What the answers have brought, and of which node, in the order in which they came.
    pub(crate) fn take_details(&mut self) -> Vec<(usize, Detail)> {
        mem::take(&mut self.details)
    }

    /// One entry a node, for the error that reports them.
    pub(crate) fn into_inner(self) -> Vec<Option<Vote>> {
        self.votes.into_owned()
    }
}
