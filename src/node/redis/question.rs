//! A verb on its way to a server, and where its vote goes.

use std::rc::Rc;

use redsync_engine::{Fate, NodeError, Reply, Request, Verb};
use tokio::sync::oneshot;

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
        }
    }

    /// Is there still a use for it? For a release there always is: it keeps the server clean.
    pub fn is_wanted(&self) -> bool {
        self.verb == Verb::Release || self.reply.is_wanted()
    }

    pub fn fail(self, error: &NodeError) {
        self.reply.send(Err(error.clone()));
    }

    /// It never left.
    pub fn fail_unsent(self, error: &NodeError) {
        self.reply.send(Err(error.clone().with(Fate::Unsent)));
    }
}

/// Who the server is: program and version, `None` where an ACL refuses INFO.
pub type Introduction = oneshot::Sender<Result<Option<String>, NodeError>>;
