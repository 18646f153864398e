//! A connection to a server: commands out, replies in, and the login.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use redis::{Pipeline, Value};
use redsync_engine::NodeError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::address::{Access, Endpoint};
use super::deletion::Deletion;
use super::failure::{CLUSTER, REPLICA, SENTINEL, io_error, refused};
use super::replies::{Replies, Violation, unasked};
use super::stream::{self, Stream};
use super::tls::refusal;

/// A socket with what is on its way in both directions. It moves bytes only while it is polled.
pub struct Connection {
    stream: Stream,
    output: Vec<u8>,
    /// How much of `output` has left.
    written: usize,
    /// Commands in `output` of which nothing has left yet.
    unwritten: usize,
    replies: Replies,
    /// What the server has said unasked, before a command was written.
    early: VecDeque<Value>,
    /// For how long the server had been up when it was logged in to, and when that was; or why that is not known.
    pub uptime: Option<Result<(Duration, Instant), NodeError>>,
    /// What the server calls itself from its start to its end, under whichever name it was found.
    pub run_id: Option<String>,
    /// How the server releases a lock without a script, if it can.
    pub deletion: Option<Deletion>,
}

impl Connection {
    /// Connects and logs in, and makes sure that the server is what it has to be. All in the time that there is for
    /// it.
    pub async fn open(endpoint: &Endpoint, access: &Access, role: Role) -> Result<Self, NodeError> {
        let deadline = Instant::now() + access.connect_timeout;
        let stream = stream::open(endpoint, access.tls.as_ref(), deadline).await?;
        let mut connection = Self::over(stream);
        let logged_in = connection.log_in(access, role);
        timeout_at(deadline, logged_in).await.unwrap_or_else(|_| Err(stream::late()))?;
        Ok(connection)
    }

    /// A connection over this socket, without a login.
    pub fn over(stream: Stream) -> Self {
        Self {
            stream,
            output: Vec::new(),
            written: 0,
            unwritten: 0,
            replies: Replies::default(),
            early: VecDeque::new(),
            uptime: None,
            run_id: None,
            deletion: None,
        }
    }

    /// From here on the server may speak unasked, in messages that begin with this.
    pub fn hear_pushes(&mut self, first: u8) {
        self.replies.hear_pushes(first);
    }

    /// Appends commands to what is to be sent; `write` tells how many it has written.
    pub fn send(&mut self, write: impl FnOnce(&mut Vec<u8>) -> usize) {
        self.unwritten += write(&mut self.output);
    }

    /// Has nothing left of what was sent last? Then all before that was answered.
    pub fn has_unwritten(&self) -> bool {
        self.unwritten > 0
    }

