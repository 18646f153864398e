//! A node that follows a script.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use redsync_engine::{
    Answer, Clock, Fate, Guard, Health, Keys, Kind, MemoryNode, Node, NodeError, Notice, Reply,
    Request, Status, Value, Verb,
};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until};

/// Somebody else's value.
pub const FOREIGN: &str = "somebody else";

/// How a node treats what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Does it and answers at once.
    Ok,
    /// As `Ok`, but somebody else is always quicker: their value is under every key that was free.
    Taken,
    /// As `Ok`, but every command reaches the store twice, and the second answer is the one that is
    /// given: a client that sends again what was lost with a connection.
    Twice,
    /// Refuses a script when it has stored the first of its keys, as a server does that runs out of
    /// memory.
    Halfway,
    /// Answers with an error at once; `applied` tells whether the command was carried out first.
    Error { applied: bool },
    /// Refuses acquisitions, and tells that it is free all the same.
    Refused,
    /// Answers every acquisition a millisecond later that the lock is taken, and tells that it is free: a proxy that
    /// reads from a replica which has heard of nothing.
    Contradicts,
    /// Drops the question, as a connection does that is torn down.
    Closed,
    /// Does it at once, and answers after that time; beyond the node timeout that is too late.
    Slow(Duration),
    /// The command is that long on its way. It is done when it arrives, and answered then.
    Far(Duration),
    /// Does not answer; `applied` tells whether the command was carried out.
    Never { applied: bool },
}

/// A question as a node saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When, on the engine's clock.
    pub at: Duration,
    /// Which node.
    pub node: usize,
    /// What.
    pub verb: Verb,
    /// With which value.
    pub value: String,
}

struct Command {
    verb: Verb,
    request: Rc<Request>,
    reply: Reply,
    behaviour: Behaviour,
}

/// A memory node behind a link with a behaviour that can be switched.
pub struct ScriptedNode {
    index: usize,
    /// What is stored.
    pub store: MemoryNode,
    /// The replies that will never be sent.
    pub unanswered: RefCell<Vec<Reply>>,
    /// Whether the engine has closed it.
    pub is_closed: Cell<bool>,
    clock: Rc<dyn Clock>,
    behaviour: Cell<Behaviour>,
    releases: Cell<Option<Behaviour>>,
    /// Whether it tells of changes.
    pub is_watchable: Cell<bool>,
    /// How often it was asked to tell who holds locks.
    pub guards: Cell<u32>,
    /// When it was asked to watch, on the engine's clock.
    pub watched: RefCell<Vec<Duration>>,
    /// Commands on their way: they arrive in the order in which they were sent, as the contract of
    /// [`Node`] wants it, whatever their delays.
    on_the_way: RefCell<VecDeque<Command>>,
    last_arrival: Cell<Option<Instant>>,
    log: Rc<RefCell<Vec<Asked>>>,
    me: Weak<Self>,
}

impl ScriptedNode {
    /// A node that behaves like this, and writes to this log.
    pub fn new(
        index: usize,
        behaviour: Behaviour,
        clock: Rc<dyn Clock>,
        log: Rc<RefCell<Vec<Asked>>>,
    ) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            index,
            store: MemoryNode::new(clock.clone()),
            unanswered: RefCell::default(),
            is_closed: Cell::default(),
            clock,
            behaviour: Cell::new(behaviour),
            releases: Cell::default(),
            is_watchable: Cell::default(),
            guards: Cell::default(),
            watched: RefCell::default(),
            on_the_way: RefCell::default(),
            last_arrival: Cell::default(),
            log,
            me: me.clone(),
        })
    }

    /// Behaves like this from now on.
    pub fn become_(&self, behaviour: Behaviour) {
        self.behaviour.set(behaviour);
        self.releases.set(None);
    }

    /// Behaves like this from now on when asked to release.
    pub fn release_like(&self, behaviour: Behaviour) {
        self.releases.set(Some(behaviour));
    }

    /// Stores a value under a key for an hour, unless there is one.
    pub fn plant(&self, key: &str, value: &str) {
        let request = Request {
            kind: Kind::Mutex,
            permits: 1,
            token: None,
            keys: Rc::new([key.into()]),
            value: Value::from(value),
            expiry: Duration::from_secs(3600),
            timeout: Duration::ZERO,
            quarantine: Duration::ZERO,
        };
        self.store.apply(Verb::Acquire, &request);
    }

    /// Makes a key free.
    pub fn wipe(&self, key: &str) {
        if let Some(value) = self.store.get(key) {
            let request = Request {
                kind: Kind::Mutex,
                permits: 1,
                token: None,
                keys: Rc::new([key.into()]),
                value: Value::from(value.as_str()),
                expiry: Duration::ZERO,
                timeout: Duration::ZERO,
                quarantine: Duration::ZERO,
            };
            self.store.apply(Verb::Release, &request);
        }
    }

    fn answer(&self, verb: Verb, request: &Request, reply: Reply) {
        let (answer, detail) = self.store.answer(verb, request);
        detail.into_iter().for_each(|detail| reply.bring(detail));
        reply.send(Ok(answer));
    }

    fn arrive(&self, Command { verb, request, reply, behaviour }: Command) {
        match behaviour {
            Behaviour::Ok | Behaviour::Far(_) => {
                self.answer(verb, &request, reply);
            }
            Behaviour::Taken => {
                request.keys.iter().for_each(|key| self.plant(key, FOREIGN));
                self.answer(verb, &request, reply);
            }
            Behaviour::Twice => {
                self.store.apply(verb, &request);
                self.answer(verb, &request, reply);
            }
            Behaviour::Halfway => {
                if verb == Verb::Acquire {
                    self.store.apply(verb, &about_first_key(&request));
                }
                reply.send(Err(broken().with(Fate::Refused)));
            }
            Behaviour::Error { applied } => {
                if applied {
                    self.store.apply(verb, &request);
                }
                reply.send(Err(broken()));
            }
            Behaviour::Refused => reply.send(Err(broken().with(Fate::Refused))),
            Behaviour::Contradicts if verb == Verb::Acquire => {
                spawn_local(async move {
                    sleep(Duration::from_millis(1)).await;
                    reply.send(Ok(Answer::Taken));
                });
            }
            Behaviour::Contradicts => self.answer(verb, &request, reply),
            Behaviour::Closed => drop(reply),
            Behaviour::Slow(delay) => {
                let (answer, detail) = self.store.answer(verb, &request);
                spawn_local(async move {
                    sleep(delay).await;
                    detail.into_iter().for_each(|detail| reply.bring(detail));
                    reply.send(Ok(answer));
                });
            }
            Behaviour::Never { applied } => {
                if applied {
                    self.store.apply(verb, &request);
                }
                // Kept, for a dropped reply is an answer.
                self.unanswered.borrow_mut().push(reply);
            }
        }
    }
}

