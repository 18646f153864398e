//! Stands between the socket and redis-rs, whose parser trusts the server: it has no limit of size,
//! some headers make it wait for ever, and a reply that nobody asked for answers the next command.
//!
//! The guard lets through what a server may say here, byte by byte, and ends the link otherwise.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use redsync_engine::NodeError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Stream;
use super::tls::refusal;

/// What one reply may have in bytes. The longest that is asked for, INFO server, has about 1 KiB.
const MAX_REPLY: usize = 64 * 1024;
/// What one line may have, without its end.
const MAX_LINE: usize = 4 * 1024;
/// How deep a reply may be nested.
const MAX_DEPTH: usize = 8;

/// What a link and the guard of its socket tell each other.
#[derive(Clone, Default)]
pub struct Expected(Arc<Notes>);

#[derive(Default)]
struct Notes {
    /// Commands that were handed to the writer and have not left yet.
    queued: AtomicUsize,
    /// Why the link has ended, if more is known than that it has.
    reason: OnceLock<NodeError>,
}

impl Expected {
    /// So many more commands are about to be written.
    pub fn add(&self, commands: usize) {
        self.0.queued.fetch_add(commands, Ordering::Relaxed);
    }

    /// What the server said that it must not say, or what TLS did not like.
    pub fn reason(&self) -> Option<NodeError> {
        self.0.reason.get().cloned()
    }

    fn is_empty(&self) -> bool {
        self.0.queued.load(Ordering::Relaxed) == 0
    }

    fn take(&self) -> usize {
        self.0.queued.swap(0, Ordering::Relaxed)
    }
}

/// A guarded socket.
pub struct Guard {
    stream: Stream,
    scanner: Scanner,
    /// Commands that are queued and not counted by the scanner yet.
    expected: Expected,
}

impl Guard {
    pub fn new(stream: Stream, expected: Expected) -> Self {
        Self { stream, scanner: Scanner::default(), expected }
    }

    fn end(&self, violation: Violation) -> io::Error {
        let code = if violation == NO_ROOM { "ERR" } else { "EPROTO" };
        self.note(NodeError::new(code, violation));
        io::Error::new(io::ErrorKind::InvalidData, violation)
    }

    fn note(&self, reason: NodeError) {
        // The first one counts.
        let _ = self.expected.0.reason.set(reason);
    }

    fn read(&mut self, cx: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, read);
        if let Poll::Ready(Err(error)) = &polled
            && let Some(reason) = refusal(error)
        {
            self.note(reason);
        }
        polled
    }

    /// Before a command is written to a silent link, whatever is there to be read is a reply to
    /// nothing. Read later, it would pass for the reply to this command.
    fn expect(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.expected.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if self.scanner.is_silent() {
            let mut bytes = [0; 64];
            let mut read = ReadBuf::new(&mut bytes);
            match self.read(cx, &mut read) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {
                    return Poll::Ready(Err(match read.filled() {
                        [] => io::ErrorKind::UnexpectedEof.into(),
                        bytes => self.end(unasked(bytes)),
                    }));
                }
                Poll::Pending if self.stream.has_unread() => {
                    // The runtime will have heard of it the next time, or soon after.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => {}
            }
        }
        self.scanner.replies += self.expected.take();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Guard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = read.filled().len();
        let polled = self.read(cx, read);
        if let Poll::Ready(Ok(())) = polled {
            let scanned = self.scanner.scan(&read.filled()[before..]);
            scanned.map_err(|violation| self.end(violation))?;
        }
        polled
    }
}

impl AsyncWrite for Guard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.expect(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.stream).poll_write(cx, bytes),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Closing a link that owes replies is a reset: a command that has not reached the server never will,
/// and one that has cannot be followed by another of this link.
impl Drop for Guard {
    fn drop(&mut self) {
        if !self.scanner.is_silent() || self.expected.take() > 0 {
            self.stream.reset_on_close();
        }
    }
}

/// What the server said that it must not say.
type Violation = &'static str;

const UNASKED: Violation = "the server answered what it was not asked";
const NO_ROOM: Violation = "the server has no room for another client (maxclients)";
const TOO_LONG: Violation = "the server sent a reply of more than 64 KiB";
const UNREADABLE: Violation = "the server does not speak the Redis protocol";

/// How a server greets a client that is one too many, before it hangs up.
const FULL: &[u8] = b"-ERR max number of clients";

/// What to say of bytes that answer nothing.
fn unasked(bytes: &[u8]) -> Violation {
    if bytes.starts_with(FULL) { NO_ROOM } else { UNASKED }
}

/// Follows the server's replies without keeping them.
#[derive(Default)]
struct Scanner {
    /// Replies that are still to come.
    replies: usize,
    /// What is expected next.
    state: State,
    /// The line being read, of which only a header's first bytes matter.
    line: Vec<u8>,
    /// Bytes of this reply so far.
    size: usize,
    /// Elements still to come, for each aggregate that is open.
    open: Vec<usize>,
    /// The reply being read is a push message.
    is_push: bool,
}

#[derive(Default, PartialEq)]
enum State {
    /// A line with its end.
    #[default]
    Line,
    /// So many bytes of a string, its end included.
    String(usize),
}

impl Scanner {
    fn is_silent(&self) -> bool {
        self.replies == 0 && self.size == 0
    }

    fn scan(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while let [first, ..] = bytes {
            if self.size == 0 {
                self.is_push = *first == b'>';
                if self.replies == 0 && !self.is_push {
                    return Err(unasked(bytes));
                }
            }
            bytes = match self.state {
                State::Line => self.line(bytes)?,
                State::String(left) => self.string(bytes, left)?,
            };
            if self.size > MAX_REPLY {
                return Err(TOO_LONG);
            }
        }
        Ok(())
    }

