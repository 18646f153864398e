//! Whatever a server says, every command is answered, nothing panics, and memory stays bounded.
//!
//! `REDSYNC_FUZZ=1000000 cargo test --release fuzz` runs a million inputs; a plain `cargo test` some.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use redis::Value;
use redsync_engine::{Request, Verb};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

use super::command::{KnownScripts, Redirect, vote, write};
use super::connection::Connection;
use super::stream::Connected;

/// What is well-formed, nearly well-formed, or known to have hung or flooded a parser.
const PIECES: &[&[u8]] = &[
    b"+OK\r\n",
    b"+",
    b"-ERR no\r\n",
    b"-MOVED 1 :1\r\n",
    b"-NOSCRIPT x\r\n",
    b"-\r\n",
    b":1\r\n",
    b":0\r\n",
    b":-1\r\n",
    b":99999999999999999999\r\n",
    b"$-1\r\n",
    b"$3\r\nfoo\r\n",
    b"$3\r\n",
    b"$65536\r\n",
    b"$2000000000\r\n",
    b"*-1\r\n",
    b"*2\r\n",
    b"*1000000000\r\n",
    b"%-1\r\n",
    b"%1\r\n",
    b"=-1\r\n",
    b"=8\r\ntxt:text\r\n",
    b"~3\r\n",
    b">2\r\n+invalidate\r\n",
    b"_\r\n",
    b"#t\r\n",
    b",inf\r\n",
    b"(12345678901234567890\r\n",
    b"!3\r\nERR\r\n",
    b"|1\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b"\0",
    b"\xff\xfe",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
];

/// What a flood has in bytes: far more than two replies may have.
const FLOOD: usize = 1 << 20;

/// What may be read before the link hangs up: two replies of 64 KiB, and what lies in the pipe.
const MAX_READ: usize = 2 * (64 << 10) + PIPE + (8 << 10);

const PIPE: usize = 1 << 16;

/// What a connection needs of a socket, on a pipe in memory.
struct Socket(DuplexStream);

impl Connected for Socket {
    fn reset_on_close(&self) {}

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
        Pin::new(&mut self.0).poll_read(cx, read)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn input(rng: &mut Xoshiro256PlusPlus) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..rng.random_range(1..8) {
        let piece = PIECES[rng.random_range(0..PIECES.len())];
        let times = if rng.random_ratio(1, 200) { FLOOD / piece.len() } else { 1 };
        bytes.extend_from_slice(&piece.repeat(times));
    }
    if rng.random_ratio(1, 4) {
        let at = rng.random_range(0..bytes.len());
        bytes[at] = rng.random();
    }
    if rng.random_ratio(1, 8) {
        bytes.truncate(rng.random_range(0..=bytes.len()));
    }
    bytes
}

/// Lets the server say this to one acquisition and one release, in pieces of any size.
async fn converse(said: Vec<u8>, piece: usize) {
    let (client, mut server) = duplex(PIPE);
    let mut connection = Connection::over(Box::pin(Socket(client)));
    let request = Request {
        keys: ["key".into()].into(),
        value: "value".into(),
        expiry: Duration::from_secs(8),
        timeout: Duration::from_millis(400),
    };
    let scripts = KnownScripts::default();
    let verbs = [Verb::Acquire, Verb::Release];
    connection.send(|output| {
        verbs.iter().for_each(|verb| write(*verb, &request, &scripts, output));
        verbs.len()
    });
    let speak = async {
        let mut read = 0;
        for part in said.chunks(piece) {
            // The link may have hung up.
            if server.write_all(part).await.is_err() {
                break;
            }
            read += part.len();
        }
        drop(server);
        assert!(read <= MAX_READ, "the link let {read} bytes through");
    };
    let listen = async move {
        let mut replies: Vec<Value> = Vec::new();
        while replies.len() < verbs.len()
            && poll_fn(|cx| connection.poll_replies(cx, |reply| replies.push(reply))).await.is_ok()
        {
        }
        replies
    };
    let (replies, ()) = tokio::join!(listen, speak);
    for (verb, reply) in verbs.into_iter().zip(replies) {
        let _ = Redirect::read(&reply);
        let _ = vote(verb, &request, reply);
    }
}

fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * 4096
}

#[test]
fn fuzz() {
    let inputs = std::env::var("REDSYNC_FUZZ").ok().and_then(|inputs| inputs.parse().ok());
    let inputs: u64 = inputs.unwrap_or(20_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let before = resident();
    for seed in 0..inputs {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let said = input(&mut rng);
        let piece = if rng.random() { 4096 } else { rng.random_range(1..64) };
        let ended =
            async { tokio::time::timeout(Duration::from_secs(10), converse(said, piece)).await };
        assert!(runtime.block_on(ended).is_ok(), "seed {seed} hangs");
    }
    let grown = resident().saturating_sub(before);
    println!("{inputs} inputs, resident memory grown by {grown} bytes");
    assert!(grown < 16 << 20, "resident memory has grown by {grown} bytes");
}
