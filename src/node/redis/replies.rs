//! Cuts a server's replies out of the bytes that it sends, and hands them to redis-rs' parser one by
//! one.
//!
//! That parser trusts the server: it has no limit of size, and some headers make it wait for ever.
//! So every byte is looked at here first, and what a server may not say ends the link.

use redis::{Value, parse_redis_value};

/// What one reply may have in bytes. The longest that is asked for, INFO server, has about 1 KiB.
pub const MAX_REPLY: usize = 64 * 1024;
/// What one line may have, without its end.
const MAX_LINE: usize = 4 * 1024;
/// How deep a reply may be nested.
const MAX_DEPTH: usize = 8;

/// How many bytes are read at a time.
const PIECE: usize = 16 * 1024;

/// What the server said that it must not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    pub code: &'static str,
    pub message: &'static str,
}

const fn violation(message: &'static str) -> Violation {
    Violation { code: "EPROTO", message }
}

const UNASKED: Violation = violation("the server answered what it was not asked");
const TOO_LONG: Violation = violation("the server sent a reply of more than 64 KiB");
const UNREADABLE: Violation = violation("the server does not speak the Redis protocol");

/// How a server greets a client that it does not let in, before it hangs up.
const GREETINGS: [(&[u8], Violation); 2] = [
    (
        b"-ERR max number of clients",
        Violation {
            code: "ERR",
            message: "the server has no room for another client (maxclients)",
        },
    ),
    (
        b"-DENIED ",
        Violation {
            code: "DENIED",
            message: "the server is in protected mode: without a password, or `protected-mode no`, it \
                      takes connections from its own machine only",
        },
    ),
];

/// Why the server does not let this client in, if these are the words for it.
fn turned_away(line: &[u8]) -> Option<Violation> {
    GREETINGS.iter().find(|(greeting, _)| line.starts_with(greeting)).map(|(_, why)| *why)
}

/// The replies that nearly all questions get.
const COMMON: [(&[u8], Value); 5] = [
    (b":1\r\n", Value::Int(1)),
    (b"+OK\r\n", Value::Okay),
    (b"$-1\r\n", Value::Nil),
    (b":0\r\n", Value::Int(0)),
    (b":-1\r\n", Value::Int(-1)),
];

/// The replies on one link.
#[derive(Default)]
pub struct Replies {
    /// What was read, from `start` on not taken out yet.
    buffer: Vec<u8>,
    start: usize,
    /// The bytes of `buffer` that were read.
    end: usize,
    /// So far the scanner has come.
    scanned: usize,
    scanner: Scanner,
    /// Replies that are still to come.
    owed: usize,
    /// What begins with this answers nothing, and may come at any time.
    push: Option<u8>,
}

impl Replies {
    /// So many more replies will come.
    pub fn owe(&mut self, replies: usize) {
        self.owed += replies;
    }

    /// Whether nothing is expected.
    pub fn is_silent(&self) -> bool {
        self.owed == 0
    }

    /// Lets messages through that begin with this: push messages (RESP3) do with `>`, those of a
    /// subscription (RESP2) with `*`.
    pub fn hear_pushes(&mut self, first: u8) {
        self.push = Some(first);
    }

    /// Whether push messages may come.
    pub fn hears_pushes(&self) -> bool {
        self.push.is_some()
    }

