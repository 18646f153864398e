//! What a node is asked. Whoever adds a backend implements [`Node`].

use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::kind::Kind;
use crate::notice::{Guard, Notice};
use crate::tally::{Replies, Reply};
use crate::token::Token;
use crate::value::Value;
use crate::vote::NodeError;

/// The keys of one lock: taken, extended and released together, all or nothing.
pub type Keys = Rc<[Box<str>]>;

/// What a node can do with the keys and the value of a [`Request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Store the value under every key, to expire after `expiry`, unless any of the keys exists:
    /// granted or taken. Redis: `SET key value NX PX expiry`.
    ///
    /// With a [`token`](Request::token): unless, too, the node has granted a token to any of the keys that is
    /// not less; it remembers the new one. Otherwise the answer is absent, and what it would grant goes to
    /// [`Reply::bring`] before that.
    ///
    /// Each [`Kind`] has its own rule; what is said here of the verbs is that of a mutex.
    Acquire,
    /// Delete the keys that store the value: granted if all did, else taken if any stores
    /// another's, else absent.
    Release,
    /// Make the keys live for `expiry` from now if all store the value; never shorten their life,
    /// for a promise may have been given on it.
    Extend {
        /// Store the value again where a key has vanished, unless another key is somebody else's.
        recreate: bool,
    },
    /// Make the keys that store the value live for `expiry` from now and no longer; never prolong their life. The
    /// answer is that of a release.
    Shorten,
    /// Do all keys store the value? Changes nothing.
    Owner,
    /// What is stored under the first key, and for how long? Changes nothing; what there is goes to
    /// [`Reply::bring`] before the answer.
    Inspect,
    /// Which keys may be locks that are held: whatever could be an ownership value and expires, and is no
    /// [side key](crate::Page). Changes nothing, and says nothing of a lock. The first key is a pattern, which a
    /// backend may leave unread, and the value says where to go on: `""` at the beginning, else as the page before
    /// says. The page goes to [`Reply::bring`] before the answer.
    Scan,
}

/// The operands of a [`Verb`].
#[derive(Clone, Debug)]
pub struct Request {
    /// By what rule it is granted.
    pub kind: Kind,
    /// Of so many permits the lock is one. Nothing for a node to go by: each permit is a lock of its own.
    pub permits: u16,
    /// The fencing token that an acquisition proposes.
    pub token: Option<Token>,
    /// The keys of the lock, at least one.
    pub keys: Keys,
    /// Whose lock it is.
    pub value: Value,
    /// Time to live on the node, in whole milliseconds.
    pub expiry: Duration,
    /// How long the round waits for the answer.
    pub timeout: Duration,
    /// A server that may have forgotten locks has no vote on new ones before it has been up for so long.
    pub quarantine: Duration,
}

impl Request {
    /// Does a node store all that it asks for, or nothing? (A script may be refused half-way.)
    pub(crate) fn is_all_or_nothing(&self) -> bool {
        self.keys.len() == 1 && self.kind == Kind::default()
    }

    /// The same for what its keys store, and not for the sign that it may have left: those of its line who wait need it.
    pub(crate) fn but_for_sign(self: &Rc<Self>) -> Rc<Self> {
        match self.kind.sign() {
            // A writer's keys store what a mutex's do.
            Some(_) => Rc::new(Self { kind: Kind::default(), ..Self::clone(self) }),
            None => self.clone(),
        }
    }

    /// What a server may be asked that has been up for so long: one that may have forgotten locks grants no new one,
    /// and stores none again.
    ///
    /// # Errors
    /// For how long it abstains, where that leaves nothing.
    pub fn in_quarantine(&self, verb: Verb, uptime: Duration) -> Result<Verb, Duration> {
        match verb {
            verb if self.quarantine <= uptime => Ok(verb),
            Verb::Acquire => Err(self.quarantine - uptime),
            Verb::Extend { recreate: true } => Ok(Verb::Extend { recreate: false }),
            verb => Ok(verb),
        }
    }
}

/// Whether a node can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The first connection is being made.
    Connecting,
    /// It answered.
    Up,
    /// It did not answer, or cannot be reached.
    Down,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it can be asked.
    pub status: Status,
    /// Round trip of the question.
    pub latency: Option<Duration>,
    /// Program and version, such as `redis 7.0.15`.
    pub server: Option<String>,
    /// Why it is not up; or what is amiss though it is.
    pub error: Option<NodeError>,
    /// Whether it tells of keys that are released; `None` if that was not found out.
    pub watches: Option<bool>,
    /// For how long it is known to have been up; `None` where nobody asked for a quarantine.
    pub uptime: Option<Duration>,
}

