//! What a task of a client does: it goes for locks, holds them, and leaves them in every way there is.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use redsync_engine::{Error, Extension, Held, Holder, Keys, Loss, Value};
use tokio::time::sleep;

use crate::chance::Chance;
use crate::client::{Client, NAMES, Way};
use crate::faults::Fault;
use crate::message::What;
use crate::violation::Violation;
use crate::witness::Belief;

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
            Some((keys, value)) => take_over(&client, &mut chance, keys, value).await,
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
    let keys = keys_of(chance, schedule.names);
    let expiry = chance.pick(&[schedule.expiry, schedule.expiry, schedule.expiry / 2]);
    let way = client.way(chance, keys, expiry);
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
    let call = async {
        if tries == 1 { way.mutex.try_lock(&cancel).await } else { way.mutex.lock(&cancel).await }
    };
    match client.settled(way.lock_deadline(tries), call).await {
        Ok(held) if client.is_closed.get() => unlock(client, &way, &held.value).await,
        Ok(held) => hold(client, chance, &way, held).await,
        Err(Error::Cancelled) if !cancel.is_cancelled() => {
            client.world.witness.report(Violation::Stuck)
        }
        Err(_) => {}
    }
}

/// Goes on with a lock that another client has acquired.
async fn take_over(client: &Rc<Client>, chance: &mut Chance, keys: Keys, value: Value) {
    client.world.faults.count(Fault::HandedOver);
    let expiry = chance.pick(&[client.world.schedule.expiry, client.world.schedule.expiry / 2]);
    let way = client.way(chance, keys, expiry);
    match client.settled(way.deadline(), way.mutex.extend(value.clone())).await {
        Ok(held) => hold(client, chance, &way, held).await,
        Err(_) => unlock(client, &way, &value).await,
    }
}

async fn unlock(client: &Rc<Client>, way: &Way, value: &Value) {
    let _ = client.settled(way.deadline(), way.mutex.unlock(value.clone())).await;
}

async fn hold(client: &Rc<Client>, chance: &mut Chance, way: &Way, held: Held) {
    let (keys, value) = (way.keys.clone(), held.value.clone());
    let belief = client.world.witness.believe(
        client.index,
        keys,
        value.clone(),
        client.clock.clone(),
        held.until,
    );
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
            extend(client, chance, way, &belief, &value).await;
        } else {
            let valid = client.settled(way.deadline(), way.mutex.valid(value.clone())).await;
            client.world.trace.add(&[u64::from(valid == Ok(true))]);
        }
    }
    let (most, outlives) = (way.expiry * 2 / 3, chance.percent(25));
    rest(chance, most).await;
    if outlives {
        sleep(belief.until().saturating_sub(client.now())).await;
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
    let holder = SimulatedHolder {
        client: Rc::downgrade(client),
        belief: belief.clone(),
        last_alive: stalls.then(|| client.now()),
    };
    client.nodes.lease(way.mutex.hold(held), extension, Rc::new(holder));
}

/// By the caller, with an expiry that may be another one.
async fn extend(
    client: &Rc<Client>,
    chance: &mut Chance,
    way: &Way,
    belief: &Belief,
    value: &Value,
) {
    let expiry = match chance.within(0..=3) {
        0 => way.expiry / 2,
        1 => way.expiry * 2,
        _ => way.expiry,
    };
    let way =
        client.way(chance, way.keys.clone(), expiry.min(client.world.schedule.longest_expiry()));
    let extended = client.settled(way.deadline(), way.mutex.extend(value.clone())).await;
    if let Ok(held) = extended
        && belief.is_held()
    {
        if client.now() >= held.until {
            client.world.witness.report(Violation::Stale);
        }
        belief.prolong(held.until);
        client.belief_may_end(held.until);
    }
    // Released with a shorter expiry than this, it is not looked for so long.
    client.world.witness.excuse(value);
}

async fn leave(client: &Rc<Client>, chance: &mut Chance, way: &Way, belief: &Belief, value: Value) {
    let witness = &client.world.witness;
    client.world.tell(format_args!("client {} leaves", client.index));
    match chance.within(0..=9) {
        0 => {
            client.world.faults.count(Fault::Dropped);
            witness.excuse(&value);
            client.nodes.let_expire(&way.keys, &value);
        }
        1 => {
            belief.release();
            client.nodes.end_lease(&way.keys, &value);
            witness.excuse(&value);
            client.handed_over.borrow_mut().push_back((way.keys.clone(), value));
        }
        _ => {
            belief.release();
            unlock(client, way, &value).await;
        }
    }
}

/// Who is told about a lock that the engine looks after.
struct SimulatedHolder {
    /// A killed client leaves its leases where they are: they must not hold it.
    client: Weak<Client>,
    belief: Rc<Belief>,
    /// Since when it has shown no sign of life, if it stopped to.
    last_alive: Option<Duration>,
}

impl Holder for SimulatedHolder {
    fn last_alive(&self, now: Duration) -> Duration {
        self.last_alive.unwrap_or(now)
    }

    fn extended(&self, until: Duration) {
        self.belief.prolong(until);
        if let Some(client) = self.client.upgrade() {
            client.belief_may_end(until);
        }
    }

    fn lost(&self, why: Loss) {
        let Some(client) = self.client.upgrade() else { return };
        client.world.trace.add(&[why as u64]);
        if !self.belief.lose() {
            client.world.witness.report(Violation::LossToldWrongly);
        }
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
