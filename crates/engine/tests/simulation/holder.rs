//! Who is told of a lock that the engine looks after, and whether what he is told is true.

use std::rc::{Rc, Weak};
use std::time::Duration;

use redsync_engine::{Clock, Extension, Holder, Loss, Verb};

use crate::client::{Client, SLACK};
use crate::hearing::Listening;
use crate::violation::Violation;
use crate::way::Way;
use crate::witness::{Belief, Keep};

/// A loss is told so much before the lock is over: the engine's margin, and a timer that rounds.
const EARLY: Duration = Duration::from_millis(3);

pub struct SimulatedHolder {
    /// A killed client leaves its leases where they are: they must not hold it.
    client: Weak<Client>,
    belief: Rc<Belief>,
    /// Since when it has shown no sign of life, if it stopped to.
    last_alive: Option<Duration>,
    /// To be extended no more from then on, on the client's clock.
    hold_until: Option<Duration>,
    is_replaced: bool,
    /// What the nodes say to its extensions, and when it is looked at it.
    extensions: Listening,
    looks: Listening,
}

impl SimulatedHolder {
    pub fn new(
        client: &Rc<Client>,
        way: &Way,
        belief: &Rc<Belief>,
        extension: Option<Extension>,
        stalls: bool,
    ) -> Rc<Self> {
        let hold_until = extension.map(|extension| client.now() + extension.max_hold);
        // The engine's own extension has the node timeout of the lock; a clock may be fast.
        let within = |interval: Duration| {
            interval.mul_f64(1.05) + Duration::from_millis(way.timeout + SLACK)
        };
        let is_kept = !stalls && way.timeout > client.world.schedule.round_trip();
        belief.keep(extension.filter(|_| is_kept).map(|extension| Keep {
            within: within(extension.interval),
            hold_until: client.now() + extension.max_hold,
        }));
        Rc::new(Self {
            hold_until,
            last_alive: stalls.then(|| client.now()),
            ..Self::of(client, belief, false)
        })
    }

    /// One who is told nothing, for another takes his place.
    pub fn replaced(client: &Rc<Client>, belief: &Rc<Belief>) -> Rc<Self> {
        Rc::new(Self::of(client, belief, true))
    }

    fn of(client: &Rc<Client>, belief: &Rc<Belief>, is_replaced: bool) -> Self {
        let listen = |verb| client.world.hearing.open(verb, belief.value());
        Self {
            client: Rc::downgrade(client),
            belief: belief.clone(),
            last_alive: None,
            hold_until: None,
            is_replaced,
            extensions: listen(Verb::Extend { recreate: false }),
            looks: listen(Verb::Owner),
        }
    }

    /// Is it lost, and for this reason?
    fn is_true(&self, client: &Client, why: Loss) -> bool {
        let now = client.clock.now();
        let is_over = now + EARLY >= self.belief.until();
        match why {
            Loss::Closed => client.is_closed.get(),
            Loss::Taken => self.extensions.taken() || self.looks.taken(),
            Loss::Deleted => self.extensions.lost() || self.looks.lost(),
            Loss::MaxHold => is_over && self.hold_until.is_some_and(|until| now >= until),
            Loss::MaxStall => is_over && self.last_alive.is_some(),
            Loss::Expired => is_over && !(client.world.schedule.orderly && self.belief.is_kept()),
        }
    }
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
        client.world.tell(format_args!("client {} has lost its lock: {why:?}", client.index));
        if !self.is_true(&client, why) {
            client.world.witness.report(Violation::LossUntrue);
        }
        if !self.belief.lose() || self.is_replaced {
            client.world.witness.report(Violation::LossToldWrongly);
        }
    }
}
