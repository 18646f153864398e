//! A node that is a JavaScript `Pool`: questions go to the event loop, answers come back.
//!
//! A pool may hand out another connection each time, and a client may send a command once more after
//! a redirect or a reconnect. So the order on a key is kept here: what is asked about a key waits for
//! the answer to what was asked about it before. In the normal case nothing waits, for a round ends
//! with the answers of all its nodes.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use redsync_engine::time::{Instant, timeout};
use redsync_engine::{
    Answer, Bound, Detail, Fate, Health, Node, NodeError, Reply, Request, Status, Token, Verb, Vote,
};
use tokio::sync::oneshot;

use super::script::{WRONG_TYPE, found, page};

/// How many questions may wait for an answer. Beyond that the pool is not asked, so that one that
/// never answers costs no more memory than this.
const MAX_QUESTIONS: usize = 10_000;

/// A pool that owes an answer is asked no more, but for one question in this time: is it back?
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// What a pool is asked; `None`: is it there?
pub type Asked<'a> = Option<(Verb, &'a Request)>;

/// Carries a question to the pool: its number, what it is, and how long somebody waits for it.
pub type Carry = Box<dyn Fn(u32, Asked<'_>, Duration)>;

/// What a pool says. The first three are as the scripts say it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Granted = 1,
    Taken = 0,
    Absent = -1,
    /// To a look: the message is what the script has found.
    Found = 2,
    /// To an acquisition with a fencing token: the message is the token that a greater one might be granted than.
    Above = 3,
    /// The same: the token up to which one might be granted.
    UpTo = 4,
    /// To a writer's acquisition: taken by readers.
    Readers = 5,
    /// To a walk over the keys: the message is what the script has found.
    Page = 6,
    /// Whether anything was done is not known.
    Failed = -2,
    /// Nothing was done, and nothing will be.
    Unsent = -3,
}

/// What is said with the code of an error and a message, as a vote and what it brings.
pub fn vote_of(said: Said, code: String, message: String) -> (Vote, Option<Detail>) {
    let fate = match said {
        Said::Granted => return (Ok(Answer::Granted), None),
        Said::Taken => return (Ok(Answer::Taken), None),
        Said::Absent => return (Ok(Answer::Absent), None),
        Said::Found => return (Ok(Answer::Taken), found(&message).map(Detail::Found)),
        Said::Readers => return (Ok(Answer::Taken), Some(Detail::Readers)),
        Said::Page => {
            let page = page(&message).ok_or_else(NodeError::protocol);
            return match page {
                Ok(page) => (Ok(Answer::Granted), Some(Detail::Page(page))),
                Err(error) => (Err(error), None),
            };
        }
        Said::Above | Said::UpTo => return bounded(said, &message),
        Said::Unsent => Fate::Unsent,
        // A key of another type is not ours.
        Said::Failed if code == WRONG_TYPE => Fate::Denied,
        Said::Failed => Fate::Unknown,
    };
    (Err(NodeError::new(code, message).with(fate)), None)
}

fn bounded(said: Said, token: &str) -> (Vote, Option<Detail>) {
    let Some(token) = token.parse().ok().and_then(Token::new) else {
        return (Err(NodeError::protocol()), None);
    };
    let bound = if said == Said::Above { Bound::Above(token) } else { Bound::UpTo(token) };
    (Ok(Answer::Absent), Some(Detail::Bound(bound)))
}

/// Who waits for an answer.
enum Asker {
    Round(Verb, Rc<Request>, Reply),
    Health(oneshot::Sender<Vote>),
}

struct Question {
    asker: Asker,
    deadline: Instant,
    /// On how many of its keys others are before it.
    behind: usize,
}

