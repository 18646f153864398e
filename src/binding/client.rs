//! One `Redsync`: its nodes, and its calls that are under way.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use redsync_engine::{
    Asked, Busy, CancellationToken, Delay, Error, Extension, Held, Hold, Holder, Keys, Mutex,
    Queues, Redsync, Refused, Value, ValueSource,
};
use tokio::sync::oneshot;
use tokio::task::{spawn_local, yield_now};

use super::crossing::Outcome;
use super::holders::{Holders, Wish};
use super::outbox::Outbox;
use super::wire::{MutexCall, NO_CALL, Operation, milliseconds};

/// Rounds of one client under way: the acquisitions beyond wait as the records that they came in, so
/// that a burst of any size needs little memory.
const MAX_ROUNDS: usize = 4096;

/// Acquisitions that are started before the tasks of those before them have a turn.
const STARTED_AT_ONCE: usize = 512;

/// An acquisition that has not begun.
struct Waiting {
    number: u32,
    call: MutexCall,
    retries: bool,
}

/// What JavaScript answered to a question: a number and a text. Dropped: its function failed.
type Answer = oneshot::Sender<(f64, String)>;

/// What those share who have opened the same nodes with the same logins.
#[derive(Default)]
pub struct Shared {
    /// One who waits for a name waits behind the others, through whichever `Redsync`.
    pub queues: Rc<Queues>,
    /// Those whom another's release may concern.
    clients: RefCell<Vec<Weak<Client>>>,
}

/// A `Redsync` of one JavaScript environment.
pub struct Client {
    pub outbox: Arc<Outbox>,
    redsync: Rc<Redsync>,
    shared: Rc<Shared>,
    /// The calls that can be stopped; an acquisition that has not begun needs no token yet.
    stoppable: RefCell<HashMap<u32, Option<CancellationToken>>>,
    questions: RefCell<HashMap<u32, Answer>>,
    waiting: RefCell<VecDeque<Waiting>>,
}

impl Client {
    pub fn new(outbox: Arc<Outbox>, redsync: Rc<Redsync>, shared: Rc<Shared>) -> Rc<Self> {
        let client = Rc::new(Self {
            outbox,
            redsync,
            shared,
            stoppable: RefCell::default(),
            questions: RefCell::default(),
            waiting: RefCell::default(),
        });
        let mut clients = client.shared.clients.borrow_mut();
        clients.retain(|other| other.strong_count() > 0);
        clients.push(Rc::downgrade(&client));
        drop(clients);
        client
    }

    /// Starts an operation; its completion comes through the outbox.
    pub fn start(self: &Rc<Self>, number: u32, operation: Operation) {
        match operation {
            Operation::Lock(call) => self.acquire(number, call, true),
            Operation::TryLock(call) => self.acquire(number, call, false),
            Operation::Unlock(call) => {
                let when = call.until;
                let (value, mutex) = self.mutex(number, call);
                let completion = self.completion(number);
                spawn_local(async move {
                    let others = completion.client.others(&mutex, &value);
                    let released = mutex.unlock_at(value, when).await;
                    if released.is_ok() {
                        others.iter().for_each(Other::end);
                    }
                    completion.report(&mutex);
                    completion.tell(released.map(|()| true), Outbox::done);
                });
            }
            Operation::Extend(call) => self.extend(number, call, false),
            Operation::Adopt(call) => self.extend(number, call, true),
            Operation::Valid(call) => {
                let (value, mutex) = self.mutex(number, call);
                let completion = self.completion(number);
                spawn_local(async move {
                    completion.tell(mutex.valid(value).await, Outbox::done);
                });
            }
            Operation::Health(limit) => {
                let redsync = self.redsync.clone();
                let health = async move { Ok(redsync.health(limit).await) };
                self.ask_nodes(number, health, Outbox::health);
            }
            Operation::Ready(limit) => {
                let redsync = self.redsync.clone();
                let ready = async move { redsync.ready(limit).await.map(|()| true) };
                self.ask_nodes(number, ready, Outbox::done);
            }
            Operation::Inspect(limit, key) => {
                let redsync = self.redsync.clone();
                let found = async move { Ok(redsync.inspect(&key, limit).await) };
                self.ask_nodes(number, found, Outbox::inspected);
            }
            Operation::Scan { limit, node, pattern, from } => {
                let redsync = self.redsync.clone();
                let page = async move { redsync.scan(node, &pattern, &from, limit).await };
                self.ask_nodes(number, page, Outbox::page);
            }
            Operation::Cancel => self.cancel(number),
            Operation::Answer(answer) => {
                let asked = self.questions.borrow_mut().remove(&number);
                if let (Some(asked), Some(answer)) = (asked, answer) {
                    // A call that was cancelled meanwhile no longer listens.
                    let _ = asked.send(answer);
                }
            }
            Operation::Close => self.close(number),
            // The host's.
            Operation::PoolAnswer(..) | Operation::Advance(_) | Operation::Unreadable => {}
            Operation::Watch(call) => self.look_after(number, self.hold(number, call), None),
            Operation::LetExpire(call) => self.let_expire(number, &self.hold(number, call)),
            Operation::Guard(call) => {
                let hold = self.hold(number, call);
                self.redsync.leases.guard(hold.keys(), hold.value());
            }
        }
    }

