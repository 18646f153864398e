//! The sign of a writer who waits: it is left wherever readers are, and taken back by a call that ends without the lock.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use redsync_engine::{
    CancellationToken, Delay, Error, Extension, Health, Held, Kind, Mutex, Node, Options, Queues,
    READERS, Redsync, Reply, Request, Verb,
};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use crate::support::{
    Behaviour, FOREIGN, KEY, Outcome, ScriptedNode, TokioClock, World, cancellable, held, keys,
    lock, ms, release, taken, timed, tries,
};

const SIGN: &str = "the lock:sign";
const LIFE: Duration = ms(5000);
const WRITE: Kind = Kind::Write { sign: LIFE, renews: false };

fn write(count: u64) -> Options {
    Options { kind: WRITE, ..tries(count) }
}

fn read() -> Options {
    Options { kind: Kind::Read, ..tries(1) }
}

/// Three nodes, and a reader on each.
async fn read_by_one() -> (World, Mutex, Held) {
    let world = World::of(&[Behaviour::Ok; 3]);
    let reader = world.mutex(read());
    let lock = held(reader.lock(&CancellationToken::new()).await);
    assert!(world.stored().iter().all(|stored| stored.as_deref() == Some(READERS)));
    (world, reader, lock)
}

/// Which nodes have a sign.
fn signs(world: &World) -> Vec<bool> {
    world.scripted.iter().map(|node| node.store.get(SIGN).is_some()).collect()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn it_is_on_every_node_while_the_writer_waits_and_gone_when_he_has_failed() {
    let (world, ..) = read_by_one().await;
    let writer = lock(&world, write(3));
    sleep(ms(5)).await;
    assert_eq!(signs(&world), [true; 3]);
    let other = world.mutex(read()).lock(&CancellationToken::new()).await;
    assert!(matches!(other, Err(Error::Taken { .. })), "{other:?}");
    assert!(matches!(writer.await.unwrap(), Err(Error::Taken { attempts: 3, .. })));
    assert_eq!(signs(&world), [false; 3]);
    held(world.mutex(read()).lock(&CancellationToken::new()).await);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn it_is_gone_when_he_is_stopped() {
    let (world, ..) = read_by_one().await;
    let cancel = CancellationToken::new();
    let writer = cancellable(&world, write(u64::MAX), cancel.clone());
    sleep(ms(35)).await;
    assert_eq!(signs(&world), [true; 3]);
    cancel.cancel();
    assert!(matches!(writer.await.unwrap(), Err(Error::Cancelled)));
    assert_eq!(signs(&world), [false; 3]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_leaves_the_line_leaves_it_to_those_who_wait() {
    let (world, ..) = read_by_one().await;
    let cancel = CancellationToken::new();
    let patient = Options { delay: Delay::Fixed(Duration::from_secs(600)), ..write(2) };
    let first = cancellable(&world, patient, cancel.clone());
    sleep(ms(5)).await;
    let second = lock(&world, write(3));
    assert!(matches!(second.await.unwrap(), Err(Error::Taken { .. })));
    assert_eq!(signs(&world), [true; 3]);
    let late = world.mutex(read()).lock(&CancellationToken::new()).await;
    assert!(matches!(late, Err(Error::Taken { .. })), "{late:?}");
    cancel.cancel();
    assert!(matches!(first.await.unwrap(), Err(Error::Cancelled)));
    assert_eq!(signs(&world), [false; 3]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_has_met_others_does_not_leave_it_to_the_schedule() {
    let world = taken(3);
    let patient = || Options { delay: Delay::Fixed(Duration::from_secs(600)), ..write(10) };
    let first = lock(&world, patient());
    sleep(ms(100)).await;
    release(&world);
    let first = held(first.await.unwrap());
    world.mutex(patient()).unlock(first.value).await.unwrap();
    let reader = held(world.mutex(read()).lock(&CancellationToken::new()).await);
    let writer = lock(&world, patient());
    sleep(ms(50)).await;
    assert_eq!(signs(&world), [true; 3]);
    let late = world.mutex(read()).lock(&CancellationToken::new()).await;
    assert!(matches!(late, Err(Error::Taken { .. })), "{late:?}");
    world.mutex(read()).unlock(reader.value).await.unwrap();
    held(timed(writer).await.0.unwrap());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_mutex_that_waits_already_keeps_no_writer_from_leaving_his() {
    let (world, ..) = read_by_one().await;
    world.scripted.iter().for_each(|node| node.is_watchable.set(true));
    let patient =
        |kind| Options { kind, delay: Delay::Fixed(Duration::from_secs(600)), ..tries(9) };
    let mutex = lock(&world, patient(Kind::Mutex));
    sleep(ms(50)).await;
    let writer = lock(&world, patient(WRITE));
    sleep(ms(50)).await;
    assert_eq!(signs(&world), [true; 3]);
    assert!(!mutex.is_finished() && !writer.is_finished());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_does_not_wait_leaves_none() {
    let (world, ..) = read_by_one().await;
    for outcome in [
        world.mutex(write(1)).lock(&CancellationToken::new()).await,
        world.mutex(write(32)).try_lock(&CancellationToken::new()).await,
    ] {
        assert!(matches!(outcome, Err(Error::Taken { .. })));
        assert_eq!(signs(&world), [false; 3]);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_writer_gets_in_and_nothing_is_left() {
    let (world, reader, read) = read_by_one().await;
    let writer = lock(&world, write(100));
    sleep(ms(15)).await;
    assert_eq!(signs(&world), [true; 3]);
    reader.unlock(read.value).await.unwrap();
    let written = held(writer.await.unwrap());
    assert_eq!(world.stored(), vec![Some(written.value.to_string()); 3]);
    assert_eq!(signs(&world), [false; 3]);
    world.mutex(write(1)).unlock(written.value).await.unwrap();
    assert!(world.scripted.iter().all(|node| node.store.is_empty()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_has_the_lock_and_reads_from_then_on_takes_back_what_is_left() {
    // A reader on one node, which a mutex has taken since, or has not. Nobody has heard from that one.
    for is_taken in [false, true] {
        let world = World::of(&[Behaviour::Ok, Behaviour::Ok, Behaviour::Slow(ms(1))]);
        let node = &world.scripted[2].store;
        let reader = Request {
            kind: Kind::Read,
            permits: 1,
            token: None,
            keys: keys(&[KEY]),
            value: "a reader".into(),
            expiry: ms(1000),
            timeout: ms(1),
            quarantine: Duration::ZERO,
        };
        node.apply(Verb::Acquire, &reader);
        let options = Options { fail_fast: true, ..write(2) };
        let written = held(lock(&world, options).await.unwrap());
        assert_eq!(signs(&world), [false, false, true]);
        if is_taken {
            node.apply(Verb::Release, &reader);
            node.apply(Verb::Acquire, &Request { kind: Kind::Mutex, ..reader });
        }
        let reading = world.mutex(read());
        held(reading.extend(written.value.clone()).await);
        assert_eq!(signs(&world), [false; 3], "{is_taken}");
        reading.unlock(written.value).await.unwrap();
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_has_the_lock_takes_back_the_signs_of_earlier_attempts() {
    let (world, reader, read) = read_by_one().await;
    let writer = lock(&world, write(u64::MAX));
    sleep(ms(5)).await;
    assert_eq!(signs(&world), [true; 3]);
    reader.unlock(read.value).await.unwrap();
    // Before the writer comes to this node, a mutex does.
    world.scripted[2].plant(KEY, FOREIGN);
    let written = held(writer.await.unwrap());
    sleep(ms(1)).await;
    // There it is that of the lock, which goes with it: a release of its value could come late.
    assert_eq!(signs(&world), [false, false, true]);
    assert!(world.asked(Verb::Release).iter().all(|asked| asked.value != *written.value));
    world.mutex(write(1)).unlock(written.value).await.unwrap();
    assert_eq!(signs(&world), [false; 3]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_is_told_that_he_has_lost_the_lock_takes_back_what_is_left() {
    for recreate_on_extend in [false, true] {
        let (world, reader, read) = read_by_one().await;
        let writing = Options { recreate_on_extend, ..write(u64::MAX) };
        let writer = lock(&world, writing.clone());
        sleep(ms(5)).await;
        reader.unlock(read.value).await.unwrap();
        // Before the writer comes to this node, a mutex does: his sign stays there beside it.
        world.scripted[2].plant(KEY, FOREIGN);
        let written = held(writer.await.unwrap());
        sleep(ms(1)).await;
        assert_eq!(signs(&world), [false, false, true]);
        for node in &world.scripted {
            node.wipe(KEY);
            node.plant(KEY, FOREIGN);
        }
        let lost = world.mutex(writing).extend(written.value).await;
        assert!(matches!(lost, Err(Error::NotExtended { .. })), "{lost:?}");
        sleep(ms(1)).await;
        assert_eq!(signs(&world), [false; 3], "{recreate_on_extend}");
        assert!(world.stored().iter().all(|stored| stored.as_deref() == Some(FOREIGN)));
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn where_one_node_is_asked_first_and_has_readers_the_others_get_the_sign_too() {
    let (world, ..) = read_by_one().await;
    // Each of these has met the other, so each asks one node first.
    let cancel = CancellationToken::new();
    let writer = cancellable(&world, write(u64::MAX), cancel.clone());
    sleep(ms(100)).await;
    let asked = world.asked(Verb::Acquire);
    let (first, last) = asked.split_at(asked.len() - 3);
    assert!(!first.is_empty());
    let mut nodes: Vec<_> = last.iter().map(|asked| asked.node).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, [0, 1, 2], "{asked:?}");
    assert!(last.iter().all(|asked| asked.value == last[0].value), "one attempt");
    cancel.cancel();
    let _ = writer.await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn of_a_node_that_was_refused_halfway_the_reader_is_released() {
    let world = World::of(&[Behaviour::Halfway, Behaviour::Halfway, Behaviour::Ok]);
    let reading = world.mutex(Options { kind: Kind::Read, ..tries(1) });
    assert!(reading.lock(&CancellationToken::new()).await.is_err());
    sleep(ms(1000)).await;
    assert!(world.asked(Verb::Release).iter().any(|asked| asked.node == 0));
}

struct Watcher;

impl redsync_engine::Holder for Watcher {
    fn last_alive(&self, now: Duration) -> Duration {
        now
    }

    fn extended(&self, _until: Duration) {}

    fn lost(&self, why: redsync_engine::Loss) {
        panic!("it is held: {why:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lock_that_is_kept_alive_becomes_a_readers_and_is_kept_as_such() {
    for delay in [0, 1200, 2500] {
        let world = World::of(&[Behaviour::Far(ms(20)); 3]);
        let writer = world.mutex(write(1));
        let written = held(writer.lock(&CancellationToken::new()).await);
        let max_hold = Duration::MAX;
        let kept = Extension { interval: ms(2500), max_hold, max_stall: Duration::MAX };
        let holder = std::rc::Rc::new(Watcher);
        world.redsync.leases.begin(writer.hold(&written), Some(kept), holder);
        // Before, between and beside an extension.
        sleep(ms(delay)).await;
        let reader = world.mutex(read());
        held(reader.extend(written.value.clone()).await);
        sleep(ms(60_000)).await;
        assert!(reader.valid(written.value.clone()).await.unwrap(), "{delay}");
        held(world.mutex(read()).lock(&CancellationToken::new()).await);
        let extensions = world.asked(Verb::Extend { recreate: false });
        assert!(extensions.len() > 60, "{delay}: {}", extensions.len());
        reader.unlock(written.value.clone()).await.unwrap();
        let owner = Request {
            kind: Kind::Read,
            permits: 1,
            token: None,
            keys: keys(&[KEY]),
            value: written.value,
            expiry: ms(1),
            timeout: ms(1),
            quarantine: Duration::ZERO,
        };
        let gone = redsync_engine::Answer::Absent;
        assert!(world.scripted.iter().all(|node| node.store.apply(Verb::Owner, &owner) == gone));
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn readers_and_others_are_kept_alive_in_rounds_of_their_own() {
    let world = World::of(&[Behaviour::Ok; 3]);
    for (number, kind) in [Kind::Read, Kind::Mutex, Kind::Read, WRITE].into_iter().enumerate() {
        let name = format!("lock {number}");
        let mutex = Mutex::new(world.redsync.clone(), keys(&[&name]), Options { kind, ..tries(1) });
        let lock = held(mutex.lock(&CancellationToken::new()).await);
        let kept =
            Extension { interval: ms(2500), max_hold: Duration::MAX, max_stall: Duration::MAX };
        let holder = std::rc::Rc::new(Watcher);
        world.redsync.leases.begin(mutex.hold(&lock), Some(kept), holder);
        spawn_local(async move { drop(mutex) });
    }
    sleep(ms(60_000)).await;
    for (number, kind) in [Kind::Read, Kind::Mutex, Kind::Read, WRITE].into_iter().enumerate() {
        let name = format!("lock {number}");
        let other = if kind == Kind::Read { WRITE } else { Kind::Read };
        let options = Options { kind: other, ..tries(1) };
        let mutex = Mutex::new(world.redsync.clone(), keys(&[&name]), options);
        let outcome = mutex.lock(&CancellationToken::new()).await;
        assert!(matches!(outcome, Err(Error::Taken { .. })), "{name}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_waits_since_before_another_writer_keeps_readers_off_behind_him() {
    let (world, ..) = read_by_one().await;
    let writer = lock(&world, write(u64::MAX));
    sleep(ms(5)).await;
    assert_eq!(signs(&world), [true; 3]);
    for node in &world.scripted {
        node.wipe(SIGN);
        node.wipe(KEY);
        node.plant(KEY, FOREIGN);
    }
    sleep(ms(30)).await;
    assert_eq!(signs(&world), [true; 3]);
    world.scripted.iter().for_each(|node| node.wipe(KEY));
    let reader = world.mutex(read()).lock(&CancellationToken::new()).await;
    assert!(matches!(reader, Err(Error::Taken { .. })), "{reader:?}");
    held(writer.await.unwrap());
    sleep(ms(1)).await;
    assert_eq!(signs(&world), [false; 3]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_has_met_no_readers_leaves_none_behind_another_writer() {
    let world = taken(3);
    let writer = lock(&world, write(u64::MAX));
    sleep(ms(100)).await;
    assert!(world.asked(Verb::Acquire).len() > 3);
    assert_eq!(signs(&world), [false; 3]);
    drop(writer);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn it_stays_where_an_attempt_ended_before_the_node_had_answered() {
    let (world, ..) = read_by_one().await;
    world.scripted[2].become_(Behaviour::Slow(ms(3)));
    let cancels = [CancellationToken::new(), CancellationToken::new()];
    let options = || Options { fail_fast: true, ..write(u64::MAX) };
    let [first, second] = cancels.clone().map(|cancel| cancellable(&world, options(), cancel));
    for (cancel, writer) in cancels.into_iter().zip([first, second]) {
        for _ in 0..100 {
            sleep(ms(5)).await;
            assert_eq!(signs(&world), [true; 3]);
        }
        cancel.cancel();
        assert!(matches!(writer.await.unwrap(), Err(Error::Cancelled)));
    }
    assert_eq!(signs(&world), [false; 3]);
    held(world.mutex(read()).lock(&CancellationToken::new()).await);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn where_no_quorum_answers_he_does_not_ask_whenever_another_has_asked() {
    for good in 0..3 {
        let world = taken(3);
        let patient = Options { delay: Delay::Fixed(Duration::from_secs(600)), ..write(2) };
        let writer = lock(&world, patient);
        sleep(ms(10)).await;
        for (index, node) in world.scripted.iter().enumerate() {
            let is_good = index == good;
            node.become_(if is_good {
                Behaviour::Far(ms(2))
            } else {
                Behaviour::Error { applied: false }
            });
        }
        // Another one asks again and again, and fares no better.
        let asked = || world.asked(Verb::Acquire).iter().filter(|it| it.node == good).count();
        for _ in 0..1000 {
            world.scripted[good].plant(KEY, FOREIGN);
            sleep(ms(1)).await;
            // By the time that the writer comes there it is free, and the others answer nobody.
            world.scripted[good].wipe(KEY);
            sleep(ms(9)).await;
        }
        assert!(asked() < 200, "{} times", asked());
        world.all_become(Behaviour::Ok);
        release(&world);
        held(writer.await.unwrap());
    }
}

/// A second connection to a node: what is sent on it arrives at once.
struct Near(Rc<ScriptedNode>);

impl Node for Near {
    fn ask(&self, verb: Verb, request: &Rc<Request>, reply: Reply) {
        self.0.store.ask(verb, request, reply);
    }

    fn health(&self, limit: Duration) -> Pin<Box<dyn Future<Output = Health>>> {
        self.0.store.health(limit)
    }

    fn close(&self) {}
}

/// Somebody who reads, and two who have opened the same nodes and stand in one line; the first one's commands take 20 ms.
async fn far_and_near() -> (World, [Rc<Redsync>; 2]) {
    let (world, ..) = read_by_one().await;
    world.all_become(Behaviour::Far(ms(20)));
    let far = world.scripted.iter().map(|node| node.clone() as Rc<dyn Node>).collect();
    let near = world.scripted.iter().map(|node| Rc::new(Near(node.clone())) as Rc<dyn Node>);
    let near = near.collect();
    let queues = Rc::<Queues>::default();
    let redsync = |seed, members| {
        let rng = Box::new(StdRng::seed_from_u64(seed));
        let (load, clock) = (Rc::default(), TokioClock::start());
        Redsync::sharing(load, queues.clone(), members, clock, rng, None)
    };
    (world, [redsync(2, far), redsync(3, near)])
}

/// Waits for the lock to write, and asks after each pause, three times, or as soon as there is a chance.
fn wait(redsync: &Rc<Redsync>, pause: u64, cancel: &CancellationToken) -> JoinHandle<Outcome> {
    let options = Options { delay: Delay::Fixed(ms(pause)), ..write(3) };
    let writer = Mutex::new(redsync.clone(), keys(&[KEY]), options);
    let cancel = cancel.clone();
    spawn_local(async move { writer.lock(&cancel).await })
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn it_is_taken_back_over_the_connection_that_it_was_left_over() {
    let (world, [far, near]) = far_and_near().await;
    let cancel = CancellationToken::new();
    let waiting = [wait(&far, 1000, &cancel), wait(&near, 1000, &cancel)];
    // The first one's attempt is on its way, and the second one waits behind him.
    sleep(ms(5)).await;
    cancel.cancel();
    for writer in waiting {
        assert!(matches!(writer.await.unwrap(), Err(Error::Cancelled)));
    }
    sleep(ms(100)).await;
    assert_eq!(signs(&world), [false; 3], "whoever comes last must not be there first");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn one_that_comes_late_over_another_connection_is_taken_back_too() {
    let (world, [far, near]) = far_and_near().await;
    let cancel = CancellationToken::new();
    let first = wait(&far, 1000, &cancel);
    sleep(ms(5)).await;
    let second = wait(&near, 3, &CancellationToken::new());
    cancel.cancel();
    assert!(matches!(first.await.unwrap(), Err(Error::Cancelled)));
    // He has left signs of his own, and has failed, before those of the first one come.
    assert!(matches!(second.await.unwrap(), Err(Error::Taken { attempts: 3, .. })));
    sleep(ms(100)).await;
    assert_eq!(signs(&world), [false; 3]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_has_closed_leaves_it_to_those_who_wait() {
    let (world, [far, near]) = far_and_near().await;
    let (stop_first, stop_second) = (CancellationToken::new(), CancellationToken::new());
    let first = wait(&far, 1000, &stop_first);
    sleep(ms(5)).await;
    let second = wait(&near, 1000, &stop_second);
    sleep(ms(50)).await;
    assert_eq!(signs(&world), [true; 3]);
    stop_first.cancel();
    assert!(matches!(first.await.unwrap(), Err(Error::Cancelled)));
    far.close().await;
    world.all_become(Behaviour::Closed);
    assert_eq!(signs(&world), [true; 3], "for him who waits");
    stop_second.cancel();
    assert!(matches!(second.await.unwrap(), Err(Error::Cancelled)));
    sleep(ms(100)).await;
    assert_eq!(signs(&world), [false; 3]);
}
