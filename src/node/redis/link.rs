//! The connection to one server: made in the background, made again when it is lost, and written to
//! once per tick.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use rand::RngExt;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, ProtocolVersion, RedisConnectionInfo};
use redsync_engine::{Health, NodeError, Reply, Request, Status, Verb};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::address::Address;
use super::command::{KnownScripts, command, is_no_script, vote};
use super::greeting::{introduce, link_error, log_in};
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

/// Slots between a link and redis-rs' writer, each of one pipeline. Never full, so that sending
/// never waits and the order in which batches are made is the order in which they are written.
const PIPELINE_SLOTS: usize = MAX_IN_FLIGHT;

/// A verb on its way to the server, and where its vote goes.
pub struct Question {
    pub verb: Verb,
    pub request: Rc<Request>,
    pub reply: Reply,
}

enum State {
    /// Nothing has been asked yet.
    Unused,
    /// The connection is being made for the first time or has just been lost: questions wait.
    Connecting,
    Up(MultiplexedConnection),
    /// It could not be made: questions are answered with the reason, until a later try succeeds.
    Down(NodeError),
    Closed,
}

/// The link to one server.
pub struct Link {
    address: Address,
    state: RefCell<State>,
    queue: RefCell<VecDeque<Question>>,
    in_flight: Cell<usize>,
    /// Something to do for the task that serves the link: questions, room in flight, close.
    work: Notify,
    /// The state has changed.
    changed: Notify,
}

impl Link {
    /// A link that connects when it is first used.
    pub fn new(address: Address) -> Rc<Self> {
        Rc::new(Self {
            address,
            state: RefCell::new(State::Unused),
            queue: RefCell::default(),
            in_flight: Cell::new(0),
            work: Notify::new(),
            changed: Notify::new(),
        })
    }

    /// Sends the question with this tick's pipeline, or answers it at once if the server is down.
    pub fn ask(self: &Rc<Self>, question: Question) {
        self.start();
        match &*self.state.borrow() {
            State::Down(error) => return question.reply.send(Err(error.clone())),
            State::Closed => return question.reply.send(Err(NodeError::closed())),
            State::Unused | State::Connecting | State::Up(_) => {}
        }
        self.queue.borrow_mut().push_back(question);
        self.work.notify_one();
    }

    /// Waits for a first connection, then PINGs.
    pub async fn health(self: Rc<Self>, limit: Duration) -> Health {
        self.start();
        let deadline = Instant::now() + limit;
        let connection = match timeout_at(deadline, self.connection()).await {
            Err(_) => {
                return Health {
                    status: Status::Connecting,
                    latency: None,
                    server: None,
                    error: Some(NodeError::timed_out()),
                };
            }
            Ok(Err(error)) => return Health::down(error),
            Ok(Ok(connection)) => connection,
        };
        let mut connection = connection;
        let asked = Instant::now();
        match timeout_at(deadline, introduce(&mut connection)).await {
            Err(_) => Health::down(NodeError::timed_out()),
            Ok(Err(error)) => Health::down(error),
            Ok(Ok(server)) => {
                Health { status: Status::Up, latency: Some(asked.elapsed()), server, error: None }
            }
        }
    }

    /// Ends the link.
    pub fn close(&self) {
        self.enter(State::Closed);
        self.queue.take();
        self.work.notify_one();
    }

