//! Who waits for a lock, and whether it could have been had meanwhile.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use redsync_engine::{CancellationToken, Keys, Kind, Quorum};

use crate::node::{SimulatedNode, State};
use crate::permit::{self, KEYS};
use crate::schedule::Schedule;
use crate::violation::Violation;
use crate::way::{Mode, Target, Way};

/// So often a waiter may see one served that has come after it, in its own process: who was first may
/// have asked a moment too early, and the last attempt of another may come in the moment in which a lock expires.
const OVERTAKEN: u32 = 2;

/// The same where who comes later may ask more often: nodes do not tell, or others ask every few milliseconds.
const OVERTAKEN_BY_EAGER: u32 = 3;

/// So often the time of its patience a lock may be free in pieces that are each too short.
const PIECES: u64 = 6;

/// What a call can get: a lock, or one of the permits.
struct Wish {
    /// Which of the keys, one bit each.
    keys: u8,
    /// Other readers are not in its way.
    is_shared: bool,
    /// Since the last look.
    is_free: Cell<bool>,
    /// For how long it has been free without a break.
    stretch: Cell<u64>,
    /// Since when it has been free while nodes and connections fail, and how often they had failed by then.
    free_since: Cell<Option<(u64, u64)>>,
    /// It was not free all the time, or more was in the way than calls, or somebody was granted something.
    was_disturbed: Cell<bool>,
}

