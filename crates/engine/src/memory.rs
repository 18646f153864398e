//! A node in this process: for development, unit tests, and as the specification of a backend.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::clock::Clock;
use crate::fencing::Window;
use crate::kind::Kind;
use crate::node::{Health, Keys, Node, Request, Status, Verb};
use crate::notice::{Guard, Notice, Sight};
use crate::tally::Reply;
use crate::token::Token;
use crate::vote::{Answer, Bound, Detail, Found, Page};

/// So many keys are told at a time.
const PAGE: usize = 200;

/// Where the last fencing token is that was granted on a key.
fn fence_key(key: &str) -> String {
    format!("{key}:fence")
}

/// What the clocks show.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Duration,
    wall: Duration,
}

pub(crate) struct Entry {
    value: Box<str>,
    pub(crate) expires: Duration,
}

/// Whose the keys of a request are.
#[derive(Clone, Copy)]
enum Whose {
    /// All store its value.
    Ours,
    /// One at least stores another value.
    Others,
    /// Some store its value, and the rest nothing.
    Partly,
    /// None stores anything.
    Nobodys,
}

impl From<Whose> for Answer {
    fn from(whose: Whose) -> Self {
        match whose {
            Whose::Ours => Self::Granted,
            Whose::Others => Self::Taken,
            Whose::Partly | Whose::Nobodys => Self::Absent,
        }
    }
}

/// Is it what stands beside a name? Somebody's lock may be called like that, too.
fn is_side_key(key: &str, value: &str) -> bool {
    let is_token = || !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    key.ends_with(":fence") && is_token() || Store::is_sign(key, value)
}

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) entries: HashMap<Box<str>, Entry>,
    /// Who reads what is stored under which key, and until when: see `readers.rs`.
    pub(crate) readers: HashMap<Box<str>, BTreeMap<Box<str>, Duration>>,
    /// When to look at which key again. An extension leaves its old entry here.
    expiries: BinaryHeap<Reverse<(Duration, Box<str>)>>,
    /// Who waits for which key.
    /// In an order, for it is that in which they are told when all are forgotten.
    notices: BTreeMap<Box<str>, Vec<Rc<Notice>>>,
    /// Who is told when a key has another value, or none.
    guards: Vec<Weak<dyn Guard>>,
    window: Window,
}

impl Store {
    /// One holder at a time.
    pub(crate) fn mutex(
        &mut self,
        verb: Verb,
        request: &Request,
        at: Moment,
    ) -> (Answer, Option<Detail>) {
        let expires = at.now + request.expiry;
        let mut detail = None;
        let answer = match (verb, self.whose(request)) {
            (Verb::Acquire, Whose::Nobodys) => match self.refusal(request, at) {
                None => self.put(request, expires),
                Some(bound) => {
                    detail = Some(Detail::Bound(bound));
                    Answer::Absent
                }
            },
            (Verb::Acquire, _) => Answer::Taken,
            (Verb::Extend { .. }, Whose::Ours) => self.put(request, expires),
            (Verb::Extend { recreate: true }, Whose::Nobodys | Whose::Partly) => {
                self.put(request, expires)
            }
            (Verb::Release, whose) => {
                self.remove(request);
                whose.into()
            }
            (Verb::Shorten, whose) => {
                self.shorten(request, expires);
                whose.into()
            }
            (Verb::Inspect, whose) => {
                detail = self.find(&request.keys[0], at).map(Detail::Found);
                whose.into()
            }
            (Verb::Scan, _) => {
                detail = Some(Detail::Page(self.page_after(&request.value)));
                Answer::Granted
            }
            (Verb::Extend { .. } | Verb::Owner, whose) => whose.into(),
        };
        (answer, detail)
    }

    /// What is stored under a key.
    pub(crate) fn value_of(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(|entry| &*entry.value)
    }

    fn find(&self, key: &str, at: Moment) -> Option<Found> {
        let Entry { value, expires } = self.entries.get(key)?;
        Some(Found { value: value.to_string(), remaining: Some(*expires - at.now) })
    }

    /// The next of the keys that may be locks, in their order.
    fn page_after(&self, last: &str) -> Page {
        let locks = self.entries.iter().filter(|(key, entry)| !is_side_key(key, &entry.value));
        let mut keys: Vec<&str> = locks.map(|(key, _)| &**key).filter(|key| *key > last).collect();
        keys.sort_unstable();
        let is_last = keys.len() <= PAGE;
        keys.truncate(PAGE);
        let next = keys.last().filter(|_| !is_last);
        Page::of(&keys, next.unwrap_or(&""))
    }

    /// What is wrong with the fencing token of an acquisition, where one is proposed; it is remembered if nothing is.
    fn refusal(&mut self, request: &Request, at: Moment) -> Option<Bound> {
        let token = request.token?;
        let last = request.keys.iter().filter_map(|key| self.entries.get(&*fence_key(key)));
        // What is no number is somebody's lock, and stays.
        let last =
            last.map(|entry| entry.value.parse().unwrap_or(Token::MAX)).max().unwrap_or_default();
        let refusal = self.window.refusal(token, last, at.wall);
        if refusal.is_none() {
            let expires = at.now + self.window.memory;
            for key in request.keys.iter() {
                self.insert(&fence_key(key), &token.to_string(), expires);
            }
        }
        refusal
    }

