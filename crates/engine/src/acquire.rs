//! Acquiring: attempts, and the wait between them.
//! <https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/>

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Refused};
use crate::kind::Kind;
use crate::line::Means;
use crate::mutex::{Held, Mutex};
use crate::node::{Request, Verb};
use crate::options::{Asked, Delay, LONGEST_PAUSE, Options, SHORTEST_PAUSE, ValueSource};
use crate::place::{Habits, Place};
use crate::queue::Chance;
use crate::round::{Round, Votes};
use crate::signs::Sign;
use crate::time::{FOR_EVER, Instant, timeout, timeout_at};
use crate::validity;
use crate::value::Value;
use crate::vote::{Answer, Bound, Vote};

/// So many fencing tokens an attempt proposes, if the nodes want greater ones. Clocks that are apart need two;
/// the third is for a holder who was quicker.
const MOST_PROPOSALS: u32 = 3;

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

/// One attempt of a call.
struct Attempt {
    /// Counted from 1.
    number: u64,
    is_last: bool,
    manner: Manner,
    value: Value,
    /// Which permit it is for, counted from 0.
    permit: usize,
    /// Whether to look for another one where this one cannot be had.
    looks: bool,
}

/// Why what was proposed was not granted.
enum Miss {
    /// A fencing token would have to keep to this.
    Token(Bound),
    /// It is somebody else's, or too few have answered.
    Lost(Error),
}

impl Mutex {
    /// Tries until it holds the lock, at most [`Options::tries`] times, and waits no longer than [`Options::wait`].
    ///
    /// `cancel` stops it at any point; it returns when what it had acquired is released.
    ///
    /// # Errors
    /// [`Error::Taken`] or [`Error::Failed`] with the last attempt's votes, [`Error::Refused`],
    /// [`Error::Cancelled`].
    pub async fn lock(&self, cancel: &CancellationToken) -> Result<Held, Error> {
        let tries = if self.options.wait.is_zero() { 1 } else { self.options.tries };
        let outcome = self.acquire(tries, cancel).await;
        self.take_back_signs(outcome.is_ok()).await;
        outcome
    }

    /// One attempt.
    ///
    /// # Errors
    /// As [`Mutex::lock`].
    pub async fn try_lock(&self, cancel: &CancellationToken) -> Result<Held, Error> {
        self.acquire(1, cancel).await
    }

    /// Stands in line until it holds the lock or its tries are used up.
    async fn acquire(&self, tries: u64, cancel: &CancellationToken) -> Result<Held, Error> {
        if tries == 1 {
            // It waits for nothing, so neither for those in line.
            let value = self.fresh_value(None, 1, cancel).await?;
            let permit = self.pick();
            let (number, is_last, looks) = (1, true, true);
            let manner = Manner::AtOnce;
            let attempt = Attempt { number, is_last, manner, value, permit, looks };
            return self.attempt(None, attempt, cancel).await;
        }
        let deadline = Instant::now() + self.options.wait.min(FOR_EVER);
        let nodes = &self.redsync.nodes;
        let place = Place::join(&self.redsync.queues, self.wanted(), self.means(), self.habits());
        let mut value = None;
        if place.may_ask(nodes).is_some() {
            let fresh = self.fresh_value(Some(&place), 1, cancel).await?;
            match place.may_ask(nodes) {
                None => value = Some(fresh), // others went first meanwhile
                Some(permit) => {
                    let manner = manner(&place);
                    let (number, is_last, looks) = (1, false, false);
                    let attempt = Attempt { number, is_last, manner, value: fresh, permit, looks };
                    match self.attempt(Some(&place), attempt, cancel).await {
                        Err(Error::Failed { .. } | Error::Taken { .. }) => {}
                        settled => return settled,
                    }
                }
            }
        }
        // In a box, for most calls never come here.
        Box::pin(self.wait(place, value, tries, deadline, cancel)).await
    }