    /// Where to read the next bytes to. Tell with [`Replies::filled`] how many there were.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end, self.scanned) = (0, 0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.scanned -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            // A reply that is longer than what is there: the scanner limits how long it gets.
            self.buffer.resize(self.end + PIECE, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes were read.
    pub fn filled(&mut self, bytes: usize) {
        self.end += bytes;
    }

    /// The next reply that is complete.
    pub fn next_reply(&mut self) -> Result<Option<Value>, Violation> {
        let bytes = &self.buffer[self.start..self.end];
        if bytes.is_empty() {
            return Ok(None);
        }
        let is_push = self.push == Some(bytes[0]);
        if self.owed == 0 && !is_push {
            return Err(unasked(bytes));
        }
        self.scanner.may_push = is_push;
        // Not where the scanner is in the middle of the reply: it would take what follows for its rest.
        if self.scanned == self.start
            && let Some((text, reply)) = COMMON.iter().find(|(text, _)| bytes.starts_with(text))
        {
            self.take(self.start + text.len());
            return Ok(Some(reply.clone()));
        }
        let Some(length) = self.scanner.scan(&self.buffer[self.scanned..self.end])? else {
            self.scanned = self.end;
            return Ok(None);
        };
        let end = self.scanned + length;
        let reply = parse_redis_value(&self.buffer[self.start..end]).map_err(|_| UNREADABLE)?;
        self.owed += usize::from(is_push);
        self.take(end);
        Ok(Some(reply))
    }

    fn take(&mut self, end: usize) {
        self.start = end;
        self.scanned = end;
        self.owed -= 1;
    }
}

/// What to say of bytes that answer nothing.
pub fn unasked(bytes: &[u8]) -> Violation {
    turned_away(bytes).unwrap_or(UNASKED)
}

/// Finds the end of a reply, however the reads have cut it.
#[derive(Default)]
struct Scanner {
    /// What is expected next.
    state: State,
    /// The line being read, of which only a header's first bytes matter.
    line: Vec<u8>,
    /// Bytes of this reply so far.
    size: usize,
    /// Elements still to come, for each aggregate that is open.
    open: Vec<usize>,
    /// This is a push message, and not a reply.
    may_push: bool,
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
    /// How many of these bytes the reply still takes, if it is complete with them.
    fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, Violation> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let is_complete;
            (rest, is_complete) = match self.state {
                State::Line => self.line(rest)?,
                State::String(left) => self.string(rest, left)?,
            };
            if self.size > MAX_REPLY {
                return Err(TOO_LONG);
            }
            if is_complete {
                self.size = 0;
                return Ok(Some(bytes.len() - rest.len()));
            }
        }
        Ok(None)
    }

    /// Reads on in a line. Its end is CR LF; neither may stand in it alone.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<(&'a [u8], bool), Violation> {
        let end = bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
        let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        self.size += part.len();
        if self.line.len() + part.len() > MAX_LINE + 2 {
            return Err(TOO_LONG);
        }
        self.line.extend_from_slice(part);
        if end.is_none() {
            return Ok((rest, false));
        }
        let line = std::mem::take(&mut self.line);
        let content = line.strip_suffix(b"\r\n").ok_or(UNREADABLE)?;
        let is_complete = self.header(content)?;
        self.line = line;
        self.line.clear();
        Ok((rest, is_complete))
    }

    /// Reads on in a string.
    fn string<'a>(&mut self, bytes: &'a [u8], left: usize) -> Result<(&'a [u8], bool), Violation> {
        let (part, rest) = bytes.split_at(left.min(bytes.len()));
        self.size += part.len();
        // The last two bytes have to be the end, wherever the reads cut them.
        for (at, byte) in part.iter().enumerate().skip(left.saturating_sub(2)) {
            let is_end = match left - at {
                1 => *byte == b'\n',
                _ => *byte == b'\r',
            };
            if !is_end {
                return Err(UNREADABLE);
            }
        }
        if left > part.len() {
            self.state = State::String(left - part.len());
            return Ok((rest, false));
        }
        self.state = State::Line;
        Ok((rest, self.element()))
    }

    /// A complete line: a scalar, or the header of a string or an aggregate. Is the reply complete?
    fn header(&mut self, line: &[u8]) -> Result<bool, Violation> {
        let (kind, content) = line.split_first().ok_or(UNREADABLE)?;
        // It has crossed the login.
        if let Some(why) = turned_away(line) {
            return Err(why);
        }
        match kind {
            b'+' | b'-' if !content.contains(&b'\r') => Ok(self.element()),
            b':' => {
                integer(content)?;
                Ok(self.element())
            }
            b'_' if content.is_empty() => Ok(self.element()),
            b'#' if matches!(content, b"t" | b"f") => Ok(self.element()),
            b'$' | b'*' if content == b"-1" => Ok(self.element()),
            b'$' | b'=' => {
                self.state = State::String(length(content)? + 2);
                Ok(false)
            }
            b'>' if self.may_push && self.open.is_empty() => self.aggregate(length(content)?),
            b'*' | b'~' => self.aggregate(length(content)?),
            b'%' => self.aggregate(length(content)? * 2),
            _ => Err(UNREADABLE),
        }
    }

    fn aggregate(&mut self, length: usize) -> Result<bool, Violation> {
        if length == 0 {
            return Ok(self.element());
        }
        if self.open.len() == MAX_DEPTH {
            return Err(UNREADABLE);
        }
        self.open.push(length);
        Ok(false)
    }

    /// An element is complete, and with it perhaps the aggregates around it. Is the reply?
    fn element(&mut self) -> bool {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return false;
            }
            self.open.pop();
        }
        true
    }
}