impl Question {
    fn asked(&self) -> Asked<'_> {
        match &self.asker {
            Asker::Round(verb, request, _) => Some((*verb, request)),
            Asker::Health(_) => None,
        }
    }

    fn keys(&self) -> &[Box<str>] {
        self.asked().map_or(&[], |(_, request)| &request.keys)
    }

    fn is_awaited(&self, now: Instant) -> bool {
        now < self.deadline
            && match &self.asker {
                Asker::Round(.., reply) => reply.is_wanted(),
                Asker::Health(answer) => !answer.is_closed(),
            }
    }

    /// Should it still be asked? A release in any case: what is before it may have succeeded late.
    fn is_wanted(&self, now: Instant) -> bool {
        matches!(self.asker, Asker::Round(Verb::Release, ..)) || self.is_awaited(now)
    }

    /// A release of the same that nobody waits for any more.
    fn is_old_release_of(&self, other: &Request, now: Instant) -> bool {
        self.asked().is_some_and(|(verb, request)| {
            verb == Verb::Release && request.value == other.value && request.keys == other.keys
        }) && !self.is_awaited(now)
    }

    fn settle(self, vote: Vote) {
        match self.asker {
            Asker::Round(.., reply) => reply.send(vote),
            Asker::Health(answer) => {
                // It may not have waited for so long.
                let _ = answer.send(vote);
            }
        }
    }
}

#[derive(Default)]
struct State {
    /// Those that the pool was asked, and those that wait for their turn.
    questions: HashMap<u32, Question>,
    /// By key, in the order in which they were asked; the first was carried to the pool when it is
    /// the first on all of its keys.
    lines: HashMap<Box<str>, VecDeque<u32>>,
    last_number: u32,
    /// Since when the pool has owed an answer without giving any.
    silent_since: Option<Instant>,
    last_probe: Option<Instant>,
    is_closed: bool,
}

impl State {
    /// Who would wait for less time than the pool has been silent already is told at once, and now
    /// and then one asks it all the same.
    fn is_silent(&mut self, patience: Duration, now: Instant) -> bool {
        let is_silent = self.silent_since.is_some_and(|since| now - since > patience);
        let is_probe = is_silent && self.last_probe.is_none_or(|last| now - last > PROBE_INTERVAL);
        if is_probe {
            self.last_probe = Some(now);
        }
        is_silent && !is_probe
    }

    /// Takes a question in, at the end of the lines of its keys.
    fn enter(&mut self, mut question: Question) -> u32 {
        loop {
            self.last_number = self.last_number.wrapping_add(1);
            if !self.questions.contains_key(&self.last_number) {
                break;
            }
        }
        let number = self.last_number;
        let mut behind = 0;
        for key in question.keys() {
            let line = self.lines.entry(key.clone()).or_default();
            behind += usize::from(!line.is_empty());
            line.push_back(number);
        }
        question.behind = behind;
        self.questions.insert(number, question);
        number
    }

    /// Takes a question out of the lines of its keys; gives those whose turn has come.
    fn leave(&mut self, question: &Question) -> Vec<u32> {
        let mut next = Vec::new();
        for key in question.keys() {
            let Some(line) = self.lines.get_mut(key) else { continue };
            line.pop_front();
            let Some(first) = line.front() else {
                self.lines.remove(key);
                continue;
            };
            if let Some(question) = self.questions.get_mut(first) {
                question.behind -= 1;
                if question.behind == 0 {
                    next.push(*first);
                }
            }
        }
        next
    }

    /// A release that waits in line and that this one can take the place of.
    fn old_release_of(&mut self, request: &Request, now: Instant) -> Option<&mut Question> {
        let line = self.lines.get(&request.keys[0])?;
        let number = line.iter().skip(1).find(|&number| {
            self.questions.get(number).is_some_and(|other| other.is_old_release_of(request, now))
        })?;
        self.questions.get_mut(number)
    }
}

/// A node over one JavaScript `Pool`.
pub struct PoolNode {
    carry: Carry,
    state: RefCell<State>,
}

impl PoolNode {
    /// A node whose questions are carried to its pool by this function.
    pub fn new(carry: Carry) -> Rc<Self> {
        Rc::new(Self { carry, state: RefCell::default() })
    }

