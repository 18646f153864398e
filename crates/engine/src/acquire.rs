//! Acquiring: attempts, and the wait between them.
//! <https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/>

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::cleanup;
use crate::error::{Error, Refused};
use crate::mutant::Mutant;
use crate::mutex::{Held, Mutex};
use crate::node::{Request, Verb};
use crate::options::ValueSource;
use crate::queue::Place;
use crate::round::{Round, Votes};
use crate::validity;
use crate::value::Value;
use crate::vote::{Answer, Vote};
use crate::waiting;

/// Longer than any lock is waited for: 30 years.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// How to ask.
#[derive(Clone, Copy)]
enum Manner {
    /// All nodes at once: nobody else is known to want the lock.
    AtOnce,
    /// One node first, and the others if that one grants. `None`: the first of all contenders.
    OneFirst(Option<usize>),
    /// The same; if the first one says "taken" the others are looked at too.
    OneFirstAndLook,
}

impl Mutex {
    /// Stands in line until it holds the lock or its tries are used up.
    pub(crate) async fn acquire(
        &self,
        tries: u64,
        cancel: &CancellationToken,
    ) -> Result<Held, Error> {
        if tries == 1 {
            // It waits for nothing, so neither for those in line.
            return self.attempt(None, Manner::AtOnce, 1, 1, cancel).await;
        }
        let place = self.nodes.queues().join(&self.keys);
        let mut failure = None;
        if place.may_ask() {
            let manner = manner(&place);
            match self.attempt(Some(&place), manner, 1, tries, cancel).await {
                Err(error @ (Error::Failed { .. } | Error::Taken { .. })) => failure = Some(error),
                settled => return settled,
            }
        }
        // In a box, for most calls never come here.
        Box::pin(self.wait(place, failure, tries, cancel)).await
    }

    /// Goes on after the first attempt. Its own schedule says when a call fails; in between it asks
    /// whenever there is a chance, which uses up none of its tries.
    async fn wait(
        &self,
        mut place: Place,
        mut failure: Option<Error>,
        tries: u64,
        cancel: &CancellationToken,
    ) -> Result<Held, Error> {
        let mut attempt = 1;
        while attempt < tries {
            self.seen.borrow_mut().waits += 1;
            let paused = {
                let mut pause = pin!(waiting::pause(&self.nodes, &self.options.delay, attempt));
                cancel.run_until_cancelled(pause.as_mut()).await
            };
            let pause = match paused {
                None => return cancelled(place),
                Some(pause) => pause.map_err(|Refused| Error::Refused)?,
            };
            let next = Instant::now() + pause.min(FOR_EVER);
            loop {
                let chance = timeout_at(next, place.chance(&self.nodes));
                match cancel.run_until_cancelled(chance).await {
                    None => return cancelled(place),
                    Some(Err(_)) => break,
                    Some(Ok(first)) => {
                        let manner = match manner(&place) {
                            Manner::AtOnce => Manner::AtOnce,
                            _ => Manner::OneFirst(Some(first)),
                        };
                        match self.attempt(Some(&place), manner, attempt, u64::MAX, cancel).await {
                            Err(Error::Failed { votes, .. } | Error::Taken { votes, .. }) => {
                                place.missed(&self.nodes, &votes);
                            }
                            settled => return settled,
                        }
                    }
                }
            }
            attempt += 1;
            if place.is_first() {
                place.try_watching_again();
                let is_last = attempt >= tries;
                let manner = match manner(&place) {
                    Manner::OneFirstAndLook if !is_last && place.is_watched(&self.nodes) => {
                        Manner::OneFirst(None)
                    }
                    manner => manner,
                };
                match self.attempt(Some(&place), manner, attempt, tries, cancel).await {
                    Err(error @ (Error::Failed { .. } | Error::Taken { .. })) => {
                        failure = Some(error);
                    }
                    settled => return settled,
                }
            } else {
                failure = None; // what the head has heard is newer
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Err(self.report(&place, tries).await),
        }
    }

    /// The error of a call whose tries were used up in line: what the head has heard, or what a look
    /// at the nodes shows.
    async fn report(&self, place: &Place, attempts: u64) -> Error {
        let votes = match place.heard() {
            Some(votes) => votes,
            None => {
                let request = self.request(self.nodes.random_value());
                self.ask(Verb::Owner, &request).votes().await.into_inner()
            }
        };
        let taken = votes.iter().filter(|vote| **vote == Some(Ok(Answer::Taken))).count();
        let is_taken = self.nodes.quorum().is_reached(taken);
        Error::not_acquired(is_taken, refusals(votes), attempts)
    }

    /// Stores a fresh value on every node, and holds the lock if a quorum granted in time.
    ///
    /// The value is new for every attempt. go-redsync uses one value for all attempts of a call: a
    /// late release of attempt 1 could then delete the key that attempt 2 has just stored.
    async fn attempt(
        &self,
        place: Option<&Place>,
        manner: Manner,
        attempt: u64,
        tries: u64,
        cancel: &CancellationToken,
    ) -> Result<Held, Error> {
        let value = match cancel.run_until_cancelled(self.fresh_value(attempt)).await {
            None => return Err(Error::Cancelled),
            Some(value) => value?,
        };
        self.seen.borrow_mut().attempts += 1;
        let request = self.request(value);
        let start = self.nodes.now();
        let voted = match manner {
            Manner::AtOnce => {
                let mut votes = pin!(self.ask(Verb::Acquire, &request).votes());
                cancel.run_until_cancelled(votes.as_mut()).await
            }
            // In a box, for most attempts are made at once.
            Manner::OneFirst(first) => {
                cancel.run_until_cancelled(Box::pin(self.one_first(&request, first))).await
            }
            Manner::OneFirstAndLook => {
                cancel.run_until_cancelled(Box::pin(self.one_first_and_look(&request))).await
            }
        };
        let Some(votes) = voted else {
            if Mutant::CallersRelease.is_on() {
                return Err(Error::Cancelled);
            }
            // Nobody waits for this any more, so it may wait for every node.
            self.release_and_wait(&request, self.nodes.order(false)).await;
            return Err(Error::Cancelled);
        };
        let now = self.nodes.now();
        let start = if Mutant::LateClock.is_on() { now } else { start };
        let until = validity::until(start, self.options.expiry, self.options.drift_factor);
        if votes.granted() && (now < until || Mutant::UntilUnchecked.is_on()) {
            if let Some(place) = place {
                place.won(&request.value, until.saturating_sub(now));
            }
            self.seen.borrow_mut().votes = votes.into_inner();
            return Ok(Held { value: request.value.clone(), until });
        }
        if let Some(place) = place {
            place.lost(votes.as_slice());
        }
        self.give_up(&request, &votes, attempt >= tries).await;
        Err(Error::not_acquired(votes.taken(), refusals(votes.into_inner()), attempt))
    }

    async fn one_first(&self, request: &Rc<Request>, first: Option<usize>) -> Votes<'static> {
        let mut order = self.nodes.order_of(&self.keys);
        if let Some(place) = order.iter().position(|&node| Some(node) == first) {
            order[..=place].rotate_right(1);
        }
        Round::one_first(&self.nodes, request, &order, self.options.fail_fast).await
    }