    /// Goes on after the first attempt. Its own schedule says when a call fails; in between it asks
    /// whenever there is a chance, which uses up none of its tries.
    async fn wait(
        &self,
        place: Place,
        mut value: Option<Value>,
        tries: u64,
        deadline: Instant,
        cancel: &CancellationToken,
    ) -> Result<Held, Error> {
        let mut number = 1;
        let mut since = Instant::now();
        loop {
            self.seen.borrow_mut().waits += 1;
            let pause = self.pause(&place, number, cancel).await?.min(FOR_EVER);
            let next = deadline.min(Instant::now() + pause);
            let settled = self.take_chances(&place, &mut value, number, next, cancel).await;
            if let Some(settled) = settled {
                return settled;
            }
            number += 1;
            let is_last = number >= tries || next == deadline;
            let nodes = &self.redsync.nodes;
            let is_informed = !place.is_first() && place.is_informed(nodes, since, is_last);
            since = Instant::now();
            if is_last {
                // Now: whoever leaves the line last forgets what was seen.
                self.seen.borrow_mut().endless = place.endless();
            }
            // The head asks for all. What it has heard ends a call only if that is "taken".
            let heard = if is_informed { place.heard() } else { None };
            if !is_informed || is_last && heard.is_none() {
                place.try_watching_again();
                let fresh = match value.take() {
                    Some(fresh) => fresh,
                    None => self.fresh_value(Some(&place), number, cancel).await?,
                };
                let permit = place.pick(&self.redsync.nodes);
                let is_watched = place.is_watched(&self.redsync.nodes, permit);
                let manner = manner_on_schedule(&place, is_last, is_watched);
                let looks = is_last || !is_watched;
                let attempt = Attempt { number, is_last, manner, value: fresh, permit, looks };
                match self.attempt(Some(&place), attempt, cancel).await {
                    Err(Error::Failed { .. } | Error::Taken { .. }) if !is_last => {}
                    settled => return settled,
                }
            } else if let Some(votes) = heard.filter(|_| is_last) {
                return Err(Error::Taken { votes, attempts: number });
            }
        }
    }

    /// Asks whenever there is a chance until that time. `None`: it has come.
    async fn take_chances(
        &self,
        place: &Place,
        value: &mut Option<Value>,
        number: u64,
        next: Instant,
        cancel: &CancellationToken,
    ) -> Option<Result<Held, Error>> {
        loop {
            let chance = timeout_at(next, place.chance(&self.redsync.nodes));
            let Chance { permit, first } = match cancel.run_until_cancelled(chance).await {
                None => return Some(Err(Error::Cancelled)),
                Some(chance) => chance.ok()?,
            };
            let Some(fresh) = value.take().or_else(|| self.random_value()) else {
                // Others may have had the chance by the time that it is there.
                match self.fresh_value(Some(place), number, cancel).await {
                    Ok(fresh) => *value = Some(fresh),
                    Err(error) => return Some(Err(error)),
                }
                continue;
            };
            let manner = match (manner(place), first) {
                (Manner::AtOnce, _) | (_, None) => Manner::AtOnce,
                (_, first) => Manner::OneFirst(first),
            };
            let (is_last, looks) = (false, false);
            let attempt = Attempt { number, is_last, manner, value: fresh, permit, looks };
            match self.attempt(Some(place), attempt, cancel).await {
                Err(Error::Failed { votes, .. } | Error::Taken { votes, .. }) => {
                    place.missed(&self.redsync.nodes, permit, &votes);
                }
                settled => return Some(settled),
            }
        }
    }

