//! The link to one server: made in the background, made again when it is lost, and written to once per
//! tick.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use rand::RngExt;
use redis::{Pipeline, PushKind, Value};
use redsync_engine::{Fate, Guard, Health, NodeError, Status, Verb};
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::address::{Access, Endpoint};
use super::batch::{Batch, Entry, Writer};
use super::command::{Redirect, detail, masters, vote, vote_of};
use super::connection::{Connection, Role, info_field, text};
use super::failure::{self, refused};
use super::known::KnownScripts;
use super::news::next_master;
use super::question::{Group, Introduction, Question};
use super::route::Route;
use super::sentinel::Sentinels;
use super::stream::DEAD_AFTER;
use super::tracking::{Step, Tracking, changed_keys};
use super::turn::Turn;
use crate::random::OsRandom;

/// The longest first pause before connecting again; the pause is random below it (full jitter), and
/// its limit doubles up to [`LAST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(50);
pub const LAST_PAUSE: Duration = Duration::from_secs(2);

/// A link that lived shorter than this, and answered nothing or was lost over a question, is not trusted to be back:
/// connecting again starts with a pause.
pub const STABLE_AFTER: Duration = Duration::from_secs(1);

/// From one try to listen to a sentinel to the next.
const LISTENS_AGAIN: Duration = Duration::from_secs(1);

/// Replies that the server owes. More wait here, so that neither this process nor the server has to buffer
/// a burst of any size.
const MAX_IN_FLIGHT: usize = 8192;

/// After so long without a question the link to a server of a cluster is as good as new.
pub const FORGETS_AFTER: Duration = Duration::from_secs(10);

/// Takes the questions that a server of a cluster has no answer to.
pub trait OnRedirect {
    fn redirect(&self, question: Question, redirect: Redirect);
}

/// Is told what a server calls itself that was logged in to, '' if it does not say; see [`Connection::run_id`].
pub type OnLogin = Rc<dyn Fn(&str)>;

enum State {
    /// Nothing has been asked yet, or nothing since the connection was lost.
    Unused,
    /// The connection is being made for the first time or has just been lost: questions wait.
    Connecting(Instant),
    Up,
    /// It could not be made: questions are answered with the reason, until a later try succeeds.
    Down(NodeError),
    Closed,
}

/// Why a server is not asked.
enum Unusable {
    Down(NodeError),
    /// It owes an answer.
    Silent,
}

impl Unusable {
    fn error(self) -> NodeError {
        match self {
            Self::Down(error) => error,
            Self::Silent => silent(),
        }
    }
}

/// How a connection has ended.
pub struct Lost {
    pub error: NodeError,
    /// It had answered something, and owed nothing any more.
    was_at_rest: bool,
}

fn silent() -> NodeError {
    NodeError::new("ETIMEDOUT", "the server does not answer")
}

/// The link to one server.
pub struct Link {
    route: Route,
    access: Access,
    on_redirect: Option<Rc<dyn OnRedirect>>,
    on_login: Option<OnLogin>,
    state: RefCell<State>,
    /// Who is told of changes to the keys of held locks.
    guard: RefCell<Option<Weak<dyn Guard>>>,
    queue: RefCell<VecDeque<Question>>,
    groups: RefCell<Vec<Group>>,
    introductions: RefCell<Vec<Introduction>>,
    /// What was sent and is not answered yet.
    unanswered: RefCell<VecDeque<Batch>>,
    /// This connection has answered something.
    has_answered: Cell<bool>,
    /// Somebody would ask, if the server were not down.
    is_wanted: Cell<bool>,
    /// The server wants another login, or is no master any more.
    must_reconnect: RefCell<Option<NodeError>>,
    /// The sentinels that do not let it hear of failovers, and why.
    unheard: RefCell<BTreeMap<usize, NodeError>>,
    /// The one that it is connected to.
    server: RefCell<Option<Endpoint>>,
    /// For how long the server had been up when it was connected to, and when that was; or why that is not known.
    /// `None` if nobody asks.
    uptime: RefCell<Option<Result<(Duration, Instant), NodeError>>>,
    /// Something to do for the task that serves the link: questions, room in flight, close.
    work: Notify,
    /// The state has changed.
    changed: Notify,
}

