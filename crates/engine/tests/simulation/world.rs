//! The simulated nodes and the network between them and the clients.

use std::cell::{Cell, RefCell};
use std::collections::BinaryHeap;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use redsync_engine::{
    Answer, Detail, Fate, Guard, Keys, Kind, NodeError, Notice, Quorum, Reply, Request, Value, Verb,
};

use crate::chance::Chance;
use crate::clock::{SimulatedClock, Time};
use crate::faults::{Counter, Fault};
use crate::hearing::Hearing;
use crate::link::Link;
use crate::message::{Answered, Command, Event, Watching, What};
use crate::mutant;
use crate::node::{SimulatedNode, State};
use crate::schedule::Schedule;
use crate::trace::Trace;
use crate::violation::Violation;
use crate::waiter::Waiters;
use crate::witness::Witness;

pub struct World {
    pub schedule: Schedule,
    pub time: Time,
    /// What the network, the nodes and the faults are left to.
    pub chance: RefCell<Chance>,
    pub faults: Counter,
    pub trace: Trace,
    pub witness: Witness,
    pub waiters: Waiters,
    pub hearing: Hearing,
    pub nodes: Vec<SimulatedNode>,
    /// One for each client, set and node, in this order.
    pub links: Vec<Link>,
    pub is_healed: Cell<bool>,
    /// When what was on its way at the healing has come.
    pub quiet_from: Cell<u64>,
    events: RefCell<BinaryHeap<Event>>,
    next_number: Cell<u64>,
    /// Answers that came while their client was paused.
    pub inboxes: Vec<RefCell<Vec<Answered>>>,
    /// When the pause of each client is over.
    pub paused: Vec<Cell<bool>>,
    /// Milliseconds that each client was paused.
    pub lost_time: Vec<Cell<u64>>,
    /// How many attempts each client gives up until it is closed, with the releases on their way.
    pub closings: Vec<Cell<Option<u64>>>,
    /// How many commands each client sends until it aborts what it does.
    pub fuses: Vec<RefCell<Option<(u64, redsync_engine::CancellationToken)>>>,
}

impl World {
    pub fn new(schedule: Schedule, chance: Chance) -> Rc<Self> {
        let time = Time::default();
        let clock = |(index, &rate): (usize, &f64)| {
            let zero = Duration::from_secs(1_000_000 * (index as u64 + 1));
            let clock =
                SimulatedClock::of_node(time.clone(), zero, rate, schedule.node_walls[index]);
            SimulatedNode::new(clock, schedule.window, schedule.lag)
        };
        let nodes: Vec<_> = schedule.nodes.iter().enumerate().map(clock).collect();
        let clients = schedule.clients.len();
        let world = Self {
            links: (0..clients * schedule.sets * nodes.len()).map(|_| Link::default()).collect(),
            inboxes: (0..clients).map(|_| RefCell::default()).collect(),
            paused: (0..clients).map(|_| Cell::default()).collect(),
            lost_time: (0..clients).map(|_| Cell::default()).collect(),
            closings: (0..clients).map(|_| Cell::default()).collect(),
            fuses: (0..clients).map(|_| RefCell::default()).collect(),
            witness: Witness::new(Quorum::of(nodes.len()), clients),
            waiters: Waiters::new(Quorum::of(nodes.len())),
            hearing: Hearing::new(Quorum::of(nodes.len())),
            nodes,
            time,
            chance: RefCell::new(chance),
            faults: Counter::default(),
            trace: Trace::new(schedule.is_told),
            is_healed: Cell::new(false),
            quiet_from: Cell::default(),
            events: RefCell::default(),
            next_number: Cell::default(),
            schedule,
        };
        Rc::new(world)
    }

    /// Milliseconds since the start.
    pub fn now(&self) -> u64 {
        self.time.get()
    }

    /// Whose link this is.
    fn client_of(&self, link: usize) -> usize {
        link / self.links_of_client()
    }

    /// How many links each client has.
    pub fn links_of_client(&self) -> usize {
        self.schedule.sets * self.nodes.len()
    }

