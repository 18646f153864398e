//! Who waits for a lock, and whether it could have been had meanwhile.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use redsync_engine::{CancellationToken, Keys, Quorum};

use crate::node::{SimulatedNode, State};
use crate::permit::{self, KEYS};
use crate::schedule::Schedule;
use crate::violation::Violation;
use crate::way::Way;

/// So often a waiter may see one served that has come after it, in its own process: who was first may
/// have asked a moment too early.
const OVERTAKEN: u32 = 1;

/// The same where nodes do not tell, and who comes later may ask more often.
const OVERTAKEN_UNTOLD: u32 = 3;

/// So often the time of its patience a lock may be free in pieces that are each too short.
const PIECES: u64 = 6;

/// What a call can get: a lock, or one of the permits.
struct Wish {
    /// Which of the keys, one bit each.
    keys: u8,
    /// Since the last look.
    is_free: Cell<bool>,
    /// For how long it has been free without a break.
    stretch: Cell<u64>,
    /// It was not free all the time, or more was in the way than calls, or somebody was granted something.
    was_disturbed: Cell<bool>,
}

impl Wish {
    fn of(keys: u8) -> Self {
        let (is_free, stretch, was_disturbed) = Default::default();
        Self { keys, is_free, stretch, was_disturbed }
    }

    fn forget(&self) {
        self.was_disturbed.set(true);
        self.is_free.set(false);
        self.stretch.set(0);
    }
}

/// A call that is to get a lock.
pub struct Waiter {
    client: usize,
    names: Keys,
    /// One of them will do.
    wishes: Vec<Wish>,
    /// It waits in the line of its process.
    is_in_line: bool,
    /// Its node timeout is longer than a round.
    has_time: bool,
    /// For how long the lock may be free; `None`: it is in its own way.
    patience: Option<u64>,
    cancel: CancellationToken,
    number: Cell<u64>,
    /// For how long one of them has been free in all.
    in_all: Cell<u64>,
    overtaken: Cell<u32>,
    may_be_overtaken: u32,
}

impl Waiter {
    pub fn new(
        client: usize,
        way: &Way,
        tries: u64,
        schedule: &Schedule,
        cancel: CancellationToken,
    ) -> Self {
        let is_told = schedule.is_told_of_changes();
        Self {
            may_be_overtaken: if is_told { OVERTAKEN } else { OVERTAKEN_UNTOLD },
            patience: way.patience(schedule),
            client,
            names: way.keys.clone(),
            wishes: permit::bits_of_each(&way.keys, way.permits)
                .into_iter()
                .map(Wish::of)
                .collect(),
            is_in_line: tries > 1,
            has_time: way.has_time(schedule),
            cancel,
            number: Cell::default(),
            in_all: Cell::default(),
            overtaken: Cell::default(),
        }
    }

    fn forget(&self) {
        self.wishes.iter().for_each(Wish::forget);
    }
}

/// All that wait.
pub struct Waiters {
    quorum: Quorum,
    all: RefCell<Vec<Rc<Waiter>>>,
    next_number: Cell<u64>,
    last_look: Cell<u64>,
    found: RefCell<Vec<Violation>>,
}

impl Waiters {
    pub fn new(quorum: Quorum) -> Self {
        Self {
            quorum,
            all: RefCell::default(),
            next_number: Cell::default(),
            last_look: Cell::default(),
            found: RefCell::default(),
        }
    }