impl Link {
    /// A link that connects when it is first used.
    pub fn new(
        route: Route,
        access: Access,
        on_redirect: Option<Rc<dyn OnRedirect>>,
        on_login: Option<OnLogin>,
    ) -> Rc<Self> {
        Rc::new(Self {
            route,
            access,
            on_redirect,
            on_login,
            state: RefCell::new(State::Unused),
            guard: RefCell::default(),
            queue: RefCell::default(),
            groups: RefCell::default(),
            introductions: RefCell::default(),
            unanswered: RefCell::default(),
            has_answered: Cell::default(),
            is_wanted: Cell::default(),
            must_reconnect: RefCell::default(),
            unheard: RefCell::default(),
            server: RefCell::default(),
            uptime: RefCell::default(),
            work: Notify::new(),
            changed: Notify::new(),
        })
    }

    /// Sends the question with this tick's pipeline, or answers it at once: if the server is down, or
    /// has been silent for longer than the question would wait. But a release follows what it is to
    /// release, though nobody waits for so long: the server will come to both.
    pub fn ask(self: &Rc<Self>, mut question: Question) {
        self.start();
        match self.is_unusable(question.request.timeout) {
            Some(Unusable::Silent) if question.verb == Verb::Release => {
                question.reply.send_early(Err(silent()));
            }
            Some(unusable) => return question.fail_unsent(&unusable.error()),
            None => {}
        }
        let mut queue = self.queue.borrow_mut();
        queue.push_back(question);
        if queue.len() == 1 {
            self.work.notify_one();
        }
    }

    /// The same for many extensions at once, which go ahead of all questions that wait.
    pub fn ask_group(self: &Rc<Self>, group: Group) {
        self.start();
        let first = group.requests().first();
        if let Some(error) = first.and_then(|request| self.is_unusable(request.timeout)) {
            let error = error.error();
            return group.into_questions().for_each(|question| question.fail_unsent(&error));
        }
        self.groups.borrow_mut().push(group);
        self.work.notify_one();
    }

    /// From now on tells of changes to the keys of held locks: see [`redsync_engine::Node::tell_of_changes`].
    pub fn tell_of_changes(&self, guard: Weak<dyn Guard>) {
        *self.guard.borrow_mut() = Some(guard);
        self.work.notify_one();
    }

    fn tell_guard(&self, key: Option<&str>) {
        let guard = self.guard.borrow().as_ref().and_then(Weak::upgrade);
        guard.iter().for_each(|guard| guard.changed(key));
    }

    fn is_unusable(&self, patience: Duration) -> Option<Unusable> {
        let silent_since = match &*self.state.borrow() {
            State::Down(error) => {
                self.want();
                return Some(Unusable::Down(error.clone()));
            }
            State::Closed => return Some(Unusable::Down(NodeError::closed())),
            State::Unused => None,
            State::Connecting(since) => Some(*since),
            State::Up => self.oldest(),
        };
        // A server that owes an answer for longer than this question would wait is not asked: its
        // answers would come in order. As soon as it has answered it is asked again.
        let is_silent = silent_since.is_some_and(|since| since.elapsed() >= patience);
        is_silent.then_some(Unusable::Silent)
    }

    /// Waits for a first connection, then PINGs.
    pub async fn health(self: Rc<Self>, limit: Duration) -> Health {
        self.start();
        let deadline = Instant::now() + limit;
        match timeout_at(deadline, self.decided()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Health::down(error),
            Err(_) => {
                let error = Some(NodeError::timed_out());
                let status = Status::Connecting;
                return Health { status, error, ..Health::down(NodeError::timed_out()) };
            }
        }
        let asked = Instant::now();
        let (answer, answered) = oneshot::channel();
        self.introductions.borrow_mut().push(answer);
        self.work.notify_one();
        match timeout_at(deadline, answered).await {
            Err(_) => Health::down(NodeError::timed_out()),
            Ok(Err(_)) => Health::down(NodeError::closed()),
            Ok(Ok(Err(error))) => Health::down(error),
            Ok(Ok(Ok(server))) => {
                let latency = Some(asked.elapsed());
                let (uptime, unknown) = match &*self.uptime.borrow() {
                    None => (None, None),
                    Some(Ok(known)) => (Some(uptime_now(*known)), None),
                    Some(Err(error)) => (None, Some(error.clone())),
                };
                let error = self.unheard.borrow().values().next().cloned().or(unknown);
                Health { status: Status::Up, latency, server, error, watches: None, uptime }
            }
        }
    }

