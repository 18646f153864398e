//! What a task of a client does: it goes for locks, holds them, and leaves them in every way there is.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{Answer, Error, Extension, Held, Keys, Quorum, Value, Verb};
use tokio::time::sleep;

use crate::chance::Chance;
use crate::client::{Client, NAMES};
use crate::faults::Fault;
use crate::holder::SimulatedHolder;
use crate::message::What;
use crate::permit;
use crate::violation::Violation;
use crate::way::{Mode, Target, Way};
use crate::witness::Belief;

/// So long a call that would never end is in the way of others, at most.
const ENDLESS: u64 = 2000;

/// Several rounds of locking.
pub async fn run(client: Rc<Client>, mut chance: Chance) {
    let schedule = &client.world.schedule;
    for _ in 0..schedule.rounds {
        sleep(millis(chance.within(0..=schedule.expiry / 2))).await;
        if client.is_closed.get() {
            return;
        }
        let handed_over = client.handed_over.borrow_mut().pop_front();
        match handed_over {
            Some(it) => take_over(&client, &mut chance, it).await,
            None => lock(&client, &mut chance).await,
        }
    }
}

fn keys_of(chance: &mut Chance, names: usize) -> Keys {
    match chance.within(0..=4) {
        0 if names == 2 => NAMES.iter().map(|&name| name.into()).collect(),
        _ => Rc::new([NAMES[chance.index(names)].into()]),
    }
}

async fn lock(client: &Rc<Client>, chance: &mut Chance) {
    let schedule = &client.world.schedule;
    let target = client.target(keys_of(chance, schedule.names));
    let expiry = chance.pick(&[schedule.expiry, schedule.expiry, schedule.expiry / 2]);
    let way = client.way(chance, target, expiry);
    let cancel = client.stop.child_token();
    if chance.percent(schedule.aborts) {
        if chance.percent(50) {
            // After so many commands, in the middle of a round.
            let after = chance.within(0..=2 * schedule.nodes.len() as u64);
            client.world.fuses[client.index].replace(Some((after, cancel.clone())));
        } else {
            client.world.faults.count(Fault::Aborted);
            let at = client.world.now() + chance.within(0..=2 * way.deadline());
            client.world.plan(at, What::Abort(cancel.clone()));
        }
    }
    let tries = if chance.percent(70) { way.tries } else { 1 };
    let deadline = if way.is_endless() {
        // For as long as the others have to have their locks in spite of it.
        let time = client.aside.borrow_mut().within(0..=ENDLESS);
        client.world.plan(client.world.now() + time, What::Abort(cancel.clone()));
        time + 2 * way.timeout
    } else {
        way.lock_deadline(tries)
    };
    match client.settled(&way, deadline, client.acquire(&way, tries, &cancel)).await {
        Ok(held) if client.is_closed.get() => drop(unlock(client, &way, &held.value).await),
        Ok(held) => hold(client, chance, &way, held).await,
        Err(Error::Cancelled) if !cancel.is_cancelled() => {
            client.world.witness.report(Violation::Stuck)
        }
        Err(_) => {}
    }
}

/// Goes on with a lock that another client has acquired.
async fn take_over(client: &Rc<Client>, chance: &mut Chance, (target, value): (Target, Value)) {
    client.world.faults.count(Fault::HandedOver);
    let expiry = chance.pick(&[client.world.schedule.expiry, client.world.schedule.expiry / 2]);
    let way = client.way(chance, target, expiry).without_recreation();
    match client.settled(&way, way.deadline(), way.mutex.extend(value.clone())).await {
        Ok(held) if client.is_closed.get() => drop(unlock(client, &way, &held.value).await),
        Ok(held) => {
            if way.is_fenced && held.token != value.token() {
                client.world.witness.report(Violation::TokenOrder);
            }
            hold(client, chance, &way, held).await;
        }
        Err(_) => drop(unlock(client, &way, &value).await),
    }
}

/// Gives whether it was told to be released.
async fn unlock(client: &Rc<Client>, way: &Way, value: &Value) -> bool {
    let listening = client.world.hearing.open(Verb::Release, value);
    let call = way.mutex.unlock(value.clone());
    let released = client.settled(way, way.deadline(), call).await;
    if !listening.explains(&released) {
        client.world.witness.report(Violation::Misreported);
    }
    released.is_ok()
}

