//! The verbs as Redis commands, and Redis' replies as votes.

use std::collections::BTreeSet;

use redis::Value;
use redsync_engine::{Answer, Bound, Detail, Kind, NodeError, Request, Token, Verb, Vote};

use super::super::script::{
    ACQUIRE, ACQUIRE_FENCED, ACQUIRE_FENCED_MANY, ACQUIRE_READ, ACQUIRE_WRITE,
    ACQUIRE_WRITE_FENCED, EXTEND_READ, INSPECT, OWNER, OWNER_MANY, OWNER_READ, RELEASE,
    RELEASE_MANY, RELEASE_READ, RELEASE_WRITE, SCAN, SHORTEN, THE_END, WATCH_READ, found, page,
};
use super::super::side_keys::{FENCE, side_key, sides};
use super::deletion::Deletion;
use super::failure::refused;
use super::known::KnownScripts;

/// So many keys a server looks at for one page.
const SCANNED_AT_ONCE: u64 = 200;

/// Writes the command for a verb, to a server of a cluster or to one that stands alone.
pub fn write(
    verb: Verb,
    request: &Request,
    is_of_cluster: bool,
    scripts: &KnownScripts,
    output: &mut Vec<u8>,
) {
    let expiry = request.expiry.as_millis() as u64;
    let (call, operands): (_, &[u64]) = match (request.kind, verb) {
        (Kind::Mutex, Verb::Acquire) if is_set(verb, request) => {
            output.extend(b"*6\r\n$3\r\nSET\r\n");
            string(output, &request.keys[0]);
            string(output, &request.value);
            output.extend(b"$2\r\nNX\r\n$2\r\nPX\r\n");
            return number(output, expiry);
        }
        (Kind::Mutex, Verb::Acquire) => match request.token {
            Some(token) => (scripts.call(&ACQUIRE_FENCED), &[expiry, token.get()]),
            None => (ACQUIRE.in_full(), &[expiry]),
        },
        (Kind::Read, Verb::Acquire) => (scripts.call(&ACQUIRE_READ), &[expiry]),
        (Kind::Write { sign, renews }, Verb::Acquire) => {
            let (sign, renews) = (sign.as_millis() as u64, u64::from(renews));
            match request.token {
                Some(token) => {
                    (scripts.call(&ACQUIRE_WRITE_FENCED), &[expiry, token.get(), sign, renews])
                }
                None => (scripts.call(&ACQUIRE_WRITE), &[expiry, sign, renews]),
            }
        }
        (Kind::Mutex, Verb::Release) => (scripts.call(&RELEASE), &[]),
        (Kind::Read, Verb::Release) => (scripts.call(&RELEASE_READ), &[]),
        (Kind::Write { .. }, Verb::Release) => (scripts.call(&RELEASE_WRITE), &[]),
        (Kind::Read, Verb::Extend { recreate: true }) => (EXTEND_READ.in_full(), &[expiry, 1]),
        (Kind::Read, Verb::Extend { recreate: false }) => {
            (scripts.call(&EXTEND_READ), &[expiry, 0])
        }
        (_, Verb::Extend { recreate: true }) => (scripts.extend().in_full(), &[expiry, 1]),
        (_, Verb::Extend { recreate: false }) => (scripts.call(scripts.extend()), &[expiry, 0]),
        (_, Verb::Shorten) => (scripts.call(&SHORTEN), &[expiry]),
        (Kind::Read, Verb::Owner) => (scripts.call(&OWNER_READ), &[]),
        (_, Verb::Owner) => (scripts.call(&OWNER), &[]),
        (_, Verb::Inspect) => (scripts.call(&INSPECT), &[]),
        (_, Verb::Scan) => return write_scan(request, scripts, output),
    };
    let sides = sides(verb, request);
    let keys = request.keys.len() * (1 + sides.len());
    header(output, b'*', 4 + keys + operands.len());
    call.iter().for_each(|part| string(output, part));
    number(output, keys as u64);
    request.keys.iter().for_each(|key| string(output, key));
    for what in sides {
        request.keys.iter().for_each(|key| string(output, &side_key(key, what, is_of_cluster)));
    }
    string(output, &request.value);
    operands.iter().for_each(|operand| number(output, *operand));
}

/// Writes a release without a script, of a request that can be asked together with others.
pub fn write_deletion(deletion: Deletion, request: &Request, output: &mut Vec<u8>) {
    let (key, value) = (&*request.keys[0], &*request.value);
    let words: &[&str] = match deletion {
        Deletion::DelIfEq => &["DELIFEQ", key, value],
        Deletion::DelEx => &["DELEX", key, "IFEQ", value],
    };
    header(output, b'*', words.len());
    words.iter().for_each(|word| string(output, word));
}