    /// Resolves as soon as it is known whether the server can be reached.
    async fn decided(&self) -> Result<(), NodeError> {
        found(&self.changed, || match &*self.state.borrow() {
            State::Up => Some(Ok(())),
            State::Down(error) => Some(Err(error.clone())),
            State::Closed => Some(Err(NodeError::closed())),
            State::Unused | State::Connecting(_) => None,
        })
        .await
    }

    /// Ends the link.
    pub fn close(&self) {
        self.enter(State::Closed);
        self.queue.take();
        self.groups.take();
        self.introductions.take();
        self.work.notify_one();
    }

    fn enter(&self, state: State) {
        *self.state.borrow_mut() = state;
        self.changed.notify_waiters();
    }

    /// Somebody would ask it, if it were not down.
    pub fn want(&self) {
        self.is_wanted.set(true);
        self.work.notify_one();
    }

    /// Resolves when somebody wants the server; false after a long time without.
    async fn wanted(&self) -> bool {
        let wanted = async {
            while !self.is_wanted.take() && !self.is_closed() {
                self.work.notified().await;
            }
        };
        timeout(FORGETS_AFTER, wanted).await.is_ok()
    }

    /// Does it lead to a server of a cluster?
    pub fn is_of_cluster(&self) -> bool {
        self.on_redirect.is_some()
    }

    /// Is it known that the server cannot be reached?
    pub fn is_down(&self) -> bool {
        matches!(*self.state.borrow(), State::Down(_))
    }

    /// Has it ended?
    pub fn is_closed(&self) -> bool {
        matches!(*self.state.borrow(), State::Closed)
    }

    fn start(self: &Rc<Self>) {
        let is_unused = matches!(*self.state.borrow(), State::Unused);
        if is_unused {
            self.enter(State::Connecting(Instant::now()));
            spawn_local(self.clone().run());
            if let Route::Master(Sentinels { sentinels, master_name, access }) = &self.route {
                for (index, sentinel) in sentinels.iter().cloned().enumerate() {
                    let (name, access) = (master_name.clone(), access.clone());
                    spawn_local(follow(Rc::downgrade(self), index, sentinel, name, access));
                }
            }
        }
    }

    /// The server may not be the master any more: connect to the one who is, if that is another.
    fn resolve_again(&self, master: Option<&Endpoint>) {
        // Every sentinel tells of it, each in its own time.
        if master.is_some() && self.server.borrow().as_ref() == master {
            return;
        }
        let why = NodeError::new("READONLY", "the server is not the master any more");
        *self.must_reconnect.borrow_mut() = Some(why);
        self.work.notify_one();
    }

    /// A sentinel does not let it hear of failovers, or does again.
    fn note_unheard(&self, index: usize, why: Option<NodeError>) {
        let mut unheard = self.unheard.borrow_mut();
        match why {
            None => drop(unheard.remove(&index)),
            Some(why) => {
                let message = format!("sentinel {index} tells of no failover: {}", why.message);
                unheard.insert(index, NodeError::new(why.code, message));
            }
        }
    }

    /// Resolves when the link is closed.
    pub async fn closed(&self) {
        found(&self.changed, || self.is_closed().then_some(())).await;
    }