    /// Moves bytes until there are replies, and gives them away.
    pub fn poll_replies(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Value),
    ) -> Poll<Result<(), NodeError>> {
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Err(error));
        }
        let mut has_taken = !self.early.is_empty();
        self.early.drain(..).for_each(&mut take);
        while !has_taken {
            let read = ready!(self.poll_read(cx))?;
            self.replies.filled(read);
            while let Some(reply) = self.replies.next_reply().map_err(violated)? {
                take(reply);
                has_taken = true;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NodeError>> {
        if self.unwritten > 0 {
            ready!(self.poll_silence(cx))?;
            self.replies.owe(self.unwritten);
            self.unwritten = 0;
        }
        if self.output.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.written < self.output.len() {
            let left = &self.output[self.written..];
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, left));
            self.written += written.map_err(|error| failed(&error))?;
        }
        // TLS keeps some of it where the network takes no more: until that has left, there is something to write.
        ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(|error| failed(&error))?;
        self.output.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Before a command is written to a silent link, whatever is there to be read is a reply to
    /// nothing. Read later, it would pass for the reply to this command. Only a server that may speak unasked may
    /// have done so.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NodeError>> {
        if !self.replies.is_silent() {
            return Poll::Ready(Ok(()));
        }
        loop {
            match self.poll_read(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(read)) if self.replies.hears_pushes() => {
                    self.replies.filled(read);
                    while let Some(push) = self.replies.next_reply().map_err(violated)? {
                        self.early.push_back(push);
                    }
                }
                Poll::Ready(Ok(read)) => {
                    return Poll::Ready(Err(violated(unasked(&self.replies.room()[..read]))));
                }
                Poll::Pending if self.stream.has_unread() => {
                    // The runtime will have heard of it the next time, or soon after.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Reads to where the replies have room. At least one byte: the end is an error.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, NodeError>> {
        let mut buffer = ReadBuf::new(self.replies.room());
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
        Poll::Ready(match (read, buffer.filled().len()) {
            (Err(error), _) => Err(failed(&error)),
            (Ok(()), 0) => Err(NodeError::lost()),
            (Ok(()), read) => Ok(read),
        })
    }

    /// Sends commands, and gives their replies, which include the server's errors.
    pub async fn ask(&mut self, commands: &Pipeline) -> Result<Vec<Value>, NodeError> {
        let mut replies = Vec::with_capacity(commands.len());
        self.send(|output| {
            output.extend(commands.get_packed_pipeline());
            commands.len()
        });
        while replies.len() < commands.len() {
            poll_fn(|cx| self.poll_replies(cx, |reply| replies.push(reply))).await?;
        }
        Ok(replies)
    }

    /// Logs in, selects the database and names the connection, in one round trip.
    ///
    /// It is not left to redis-rs, whose errors lose the server's code: WRONGPASS, NOAUTH and NOPERM
    /// are what a person needs to see.
    pub async fn log_in(&mut self, access: &Access, role: Role) -> Result<(), NodeError> {
        let mut commands = Pipeline::new();
        let mut steps = Vec::new();
        if let Some(password) = &access.password {
            commands.cmd("AUTH").arg(access.username.as_deref()).arg(password);
            steps.push("AUTH");
        }
        if access.db != 0 {
            commands.cmd("SELECT").arg(access.db);
            steps.push("SELECT");
        }
        commands.cmd("CLIENT").arg("SETNAME").arg(&access.client_name);
        steps.push("CLIENT SETNAME");
        for (attribute, value) in
            [("LIB-NAME", env!("CARGO_PKG_NAME")), ("LIB-VER", env!("CARGO_PKG_VERSION"))]
        {
            commands.cmd("CLIENT").arg("SETINFO").arg(attribute).arg(value);
            steps.push("CLIENT SETINFO");
        }
        if matches!(role, Role::Alone | Role::Master) {
            commands.cmd("ROLE");
            steps.push("ROLE");
        }
        if role != Role::Sentinel {
            commands.cmd("INFO").arg("server");
            steps.push("INFO");
        }

        let asked = self.ask(&commands).await;
        // That is how a server with TLS meets a client without it.
        let replies = asked.map_err(|error| match access.tls {
            None if error.code == "ECONNRESET" => NodeError::new(
                error.code,
                "the connection was lost before the login: the server may speak TLS only",
            ),
            _ => error,
        })?;
        let mut says_cluster = false;
        for (step, reply) in steps.into_iter().zip(replies) {
            match reply {
                reply if step == "INFO" => {
                    self.uptime = access.asks_uptime.then(|| uptime(&reply));
                    self.run_id = run_id(&reply);
                    self.deletion = deletion(&reply);
                    says_cluster = is_of_cluster(&reply);
                }
                // A name is a courtesy: old servers know no SETINFO, and an ACL may refuse these.
                Value::ServerError(error)
                    if matches!(step, "AUTH" | "SELECT") || error.code() == "NOAUTH" =>
                {
                    return Err(refused(step, &error));
                }
                Value::Array(answer) if step == "ROLE" => role.check(&answer)?,
                _ => {}
            }
        }
        if role == Role::Alone && says_cluster && self.is_member().await? {
            return Err(NodeError::new("ECLUSTER", CLUSTER));
        }
        Ok(())
    }

    /// Is it one of a cluster itself? A proxy before a cluster passes on what one of them says of itself, and not what
    /// only they know; and it looks for the right one.
    async fn is_member(&mut self) -> Result<bool, NodeError> {
        let mut commands = Pipeline::new();
        commands.cmd("CLUSTER").arg("MYID");
        let replies = self.ask(&commands).await?;
        Ok(matches!(replies.first(), Some(Value::BulkString(_))))
    }
}

/// What a server has to be.
#[derive(Clone, Copy, PartialEq)]
pub enum Role {
    /// A master, and of no cluster.
    Alone,
    /// The master that sentinels name.
    Master,
    /// One of a cluster, whichever.
    Member,
    Sentinel,
}

impl Role {
    /// Is it what the server says that it is?
    fn check(self, answer: &[Value]) -> Result<(), NodeError> {
        let word: &[u8] = match answer {
            [Value::BulkString(word), ..] => word,
            _ => b"",
        };
        Err(match (self, word) {
            (_, b"master") => return Ok(()),
            (Self::Master, _) => {
                NodeError::new("READONLY", "the server is not the master any more")
            }
            (_, b"slave") => NodeError::new("READONLY", REPLICA),
            (_, b"sentinel") => NodeError::new("ESENTINEL", SENTINEL),
            _ => return Ok(()),
        })
    }
}

/// Closing a link that owes replies is a reset: a command that has not reached the server never will,
/// and one that has cannot be followed by another of this link.
impl Drop for Connection {
    fn drop(&mut self) {
        if !self.replies.is_silent() || self.has_unwritten() {
            self.stream.reset_on_close();
        }
    }
}

/// Why the socket has failed: what TLS did not like tells more than that it is closed.
fn failed(error: &io::Error) -> NodeError {
    refusal(error).unwrap_or_else(|| io_error(error))
}

/// For how long the server says to be up, and when it has said so.
fn uptime(info: &Value) -> Result<(Duration, Instant), NodeError> {
    let unknown = |error: NodeError| {
        let message =
            format!("votes without quarantine, for its uptime is not known: {}", error.message);
        NodeError::new(error.code, message)
    };
    let info = match info {
        Value::BulkString(info) => String::from_utf8_lossy(info),
        Value::ServerError(error) => return Err(unknown(refused("INFO", error))),
        _ => return Err(unknown(NodeError::protocol())),
    };
    let seconds = info_field(&info, "uptime_in_seconds");
    let seconds = seconds.and_then(|seconds| seconds.parse::<i64>().ok());
    let seconds = seconds.ok_or_else(|| unknown(NodeError::protocol()))?;
    // A server whose clock was set back since its start says less than nothing.
    Ok((Duration::from_secs(seconds.try_into().unwrap_or_default()), Instant::now()))
}

/// A text, in RESP2 or RESP3.
pub fn text(reply: &Value) -> Option<Cow<'_, str>> {
    match reply {
        Value::BulkString(text) => Some(String::from_utf8_lossy(text)),
        Value::VerbatimString { text, .. } => Some(text.into()),
        _ => None,
    }
}

/// What the reply to INFO says under a name.
pub fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim())
}

fn violated(violation: Violation) -> NodeError {
    NodeError::new(violation.code, violation.message)
}

/// What a server answers that has been asked for it, as far as it is well-formed.
fn run_id(info: &Value) -> Option<String> {
    let Value::BulkString(info) = info else { return None };
    let info = String::from_utf8_lossy(info);
    let run_id = info_field(&info, "run_id")?;
    let is_well_formed = run_id.len() == 40 && run_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_well_formed.then(|| run_id.to_owned())
}

/// How the server releases a lock without a script, by the version that it tells.
fn deletion(info: &Value) -> Option<Deletion> {
    let info = text(info)?;
    Deletion::of(info_field(&info, "valkey_version"), info_field(&info, "redis_version"))
}

/// Does the server say that it is one of a cluster? Valkey has another name for its mode.
fn is_of_cluster(info: &Value) -> bool {
    let Value::BulkString(info) = info else { return false };
    let info = String::from_utf8_lossy(info);
    ["redis_mode", "server_mode"].iter().any(|mode| info_field(&info, mode) == Some("cluster"))
}
