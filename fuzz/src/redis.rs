//! Whatever a server says, every call is answered, nothing panics, memory stays bounded, and no error
//! repeats its words.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use redis::{Value, parse_redis_value};
use redsync_engine::{Answer, CancellationToken, Error, Keys, Mutex, NodeError, Options, Redsync};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, DuplexStream, ReadBuf, duplex,
};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, spawn_local, yield_now};

use super::RedisNode;
use super::address::{Access, Endpoint};
use super::command::Redirect;
use super::connection::Connection;
use super::deletion::Deletion;
use super::failure::{HINTS, REASONS, refused};
use super::link::Link;
use super::replies::{MAX_REPLY, Replies, Violation};
use super::route::Route;
use super::stream::Connected;
use super::watch::Watch;
use crate::clock::BootClock;

/// What lies in a pipe between a link and its server.
pub const PIPE: usize = 1 << 16;

/// What a link may read for so many calls before it hangs up: their replies, of which none may be too
/// long, one that is, and what lies in the pipe.
fn max_read(calls: usize) -> usize {
    (MAX_COMMANDS * calls + 1) * MAX_REPLY + PIPE
}

/// What a call asks a server at most: alone and together with others, with a script by its name and in
/// full, and a release behind it, which is tried without a script first.
const MAX_COMMANDS: usize = 5;

/// What the replies were, up to the first that may not be said.
fn read(said: &[u8], owed: usize, hears_pushes: bool, cuts: impl Iterator<Item = usize>) -> Said {
    let mut replies = Replies::default();
    replies.owe(owed);
    if hears_pushes {
        replies.hear_pushes(b'>');
    }
    let mut heard = Vec::new();
    let mut rest = said;
    for cut in cuts {
        let mut part;
        (part, rest) = rest.split_at(cut.min(rest.len()));
        while !part.is_empty() {
            let room = replies.room();
            let read = room.len().min(part.len());
            assert!(read > 0, "no room");
            room[..read].copy_from_slice(&part[..read]);
            part = &part[read..];
            replies.filled(read);
            loop {
                match replies.next_reply() {
                    Ok(Some(reply)) => heard.push(reply),
                    Ok(None) => break,
                    Err(violation) => return (heard, Some(violation)),
                }
            }
        }
    }
    (heard, None)
}

type Said = (Vec<Value>, Option<Violation>);

/// Server bytes: how the reads cut them makes no difference, and what is taken for a reply is what
/// redis-rs reads.
///
/// The first byte says how many replies are owed (in its low bits), and whether the server may speak
/// unasked (in its highest).
pub fn replies(input: &[u8]) {
    let Some((&first, said)) = input.split_first() else { return };
    let (owed, hears_pushes) = (usize::from(first & 0x7f), first & 0x80 != 0);
    let read = |cuts: &mut dyn Iterator<Item = usize>| read(said, owed, hears_pushes, cuts);
    let (whole, violation) = read(&mut [said.len()].into_iter());
    let check = |cuts: &mut dyn Iterator<Item = usize>| {
        let (cut, other) = read(cuts);
        assert!(cut == whole, "cut: {cut:?}, whole: {whole:?}");
        assert_eq!(other.is_some(), violation.is_some());
    };
    check(&mut std::iter::repeat_n(1, said.len()));
    for at in 0..said.len().min(64) {
        check(&mut [at, said.len()].into_iter());
    }
    let answers = whole.iter().filter(|reply| !matches!(reply, Value::Push { .. })).count();
    assert!(answers <= owed, "{answers} replies to {owed} commands");
    // All at once, as redis-rs itself would read them.
    if violation.is_none() && whole.len() == 1 && owed == 1 {
        assert_eq!(parse_redis_value(said).ok().as_ref(), whole.first());
    }
}