    /// Connects, serves, and connects again, until the link is closed; to a server of a cluster only if
    /// it is asked, for it may have left, and the login is not for who has its address now.
    async fn run(self: Rc<Self>) {
        let mut longest_pause = FIRST_PAUSE;
        let is_of_cluster = self.is_of_cluster();
        while !self.is_closed() {
            self.is_wanted.take();
            let error = match self.open().await {
                Err(error) => error,
                Ok((server, connection)) => {
                    let since = Instant::now();
                    self.server.replace(Some(server));
                    let Lost { error, was_at_rest } = self.serve(connection).await;
                    self.server.take();
                    let was_stable = was_at_rest || since.elapsed() >= STABLE_AFTER;
                    if was_stable {
                        longest_pause = FIRST_PAUSE;
                    }
                    if was_stable && error.code == NodeError::lost().code {
                        if is_of_cluster && self.has_nothing_to_ask() {
                            return self.enter_unless_closed(State::Unused);
                        }
                        self.enter_unless_closed(State::Connecting(Instant::now()));
                        continue;
                    }
                    error
                }
            };
            self.enter_unless_closed(State::Down(error.clone()));
            let groups = self.groups.take().into_iter().flat_map(Group::into_questions);
            let queue = self.queue.take().into_iter();
            groups.chain(queue).for_each(|question| question.fail_unsent(&error));
            for answer in self.introductions.take() {
                let _ = answer.send(Err(error.clone()));
            }
            if self.is_closed() {
                return;
            }
            sleep(random_below(longest_pause)).await;
            longest_pause = LAST_PAUSE.min(longest_pause * 2);
            if is_of_cluster && !self.wanted().await {
                return self.enter_unless_closed(State::Unused);
            }
        }
    }

    fn has_nothing_to_ask(&self) -> bool {
        self.queue.borrow().is_empty()
            && self.groups.borrow().is_empty()
            && self.introductions.borrow().is_empty()
    }

    fn enter_unless_closed(&self, state: State) {
        if !self.is_closed() {
            self.enter(state);
        }
    }

    /// One connection more to where the link leads.
    pub async fn connect(&self) -> Result<Connection, NodeError> {
        let (_, connection) = self.open().await?;
        Ok(connection)
    }

    /// Asks a server of a cluster which ones are the masters, by a connection of its own.
    pub async fn masters(&self) -> Result<BTreeSet<String>, NodeError> {
        let (server, mut connection) = self.open().await?;
        let mut commands = Pipeline::new();
        commands.cmd("CLUSTER").arg("SLOTS");
        let replies = connection.ask(&commands).await?;
        let Endpoint::Tcp { host, .. } = server else { return Err(NodeError::protocol()) };
        match replies.first() {
            Some(Value::ServerError(error)) => Err(refused("CLUSTER SLOTS", error)),
            Some(reply) => masters(reply, &host).ok_or_else(NodeError::protocol),
            None => Err(NodeError::protocol()),
        }
    }

    async fn open(&self) -> Result<(Endpoint, Connection), NodeError> {
        let server = self.route.resolve().await?;
        let role = if self.is_of_cluster() { Role::Member } else { self.route.role() };
        let connection = Connection::open(&server, &self.access, role).await?;
        Ok((server, connection))
    }

    /// Serves until the connection is lost or the link is closed, which is then the answer to all that
    /// has left. What has not left waits for the next connection.
    pub async fn serve(&self, mut connection: Connection) -> Lost {
        self.has_answered.set(false);
        let error = self.write_and_read(&mut connection).await;
        if connection.has_unwritten() {
            self.put_back();
        }
        let unanswered = self.unanswered.take();
        let was_at_rest = self.has_answered.get() && unanswered.is_empty();
        // Before anybody hears of it: a connection that owes replies is reset.
        drop(connection);
        unanswered.into_iter().for_each(|batch| batch.fail(&error));
        Lost { error, was_at_rest }
    }

    /// Puts what is not answered before all that waits.
    fn put_back(&self) {
        let (mut groups, mut questions) = (Vec::new(), VecDeque::new());
        for entry in self.unanswered.take().into_iter().flat_map(Batch::into_entries) {
            match entry {
                Entry::One(question) => questions.push_back(question),
                Entry::Run(run) => questions.extend(run),
                Entry::Group(group) => groups.push(group),
                Entry::Introduction(answer) => self.introductions.borrow_mut().push(answer),
                // The next connection begins anew with it.
                Entry::Tracking(_) => {}
            }
        }
        self.groups.borrow_mut().splice(..0, groups);
        let mut queue = self.queue.borrow_mut();
        questions.append(&mut queue);
        *queue = questions;
    }