async fn hold(client: &Rc<Client>, chance: &mut Chance, way: &Way, held: Held) {
    let value = held.value.clone();
    let belief =
        client.world.witness.believe(client.index, way, &value, client.clock.clone(), held.until);
    let (index, now) = (client.index, client.now());
    client
        .world
        .tell(format_args!("client {index} holds for {:?}", held.until.saturating_sub(now)));
    client.belief_may_end(held.until);
    if chance.percent(40) {
        lease(client, chance, way, &held, &belief);
    }
    for _ in 0..chance.within(0..=2) {
        rest(chance, way.expiry * 2 / 3).await;
        if client.is_closed.get() || !belief.is_held() {
            break;
        }
        if chance.percent(60) {
            if extend_if_held(client, chance, way, &belief, &value).await {
                return;
            }
        } else {
            look(client, chance, way, &belief, &value).await;
        }
    }
    let (most, outlives) = (way.expiry * 2 / 3, chance.percent(25));
    rest(chance, most).await;
    if outlives {
        sleep(belief.until().saturating_sub(client.now())).await;
        if client.percent(30) && extend_if_held(client, chance, way, &belief, &value).await {
            return;
        }
    }
    leave(client, chance, way, &belief, value).await;
}

async fn rest(chance: &mut Chance, longest: u64) {
    let longest = if chance.percent(30) { 3 } else { longest };
    sleep(millis(chance.within(0..=longest))).await;
}

fn lease(client: &Rc<Client>, chance: &mut Chance, way: &Way, held: &Held, belief: &Rc<Belief>) {
    let stalls = chance.percent(15);
    if stalls {
        client.world.faults.count(Fault::Stalled);
    }
    let extension = chance.percent(80).then(|| Extension {
        interval: millis(way.expiry / chance.within(2..=5)),
        max_hold: millis(way.expiry * chance.within(1..=5)),
        max_stall: millis(way.expiry),
    });
    belief.is_leased.set(true);
    let holder = SimulatedHolder::new(client, way, belief, extension, stalls);
    if client.percent(10) {
        // The first of two leases of one lock is replaced: nobody is told of it any more.
        let first = SimulatedHolder::replaced(client, belief);
        way.redsync.leases.begin(way.mutex.hold(held), extension, first);
    }
    way.redsync.leases.begin(way.mutex.hold(held), extension, holder);
    // Somebody listens to every other one.
    if held.value.bytes().map(u32::from).sum::<u32>() % 2 == 0 {
        let hold = way.mutex.hold(held);
        way.redsync.leases.guard(hold.keys(), hold.value());
    }
}

/// Is the lock held for so long, and is so little in the way, that a call about it cannot fail?
fn is_unhindered(client: &Client, way: &Way, belief: &Belief) -> bool {
    let schedule = &client.world.schedule;
    schedule.orderly
        && !client.is_closed.get()
        && way.timeout > schedule.round_trip()
        && belief.left() > millis(4 * way.timeout)
}

/// Looks whether the lock is still stored.
async fn look(client: &Rc<Client>, chance: &mut Chance, way: &Way, belief: &Belief, value: &Value) {
    let changed = (belief.mode() != way.target.mode)
        .then(|| client.way_again(chance, way, belief.mode(), way.expiry));
    let way = changed.as_ref().unwrap_or(way);
    let is_unhindered = is_unhindered(client, way, belief);
    let listening = client.world.hearing.open(Verb::Owner, value);
    let valid = client.settled(way, way.deadline(), way.mutex.valid(value.clone())).await;
    let is_explained = match valid {
        Ok(true) => listening.granted(),
        Ok(false) => listening.lost(),
        Err(_) => true,
    };
    if !is_explained {
        client.world.witness.report(Violation::Misreported);
    }
    if is_unhindered && valid != Ok(true) && !client.is_closed.get() {
        client.world.witness.report(Violation::NeedlessFailure);
    }
    client.world.trace.add(&[u64::from(valid == Ok(true))]);
}

/// Gives whether the lock is known to be somebody else's, and is left as it is.
async fn extend_if_held(
    client: &Rc<Client>,
    chance: &mut Chance,
    way: &Way,
    belief: &Belief,
    value: &Value,
) -> bool {
    let is_taken = extend(client, chance, way, belief, value).await;
    let goes_away = is_taken && client.percent(70);
    if goes_away {
        belief.release();
        way.redsync.leases.end(&permit::keys_of(&way.target.names, value), value);
    }
    goes_away
}

