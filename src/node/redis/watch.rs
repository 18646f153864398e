//! The second connection to a server, on which it tells of keys that change.
//! <https://redis.io/docs/latest/develop/reference/client-side-caching/>
//!
//! `PTTL key` makes the server remember that this connection has looked at the key, also at one that
//! is not there. It then says once that the key has changed, whoever has changed it and however. A script that reads
//! keys does the same: what is in a reader's way is not told by PTTL alone.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use redis::{Cmd, Pipeline, PushKind, Value, cmd};
use redsync_engine::{Keys, Kind, NodeError, Notice, Sight};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::side_keys::{SIGN, side_key};
use super::command::write_watch;
use super::connection::Connection;
use super::failure::code;
use super::known::KnownScripts;
use super::link::{FIRST_PAUSE, LAST_PAUSE, Link, STABLE_AFTER, found};
use super::stream::DEAD_AFTER;
use super::tracking::changed_keys;

/// After so long a server that refuses is asked again: a permission may have been given.
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// Looks that the server has not answered yet. More wait here.
const MAX_IN_FLIGHT: usize = 1024;

/// So many watched keys are kept before the first look for those that nobody waits for any more.
const MANY: usize = 1024;

/// What PTTL says of a key that is not there, and of one that never expires.
const ABSENT: i64 = -2;
const ENDLESS: i64 = -1;
/// Said for PTTL: another server has the key.
const ELSEWHERE: i64 = i64::MIN;

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Nothing has been watched yet, or the connection was lost: the next look makes one.
    Off,
    Connecting,
    Up,
    /// It could not be made, or was lost too soon: not another one before that time.
    DownUntil(Instant),
    /// The server does not know how, or does not allow it.
    RefusedUntil(Instant),
}

/// Why a connection has ended.
#[derive(Debug, PartialEq)]
pub enum End {
    Lost,
    Refused,
}

impl From<NodeError> for End {
    fn from(_: NodeError) -> Self {
        Self::Lost
    }
}

/// A look at the keys of one lock.
struct Look {
    /// Those of which a change is told.
    keys: Keys,
    kind: Kind,
    notice: Rc<Notice>,
    /// How many replies have come.
    answered: usize,
    /// The longest life so far, in milliseconds, as PTTL says it.
    life: i64,
}

impl Look {
    fn new(keys: &Keys, kind: Kind, is_of_cluster: bool, notice: Notice) -> Self {
        let keys = match kind {
            Kind::Mutex | Kind::Write { .. } => keys.clone(),
            Kind::Read => {
                let sign = side_key(&keys[0], SIGN, is_of_cluster).into();
                Rc::new([keys[0].clone(), sign])
            }
        };
        Self { keys, kind, notice: Rc::new(notice), answered: 0, life: ABSENT }
    }

    /// How many replies it gets.
    fn expected(&self) -> usize {
        match self.kind {
            Kind::Mutex | Kind::Write { .. } => self.keys.len(),
            Kind::Read => 1,
        }
    }

    fn write(&self, scripts: &KnownScripts, output: &mut Vec<u8>) {
        match self.kind {
            Kind::Mutex | Kind::Write { .. } => {
                self.keys.iter().for_each(|key| pttl(key).write_packed_command(output));
            }
            Kind::Read => write_watch(&self.keys[0], &self.keys[1], scripts, output),
        }
    }
}

/// The watch over the keys on one server.
pub struct Watch {
    link: Rc<Link>,
    state: Cell<State>,
    wanted: RefCell<VecDeque<Look>>,
    longest_pause: Cell<Duration>,
    /// Something to do for the task that serves the connection.
    work: Notify,
    /// The state has changed.
    changed: Notify,
}

impl Watch {
    /// A watch that connects when it is first used, to where the link leads.
    pub fn new(link: Rc<Link>) -> Rc<Self> {
        Rc::new(Self {
            link,
            state: Cell::new(State::Off),
            wanted: RefCell::default(),
            longest_pause: Cell::new(FIRST_PAUSE),
            work: Notify::new(),
            changed: Notify::new(),
        })
    }

    /// The link that it belongs to.
    pub fn link(&self) -> &Rc<Link> {
        &self.link
    }

    /// Looks at the keys and watches them: see [`redsync_engine::Node::watch`].
    pub fn look(self: &Rc<Self>, keys: &Keys, kind: Kind, notice: Notice) {
        if self.start() {
            let look = Look::new(keys, kind, self.link.is_of_cluster(), notice);
            self.wanted.borrow_mut().push_back(look);
            self.work.notify_one();
        }
    }

    /// Does the server tell? `None` if that cannot be found out now.
    pub async fn works(self: Rc<Self>, limit: Duration) -> Option<bool> {
        self.start();
        let decided = found(&self.changed, || match self.state.get() {
            State::Up => Some(Some(true)),
            State::RefusedUntil(_) => Some(Some(false)),
            State::Connecting => None,
            State::Off | State::DownUntil(_) => Some(None),
        });
        timeout(limit, decided).await.ok().flatten()
    }

    /// Makes a connection if there is none; false if there is no use in trying.
    fn start(self: &Rc<Self>) -> bool {
        let begin = match self.state.get() {
            State::Up | State::Connecting => return true,
            State::RefusedUntil(time) if Instant::now() < time => return false,
            _ if self.link.is_closed() => return false,
            State::DownUntil(time) => time,
            State::RefusedUntil(_) | State::Off => Instant::now(),
        };
        self.enter(State::Connecting);
        spawn_local(self.clone().run(begin));
        true
    }

    fn enter(&self, state: State) {
        self.state.set(state);
        self.changed.notify_waiters();
    }

