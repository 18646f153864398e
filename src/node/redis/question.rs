//! A verb on its way to a server, and where its vote goes.

use std::ops::Range;
use std::rc::Rc;

use redsync_engine::{Answer, Fate, NodeError, Replies, Reply, Request, Verb, Vote};
use tokio::sync::oneshot;

use super::command::can_run;
use super::turn::Turn;

/// A verb on its way to the server, and where its vote goes.
pub struct Question {
    pub verb: Verb,
    pub request: Rc<Request>,
    pub reply: Reply,
    /// The cluster has sent it here for this once.
    pub is_asking: bool,
    /// How often it was sent elsewhere.
    pub redirects: u8,
    /// The server did not know its script once.
    pub is_repeated: bool,
    /// Asked together with others it got no answer.
    pub is_alone: bool,
    /// It is a release that has left without a script.
    pub is_deletion: bool,
    /// It was one, and has found nothing of its own: now it asks what there is.
    pub has_missed: bool,
    /// What it holds while it is with a server of a cluster.
    pub turn: Option<Turn>,
}

impl Question {
    pub fn new(verb: Verb, request: &Rc<Request>, reply: Reply) -> Self {
        Self {
            verb,
            request: request.clone(),
            reply,
            is_asking: false,
            redirects: 0,
            is_repeated: false,
            is_alone: false,
            is_deletion: false,
            has_missed: false,
            turn: None,
        }
    }

    /// Is there still a use for it? For a release there always is: it keeps the server clean.
    pub fn is_wanted(&self) -> bool {
        self.verb == Verb::Release || self.reply.is_wanted()
    }

    /// May it be asked once more, though others may have been asked behind it? What stores a key must not come behind
    /// its own release: there is none yet while its round goes on.
    pub fn may_be_repeated(&self) -> bool {
        self.verb != Verb::Acquire || self.reply.is_open()
    }

    /// A deletion does not tell a lock that is gone from somebody else's. The script that does only reads: what was asked
    /// meanwhile may have stored the value again.
    pub fn ask_whose(&mut self) {
        self.verb = Verb::Owner;
        self.has_missed = true;
    }

    /// Casts the vote.
    pub fn answer(self, vote: Vote) {
        self.reply.send(match vote {
            // Stored since: it was absent.
            Ok(Answer::Granted) if self.has_missed => Ok(Answer::Absent),
            vote => vote,
        });
    }

    pub fn fail(self, error: &NodeError) {
        self.reply.send(Err(error.clone()));
    }

    /// It never left.
    pub fn fail_unsent(self, error: &NodeError) {
        self.reply.send(Err(error.clone().with(Fate::Unsent)));
    }
}

/// The same question about many locks.
pub struct Group {
    pub verb: Verb,
    requests: Rc<[Rc<Request>]>,
    /// Those of the requests that belong to it.
    range: Range<usize>,
    replies: Replies,
}

impl Group {
    pub fn new(verb: Verb, requests: &Rc<[Rc<Request>]>, replies: Replies) -> Self {
        Self { verb, requests: requests.clone(), range: 0..requests.len(), replies }
    }

    /// Can it be asked with one command?
    pub fn can_run(&self) -> bool {
        let [first, ..] = self.requests() else { return false };
        let goes = |it: &Rc<Request>| can_run(self.verb, it) && it.expiry == first.expiry;
        self.requests().iter().all(goes)
    }

    pub fn requests(&self) -> &[Rc<Request>] {
        &self.requests[self.range.clone()]
    }

    /// The first of them as a group of its own.
    pub fn split_off_first(&mut self, count: usize) -> Self {
        let Range { start, end } = self.range;
        let middle = end.min(start + count);
        self.range = middle..end;
        let replies = self.replies.split_off_first(count);
        Self { verb: self.verb, requests: self.requests.clone(), range: start..middle, replies }
    }

    /// One by one.
    pub fn into_questions(self) -> impl Iterator<Item = Question> {
        let requests = self.range.map(move |index| self.requests[index].clone());
        let questions = requests.zip(self.replies);
        questions.map(move |(request, reply)| Question::new(self.verb, &request, reply))
    }
}

/// Who the server is: program and version, `None` where an ACL refuses INFO.
pub type Introduction = oneshot::Sender<Result<Option<String>, NodeError>>;