impl Health {
    /// Not up, and why.
    pub fn down(error: NodeError) -> Self {
        Self {
            status: Status::Down,
            latency: None,
            server: None,
            error: Some(error),
            watches: None,
            uptime: None,
        }
    }
}

/// One independent store that votes on locks.
///
/// The contract that the engine's clean-up rests on: **a node applies what it is asked about one
/// key in the order in which it was asked**, or not at all. A release that is asked for right after
/// an acquisition that got no answer therefore removes its key.
pub trait Node {
    /// Answers through `reply`, at once or later, exactly once. Must not block. An acquisition that
    /// has not left for the node yet when [`Reply::is_wanted`] turns false should not leave at all.
    fn ask(&self, verb: Verb, request: &Rc<Request>, reply: Reply);

    /// Asks the same about many locks, which a backend may do with one command.
    fn ask_each(&self, verb: Verb, requests: &Rc<[Rc<Request>]>, replies: Replies) {
        for (request, reply) in requests.iter().zip(replies) {
            self.ask(verb, request, reply);
        }
    }

    /// Is the node there, how far away, and what is it? Answers within `limit`.
    fn health(&self, limit: Duration) -> Pin<Box<dyn Future<Output = Health>>>;

    /// Looks at the keys, says through `notice` how they are for who wants a lock of this kind, and once more
    /// when any of them may have changed since: whoever changed it, and however. Without delay, and without
    /// blocking. A node that cannot do it drops the notice, and is asked again at the next scheduled attempt;
    /// one that loses its connection drops all of them.
    ///
    /// For a mutex and a writer, the keys are free if none exists. For a reader, what is in the way is another value
    /// than the mark of the readers, and a writer's sign: a change of either is told.
    fn watch(&self, keys: &Keys, kind: Kind, notice: Notice) {
        let _ = (keys, kind, notice);
    }

    /// Can it [`watch`](Node::watch)? Found out within `limit`.
    fn watches(&self, limit: Duration) -> Pin<Box<dyn Future<Output = Option<bool>>>> {
        let _ = limit;
        Box::pin(ready(Some(false)))
    }

    /// From now on, tells when somebody changes or deletes a key that it was last asked about by [`Verb::Extend`] or
    /// [`Verb::Owner`]; when it has just become able to tell, too, of all keys. What this one asks for changes nothing
    /// in that sense. Without a command for each key: a node that cannot do that does nothing.
    fn tell_of_changes(&self, guard: Weak<dyn Guard>) {
        let _ = guard;
    }

    /// May what it is asked arrive twice, in its place in the order, with only the last answer told?
    /// Clients send a lost command again. "Taken" may then be about the very value that was to be
    /// stored, so it is released there too.
    fn may_repeat(&self) -> bool {
        false
    }

    /// Drops connections and answers all that is asked from now on with an error.
    fn close(&self);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::request;

    #[test]
    fn who_may_have_forgotten_grants_no_new_lock_and_stores_none_again() {
        let ms = Duration::from_millis;
        let request = Request { quarantine: ms(1000), ..request(Kind::Mutex, "value", 500) };
        let (kept, again) = (Verb::Extend { recreate: false }, Verb::Extend { recreate: true });
        assert_eq!(request.in_quarantine(Verb::Acquire, ms(400)), Err(ms(600)));
        assert_eq!(request.in_quarantine(again, ms(999)), Ok(kept));
        for verb in [kept, Verb::Release, Verb::Shorten, Verb::Owner, Verb::Inspect, Verb::Scan] {
            assert_eq!(request.in_quarantine(verb, ms(400)), Ok(verb));
        }
        for verb in [Verb::Acquire, again] {
            assert_eq!(request.in_quarantine(verb, ms(1000)), Ok(verb), "it is over");
        }
    }

    /// One that has what it must have, and nothing else.
    struct Plain;

    impl Node for Plain {
        fn ask(&self, _: Verb, _: &Rc<Request>, _: Reply) {}

        fn health(&self, _: Duration) -> Pin<Box<dyn Future<Output = Health>>> {
            Box::pin(ready(Health::down(NodeError::closed())))
        }

        fn close(&self) {}
    }

    #[tokio::test]
    async fn a_node_that_says_nothing_of_it_asks_once_and_does_not_watch() {
        assert!(!Plain.may_repeat());
        assert_eq!(Plain.watches(Duration::ZERO).await, Some(false));
    }
}