    /// One attempt. Where it only lacked a greater fencing token, or another permit may be free, it is made again
    /// at once.
    async fn attempt(
        &self,
        place: Option<&Place>,
        mut attempt: Attempt,
        cancel: &CancellationToken,
    ) -> Result<Held, Error> {
        self.seen.borrow_mut().attempts += 1;
        let (mut bound, mut proposals) = (self.bound.take(), MOST_PROPOSALS);
        let mut tried = Vec::new();
        loop {
            proposals -= 1;
            match self.propose(place, &attempt, bound, proposals > 0, cancel).await? {
                Ok(held) => return Ok(held),
                Err(Miss::Token(wanted)) => bound = Some(wanted),
                Err(Miss::Lost(error)) if proposals == 0 || !self.may_look(&attempt) => {
                    return Err(error);
                }
                Err(Miss::Lost(error)) => {
                    tried.push(attempt.permit);
                    let Attempt { ref value, is_last, .. } = attempt;
                    let looked = self.look(place, value, &tried, is_last, cancel).await?;
                    if let (None, Error::Taken { votes, .. }, Some(place)) =
                        (looked.free, &error, place)
                    {
                        place.hear_of_all(votes, looked.is_complete);
                    }
                    attempt.permit = looked.free.ok_or(error)?;
                }
            }
            attempt.value = self.fresh_value(place, attempt.number, cancel).await?;
        }
    }

    fn may_look(&self, attempt: &Attempt) -> bool {
        attempt.looks && self.options.permits > 1
    }

    /// Stores a fresh value on every node, and holds the lock if a quorum granted in time. Else, why not; with what a
    /// fencing token has to keep to only if it is proposed `again`.
    ///
    /// The value is new for every attempt. go-redsync uses one value for all attempts of a call: a
    /// late release of attempt 1 could then delete the key that attempt 2 has just stored.
    async fn propose(
        &self,
        place: Option<&Place>,
        attempt: &Attempt,
        bound: Option<Bound>,
        again: bool,
        cancel: &CancellationToken,
    ) -> Result<Result<Held, Miss>, Error> {
        let &Attempt { number, is_last, manner, ref value, permit, .. } = attempt;
        let asking = place.map(|place| place.asks(permit));
        let request = self.acquisition(permit, value, bound, self.kind_of(place, is_last));
        let began = place.map_or(0, |place| place.signs().next_number());
        let start = self.redsync.now();
        let voted = match manner {
            Manner::AtOnce => {
                let mut votes = pin!(self.ask(Verb::Acquire, &request).votes());
                cancel.run_until_cancelled(votes.as_mut()).await
            }
            // In a box, for most attempts are made at once.
            Manner::OneFirst(first) => {
                let votes = Box::pin(self.one_first(&request, first));
                cancel.run_until_cancelled(votes).await
            }
            Manner::OneFirstAndLook => {
                let votes = Box::pin(self.one_first_and_look(&request, again));
                cancel.run_until_cancelled(votes).await
            }
        };
        // Whoever asks next is behind the releases: nobody has to wait for those.
        drop(asking);
        let Some(votes) = voted else {
            // Nobody waits for this any more, so it may wait for every node.
            let nodes = self.redsync.nodes.order(false);
            place.inspect(|place| self.leave_signs(place, &request, &nodes));
            self.release_and_leave(place, &request.but_for_sign(), nodes).await;
            return Err(Error::Cancelled);
        };
        let now = self.redsync.now();
        let until = validity::until(start, self.options.expiry, self.options.drift_factor);
        if votes.granted() && now < until {
            if let Some(place) = place {
                place.won(permit, &request.value, until.saturating_sub(now));
            }
            let (value, token) = (request.value.clone(), request.token);
            self.seen.borrow_mut().votes = votes.with_bounds_as_errors().into_inner();
            if let (Some(token), Some(bound)) = (token, bound) {
                self.redsync.learn(token, bound);
            }
            // Its own sign stays where it has left one, and goes with the lock: nothing may ask a node to release a value
            // that is held, or it might do so later.
            return Ok(Ok(Held { value, token, until }));
        }
        let cleanup = &self.redsync.cleanup;
        place.inspect(|place| place.signs().note(began, &request, &votes, cleanup));
        if again && let Some(bound) = votes.bound_of_quorum() {
            self.give_up(place, &request, &votes, false).await;
            return Ok(Err(Miss::Token(bound)));
        }
        self.bound.set(votes.bound_of_all());
        match place {
            Some(place) if votes.granted() || votes.failed() => {
                place.failed(permit, votes.as_slice())
            }
            Some(place) => place.lost(permit, votes.as_slice(), votes.taken()),
            None => {}
        }
        // Who looks for another one stays in line.
        let leaving = place.filter(|_| !again || !self.may_look(attempt));
        self.give_up(leaving, &request, &votes, is_last).await;
        let votes = votes.with_bounds_as_errors();
        let error = Error::not_acquired(votes.taken(), refusals(votes.into_inner()), number);
        Ok(Err(Miss::Lost(error)))
    }