    /// Stops every call that can be stopped.
    pub fn cancel_all(&self) {
        let numbers: Vec<u32> = self.stoppable.borrow().keys().copied().collect();
        numbers.into_iter().for_each(|number| self.cancel(number));
        self.questions.take();
    }

    /// Closes the nodes when all that is under way is done.
    pub fn close(self: &Rc<Self>, number: u32) {
        // Not counted as under way, which is what closing waits for.
        let completion = Completion { client: self.clone(), number: Some(number), _busy: None };
        spawn_local(async move {
            completion.client.redsync.close().await;
            completion.tell(Ok(true), Outbox::done);
        });
    }

    /// What tells the outcome of a call, and until then holds back the end of the client.
    fn completion(self: &Rc<Self>, number: u32) -> Completion {
        let busy = self.redsync.busy();
        Completion { client: self.clone(), number: Some(number), _busy: Some(busy) }
    }

    /// What `Operation::Cancel` ends a call with.
    fn stop(&self, number: u32) -> CancellationToken {
        let mut stoppable = self.stoppable.borrow_mut();
        stoppable.entry(number).or_default().get_or_insert_default().clone()
    }

    /// Starts an acquisition, or lets it wait for room.
    fn acquire(self: &Rc<Self>, number: u32, call: MutexCall, retries: bool) {
        self.stoppable.borrow_mut().insert(number, None);
        let acquisition = Waiting { number, call, retries };
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() && self.stoppable.borrow().len() <= STARTED_AT_ONCE {
            drop(waiting);
            return self.begin(acquisition);
        }
        waiting.push_back(acquisition);
        if waiting.len() == 1 {
            spawn_local(self.clone().begin_waiting());
        }
    }

    /// Begins the acquisitions that wait, some at a time, as there is room.
    async fn begin_waiting(self: Rc<Self>) {
        loop {
            yield_now().await; // those before begin their rounds
            self.redsync.room(MAX_ROUNDS).await;
            for _ in 0..STARTED_AT_ONCE {
                let Some(acquisition) = self.waiting.borrow_mut().pop_front() else { return };
                self.begin(acquisition);
            }
        }
    }

    fn begin(self: &Rc<Self>, Waiting { number, call, retries }: Waiting) {
        let stop = self.stop(number);
        let extension = call.extension;
        let (_, mutex) = self.mutex(number, call);
        let completion = self.completion(number);
        spawn_local(async move {
            let acquired =
                if retries { mutex.lock(&stop).await } else { mutex.try_lock(&stop).await };
            if let (Ok(held), Some(_)) = (&acquired, extension) {
                let client = &completion.client;
                let holders = Holders::of(&client.outbox, (number, Wish::Kept), held.until);
                client.redsync.leases.begin(mutex.hold(held), extension, holders);
            }
            completion.report(&mutex);
            completion.tell(acquired, Outbox::held);
        });
    }

    /// Extends a lock, and may keep it alive from then on.
    fn extend(self: &Rc<Self>, number: u32, call: MutexCall, adopts: bool) {
        let adopted = call.extension.filter(|_| adopts);
        let (value, mutex) = self.mutex(number, call);
        let completion = self.completion(number);
        spawn_local(async move {
            let extended = mutex.extend(value).await;
            if let (Ok(held), Some(extension)) = (&extended, adopted) {
                completion.client.look_after(number, mutex.hold(held), Some(extension));
            }
            completion.report(&mutex);
            completion.tell(extended, Outbox::held);
        });
    }