/// Writes the question for what is in a reader's way: see `watch-read.lua`.
pub fn write_watch(name: &str, sign: &str, scripts: &KnownScripts, output: &mut Vec<u8>) {
    header(output, b'*', 5);
    scripts.call(&WATCH_READ).iter().for_each(|part| string(output, part));
    number(output, 2);
    string(output, name);
    string(output, sign);
}

/// Writes the question for some of the keys: see `scan.lua`. They are told as they are.
fn write_scan(request: &Request, scripts: &KnownScripts, output: &mut Vec<u8>) {
    header(output, b'*', 7);
    scripts.call(&SCAN).iter().for_each(|part| string(output, part));
    number(output, 0);
    string(output, if request.value.is_empty() { THE_END } else { &request.value });
    string(output, &request.keys[0]);
    number(output, SCANNED_AT_ONCE);
    number(output, 0);
}

/// Can it be asked together with others, of one name each and one expiry?
pub fn can_run(verb: Verb, request: &Request) -> bool {
    let can_run = match (verb, request.kind) {
        (Verb::Acquire, Kind::Mutex) => request.token.is_some(),
        (Verb::Release, Kind::Mutex) => true,
        (Verb::Extend { recreate: false } | Verb::Owner, Kind::Mutex | Kind::Write { .. }) => true,
        _ => false,
    };
    can_run && request.keys.len() == 1
}

/// Writes one command for many requests, which can be asked together.
pub fn write_many<'a>(
    verb: Verb,
    requests: impl ExactSizeIterator<Item = &'a Request> + Clone,
    scripts: &KnownScripts,
    output: &mut Vec<u8>,
) {
    let expiry = requests.clone().next().map_or(0, |request| request.expiry.as_millis() as u64);
    let (script, lists) = match verb {
        Verb::Acquire => (&ACQUIRE_FENCED_MANY, 2),
        Verb::Release => (&RELEASE_MANY, 1),
        Verb::Owner => (&OWNER_MANY, 1),
        _ => (scripts.extend_many(), 1),
    };
    header(output, b'*', 4 + 2 * lists * requests.len());
    scripts.call(script).iter().for_each(|part| string(output, part));
    number(output, (lists * requests.len()) as u64);
    requests.clone().for_each(|request| string(output, &request.keys[0]));
    if verb == Verb::Acquire {
        // Not to a server of a cluster: it takes one name at a time.
        requests
            .clone()
            .for_each(|request| string(output, &side_key(&request.keys[0], FENCE, false)));
    }
    number(output, expiry);
    requests.clone().for_each(|request| string(output, &request.value));
    if verb == Verb::Acquire {
        requests.for_each(|request| number(output, request.token.map_or(0, Token::get)));
    }
}

fn string(output: &mut Vec<u8>, text: &str) {
    header(output, b'$', text.len());
    output.extend_from_slice(text.as_bytes());
    output.extend_from_slice(b"\r\n");
}

fn number(output: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let digits = decimal(number, &mut digits);
    header(output, b'$', digits.len());
    output.extend_from_slice(digits);
    output.extend_from_slice(b"\r\n");
}

fn header(output: &mut Vec<u8>, kind: u8, length: usize) {
    output.push(kind);
    output.extend_from_slice(decimal(length as u64, &mut [0; 20]));
    output.extend_from_slice(b"\r\n");
}

fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
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

/// The masters of a cluster as `HOST:PORT`, from the reply to CLUSTER SLOTS of the server at `host`.
pub fn masters(reply: &Value, host: &str) -> Option<BTreeSet<String>> {
    let Value::Array(ranges) = reply else { return None };
    ranges.iter().map(|range| master_of(range, host)).collect()
}

/// Reads `[0, 5460, [host, port, ...], ...]`.
fn master_of(range: &Value, host: &str) -> Option<String> {
    let Value::Array(range) = range else { return None };
    let [_, _, Value::Array(master), ..] = &range[..] else { return None };
    match &master[..] {
        // No host means the one that answered.
        [Value::Nil, Value::Int(port), ..] => Some(format!("{host}:{port}")),
        [Value::BulkString(name), Value::Int(port), ..] => {
            let name = str::from_utf8(name).ok()?;
            Some(format!("{}:{port}", if name.is_empty() { host } else { name }))
        }
        _ => None,
    }
}

/// One name is taken by a plain SET.
fn is_set(verb: Verb, request: &Request) -> bool {
    let is_plain = request.kind == Kind::Mutex && request.token.is_none();
    is_plain && verb == Verb::Acquire && request.keys.len() == 1
}