    /// May nothing stand in the way of a call but other calls?
    pub fn is_calm(&self) -> bool {
        let is_orderly = self.schedule.orderly && self.schedule.lag.is_none();
        is_orderly || self.is_healed.get() && self.now() >= self.quiet_from.get()
    }

    fn number(&self) -> u64 {
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        number
    }

    pub fn plan(&self, at: u64, what: What) {
        self.events.borrow_mut().push(Event { at, number: self.number(), what });
    }

    /// When the next event is due.
    pub fn next(&self) -> Option<u64> {
        self.events.borrow().peek().map(|event| event.at)
    }

    /// The next event, if it is due.
    pub fn take_due(&self) -> Option<Event> {
        let now = self.now();
        let mut events = self.events.borrow_mut();
        if events.peek()?.at > now { None } else { events.pop() }
    }

    /// At the very end: what a message holds would otherwise hold the world.
    pub fn forget_what_is_on_its_way(&self) {
        self.events.take();
        self.inboxes.iter().for_each(|inbox| drop(inbox.take()));
        self.links.iter().for_each(Link::abandon);
        self.nodes.iter().for_each(|node| node.crash(true));
    }

    /// This value is still stored, if there is one.
    pub fn report_left(&self, value: Option<Value>) {
        if let Some(value) = value {
            self.tell(format_args!("VIOLATION: {} is left", short(&value)));
            self.witness.report(Violation::Leftover);
        }
    }

    /// A line of the story of this schedule.
    pub fn tell(&self, line: fmt::Arguments<'_>) {
        self.trace.tell(self.now(), line);
    }

    pub fn percent(&self, percent: u32) -> bool {
        percent > 0 && !self.is_healed.get() && self.chance.borrow_mut().percent(percent)
    }

    /// How long a message takes.
    fn distance(&self, link: usize) -> u64 {
        let node = link % self.nodes.len();
        if self.is_healed.get() {
            return 1;
        }
        let mut chance = self.chance.borrow_mut();
        let longest = self.schedule.distances[node];
        let spikes = self.schedule.spikes;
        let distance = if spikes > 0 && chance.percent(spikes) {
            chance.within(0..=self.schedule.expiry)
        } else if longest == 0 {
            0
        } else {
            chance.within(self.schedule.nearest(longest)..=longest)
        };
        if Duration::from_millis(distance) > self.schedule.timeout(self.schedule.expiry) {
            self.faults.count(Fault::Delayed);
        }
        distance
    }

    /// Takes a command from the engine and puts it on its way.
    pub fn send(&self, index: usize, verb: Verb, request: &Rc<Request>, reply: Reply) {
        let link = &self.links[index];
        let node = &self.nodes[index % self.nodes.len()];
        if self.schedule.quarantine && node.is_down() && self.chance.borrow_mut().percent(50) {
            return link.queue.borrow_mut().push((verb, request.clone(), reply));
        }
        let uptime_now = |(login, uptime)| uptime + Duration::from_millis(self.now() - login);
        let uptime = link.login.get().map_or(Duration::MAX, uptime_now);
        match request.in_quarantine(verb, uptime) {
            Ok(verb) => self.write(index, verb, request, reply),
            Err(left) => {
                self.faults.count(Fault::Abstained);
                reply.send(Err(NodeError::abstaining(left)));
            }
        }
    }

    /// The link has a new connection to a node that may have just started: what waited for it is sent.
    fn log_in(&self, index: usize) {
        let (link, node) = (&self.links[index], &self.nodes[index % self.nodes.len()]);
        if node.is_down() {
            return;
        }
        let uptime = node.uptime().map(|uptime| (self.now(), uptime));
        let is_too_late = mutant::asks_before_uptime_is_known();
        if !is_too_late {
            link.login.set(uptime);
        }
        for (verb, request, reply) in link.queue.take() {
            if verb == Verb::Release || reply.is_wanted() {
                self.send(index, verb, &request, reply);
            } else {
                reply.send(Err(NodeError::closed().with(Fate::Unsent)));
            }
        }
        link.login.set(uptime);
        self.begin_to_tell(index);
    }

