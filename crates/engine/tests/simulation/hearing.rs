//! What the nodes say to a call, as they say it: what the call makes of it has to be true.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use redsync_engine::{Answer, Error, Quorum, Value, Verb};

/// The nodes that have given each answer, one bit each.
pub struct Heard {
    verb: Verb,
    value: Value,
    granted: Cell<u32>,
    taken: Cell<u32>,
    absent: Cell<u32>,
}

impl Heard {
    fn note(&self, node: usize, answer: Answer) {
        let nodes = match answer {
            Answer::Granted => &self.granted,
            Answer::Taken => &self.taken,
            Answer::Absent => &self.absent,
        };
        nodes.set(nodes.get() | 1 << node);
    }
}

fn is_same_question(one: Verb, other: Verb) -> bool {
    // Whether it may store it again is not asked here.
    std::mem::discriminant(&one) == std::mem::discriminant(&other)
}

/// Those who listen.
pub struct Hearing {
    quorum: Quorum,
    all: Rc<RefCell<Vec<Rc<Heard>>>>,
}

impl Hearing {
    pub fn new(quorum: Quorum) -> Self {
        Self { quorum, all: Rc::default() }
    }

    /// From now on what the nodes say to this is noted, until what is returned is dropped.
    pub fn open(&self, verb: Verb, value: &Value) -> Listening {
        let value = value.clone();
        let (granted, taken, absent) = Default::default();
        let heard = Rc::new(Heard { verb, value, granted, taken, absent });
        self.all.borrow_mut().push(heard.clone());
        Listening { quorum: self.quorum, all: self.all.clone(), heard }
    }

    pub fn note(&self, verb: Verb, value: &Value, node: usize, answer: Answer) {
        for heard in self.all.borrow().iter() {
            if is_same_question(heard.verb, verb) && heard.value == *value {
                heard.note(node, answer);
            }
        }
    }
}

/// Somebody listens.
pub struct Listening {
    quorum: Quorum,
    all: Rc<RefCell<Vec<Rc<Heard>>>>,
    heard: Rc<Heard>,
}

impl Listening {
    /// Can so many have granted?
    pub fn granted(&self) -> bool {
        self.quorum.is_reached(self.heard.granted.get().count_ones() as usize)
    }

    /// Can a quorum store another's value?
    pub fn taken(&self) -> bool {
        self.quorum.is_reached(self.heard.taken.get().count_ones() as usize)
    }

    /// Can so many not have it that the others are no quorum?
    pub fn lost(&self) -> bool {
        let nodes = self.heard.taken.get() | self.heard.absent.get();
        self.quorum.is_out_of_reach(nodes.count_ones() as usize)
    }

    /// Is this what the nodes have said?
    pub fn explains<T>(&self, outcome: &Result<T, Error>) -> bool {
        match outcome {
            Ok(_) => self.granted(),
            Err(Error::Taken { .. }) => self.taken(),
            Err(Error::Expired { .. }) => self.lost(),
            Err(_) => true,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.all.borrow_mut().retain(|heard| !Rc::ptr_eq(heard, &self.heard));
    }
}
