//! The link to one server: made in the background, made again when it is lost, and written to once per
//! tick.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use rand::RngExt;
use redis::{Pipeline, Value};
use redsync_engine::{Fate, Health, NodeError, Reply, Request, Status, Verb};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::address::Access;
use super::command::{KnownScripts, Redirect, command, fits, vote};
use super::connection::{Connection, Driver};
use super::news::listen;
use super::route::Route;
use super::sentinel::Sentinels;
use super::stream::DEAD_AFTER;
use crate::random::OsRandom;

/// The longest first pause before connecting again; the pause is random below it (full jitter), and
/// its limit doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// A link that lived shorter than this is not trusted to be back: connecting again starts with a
/// pause.
const STABLE_AFTER: Duration = Duration::from_secs(1);

/// Commands in one pipeline.
const MAX_BATCH: usize = 1024;

/// Commands on their way. More wait here, so that neither this process nor the server has to buffer
/// a burst of any size.
const MAX_IN_FLIGHT: usize = 8192;

/// A verb on its way to the server, and where its vote goes.
pub struct Question {
    pub verb: Verb,
    pub request: Rc<Request>,
    pub reply: Reply,
    /// The cluster has sent it here for this once.
    pub is_asking: bool,
    /// How often it was sent elsewhere.
    pub redirects: u8,
    /// The server did not know its script once.
    pub is_repeated: bool,
}

impl Question {
    pub fn new(verb: Verb, request: &Rc<Request>, reply: Reply) -> Self {
        Self {
            verb,
            request: request.clone(),
            reply,
            is_asking: false,
            redirects: 0,
            is_repeated: false,
        }
    }

    /// Is there still a use for it? For a release there always is: it keeps the server clean.
    pub fn is_wanted(&self) -> bool {
        self.verb == Verb::Release || self.reply.is_wanted()
    }

    pub fn fail(self, error: &NodeError) {
        self.reply.send(Err(error.clone()));
    }
}

/// Takes the questions that a server of a cluster has no answer to.
pub trait OnRedirect {
    fn redirect(&self, question: Question, redirect: Redirect);
}

enum State {
    /// Nothing has been asked yet.
    Unused,
    /// The connection is being made for the first time or has just been lost: questions wait.
    Connecting(Instant),
    Up(Connection),
    /// It could not be made: questions are answered with the reason, until a later try succeeds.
    Down(NodeError),
    Closed,
}

/// The link to one server.
pub struct Link {
    route: Route,
    access: Access,
    on_redirect: Option<Rc<dyn OnRedirect>>,
    state: RefCell<State>,
    queue: RefCell<VecDeque<Question>>,
    /// When the batches that are not answered yet were sent, and how many commands each has.
    unanswered: RefCell<VecDeque<(Instant, usize)>>,
    in_flight: Cell<usize>,
    /// The server wants another login, or is no master any more.
    must_reconnect: RefCell<Option<NodeError>>,
    /// Something to do for the task that serves the link: questions, room in flight, close.
    work: Notify,
    /// The state has changed.
    changed: Notify,
}

impl Link {
    /// A link that connects when it is first used.
    pub fn new(route: Route, access: Access, on_redirect: Option<Rc<dyn OnRedirect>>) -> Rc<Self> {
        Rc::new(Self {
            route,
            access,
            on_redirect,
            state: RefCell::new(State::Unused),
            queue: RefCell::default(),
            unanswered: RefCell::default(),
            in_flight: Cell::new(0),
            must_reconnect: RefCell::default(),
            work: Notify::new(),
            changed: Notify::new(),
        })
    }

    /// Sends the question with this tick's pipeline, or answers it at once: if the server is down, or
    /// has been silent for longer than the question would wait.
    pub fn ask(self: &Rc<Self>, question: Question) {
        self.start();
        if let Some(error) = self.is_unusable(&question.request) {
            return question.fail(&error.with(Fate::Unsent));
        }
        self.queue.borrow_mut().push_back(question);
        self.work.notify_one();
    }

    fn is_unusable(&self, request: &Request) -> Option<NodeError> {
        let silent_since = match &*self.state.borrow() {
            State::Down(error) => return Some(error.clone()),
            State::Closed => return Some(NodeError::closed()),
            State::Unused => None,
            State::Connecting(since) => Some(*since),
            State::Up(_) => self.unanswered.borrow().front().map(|(sent, _)| *sent),
        };
        // A server that owes an answer for longer than this question would wait is not asked: its
        // answers would come in order. As soon as it has answered it is asked again.
        let is_suspect = silent_since.is_some_and(|since| since.elapsed() >= request.timeout);
        is_suspect.then(|| NodeError::new("ETIMEDOUT", "the server does not answer"))
    }