    fn write(&self, index: usize, verb: Verb, request: &Rc<Request>, reply: Reply) {
        let (link, client) = (&self.links[index], self.client_of(index));
        self.trace.add(&[self.now(), index as u64, verb_number(verb)]);
        self.trace.add_text(&request.value);
        let (node, value) = (index % self.nodes.len(), short(&request.value));
        self.tell(format_args!(
            "client {client} -> node {node}: {verb:?} {value} {:?} {:?}",
            request.keys, request.kind
        ));
        if verb == Verb::Acquire {
            let gone = self.now() + request.expiry.as_millis() as u64 * 95 / 100;
            self.witness.value_used(
                index % self.nodes.len(),
                client,
                &request.value,
                self.now(),
                gone,
            );
        }
        if matches!(verb, Verb::Extend { .. }) {
            let gone = self.now() + request.expiry.as_millis() as u64 * 95 / 100;
            self.witness.value_extended(&request.value, gone);
        }
        if verb == Verb::Release && !self.witness.was_held(&request.value) {
            self.come_closer_to_closing(client);
        }
        self.burn_fuse(client);
        let node = &self.nodes[index % self.nodes.len()];
        if self.percent(self.schedule.refusals) {
            self.faults.count(Fault::Refused);
            let is_script = request.keys.len() > 1 || request.kind != Kind::Mutex;
            if verb == Verb::Acquire && is_script {
                self.refuse_halfway(node, request, is_informed(client));
            }
            return reply.send(Err(NodeError::new("OOM", "refused").with(Fate::Refused)));
        }
        if node.is_down() && self.chance.borrow_mut().percent(50) {
            self.faults.count(Fault::Unsent);
            return reply.send(Err(NodeError::lost().with(Fate::Unsent)));
        }
        let number = self.number();
        link.expect(number, reply);
        if self.percent(self.schedule.loss) {
            self.faults.count(Fault::Lost);
            return;
        }
        let command = |is_buffered, is_unheard| Command {
            link: index,
            connection: link.connection.get(),
            life: node.life.get(),
            number,
            verb,
            request: request.clone(),
            is_buffered,
            is_unheard,
        };
        let mut at = link.last_arrival.get().max(self.now() + self.distance(index));
        if self.percent(self.schedule.repeats) {
            self.faults.count(Fault::Repeated);
            self.plan(at, What::Arrival(command(false, true)));
            at += self.some_time();
        }
        if self.percent(self.schedule.strays) {
            self.faults.count(Fault::Strayed);
            at += self.some_time();
            link.last_stray.set(link.last_stray.get().max(at));
            if verb != Verb::Release {
                // Whatever releases it may be there before.
                self.witness.excuse(&request.value);
            }
        } else {
            link.last_arrival.set(at);
        }
        self.plan(at, What::Arrival(command(self.percent(10), false)));
    }

    /// About as long as a node is waited for.
    fn some_time(&self) -> u64 {
        let timeout = self.schedule.timeout(self.schedule.expiry).as_millis() as u64;
        self.chance.borrow_mut().within(0..=timeout)
    }

    /// A script that is stopped when it has stored the first of its keys, or all there is to store.
    fn refuse_halfway(&self, node: &SimulatedNode, request: &Rc<Request>, is_informed: bool) {
        if node.state.get() == State::Up {
            self.faults.count(Fault::RefusedHalfway);
            let (value, expiry, timeout) = (request.value.clone(), request.expiry, request.timeout);
            let keys = Rc::new([request.keys[0].clone()]);
            let quarantine = request.quarantine;
            let Request { kind, permits, token, .. } = **request;
            let request =
                Request { kind, permits, token, keys, value, expiry, timeout, quarantine };
            node.apply(Verb::Acquire, &Rc::new(request), is_informed);
        }
    }

    /// Puts the wish to watch keys on its way.
    pub fn watch(&self, index: usize, keys: &Keys, kind: Kind, notice: Notice) {
        let node = &self.nodes[index % self.nodes.len()];
        if !self.schedule.watches || node.is_down() || self.percent(self.schedule.loss) {
            return;
        }
        let watching = Watching {
            link: index,
            connection: self.links[index].connection.get(),
            life: node.life.get(),
            keys: keys.clone(),
            kind,
            notice,
        };
        self.plan(self.now() + self.distance(index), What::Watch(watching));
    }

