//! Conversations with servers that a test plays: what a login, a link, a watch and a cluster ask, word by word, and what
//! they make of the answers. For what no real server says when it is wanted. The clock stands while anybody has something to do.

#![cfg(test)]

mod cluster;
mod link;
mod login;
mod watch;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use redsync_engine::{
    Answer, CancellationToken, Clock, Error, Held, Keys, Mutex, Node, Options, Redsync,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::Builder;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, timeout};

use super::super::script::SCRIPTS;
use super::RedisNode;
use super::connection::Connection;
use super::deletion::Deletion;
use super::fuzz::{PIPE, Socket};
use super::known::hash;
use super::link::{Link, Lost};

/// As long as a round waits for an answer, with the default options.
const PATIENCE: Duration = Duration::from_millis(400);

struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall(&self) -> Duration {
        Duration::from_secs(1_000_000) + self.now()
    }
}

/// The server's end of a connection.
pub struct Server {
    pipe: DuplexStream,
    heard: Vec<u8>,
    is_reset: Arc<AtomicBool>,
}

impl Server {
    /// The next command, its words in a row; of a script its name.
    pub async fn hears(&mut self) -> String {
        timeout(100 * PATIENCE, self.command()).await.expect("a command comes")
    }

    async fn command(&mut self) -> String {
        let count = self.number(b'*').await;
        let mut words = Vec::new();
        for _ in 0..count {
            let length = self.number(b'$').await;
            let word = self.bytes(length).await;
            assert_eq!(self.bytes(2).await, b"\r\n");
            words.push(String::from_utf8(word).expect("text"));
        }
        if let [call, script, ..] = &mut words[..]
            && ["EVAL", "EVALSHA"].contains(&&**call)
        {
            let is_meant = |it: &str| [it, &hash(it)].contains(&&**script);
            let known = SCRIPTS.iter().find(|it| is_meant(it.source));
            *script = known.expect("a script of ours").name.to_owned();
        }
        words.join(" ")
    }

    /// Nothing more, for longer than any round waits.
    pub async fn hears_nothing(&mut self) {
        self.hears_nothing_for(10 * PATIENCE).await;
    }

    pub async fn hears_nothing_for(&mut self, time: Duration) {
        let heard = timeout(time, self.command()).await;
        assert_eq!(heard.ok(), None);
    }

    async fn number(&mut self, kind: u8) -> usize {
        assert_eq!(self.bytes(1).await, [kind]);
        let mut digits = Vec::new();
        while !digits.ends_with(b"\r\n") {
            digits.extend(self.bytes(1).await);
        }
        let digits = String::from_utf8(digits).expect("digits");
        digits.trim_end().parse().expect("a number")
    }

    async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.heard.len() < count {
            let read = self.pipe.read_buf(&mut self.heard).await.expect("the pipe holds");
            assert!(read > 0, "the link has hung up");
        }
        self.heard.drain(..count).collect()
    }

    pub async fn says(&mut self, replies: &str) {
        self.pipe.write_all(replies.as_bytes()).await.expect("somebody listens");
    }

    /// Is the connection ended by a reset, or to be?
    pub fn is_reset(&self) -> bool {
        self.is_reset.load(Ordering::Relaxed)
    }

    /// One question and its answer.
    pub async fn answers(&mut self, question: &str, reply: &str) {
        assert_eq!(self.hears().await, question);
        self.says(reply).await;
    }
}

/// A text, as a server says it.
fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// The news that these keys have changed.
fn invalidation(names: &[&str]) -> String {
    let keys: String = names.iter().map(|name| bulk(name)).collect();
    format!(">2\r\n{}*{}\r\n{keys}", bulk("invalidate"), names.len())
}

fn connected(deletion: Option<Deletion>) -> (Connection, Server) {
    let (client, server) = duplex(PIPE);
    let is_reset = Arc::default();
    let socket = Socket::new(client, Arc::clone(&is_reset));
    let mut connection = Connection::over(Box::pin(socket));
    connection.deletion = deletion;
    (connection, Server { pipe: server, heard: Vec::new(), is_reset })
}

fn serve(link: &Rc<Link>, connection: Connection) -> JoinHandle<Lost> {
    let link = link.clone();
    spawn_local(async move { link.serve(connection).await })
}

fn over(nodes: Vec<RedisNode>) -> Rc<Redsync> {
    let rng = Box::new(Xoshiro256PlusPlus::seed_from_u64(0));
    let nodes = nodes.into_iter().map(|node| Rc::new(node) as Rc<dyn Node>).collect();
    Redsync::new(nodes, Rc::new(PausedClock(Instant::now())), rng)
}

fn mutex(redsync: &Rc<Redsync>, names: &[&str], options: Options) -> Mutex {
    let keys: Keys = names.iter().map(|name| (*name).into()).collect();
    Mutex::new(redsync.clone(), keys, options)
}

fn lock(redsync: &Rc<Redsync>, name: &str, options: Options) -> JoinHandle<Result<Held, Error>> {
    let mutex = mutex(redsync, &[name], options);
    spawn_local(async move { mutex.try_lock(&CancellationToken::new()).await })
}

fn unlock(redsync: &Rc<Redsync>, names: &[&str]) -> JoinHandle<Result<(), Error>> {
    let mutex = mutex(redsync, names, Options::default());
    spawn_local(async move { mutex.unlock("value".into()).await })
}

fn extend(redsync: &Rc<Redsync>, names: &[&str]) -> JoinHandle<Result<Held, Error>> {
    let mutex = mutex(redsync, names, Options::default());
    spawn_local(async move { mutex.extend("value".into()).await })
}

pub fn on_a_paused_clock(test: impl AsyncFnOnce()) {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), test());
}

async fn done<T>(call: JoinHandle<Result<T, Error>>) -> T {
    call.await.expect("no call panics").expect("no error")
}

/// What the only node has said.
fn vote(error: &Error) -> Result<Answer, &str> {
    match &error.votes()[0] {
        Some(Ok(answer)) => Ok(*answer),
        Some(Err(error)) => Err(&error.code),
        None => Err("no vote"),
    }
}

async fn refused<T>(call: JoinHandle<Result<T, Error>>) -> Result<Answer, String> {
    let error = call.await.expect("no call panics").err().expect("a refusal");
    vote(&error).map_err(str::to_owned)
}
