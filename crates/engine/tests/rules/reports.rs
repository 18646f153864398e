//! What is told to those who watch from outside: reports of calls, and who holds a lock.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use redsync_engine::{
    CancellationToken, Detail, Error, Health, Keys, Kind, MemoryNode, Mutex, Node, NodeError,
    Notice, Page, Redsync, Reply, Report, Request, Sight, Verb,
};
use tokio::task::spawn_local;

use crate::support::{
    Behaviour, KEY, TokioClock, World, after, granted, held, keys, ms, timed, timed_out, tries,
};

const HUNG: Behaviour = Behaviour::Never { applied: false };

fn never() -> CancellationToken {
    CancellationToken::new()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_first_attempt_granted_by_all_is_nothing_to_tell() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let mutex = world.mutex(tries(3));
    let lock = held(mutex.lock(&never()).await);
    let report = mutex.take_report();
    assert_eq!(report, Report { attempts: 1, votes: vec![granted(); 3], ..Report::default() });
    assert!(report.is_plain());
    mutex.extend(lock.value.clone()).await.unwrap();
    assert!(mutex.take_report().is_plain());
    mutex.unlock(lock.value).await.unwrap();
    assert!(mutex.take_report().is_plain());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_success_tells_who_did_not_grant() {
    let world = World::of(&[Behaviour::Ok, HUNG, Behaviour::Ok]);
    let mutex = world.mutex(tries(3));
    let votes = vec![granted(), timed_out(), granted()];
    let lock = held(mutex.lock(&never()).await);
    let report = mutex.take_report();
    assert_eq!(report, Report { attempts: 1, votes: votes.clone(), ..Report::default() });
    assert!(!report.is_plain());
    mutex.extend(lock.value.clone()).await.unwrap();
    assert_eq!(mutex.take_report().votes, votes);
    mutex.unlock(lock.value).await.unwrap();
    assert_eq!(mutex.take_report().votes, votes);
    let lock = held(mutex.lock(&never()).await);
    mutex.take_report();
    mutex.unlock_at(lock.value, world.redsync.now() + ms(2000)).await.unwrap();
    assert_eq!(mutex.take_report().votes, votes);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn attempts_and_waits_are_counted() {
    let world = World::of(&[Behaviour::Taken; 3]);
    let failing = world.mutex(tries(3));
    failing.lock(&never()).await.unwrap_err();
    let report = failing.take_report();
    assert_eq!((report.waits, report.votes.len()), (2, 0), "{report:?}");
    assert!(report.attempts >= 1 && report.attempts <= world.asked(Verb::Acquire).len() as u64);

    let world = Rc::new(World::of(&[Behaviour::Error { applied: false }; 3]));
    let heal = world.clone();
    after(ms(25), move || heal.all_become(Behaviour::Ok));
    let mutex = world.mutex(tries(10));
    held(mutex.lock(&never()).await);
    let report = mutex.take_report();
    assert_eq!(report.waits, 3, "{report:?}");
    assert_eq!(report.votes, vec![granted(); 3]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_look_shows_value_and_time_left() {
    let clock = TokioClock::start();
    let members: Vec<_> = (0..3).map(|_| Rc::new(MemoryNode::new(clock.clone()))).collect();
    let nodes = Redsync::new(
        members.iter().map(|node| node.clone() as Rc<dyn Node>).collect(),
        clock,
        Box::new(StdRng::seed_from_u64(1)),
    );
    let mutex = Mutex::new(nodes.clone(), keys(&[KEY]), tries(1));
    let lock = held(mutex.lock(&never()).await);
    tokio::time::advance(ms(1000)).await;
    for found in nodes.inspect(KEY, ms(100)).await {
        let found = found.ok().flatten().expect("it is held");
        assert_eq!((found.value.as_str(), found.remaining), (&*lock.value, Some(ms(7000))));
    }
    let elsewhere = nodes.inspect("another", ms(100)).await;
    assert!(elsewhere.iter().all(|found| matches!(found, Ok(None))));
    mutex.unlock(lock.value).await.unwrap();
    let afterwards = nodes.inspect(KEY, ms(100)).await;
    assert!(afterwards.iter().all(|found| matches!(found, Ok(None))));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_look_ends_in_time() {
    let world = World::of(&[HUNG, Behaviour::Ok]);
    let found = world.redsync.inspect(KEY, ms(100)).await;
    assert!(found[0].as_ref().is_err_and(|error| error.code == "ETIMEDOUT"));
    assert!(matches!(found[1], Ok(None)));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_walk_asks_one_node_for_one_page() {
    let world = World::of(&[Behaviour::Ok; 3]);
    for (node, name) in ["a", "b", "c"].iter().enumerate() {
        world.scripted[node].plant(name, "a value");
    }
    let page = world.redsync.scan(1, "*", "", ms(100)).await;
    assert_eq!(page.map(|page| (page.keys, page.next)), Ok(("[\"b\"]".into(), String::new())));
    let asked = world.asked(Verb::Scan);
    assert_eq!(asked.iter().map(|asked| asked.node).collect::<Vec<_>>(), [1]);
    world.all_become(HUNG);
    let (outcome, elapsed) = timed(world.redsync.scan(1, "*", "", ms(100))).await;
    assert_eq!(elapsed, ms(100));
    let votes = vec![None, timed_out(), None];
    assert_eq!(outcome.err(), Some(Error::Failed { votes, attempts: 1 }));
}

/// Brings a page and says no more.
struct Halting(RefCell<Vec<Reply>>);

impl Node for Halting {
    fn ask(&self, _verb: Verb, _request: &Rc<Request>, reply: Reply) {
        reply.bring(Detail::Page(Page::of(&["a"], "")));
        self.0.borrow_mut().push(reply);
    }

    fn health(&self, _limit: Duration) -> Pin<Box<dyn Future<Output = Health>>> {
        Box::pin(std::future::ready(Health::down(NodeError::closed())))
    }

    fn close(&self) {}
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_page_without_an_answer_is_none() {
    let node = Rc::new(Halting(RefCell::default()));
    let rng = Box::new(StdRng::seed_from_u64(1));
    let redsync = Redsync::new(vec![node], TokioClock::start(), rng);
    let votes = vec![timed_out()];
    let outcome = redsync.scan(0, "*", "", ms(100)).await;
    assert_eq!(outcome.err(), Some(Error::Failed { votes, attempts: 1 }));
}

/// Stores somebody's value without an expiry, as a server does that somebody has used by hand.
struct Endless {
    store: MemoryNode,
    notices: RefCell<Vec<Notice>>,
}

impl Node for Endless {
    fn ask(&self, verb: Verb, request: &Rc<Request>, reply: Reply) {
        self.store.ask(verb, request, reply);
    }

    fn health(&self, limit: Duration) -> Pin<Box<dyn Future<Output = Health>>> {
        self.store.health(limit)
    }

    fn watch(&self, _keys: &Keys, _kind: Kind, notice: Notice) {
        notice.seen(Sight::Taken { life: None });
        self.notices.borrow_mut().push(notice);
    }

    fn close(&self) {}
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_call_that_fails_tells_which_keys_have_no_end() {
    for is_released in [false, true] {
        let clock = TokioClock::start();
        let node =
            Rc::new(Endless { store: MemoryNode::new(clock.clone()), notices: RefCell::default() });
        let rng = Box::new(StdRng::seed_from_u64(1));
        let redsync = Redsync::new(vec![node.clone()], clock, rng);
        let other = Mutex::new(redsync.clone(), keys(&[KEY]), tries(1));
        let theirs = held(other.try_lock(&never()).await);
        let value = theirs.value.clone();
        if is_released {
            after(ms(25), move || {
                drop(spawn_local(async move { other.unlock(value).await }));
            });
        }
        let mutex = Mutex::new(redsync, keys(&[KEY]), tries(5));
        let outcome = mutex.lock(&never()).await;
        assert_eq!(outcome.is_ok(), is_released);
        let endless = mutex.take_report().endless;
        assert_eq!(endless, if is_released { vec![] } else { vec![0] });
    }
}