/// Can this be the reply to that verb? SET NX answers OK or nil, a look a text or nil, the other
/// scripts a number.
pub fn fits(verb: Verb, request: &Request, reply: &Value) -> bool {
    match reply {
        Value::ServerError(_) => true,
        _ if verb == Verb::Scan => detail(verb, request, reply).is_some(),
        _ if verb == Verb::Inspect => {
            matches!(reply, Value::Nil) || detail(verb, request, reply).is_some()
        }
        Value::Okay | Value::Nil => is_set(verb, request),
        Value::Int(0 | 1) => !is_set(verb, request),
        Value::Int(-1) => verb != Verb::Acquire || is_by_readers(verb, request),
        Value::Int(_) => detail(verb, request, reply).is_some(),
        _ => false,
    }
}

/// Can the name be taken by readers, who are told of?
fn is_by_readers(verb: Verb, request: &Request) -> bool {
    verb == Verb::Acquire && matches!(request.kind, Kind::Write { .. })
}

/// What the reply to a verb says. Anything but the few replies that are expected is an error: it
/// must never count as a vote.
pub fn vote(verb: Verb, request: &Request, reply: Value) -> Vote {
    match reply {
        _ if !fits(verb, request, &reply) => Err(NodeError::protocol()),
        Value::ServerError(error) => Err(refused(name(verb, request), &error)),
        Value::BulkString(_) if verb == Verb::Scan => Ok(Answer::Granted),
        Value::Okay | Value::Int(1) => Ok(Answer::Granted),
        Value::Nil if verb == Verb::Inspect => Ok(Answer::Absent),
        Value::Nil | Value::Int(0) | Value::BulkString(_) => Ok(Answer::Taken),
        Value::Int(-1) if is_by_readers(verb, request) => Ok(Answer::Taken),
        _ => Ok(Answer::Absent),
    }
}

/// What the reply to a verb brings beside its vote.
pub fn detail(verb: Verb, request: &Request, reply: &Value) -> Option<Detail> {
    match (request.kind, verb, reply) {
        (_, Verb::Inspect, Value::BulkString(reply)) => {
            found(&String::from_utf8_lossy(reply)).map(Detail::Found)
        }
        (_, Verb::Scan, Value::BulkString(reply)) => {
            let mut page = page(&String::from_utf8_lossy(reply))?;
            // A server of a cluster is told with where it ends, for others follow.
            if let [_, server] = &*request.keys {
                let next = if page.next.is_empty() { THE_END } else { &page.next };
                page.next = format!("{next} {server}");
            }
            Some(Detail::Page(page))
        }
        (Kind::Write { .. }, Verb::Acquire, Value::Int(-1)) => Some(Detail::Readers),
        (_, Verb::Acquire, Value::Int(number)) if request.token.is_some() => bound(*number),
        _ => None,
    }
}

/// What an acquisition with a fencing token was told instead of a vote.
fn bound(number: i64) -> Option<Detail> {
    let token = Token::new(number.unsigned_abs()).filter(|token| token.get() > 1)?;
    Some(Detail::Bound(if number > 0 { Bound::Above(token) } else { Bound::UpTo(token) }))
}

/// Can this be the reply to so many requests at once? One letter each.
pub fn fits_many(verb: Verb, requests: usize, reply: &Value) -> bool {
    let letters_of_verb: &[u8] = if verb == Verb::Acquire { b"10?" } else { b"10-?" };
    match reply {
        Value::ServerError(_) => true,
        Value::BulkString(letters) => {
            letters.len() == requests
                && letters.iter().all(|letter| letters_of_verb.contains(letter))
        }
        _ => false,
    }
}

/// What a letter says; `None` if the request has to be asked on its own to know.
pub fn vote_of(letter: u8) -> Option<Answer> {
    match letter {
        b'1' => Some(Answer::Granted),
        b'0' => Some(Answer::Taken),
        b'-' => Some(Answer::Absent),
        _ => None,
    }
}