    /// It is at the node.
    pub fn begin_to_watch(&self, watching: Watching) {
        let node = &self.nodes[watching.link % self.nodes.len()];
        let is_current = watching.connection == self.links[watching.link].connection.get();
        if is_current && watching.life == node.life.get() {
            let is_informed = is_informed(self.client_of(watching.link));
            node.watch(&watching.keys, watching.kind, watching.notice, is_informed);
        }
    }

    /// Lets the node tell over this link, as after a login, and tells at first that any key may have changed.
    pub fn begin_to_tell(&self, index: usize) {
        let node = &self.nodes[index % self.nodes.len()];
        let telling = self.links[index].guard.borrow().clone();
        if let Some(telling) = telling.filter(|_| !node.is_down()) {
            let guard = Rc::downgrade(&telling) as Weak<dyn Guard>;
            node.tell_of_changes(guard, is_informed(self.client_of(index)));
            self.tell_of_change(index, None);
        }
    }

    /// Puts it on its way.
    pub fn tell_of_change(&self, index: usize, key: Option<&str>) {
        let connection = self.links[index].connection.get();
        let at = self.now() + self.distance(index);
        self.plan(at, What::Told(index, connection, key.map(Box::from)));
    }

    /// It has arrived.
    pub fn told(&self, index: usize, connection: u32, key: Option<&str>) {
        let link = &self.links[index];
        let telling = link.guard.borrow().clone();
        let is_current = connection == link.connection.get();
        let guard = telling.filter(|_| is_current).and_then(|telling| telling.guard.upgrade());
        guard.iter().for_each(|guard| guard.changed(key));
    }

    fn come_closer_to_closing(&self, client: usize) {
        let Some(left) = self.closings[client].take() else { return };
        match left.checked_sub(1) {
            Some(left) => self.closings[client].set(Some(left)),
            None => self.plan(self.now(), What::Close(client)),
        }
    }

    fn burn_fuse(&self, client: usize) {
        let mut fuse = self.fuses[client].borrow_mut();
        if let Some((left, cancel)) = fuse.as_mut() {
            if *left == 0 {
                self.faults.count(Fault::Aborted);
                cancel.cancel();
                *fuse = None;
            } else {
                *left -= 1;
            }
        }
    }

    /// A command is at its node.
    pub fn arrive(&self, command: Command) {
        let node = &self.nodes[command.link % self.nodes.len()];
        let Some(command) = node.receive(command) else { return };
        let link = &self.links[command.link];
        let is_late = command.connection != link.connection.get();
        if is_late && command.connection < link.swept.get() {
            return;
        }
        if command.is_buffered && command.verb == Verb::Acquire && !link.is_wanted(command.number) {
            self.faults.count(Fault::Unsent);
            if let Some(reply) = link.reply_to(command.number) {
                reply.send(Err(NodeError::closed().with(Fate::Unsent)));
            }
            return;
        }
        let had_sign = node.has_sign(&command.request.keys);
        let is_informed = is_informed(self.client_of(command.link));
        let (answer, detail) = node.apply(command.verb, &command.request, is_informed);
        if had_sign && !node.has_sign(&command.request.keys) {
            let client = self.client_of(command.link);
            self.waiters.sign_is_gone(client, &command.request.keys, self.now());
        }
        if matches!(detail, Some(Detail::Bound(_))) {
            self.faults.count(Fault::OtherToken);
        }
        self.trace.add(&[self.now(), command.number, answer_number(answer)]);
        let at_node = command.link % self.nodes.len();
        if !command.is_unheard {
            self.hearing.note(command.verb, &command.request.value, at_node, answer);
        }
        if command.verb == Verb::Acquire && answer == Answer::Granted {
            self.waiters.disturb(&command.request.keys, command.request.kind, self.now());
        }
        if matches!(detail, Some(Detail::Readers)) {
            self.waiters.disturb_readers(&command.request.keys);
        }
        let (client, index) = (self.client_of(command.link), command.link % self.nodes.len());
        let (verb, value) = (command.verb, short(&command.request.value));
        let late = if is_late { " (straggler)" } else { "" };
        let token = command.request.token;
        self.tell(format_args!(
            "node {index}: {answer:?} {token:?} {detail} to client {client}: {verb:?} {value}{late}",
            detail = bound(&detail),
        ));
        if is_late {
            self.faults.count(Fault::Straggler);
            if answer == Answer::Granted && command.verb != Verb::Release {
                // Whatever released it may have been there before.
                self.witness.excuse(&command.request.value);
            }
            return;
        }
        if command.is_unheard {
            return;
        }
        if self.percent(self.schedule.loss) {
            self.faults.count(Fault::Unanswered);
            return;
        }
        let at = link.last_answer.get().max(self.now() + self.distance(command.link));
        link.last_answer.set(at);
        let (link, connection, number) = (command.link, command.connection, command.number);
        let answered = Answered { link, connection, number, vote: Ok(answer), detail };
        let is_grant = command.verb == Verb::Acquire && answer == Answer::Granted;
        if is_grant && self.percent(self.schedule.amnesia) {
            self.answer(answered);
            return self.forget_at_once(at_node);
        }
        self.plan(at, What::Answer(answered));
    }