    /// The connection, as soon as it is decided whether there is one.
    async fn connection(&self) -> Result<MultiplexedConnection, NodeError> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match &*self.state.borrow() {
                State::Up(connection) => return Ok(connection.clone()),
                State::Down(error) => return Err(error.clone()),
                State::Closed => return Err(NodeError::closed()),
                State::Unused | State::Connecting => {}
            }
            changed.await;
        }
    }

    fn enter(&self, state: State) {
        *self.state.borrow_mut() = state;
        self.changed.notify_waiters();
    }

    fn is_closed(&self) -> bool {
        matches!(*self.state.borrow(), State::Closed)
    }

    fn start(self: &Rc<Self>) {
        let is_unused = matches!(*self.state.borrow(), State::Unused);
        if is_unused {
            self.enter(State::Connecting);
            spawn_local(self.clone().run());
        }
    }

    /// Connects, serves, and connects again, until the link is closed.
    async fn run(self: Rc<Self>) {
        let mut longest_pause = FIRST_PAUSE;
        while !self.is_closed() {
            let error = match timeout(self.address.connect_timeout, self.connect()).await {
                Err(_) => NodeError::new("ETIMEDOUT", "the connection could not be made in time"),
                Ok(Err(error)) => error,
                Ok(Ok((connection, driver))) => {
                    let since = Instant::now();
                    self.serve(connection, driver).await;
                    if since.elapsed() >= STABLE_AFTER {
                        longest_pause = FIRST_PAUSE;
                        continue;
                    }
                    NodeError::new("ECONNRESET", "the connection was lost")
                }
            };
            if self.is_closed() {
                return;
            }
            self.enter(State::Down(error.clone()));
            for question in self.queue.take() {
                question.reply.send(Err(error.clone()));
            }
            sleep(random_below(longest_pause)).await;
            longest_pause = LAST_PAUSE.min(longest_pause * 2);
        }
    }

    /// A socket, redis-rs on top of it, and a login.
    async fn connect(&self) -> Result<(MultiplexedConnection, Driver), NodeError> {
        let stream = self.address.connect().await?;
        // All that redis-rs would do on its own is switched off: no login, no library name, and no
        // timeout, for the round times out and a late reply must still find its place.
        let info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None)
            .set_pipeline_buffer_size(PIPELINE_SLOTS);
        let (mut connection, driver) =
            MultiplexedConnection::new_with_config(&info, stream, config)
                .await
                .map_err(|error| link_error(&error))?;
        let mut driver: Driver = Box::pin(driver);
        tokio::select! {
            biased;
            logged_in = log_in(&mut connection, &self.address) => logged_in?,
            () = &mut driver => return Err(NodeError::new("ECONNRESET", "the connection was lost")),
        }
        Ok((connection, driver))
    }

    /// Writes one pipeline per tick until the connection dies or the link is closed.
    async fn serve(self: &Rc<Self>, connection: MultiplexedConnection, mut driver: Driver) {
        self.enter(State::Up(connection.clone()));
        let scripts = Rc::new(KnownScripts::default());
        loop {
            tokio::select! {
                biased;
                () = &mut driver => break,
                () = self.work.notified() => {}
            }
            if self.is_closed() {
                return;
            }
            while self.in_flight.get() < MAX_IN_FLIGHT && !self.queue.borrow().is_empty() {
                let batch = self.next_batch();
                self.send(batch, connection.clone(), scripts.clone()).await;
            }
        }
        if !self.is_closed() {
            self.enter(State::Connecting);
        }
    }

    /// The questions of this tick that somebody still waits for. A release leaves in any case: it
    /// is what keeps the server clean.
    fn next_batch(&self) -> Vec<Question> {
        let mut queue = self.queue.borrow_mut();
        let size = queue.len().min(MAX_BATCH);
        let wanted =
            |question: &Question| question.verb == Verb::Release || question.reply.is_awaited();
        queue.drain(..size).filter(wanted).collect()
    }

    /// Hands the pipeline to redis-rs now, and reads the replies in a task of its own.
    async fn send(
        self: &Rc<Self>,
        batch: Vec<Question>,
        mut connection: MultiplexedConnection,
        scripts: Rc<KnownScripts>,
    ) {
        if batch.is_empty() {
            return;
        }
        let mut commands = Pipeline::with_capacity(batch.len());
        for question in &batch {
            commands.add_command(command(question.verb, &question.request, &scripts));
        }
        self.in_flight.set(self.in_flight.get() + batch.len());
        let count = batch.len();
        let mut replies =
            Box::pin(async move { connection.send_packed_commands(&commands, 0, count).await });
        // The first poll puts the pipeline into the writer's queue: that is its place in the order.
        let mut replied = poll_fn(|cx| Poll::Ready(Some(replies.as_mut().poll(cx)))).await;
        let link = self.clone();
        spawn_local(async move {
            let replies = match replied.take() {
                Some(Poll::Ready(replies)) => replies,
                _ => replies.await,
            };
            link.in_flight.set(link.in_flight.get() - count);
            match replies {
                Ok(replies) => link.deliver(batch, replies, &scripts),
                Err(error) => {
                    let error = link_error(&error);
                    for question in batch {
                        question.reply.send(Err(error.clone()));
                    }
                }
            }
            link.work.notify_one();
        });
    }

    /// Casts the votes. What the server did not run, because its script cache was flushed, is asked
    /// again with the full script.
    fn deliver(&self, batch: Vec<Question>, replies: Vec<redis::Value>, scripts: &KnownScripts) {
        for (question, reply) in batch.into_iter().zip(replies) {
            if is_no_script(&reply) {
                scripts.forget();
                self.queue.borrow_mut().push_back(question);
            } else {
                question.reply.send(vote(question.verb, reply));
            }
        }
    }
}

type Driver = Pin<Box<dyn Future<Output = ()>>>;

/// Full jitter: clients that lost the same server do not come back together.
fn random_below(limit: Duration) -> Duration {
    match OsRandom::new() {
        Ok(mut rng) => rng.random_range(Duration::ZERO..limit),
        Err(_) => limit,
    }
}