/// An error says no more of a server's words than a short code, and what is a constant of ours.
fn is_discreet(error: &NodeError) {
    let NodeError { code, message, .. } = error;
    if let Cow::Owned(code) = code {
        let is_code = code.bytes().all(|byte| byte.is_ascii_uppercase());
        assert!(is_code && (1..=32).contains(&code.len()), "code {code:?}");
    }
    // What is borrowed is a constant.
    if let Cow::Owned(message) = message {
        let said = message.split_once(" was refused: ").map_or("", |(_, said)| said);
        let reason = said.strip_prefix(&**code).and_then(|said| said.strip_prefix(' '));
        let is_hint = HINTS.contains(&(&**code, said));
        let is_refusal =
            said == code || is_hint || reason.is_some_and(|reason| REASONS.contains(&reason));
        assert!(is_refusal || message == "the server wants a password: NOAUTH", "{message:?}");
        assert!(message.len() < 200, "{message:?}");
    }
}

/// A server's error: whatever its text, ours tells a code.
pub fn errors(input: &[u8]) {
    let said = [b"-", input, b"\r\n"].concat();
    let (heard, _) = read(&said, 1, false, [said.len()].into_iter());
    for reply in heard {
        let redirect = Redirect::read(&reply);
        assert!(redirect.is_none_or(|redirect| redirect.to.0.len() < input.len()));
        if let Value::ServerError(error) = reply {
            is_discreet(&refused("EVAL/EVALSHA of GET", &error));
        }
    }
}

/// What a connection needs of a socket, on a pipe in memory. Nothing leaves before it is flushed.
pub struct Socket {
    pipe: BufWriter<DuplexStream>,
    is_reset: Arc<AtomicBool>,
}

impl Socket {
    /// The flag is set when closing becomes a reset.
    pub fn new(pipe: DuplexStream, is_reset: Arc<AtomicBool>) -> Self {
        Self { pipe: BufWriter::with_capacity(PIPE, pipe), is_reset }
    }
}

impl Connected for Socket {
    fn reset_on_close(&self) {
        self.is_reset.store(true, Ordering::Relaxed);
    }

    fn has_unread(&self) -> bool {
        false // a pipe tells at once
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, read)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// How many calls a server is asked for at most.
const MAX_CALLS: usize = 16;

/// What the server says next, it says when it was asked something again.
const TURN: u8 = 0xfe;

/// A link: whatever the server says to its commands, every call settles, and nobody holds a lock that
/// the server has not granted.
///
/// The first byte says how many calls follow, one byte each, and in its highest bits how the server releases a lock
/// without a script; all else is what the server says, and in
/// pieces of which size.
pub fn link(input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else { return };
    let Some((calls, rest)) = rest.split_at_checked(usize::from(first) % MAX_CALLS) else { return };
    let Some((&piece, said)) = rest.split_first() else { return };
    let piece = if piece == 0 { PIPE } else { piece.into() };
    let deletion = match first >> 6 {
        1 => Some(Deletion::DelIfEq),
        2 => Some(Deletion::DelEx),
        _ => None,
    };
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build()
            .expect("a runtime can be made");
    }
    RUNTIME
        .with(|runtime| LocalSet::new().block_on(runtime, converse(calls, said, piece, deletion)));
}

/// The access to servers that let anybody in.
pub fn open_to_all() -> Access {
    Access {
        username: None,
        password: None,
        db: 0,
        client_name: String::new(),
        tls: None,
        asks_uptime: false,
        connect_timeout: Duration::from_secs(1),
    }
}

/// A link that is served over pipes only: what is asked after the connection is lost is told so.
pub fn link_to_nowhere() -> Rc<Link> {
    let nowhere = Endpoint::Unix("/nowhere".to_owned());
    Link::new(Route::Fixed(nowhere), open_to_all(), None, None)
}