    /// What is stored under the keys of a request.
    fn whose(&self, request: &Request) -> Whose {
        let ours = |key| self.entries.get(key).map(|entry| *entry.value == *request.value);
        let found: Vec<_> = request.keys.iter().map(ours).collect();
        if found.contains(&Some(false)) {
            Whose::Others
        } else if !found.contains(&None) {
            Whose::Ours
        } else if found.contains(&Some(true)) {
            Whose::Partly
        } else {
            Whose::Nobodys
        }
    }

    /// Stores the value under all keys, none of which is another's. No life is made shorter.
    fn put(&mut self, request: &Request, expires: Duration) -> Answer {
        for key in request.keys.iter() {
            let so_far = self.entries.get(key).map_or(Duration::ZERO, |entry| entry.expires);
            self.insert(key, &request.value, expires.max(so_far));
        }
        Answer::Granted
    }

    /// Those keys that store the value live until then at most.
    fn shorten(&mut self, request: &Request, expires: Duration) {
        for key in request.keys.iter() {
            let ours = self.entries.get(key).filter(|entry| *entry.value == *request.value);
            if let Some(so_far) = ours.map(|entry| entry.expires) {
                self.insert(key, &request.value, expires.min(so_far));
            }
        }
    }

    pub(crate) fn insert(&mut self, key: &str, value: &str, expires: Duration) {
        let before = self.entries.insert(key.into(), Entry { value: value.into(), expires });
        if before.is_none_or(|before| *before.value != *value) {
            self.tell_guards(Some(key));
        }
        self.expiries.push(Reverse((expires, key.into())));
        self.changed(key);
    }

    /// Deletes those keys that store the value.
    fn remove(&mut self, request: &Request) {
        for key in request.keys.iter() {
            if self.entries.get(key).is_some_and(|entry| *entry.value == *request.value) {
                self.delete(key);
            }
        }
    }

    pub(crate) fn delete(&mut self, key: &str) {
        self.entries.remove(key);
        self.readers.remove(key);
        self.tell_guards(Some(key));
        self.changed(key);
    }

    fn changed(&mut self, key: &str) {
        for notice in self.notices.remove(key).into_iter().flatten() {
            notice.changed();
        }
    }

    fn tell_guards(&self, key: Option<&str>) {
        self.guards.iter().filter_map(Weak::upgrade).for_each(|guard| guard.changed(key));
    }

    /// When the last of the keys expires; `None` if there is none.
    fn end(&self, keys: &Keys) -> Option<Duration> {
        keys.iter().filter_map(|key| self.entries.get(key)).map(|entry| entry.expires).max()
    }

    fn forget_expired(&mut self, now: Duration) {
        while let Some(Reverse((when, _))) = self.expiries.peek()
            && *when <= now
        {
            let Some(Reverse((_, key))) = self.expiries.pop() else { return };
            if self.entries.get(&key).is_some_and(|entry| entry.expires <= now) {
                self.delete(&key);
            }
        }
    }
}

/// Keeps the keys in memory and answers at once.
pub struct MemoryNode {
    clock: Rc<dyn Clock>,
    store: RefCell<Store>,
}

impl MemoryNode {
    /// An empty node.
    pub fn new(clock: Rc<dyn Clock>) -> Self {
        Self::with_window(clock, Window::default())
    }

    /// The same, with another window for fencing tokens.
    pub fn with_window(clock: Rc<dyn Clock>, window: Window) -> Self {
        Self { clock, store: RefCell::new(Store { window, ..Store::default() }) }
    }

    /// The value stored under a key.
    pub fn get(&self, key: &str) -> Option<String> {
        let mut store = self.store.borrow_mut();
        store.forget_expired(self.clock.now());
        store.entries.get(key).map(|entry| entry.value.to_string())
    }

    /// The values of those who read what is stored under a key.
    pub fn readers(&self, key: &str) -> Vec<String> {
        let (store, now) = (self.store.borrow(), self.clock.now());
        let readers = store.readers.get(key).into_iter().flatten();
        readers.filter(|(_, ends)| now < **ends).map(|(value, _)| value.to_string()).collect()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        let mut store = self.store.borrow_mut();
        store.forget_expired(self.clock.now());
        store.entries.is_empty()
    }

    /// Stops watching, as a node does that loses its connection.
    pub fn forget_watchers(&self) {
        let forgotten = std::mem::take(&mut self.store.borrow_mut().notices);
        drop(forgotten);
        self.store.borrow().tell_guards(None);
    }

    /// Applies a verb at once. What this does is what any node has to do.
    pub fn apply(&self, verb: Verb, request: &Request) -> Answer {
        self.answer(verb, request).0
    }

