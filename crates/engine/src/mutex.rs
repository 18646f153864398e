//! The algorithm: <https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/>.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::cleanup;
use crate::error::{Error, Refused};
use crate::lease::Hold;
use crate::node::{Keys, Request, Verb};
use crate::nodes::Nodes;
use crate::options::{Options, ValueSource};
use crate::round::{Round, Votes};
use crate::validity;
use crate::value::Value;
use crate::waiting;

/// A lock that is held: by whom, and until when on the [clock](crate::Clock).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The ownership value.
    pub value: Value,
    /// When it stops being valid, drift deducted.
    pub until: Duration,
}

/// One or several names, locked together on a quorum of nodes.
pub struct Mutex {
    nodes: Rc<Nodes>,
    keys: Keys,
    options: Options,
}

impl Mutex {
    /// A mutex on these keys. Asks nothing yet.
    pub fn new(nodes: Rc<Nodes>, keys: Keys, options: Options) -> Self {
        Self { nodes, keys, options }
    }

    /// Tries until it holds the lock, at most [`Options::tries`] times.
    ///
    /// `cancel` stops it at any point; it returns when what it had acquired is released.
    ///
    /// # Errors
    /// [`Error::Taken`] or [`Error::Failed`] with the last attempt's votes, [`Error::Refused`],
    /// [`Error::Cancelled`].
    pub async fn lock(&self, cancel: &CancellationToken) -> Result<Held, Error> {
        self.acquire(self.options.tries, cancel).await
    }

    /// One attempt.
    ///
    /// # Errors
    /// As [`Mutex::lock`].
    pub async fn try_lock(&self, cancel: &CancellationToken) -> Result<Held, Error> {
        self.acquire(1, cancel).await
    }

    async fn acquire(&self, tries: u64, cancel: &CancellationToken) -> Result<Held, Error> {
        let mut attempt = 1;
        loop {
            let error = match self.attempt(attempt, tries, cancel).await {
                Err(error @ (Error::Failed { .. } | Error::Taken { .. })) => error,
                settled => return settled,
            };
            if attempt >= tries {
                return Err(error);
            }
            let paused = {
                let mut pause = pin!(self.pause(attempt));
                cancel.run_until_cancelled(pause.as_mut()).await
            };
            match paused {
                None => return Err(Error::Cancelled),
                Some(paused) => paused.map_err(|Refused| Error::Refused)?,
            }
            attempt += 1;
        }
    }

    async fn pause(&self, attempts: u64) -> Result<(), Refused> {
        let pause = waiting::pause(&self.nodes, &self.options.delay, attempts).await?;
        sleep(pause).await;
        Ok(())
    }

    /// Stores a fresh value on every node, and holds the lock if a quorum granted in time.
    ///
    /// The value is new for every attempt. go-redsync uses one value for all attempts of a call: a
    /// late release of attempt 1 could then delete the key that attempt 2 has just stored.
    async fn attempt(
        &self,
        attempt: u64,
        tries: u64,
        cancel: &CancellationToken,
    ) -> Result<Held, Error> {
        let value = match cancel.run_until_cancelled(self.fresh_value(attempt)).await {
            None => return Err(Error::Cancelled),
            Some(value) => value?,
        };
        let request = self.request(value);
        let start = self.nodes.now();
        let voted = {
            let mut votes = pin!(self.ask(Verb::Acquire, &request).votes());
            cancel.run_until_cancelled(votes.as_mut()).await
        };
        let Some(votes) = voted else {
            // Nobody waits for this any more, so it may wait for every node.
            self.release_and_wait(&request, self.nodes.order(false)).await;
            return Err(Error::Cancelled);
        };
        let until = validity::until(start, self.options.expiry, self.options.drift_factor);
        if votes.granted() && self.nodes.now() < until {
            return Ok(Held { value: request.value.clone(), until });
        }
        self.give_up(&request, &votes, attempt >= tries).await;
        Err(Error::not_acquired(votes.taken(), votes.into_inner(), attempt))
    }