    /// The life of one connection, which begins not before that time.
    async fn run(self: Rc<Self>, begin: Instant) {
        let began = begin.max(Instant::now());
        let mut watched = Watched::default();
        let end = {
            let mut served = pin!(async {
                sleep_until(begin).await;
                let connection = self.link.connect().await?;
                self.serve(connection, &mut watched).await
            });
            tokio::select! {
                biased;
                () = self.link.closed() => End::Lost,
                Err(end) = &mut served => end,
            }
        };
        let now = Instant::now();
        self.enter(match end {
            End::Refused => State::RefusedUntil(now + REFUSED_FOR),
            End::Lost if now - began >= STABLE_AFTER => {
                self.longest_pause.set(FIRST_PAUSE);
                State::Off
            }
            End::Lost => {
                let longest = self.longest_pause.get();
                self.longest_pause.set(LAST_PAUSE.min(longest * 2));
                State::DownUntil(now + longest)
            }
        });
        // Dropping the notices wakes whoever waits for them.
        drop((watched, self.wanted.take()));
    }

    /// Gives the reason why it has ended.
    pub async fn serve(
        &self,
        mut connection: Connection,
        watched: &mut Watched,
    ) -> Result<(), End> {
        greet(&mut connection).await?;
        self.enter(State::Up);
        let scripts = KnownScripts::default();
        let mut asked: VecDeque<Look> = VecDeque::new();
        let mut replies = Vec::new();
        let mut sent = Instant::now();
        loop {
            if asked.is_empty() {
                sent = Instant::now();
            }
            while asked.len() < MAX_IN_FLIGHT
                && let Some(look) = self.wanted.borrow_mut().pop_front()
            {
                if look.notice.is_wanted() {
                    connection.send(|output| {
                        look.write(&scripts, output);
                        look.expected()
                    });
                    asked.push_back(look);
                }
            }
            tokio::select! {
                biased;
                moved = poll_fn(|cx| connection.poll_replies(cx, |reply| replies.push(reply))) => {
                    moved?;
                    sent = Instant::now();
                }
                () = self.work.notified() => {}
                // A server that hangs says nothing, not even that it will say nothing.
                () = sleep_until(sent + DEAD_AFTER), if !asked.is_empty() => return Err(End::Lost),
            }
            for reply in replies.drain(..) {
                match reply {
                    Value::Push { kind: PushKind::Invalidate, data } => watched.changed(data),
                    Value::Push { .. } => {}
                    reply => answer(&mut asked, &reply, watched)?,
                }
            }
        }
    }
}

/// Asks the server for RESP3, in which it may speak unasked, and to tell of what was looked at.
async fn greet(connection: &mut Connection) -> Result<(), End> {
    let mut commands = Pipeline::new();
    commands.cmd("HELLO").arg(3).cmd("CLIENT").arg("TRACKING").arg("ON");
    connection.hear_pushes(b'>');
    let greeting = connection.ask(&commands);
    let replies = timeout(DEAD_AFTER, greeting).await.map_err(|_| End::Lost)??;
    match replies.iter().any(|reply| matches!(reply, Value::ServerError(_))) {
        true => Err(End::Refused),
        false => Ok(()),
    }
}

fn pttl(key: &str) -> Cmd {
    let mut command = cmd("PTTL");
    command.arg(key);
    command
}

/// Takes a reply for the oldest look.
fn answer(asked: &mut VecDeque<Look>, reply: &Value, watched: &mut Watched) -> Result<(), End> {
    let look = asked.front_mut().ok_or(End::Lost)?;
    look.life = match reply {
        _ if look.life == ELSEWHERE => ELSEWHERE,
        Value::Int(life) if *life == ENDLESS || look.life == ENDLESS => ENDLESS,
        Value::Int(life) => look.life.max(*life),
        Value::ServerError(error) if code(error) == "NOPERM" => return Err(End::Refused),
        // The next connection sends the script.
        Value::ServerError(error) if code(error) == "NOSCRIPT" => return Err(End::Lost),
        // Another server has the slot. The next attempt will know.
        Value::ServerError(_) => ELSEWHERE,
        _ => return Err(End::Lost),
    };
    look.answered += 1;
    if look.answered == look.expected()
        && let Some(look) = asked.pop_front()
        && look.life != ELSEWHERE
    {
        watched.add(&look);
        look.notice.seen(match look.life {
            ABSENT => Sight::Free,
            ENDLESS => Sight::Taken { life: None },
            life => Sight::Taken { life: Some(Duration::from_millis(life.unsigned_abs())) },
        });
    }
    Ok(())
}

/// Who waits for which key. Looked up only, so that no order matters.
#[derive(Default)]
pub struct Watched {
    notices: HashMap<Box<str>, Vec<Rc<Notice>>>,
    /// How many keys there may be before the next look for those that nobody waits for.
    limit: usize,
}

impl Watched {
    fn add(&mut self, look: &Look) {
        if self.notices.len() > self.limit.max(MANY) {
            self.notices.retain(|_, notices| notices.iter().any(|notice| notice.is_wanted()));
            self.limit = self.notices.len() * 2;
        }
        for key in look.keys.iter() {
            let notices = self.notices.entry(key.clone()).or_default();
            notices.retain(|notice| notice.is_wanted());
            notices.push(look.notice.clone());
        }
    }

    /// Tells those who wait for these keys; nil stands for all keys.
    fn changed(&mut self, data: Vec<Value>) {
        match changed_keys(data) {
            Some(keys) => {
                keys.for_each(|key| tell(self.notices.remove(&*key).into_iter().flatten()));
            }
            None => tell(mem::take(&mut self.notices).into_values().flatten()),
        }
    }
}

fn tell(notices: impl Iterator<Item = Rc<Notice>>) {
    notices.for_each(|notice| notice.changed());
}
