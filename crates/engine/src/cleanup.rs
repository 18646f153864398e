//! Releases that outlive the call they belong to: no attempt leaves a key behind on a node that can
//! be reached, whether it failed, was cancelled or timed out.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};

use crate::node::{Request, Verb};
use crate::nodes::Nodes;
use crate::round::{Round, Votes};
use crate::time::timeout;
use crate::value::Value;

/// The first pause before a node that did not answer is asked again; doubled from then on.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// How many releases a node may miss. Beyond that the oldest is left to its expiry.
const MAX_MISSED: usize = 10_000;

/// How many are made up for at a time.
const AT_ONCE: usize = 256;

/// The releases that one node has missed, and the time when its key has expired by itself.
#[derive(Default)]
struct Missed {
    releases: RefCell<VecDeque<(Duration, Rc<Request>)>>,
    is_served: Cell<bool>,
    stop: Notify,
}

impl Missed {
    fn add(&self, until: Duration, request: Rc<Request>) {
        let mut releases = self.releases.borrow_mut();
        if releases.len() == MAX_MISSED {
            releases.pop_front();
        }
        releases.push_back((until, request));
    }

    /// Those of which the key may still be there, oldest first.
    fn take(&self, now: Duration, count: usize) -> Vec<(Duration, Rc<Request>)> {
        let mut releases = self.releases.borrow_mut();
        releases.retain(|(until, _)| now < *until);
        let count = count.min(releases.len());
        releases.drain(..count).collect()
    }
}

/// So many are looked through for those that are over, before there are twice as many of them.
const FEW: usize = 64;

/// The values of locks that were given up, and until when a node may still be asked to release them.
#[derive(Default)]
struct GivenUp {
    values: HashMap<Value, Duration>,
    most: usize,
}

impl GivenUp {
    fn add(&mut self, value: &Value, until: Duration, now: Duration) {
        if self.values.len() >= self.most {
            self.values.retain(|_, until| now < *until);
            self.most = 2 * self.values.len().max(FEW);
        }
        self.values.insert(value.clone(), until);
    }

    fn has(&self, value: &Value, now: Duration) -> bool {
        self.values.get(value).is_some_and(|until| now < *until)
    }
}

/// Releases on one set of nodes.
pub(crate) struct Cleanup {
    nodes: Rc<Nodes>,
    /// One entry a node.
    missed: Vec<Missed>,
    given_up: RefCell<GivenUp>,
    is_stopped: Cell<bool>,
}

impl Cleanup {
    pub(crate) fn new(nodes: Rc<Nodes>) -> Rc<Self> {
        let missed = nodes.members().iter().map(|_| Missed::default()).collect();
        Rc::new(Self { nodes, missed, given_up: RefCell::default(), is_stopped: Cell::new(false) })
    }

    /// Releases what these nodes may still store of a lock that is lost, and remembers that: a node that does not answer
    /// is asked again for as long as the key may live there, and must not store the value anew meanwhile.
    pub(crate) fn give_up(self: &Rc<Self>, request: &Rc<Request>, holders: Vec<usize>) {
        let now = self.nodes.now();
        self.given_up.borrow_mut().add(&request.value, now + 2 * request.expiry, now);
        self.release(request, holders);
    }

    /// Is what nodes store of this value still being released?
    pub(crate) fn has_given_up(&self, value: &Value) -> bool {
        self.given_up.borrow().has(value, self.nodes.now())
    }

    /// Can nothing be asked any more?
    pub(crate) fn is_over(&self) -> bool {
        self.nodes.are_closed()
    }

    /// Asks no more again, where there was no answer.
    pub(crate) fn stop(&self) {
        self.is_stopped.set(true);
        for missed in &self.missed {
            missed.stop.notify_one();
        }
    }