    /// The last attempt of a call leaves no sign.
    fn kind_of(&self, place: Option<&Place>, is_last: bool) -> Kind {
        let kind = self.options.kind;
        match place {
            _ if is_last => kind.without_sign(),
            Some(place) if place.signs().are_known() => kind.renewing_signs(),
            _ => kind,
        }
    }

    async fn one_first(&self, request: &Rc<Request>, first: Option<usize>) -> Votes<'static> {
        let mut order = self.redsync.nodes.order_of(&self.keys);
        if let Some(place) = order.iter().position(|&node| Some(node) == first) {
            order[..=place].rotate_right(1);
        }
        let fail_fast = self.options.fail_fast;
        Round::one_first(&self.redsync.nodes, request, &order, fail_fast).await
    }

    /// If the first node is taken the others are only looked at, so as not to split the votes of
    /// somebody who is on the way to them. But if a quorum of them is free they are asked: what the
    /// first one stores may have been left behind.
    async fn one_first_and_look(&self, request: &Rc<Request>, again: bool) -> Votes<'static> {
        let order = self.redsync.nodes.order_of(&self.keys);
        let votes = self.one_first(request, None).await;
        let others = votes.not_asked(order);
        let is_refused = again && votes.bound_of_quorum().is_some();
        if others.is_empty() || votes.granted() || is_refused {
            return votes;
        }
        let looked = Round::ask(&self.redsync.nodes, Verb::Owner, request, others.clone(), false);
        let looked = looked.votes().await;
        if !looked.is_free() {
            return votes.and(looked);
        }
        votes.and(
            Round::ask(&self.redsync.nodes, Verb::Acquire, request, others, false).votes().await,
        )
    }

    /// Releases an attempt wherever it may have stored its value: not where the node said "taken",
    /// unless it may have been asked twice. Its signs go with the call.
    ///
    /// The last attempt waits, so that a failed call leaves nothing behind when it returns; but not
    /// for nodes that did not answer: they are cleaned up behind the caller's back, for they have had
    /// their time already.
    async fn give_up(
        &self,
        place: Option<&Place>,
        request: &Rc<Request>,
        votes: &Votes<'_>,
        is_last: bool,
    ) {
        let granting = votes.granting();
        let mut silent = votes.silent(request.is_all_or_nothing());
        place.inspect(|place| self.leave_signs(place, request, &silent));
        let members = self.redsync.nodes.members();
        silent.extend(votes.taking().into_iter().filter(|&node| members[node].may_repeat()));
        let request = request.but_for_sign();
        self.redsync.cleanup.release(&request, silent);
        if is_last {
            self.release_and_leave(place, &request, granting).await;
        } else {
            self.redsync.cleanup.release(&request, granting);
        }
    }

    /// Nobody in line waits for the answers: who asks next is behind the releases at each node.
    async fn release_and_leave(
        &self,
        place: Option<&Place>,
        request: &Rc<Request>,
        holders: Vec<usize>,
    ) {
        let released = self.redsync.cleanup.release(request, holders);
        place.inspect(|place| place.leave());
        if let Some(released) = released {
            // Whatever is not released by then goes on in the background.
            let _ = timeout(request.timeout, released).await;
        }
    }

    async fn pause(
        &self,
        place: &Place,
        attempts: u64,
        cancel: &CancellationToken,
    ) -> Result<Duration, Error> {
        match &self.options.delay {
            Delay::Random => Ok(self.redsync.nodes.random_duration(SHORTEST_PAUSE, LONGEST_PAUSE)),
            Delay::Fixed(delay) => Ok(*delay),
            Delay::Ask(ask) => self.ask_caller(Some(place), ask(attempts), cancel).await,
        }
    }

    /// `None`: the caller has to be asked.
    fn random_value(&self) -> Option<Value> {
        match self.options.values {
            ValueSource::Random => Some(self.redsync.nodes.random_value()),
            ValueSource::Ask(_) => None,
        }
    }

    async fn fresh_value(
        &self,
        place: Option<&Place>,
        attempt: u64,
        cancel: &CancellationToken,
    ) -> Result<Value, Error> {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match &self.options.values {
            ValueSource::Random => Ok(self.redsync.nodes.random_value()),
            ValueSource::Ask(ask) => {
                let value = self.ask_caller(place, ask(attempt), cancel).await?;
                Ok(Value::from(value.as_str()))
            }
        }
    }

    /// Others go first for as long as the caller's own code takes to answer.
    async fn ask_caller<T>(
        &self,
        place: Option<&Place>,
        asked: Asked<T>,
        cancel: &CancellationToken,
    ) -> Result<T, Error> {
        place.inspect(|place| place.step_out());
        let answer = cancel.run_until_cancelled(asked).await;
        place.inspect(|place| place.step_in());
        match answer {
            None => Err(Error::Cancelled),
            Some(answer) => answer.map_err(|Refused| Error::Refused),
        }
    }

    /// The call has ended. The signs of its line go with it if it has the lock, for then readers are next, or if nobody
    /// else of the line needs them. Who has the lock does not wait for that.
    async fn take_back_signs(&self, has_lock: bool) {
        if self.options.kind.sign().is_none() {
            return;
        }
        let queues = &self.redsync.queues;
        let Some(queue) = queues.find(&self.wanted()) else { return };
        if !has_lock && !queue.line.is_empty() {
            return;
        }
        // Whatever is not released by then goes on in the background. The request may be that of a call which waited
        // for nodes for longer.
        let deadline = Instant::now() + self.means().timeout;
        let release = |sign: &Sign| sign.take_back(&self.redsync.cleanup);
        let released: Vec<_> = queue.signs.take().iter().filter_map(release).collect();
        if has_lock {
            return;
        }
        for released in released {
            let _ = timeout_at(deadline, released).await;
        }
    }

    /// What an attempt may have left on these nodes stays for those of its line who wait.
    fn leave_signs(&self, place: &Place, request: &Rc<Request>, nodes: &[usize]) {
        let cleanup = &self.redsync.cleanup;
        for older in place.signs().note_unsure(request, nodes, cleanup) {
            older.take_back(cleanup);
        }
    }

    fn habits(&self) -> Habits {
        let Options { kind, permits, ref delay, ref values, .. } = self.options;
        // Not against the caller's wish, nor by a function of his; and what has several holders needs no such haste.
        let is_free_to = matches!((delay, values), (Delay::Random, ValueSource::Random));
        let leaves_signs = kind.sign().is_some();
        let is_mutex = permits == 1 && !kind.is_shared() && !leaves_signs;
        Habits { leaves_signs, may_repeat: is_free_to && is_mutex }
    }

    fn means(&self) -> Means {
        let Options { expiry, timeout_factor, .. } = self.options;
        Means { timeout: validity::node_timeout(expiry, timeout_factor), expiry }
    }
}

fn manner_on_schedule(place: &Place, is_last: bool, is_watched: bool) -> Manner {
    match manner(place) {
        _ if !place.is_first() => Manner::OneFirstAndLook,
        Manner::OneFirstAndLook if !is_last && is_watched => Manner::OneFirst(None),
        manner => manner,
    }
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