    /// Releases an attempt wherever it may have stored its value: not where the node said "taken".
    ///
    /// The last attempt waits, so that a failed call leaves nothing behind when it returns; but not
    /// for nodes that did not answer: they are cleaned up behind the caller's back, for they have had
    /// their time already.
    async fn give_up(&self, request: &Rc<Request>, votes: &Votes<'_>, is_last: bool) {
        let granting = votes.granting();
        let mut silent = votes.holding(request.keys.len() == 1);
        silent.retain(|node| !granting.contains(node));
        cleanup::release(&self.nodes, request, silent);
        if is_last {
            self.release_and_wait(request, granting).await;
        } else {
            cleanup::release(&self.nodes, request, granting);
        }
    }

    async fn release_and_wait(&self, request: &Rc<Request>, holders: Vec<usize>) {
        if let Some(released) = cleanup::release(&self.nodes, request, holders) {
            // Whatever is not released by then goes on in the background.
            let _ = timeout(request.timeout, released).await;
        }
    }

    /// Releases the lock of this value.
    ///
    /// An empty value (nothing was ever locked) touches nothing, and tells what is there.
    ///
    /// # Errors
    /// [`Error::Taken`] when a quorum stores somebody else's value, [`Error::Expired`] when the lock
    /// was no longer held, [`Error::Failed`] when too few nodes answered to tell.
    pub async fn unlock(&self, value: Value) -> Result<(), Error> {
        self.nodes.end_lease(&self.keys, &value);
        let verb = if value.is_empty() { Verb::Owner } else { Verb::Release };
        let request = self.request(value);
        let votes = self.ask(verb, &request).votes().await;
        if verb == Verb::Release {
            cleanup::make_up_for(&self.nodes, &request, votes.unsettled());
        }
        match votes {
            votes if votes.granted() && verb == Verb::Release => Ok(()),
            votes if votes.taken() => Err(Error::Taken { votes: votes.into_inner(), attempts: 1 }),
            votes if votes.lost() => Err(Error::Expired { votes: votes.into_inner() }),
            votes => Err(Error::Failed { votes: votes.into_inner(), attempts: 1 }),
        }
    }

    /// Lets the lock of this value live for another [`Options::expiry`] from now.
    ///
    /// # Errors
    /// [`Error::NotExtended`] when no quorum did in time; the lock is then valid as long as before.
    pub async fn extend(&self, value: Value) -> Result<Held, Error> {
        if value.is_empty() {
            return Err(Error::NotExtended { votes: Vec::new() });
        }
        let request = self.request(value);
        let start = self.nodes.now();
        let verb = Verb::Extend { recreate: self.options.recreate_on_extend };
        let votes = self.ask(verb, &request).votes().await;
        let until = validity::until(start, self.options.expiry, self.options.drift_factor);
        if votes.granted() && self.nodes.now() < until {
            self.nodes.prolong_lease(&request, until);
            return Ok(Held { value: request.value.clone(), until });
        }
        if self.options.recreate_on_extend && votes.taken() {
            // What was stored again on a minority is nobody's lock.
            cleanup::release(&self.nodes, &request, votes.holding(false));
        }
        Err(Error::NotExtended { votes: votes.into_inner() })
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

    /// A lock that was acquired, to be kept alive or watched: see [`Nodes::lease`].
    pub fn hold(&self, held: &Held) -> Hold {
        Hold {
            request: self.request(held.value.clone()),
            drift_factor: self.options.drift_factor,
            recreate: self.options.recreate_on_extend,
            until: held.until,
        }
    }

    async fn fresh_value(&self, attempt: u64) -> Result<Value, Error> {
        match &self.options.values {
            ValueSource::Random => Ok(self.nodes.random_value()),
            ValueSource::Ask(ask) => match ask(attempt).await {
                Ok(value) => Ok(Value::from(value.as_str())),
                Err(Refused) => Err(Error::Refused),
            },
        }
    }

    fn request(&self, value: Value) -> Rc<Request> {
        Rc::new(Request {
            keys: self.keys.clone(),
            value,
            expiry: self.options.expiry,
            timeout: validity::node_timeout(self.options.expiry, self.options.timeout_factor),
        })
    }

    fn ask(&self, verb: Verb, request: &Rc<Request>) -> Round {
        let order = self.nodes.order(self.options.shuffle);
        Round::ask(&self.nodes, verb, request, order, self.options.fail_fast)
    }
}