    /// Asks all nodes, until the call is cancelled.
    fn ask_nodes<T: 'static>(
        self: &Rc<Self>,
        number: u32,
        answer: impl Future<Output = Result<T, Error>> + 'static,
        tell: fn(&Outbox, u32, T),
    ) {
        let (stop, completion) = (self.stop(number), self.completion(number));
        spawn_local(async move {
            let answer = stop.run_until_cancelled(answer).await;
            completion.tell(answer.unwrap_or(Err(Error::Cancelled)), tell);
        });
    }

    /// Keeps a lock alive, or watches it, beside whoever of this client does so already.
    fn look_after(&self, number: u32, hold: Hold, extension: Option<Extension>) {
        let who = (number, if extension.is_some() { Wish::Kept } else { Wish::Told });
        let Some(holders) = self.holders(hold.keys(), hold.value()) else {
            let holders = Holders::of(&self.outbox, who, hold.until());
            return self.redsync.leases.begin(hold, extension, holders);
        };
        holders.join(who, hold.until());
        if let Some(extension) = extension {
            self.redsync.leases.keep_alive(hold, extension);
        }
    }

    /// Extends a lock no more: for whoever asks for it, or for good if no number is given.
    fn let_expire(&self, number: u32, hold: &Hold) {
        let (keys, value) = (hold.keys(), hold.value());
        let is_kept = number != NO_CALL
            && self.holders(keys, value).is_none_or(|it| it.is_kept_without(number));
        if !is_kept {
            self.redsync.leases.let_expire(keys, value);
        }
    }

    /// Who holds the lock of this value through another `Redsync`.
    fn others(&self, mutex: &Mutex, value: &Value) -> Vec<Other> {
        let clients = self.shared.clients.borrow();
        let others = clients.iter().filter_map(Weak::upgrade);
        let others = others.filter(|it| !ptr::eq(&**it, self) && !it.redsync.leases.is_empty());
        others
            .filter_map(|client| {
                let value = value.clone();
                let hold = mutex.hold(&Held { value, token: None, until: Duration::ZERO });
                let holder = client.redsync.leases.holder(hold.keys(), hold.value())?;
                Some(Other { client, hold, holder: Rc::downgrade(&holder) })
            })
            .collect()
    }

    /// Who holds a lock that is looked after.
    fn holders(&self, keys: &Keys, value: &Value) -> Option<Rc<Holders>> {
        let holder: Rc<dyn Any> = self.redsync.leases.holder(keys, value)?;
        holder.downcast().ok()
    }

    fn cancel(&self, number: u32) {
        if self.stoppable.borrow().contains_key(&number) {
            self.stop(number).cancel();
        }
    }

    /// The lock that a call is about, which somebody holds.
    fn hold(self: &Rc<Self>, number: u32, call: MutexCall) -> Hold {
        let until = call.until;
        let (value, mutex) = self.mutex(number, call);
        mutex.hold(&Held { value, token: None, until })
    }

    /// The value that a call is about, and the mutex.
    fn mutex(self: &Rc<Self>, number: u32, call: MutexCall) -> (Value, Mutex) {
        let mut options = call.options;
        if call.ask_delay {
            let client = self.clone();
            options.delay = Delay::Ask(Rc::new(move |attempts| {
                let answer = client.ask(number, Outcome::AskDelay, attempts);
                Box::pin(async move { Ok(milliseconds(answer.await?.0)) })
            }));
        }
        if call.ask_value {
            let client = self.clone();
            options.values = ValueSource::Ask(Rc::new(move |attempt| {
                let answer = client.ask(number, Outcome::AskValue, attempt);
                Box::pin(async move { Ok(answer.await?.1) })
            }));
        }
        (call.value, Mutex::new(self.redsync.clone(), call.keys, options))
    }

    /// Asks the JavaScript side of a call for a delay or a value.
    fn ask(&self, number: u32, question: Outcome, attempt: u64) -> Asked<(f64, String)> {
        let (answer, answered) = oneshot::channel();
        self.questions.borrow_mut().insert(number, answer);
        self.outbox.push(number, question, attempt as f64, |_| Ok(()));
        Box::pin(async move { answered.await.map_err(|_| Refused) })
    }
}

/// Who holds a lock through another `Redsync` than that by which it is being released.
struct Other {
    client: Rc<Client>,
    hold: Hold,
    holder: Weak<dyn Holder>,
}

impl Other {
    /// It is released: his lease ends, if it is still the same.
    fn end(&self) {
        let (keys, value) = (self.hold.keys(), self.hold.value());
        let leases = &self.client.redsync.leases;
        let now = leases.holder(keys, value).map(|holder| Rc::downgrade(&holder));
        if now.is_some_and(|holder| holder.ptr_eq(&self.holder)) {
            leases.end(keys, value);
        }
    }
}

/// The one completion that a call gets: if its task panics, that is what it is told.
struct Completion {
    client: Rc<Client>,
    number: Option<u32>,
    _busy: Option<Busy>,
}

impl Completion {
    fn forget(&mut self) -> Option<u32> {
        let number = self.number.take()?;
        self.client.stoppable.borrow_mut().remove(&number);
        self.client.questions.borrow_mut().remove(&number);
        Some(number)
    }

    /// Tells what the call saw. To be called before the call is told how it ended.
    fn report(&self, mutex: &Mutex) {
        if let Some(number) = self.number {
            self.client.outbox.report(number, &mutex.take_report());
        }
    }

    /// Tells how the call ended.
    fn tell<T>(mut self, result: Result<T, Error>, tell: impl FnOnce(&Outbox, u32, T)) {
        let Some(number) = self.forget() else { return };
        match result {
            Ok(it) => tell(&self.client.outbox, number, it),
            Err(error) => self.client.outbox.error(number, &error),
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(number) = self.forget() {
            self.client.outbox.push(number, Outcome::Panicked, 0.0, |_| Ok(()));
        }
    }
}