    /// The same, with what the answer brings.
    pub fn answer(&self, verb: Verb, request: &Request) -> (Answer, Option<Detail>) {
        let at = Moment { now: self.clock.now(), wall: self.clock.wall() };
        let mut store = self.store.borrow_mut();
        store.forget_expired(at.now);
        match request.kind {
            Kind::Mutex => store.mutex(verb, request, at),
            Kind::Read => store.read(verb, request, at),
            Kind::Write { .. } => store.write(verb, request, at),
        }
    }
}

impl Node for MemoryNode {
    fn ask(&self, verb: Verb, request: &Rc<Request>, reply: Reply) {
        let (answer, detail) = self.answer(verb, request);
        detail.into_iter().for_each(|detail| reply.bring(detail));
        reply.send(Ok(answer));
    }

    fn health(&self, _limit: Duration) -> Pin<Box<dyn Future<Output = Health>>> {
        Box::pin(ready(Health {
            status: Status::Up,
            latency: Some(Duration::ZERO),
            server: None,
            error: None,
            watches: None,
            uptime: None,
        }))
    }

    fn watch(&self, keys: &Keys, kind: Kind, notice: Notice) {
        let now = self.clock.now();
        let mut store = self.store.borrow_mut();
        store.forget_expired(now);
        let (end, watched) = match kind {
            Kind::Mutex | Kind::Write { .. } => (store.end(keys), keys.clone()),
            Kind::Read => (store.end_for_readers(keys), Store::keys_for_readers(keys)),
        };
        notice.seen(match end {
            Some(end) => Sight::Taken { life: Some(end - now) },
            None => Sight::Free,
        });
        let notice = Rc::new(notice);
        for key in watched.iter() {
            let notices = store.notices.entry(key.clone()).or_default();
            notices.retain(|notice| notice.is_wanted());
            notices.push(notice.clone());
        }
    }

    fn tell_of_changes(&self, guard: Weak<dyn Guard>) {
        let mut store = self.store.borrow_mut();
        store.guards.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&guard));
        store.guards.push(guard);
    }

    fn watches(&self, _limit: Duration) -> Pin<Box<dyn Future<Output = Option<bool>>>> {
        Box::pin(ready(Some(true)))
    }

    fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::notice::{Listener, Name};
    use crate::testing::{node, request};

    #[test]
    fn who_reads_no_more_is_forgotten() {
        let (clock, node) = node();
        let read = |verb, value, expiry| node.apply(verb, &request(Kind::Read, value, expiry));
        let known = || node.store.borrow().readers.get("name").map_or(0, BTreeMap::len);
        for (value, expiry) in [("a", 1000), ("b", 5000), ("c", 9000)] {
            read(Verb::Acquire, value, expiry);
        }
        clock.0.set(1000);
        read(Verb::Acquire, "d", 1000);
        assert_eq!((known(), node.readers("name")), (3, vec!["b".into(), "c".into(), "d".into()]));
        clock.0.set(2000);
        assert_eq!(node.readers("name"), ["b", "c"], "when he reads no more");
        read(Verb::Release, "c", 0);
        assert_eq!(known(), 1, "whoever enters or leaves");
        clock.0.set(4999);
        assert!(!node.is_empty());
        clock.0.set(5000);
        assert!(node.is_empty());
        assert_eq!(known(), 0);
    }

    /// Counts what it is told.
    #[derive(Default)]
    struct Ear(Cell<u32>);

    impl Guard for Ear {
        fn changed(&self, _key: Option<&str>) {
            self.0.set(self.0.get() + 1);
        }
    }

    #[test]
    fn who_guards_locks_is_told_once_of_each_change() {
        let (_, node) = node();
        let ears = [(); 2].map(|()| Rc::new(Ear::default()));
        for _ in 0..2 {
            ears.iter().for_each(|ear| node.tell_of_changes(Rc::downgrade(ear) as Weak<dyn Guard>));
        }
        let told = || ears.each_ref().map(|ear| ear.0.get());
        for (verb, value, count) in [
            (Verb::Acquire, "a", 1),
            (Verb::Acquire, "b", 1),
            (Verb::Extend { recreate: false }, "a", 1),
            (Verb::Release, "a", 2),
            (Verb::Acquire, "b", 3),
        ] {
            node.apply(verb, &request(Kind::Mutex, value, 1000));
            assert_eq!(told(), [count; 2], "{verb:?} {value}");
        }
        drop(ears);
        node.tell_of_changes(Weak::<Ear>::new());
        assert_eq!(node.store.borrow().guards.len(), 1, "who has gone is forgotten");
    }

    impl Listener for Ear {
        fn awaits(&self, _notice: Name) -> bool {
            false
        }

        fn seen(&self, _notice: Name, _sight: Sight) {}

        fn changed(&self, _notice: Name) {}

        fn cannot_watch(&self, _notice: Name) {}
    }

    #[test]
    fn what_nobody_waits_for_is_watched_no_more() {
        let (_, node) = node();
        let keys = request(Kind::Mutex, "", 0).keys;
        for number in 0..10 {
            let name = Name { permit: 0, node: 0, number };
            node.watch(&keys, Kind::Mutex, Notice::new(Weak::<Ear>::new(), name));
        }
        assert_eq!(node.store.borrow().notices["name"].len(), 1, "the last one");
    }
}
