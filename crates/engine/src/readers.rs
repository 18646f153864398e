//! Readers and writers on a node in memory: what any backend does with them. The mutex of `memory.rs` is what a
//! writer's lock is, but for his sign.

use std::time::Duration;

use crate::memory::{Moment, Store};
use crate::node::{Keys, Request, Verb};
use crate::vote::{Answer, Detail};

/// What the key of a lock stores while there are readers. An ownership value must not be like it.
pub const READERS: &str = "#readers";

/// Where a writer leaves the sign that he waits.
fn sign_key(key: &str) -> String {
    format!("{key}:sign")
}

/// A sign, which nobody takes for a lock of that name.
fn sign_of(value: &str) -> String {
    format!("{SIGN}{value}")
}

const SIGN: &str = "#sign ";

/// How the holder of a value stands to a key.
enum Stands {
    /// He is one of its readers.
    Within,
    /// The key stores his value: he is its writer.
    Alone,
    /// Neither, and a reader's way is free but for a sign.
    Before,
    /// Somebody else's value is stored.
    Shut,
}

impl Store {
    /// Any number of holders at a time.
    pub(crate) fn read(
        &mut self,
        verb: Verb,
        request: &Request,
        at: Moment,
    ) -> (Answer, Option<Detail>) {
        let key = &request.keys[0];
        let stands = self.stands(request, at);
        if matches!(verb, Verb::Extend { .. }) && !matches!(stands, Stands::Within) {
            // It may have been a writer's, who does not wait any more.
            self.take_back_sign(request);
        }
        let answer = match (verb, stands) {
            (_, Stands::Shut) | (Verb::Acquire, Stands::Alone) => Answer::Taken,
            (Verb::Acquire, _) if self.entries.contains_key(&*sign_key(key)) => Answer::Taken,
            (Verb::Acquire, _)
            | (Verb::Extend { .. }, Stands::Within | Stands::Alone)
            | (Verb::Extend { recreate: true }, Stands::Before) => self.enter(request, at),
            (Verb::Release, Stands::Within) => self.leave(request, at),
            (Verb::Release, Stands::Alone) => {
                self.delete(key);
                Answer::Granted
            }
            // Who reads keeps no other reader off: it is a mutex that is asked to keep others off for a while.
            (
                Verb::Owner | Verb::Inspect | Verb::Scan | Verb::Shorten,
                Stands::Within | Stands::Alone,
            ) => Answer::Granted,
            (_, Stands::Before) => Answer::Absent,
        };
        (answer, None)
    }

    /// One holder at a time, who leaves a sign where readers are in his way, or whoever is if he renews it.
    pub(crate) fn write(
        &mut self,
        verb: Verb,
        request: &Request,
        at: Moment,
    ) -> (Answer, Option<Detail>) {
        let (answer, detail) = self.mutex(verb, request, at);
        let (key, sign) = (&request.keys[0], sign_key(&request.keys[0]));
        match (verb, answer) {
            (Verb::Acquire, Answer::Taken)
                if request.kind.renews_sign() || self.value_of(key) == Some(READERS) =>
            {
                // What is no sign is somebody's lock, and stays.
                let may_sign = self.value_of(&sign).is_none_or(|stored| stored.starts_with(SIGN));
                if let Some(life) = request.kind.sign().filter(|_| may_sign) {
                    self.insert(&sign, &sign_of(&request.value), at.now + life);
                }
                return (answer, Some(Detail::Readers));
            }
            (Verb::Release, ..) => self.take_back_sign(request),
            _ => {}
        }
        (answer, detail)
    }

    /// Is it a sign, and no lock of that name?
    pub(crate) fn is_sign(key: &str, value: &str) -> bool {
        key.ends_with(":sign") && value.starts_with(SIGN)
    }

    /// The sign of this value is there no more.
    fn take_back_sign(&mut self, request: &Request) {
        let sign = sign_key(&request.keys[0]);
        if self.value_of(&sign) == Some(&sign_of(&request.value)) {
            self.delete(&sign);
        }
    }

    /// When the last of what is in a reader's way expires; `None` if nothing is.
    pub(crate) fn end_for_readers(&self, keys: &Keys) -> Option<Duration> {
        let entries = keys.iter().filter_map(|key| self.entries.get_key_value(key));
        let shut = entries.filter(|(key, _)| self.value_of(key) != Some(READERS));
        let shut = shut.map(|(_, entry)| entry);
        let signs = keys.iter().filter_map(|key| self.entries.get(&*sign_key(key)));
        shut.chain(signs).map(|entry| entry.expires).max()
    }

    /// The keys of which a reader has to be told.
    pub(crate) fn keys_for_readers(keys: &Keys) -> Keys {
        keys.iter().cloned().chain(keys.iter().map(|key| sign_key(key).into())).collect()
    }

    fn stands(&self, request: &Request, at: Moment) -> Stands {
        let key = &request.keys[0];
        match self.value_of(key) {
            Some(READERS) => {
                let readers = self.readers.get(key);
                let ends = readers.and_then(|readers| readers.get(&*request.value));
                if ends.is_some_and(|ends| at.now < *ends) {
                    Stands::Within
                } else {
                    Stands::Before
                }
            }
            Some(value) if value == &*request.value => Stands::Alone,
            Some(_) => Stands::Shut,
            None => Stands::Before,
        }
    }

