//! Readers and writers on the node in memory, which says what every backend has to do.

use std::time::Duration;

use redsync_engine::{Answer, Detail, Kind, MemoryNode, READERS, Request, Token, Value, Verb};
use tokio::time::advance;

use crate::support::{TokioClock, WALL, keys, ms};

use Answer::{Absent, Granted, Taken};

const NAME: &str = "name";
const SIGN: &str = "name:sign";
const EXTEND: Verb = Verb::Extend { recreate: false };
const RECREATE: Verb = Verb::Extend { recreate: true };
const WRITE: Kind = Kind::Write { sign: ms(500), renews: false };
const LAST_WRITE: Kind = Kind::Write { sign: Duration::ZERO, renews: false };

fn node() -> MemoryNode {
    MemoryNode::new(TokioClock::start())
}

fn request(kind: Kind, value: &str, expiry: Duration) -> Request {
    Request {
        kind,
        permits: 1,
        token: None,
        keys: keys(&[NAME]),
        value: Value::from(value),
        expiry,
        timeout: Duration::ZERO,
        quarantine: Duration::ZERO,
    }
}

fn apply(node: &MemoryNode, verb: Verb, kind: Kind, value: &str) -> Answer {
    node.apply(verb, &request(kind, value, ms(1000)))
}

fn brings_readers(node: &MemoryNode, kind: Kind, value: &str) -> bool {
    let (answer, detail) = node.answer(Verb::Acquire, &request(kind, value, ms(1000)));
    assert_eq!(answer, Taken);
    detail == Some(Detail::Readers)
}

/// What can be stored, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    Mutex,
    Writer,
    Reader,
    AnotherReader,
    BothReaders,
}