/// A length that could still fit into the reply: an element has at least three bytes.
fn length(content: &[u8]) -> Result<usize, Violation> {
    let length = usize::try_from(integer(content)?).ok();
    length.filter(|length| *length <= MAX_REPLY).ok_or(UNREADABLE)
}

/// A number of the wire, as redis-rs will read it.
fn integer(content: &[u8]) -> Result<i64, Violation> {
    std::str::from_utf8(content).ok().and_then(|text| text.parse().ok()).ok_or(UNREADABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(owed: usize, bytes: &[u8], piece: usize) -> Result<(Vec<Value>, Replies), Violation> {
        let mut replies = Replies::default();
        replies.owe(owed);
        let mut read = Vec::new();
        for mut bytes in bytes.chunks(piece) {
            while !bytes.is_empty() {
                let room = replies.room();
                let some = room.len().min(bytes.len());
                room[..some].copy_from_slice(&bytes[..some]);
                bytes = &bytes[some..];
                replies.filled(some);
                while let Some(reply) = replies.next_reply()? {
                    read.push(reply);
                }
            }
        }
        Ok((read, replies))
    }

    /// Whole, and in pieces: how the reads cut a reply makes no difference.
    fn scan(owed: usize, bytes: &[u8]) -> Result<Vec<Value>, Violation> {
        let whole = read(owed, bytes, bytes.len()).map(|(read, _)| read);
        for piece in [1, 2, 7] {
            let cut = read(owed, bytes, piece).map(|(read, _)| read);
            assert_eq!(whole.is_ok(), cut.is_ok());
            if whole.is_ok() {
                assert_eq!(whole, cut);
            }
        }
        whole
    }

    #[test]
    fn reads_the_replies_of_a_server() {
        for reply in [
            "+OK\r\n",
            "+OKAY\r\n",
            "-ERR no such thing\r\n",
            ":-1\r\n",
            ":12\r\n",
            "$-1\r\n",
            "$0\r\n\r\n",
            "$5\r\na\r\nbc\r\n",
            "*-1\r\n",
            "*0\r\n",
            "*2\r\n:1\r\n*1\r\n$1\r\nx\r\n",
            "%1\r\n+a\r\n_\r\n",
            "#t\r\n",
            "=15\r\ntxt:Some string\r\n",
        ] {
            let expected = parse_redis_value(reply.as_bytes()).unwrap();
            for times in [1, 2] {
                let replies = scan(times, reply.repeat(times).as_bytes()).unwrap();
                assert_eq!(replies, vec![expected.clone(); times], "{reply:?}");
            }
        }
    }

    #[test]
    fn reads_on_after_a_common_reply_that_was_cut() {
        for (common, _) in COMMON {
            let replies = scan(2, &[common, b"+OKAY\r\n"].concat()).unwrap();
            assert_eq!(replies[1], Value::SimpleString("OKAY".to_owned()));
        }
    }

    #[test]
    fn reads_more_than_a_piece() {
        let long = format!("$40000\r\n{}\r\n", "x".repeat(40_000));
        let many = format!("{long}:1\r\n").repeat(5);
        let (replies, rest) = read(10, many.as_bytes(), 1000).unwrap();
        assert_eq!(replies.len(), 10);
        assert!(rest.is_silent());
        assert!(rest.buffer.len() <= MAX_REPLY + PIECE);
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
            ">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n",
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
        let string = format!("$5000\r\n{}\r\n", "x".repeat(5000));
        assert!(scan(1, format!("*14\r\n{}", string.repeat(14)).as_bytes()).is_err());
        assert!(scan(1, format!("*13\r\n{}", string.repeat(13)).as_bytes()).is_ok());
    }
}
