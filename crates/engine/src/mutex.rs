//! What a mutex does.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::error::Error;
use crate::kind::Kind;
use crate::lease::Hold;
use crate::node::{Keys, Request, Verb};
use crate::options::Options;
use crate::permit;
use crate::queue::Wanted;
use crate::redsync::Redsync;
use crate::report::Report;
use crate::round::{Round, Votes};
use crate::token::Token;
use crate::validity;
use crate::value::Value;
use crate::vote::Bound;

/// A lock that is held: by whom, and until when on the [clock](crate::Clock).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The ownership value.
    pub value: Value,
    /// With [`Options::fencing`]: greater than that of every earlier holder of each of the keys.
    pub token: Option<Token>,
    /// When it stops being valid, drift deducted.
    pub until: Duration,
}

/// One or several names, locked together on a quorum of nodes.
pub struct Mutex {
    pub(crate) redsync: Rc<Redsync>,
    pub(crate) keys: Keys,
    pub(crate) options: Options,
    /// What the call has seen so far.
    pub(crate) seen: RefCell<Report>,
    /// What the nodes want of the fencing token of the next attempt.
    pub(crate) bound: Cell<Option<Bound>>,
}

impl Mutex {
    /// A mutex on these keys. Asks nothing yet.
    pub fn new(redsync: Rc<Redsync>, keys: Keys, options: Options) -> Self {
        Self { redsync, keys, options, seen: RefCell::default(), bound: Cell::default() }
    }

    /// Releases the lock of this value.
    ///
    /// An empty value (nothing was ever locked) touches nothing, and tells what is there.
    ///
    /// # Errors
    /// [`Error::Taken`] when a quorum stores somebody else's value, [`Error::Expired`] when the lock
    /// was no longer held, [`Error::Failed`] when too few nodes answered to tell.
    pub async fn unlock(&self, value: Value) -> Result<(), Error> {
        let verb = if value.is_empty() { Verb::Owner } else { Verb::Release };
        let request = self.request(value);
        self.redsync.leases.end(&request.keys, &request.value);
        let queue = self.redsync.queues.find(&self.wanted());
        let round = self.ask(verb, &request);
        if let Some(queue) = &queue {
            queue.releasing(&request.value);
        }
        let votes = match verb {
            Verb::Release => self.redsync.cleanup.follow_up(round, &request).await,
            _ => round.votes().await,
        };
        if let Some(queue) = &queue {
            queue.released(&request.value);
            self.redsync.queues.tidy(queue);
        }
        match votes {
            votes if votes.granted() && verb == Verb::Release => {
                self.seen.borrow_mut().votes = votes.into_inner();
                Ok(())
            }
            votes => Err(not_released(votes)),
        }
    }

    /// Releases the lock of this value, and keeps others off until that time: what is left of its life on the nodes is
    /// shortened to it, and not prolonged. A node that does not hear of it keeps them off for longer.
    ///
    /// # Errors
    /// As those of [`unlock`](Mutex::unlock).
    pub async fn unlock_at(&self, value: Value, when: Duration) -> Result<(), Error> {
        let rest = when.saturating_sub(self.redsync.now());
        if rest.is_zero() || value.is_empty() {
            return self.unlock(value).await;
        }
        let expiry = validity::rest(rest, self.options.drift_factor);
        let request = Rc::new(Request { expiry, ..self.operands(value) });
        self.redsync.leases.end(&request.keys, &request.value); // nobody extends it any more
        let votes = self.ask(Verb::Shorten, &request).votes().await;
        self.redsync.queues.shorten(&request, when.saturating_sub(self.redsync.now()));
        if votes.granted() {
            self.seen.borrow_mut().votes = votes.into_inner();
            return Ok(());
        }
        Err(not_released(votes))
    }