    /// If the first node is taken the others are only looked at, so as not to split the votes of
    /// somebody who is on the way to them. But if a quorum of them is free they are asked: what the
    /// first one stores may have been left behind.
    async fn one_first_and_look(&self, request: &Rc<Request>) -> Votes<'static> {
        let order = self.nodes.order_of(&self.keys);
        let votes = Round::one_first(&self.nodes, request, &order, self.options.fail_fast).await;
        let others = votes.not_asked(order);
        if others.is_empty() || votes.granted() {
            return votes;
        }
        let looked = Round::ask(&self.nodes, Verb::Owner, request, others.clone(), false);
        let looked = looked.votes().await;
        if !looked.is_free() {
            return votes.and(looked);
        }
        votes.and(Round::ask(&self.nodes, Verb::Acquire, request, others, false).votes().await)
    }

    /// Releases an attempt wherever it may have stored its value: not where the node said "taken",
    /// unless it may have been asked twice.
    ///
    /// The last attempt waits, so that a failed call leaves nothing behind when it returns; but not
    /// for nodes that did not answer: they are cleaned up behind the caller's back, for they have had
    /// their time already.
    async fn give_up(&self, request: &Rc<Request>, votes: &Votes<'_>, is_last: bool) {
        if Mutant::StaleVote.is_on() && !is_last {
            return;
        }
        let granting = votes.granting();
        let mut silent = votes.holding(request.keys.len() == 1);
        silent.retain(|node| !granting.contains(node));
        let members = self.nodes.members();
        silent.extend(votes.taking().into_iter().filter(|&node| members[node].may_repeat()));
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

    async fn fresh_value(&self, attempt: u64) -> Result<Value, Error> {
        match &self.options.values {
            ValueSource::Random => Ok(self.nodes.random_value()),
            ValueSource::Ask(ask) => match ask(attempt).await {
                Ok(value) => Ok(Value::from(value.as_str())),
                Err(Refused) => Err(Error::Refused),
            },
        }
    }
}

/// Leaves the line.
fn cancelled(place: Place) -> Result<Held, Error> {
    if Mutant::KeptHead.is_on() {
        std::mem::forget(place);
    }
    Err(Error::Cancelled)
}

fn manner(place: &Place) -> Manner {
    if place.is_contended() { Manner::OneFirstAndLook } else { Manner::AtOnce }
}

/// The votes without those that were no refusal: a node that was found free and not asked.
fn refusals(mut votes: Vec<Option<Vote>>) -> Vec<Option<Vote>> {
    for vote in &mut votes {
        if *vote == Some(Ok(Answer::Absent)) {
            *vote = None;
        }
    }
    votes
}
