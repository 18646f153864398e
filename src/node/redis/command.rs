//! The verbs as Redis commands, and Redis' replies as votes.

use std::cell::Cell;
use std::sync::LazyLock;

use redis::{Cmd, Script, Value};
use redsync_engine::{Answer, NodeError, Request, Verb, Vote};

use super::failure::refused;

/// A Lua script and its name in the server's script cache.
struct CachedScript {
    source: &'static str,
    sha1: String,
    /// Its bit in [`KnownScripts`].
    bit: u8,
}

impl CachedScript {
    fn new(bit: u8, source: &'static str) -> Self {
        Self { source, sha1: Script::new(source).get_hash().to_owned(), bit: 1 << bit }
    }
}

static ACQUIRE: LazyLock<CachedScript> =
    LazyLock::new(|| CachedScript::new(0, include_str!("scripts/acquire.lua")));
static RELEASE: LazyLock<CachedScript> =
    LazyLock::new(|| CachedScript::new(1, include_str!("scripts/release.lua")));
static EXTEND: LazyLock<CachedScript> =
    LazyLock::new(|| CachedScript::new(2, include_str!("scripts/extend.lua")));
static OWNER: LazyLock<CachedScript> =
    LazyLock::new(|| CachedScript::new(3, include_str!("scripts/owner.lua")));

/// The scripts that this link has sent in full. The first use of each is an EVAL, which also leaves
/// it in the server's cache: no SCRIPT LOAD, no permission for it, and the commands keep their order.
#[derive(Default)]
pub struct KnownScripts(Cell<u8>);

impl KnownScripts {
    /// The server has answered NOSCRIPT: send the full bodies again.
    pub fn forget(&self) {
        self.0.set(0);
    }

    /// Calls by name what the server knows already.
    fn call(&self, script: &CachedScript, request: &Request) -> Cmd {
        let known = self.0.get() & script.bit != 0;
        self.0.set(self.0.get() | script.bit);
        if known {
            with_operands("EVALSHA", &script.sha1, request)
        } else {
            with_operands("EVAL", script.source, request)
        }
    }
}

/// A script that can store a key is always sent in full. Called by a name that the server has
/// forgotten it would be asked again later, behind a release that was to follow it.
fn call_in_full(script: &CachedScript, request: &Request) -> Cmd {
    with_operands("EVAL", script.source, request)
}

/// A command with room for its arguments: grown step by step it would be copied several times.
fn sized(name: &str, arguments: usize, size: usize) -> Cmd {
    let mut command = Cmd::with_capacity(arguments, size + name.len());
    command.arg(name);
    command
}

fn with_operands(name: &str, script: &str, request: &Request) -> Cmd {
    let keys: usize = request.keys.iter().map(|key| key.len()).sum();
    let size = script.len() + keys + request.value.len() + 32;
    let mut command = sized(name, request.keys.len() + 6, size);
    command.arg(script).arg(request.keys.len());
    for key in request.keys.iter() {
        command.arg(&**key);
    }
    command.arg(&*request.value);
    command
}

/// The command for a verb.
pub fn command(verb: Verb, request: &Request, scripts: &KnownScripts) -> Cmd {
    let expiry = request.expiry.as_millis() as u64;
    match verb {
        Verb::Acquire if is_set(verb, request) => {
            let mut command = sized("SET", 6, request.keys[0].len() + request.value.len() + 16);
            command.arg(&*request.keys[0]).arg(&*request.value).arg("NX").arg("PX").arg(expiry);
            command
        }
        Verb::Acquire => {
            let mut command = call_in_full(&ACQUIRE, request);
            command.arg(expiry);
            command
        }
        Verb::Release => scripts.call(&RELEASE, request),
        Verb::Extend { recreate } => {
            let mut command = if recreate {
                call_in_full(&EXTEND, request)
            } else {
                scripts.call(&EXTEND, request)
            };
            command.arg(expiry).arg(u8::from(recreate));
            command
        }
        Verb::Owner => scripts.call(&OWNER, request),
    }
}

/// Where a server of a cluster sends a command.
pub struct Redirect {
    pub to: (String, u16),
    /// No host was given: it is the one that answered.
    pub host_is_its_own: bool,
    /// The slot lives there from now on (MOVED), or this command is to be asked there once (ASK).
    pub is_moved: bool,
}

impl Redirect {
    /// Reads `MOVED 3999 127.0.0.1:6381`.
    pub fn read(reply: &Value) -> Option<Self> {
        let Value::ServerError(error) = reply else { return None };
        let (_slot, to) = error.details()?.split_once(' ')?;
        let (host, port) = to.rsplit_once(':')?;
        let port = port.trim().parse().ok()?;
        Some(Self {
            to: (host.to_owned(), port),
            host_is_its_own: host.is_empty(),
            is_moved: error.code() == "MOVED",
        })
    }
}

/// One name is taken by a plain SET.
fn is_set(verb: Verb, request: &Request) -> bool {
    verb == Verb::Acquire && request.keys.len() == 1
}

/// Can this be the reply to that verb? SET NX answers OK or nil, the scripts a number.
pub fn fits(verb: Verb, request: &Request, reply: &Value) -> bool {
    match reply {
        Value::ServerError(_) => true,
        Value::Okay | Value::Nil => is_set(verb, request),
        Value::Int(0 | 1) => !is_set(verb, request),
        Value::Int(-1) => verb != Verb::Acquire,
        _ => false,
    }
}

/// What the reply to a verb says. Anything but the few replies that are expected is an error: it
/// must never count as a vote.
pub fn vote(verb: Verb, request: &Request, reply: Value) -> Vote {
    match reply {
        _ if !fits(verb, request, &reply) => Err(NodeError::protocol()),
        Value::ServerError(error) => Err(refused(name(verb, request), &error)),
        Value::Okay | Value::Int(1) => Ok(Answer::Granted),
        Value::Nil | Value::Int(0) => Ok(Answer::Taken),
        _ => Ok(Answer::Absent),
    }
}

/// The commands that have to be allowed: for a script, a server may say no more than that one is not.
fn name(verb: Verb, request: &Request) -> &'static str {
    match verb {
        Verb::Acquire if is_set(verb, request) => "SET",
        Verb::Acquire => "EVAL/EVALSHA of EXISTS, SET",
        Verb::Release => "EVAL/EVALSHA of GET, DEL",
        Verb::Extend { recreate: false } => "EVAL/EVALSHA of GET, PTTL, PEXPIRE",
        Verb::Extend { recreate: true } => "EVAL/EVALSHA of GET, SET, PTTL, PEXPIRE",
        Verb::Owner => "EVAL/EVALSHA of GET",
    }
}