/// The same, about the first of its keys only.
fn about_first_key(request: &Request) -> Request {
    Request {
        kind: Kind::Mutex,
        permits: 1,
        token: None,
        keys: Rc::new([request.keys[0].clone()]),
        value: request.value.clone(),
        expiry: request.expiry,
        timeout: request.timeout,
        quarantine: Duration::ZERO,
    }
}

/// The error of a node that behaves like [`Behaviour::Error`].
pub fn broken() -> NodeError {
    NodeError::new("EBROKEN", "out of order")
}

impl Node for ScriptedNode {
    fn ask(&self, verb: Verb, request: &Rc<Request>, reply: Reply) {
        let (at, value) = (self.clock.now(), request.value.to_string());
        self.log.borrow_mut().push(Asked { at, node: self.index, verb, value });

        let releases = self.releases.get().filter(|_| verb == Verb::Release);
        let behaviour = releases.unwrap_or(self.behaviour.get());
        let command = Command { verb, request: request.clone(), reply, behaviour };
        let delay = match behaviour {
            Behaviour::Far(delay) => delay,
            _ => Duration::ZERO,
        };
        if delay.is_zero() && self.on_the_way.borrow().is_empty() {
            return self.arrive(command);
        }
        let earliest = Instant::now() + delay;
        let arrival = self.last_arrival.get().map_or(earliest, |last| last.max(earliest));
        self.last_arrival.set(Some(arrival));
        self.on_the_way.borrow_mut().push_back(command);
        let Some(me) = self.me.upgrade() else { return };
        spawn_local(async move {
            sleep_until(arrival).await;
            // Whichever is due first: two timers of one instant fire in no promised order.
            let first = me.on_the_way.borrow_mut().pop_front();
            first.into_iter().for_each(|command| me.arrive(command));
        });
    }

    fn health(&self, limit: Duration) -> Pin<Box<dyn Future<Output = Health>>> {
        let (delay, error) = match self.behaviour.get() {
            Behaviour::Ok | Behaviour::Taken | Behaviour::Twice | Behaviour::Contradicts => {
                (Duration::ZERO, None)
            }
            Behaviour::Refused | Behaviour::Halfway | Behaviour::Error { .. } => {
                (Duration::ZERO, Some(broken()))
            }
            Behaviour::Closed => (Duration::ZERO, Some(NodeError::closed())),
            Behaviour::Slow(delay) | Behaviour::Far(delay) if delay < limit => (delay, None),
            _ => (limit, Some(NodeError::timed_out())),
        };
        Box::pin(async move {
            sleep(delay).await;
            match error {
                Some(error) => Health::down(error),
                None => Health {
                    status: Status::Up,
                    latency: Some(delay),
                    server: Some("scripted 1.0".into()),
                    error: None,
                    watches: None,
                    uptime: None,
                },
            }
        })
    }

    fn watch(&self, keys: &Keys, kind: Kind, notice: Notice) {
        self.watched.borrow_mut().push(self.clock.now());
        if self.is_watchable.get() {
            self.store.watch(keys, kind, notice);
        }
    }

    fn tell_of_changes(&self, guard: Weak<dyn Guard>) {
        self.guards.set(self.guards.get() + 1);
        if self.is_watchable.get() {
            self.store.tell_of_changes(guard);
        }
    }

    fn watches(&self, limit: Duration) -> Pin<Box<dyn Future<Output = Option<bool>>>> {
        Box::pin(ready((!limit.is_zero()).then(|| self.is_watchable.get())))
    }

    fn may_repeat(&self) -> bool {
        self.behaviour.get() == Behaviour::Twice
    }

    fn close(&self) {
        self.is_closed.set(true);
    }
}