    /// Reads on in a line. Its end is CR LF; neither may stand in it alone.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Violation> {
        let end = bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
        let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        self.size += part.len();
        if self.line.len() + part.len() > MAX_LINE + 2 {
            return Err(TOO_LONG);
        }
        self.line.extend_from_slice(part);
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            let Some(content) = line.strip_suffix(b"\r\n") else {
                return Err(UNREADABLE);
            };
            self.header(content)?;
            self.line = line;
            self.line.clear();
        }
        Ok(rest)
    }

    /// Reads on in a string.
    fn string<'a>(&mut self, bytes: &'a [u8], left: usize) -> Result<&'a [u8], Violation> {
        let (part, rest) = bytes.split_at(left.min(bytes.len()));
        self.size += part.len();
        // The last two bytes have to be the end, wherever the reads cut them.
        for (at, byte) in part.iter().enumerate() {
            let is_end = match left - at {
                1 => *byte == b'\n',
                2 => *byte == b'\r',
                _ => true,
            };
            if !is_end {
                return Err(UNREADABLE);
            }
        }
        self.state = State::String(left - part.len());
        if self.state == State::String(0) {
            self.state = State::Line;
            self.element();
        }
        Ok(rest)
    }

    /// A complete line: a scalar, or the header of a string or an aggregate.
    fn header(&mut self, line: &[u8]) -> Result<(), Violation> {
        let (kind, content) = line.split_first().ok_or(UNREADABLE)?;
        match kind {
            // It has crossed the login.
            b'-' if line.starts_with(FULL) => return Err(NO_ROOM),
            b'+' | b'-' if !content.contains(&b'\r') => self.element(),
            b':' => {
                integer(content)?;
                self.element();
            }
            b'_' if content.is_empty() => self.element(),
            b'#' if matches!(content, b"t" | b"f") => self.element(),
            b'$' if content == b"-1" => self.element(),
            b'*' if content == b"-1" => self.element(),
            b'$' => {
                let length = self.length(content)?;
                self.state = State::String(length + 2);
            }
            b'*' | b'~' | b'>' => {
                let length = self.length(content)?;
                self.aggregate(length)?;
            }
            b'%' => {
                let length = self.length(content)?;
                self.aggregate(length * 2)?;
            }
            _ => return Err(UNREADABLE),
        }
        Ok(())
    }

    /// A length that could still fit into the reply: an element has at least three bytes.
    fn length(&self, content: &[u8]) -> Result<usize, Violation> {
        usize::try_from(integer(content)?)
            .ok()
            .filter(|length| *length <= MAX_REPLY)
            .ok_or(UNREADABLE)
    }

    fn aggregate(&mut self, length: usize) -> Result<(), Violation> {
        if length == 0 {
            self.element();
            return Ok(());
        }
        if self.open.len() == MAX_DEPTH {
            return Err(UNREADABLE);
        }
        self.open.push(length);
        Ok(())
    }

    /// An element is complete, and with it perhaps the aggregates around it and the reply.
    fn element(&mut self) {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
        self.size = 0;
        if !self.is_push {
            self.replies -= 1;
        }
    }
}

/// A number of the wire, as redis-rs will read it.
fn integer(content: &[u8]) -> Result<i64, Violation> {
    std::str::from_utf8(content).ok().and_then(|text| text.parse().ok()).ok_or(UNREADABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(replies: usize, bytes: &[u8]) -> Result<Scanner, Violation> {
        // Whole, and byte by byte: how the reads cut a reply makes no difference.
        let mut whole = Scanner { replies, ..Scanner::default() };
        let of_whole = whole.scan(bytes).is_ok();
        let mut cut = Scanner { replies, ..Scanner::default() };
        let of_cut = bytes.chunks(1).try_for_each(|byte| cut.scan(byte));
        assert_eq!(of_whole, of_cut.is_ok());
        of_cut.map(|()| cut)
    }

    #[test]
    fn lets_the_replies_of_a_server_through() {
        for reply in [
            "+OK\r\n",
            "-ERR no such thing\r\n",
            ":-1\r\n",
            "$-1\r\n",
            "$0\r\n\r\n",
            "$5\r\na\r\nbc\r\n",
            "*-1\r\n",
            "*0\r\n",
            "*2\r\n:1\r\n*1\r\n$1\r\nx\r\n",
            "%1\r\n+a\r\n_\r\n",
            "#t\r\n",
        ] {
            let scanner = scan(1, reply.as_bytes()).unwrap();
            assert!(scanner.is_silent(), "{reply:?} is complete");
        }
        // A push message is no reply.
        assert!(scan(0, b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n").unwrap().is_silent());
    }

    #[test]
    fn ends_a_link_that_says_anything_else() {
        for reply in [
            "=-1\r\n",
            "%-1\r\n",
            "*-2\r\n",
            "$-2\r\n",
            "*65537\r\n",
            "$65537\r\n",
            "$99999999999999999999\r\n",
            ":1x\r\n",
            ":\r\n",
            "\r\n",
            "HTTP/1.1 400 Bad Request\r\n",
            "+OK\n",
            "$1\r\nxyz",
            "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
        ] {
            assert!(scan(1, reply.as_bytes()).is_err(), "{reply:?}");
        }
    }

    #[test]
    fn ends_a_link_that_answers_nothing_or_without_end() {
        assert!(scan(0, b"+OK\r\n").is_err());
        assert!(scan(1, b"+OK\r\n+OK\r\n").is_err());
        assert!(scan(1, &[b"+".as_slice(), &[b'x'; 5000]].concat()).is_err());
        assert!(scan(1, &[b"*60000\r\n".as_slice(), &b"_\r\n".repeat(60000)].concat()).is_err());
    }
}