async fn converse(calls: &[u8], said: &[u8], piece: usize, deletion: Option<Deletion>) {
    let (client, server) = duplex(PIPE);
    let link = link_to_nowhere();
    let served = spawn_local({
        let link = link.clone();
        async move {
            let mut connection = Connection::over(Box::pin(Socket::new(client, Arc::default())));
            connection.deletion = deletion;
            is_discreet(&link.serve(connection).await.error);
            link.close();
        }
    });
    // The link is up as soon as it is served.
    yield_now().await;
    let node = Rc::new(RedisNode::Server(link.clone(), Watch::new(link)));
    let rng = Box::new(Xoshiro256PlusPlus::seed_from_u64(0));
    let nodes = Redsync::new(vec![node], Rc::new(BootClock), rng);
    let asked = calls.iter().map(|call| spawn_local(ask(nodes.clone(), *call))).collect::<Vec<_>>();
    let spoken = spawn_local(speak(server, said.to_owned(), piece, max_read(calls.len())));
    let mut held = 0;
    for call in asked {
        held += usize::from(call.await.expect("no call panics"));
    }
    served.abort();
    let _ = served.await.map_err(|error| assert!(error.is_cancelled(), "{error}"));
    spoken.abort();
    let _ = spoken.await.map_err(|error| assert!(error.is_cancelled(), "{error}"));
    let granted = |text: &[u8]| said.windows(text.len()).filter(|part| *part == text).count();
    // A number is how a script grants; a plain SET is answered with OK.
    let grants =
        granted(b"+OK\r\n") + granted(b":1\r\n") + granted(b":01\r\n") + granted(b":+1\r\n");
    assert!(held <= grants, "{held} locks held of {grants} granted");
}

/// Says what there is to say, one part for each time that it is asked something, and hangs up.
async fn speak(mut server: DuplexStream, said: Vec<u8>, piece: usize, max_read: usize) {
    let mut ignored = vec![0; PIPE];
    let mut written = 0;
    for turn in said.split(|byte| *byte == TURN) {
        tokio::select! {
            biased;
            read = server.read(&mut ignored) => if !matches!(read, Ok(1..)) { return },
            () = idle() => return,
        }
        for part in turn.chunks(piece) {
            // The link may have hung up.
            if server.write_all(part).await.is_err() {
                return;
            }
            written += part.len();
            assert!(written <= max_read, "{written} bytes were read");
        }
    }
}

/// Resolves when everybody else has had their turn, and more than once.
async fn idle() {
    for _ in 0..16 {
        yield_now().await;
    }
}

/// One call, as its byte says; tells whether it has acquired a lock.
async fn ask(redsync: Rc<Redsync>, call: u8) -> bool {
    let names: &[&str] = if call & 0x20 == 0 { &["a"] } else { &["b", "c"] };
    let keys: Keys = names.iter().map(|name| (*name).into()).collect();
    let options = Options { recreate_on_extend: call & 0x40 != 0, ..Options::default() };
    let mutex = Mutex::new(redsync.clone(), keys, options);
    let value = || format!("value {call}").as_str().into();
    let limit = Duration::from_secs(1);
    let failed = match call & 7 {
        0 | 1 => match mutex.try_lock(&CancellationToken::new()).await {
            Ok(_) => return true,
            Err(error) => Some(error),
        },
        2 | 3 => mutex.unlock(value()).await.err(),
        4 => mutex.extend(value()).await.err(),
        5 => mutex.valid(value()).await.err(),
        6 => {
            for health in redsync.health(limit).await {
                health.error.iter().for_each(is_discreet);
                let server = health.server.unwrap_or_default();
                let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_ ".contains(c);
                assert!(server.len() <= 40 && server.chars().all(is_plain), "{server:?}");
            }
            None
        }
        _ => {
            let found = redsync.inspect("a", limit).await;
            found.iter().filter_map(|found| found.as_ref().err()).for_each(is_discreet);
            None
        }
    };
    failed.iter().for_each(is_told);
    false
}

fn is_told(error: &Error) {
    for vote in error.votes().iter().flatten() {
        match vote {
            Ok(Answer::Granted | Answer::Taken | Answer::Absent) => {}
            Err(error) => is_discreet(error),
        }
    }
}
