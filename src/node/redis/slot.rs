//! A slot of a cluster: who its master is, and the line of what is asked about its keys.
//!
//! A command that a server sends on comes later than what was asked behind it by those who know the way
//! already: a release would find nothing, and the SET be stored after it. So **what is asked about a slot
//! is with one server at a time**. A question to another one waits until this one has settled all, and
//! what it has sent on goes first, in the order in which it was asked. As long as no server sends
//! anything on, nothing waits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;

use redsync_engine::{Fate, Keys, NodeError};

use super::question::Question;
use super::server::Server;

/// A slot. All keys of a lock are in one.
#[derive(Default)]
pub struct Slot(RefCell<State>);

#[derive(Default)]
struct State {
    /// As far as it is known.
    master: Option<Rc<Server>>,
    /// Who is asked now, if anybody is, and how many questions it has not settled.
    asked: Option<Rc<Server>>,
    unsettled: usize,
    /// In the order in which they were asked, of which the numbers tell.
    line: VecDeque<Waiting>,
    last_number: u64,
    /// The servers send a question to and fro.
    is_paused: bool,
}

struct Waiting {
    question: Question,
    number: u64,
    /// The server that is to be asked for this once.
    to: Option<Rc<Server>>,
}

impl Slot {
    /// Puts a new question at the end of the line.
    pub fn join(&self, question: Question) {
        let state = &mut *self.0.borrow_mut();
        state.last_number += 1;
        state.line.push_back(Waiting { question, number: state.last_number, to: None });
    }

    /// Puts a question that was sent on back to where it stood.
    pub fn put_back(&self, question: Question, number: u64, to: Option<Rc<Server>>) {
        let line = &mut self.0.borrow_mut().line;
        let place = line.partition_point(|waiting| waiting.number < number);
        line.insert(place, Waiting { question, number, to });
    }

    /// The next question, if it may be asked now, with where it stood and whom to ask: `choose` says who
    /// that is if the slot has this master.
    pub fn next(
        &self,
        choose: impl FnOnce(Option<&Rc<Server>>) -> Rc<Server>,
    ) -> Option<(Rc<Server>, Question, u64)> {
        let state = &mut *self.0.borrow_mut();
        let first = state.line.front().filter(|_| !state.is_paused)?;
        let server = first.to.clone().unwrap_or_else(|| choose(state.master.as_ref()));
        if state.asked.as_ref().is_some_and(|asked| !Rc::ptr_eq(asked, &server)) {
            return None;
        }
        let Waiting { mut question, number, to } = state.line.pop_front()?;
        question.is_asking = to.is_some();
        state.asked = Some(server.clone());
        state.unsettled += 1;
        Some((server, question, number))
    }

    /// The master, as far as it is known.
    pub fn master(&self) -> Option<Rc<Server>> {
        self.0.borrow().master.clone()
    }

    /// Notes the master; gives the one that it was thought to be.
    pub fn set_master(&self, master: Option<Rc<Server>>) -> Option<Rc<Server>> {
        mem::replace(&mut self.0.borrow_mut().master, master)
    }

    /// Nothing is asked until the pause ends. False if there is one already.
    pub fn begin_pause(&self) -> bool {
        !mem::replace(&mut self.0.borrow_mut().is_paused, true)
    }

    /// Ends the pause.
    pub fn end_pause(&self) {
        self.0.borrow_mut().is_paused = false;
    }

    /// A question is not with the server any more. Has anybody waited for that?
    pub fn settle(&self) -> bool {
        let state = &mut *self.0.borrow_mut();
        state.unsettled -= 1;
        if state.unsettled == 0 {
            state.asked = None;
        }
        state.unsettled == 0 && !state.line.is_empty()
    }

    /// A server sent on what was asked first, and then had the slot again. What would come behind this
    /// question now, about one of its keys, does not come at all.
    pub fn drop_overtaken(&self, number: u64, keys: &Keys) {
        let state = &mut *self.0.borrow_mut();
        if state.line.front().is_none_or(|first| first.number > number) {
            return;
        }
        for waiting in mem::take(&mut state.line) {
            let shares = waiting.question.request.keys.iter().any(|key| keys.contains(key));
            if waiting.number < number && shares {
                waiting.question.fail(&undecided());
            } else {
                state.line.push_back(waiting);
            }
        }
    }
}

/// No server has taken the question in.
pub fn undecided() -> NodeError {
    let error = NodeError::new("MOVED", "the cluster does not agree on who has the slot");
    error.with(Fate::Refused)
}