    /// A node has granted, and is back without its data before the round is over. The quarantine of the clients has to
    /// keep it from granting again what it has forgotten.
    fn forget_at_once(&self, index: usize) {
        let node = &self.nodes[index];
        self.faults.count(Fault::Amnesia);
        self.tell(format_args!("node {index} forgets, and is back at once"));
        node.crash(true);
        self.disconnect(index);
        node.shield_until(self.now() + self.schedule.longest_life());
        let back = self.chance.borrow_mut().within(0..=2);
        self.plan(self.now() + back, What::NodeRestarts(index));
    }

    /// An answer is at its client.
    pub fn answer(&self, answered: Answered) {
        let client = self.client_of(answered.link);
        if self.paused[client].get() {
            return self.inboxes[client].borrow_mut().push(answered);
        }
        let link = &self.links[answered.link];
        if answered.connection != link.connection.get() {
            return;
        }
        if let Some(reply) = link.reply_to(answered.number) {
            answered.detail.into_iter().for_each(|detail| reply.bring(detail));
            reply.send(answered.vote);
        }
    }

    /// Ends the connection of a link; a new one is there at once.
    pub fn reset(&self, index: usize, stragglers: bool) {
        let link = &self.links[index];
        if link.is_closed.get() {
            return;
        }
        link.reset(self.now(), &NodeError::lost());
        // The watches of the others go too: they are as likely to lose theirs.
        self.nodes[index % self.nodes.len()].forget_watchers();
        if !stragglers {
            link.swept.set(link.connection.get());
        }
        self.log_in(index);
    }

    /// Ends all connections of a node.
    pub fn disconnect(&self, node: usize) {
        for index in (node..self.links.len()).step_by(self.nodes.len()) {
            self.reset(index, false);
        }
    }
}

/// Does this client know at once which of a node's two lives is the later one?
fn is_informed(client: usize) -> bool {
    client % 2 == 1
}

/// What a node wants of a fencing token.
fn bound(detail: &Option<Detail>) -> String {
    match detail {
        Some(Detail::Bound(bound)) => format!("{bound:?}"),
        _ => String::new(),
    }
}

/// Enough of a value to tell it from others.
fn short(value: &str) -> &str {
    value.get(..4).unwrap_or(value)
}

fn verb_number(verb: Verb) -> u64 {
    match verb {
        Verb::Acquire => 1,
        Verb::Release => 2,
        Verb::Extend { recreate } => 3 + u64::from(recreate),
        Verb::Owner => 5,
        Verb::Inspect => 6,
        Verb::Scan => 7,
        Verb::Shorten => 8,
    }
}

fn answer_number(answer: Answer) -> u64 {
    match answer {
        Answer::Granted => 11,
        Answer::Taken => 12,
        Answer::Absent => 13,
    }
}