    /// Writes one pipeline per tick. Gives the reason for which it has ended.
    async fn write_and_read(&self, connection: &mut Connection) -> NodeError {
        self.must_reconnect.take();
        // Before anything is written: the server may have forgotten what it is asked for.
        self.uptime.replace(connection.uptime.take());
        if let Some(on_login) = &self.on_login {
            on_login(connection.run_id.as_deref().unwrap_or_default());
        }
        self.enter_unless_closed(State::Up);
        let scripts = KnownScripts::beside(connection.deletion);
        // A cluster would have to be asked for the keys of one slot.
        let may_run = Cell::new(self.on_redirect.is_none());
        let tracking = Tracking::default();
        // TCP only notices a peer that does not acknowledge; a stopped process does.
        let mut dead = pin!(sleep(DEAD_AFTER));
        loop {
            self.write(connection, &scripts, may_run.get(), &tracking);
            tokio::select! {
                biased;
                moved = poll_fn(|cx| connection.poll_replies(cx, |reply| self.take(reply))) => {
                    if let Err(error) = moved {
                        return error;
                    }
                    self.deliver(&scripts, &may_run, &tracking);
                }
                () = self.work.notified() => {}
                () = &mut dead, if self.oldest().is_some() => {
                    let dies = self.oldest().unwrap_or_else(Instant::now) + DEAD_AFTER;
                    if dies <= Instant::now() {
                        return silent();
                    }
                    dead.as_mut().reset(dies);
                }
            }
            if self.is_closed() {
                return NodeError::closed();
            }
            if let Some(error) = self.must_reconnect.take() {
                return error;
            }
        }
    }

    /// When the oldest batch was sent that is not answered yet.
    fn oldest(&self) -> Option<Instant> {
        self.unanswered.borrow().front().map(|batch| batch.sent)
    }

    /// What the server may be asked; or for how long it abstains. One whose uptime is not known votes.
    fn in_quarantine(&self, Question { verb, request, .. }: &Question) -> Result<Verb, Duration> {
        match &*self.uptime.borrow() {
            Some(Ok(known)) => request.in_quarantine(*verb, uptime_now(*known)),
            None | Some(Err(_)) => Ok(*verb),
        }
    }

    /// Writes what there is still a use for.
    fn write(
        &self,
        connection: &mut Connection,
        scripts: &KnownScripts,
        may_run: bool,
        tracking: &Tracking,
    ) {
        let may_track = self.guard.borrow().is_some() && tracking.has_next();
        let mut queue = self.queue.borrow_mut();
        let mut introductions = self.introductions.borrow_mut();
        let mut groups = self.groups.borrow_mut();
        if !may_run {
            queue.extend(groups.drain(..).flat_map(Group::into_questions));
        }
        if queue.is_empty() && groups.is_empty() && introductions.is_empty() && !may_track {
            return;
        }
        let mut unanswered = self.unanswered.borrow_mut();
        let in_flight: usize = unanswered.iter().map(Batch::expected).sum();
        let step = if may_track { tracking.take_next() } else { None };
        if step == Some(Step::Hello) {
            connection.hear_pushes(b'>');
        }
        connection.send(|output| {
            let is_of_cluster = self.is_of_cluster();
            let mut writer = Writer::new(output, scripts, may_run, is_of_cluster);
            step.into_iter().for_each(|step| writer.track(step));
            introductions.drain(..).for_each(|answer| writer.introduce(answer));
            for group in groups.drain(..) {
                if group.can_run() {
                    writer.add_group(group);
                } else {
                    group.into_questions().for_each(|question| writer.add(question));
                }
            }
            while in_flight + writer.expected() < MAX_IN_FLIGHT
                && let Some(mut question) = queue.pop_front()
            {
                if !question.is_wanted() {
                    continue;
                }
                match self.in_quarantine(&question) {
                    Err(left) => question.fail(&NodeError::abstaining(left)),
                    Ok(verb) => {
                        question.verb = verb;
                        question.turn.iter_mut().for_each(Turn::has_left);
                        writer.add(question);
                    }
                }
            }
            let Some(batch) = writer.finish() else { return 0 };
            let expected = batch.expected();
            unanswered.push_back(batch);
            expected
        });
    }

