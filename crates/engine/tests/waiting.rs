//! Who waits, asks when there is reason to, in the order of coming, and without splitting votes.

mod support;

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{
    Answer, Asked, CancellationToken, Clock, Delay, Error, Kind, MemoryNode, Mutex, Node, Options,
    Queues, Redsync, Request, Value, ValueSource, Verb,
};
use support::{
    A_WHILE, Behaviour, FOREIGN, KEY, Outcome, TokioClock, World, cancellable, held, keys, lock,
    ms, release, taken, timed, tries,
};
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::sleep;

/// Long after the rest of a test.
const LATER: Duration = Duration::from_secs(60);

/// Tries with a schedule that plays no part.
fn patient() -> Options {
    Options { delay: Delay::Fixed(LATER), expiry: LATER, ..tries(10) }
}

fn never() -> CancellationToken {
    CancellationToken::new()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_release_elsewhere_is_followed_at_once() {
    for size in [1, 3, 5, 7] {
        let world = taken(size);
        let waiting = lock(&world, patient());
        sleep(ms(500)).await;
        let before = world.asked(Verb::Acquire).len();
        assert_eq!(before, size, "asked once, and not again");
        let ((), elapsed) = timed(async {
            release(&world);
            held(waiting.await.unwrap());
        })
        .await;
        assert_eq!(elapsed, Duration::ZERO, "{size} nodes");
        assert_eq!(world.asked(Verb::Acquire).len(), 2 * size);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn it_waits_until_a_quorum_is_free() {
    let world = taken(5);
    let waiting = lock(&world, patient());
    sleep(ms(500)).await;
    for node in 0..2 {
        world.scripted[node].wipe(KEY);
        sleep(ms(50)).await;
        assert_eq!(world.asked(Verb::Acquire).len(), 5, "{node}: no quorum could be had");
    }
    world.scripted[2].wipe(KEY);
    held(waiting.await.unwrap());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_end_of_its_life_is_as_good_as_a_release() {
    let world = World::of(&[Behaviour::Ok; 3]);
    for node in &world.scripted {
        node.is_watchable.set(true);
        let request = Request {
            kind: Kind::Mutex,
            permits: 1,
            token: None,
            keys: keys(&[KEY]),
            value: Value::from(FOREIGN),
            expiry: ms(700),
            timeout: Duration::ZERO,
            quarantine: Duration::ZERO,
        };
        node.store.apply(Verb::Acquire, &request);
    }
    let (outcome, elapsed) = timed(world.mutex(patient()).lock(&never())).await;
    held(outcome);
    assert!((ms(700)..ms(710)).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_extension_is_no_release() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let request = |expiry| Request {
        kind: Kind::Mutex,
        permits: 1,
        token: None,
        keys: keys(&[KEY]),
        value: Value::from(FOREIGN),
        expiry,
        timeout: Duration::ZERO,
        quarantine: Duration::ZERO,
    };
    for node in &world.scripted {
        node.is_watchable.set(true);
        node.store.apply(Verb::Acquire, &request(ms(500)));
    }
    let start = world.redsync.now();
    let waiting = lock(&world, patient());
    for _ in 0..4 {
        sleep(ms(400)).await;
        for node in &world.scripted {
            node.store.apply(Verb::Extend { recreate: false }, &request(ms(500)));
        }
    }
    held(waiting.await.unwrap());
    assert_eq!(
        (world.redsync.now() - start).as_millis() / 10,
        210,
        "the last life was the longest"
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn without_notice_there_is_the_schedule() {
    let world = taken(3);
    world.scripted.iter().for_each(|node| node.is_watchable.set(false));
    let start = world.redsync.now();
    let free = world.clone();
    support::after(ms(105), move || release(&free));
    let options = Options { delay: Delay::Fixed(ms(50)), ..tries(10) };
    held(world.mutex(options).lock(&never()).await);
    assert_eq!(world.redsync.now() - start, ms(150));
    // And it is found out again with each attempt whether there is a notice.
    let watched = world.scripted.iter().map(|node| node.watched.borrow().len()).min();
    assert!(watched >= Some(2), "{watched:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_learns_to_tell_is_watched_from_the_next_attempt_on() {
    let world = taken(3);
    world.scripted.iter().for_each(|node| node.is_watchable.set(false));
    let options = Options { delay: Delay::Fixed(ms(100)), ..tries(1000) };
    let waiting = lock(&world, options);
    sleep(ms(10)).await;
    world.scripted.iter().for_each(|node| node.is_watchable.set(true));
    sleep(ms(140)).await;
    let ((), elapsed) = timed(async {
        release(&world);
        held(waiting.await.unwrap());
    })
    .await;
    assert_eq!(elapsed, Duration::ZERO);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lost_watch_wakes_and_is_made_again() {
    // Whatever was told before does not count: the key was released while nobody looked.
    let world = taken(1);
    let waiting = lock(&world, patient());
    sleep(ms(100)).await;
    world.scripted[0].store.forget_watchers();
    yield_now().await;
    sleep(ms(1)).await;
    assert_eq!(world.asked(Verb::Acquire).len(), 2, "woken, and asked");
    release(&world);
    let ((), elapsed) = timed(async { drop(held(waiting.await.unwrap())) }).await;
    assert_eq!(elapsed, Duration::ZERO, "watched again");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_wake_up_uses_up_no_try() {
    let world = taken(3);
    let start = world.redsync.now();
    let options = Options { delay: Delay::Fixed(ms(100)), ..tries(4) };
    let waiting = lock(&world, options);
    // Released and taken again between the attempts of the schedule.
    for _ in 0..5 {
        sleep(ms(45)).await;
        world.all_become(Behaviour::Taken);
        release(&world);
    }
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Taken { attempts: 4, .. }), "{error:?}");
    assert_eq!(world.redsync.now() - start, ms(300));
    assert!(world.asked(Verb::Acquire).len() > 8, "extra attempts were made");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn only_the_head_asks() {
    let alone = taken(3);
    let crowd = taken(3);
    let options = Options { delay: Delay::Random, ..tries(20) };
    let one = lock(&alone, options.clone());
    let many: Vec<_> = (0..1000).map(|_| lock(&crowd, options.clone())).collect();
    sleep(Duration::from_secs(1)).await;
    let asked = |world: &World| {
        let watched = world.scripted.iter().map(|node| node.watched.borrow().len());
        world.log().len() + watched.sum::<usize>()
    };
    assert!(asked(&crowd) <= asked(&alone) * 3 / 2, "{} {}", asked(&crowd), asked(&alone));
    one.abort();
    many.into_iter().for_each(|waiting| waiting.abort());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn first_come_first_served() {
    let world = taken(3);
    let order = Rc::new(RefCell::new(Vec::new()));
    let all: Vec<_> = (0..20)
        .map(|number| {
            let (mutex, order) = (world.mutex(patient()), order.clone());
            spawn_local(async move {
                let lock = held(mutex.lock(&never()).await);
                order.borrow_mut().push(number);
                sleep(ms(1)).await;
                mutex.unlock(lock.value).await.unwrap();
            })
        })
        .collect();
    sleep(ms(50)).await;
    release(&world);
    for each in all {
        each.await.unwrap();
    }
    assert_eq!(*order.borrow(), (0..20).collect::<Vec<_>>());
    world.assert_clean(&"all released");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_leaves_disturbs_nobody() {
    let world = taken(3);
    let cancels: Vec<_> = (0..4).map(|_| CancellationToken::new()).collect();
    let mut all: Vec<_> =
        cancels.iter().map(|cancel| cancellable(&world, patient(), cancel.clone())).collect();
    sleep(ms(50)).await;
    // The head, and one in the middle.
    for leaving in [2, 0] {
        cancels[leaving].cancel();
        let (outcome, elapsed) = timed(all.remove(leaving)).await;
        assert_eq!(outcome.unwrap(), Err(Error::Cancelled));
        assert_eq!(elapsed, Duration::ZERO);
    }
    release(&world);
    let first = held(all.remove(0).await.unwrap());
    sleep(A_WHILE).await;
    assert!(!all[0].is_finished());
    world.mutex(patient()).unlock(first.value).await.unwrap();
    held(all.remove(0).await.unwrap());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn in_line_too_the_schedule_ends_a_call() {
    let world = taken(3);
    let head = lock(&world, patient());
    sleep(ms(10)).await;
    let options = Options { delay: Delay::Fixed(ms(20)), ..tries(3) };
    let (outcome, elapsed) = timed(world.mutex(options).lock(&never())).await;
    let taken = Some(Ok(Answer::Taken));
    let votes = vec![taken.clone(), taken.clone(), taken];
    assert_eq!(outcome, Err(Error::Taken { votes, attempts: 3 }));
    assert_eq!(elapsed, ms(40));
    // Not so who wants to know at once.
    let (outcome, elapsed) = timed(world.mutex(patient()).try_lock(&never())).await;
    assert!(matches!(outcome, Err(Error::Taken { attempts: 1, .. })), "{outcome:?}");
    assert_eq!(elapsed, Duration::ZERO);
    release(&world);
    held(head.await.unwrap());
}

/// A function of the caller that never answers.
fn silent<T: 'static>() -> Rc<dyn Fn(u64) -> Asked<T>> {
    Rc::new(|_| Box::pin(pending()))
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_head_that_waits_for_its_callers_function_lets_others_go_first() {
    // For a value, before it has asked at all; and for a delay, when it has.
    let sources = [
        Options { values: ValueSource::Ask(silent()), ..patient() },
        Options { delay: Delay::Ask(silent()), ..patient() },
    ];
    for options in sources {
        let world = taken(3);
        let cancel = CancellationToken::new();
        let head = cancellable(&world, options, cancel.clone());
        sleep(ms(10)).await;
        let second = lock(&world, patient());
        sleep(ms(10)).await;
        let ((), elapsed) = timed(async {
            release(&world);
            held(second.await.unwrap());
        })
        .await;
        assert_eq!(elapsed, Duration::ZERO);
        cancel.cancel();
        assert_eq!(head.await.unwrap(), Err(Error::Cancelled));
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_comes_back_from_its_callers_function_has_kept_its_place() {
    let world = taken(3);
    let values = ValueSource::Ask(Rc::new(|attempt| {
        Box::pin(async move {
            sleep(ms(30)).await;
            Ok(format!("value {attempt}"))
        })
    }));
    let first = lock(&world, Options { values, ..patient() });
    yield_now().await;
    let [second, third] = [lock(&world, patient()), lock(&world, patient())];
    sleep(ms(100)).await;
    release(&world);
    // It has used up its first value, and somebody else goes first while it gets another.
    let lock = held(second.await.unwrap());
    sleep(ms(100)).await;
    world.mutex(patient()).unlock(lock.value).await.unwrap();
    held(first.await.unwrap());
    sleep(A_WHILE).await;
    assert!(!third.is_finished());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_head_whose_timeout_is_too_short_holds_nobody_up() {
    let far = || World::of(&[Behaviour::Far(ms(6)); 3]);
    let alone = far();
    let (outcome, elapsed_alone) = timed(lock(&alone, patient())).await;
    held(outcome.unwrap());
    // An expiry of 100 ms leaves a node 5 ms; whoever comes later is not behind it, either.
    for pause in [ms(0), ms(10), ms(100)] {
        let world = far();
        let hasty = Options { expiry: ms(100), ..tries(u64::MAX) };
        let cancel = CancellationToken::new();
        let head = cancellable(&world, hasty, cancel.clone());
        sleep(pause).await;
        let (outcome, elapsed) = timed(lock(&world, patient())).await;
        held(outcome.unwrap());
        // There is one attempt under way, and then its release.
        assert!(elapsed <= elapsed_alone + 2 * ms(6), "{pause:?}: {elapsed:?}");
        cancel.cancel();
        head.await.unwrap().unwrap_err();
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_call_fails_by_what_it_has_seen_itself() {
    // The head is told that the nodes are too slow for it; the other that the lock is taken.
    let world = World::of(&[Behaviour::Far(ms(6)); 3]);
    world.scripted.iter().for_each(|node| node.plant(KEY, FOREIGN));
    let head = lock(&world, Options { expiry: ms(100), ..tries(50) });
    sleep(ms(1)).await;
    let second = lock(&world, Options { expiry: LATER, ..tries(3) }).await.unwrap();
    assert!(matches!(second, Err(Error::Taken { attempts: 3, .. })), "{second:?}");
    let head = head.await.unwrap();
    assert!(matches!(head, Err(Error::Failed { attempts: 50, .. })), "{head:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_head_that_asks_now_and_then_holds_nobody_up() {
    // Nobody tells that the lock is free again.
    let world = taken(3);
    world.scripted.iter().for_each(|node| node.is_watchable.set(false));
    let _head = lock(&world, patient());
    sleep(ms(5)).await;
    let second = lock(&world, Options { delay: Delay::Fixed(ms(20)), ..tries(5) });
    sleep(ms(50)).await;
    release(&world);
    let (outcome, elapsed) = timed(second).await;
    held(outcome.unwrap());
    assert!(elapsed <= ms(20), "{elapsed:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_crowd_asks_little_more_than_one_where_nobody_tells() {
    for behaviour in [Behaviour::Ok, Behaviour::Error { applied: false }] {
        let asked_by = async |count: usize| {
            let world = taken(3);
            world.scripted.iter().for_each(|node| node.is_watchable.set(false));
            world.all_become(behaviour);
            let options = Options { delay: Delay::Random, ..tries(100) };
            let many: Vec<_> = (0..count).map(|_| lock(&world, options.clone())).collect();
            sleep(Duration::from_secs(3)).await;
            many.into_iter().for_each(|waiting| waiting.abort());
            world.log().len()
        };
        let (alone, crowd) = (asked_by(1).await, asked_by(300).await);
        // At the shortest pauses, and not at the mean ones.
        assert!(crowd <= alone * 4, "{behaviour:?}: {crowd} {alone}");
    }
}

/// How long two hand-overs take within a process after a lock of this expiry, extended for 3 s.
async fn hand_over_after(expiry: Duration) -> Duration {
    let world = taken(3);
    let options = Options { expiry, ..patient() };
    let first = lock(&world, options.clone());
    sleep(ms(10)).await;
    let waiting: Vec<_> = (0..2).map(|_| lock(&world, patient())).collect();
    release(&world);
    let first = held(first.await.expect("no panic"));
    let mutex = world.mutex(options);
    for _ in 0..10 {
        sleep(ms(300)).await;
        mutex.extend(first.value.clone()).await.expect("extended");
    }
    let start = world.redsync.now();
    mutex.unlock(first.value).await.expect("no panic");
    for each in waiting {
        let lock = held(each.await.expect("no panic"));
        mutex.unlock(lock.value).await.expect("no panic");
    }
    world.redsync.now() - start
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lock_that_lives_longer_is_not_taken_for_anothers() {
    assert_eq!(hand_over_after(ms(500)).await, hand_over_after(LATER).await);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_waiter_follows_a_release_of_its_own_process_at_once() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let mutex = world.mutex(patient());
    let first = held(mutex.lock(&never()).await);
    let waiting = lock(&world, patient());
    yield_now().await;
    assert_eq!(world.asked(Verb::Acquire).len(), 6, "nothing is remembered of who met nobody");
    let ((), elapsed) = timed(async {
        mutex.unlock(first.value).await.unwrap();
        held(waiting.await.unwrap());
    })
    .await;
    assert_eq!(elapsed, Duration::ZERO, "followed the release");
    assert_eq!(world.asked(Verb::Acquire).len(), 9);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_key_left_behind_on_the_first_node_blocks_nobody() {
    // On any of the nodes, so on the first too. With notices and without.
    for is_watchable in [true, false] {
        for left in 0..3 {
            let world = taken(3);
            world.scripted.iter().for_each(|node| node.is_watchable.set(is_watchable));
            let options = Options { delay: Delay::Fixed(ms(50)), ..tries(3) };
            let waiting = lock(&world, options);
            sleep(ms(10)).await;
            for node in (0..3).filter(|&node| node != left) {
                world.scripted[node].wipe(KEY);
            }
            held(waiting.await.unwrap());
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_a_mere_quorum_stores_is_followed_at_once_too() {
    for free in 0..3 {
        let world = taken(3);
        world.scripted[free].wipe(KEY);
        let waiting = lock(&world, Options { delay: Delay::Fixed(ms(50)), ..tries(100) });
        sleep(ms(1025)).await; // many tries, each with the vote of that node
        let ((), elapsed) = timed(async {
            release(&world);
            held(waiting.await.unwrap());
        })
        .await;
        assert_eq!(elapsed, Duration::ZERO, "{free}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_is_down_does_not_slow_a_contended_lock() {
    for down in [Behaviour::Error { applied: false }, Behaviour::Never { applied: false }] {
        for node in 0..3 {
            let world = taken(3);
            let waiting = lock(&world, Options { fail_fast: true, ..patient() });
            sleep(ms(10)).await;
            world.scripted[node].become_(down);
            release(&world);
            let (outcome, elapsed) = timed(waiting).await;
            let lock = held(outcome.unwrap());
            // One that hangs is waited for, but for less than its time.
            let limit = patient().expiry.mul_f64(patient().timeout_factor) / 2 + ms(10);
            assert!(elapsed <= limit, "{node} {down:?}: {elapsed:?}");
            assert!(lock.until > world.redsync.now());
        }
    }
}

/// Several processes: each with its own queues over the same stores.
struct Processes {
    clock: Rc<TokioClock>,
    redsync: Vec<Rc<Redsync>>,
    stores: Vec<Rc<Far>>,
}

/// A node that is a round trip away, for all processes.
struct Far {
    store: MemoryNode,
    distance: Duration,
    asked: RefCell<usize>,
    tells: bool,
}

impl Node for Far {
    fn ask(&self, verb: Verb, request: &Rc<Request>, reply: redsync_engine::Reply) {
        *self.asked.borrow_mut() += 1;
        let answer = self.store.apply(verb, request);
        let distance = self.distance;
        spawn_local(async move {
            sleep(distance).await;
            reply.send(Ok(answer));
        });
    }

    fn watch(&self, keys: &redsync_engine::Keys, kind: Kind, notice: redsync_engine::Notice) {
        if self.tells {
            *self.asked.borrow_mut() += 1;
            self.store.watch(keys, kind, notice);
        }
    }

    fn health(
        &self,
        limit: Duration,
    ) -> std::pin::Pin<Box<dyn Future<Output = redsync_engine::Health>>> {
        self.store.health(limit)
    }

    fn close(&self) {}
}

impl Processes {
    fn start(count: u64, size: usize) -> Self {
        Self::over(count, size, true)
    }

    /// The same, on nodes that do not tell of changes.
    fn untold(count: u64, size: usize) -> Self {
        Self::over(count, size, false)
    }

    fn over(count: u64, size: usize, tells: bool) -> Self {
        let clock = TokioClock::start();
        let stores: Vec<_> = (0..size)
            .map(|node| {
                let store = MemoryNode::new(clock.clone());
                // Not all are equally far, so that votes can be split.
                let distance = Duration::from_millis(1 + node as u64 % 2);
                Rc::new(Far { store, distance, asked: RefCell::default(), tells })
            })
            .collect();
        let redsync = (0..count)
            .map(|seed| {
                let members = stores.iter().map(|store| store.clone() as Rc<dyn Node>).collect();
                let rng = Box::new(<rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(seed));
                let queues = Rc::<Queues>::default();
                Redsync::sharing(Rc::default(), queues, members, clock.clone(), rng, None)
            })
            .collect();
        Self { clock, redsync, stores }
    }

    /// Lets each process lock and unlock with so many waiters for a while; gives their turns.
    async fn contend(&self, waiters: usize, options: Options, time: Duration) -> Vec<usize> {
        let end = self.clock.now() + time;
        let turns = Rc::new(RefCell::new(vec![0; self.redsync.len()]));
        let held_by = Rc::new(RefCell::new(None));
        let mut all = Vec::new();
        for (process, redsync) in self.redsync.iter().enumerate() {
            for _ in 0..waiters {
                let mutex = Mutex::new(redsync.clone(), keys(&[KEY]), options.clone());
                let (turns, held_by, clock) = (turns.clone(), held_by.clone(), self.clock.clone());
                all.push(spawn_local(async move {
                    while clock.now() < end {
                        let lock = held(mutex.lock(&never()).await);
                        assert_eq!(held_by.replace(Some(process)), None, "one holder");
                        turns.borrow_mut()[process] += 1;
                        sleep(ms(1)).await;
                        held_by.take();
                        mutex.unlock(lock.value).await.expect("released");
                    }
                }));
            }
        }
        for each in all {
            each.await.expect("no panic");
        }
        turns.take()
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn votes_are_not_split_for_ever_and_every_process_gets_its_share() {
    for (count, size) in [(2, 1), (2, 3), (3, 3), (5, 5), (8, 5), (8, 7)] {
        for shuffle in [false, true] {
            let processes = Processes::start(count, size);
            let options = Options { shuffle, ..Options::default() };
            let time = Duration::from_secs(5);
            let turns = processes.contend(3, options, time).await;
            let total: usize = turns.iter().sum();
            // Held 1 ms, and five round trips of up to 2 ms around it.
            let case = format!("{count} processes, {size} nodes, shuffle {shuffle}: {turns:?}");
            assert!(total > 300, "{case}");
            let fair = total / count as usize;
            assert!(turns.iter().all(|&own| own >= fair / 2), "{case}");
            let asked: usize = processes.stores.iter().map(|store| *store.asked.borrow()).sum();
            println!("{case}: {total}, {} questions a turn", asked / total);
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn one_process_does_not_stand_back_for_nobody() {
    let processes = Processes::start(1, 3);
    let turns = processes.contend(5, Options::default(), Duration::from_secs(2)).await;
    // Held 1 ms, released and acquired in the 2 ms of the farthest node.
    assert!(turns[0] > 2000 / 5, "{turns:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_stood_back_for_others_goes_on_when_they_are_gone() {
    let processes = Processes::start(2, 3);
    // They take turns for a while, then one of them is gone.
    processes.contend(2, Options::default(), A_WHILE).await;
    let alone = Processes { redsync: vec![processes.redsync[0].clone()], ..processes };
    let turns = alone.contend(5, Options::default(), Duration::from_secs(2)).await;
    assert!(turns[0] > 2000 / 5, "{turns:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn where_no_node_tells_every_process_gets_its_share_too() {
    for (count, size) in [(2, 1), (2, 3), (3, 3), (4, 3), (8, 5)] {
        let processes = Processes::untold(count, size);
        let turns = processes.contend(3, Options::default(), Duration::from_secs(20)).await;
        let total: usize = turns.iter().sum();
        let asked: usize = processes.stores.iter().map(|store| *store.asked.borrow()).sum();
        let case = format!("{count} processes, {size} nodes: {turns:?}, {} a turn", asked / total);
        println!("{case}, {total}");
        // Held 1 ms, and released and acquired in the 2 ms of the farthest node.
        assert!(total > 20_000 / 8, "{case}");
        let fair = total / count as usize;
        assert!(turns.iter().all(|&own| own >= fair / 2), "{case}");
        assert!(asked / total < 4 * size, "{case}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn where_no_node_tells_one_process_does_not_stand_back_for_nobody() {
    let told = Processes::start(1, 3);
    let untold = Processes::untold(1, 3);
    let time = Duration::from_secs(5);
    let [told] = told.contend(5, Options::default(), time).await[..] else { panic!("one") };
    let [untold] = untold.contend(5, Options::default(), time).await[..] else { panic!("one") };
    assert!(untold * 100 >= told * 99, "{untold} of {told}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn where_no_node_tells_its_own_lock_is_not_taken_for_that_of_others() {
    let time = Duration::from_millis(1900);
    let most = Processes::untold(1, 3).contend(5, Options::default(), time).await[0];
    let processes = Processes::untold(1, 3);
    // Nothing is noted of a lock that nobody waits for.
    let mutex = Mutex::new(processes.redsync[0].clone(), keys(&[KEY]), Options::default());
    let lock = held(mutex.lock(&never()).await);
    let releasing = spawn_local(async move {
        sleep(ms(20)).await;
        mutex.unlock(lock.value).await.expect("released");
    });
    let turns = processes.contend(5, Options::default(), time + ms(20)).await[0];
    releasing.await.expect("no panic");
    assert!(turns * 100 >= most * 99, "{turns} of {most}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn where_no_node_tells_what_stood_back_for_others_goes_on_when_they_are_gone() {
    let processes = Processes::untold(2, 3);
    processes.contend(2, Options::default(), A_WHILE).await;
    let alone = Processes { redsync: vec![processes.redsync[0].clone()], ..processes };
    // It reckons with them for two seconds.
    alone.contend(5, Options::default(), Duration::from_secs(3)).await;
    let before: usize = alone.contend(5, Options::default(), Duration::from_secs(5)).await[0];
    let never_met = Processes::untold(1, 3);
    let most = never_met.contend(5, Options::default(), Duration::from_secs(5)).await[0];
    assert!(before * 100 >= most * 99, "{before} of {most}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn where_no_node_tells_a_newcomer_gets_its_share() {
    let both = Processes::untold(2, 3);
    let [first, second] = [0, 1].map(|process| Processes {
        clock: both.clock.clone(),
        redsync: vec![both.redsync[process].clone()],
        stores: both.stores.clone(),
    });
    let (first, second) =
        tokio::join!(first.contend(5, Options::default(), Duration::from_secs(20)), async {
            sleep(Duration::from_secs(1)).await;
            second.contend(5, Options::default(), Duration::from_secs(19)).await
        });
    assert!(second[0] * 2 > first[0], "{second:?} beside {first:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn where_no_node_tells_who_waits_for_long_asks_seldom() {
    let world = taken(3);
    world.scripted.iter().for_each(|node| node.is_watchable.set(false));
    let _waiting = lock(&world, Options { delay: Delay::Random, ..tries(100_000) });
    let asked = || world.asked(Verb::Acquire).len() + world.asked(Verb::Owner).len();
    sleep(ms(150)).await;
    let soon = asked();
    assert!((10..40).contains(&soon), "a short lock is soon had: {soon}");
    sleep(Duration::from_secs(60)).await;
    let before = asked();
    sleep(Duration::from_secs(60)).await;
    // By the schedule, and as often in between: one node, and the others looked at.
    let late = asked() - before;
    assert!(late < 60 * 7 * 4, "{late}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_waits_for_its_releases_holds_nobody_up() {
    // A node that hangs has 3 s to answer to the attempt, and as much to the release.
    let hung = Behaviour::Never { applied: true };
    let options = Options { expiry: LATER, ..tries(2) };
    for is_cancelled in [true, false] {
        let world = taken(3);
        world.scripted[0].wipe(KEY);
        world.scripted[0].release_like(hung);
        if is_cancelled {
            release(&world);
            world.scripted[2].become_(hung);
        }
        let cancel = CancellationToken::new();
        let first = cancellable(&world, options.clone(), cancel.clone());
        let second = lock(&world, Options { fail_fast: true, ..patient() });
        sleep(ms(100)).await;
        cancel.cancel();
        release(&world);
        let (outcome, elapsed) = timed(second).await;
        held(outcome.unwrap());
        first.await.unwrap().unwrap_err();
        assert_eq!(elapsed, Duration::ZERO, "{is_cancelled}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_call_is_not_told_of_a_lock_that_nobody_has_seen_since() {
    // Nobody tells of it, and then no node answers any more.
    let world = taken(3);
    world.scripted.iter().for_each(|node| node.is_watchable.set(false));
    let _head = lock(&world, Options { delay: Delay::Fixed(ms(100)), ..tries(1000) });
    sleep(ms(5)).await;
    let second = lock(&world, Options { delay: Delay::Fixed(ms(1000)), ..tries(3) });
    sleep(ms(250)).await;
    world.all_become(Behaviour::Error { applied: false });
    let outcome = second.await.unwrap();
    assert!(matches!(outcome, Err(Error::Failed { attempts: 3, .. })), "{outcome:?}");
}

/// Waits for two names, one of which everybody else wants too.
fn lock_both(world: &World, cancel: CancellationToken) -> JoinHandle<Outcome> {
    let mutex = Mutex::new(world.redsync.clone(), keys(&[KEY, "another"]), patient());
    spawn_local(async move { mutex.lock(&cancel).await })
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_comes_back_to_an_empty_line_is_told_again() {
    let world = taken(3);
    let cancel = never();
    let first = lock_both(&world, cancel.clone());
    sleep(ms(500)).await;
    cancel.cancel();
    assert!(matches!(first.await.unwrap(), Err(Error::Cancelled)));
    // One who looks at the same key: the nodes see that nobody waits for the first notices any more.
    let passing = cancellable(&world, patient(), never());
    sleep(ms(100)).await;
    let again = lock_both(&world, never());
    sleep(ms(100)).await;
    passing.abort();
    let ((), elapsed) = timed(async {
        release(&world);
        held(again.await.unwrap());
    })
    .await;
    assert!(elapsed < ms(100), "{elapsed:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nodes_that_refuse_what_they_tell_to_be_free_are_asked_by_the_schedule() {
    let world = World::of(&[Behaviour::Refused; 3]);
    world.scripted.iter().for_each(|node| node.is_watchable.set(true));
    let options = Options { delay: Delay::Fixed(ms(500)), ..tries(100) };
    let waiting = lock(&world, options);
    sleep(ms(10_000)).await;
    let asked = world.asked(Verb::Acquire).len();
    assert!((3 * 19..3 * 22).contains(&asked), "as often as it is scheduled: {asked}");
    world.all_become(Behaviour::Ok);
    let ((), elapsed) = timed(async { drop(held(waiting.await.unwrap())) }).await;
    assert!(elapsed <= ms(510), "{elapsed:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nodes_that_contradict_themselves_are_asked_with_pauses() {
    let world = World::of(&[Behaviour::Contradicts; 3]);
    world.scripted.iter().for_each(|node| node.is_watchable.set(true));
    let waiting = lock(&world, patient());
    sleep(ms(10_000)).await;
    let asked = world.asked(Verb::Acquire).len();
    assert!((3 * 10..3 * 150).contains(&asked), "{asked}");
    world.all_become(Behaviour::Ok);
    let ((), elapsed) = timed(async { drop(held(waiting.await.unwrap())) }).await;
    assert!(elapsed <= ms(510), "{elapsed:?}");
}