    /// Lets the lock of this value live for another [`Options::expiry`] from now.
    ///
    /// It is stored again, with [`Options::recreate_on_extend`], unless nodes were asked to release it meanwhile: that may
    /// reach one of them later.
    ///
    /// # Errors
    /// [`Error::NotExtended`] when no quorum did in time; the lock is then valid as long as before.
    pub async fn extend(&self, value: Value) -> Result<Held, Error> {
        if value.is_empty() {
            return Err(Error::NotExtended { votes: Vec::new() });
        }
        let request = self.request(value);
        let start = self.redsync.now();
        let is_given_up = || self.redsync.cleanup.has_given_up(&request.value);
        let recreate = self.options.recreate_on_extend && !is_given_up();
        self.redsync.leases.share(&request);
        let votes = self.ask(Verb::Extend { recreate }, &request).votes().await;
        let until = validity::until(start, self.options.expiry, self.options.drift_factor);
        let is_undone = recreate && is_given_up();
        if votes.granted() && self.redsync.now() < until && !is_undone {
            self.redsync.leases.prolong(&request, until);
            self.seen.borrow_mut().votes = votes.into_inner();
            let token = request.value.token().filter(|_| self.options.fencing);
            return Ok(Held { value: request.value.clone(), token, until });
        }
        if votes.taken() || is_undone {
            self.release_lost(&request, &votes);
        }
        Err(Error::NotExtended { votes: votes.into_inner() })
    }

    /// A quorum stores somebody else's value. What an extension has stored again on a minority is nobody's lock, and
    /// so is the sign that a writer has left where he was not granted his.
    fn release_lost(&self, request: &Rc<Request>, votes: &Votes<'_>) {
        if request.kind.is_writers() {
            self.redsync.cleanup.give_up(request, self.redsync.nodes.order(false));
        } else if self.options.recreate_on_extend {
            self.redsync.cleanup.give_up(request, votes.holding(false));
        }
    }

    /// Does a quorum still store this value?
    ///
    /// # Errors
    /// [`Error::Failed`] when too few nodes answered to tell.
    pub async fn valid(&self, value: Value) -> Result<bool, Error> {
        if value.is_empty() {
            return Ok(false);
        }
        let request = self.request(value);
        let votes = self.ask(Verb::Owner, &request).votes().await;
        if votes.granted() {
            Ok(true)
        } else if votes.lost() {
            Ok(false)
        } else {
            Err(Error::Failed { votes: votes.into_inner(), attempts: 1 })
        }
    }

    /// What the last call saw.
    pub fn take_report(&self) -> Report {
        self.seen.take()
    }

    /// A lock that was acquired, to be kept alive or watched: see [`Leases::begin`](crate::Leases::begin).
    pub fn hold(&self, held: &Held) -> Hold {
        Hold {
            request: self.request(held.value.clone()),
            drift_factor: self.options.drift_factor,
            recreate: self.options.recreate_on_extend,
            until: held.until,
        }
    }

    /// About the lock of this value.
    pub(crate) fn request(&self, value: Value) -> Rc<Request> {
        Rc::new(self.operands(value))
    }

    /// The same, to acquire a permit, or with a fencing token that keeps to what the nodes have told.
    pub(crate) fn acquisition(
        &self,
        permit: usize,
        value: &Value,
        bound: Option<Bound>,
        kind: Kind,
    ) -> Rc<Request> {
        let token = self.options.fencing.then(|| self.redsync.propose(bound));
        let value = match token {
            Some(token) => value.with_token(token),
            None => value.with_permit(permit),
        };
        Rc::new(Request { token, kind, ..self.operands(value) })
    }

    /// What a call that waits for the lock waits for.
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted::new(self.keys.clone(), self.options.permits, self.options.kind)
    }

    fn operands(&self, value: Value) -> Request {
        let Options { permits, quarantine, drift_factor, .. } = self.options;
        let quarantine = quarantine.map(|expiry| validity::quarantine(expiry, drift_factor));
        Request {
            kind: self.options.kind,
            permits,
            token: None,
            keys: permit::keys_of(&self.keys, value.permit(permits)),
            value,
            expiry: self.options.expiry,
            timeout: validity::node_timeout(self.options.expiry, self.options.timeout_factor),
            quarantine: quarantine.unwrap_or_default(),
        }
    }

    pub(crate) fn ask(&self, verb: Verb, request: &Rc<Request>) -> Round {
        let order = self.redsync.nodes.order(self.options.shuffle);
        Round::ask(&self.redsync.nodes, verb, request, order, self.options.fail_fast)
    }
}

/// Why the nodes have not released a lock, by their votes.
fn not_released(votes: Votes<'_>) -> Error {
    if votes.taken() {
        Error::Taken { votes: votes.into_inner(), attempts: 1 }
    } else if votes.lost() {
        Error::Expired { votes: votes.into_inner() }
    } else {
        Error::Failed { votes: votes.into_inner(), attempts: 1 }
    }
}