impl Before {
    fn make(self) -> MemoryNode {
        let node = node();
        let acquire = |kind, value| assert_eq!(apply(&node, Verb::Acquire, kind, value), Granted);
        match self {
            Self::Nothing => {}
            Self::Mutex => acquire(Kind::Mutex, "other"),
            Self::Writer => acquire(WRITE, "ours"),
            Self::Reader => acquire(Kind::Read, "ours"),
            Self::AnotherReader => acquire(Kind::Read, "other"),
            Self::BothReaders => ["other", "ours"].iter().for_each(|it| acquire(Kind::Read, it)),
        }
        node
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn each_verb_of_a_reader_on_whatever_is_stored() {
    use Before::{AnotherReader, BothReaders, Mutex, Nothing, Reader, Writer};
    const MARK: Option<&str> = Some(READERS);
    // What is stored; the verb; its answer; what the name stores then.
    let table = [
        (Nothing, Verb::Acquire, Granted, MARK),
        (Mutex, Verb::Acquire, Taken, Some("other")),
        (Writer, Verb::Acquire, Taken, Some("ours")),
        (Reader, Verb::Acquire, Granted, MARK),
        (AnotherReader, Verb::Acquire, Granted, MARK),
        (Nothing, Verb::Release, Absent, None),
        (Mutex, Verb::Release, Taken, Some("other")),
        (Writer, Verb::Release, Granted, None),
        (Reader, Verb::Release, Granted, None),
        (AnotherReader, Verb::Release, Absent, MARK),
        (BothReaders, Verb::Release, Granted, MARK),
        (Nothing, EXTEND, Absent, None),
        (Mutex, EXTEND, Taken, Some("other")),
        (Writer, EXTEND, Granted, MARK),
        (Reader, EXTEND, Granted, MARK),
        (AnotherReader, EXTEND, Absent, MARK),
        (BothReaders, EXTEND, Granted, MARK),
        (Nothing, RECREATE, Granted, MARK),
        (Mutex, RECREATE, Taken, Some("other")),
        (AnotherReader, RECREATE, Granted, MARK),
        (Nothing, Verb::Owner, Absent, None),
        (Mutex, Verb::Owner, Taken, Some("other")),
        (Writer, Verb::Owner, Granted, Some("ours")),
        (Reader, Verb::Owner, Granted, MARK),
        (AnotherReader, Verb::Owner, Absent, MARK),
    ];
    for (before, verb, answer, stored) in table {
        let node = before.make();
        assert_eq!(apply(&node, verb, Kind::Read, "ours"), answer, "{before:?} {verb:?}");
        assert_eq!(node.get(NAME).as_deref(), stored, "{before:?} {verb:?}");
        // Who has been let in is in, and who has been let out is out.
        let is_in = match (verb, answer) {
            (Verb::Release, _) => Absent,
            (_, Granted) => Granted,
            _ => apply(&before.make(), Verb::Owner, Kind::Read, "ours"),
        };
        let owner = apply(&node, Verb::Owner, Kind::Read, "ours");
        assert!(owner == is_in || before == Mutex, "{before:?} {verb:?}: {owner:?}");
        // A mutex and a writer are excluded by whatever is there.
        for kind in [Kind::Mutex, WRITE] {
            let expected = if stored.is_none() { Granted } else { Taken };
            let copy = before.make();
            apply(&copy, verb, Kind::Read, "ours");
            assert_eq!(apply(&copy, Verb::Acquire, kind, "third"), expected, "{before:?} {verb:?}");
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_writer_is_a_mutex_but_is_told_of_readers_and_leaves_a_sign() {
    for (before, meets_readers) in
        [(Before::Mutex, false), (Before::Writer, false), (Before::Reader, true)]
    {
        let node = before.make();
        assert_eq!(brings_readers(&node, WRITE, "w"), meets_readers, "{before:?}");
        assert_eq!(node.get(SIGN).is_some(), meets_readers, "{before:?}");
        assert!(
            !brings_readers(&node, Kind::Mutex, "m"),
            "{before:?}: it knows nothing of readers"
        );
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_sign_keeps_new_readers_off_until_it_is_over_or_taken_back() {
    let node = node();
    apply(&node, Verb::Acquire, Kind::Read, "r1");
    assert!(brings_readers(&node, WRITE, "w1"));
    assert_eq!(apply(&node, Verb::Acquire, Kind::Read, "r2"), Taken);
    assert_eq!(apply(&node, EXTEND, Kind::Read, "r1"), Granted, "who is in stays in");
    assert_eq!(apply(&node, RECREATE, Kind::Read, "r1"), Granted);
    advance(ms(499)).await;
    assert_eq!(apply(&node, Verb::Acquire, Kind::Read, "r2"), Taken);
    advance(ms(1)).await;
    assert_eq!(apply(&node, Verb::Acquire, Kind::Read, "r2"), Granted, "it is over");

    assert!(brings_readers(&node, WRITE, "w2"));
    assert!(brings_readers(&node, LAST_WRITE, "w3"), "the last attempt leaves the sign as it is");
    assert_eq!(apply(&node, Verb::Release, WRITE, "w3"), Taken);
    assert_eq!(apply(&node, Verb::Acquire, Kind::Read, "r3"), Taken, "it is another's");
    assert_eq!(apply(&node, Verb::Release, LAST_WRITE, "w2"), Taken);
    assert_eq!(apply(&node, Verb::Acquire, Kind::Read, "r3"), Granted, "it was taken back");

    assert!(brings_readers(&node, WRITE, "w4"));
    for reader in ["r1", "r2", "r3"] {
        assert_eq!(apply(&node, Verb::Release, Kind::Read, reader), Granted);
    }
    assert_eq!(apply(&node, Verb::Acquire, Kind::Read, "r4"), Taken, "the writer is next");
    assert_eq!(apply(&node, Verb::Acquire, WRITE, "w5"), Granted);
    assert_eq!(apply(&node, Verb::Release, WRITE, "w5"), Granted);
    assert_eq!(apply(&node, Verb::Acquire, Kind::Read, "r4"), Taken, "the other one is next");
    assert_eq!(apply(&node, Verb::Release, WRITE, "w4"), Absent);
    assert!(node.is_empty());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_no_sign_is_neither_replaced_nor_deleted() {
    let node = node();
    let lock = Request { keys: keys(&[SIGN]), ..request(Kind::Mutex, "lock", ms(9000)) };
    node.apply(Verb::Acquire, &lock);
    assert_eq!(apply(&node, Verb::Acquire, Kind::Read, "r"), Taken);
    assert_eq!(apply(&node, Verb::Acquire, WRITE, "w"), Granted);
    assert_eq!(apply(&node, EXTEND, Kind::Read, "w"), Granted);
    assert!(brings_readers(&node, WRITE, "w2"));
    apply(&node, Verb::Release, WRITE, "lock");
    assert_eq!(node.get(SIGN).as_deref(), Some("lock"));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn each_reader_goes_at_its_own_end_and_the_mark_with_the_last() {
    let node = node();
    apply(&node, Verb::Acquire, Kind::Read, "crashed");
    advance(ms(400)).await;
    apply(&node, Verb::Acquire, Kind::Read, "extends");
    advance(ms(599)).await;
    assert_eq!(apply(&node, Verb::Owner, Kind::Read, "crashed"), Granted, "at 999 ms");
    apply(&node, EXTEND, Kind::Read, "extends");
    advance(ms(1)).await;
    for verb in [Verb::Owner, EXTEND, Verb::Release] {
        assert_eq!(apply(&node, verb, Kind::Read, "crashed"), Absent, "{verb:?} at 1000 ms");
    }
    advance(ms(998)).await;
    assert_eq!(apply(&node, Verb::Acquire, WRITE, "w"), Taken, "at 1998 ms");
    advance(ms(1)).await;
    assert_eq!(apply(&node, Verb::Acquire, WRITE, "w"), Granted, "at 1999 ms");
    apply(&node, Verb::Release, WRITE, "w");
    assert!(node.is_empty());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_mark_ends_with_the_last_who_is_left() {
    let node = node();
    node.apply(Verb::Acquire, &request(Kind::Read, "short", ms(1000)));
    node.apply(Verb::Acquire, &request(Kind::Read, "long", ms(5000)));
    // No life is made shorter by an extension.
    assert_eq!(node.apply(EXTEND, &request(Kind::Read, "long", ms(10))), Granted);
    advance(ms(500)).await;
    assert_eq!(apply(&node, Verb::Owner, Kind::Read, "long"), Granted);
    assert_eq!(apply(&node, Verb::Release, Kind::Read, "long"), Granted);
    advance(ms(499)).await;
    assert_eq!(node.get(NAME).as_deref(), Some(READERS), "at 999 ms");
    advance(ms(1)).await;
    assert_eq!(node.get(NAME), None, "at 1000 ms");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_writer_who_becomes_a_reader_keeps_his_life_and_lets_others_in() {
    let node = node();
    node.apply(Verb::Acquire, &request(WRITE, "w", ms(5000)));
    assert_eq!(apply(&node, EXTEND, Kind::Read, "w"), Granted);
    assert_eq!(apply(&node, Verb::Acquire, Kind::Read, "r"), Granted);
    assert_eq!(apply(&node, Verb::Acquire, WRITE, "w2"), Taken);
    assert_eq!(apply(&node, EXTEND, WRITE, "w"), Taken, "there is no way back");
    advance(ms(4999)).await;
    assert_eq!(apply(&node, Verb::Owner, Kind::Read, "w"), Granted, "at 4999 ms");
    assert_eq!(apply(&node, Verb::Owner, Kind::Read, "r"), Absent);
    assert_eq!(apply(&node, Verb::Release, Kind::Read, "w"), Granted);
    assert_eq!(node.get(NAME), None);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn readers_of_before_are_not_those_of_a_new_mark() {
    let node = node();
    apply(&node, Verb::Acquire, Kind::Read, "before");
    // Somebody has deleted the key.
    apply(&node, Verb::Release, Kind::Mutex, READERS);
    apply(&node, Verb::Acquire, Kind::Read, "after");
    assert_eq!(apply(&node, Verb::Owner, Kind::Read, "before"), Absent);
    assert_eq!(apply(&node, Verb::Release, Kind::Read, "after"), Granted);
    assert!(node.is_empty());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_writer_with_a_fencing_token_keeps_to_the_rule_of_tokens() {
    let node = node();
    let ask = |kind, value: &str, token: u64| {
        let token = Token::new(token);
        node.answer(Verb::Acquire, &Request { token, ..request(kind, value, ms(1000)) })
    };
    let now = WALL.as_micros() as u64;
    assert_eq!(ask(WRITE, "w1", now).0, Granted);
    apply(&node, Verb::Release, WRITE, "w1");
    let (answer, detail) = ask(WRITE, "w2", now);
    assert!(answer == Absent && matches!(detail, Some(Detail::Bound(_))), "an equal token");
    apply(&node, Verb::Acquire, Kind::Read, "r");
    for token in [now, now + 1] {
        assert!(ask(WRITE, "w3", token) == (Taken, Some(Detail::Readers)), "{token}");
    }
    apply(&node, Verb::Release, Kind::Read, "r");
    assert_eq!(ask(WRITE, "w4", now + 1).0, Granted, "what was not granted was not remembered");
}