impl Wish {
    fn of(keys: u8, is_shared: bool) -> Self {
        let (is_free, stretch, free_since, was_disturbed) = Default::default();
        Self { keys, is_shared, is_free, stretch, free_since, was_disturbed }
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
    mode: Mode,
    /// It waits in the line of its process.
    is_in_line: bool,
    /// Its node timeout is longer than a round.
    has_time: bool,
    /// For how long the lock may be free; `None`: it is in its own way.
    patience: Option<u64>,
    /// The same while nodes and connections fail, for each time that they do.
    patience_in_disorder: Option<u64>,
    /// From which nodes an answer comes in time then.
    is_near: Vec<bool>,
    cancel: CancellationToken,
    number: Cell<u64>,
    began: Cell<u64>,
    /// For how long one of them has been free in all.
    in_all: Cell<u64>,
    /// From the beginning, or whatever takes its sign away, to when it has left one; `None`: it leaves none.
    signs_within: Option<u64>,
    signs_from: Cell<u64>,
    /// When a reader was in who had come behind its sign.
    passed: Cell<Option<u64>>,
    /// For how long a call may go on that has taken its signs back already.
    ends_within: u64,
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
        let is_quiet = schedule.is_told_of_changes() && !schedule.eager;
        let Target { names, permits, mode } = &way.target;
        let keys = permit::bits_of_each(names, *permits);
        Self {
            may_be_overtaken: if is_quiet { OVERTAKEN } else { OVERTAKEN_BY_EAGER },
            patience: way.patience(schedule),
            patience_in_disorder: way.patience_in_disorder(schedule),
            is_near: way.is_near(schedule),
            client,
            names: names.clone(),
            wishes: keys.into_iter().map(|keys| Wish::of(keys, *mode == Mode::Read)).collect(),
            mode: *mode,
            signs_within: way.signs_within(schedule),
            signs_from: Cell::default(),
            passed: Cell::default(),
            ends_within: way.brief(schedule),
            is_in_line: tries > 1,
            has_time: way.has_time(schedule),
            cancel,
            number: Cell::default(),
            began: Cell::default(),
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
    /// When each client has last ended a call that writes.
    ended: RefCell<Vec<(usize, u64)>>,
    /// At the last look nothing was in the way of a call but other calls.
    is_calm: Cell<bool>,
    found: RefCell<Vec<Violation>>,
}

impl Waiters {
    pub fn new(quorum: Quorum) -> Self {
        Self {
            quorum,
            all: RefCell::default(),
            next_number: Cell::default(),
            last_look: Cell::default(),
            ended: RefCell::default(),
            is_calm: Cell::default(),
            found: RefCell::default(),
        }
    }

    /// Until what is returned is dropped, the waiter waits.
    pub fn join(&self, waiter: Waiter, now: u64) -> Waiting<'_> {
        let waiter = Rc::new(waiter);
        waiter.number.set(self.next_number.get());
        waiter.began.set(now);
        waiter.signs_from.set(now);
        self.next_number.set(waiter.number.get() + 1);
        self.all.borrow_mut().push(waiter.clone());
        Waiting { waiters: self, waiter }
    }

    /// Somebody's value was stored, if only for a moment.
    pub fn disturb(&self, keys: &[Box<str>], kind: Kind, now: u64) {
        let keys = permit::bits(keys);
        for waiter in self.all.borrow().iter() {
            let is_meant = |wish: &&Wish| wish.keys & keys != 0;
            let is_hindered = |wish: &&Wish| kind != Kind::Read || !wish.is_shared;
            let wishes = || waiter.wishes.iter().filter(is_meant).filter(is_hindered);
            wishes().for_each(Wish::forget);
            if !waiter.is_in_line && wishes().next().is_some() {
                // Who makes one attempt has so many chances as others leave him.
                waiter.wishes.iter().for_each(|wish| wish.was_disturbed.set(true));
            }
            if kind != Kind::Read && wishes().next().is_some() {
                // Who has the lock takes away the signs of others.
                waiter.signs_from.set(now);
            }
        }
    }

    /// A client has taken a sign away, which may have replaced that of another.
    pub fn sign_is_gone(&self, client: usize, keys: &[Box<str>], now: u64) {
        let keys = permit::bits(keys);
        let is_meant = |waiter: &&Rc<Waiter>| {
            waiter.client != client && waiter.wishes.iter().any(|wish| wish.keys & keys != 0)
        };
        let all = self.all.borrow();
        all.iter().filter(is_meant).for_each(|waiter| waiter.signs_from.set(now));
    }

    /// A writer has left a sign, if only for a moment.
    pub fn disturb_readers(&self, keys: &[Box<str>]) {
        let keys = permit::bits(keys);
        let all = self.all.borrow();
        let wishes = all.iter().flat_map(|waiter| &waiter.wishes);
        wishes.filter(|wish| wish.is_shared && wish.keys & keys != 0).for_each(Wish::forget);
    }

    /// Does this client write, or has until a moment ago?
    pub fn is_writing(&self, client: usize, now: u64, moment: u64) -> bool {
        let writes = |waiter: &Rc<Waiter>| waiter.client == client && waiter.mode == Mode::Write;
        let wrote = |(who, ended): &(usize, u64)| *who == client && now <= ended + moment;
        self.all.borrow().iter().any(writes) || self.ended.borrow().iter().any(wrote)
    }

    /// Counts for how long each could have had its lock. `None`: more is in the way than calls.
    pub fn look(&self, nodes: &[SimulatedNode], now: u64, is_calm: bool, quarantine: u64) {
        let passed = now - self.last_look.replace(now);
        self.is_calm.set(is_calm);
        let all = self.all.borrow();
        for waiter in all.iter().filter(|waiter| waiter.signs_within.is_some()) {
            // It leaves its sign where readers are.
            if nodes.iter().any(|node| node.is_locked(&waiter.names)) {
                waiter.signs_from.set(now);
            }
            let may_end = |passed: u64| now <= passed + waiter.ends_within;
            if !waiter.cancel.is_cancelled() && !waiter.passed.get().is_none_or(may_end) {
                self.found.borrow_mut().push(Violation::Starved);
            }
        }
        if !is_calm {
            return all.iter().for_each(|waiter| waiter.forget());
        }
        let mut is_free = [[None; 1 << KEYS.len()]; 2];
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
                let is_free = is_free[usize::from(wish.is_shared)][usize::from(wish.keys)]
                    .get_or_insert_with(|| self.is_free(nodes, wish, quarantine, |_| true));
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

    /// The same while nodes and connections fail, which they have done so often: each failure may cost an attempt.
    pub fn look_in_disorder(
        &self,
        nodes: &[SimulatedNode],
        is_paused: impl Fn(usize) -> bool,
        now: u64,
        quarantine: u64,
        failures: u64,
    ) {
        for waiter in self.all.borrow().iter() {
            let Some(patience) = waiter.patience_in_disorder else { continue };
            let is_near = |node: usize| waiter.is_near[node];
            for wish in &waiter.wishes {
                let is_out = waiter.cancel.is_cancelled() || is_paused(waiter.client);
                if is_out || !self.is_free(nodes, wish, quarantine, is_near) {
                    wish.free_since.set(None);
                    continue;
                }
                let (since, before) = wish.free_since.get().unwrap_or((now, failures));
                wish.free_since.set(Some((since, before)));
                if now > since + patience * (1 + failures - before) {
                    self.found.borrow_mut().push(Violation::Unserved);
                }
            }
        }
    }

    fn is_free(
        &self,
        nodes: &[SimulatedNode],
        wish: &Wish,
        quarantine: u64,
        is_near: impl Fn(usize) -> bool,
    ) -> bool {
        let nodes = nodes.iter().enumerate().filter(|(index, _)| is_near(*index));
        let nodes = nodes.map(|(_, node)| node);
        let is_wanted = |index: usize| wish.keys & 1 << index != 0;
        let is_free = |node: &SimulatedNode| {
            let mut wanted = KEYS.iter().enumerate().filter(|(index, _)| is_wanted(*index));
            wanted.all(|(_, key)| node.is_free_for(key, wish.is_shared))
        };
        let votes = |node: &SimulatedNode| {
            let uptime = node.uptime().map(|uptime| uptime.as_millis() as u64);
            node.state.get() == State::Up && uptime.is_none_or(|uptime| uptime >= quarantine)
        };
        let is_free = |node: &&SimulatedNode| votes(node) && is_free(node);
        self.quorum.is_reached(nodes.filter(is_free).count())
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
        if me.mode == Mode::Read {
            self.passed_writers();
        }
        for other in self.waiters.all.borrow().iter() {
            let is_before_me = other.number < me.number && other.is_in_line && me.is_in_line;
            let is_of_my_line = other.client == me.client
                && other.names == me.names
                && (other.mode, me.mode) != (Mode::Read, Mode::Read)
                && (other.mode == Mode::Read) == (me.mode == Mode::Read)
                && other.wishes.len() == me.wishes.len();
            // Of several permits others may have one after the other while it waits for a node that does not answer.
            let is_hindered = other.wishes.len() > 1 && !self.waiters.is_calm.get();
            if is_before_me && is_of_my_line && other.patience.is_some() && !is_hindered {
                other.overtaken.set(other.overtaken.get() + 1);
                if other.overtaken.get() > other.may_be_overtaken && !other.cancel.is_cancelled() {
                    self.waiters.found.borrow_mut().push(Violation::Overtaken);
                }
            }
        }
    }

    /// Who reads has passed all writers that had left a sign before he came.
    fn passed_writers(&self) {
        let (me, all) = (&self.waiter, self.waiters.all.borrow());
        for writer in all.iter().filter(|it| it.names == me.names && !it.cancel.is_cancelled()) {
            let Some(within) = writer.signs_within else { continue };
            // Whoever is before it in its line may be one who leaves no sign.
            let is_before = |other: &Rc<Waiter>| {
                other.client == writer.client
                    && other.names == writer.names
                    && other.mode != Mode::Read
                    && other.number < writer.number
            };
            let is_behind = me.began.get() > writer.signs_from.get() + within;
            if is_behind && writer.is_in_line && !all.iter().any(is_before) {
                writer.passed.set(writer.passed.get().or(Some(self.waiters.last_look.get())));
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
        if self.waiter.mode == Mode::Write {
            let (client, now) = (self.waiter.client, self.waiters.last_look.get());
            let mut ended = self.waiters.ended.borrow_mut();
            ended.retain(|(who, _)| *who != client);
            ended.push((client, now));
        }
    }
}