    /// The holder of the value is a reader from now on, and no life is made shorter. Those who read no more are
    /// forgotten: all, where the key does not store the mark.
    fn enter(&mut self, request: &Request, at: Moment) -> Answer {
        let key = &request.keys[0];
        let is_marked = self.value_of(key) == Some(READERS);
        let own = self.entries.get(key).filter(|_| !is_marked).map(|entry| entry.expires);
        let readers = self.readers.entry(key.clone()).or_default();
        readers.retain(|_, ends| is_marked && at.now < *ends);
        let last = readers.values().max().copied().unwrap_or_default();
        let so_far = own.or_else(|| readers.get(&*request.value).copied()).unwrap_or_default();
        let ends = so_far.max(at.now + request.expiry);
        readers.insert((*request.value).into(), ends);
        // The mark outlives each of them.
        if ends >= last {
            self.insert(key, READERS, ends);
        }
        Answer::Granted
    }

    /// The holder of the value reads no more. The mark lives for as long as the last of those who do.
    fn leave(&mut self, request: &Request, at: Moment) -> Answer {
        let key = &request.keys[0];
        let Some(readers) = self.readers.get_mut(key) else { return Answer::Absent };
        let ended = readers.remove(&*request.value).unwrap_or_default();
        readers.retain(|_, ends| at.now < *ends);
        match readers.values().max().copied() {
            None => self.delete(key),
            Some(last) if last < ended => self.insert(key, READERS, last),
            Some(_) => {}
        }
        Answer::Granted
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::{Rc, Weak};

    use super::*;
    use crate::kind::Kind;
    use crate::memory::MemoryNode;
    use crate::node::Node;
    use crate::notice::{Listener, Name, Notice, Sight};
    use crate::testing::{node, request};

    /// Hears what one notice tells.
    #[derive(Default)]
    struct Ear {
        sights: RefCell<Vec<Sight>>,
        changes: Cell<u32>,
    }

    impl Listener for Ear {
        fn awaits(&self, _notice: Name) -> bool {
            true
        }

        fn seen(&self, _notice: Name, sight: Sight) {
            self.sights.borrow_mut().push(sight);
        }

        fn changed(&self, _notice: Name) {
            self.changes.set(self.changes.get() + 1);
        }

        fn cannot_watch(&self, _notice: Name) {}
    }

    const WRITE: Kind = Kind::Write { sign: Duration::from_millis(500), renews: false };

    fn watch(node: &MemoryNode, kind: Kind) -> Rc<Ear> {
        let ear = Rc::new(Ear::default());
        let listener = Rc::downgrade(&ear) as Weak<dyn Listener>;
        node.watch(
            &request(kind, "", 0).keys,
            kind,
            Notice::new(listener, Name { permit: 0, node: 0, number: 1 }),
        );
        ear
    }

    #[test]
    fn a_reader_sees_what_is_in_his_way_and_hears_when_it_changes() {
        use Sight::{Free, Taken};
        let (clock, node) = node();
        let sight = |kind| {
            let ear = watch(&node, kind);
            ear.sights.borrow()[0]
        };
        let taken = |life| Taken { life: Some(Duration::from_millis(life)) };
        let act = |verb, kind, value, expiry| {
            // Whoever waits is told, whatever he waits for.
            let ears = [watch(&node, Kind::Read), watch(&node, Kind::Mutex)];
            node.apply(verb, &request(kind, value, expiry));
            ears.map(|ear| ear.changes.get() > 0)
        };
        assert_eq!((sight(Kind::Read), sight(WRITE)), (Free, Free));
        assert_eq!(act(Verb::Acquire, Kind::Read, "r", 1000), [true, true]);
        assert_eq!((sight(Kind::Read), sight(WRITE)), (Free, taken(1000)), "a reader");
        assert_eq!(act(Verb::Acquire, WRITE, "w", 1000), [true, false]);
        assert_eq!((sight(Kind::Read), sight(Kind::Mutex)), (taken(500), taken(1000)), "a sign");
        clock.0.set(500);
        assert_eq!((sight(Kind::Read), sight(WRITE)), (Free, taken(500)), "no sign");
        assert_eq!(act(Verb::Release, Kind::Read, "r", 0), [true, true]);
        assert_eq!(act(Verb::Acquire, WRITE, "w", 700), [true, true]);
        assert_eq!((sight(Kind::Read), sight(Kind::Mutex)), (taken(700), taken(700)), "a writer");
        assert_eq!(act(Verb::Extend { recreate: false }, Kind::Read, "w", 700), [true, true]);
        assert_eq!((sight(Kind::Read), sight(Kind::Mutex)), (Free, taken(700)), "a reader again");
        // While another reads for as long, or for longer, nothing is new to those who wait.
        assert_eq!(act(Verb::Acquire, Kind::Read, "long", 900), [true, true]);
        assert_eq!(act(Verb::Acquire, Kind::Read, "short", 800), [false, false]);
        assert_eq!(act(Verb::Release, Kind::Read, "short", 0), [false, false]);
        node.apply(Verb::Acquire, &request(Kind::Read, "as long", 900));
        assert_eq!(act(Verb::Release, Kind::Read, "as long", 0), [false, false]);
        assert_eq!(act(Verb::Release, Kind::Read, "long", 0), [true, true]);
    }
}