    /// Until what is returned is dropped, the waiter waits.
    pub fn join(&self, waiter: Waiter) -> Waiting<'_> {
        let waiter = Rc::new(waiter);
        waiter.number.set(self.next_number.get());
        self.next_number.set(waiter.number.get() + 1);
        self.all.borrow_mut().push(waiter.clone());
        Waiting { waiters: self, waiter }
    }

    /// Somebody's value was stored, if only for a moment.
    pub fn disturb(&self, keys: &[Box<str>]) {
        let keys = permit::bits(keys);
        let all = self.all.borrow();
        let wishes = all.iter().flat_map(|waiter| &waiter.wishes);
        wishes.filter(|wish| wish.keys & keys != 0).for_each(Wish::forget);
    }

    /// Counts for how long each could have had its lock. `None`: more is in the way than calls.
    pub fn look(&self, nodes: &[SimulatedNode], now: u64, is_calm: bool, quarantine: u64) {
        let passed = now - self.last_look.replace(now);
        let all = self.all.borrow();
        if !is_calm {
            return all.iter().for_each(|waiter| waiter.forget());
        }
        let mut is_free = [None; 1 << KEYS.len()];
        for waiter in all.iter() {
            let Some(patience) = waiter.patience else { continue };
            if waiter.cancel.is_cancelled() {
                continue;
            }
            if waiter.wishes.iter().any(|wish| wish.is_free.get()) {
                waiter.in_all.set(waiter.in_all.get() + passed);
            }
            let mut is_patient = waiter.in_all.get() <= PIECES * patience;
            for wish in &waiter.wishes {
                if wish.is_free.get() {
                    wish.stretch.set(wish.stretch.get() + passed);
                    is_patient &= wish.stretch.get() <= patience;
                }
                let is_free = is_free[usize::from(wish.keys)]
                    .get_or_insert_with(|| self.is_free(nodes, wish.keys, quarantine));
                if *is_free {
                    wish.is_free.set(true);
                } else {
                    wish.forget();
                }
            }
            if !is_patient {
                self.found.borrow_mut().push(Violation::Unserved);
            }
        }
    }

    fn is_free(&self, nodes: &[SimulatedNode], keys: u8, quarantine: u64) -> bool {
        let is_wanted = |index: usize| keys & 1 << index != 0;
        let stores = |node: &SimulatedNode| {
            let mut wanted = KEYS.iter().enumerate().filter(|(index, _)| is_wanted(*index));
            wanted.any(|(_, key)| node.get(key).is_some())
        };
        let votes = |node: &SimulatedNode| {
            let uptime = node.uptime().map(|uptime| uptime.as_millis() as u64);
            node.state.get() == State::Up && uptime.is_none_or(|uptime| uptime >= quarantine)
        };
        let is_free = |node: &&SimulatedNode| votes(node) && !stores(node);
        self.quorum.is_reached(nodes.iter().filter(is_free).count())
    }

    pub fn take_found(&self) -> Vec<Violation> {
        self.found.take()
    }
}

/// A call that waits.
pub struct Waiting<'a> {
    waiters: &'a Waiters,
    waiter: Rc<Waiter>,
}

impl Waiting<'_> {
    /// It has the lock: those of its line that came before it had not.
    pub fn won(&self) {
        let me = &self.waiter;
        for other in self.waiters.all.borrow().iter() {
            let is_before_me = other.number < me.number && other.is_in_line && me.is_in_line;
            let is_of_my_line = other.client == me.client
                && other.names == me.names
                && other.wishes.len() == me.wishes.len();
            if is_before_me && is_of_my_line && other.patience.is_some() {
                other.overtaken.set(other.overtaken.get() + 1);
                if other.overtaken.get() > other.may_be_overtaken && !other.cancel.is_cancelled() {
                    self.waiters.found.borrow_mut().push(Violation::Overtaken);
                }
            }
        }
    }

    /// It has it not, though it was free for longer than an attempt takes; or, of one that makes one attempt
    /// and no more, for all of its time, and nobody was granted anything.
    pub fn failed(&self, brief: u64) {
        let me = &self.waiter;
        let is_needless = |wish: &Wish| {
            let was_free = wish.is_free.get() && !wish.was_disturbed.get();
            wish.stretch.get() > brief || was_free && me.has_time && !me.is_in_line
        };
        let may_fail = me.patience.is_none() || me.cancel.is_cancelled();
        if !may_fail && me.wishes.iter().any(is_needless) {
            self.waiters.found.borrow_mut().push(Violation::FailedThoughFree);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waiters.all.borrow_mut().retain(|waiter| !Rc::ptr_eq(waiter, &self.waiter));
    }
}