/// By the caller, with an expiry that may be another one. Gives whether the lock is told to be
/// somebody else's.
async fn extend(
    client: &Rc<Client>,
    chance: &mut Chance,
    way: &Way,
    belief: &Belief,
    value: &Value,
) -> bool {
    let expiry = match chance.within(0..=3) {
        0 => way.expiry / 2,
        1 => way.expiry * 2,
        _ => way.expiry,
    };
    let longest = client.world.schedule.longest_expiry();
    let released_with = way.expiry;
    if belief.mode() == Mode::Write && client.percent(30) {
        client.world.tell(format_args!("client {} reads from now on", client.index));
        belief.share();
    }
    let way = client.way_again(chance, way, belief.mode(), expiry.min(longest));
    if way.expiry > released_with {
        // Released with a shorter expiry than this, it is not looked for so long.
        client.world.witness.excuse(value);
    }
    let is_unhindered = is_unhindered(client, &way, belief);
    let listening = client.world.hearing.open(Verb::Extend { recreate: false }, value);
    let call = way.mutex.extend(value.clone());
    let extended = client.settled(&way, way.deadline(), call).await;
    if !listening.explains(&extended) {
        client.world.witness.report(Violation::Misreported);
    }
    if is_unhindered && extended.is_err() && !client.is_closed.get() {
        client.world.witness.report(Violation::NeedlessFailure);
    }
    match extended {
        Ok(held) if belief.is_held() => {
            if client.now() >= held.until {
                client.world.witness.report(Violation::Stale);
            }
            belief.prolong(held.until);
            client.belief_may_end(held.until);
            false
        }
        Ok(_) => false,
        Err(error) => {
            if !way.recreates {
                // What a minority still stored lives there for longer now. It is not released: the
                // release could come behind an extension that stores the value again.
                client.world.witness.excuse(value);
            }
            let taken = error.votes().iter().filter(|vote| **vote == Some(Ok(Answer::Taken)));
            Quorum::of(client.world.nodes.len()).is_reached(taken.count())
        }
    }
}

async fn leave(client: &Rc<Client>, chance: &mut Chance, way: &Way, belief: &Belief, value: Value) {
    let witness = &client.world.witness;
    let changed = (belief.mode() != way.target.mode)
        .then(|| client.way_again(chance, way, belief.mode(), way.expiry));
    let way = changed.as_ref().unwrap_or(way);
    client.world.tell(format_args!("client {} leaves", client.index));
    match chance.within(0..=9) {
        0 => {
            client.world.faults.count(Fault::Dropped);
            witness.excuse(&value);
            belief.keep(None);
            way.redsync.leases.let_expire(&permit::keys_of(&way.target.names, &value), &value);
        }
        1 => {
            belief.release();
            way.redsync.leases.end(&permit::keys_of(&way.target.names, &value), &value);
            witness.excuse(&value);
            let target = Target { mode: belief.mode(), ..way.target.clone() };
            client.handed_over.borrow_mut().push_back((target, value));
        }
        _ if belief.mode() == Mode::Mutex && client.percent(client.world.schedule.rests) => {
            rest_until(client, way, belief, value).await;
        }
        _ => {
            let is_unhindered = is_unhindered(client, way, belief);
            belief.release();
            let is_released = unlock(client, way, &value).await;
            if !is_released && client.is_closed.get() {
                witness.excuse(&value); // nobody could be asked any more: it expires
            }
            if is_unhindered && !is_released && !client.is_closed.get() {
                witness.report(Violation::NeedlessFailure);
            }
            let is_found_again =
                is_released && client.percent(20) && unlock(client, way, &value).await;
            if is_found_again && !witness.is_excused(&value) {
                // Nothing can have stored it again, but for a command of a link that was reset.
                witness.report(Violation::Misreported);
            }
        }
    }
}

/// Releases a lock that keeps others off for some of the time that it would have lived.
async fn rest_until(client: &Rc<Client>, way: &Way, belief: &Belief, value: Value) {
    client.world.faults.count(Fault::Rested);
    let witness = &client.world.witness;
    witness.excuse(&value);
    let left = belief.left().as_millis() as u64;
    let when = client.now() + millis(client.aside.borrow_mut().within(0..=left));
    let is_unhindered = is_unhindered(client, way, belief);
    belief.rest(when);
    client.world.tell(format_args!("client {} lets it rest until {when:?}", client.index));
    // When the time is over it is a plain release.
    let listening =
        [Verb::Shorten, Verb::Release].map(|verb| client.world.hearing.open(verb, &value));
    let call = way.mutex.unlock_at(value, when);
    let released = client.settled(way, way.deadline(), call).await;
    if !listening.iter().any(|heard| heard.explains(&released)) {
        witness.report(Violation::Misreported);
    }
    if is_unhindered && released.is_err() && !client.is_closed.get() {
        witness.report(Violation::NeedlessFailure);
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Counts tasks until they are done, also those that end with their process.
pub struct Running(Rc<Cell<usize>>);

impl Running {
    pub fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