/// The commands that have to be allowed: for a script, a server may say no more than that one is not.
fn name(verb: Verb, request: &Request) -> &'static str {
    const ENTER: &str = "EVAL/EVALSHA of GET, EXISTS, TIME, SET, PTTL, PEXPIREAT, ZSCORE, ZADD, ZRANGE, ZREMRANGEBYSCORE";
    match (request.kind, verb) {
        (Kind::Read, Verb::Acquire | Verb::Extend { .. }) => ENTER,
        (Kind::Read, Verb::Release) => {
            "EVAL/EVALSHA of GET, DEL, TIME, PEXPIREAT, ZSCORE, ZREM, ZRANGE, ZREMRANGEBYSCORE"
        }
        (Kind::Read, Verb::Owner) => "EVAL/EVALSHA of GET, TIME, ZSCORE",
        (Kind::Write { .. }, Verb::Acquire) if request.token.is_some() => {
            "EVAL/EVALSHA of EXISTS, GET, TIME, SET, DEL"
        }
        (Kind::Write { .. }, Verb::Acquire) => "EVAL/EVALSHA of GET, SET, DEL",
        (_, Verb::Acquire) if is_set(verb, request) => "SET",
        (_, Verb::Acquire) if request.token.is_some() => "EVAL/EVALSHA of EXISTS, GET, TIME, SET",
        (_, Verb::Acquire) => "EVAL/EVALSHA of EXISTS, SET",
        (_, Verb::Release) => "EVAL/EVALSHA of GET, DEL",
        (_, Verb::Extend { recreate: false } | Verb::Shorten) => {
            "EVAL/EVALSHA of GET, PTTL, PEXPIRE"
        }
        (_, Verb::Extend { recreate: true }) => "EVAL/EVALSHA of GET, SET, PTTL, PEXPIRE",
        (_, Verb::Owner) => "EVAL/EVALSHA of GET",
        (_, Verb::Inspect) => "EVAL/EVALSHA of GET, PTTL",
        (_, Verb::Scan) => "EVAL/EVALSHA of SCAN, STRLEN, PTTL, GETRANGE",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redis::cmd;

    use super::*;

    fn request(keys: &[&str]) -> Request {
        Request {
            kind: Kind::Mutex,
            permits: 1,
            token: None,
            keys: keys.iter().map(|key| (*key).into()).collect(),
            value: "wert \u{20ac}\r\n".into(),
            expiry: Duration::from_millis(123_456),
            timeout: Duration::ZERO,
            quarantine: Duration::ZERO,
        }
    }

    #[test]
    fn tells_what_has_to_be_allowed_and_what_can_be_asked_together() {
        let writer = Kind::Write { sign: Duration::ZERO, renews: false };
        let again = Verb::Extend { recreate: true };
        let extend = Verb::Extend { recreate: false };
        for (kind, is_fenced, verb, commands, can_run_alone) in [
            (Kind::Mutex, false, Verb::Acquire, "SET", false),
            (Kind::Mutex, true, Verb::Acquire, "EVAL/EVALSHA of EXISTS, GET, TIME, SET", true),
            (Kind::Mutex, true, Verb::Release, "EVAL/EVALSHA of GET, DEL", true),
            (Kind::Mutex, true, extend, "EVAL/EVALSHA of GET, PTTL, PEXPIRE", true),
            (Kind::Mutex, true, again, "EVAL/EVALSHA of GET, SET, PTTL, PEXPIRE", false),
            (Kind::Mutex, true, Verb::Shorten, "EVAL/EVALSHA of GET, PTTL, PEXPIRE", false),
            (Kind::Mutex, true, Verb::Owner, "EVAL/EVALSHA of GET", true),
            (writer, false, Verb::Acquire, "EVAL/EVALSHA of GET, SET, DEL", false),
            (writer, true, Verb::Acquire, "EVAL/EVALSHA of EXISTS, GET, TIME, SET, DEL", false),
            (writer, true, Verb::Release, "EVAL/EVALSHA of GET, DEL", false),
            (writer, true, extend, "EVAL/EVALSHA of GET, PTTL, PEXPIRE", true),
            (writer, true, Verb::Owner, "EVAL/EVALSHA of GET", true),
            (Kind::Read, false, Verb::Owner, "EVAL/EVALSHA of GET, TIME, ZSCORE", false),
        ] {
            let token = if is_fenced { Token::new(7) } else { None };
            let one = Request { kind, token, ..request(&["a"]) };
            assert_eq!(name(verb, &one), commands, "{kind:?} {verb:?}");
            assert_eq!(can_run(verb, &one), can_run_alone, "{kind:?} {verb:?}");
            assert!(!can_run(verb, &Request { kind, token, ..request(&["a", "b"]) }));
        }
        let many = Request { token: None, ..request(&["a", "b"]) };
        assert_eq!(name(Verb::Acquire, &many), "EVAL/EVALSHA of EXISTS, SET");
    }

    #[test]
    fn tells_a_fencing_token_that_would_be_granted_from_a_vote() {
        let fenced = Request { token: Token::new(7), ..request(&["a"]) };
        for (reply, is_bound) in [(500, true), (-500, true), (1, false), (0, false)] {
            let reply = Value::Int(reply);
            let found = detail(Verb::Acquire, &fenced, &reply);
            assert_eq!(matches!(found, Some(Detail::Bound(_))), is_bound, "{reply:?}");
            assert!(detail(Verb::Acquire, &request(&["a"]), &reply).is_none());
            assert!(detail(Verb::Release, &fenced, &reply).is_none());
        }
    }

    #[test]
    fn a_reply_of_minus_one_means_something_else_for_each() {
        let extend = Verb::Extend { recreate: false };
        let writer = Kind::Write { sign: Duration::ZERO, renews: false };
        let asked = |kind, verb| {
            let request = Request { kind, ..request(&["a", "b"]) };
            vote(verb, &request, Value::Int(-1)).ok()
        };
        assert_eq!(asked(Kind::Mutex, Verb::Acquire), None);
        assert_eq!(asked(Kind::Read, Verb::Acquire), None);
        assert_eq!(asked(writer, Verb::Acquire), Some(Answer::Taken), "by readers");
        for kind in [Kind::Mutex, Kind::Read, writer] {
            for verb in [Verb::Release, extend, Verb::Owner] {
                assert_eq!(asked(kind, verb), Some(Answer::Absent), "{kind:?} {verb:?}");
            }
        }
    }

    #[test]
    fn a_name_that_is_looked_at_is_free_or_taken() {
        let looked = |reply| vote(Verb::Inspect, &request(&["a"]), reply).ok();
        assert_eq!(looked(Value::Nil), Some(Answer::Absent));
        assert_eq!(looked(Value::BulkString("1000 value".into())), Some(Answer::Taken));
        assert_eq!(looked(Value::BulkString("value".into())), None);
        assert_eq!(looked(Value::Int(1)), None);
    }

    #[test]
    fn tells_where_a_walk_goes_on_and_on_which_server() {
        let next = |keys: &[&str], reply: &str| {
            let reply = Value::BulkString(reply.into());
            let found = detail(Verb::Scan, &request(keys), &reply);
            match found {
                Some(Detail::Page(page)) => page.next,
                _ => "no page".to_owned(),
            }
        };
        assert_eq!(next(&["a*"], "7\n[]"), "7");
        assert_eq!(next(&["a*"], "0\n[]"), "");
        assert_eq!(next(&["a*", "host:1"], "7\n[]"), "7 host:1");
        assert_eq!(next(&["a*", "host:1"], "0\n[]"), "0 host:1");
        assert_eq!(next(&["a*"], "seven"), "no page");
    }

    #[test]
    fn reads_the_masters_of_a_cluster() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let range = |master: Value| Value::Array(vec![Value::Int(0), Value::Int(9), master]);
        let at = |host: Value, port| range(Value::Array(vec![host, Value::Int(port), text("id")]));
        let read = |ranges: Vec<Value>| {
            masters(&Value::Array(ranges), "me").map(|it| it.into_iter().collect::<Vec<_>>())
        };
        let whole = vec![at(text("b"), 1), at(text("a"), 1), at(text(""), 2), at(Value::Nil, 3)];
        assert_eq!(read(whole), Some(["a:1", "b:1", "me:2", "me:3"].map(str::to_owned).to_vec()));
        assert_eq!(read(vec![at(text("a"), 1), at(text("a"), 1)]), Some(vec!["a:1".to_owned()]));
        assert_eq!(read(vec![]), Some(vec![]));
        for wrong in [
            Value::Int(1),
            Value::Array(vec![Value::Int(0), Value::Int(9)]),
            range(text("a")),
            range(Value::Array(vec![text("a")])),
            at(Value::Int(1), 1),
            at(Value::BulkString(vec![0xff]), 1),
        ] {
            assert_eq!(read(vec![at(text("a"), 1), wrong]), None);
        }
        assert_eq!(masters(&Value::Nil, "me"), None);
    }

    #[test]
    fn writes_what_redis_rs_writes() {
        let written = |verb, keys: &[&str]| {
            let mut output = Vec::new();
            write(verb, &request(keys), false, &KnownScripts::default(), &mut output);
            output
        };
        let value = &*request(&[]).value;
        let set = cmd("SET").arg("k").arg(value).arg(&["NX", "PX", "123456"]).get_packed_command();
        assert_eq!(written(Verb::Acquire, &["k"]), set);
        let mut eval = cmd("EVAL");
        eval.arg(KnownScripts::default().extend().source)
            .arg(2)
            .arg("a")
            .arg("")
            .arg(value)
            .arg(123_456)
            .arg(1);
        assert_eq!(written(Verb::Extend { recreate: true }, &["a", ""]), eval.get_packed_command());
    }
}