    /// The pool has answered a question; `None` if what it says cannot be read.
    pub fn answer(&self, number: u32, answer: Option<(Said, String, String)>) {
        let (vote, detail) = match answer {
            Some((said, code, message)) => vote_of(said, code, message),
            None => (Err(NodeError::protocol()), None),
        };
        let state = &mut *self.state.borrow_mut();
        let Some(question) = state.questions.remove(&number) else { return };
        state.silent_since = None;
        if let (Asker::Round(.., reply), Some(detail)) = (&question.asker, detail) {
            reply.bring(detail);
        }
        let now = Instant::now();
        let mut settled = vec![(question, vote)];
        while let Some((question, vote)) = settled.pop() {
            for number in state.leave(&question) {
                let is_wanted = state.questions.get(&number).is_some_and(|it| it.is_wanted(now));
                if is_wanted {
                    self.put(state, number, now);
                } else if let Some(question) = state.questions.remove(&number) {
                    settled.push((question, Err(unsent(NodeError::timed_out()))));
                }
            }
            question.settle(vote);
        }
    }

    fn put(&self, state: &mut State, number: u32, now: Instant) {
        state.silent_since.get_or_insert(now);
        if let Some(question) = state.questions.get(&number) {
            (self.carry)(number, question.asked(), question.deadline.duration_since(now));
        }
    }

    /// Asks the pool, or whoever asks is told why not.
    fn enter(&self, asker: Asker, patience: Duration) {
        let now = Instant::now();
        let question = Question { asker, deadline: now + patience, behind: 0 };
        let state = &mut *self.state.borrow_mut();
        let is_full = state.questions.len() >= MAX_QUESTIONS;
        if state.is_closed || is_full {
            let error = if is_full { too_many() } else { NodeError::closed() };
            return question.settle(Err(unsent(error)));
        }
        let number = state.enter(question);
        if state.questions[&number].behind == 0 {
            self.put(state, number, now);
        }
    }
}

fn unsent(error: NodeError) -> NodeError {
    error.with(Fate::Unsent)
}

fn too_many() -> NodeError {
    NodeError::new("ENOBUFS", "the pool owes too many answers")
}

impl Node for PoolNode {
    fn ask(&self, verb: Verb, request: &Rc<Request>, reply: Reply) {
        let now = Instant::now();
        let mut state = self.state.borrow_mut();
        if verb == Verb::Release
            && let Some(old) = state.old_release_of(request, now)
        {
            old.deadline = now + request.timeout;
            old.asker = Asker::Round(verb, request.clone(), reply);
            return;
        }
        // A release that has something before it is kept for the time when that is answered.
        let is_kept =
            verb == Verb::Release && request.keys.iter().any(|key| state.lines.contains_key(key));
        if !is_kept && state.is_silent(request.timeout, now) {
            return reply.send(Err(unsent(NodeError::timed_out())));
        }
        drop(state);
        self.enter(Asker::Round(verb, request.clone(), reply), request.timeout);
    }

    fn health(&self, limit: Duration) -> Pin<Box<dyn Future<Output = Health>>> {
        let (answer, answered) = oneshot::channel();
        let start = Instant::now();
        self.enter(Asker::Health(answer), limit);
        Box::pin(async move {
            match timeout(limit, answered).await {
                Ok(Ok(Ok(_))) => Health {
                    status: Status::Up,
                    latency: Some(start.elapsed()),
                    server: None,
                    error: None,
                    watches: Some(false),
                    uptime: None,
                },
                Ok(Ok(Err(error))) => Health::down(error),
                Ok(Err(_)) => Health::down(NodeError::closed()),
                Err(_) => Health::down(NodeError::timed_out()),
            }
        })
    }

    fn may_repeat(&self) -> bool {
        true
    }

    fn close(&self) {
        self.state.borrow_mut().is_closed = true;
    }
}