    /// Releases `request` on these nodes, and asks those that do not answer again until they do or the
    /// key has expired there by itself.
    ///
    /// It never depends on the caller (go-redsync releases on the caller's context, and leaves the keys
    /// of a cancelled call to their expiry). The commands are on their way when this returns; the handle
    /// resolves when each node has been asked once, and dropping it stops nothing.
    pub(crate) fn release(
        self: &Rc<Self>,
        request: &Rc<Request>,
        holders: Vec<usize>,
    ) -> Option<JoinHandle<()>> {
        if holders.is_empty() {
            return None;
        }
        let round = Round::ask(&self.nodes, Verb::Release, request, holders, false);
        Some(self.finish(round, request))
    }

    /// The votes of a release as soon as they decide. Those nodes that have not answered by then are
    /// waited for in the background, and asked again if they do not answer at all.
    pub(crate) async fn follow_up(
        self: &Rc<Self>,
        round: Round,
        request: &Rc<Request>,
    ) -> Votes<'static> {
        let votes = round.first_votes().await;
        if votes.are_complete() {
            self.make_up_for(request, votes.unsettled());
        } else {
            self.finish(round, request);
        }
        votes
    }

    /// Waits for the votes of a release in the background.
    fn finish(self: &Rc<Self>, round: Round, request: &Rc<Request>) -> JoinHandle<()> {
        let busy = self.nodes.busy();
        let (cleanup, request) = (self.clone(), request.clone());
        spawn_local(async move {
            let _busy = busy;
            let unsettled = round.votes().await.unsettled();
            cleanup.make_up_for(&request, unsettled);
        })
    }

    /// Asks these nodes again, and again, in the background.
    fn make_up_for(self: &Rc<Self>, request: &Rc<Request>, unsettled: Vec<usize>) {
        for node in unsettled {
            let missed = &self.missed[node];
            missed.add(self.nodes.now() + request.expiry, request.clone());
            if !self.is_stopped.get() && !missed.is_served.replace(true) {
                spawn_local(self.clone().serve(node));
            }
        }
    }

    /// Makes up for what one node has missed: one release after each pause, to see whether it is back,
    /// and all of them when it is.
    async fn serve(self: Rc<Self>, node: usize) {
        let (nodes, missed) = (&self.nodes, &self.missed[node]);
        let mut pause = FIRST_PAUSE;
        let mut count = 1;
        loop {
            if count == 1 && timeout(pause, missed.stop.notified()).await.is_ok() {
                break;
            }
            let releases = missed.take(nodes.now(), count);
            if releases.is_empty() || self.is_stopped.get() {
                break;
            }
            let ask = |(_, request): &(Duration, Rc<Request>)| {
                Round::ask(nodes, Verb::Release, request, vec![node], false)
            };
            let rounds: Vec<_> = releases.iter().map(ask).collect();
            let mut is_back = true;
            for ((until, request), round) in releases.into_iter().zip(rounds) {
                if !round.votes().await.unsettled().is_empty() {
                    missed.add(until, request);
                    is_back = false;
                }
            }
            (pause, count) =
                if is_back { (FIRST_PAUSE, AT_ONCE) } else { (LAST_PAUSE.min(pause * 2), 1) };
        }
        missed.is_served.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use crate::testing::request;

    #[test]
    fn what_was_given_up_is_remembered_for_its_time_and_forgotten_after_it() {
        let mut given_up = GivenUp::default();
        let at = Duration::from_secs;
        let value = |number: u64| Value::from(format!("{number}").as_str());
        for number in 0..1000 {
            given_up.add(&value(number), at(number + 2), at(number));
            assert!(given_up.values.len() <= 2 * FEW, "{number}");
        }
        let known = |number: u64, now: u64| given_up.has(&value(number), at(now));
        assert_eq!((known(999, 1000), known(999, 1001), known(1000, 1000)), (true, false, false));
    }

    #[test]
    fn of_too_many_releases_the_oldest_is_left_to_its_expiry() {
        let request = Rc::new(request(Kind::default(), "value", 0));
        let missed = Missed::default();
        let until = |number: usize| Duration::from_secs(number as u64);
        for number in 1..=MAX_MISSED + 2 {
            missed.add(until(number), request.clone());
        }
        let all = missed.take(Duration::ZERO, usize::MAX);
        assert_eq!((all.len(), all[0].0), (MAX_MISSED, until(3)));
    }
}
