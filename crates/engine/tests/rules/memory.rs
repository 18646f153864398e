//! The node in memory, which says what every backend has to do.

use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{Answer, Detail, Kind, MemoryNode, Request, Value, Verb};
use tokio::time::advance;

use crate::support::{FOREIGN, TokioClock, keys, ms};

const A: &str = "a";
const B: &str = "b";
const EXTEND: Verb = Verb::Extend { recreate: false };
const RECREATE: Verb = Verb::Extend { recreate: true };

fn node() -> MemoryNode {
    MemoryNode::new(TokioClock::start())
}

fn request(names: &[&str], value: &str, expiry: Duration) -> Request {
    Request {
        kind: Kind::Mutex,
        permits: 1,
        token: None,
        keys: keys(names),
        value: Value::from(value),
        expiry,
        timeout: Duration::ZERO,
        quarantine: Duration::ZERO,
    }
}

fn ours(names: &[&str]) -> Request {
    request(names, "ours", ms(1000))
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_key_expires_on_the_millisecond() {
    let node = node();
    assert_eq!(node.apply(Verb::Acquire, &ours(&[A])), Answer::Granted);
    advance(ms(999)).await;
    assert_eq!(node.get(A).as_deref(), Some("ours"));
    assert_eq!(node.apply(Verb::Acquire, &request(&[A], FOREIGN, ms(1000))), Answer::Taken);
    advance(ms(1)).await;
    assert_eq!(node.get(A), None);
    for verb in [Verb::Owner, Verb::Release, EXTEND] {
        assert_eq!(node.apply(verb, &ours(&[A])), Answer::Absent, "{verb:?}");
    }
    assert_eq!(node.apply(Verb::Acquire, &request(&[A], FOREIGN, ms(1000))), Answer::Granted);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_old_expiry_does_not_end_a_new_life() {
    let node = node();
    // Released and acquired again: the first life would have ended at 1000 ms.
    node.apply(Verb::Acquire, &ours(&[A]));
    advance(ms(500)).await;
    node.apply(Verb::Release, &ours(&[A]));
    node.apply(Verb::Acquire, &request(&[A], FOREIGN, ms(1000)));
    // Extended, twice.
    node.apply(Verb::Acquire, &ours(&[B]));
    advance(ms(400)).await;
    node.apply(EXTEND, &ours(&[B]));
    advance(ms(400)).await;
    node.apply(EXTEND, &ours(&[B]));
    assert_eq!(node.get(A).as_deref(), Some(FOREIGN), "at 1300 ms");
    advance(ms(200)).await;
    assert_eq!(node.get(A), None, "at 1500 ms");
    advance(ms(799)).await;
    assert_eq!(node.get(B).as_deref(), Some("ours"), "at 2299 ms");
    advance(ms(1)).await;
    assert_eq!(node.get(B), None, "at 2300 ms");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn each_verb_on_two_keys_is_all_or_nothing() {
    use Answer::{Absent, Granted, Taken};
    const OURS: Option<&str> = Some("ours");
    const THEIRS: Option<&str> = Some(FOREIGN);
    // What both keys store; the verb; its answer; what they store then.
    let table = [
        ([None, None], Verb::Acquire, Granted, [OURS, OURS]),
        ([None, THEIRS], Verb::Acquire, Taken, [None, THEIRS]),
        ([OURS, None], Verb::Acquire, Taken, [OURS, None]),
        ([OURS, OURS], Verb::Acquire, Taken, [OURS, OURS]),
        ([OURS, OURS], Verb::Release, Granted, [None, None]),
        ([OURS, None], Verb::Release, Absent, [None, None]),
        ([OURS, THEIRS], Verb::Release, Taken, [None, THEIRS]),
        ([None, THEIRS], Verb::Release, Taken, [None, THEIRS]),
        ([None, None], Verb::Release, Absent, [None, None]),
        ([OURS, OURS], EXTEND, Granted, [OURS, OURS]),
        ([OURS, None], EXTEND, Absent, [OURS, None]),
        ([OURS, THEIRS], EXTEND, Taken, [OURS, THEIRS]),
        ([None, None], EXTEND, Absent, [None, None]),
        ([OURS, None], RECREATE, Granted, [OURS, OURS]),
        ([None, None], RECREATE, Granted, [OURS, OURS]),
        ([None, THEIRS], RECREATE, Taken, [None, THEIRS]),
        ([OURS, THEIRS], RECREATE, Taken, [OURS, THEIRS]),
        ([OURS, OURS], Verb::Shorten, Granted, [OURS, OURS]),
        ([OURS, None], Verb::Shorten, Absent, [OURS, None]),
        ([OURS, THEIRS], Verb::Shorten, Taken, [OURS, THEIRS]),
        ([None, THEIRS], Verb::Shorten, Taken, [None, THEIRS]),
        ([None, None], Verb::Shorten, Absent, [None, None]),
        ([OURS, OURS], Verb::Owner, Granted, [OURS, OURS]),
        ([OURS, None], Verb::Owner, Absent, [OURS, None]),
        ([OURS, THEIRS], Verb::Owner, Taken, [OURS, THEIRS]),
        ([None, None], Verb::Owner, Absent, [None, None]),
    ];
    for (before, verb, answer, after) in table {
        // In either order of the keys.
        for names in [[A, B], [B, A]] {
            let node = node();
            for (name, value) in names.iter().zip(before) {
                if let Some(value) = value {
                    node.apply(Verb::Acquire, &request(&[name], value, ms(1000)));
                }
            }
            assert_eq!(node.apply(verb, &ours(&names)), answer, "{before:?} {verb:?}");
            let stored = names.map(|name| node.get(name));
            assert_eq!(stored.each_ref().map(Option::as_deref), after, "{before:?} {verb:?}");
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_life_is_shortened_and_not_prolonged() {
    let node = node();
    for key in [A, B] {
        node.apply(Verb::Acquire, &ours(&[key]));
    }
    let shorten = |key, value, life| node.apply(Verb::Shorten, &request(&[key], value, life));
    assert_eq!(shorten(A, "ours", ms(300)), Answer::Granted);
    assert_eq!(shorten(A, "ours", ms(500)), Answer::Granted);
    assert_eq!(shorten(B, FOREIGN, ms(300)), Answer::Taken);
    assert_eq!(shorten(B, "ours", ms(5000)), Answer::Granted);
    advance(ms(299)).await;
    assert_eq!(node.get(A).as_deref(), Some("ours"));
    advance(ms(1)).await;
    assert_eq!(node.get(A), None);
    advance(ms(699)).await;
    assert_eq!(node.get(B).as_deref(), Some("ours"));
    advance(ms(1)).await;
    assert_eq!(node.get(B), None);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_extension_that_is_refused_changes_no_expiry() {
    let node = node();
    node.apply(Verb::Acquire, &ours(&[A]));
    node.apply(Verb::Acquire, &request(&[B], FOREIGN, ms(9000)));
    advance(ms(500)).await;
    assert_eq!(node.apply(EXTEND, &ours(&[A, B])), Answer::Taken);
    assert_eq!(node.apply(RECREATE, &ours(&[A, B])), Answer::Taken);
    advance(ms(500)).await;
    assert_eq!(node.get(A), None);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nodes_share_nothing_but_the_clock() {
    let clock = TokioClock::start();
    let (one, other) = (MemoryNode::new(clock.clone()), MemoryNode::new(Rc::clone(&clock) as _));
    one.apply(Verb::Acquire, &ours(&[A]));
    assert_eq!((one.get(A).is_some(), other.get(A)), (true, None));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_walk_tells_each_key_once_and_nothing_that_stands_beside_a_name() {
    let node = node();
    let names: Vec<_> = (0..597).map(|i| format!("job:{i:03}")).collect();
    for name in &names {
        node.apply(Verb::Acquire, &request(&[name], "ours", ms(1000)));
    }
    let beside = [("a:fence", "123"), ("a:sign", "#sign x")];
    let locks = [("b:fence", "12a"), ("b:sign", "sign"), ("123", "123")];
    for (name, value) in beside.iter().chain(&locks) {
        node.apply(Verb::Acquire, &request(&[name], value, ms(1000)));
    }
    node.apply(Verb::Acquire, &request(&["over"], "ours", ms(10)));
    advance(ms(10)).await;
    let (mut from, mut told, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let (answer, detail) = node.answer(Verb::Scan, &request(&["*"], &from, Duration::ZERO));
        let Some(Detail::Page(page)) = detail else { panic!("no page") };
        assert_eq!(answer, Answer::Granted);
        told.extend(page.keys.split('"').skip(1).step_by(2).map(str::to_owned));
        pages += 1;
        from = page.next;
        if from.is_empty() {
            break;
        }
    }
    let mut expected = names;
    expected.extend(locks.iter().map(|(name, _)| (*name).to_owned()));
    expected.sort_unstable();
    assert_eq!(told, expected);
    assert_eq!(pages, 3, "of 200 keys, the last one too");
}