    /// Notes a reply to the oldest batch that lacks one.
    fn take(&self, reply: Value) {
        if let Value::Push { kind, data } = reply {
            if kind == PushKind::Invalidate {
                match changed_keys(data) {
                    Some(keys) => keys.for_each(|key| self.tell_guard(Some(&key))),
                    None => self.tell_guard(None),
                }
            }
            return;
        }
        let mut unanswered = self.unanswered.borrow_mut();
        // Those that are complete are delivered when all that was read is noted.
        if let Some(batch) = unanswered.iter_mut().find(|batch| !batch.is_complete()) {
            batch.take(reply);
        }
    }

    /// Casts the votes of the batches that are complete. What the server did not run is asked again:
    /// with the full script, if its cache was flushed; with a script, if it refused to do without; alone, if it
    /// refused many at once; elsewhere, if it is one of a cluster.
    fn deliver(&self, scripts: &KnownScripts, may_run: &Cell<bool>, tracking: &Tracking) {
        loop {
            let mut unanswered = self.unanswered.borrow_mut();
            if !unanswered.front().is_some_and(Batch::is_complete) {
                return;
            }
            let Some(batch) = unanswered.pop_front() else { return };
            drop(unanswered);
            self.has_answered.set(true);
            let (entries, mut replies) = match batch.answered() {
                Ok(answered) => answered,
                Err(batch) => {
                    let error = NodeError::protocol();
                    batch.fail(&error);
                    *self.must_reconnect.borrow_mut() = Some(error);
                    return;
                }
            };
            let mut next = || replies.next().unwrap_or(Value::Nil);
            for entry in entries {
                match entry {
                    Entry::One(question) => {
                        if question.is_asking {
                            next();
                        }
                        self.settle(question, next(), scripts);
                    }
                    Entry::Run(questions) => {
                        self.settle_many(questions.into_iter(), next(), scripts, may_run);
                    }
                    Entry::Group(group) => {
                        self.settle_many(group.into_questions(), next(), scripts, may_run);
                    }
                    Entry::Tracking(step) => {
                        if tracking.answered(step, &next()) {
                            scripts.guard();
                            // Whatever has happened while nobody told.
                            self.tell_guard(None);
                        }
                    }
                    Entry::Introduction(answer) => {
                        // Whoever asked may have gone.
                        let _ = answer.send(introduced(&next(), &next()));
                    }
                }
            }
        }
    }

    fn settle(&self, mut question: Question, reply: Value, scripts: &KnownScripts) {
        if code(&reply) == "NOSCRIPT" {
            scripts.forget();
        }
        match (code(&reply), &self.on_redirect) {
            _ if question.is_deletion && reply == Value::Int(0) => {
                question.ask_whose();
                self.queue.borrow_mut().push_back(question);
            }
            // It does not know the command, does not allow it, or (DELEX) has another type of key there.
            ("ERR" | "NOPERM", _) if question.is_deletion => {
                scripts.forget_deletion();
                self.queue.borrow_mut().push_back(question);
            }
            // What comes behind it may have been run before it. That does no harm, unless it stores a key.
            ("NOSCRIPT", _) if !question.is_repeated && question.may_be_repeated() => {
                question.is_repeated = true;
                self.queue.borrow_mut().push_back(question);
            }
            ("MOVED" | "ASK", Some(on_redirect)) => {
                question.is_asking = false;
                match Redirect::read(&reply) {
                    Some(redirect) => on_redirect.redirect(question, redirect),
                    None => question.fail(&NodeError::protocol()),
                }
            }
            _ => {
                if let Some(detail) = detail(question.verb, &question.request, &reply) {
                    question.reply.bring(detail);
                }
                let vote = vote(question.verb, &question.request, reply);
                if let Err(error) = &vote
                    && matches!(&*error.code, "READONLY" | "NOAUTH")
                {
                    *self.must_reconnect.borrow_mut() = Some(error.clone());
                }
                question.answer(vote);
            }
        }
    }