    /// Waits for a first connection, then PINGs.
    pub async fn health(self: Rc<Self>, limit: Duration) -> Health {
        self.start();
        let deadline = Instant::now() + limit;
        let connection = match timeout_at(deadline, self.connection()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Health::down(error),
            Err(_) => {
                let error = Some(NodeError::timed_out());
                return Health { status: Status::Connecting, latency: None, server: None, error };
            }
        };
        let asked = Instant::now();
        match timeout_at(deadline, connection.introduce()).await {
            Err(_) => Health::down(NodeError::timed_out()),
            Ok(Err(error)) => Health::down(error),
            Ok(Ok(server)) => {
                Health { status: Status::Up, latency: Some(asked.elapsed()), server, error: None }
            }
        }
    }

    /// The connection, as soon as it is decided whether there is one.
    pub async fn connection(self: &Rc<Self>) -> Result<Connection, NodeError> {
        self.start();
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match &*self.state.borrow() {
                State::Up(connection) => return Ok(connection.clone()),
                State::Down(error) => return Err(error.clone()),
                State::Closed => return Err(NodeError::closed()),
                State::Unused | State::Connecting(_) => {}
            }
            changed.await;
        }
    }

    /// Ends the link.
    pub fn close(&self) {
        self.enter(State::Closed);
        self.queue.take();
        self.work.notify_one();
    }

    fn enter(&self, state: State) {
        *self.state.borrow_mut() = state;
        self.changed.notify_waiters();
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
                for sentinel in sentinels.iter().cloned() {
                    let link = Rc::downgrade(self);
                    spawn_local(listen(link, sentinel, master_name.clone(), access.clone()));
                }
            }
        }
    }

    /// The server may not be the master any more: connect to the one who is.
    pub fn resolve_again(&self) {
        let why = NodeError::new("READONLY", "the server is not the master any more");
        *self.must_reconnect.borrow_mut() = Some(why);
        self.work.notify_one();
    }

    /// Resolves when the link is closed.
    pub async fn closed(&self) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.is_closed() {
                return;
            }
            changed.await;
        }
    }

    /// Connects, serves, and connects again, until the link is closed.
    async fn run(self: Rc<Self>) {
        let mut longest_pause = FIRST_PAUSE;
        while !self.is_closed() {
            let error = match self.connect().await {
                Err(error) => error,
                Ok((connection, driver)) => {
                    let since = Instant::now();
                    let lost = self.serve(connection, driver).await;
                    let was_stable = since.elapsed() >= STABLE_AFTER;
                    if was_stable {
                        longest_pause = FIRST_PAUSE;
                    }
                    if was_stable && lost.code == NodeError::lost().code {
                        self.enter_unless_closed(State::Connecting(Instant::now()));
                        continue;
                    }
                    lost
                }
            };
            self.enter_unless_closed(State::Down(error.clone()));
            let unsent = error.with(Fate::Unsent);
            for question in self.queue.take() {
                question.fail(&unsent);
            }
            if self.is_closed() {
                return;
            }
            sleep(random_below(longest_pause)).await;
            longest_pause = LAST_PAUSE.min(longest_pause * 2);
        }
    }

    fn enter_unless_closed(&self, state: State) {
        if !self.is_closed() {
            self.enter(state);
        }
    }

    async fn connect(&self) -> Result<(Connection, Driver), NodeError> {
        let endpoint = self.route.resolve().await?;
        Connection::open(&endpoint, &self.access, self.route.leads_to_master()).await
    }

    /// Writes one pipeline per tick until the connection is lost, which dropping its driver makes it,
    /// or the link is closed. Gives the reason.
    async fn serve(self: &Rc<Self>, connection: Connection, mut driver: Driver) -> NodeError {
        self.unanswered.take();
        self.must_reconnect.take();
        self.enter_unless_closed(State::Up(connection.clone()));
        let scripts = Rc::new(KnownScripts::default());
        loop {
            let oldest = self.unanswered.borrow().front().map(|(sent, _)| *sent);
            tokio::select! {
                biased;
                () = &mut driver => return connection.lost(),
                () = self.work.notified() => {}
                // TCP only notices a peer that does not acknowledge; a stopped process does.
                () = sleep_until(oldest.unwrap_or_else(Instant::now) + DEAD_AFTER),
                    if oldest.is_some() => {}
            }
            if self.is_closed() {
                return NodeError::closed();
            }
            if let Some(error) = self.must_reconnect.take() {
                return error;
            }
            if oldest.is_some_and(|sent| self.is_dead(sent)) {
                return NodeError::new("ETIMEDOUT", "the server does not answer");
            }
            while self.in_flight.get() < MAX_IN_FLIGHT && !self.queue.borrow().is_empty() {
                let batch = self.next_batch();
                if !batch.is_empty() {
                    self.send(batch, connection.clone(), &scripts).await;
                }
            }
        }
    }

    /// Is the batch that was sent then still unanswered, after all that time?
    fn is_dead(&self, sent: Instant) -> bool {
        let oldest = self.unanswered.borrow().front().map(|(sent, _)| *sent);
        oldest == Some(sent) && sent.elapsed() >= DEAD_AFTER
    }

    /// The questions of this tick that there is still a use for.
    fn next_batch(&self) -> Vec<Question> {
        let mut queue = self.queue.borrow_mut();
        let size = queue.len().min(MAX_BATCH);
        queue.drain(..size).filter(Question::is_wanted).collect()
    }

    /// Hands the pipeline to redis-rs now, and reads the replies in a task of its own.
    async fn send(
        self: &Rc<Self>,
        batch: Vec<Question>,
        connection: Connection,
        scripts: &Rc<KnownScripts>,
    ) {
        let mut commands = Pipeline::with_capacity(batch.len());
        for question in &batch {
            if question.is_asking {
                commands.cmd("ASKING");
            }
            commands.add_command(command(question.verb, &question.request, scripts));
        }
        let count = commands.len();
        self.in_flight.set(self.in_flight.get() + count);
        self.unanswered.borrow_mut().push_back((Instant::now(), count));

        let mut replies = Box::pin(connection.send(commands));
        // The first poll puts the pipeline into the writer's queue: that is its place in the order.
        let first = poll_fn(|cx| Poll::Ready(replies.as_mut().poll(cx))).await;
        let (link, scripts) = (self.clone(), scripts.clone());
        spawn_local(async move {
            let replies = match first {
                Poll::Ready(replies) => replies,
                Poll::Pending => replies.await,
            };
            link.in_flight.set(link.in_flight.get() - count);
            link.unanswered.borrow_mut().pop_front();
            match replies {
                Ok(replies) => link.deliver(batch, replies, &scripts),
                Err(error) => batch.into_iter().for_each(|question| question.fail(&error)),
            }
            link.work.notify_one();
        });
    }

    /// Casts the votes. What the server did not run is asked again: with the full script, if its
    /// cache was flushed; elsewhere, if it is one of a cluster.
    fn deliver(&self, batch: Vec<Question>, replies: Vec<Value>, scripts: &KnownScripts) {
        if !fit(&batch, &replies) {
            // A reply too few or too many puts every other in the wrong place: none is believed.
            let error = NodeError::protocol();
            batch.into_iter().for_each(|question| question.fail(&error));
            *self.must_reconnect.borrow_mut() = Some(error);
            return;
        }
        let mut replies = replies.into_iter();
        for mut question in batch {
            if question.is_asking {
                replies.next();
            }
            let reply = replies.next().unwrap_or(Value::Nil);
            let code = match &reply {
                Value::ServerError(error) => error.code(),
                _ => "",
            };
            match (code, &self.on_redirect) {
                // What comes behind it may have been run before it. That does no harm: whatever could
                // store a key is sent with its full script, so that it never comes to this.
                ("NOSCRIPT", _) if !question.is_repeated => {
                    scripts.forget();
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
                    let vote = vote(question.verb, &question.request, reply);
                    if let Err(error) = &vote
                        && matches!(&*error.code, "READONLY" | "NOAUTH")
                    {
                        *self.must_reconnect.borrow_mut() = Some(error.clone());
                    }
                    question.reply.send(vote);
                }
            }
        }
    }
}

/// Can these be the replies to these questions?
fn fit(batch: &[Question], replies: &[Value]) -> bool {
    let mut replies = replies.iter();
    batch.iter().all(|question| {
        let reply = if question.is_asking { replies.nth(1) } else { replies.next() };
        reply.is_some_and(|reply| fits(question.verb, &question.request, reply))
    })
}

/// Full jitter: clients that lost the same server do not come back together.
fn random_below(limit: Duration) -> Duration {
    match OsRandom::new() {
        Ok(mut rng) => rng.random_range(Duration::ZERO..limit),
        Err(_) => limit,
    }
}