    fn settle_many(
        &self,
        questions: impl Iterator<Item = Question>,
        reply: Value,
        scripts: &KnownScripts,
        may_run: &Cell<bool>,
    ) {
        let letters = match &reply {
            Value::BulkString(letters) => &letters[..],
            _ => &[],
        };
        let is_unknown = code(&reply) == "NOSCRIPT";
        if is_unknown {
            scripts.forget();
        }
        // A rule for a key or a command, or a proxy before a cluster.
        if matches!(code(&reply), "NOPERM" | "CROSSSLOT") {
            may_run.set(false);
        }
        let mut queue = self.queue.borrow_mut();
        for (index, mut question) in questions.enumerate() {
            match letters.get(index).and_then(|letter| vote_of(*letter)) {
                Some(answer) => question.answer(Ok(answer)),
                None if !question.may_be_repeated() => question.fail_unsent(&NodeError::closed()),
                None => {
                    question.is_alone = !is_unknown || question.is_repeated;
                    question.is_repeated |= is_unknown;
                    queue.push_back(question);
                }
            }
        }
    }
}

/// Listens to one sentinel for as long as there is a link, and tells it; also that it may not listen.
async fn follow(
    link: Weak<Link>,
    index: usize,
    sentinel: Endpoint,
    master_name: String,
    access: Access,
) {
    while let Some(link) = link.upgrade().filter(|link| !link.is_closed()) {
        let hears = || link.note_unheard(index, None);
        let heard = tokio::select! {
            biased;
            () = link.closed() => return,
            heard = next_master(&sentinel, &master_name, &access, hears) => heard,
        };
        match heard {
            Ok(master) => link.resolve_again(master.as_ref()),
            Err(error) => {
                // Of anything else the link itself tells, if nobody answers any more.
                if error.fate == Fate::Refused {
                    link.note_unheard(index, Some(error));
                }
                sleep(LISTENS_AGAIN).await;
            }
        }
    }
}

fn uptime_now((uptime, since): (Duration, Instant)) -> Duration {
    uptime + since.elapsed()
}

/// The code of an error, else nothing.
fn code(reply: &Value) -> &str {
    match reply {
        Value::ServerError(error) => failure::code(error),
        _ => "",
    }
}

/// What the replies to PING and INFO say.
fn introduced(pong: &Value, info: &Value) -> Result<Option<String>, NodeError> {
    if let Value::ServerError(error) = pong {
        return Err(refused("PING", error));
    }
    Ok(text(info).and_then(|info| server(&info)))
}

/// `redis 7.0.15` or `valkey 9.1.2`, from the reply to INFO.
fn server(info: &str) -> Option<String> {
    let field = |name: &str| {
        let is_version = |c: &char| c.is_ascii_alphanumeric() || ".-_".contains(*c);
        Some(info_field(info, name)?.chars().filter(is_version).take(32).collect::<String>())
    };
    match field("valkey_version") {
        Some(version) => Some(format!("valkey {version}")),
        None => Some(format!("redis {}", field("redis_version")?)),
    }
}

/// Looks now, and after each change, until there is what was looked for.
pub async fn found<T>(changed: &Notify, mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        let mut change = pin!(changed.notified());
        change.as_mut().enable();
        if let Some(found) = look() {
            return found;
        }
        change.await;
    }
}

/// Full jitter: clients that lost the same server do not come back together.
fn random_below(limit: Duration) -> Duration {
    match OsRandom::new() {
        Ok(mut rng) => rng.random_range(Duration::ZERO..limit),
        Err(_) => limit,
    }
}

#[cfg(test)]
mod tests {
    use super::super::conversation::on_a_paused_clock;
    use super::super::fuzz::link_to_nowhere;
    use super::*;

    #[test]
    fn a_server_that_is_down_is_tried_again_and_again_but_not_all_the_time() {
        on_a_paused_clock(async || {
            let link = link_to_nowhere();
            link.start();
            let mut tries = 0;
            let counted = found(&link.changed, || {
                tries += u32::from(link.is_down());
                None::<()>
            });
            let long = 100 * LAST_PAUSE;
            assert!(timeout(long, counted).await.is_err());
            // Half of the longest pause each, as it is random below that.
            assert!((150..300).contains(&tries), "{tries}");
            link.close();
        });
    }
}
