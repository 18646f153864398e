//! Semaphores: a line before several locks, each of which is one permit.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{
    CancellationToken, Delay, Error, Kind, Mutex, Options, Value, ValueSource, Verb,
};
use tokio::time::sleep;

use crate::support::{
    A_WHILE, Behaviour, FOREIGN, KEY, SLOW, World, after, cancellable, held, keys, lock, ms, timed,
    tries,
};

/// Long after the rest of a test.
const LATER: Duration = Duration::from_secs(600);

fn key(permit: usize) -> String {
    if permit == 1 { KEY.to_owned() } else { format!("{KEY}:permit:{permit}") }
}

fn permits(permits: u16, count: u64) -> Options {
    Options { permits, ..tries(count) }
}

/// Those who wait go by what nodes tell, and not by their schedule.
fn patient(count: u16) -> Options {
    Options { delay: Delay::Fixed(LATER), ..permits(count, 10) }
}

fn watchable(size: usize) -> Rc<World> {
    let world = World::of(&vec![Behaviour::Ok; size]);
    world.scripted.iter().for_each(|node| node.is_watchable.set(true));
    Rc::new(world)
}

/// Somebody else has these permits.
fn plant(world: &World, permits: impl IntoIterator<Item = usize>) {
    for permit in permits {
        world.scripted.iter().for_each(|node| node.plant(&key(permit), FOREIGN));
    }
}

/// Pauses of that length.
fn every(pause: Duration, permits: u16, count: u64) -> Options {
    Options { permits, delay: Delay::Fixed(pause), ..tries(count) }
}

/// Which permit a value is of.
fn permit_of(value: &str) -> usize {
    value.split_once("#p=").map_or(1, |(_, permit)| permit.parse().expect("a number"))
}

/// For which permits the nodes were asked this, so far.
fn asked_for(world: &World, verb: Verb) -> BTreeSet<usize> {
    world.asked(verb).iter().map(|asked| permit_of(&asked.value)).collect()
}

async fn try_lock(world: &World, count: u16) -> Result<Value, Error> {
    let mutex = world.mutex(permits(count, 1));
    mutex.try_lock(&CancellationToken::new()).await.map(|held| held.value)
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn each_holder_has_a_permit_of_his_own_and_there_are_no_more() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let mut values = Vec::new();
    for _ in 0..4 {
        values.push(try_lock(&world, 4).await.unwrap());
    }
    let stored = |permit| world.scripted[0].store.get(&key(permit));
    let all: BTreeSet<_> = (1..=4).filter_map(stored).collect();
    assert_eq!(all, values.iter().map(|value| value.to_string()).collect());
    assert!(matches!(try_lock(&world, 4).await, Err(Error::Taken { .. })));
    for value in values {
        let mutex = world.mutex(permits(4, 1));
        mutex.extend(value.clone()).await.unwrap();
        assert!(mutex.valid(value.clone()).await.unwrap());
        mutex.unlock(value.clone()).await.unwrap();
        assert!(!mutex.valid(value).await.unwrap());
        try_lock(&world, 4).await.unwrap();
        let is_full = matches!(try_lock(&world, 4).await, Err(Error::Taken { .. }));
        assert!(is_full, "one was free");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn one_who_does_not_wait_finds_the_only_permit_that_is_free() {
    for (count, free) in [(2, 1), (2, 2), (5, 3), (40, 37)] {
        let world = World::of(&[Behaviour::Ok; 3]);
        plant(&world, (1..=count).filter(|permit| *permit != free));
        let value = try_lock(&world, count as u16).await.unwrap();
        assert_eq!(world.scripted[0].store.get(&key(free)).unwrap(), *value, "{free} of {count}");
        let stored = (1..=count).filter_map(|permit| world.scripted[0].store.get(&key(permit)));
        let ours = stored.filter(|value| value != FOREIGN).count();
        assert_eq!(ours, 1, "{free} of {count}: nothing is left of what was tried first");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_permit_that_is_left_over_on_a_minority_keeps_nobody_from_it() {
    let world = World::of(&[Behaviour::Ok; 3]);
    plant(&world, [1]);
    world.scripted[1].plant(&key(2), FOREIGN);
    let value = try_lock(&world, 2).await.unwrap();
    assert_eq!(world.scripted[0].store.get(&key(2)).unwrap(), *value);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_comes_with_a_smaller_limit_takes_the_first_permits_only() {
    let world = World::of(&[Behaviour::Ok; 3]);
    for _ in 0..3 {
        try_lock(&world, 3).await.unwrap();
    }
    let mut others = Vec::new();
    for _ in 0..2 {
        others.push(try_lock(&world, 5).await.unwrap());
    }
    for count in [1, 2, 3, 5] {
        assert!(matches!(try_lock(&world, count).await, Err(Error::Taken { .. })), "{count}");
    }
    world.mutex(permits(5, 1)).unlock(others.remove(0)).await.unwrap();
    assert!(try_lock(&world, 3).await.is_err(), "it is none of the first three");
    try_lock(&world, 5).await.unwrap();
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_waits_is_served_in_turn_as_permits_are_released() {
    let world = watchable(3);
    let first = [lock(&world, patient(2)), lock(&world, patient(2))];
    sleep(ms(10)).await;
    let waiting: Vec<_> = (0..3).map(|_| lock(&world, patient(2))).collect();
    sleep(A_WHILE).await;
    assert!(waiting.iter().all(|call| !call.is_finished()));
    let [one, other] = first;
    let mut next = [held(one.await.unwrap()).value, held(other.await.unwrap()).value];
    // Whichever is released first.
    for (turn, call) in waiting.into_iter().enumerate() {
        let released = next[turn % 2].clone();
        world.mutex(patient(2)).unlock(released).await.unwrap();
        let (outcome, elapsed) = timed(call).await;
        next[turn % 2] = held(outcome.unwrap()).value;
        assert!(elapsed < ms(50), "{elapsed:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn any_permit_that_somebody_else_releases_ends_the_wait() {
    for free in 1..=3 {
        let world = watchable(3);
        plant(&world, 1..=3);
        let waiting = lock(&world, patient(3));
        sleep(A_WHILE).await;
        let asked = world.asked(Verb::Acquire).len();
        sleep(LATER / 2).await;
        assert_eq!(world.asked(Verb::Acquire).len(), asked, "nobody asks meanwhile");
        world.scripted.iter().for_each(|node| node.wipe(&key(free)));
        let (outcome, elapsed) = timed(waiting).await;
        held(outcome.unwrap());
        assert!(elapsed < ms(50), "{elapsed:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn any_permit_that_this_process_releases_ends_the_wait() {
    for free in 1..=3 {
        // The nodes tell of nothing: it is known here.
        let world = World::of(&[Behaviour::Ok; 3]);
        let mut values = Vec::new();
        for _ in 0..3 {
            values.push(held(lock(&world, patient(3)).await.unwrap()).value);
        }
        let waiting = lock(&world, patient(3));
        sleep(A_WHILE).await;
        assert!(!waiting.is_finished());
        let released = values.into_iter().find(|value| permit_of(value) == free).unwrap();
        world.mutex(patient(3)).unlock(released).await.unwrap();
        let (outcome, elapsed) = timed(waiting).await;
        assert_eq!(permit_of(&held(outcome.unwrap()).value), free);
        assert_eq!(elapsed, Duration::ZERO, "permit {free}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_permit_that_this_process_has_is_not_asked_for() {
    for free in 1..=3 {
        let world = watchable(3);
        plant(&world, [free]);
        for _ in 0..2 {
            held(lock(&world, patient(3)).await.unwrap());
        }
        let before = world.asked(Verb::Acquire).len();
        let waiting = lock(&world, every(ms(10), 3, 20)).await.unwrap();
        assert!(matches!(waiting, Err(Error::Taken { .. })), "{waiting:?}");
        for _ in 0..20 {
            assert!(matches!(try_lock(&world, 3).await, Err(Error::Taken { .. })));
        }
        let asked = world.asked(Verb::Acquire).split_off(before);
        assert!(asked.len() > 20 * 3);
        assert!(asked.iter().all(|asked| permit_of(&asked.value) == free), "{free}: {asked:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_is_not_first_asks_on_schedule_unless_each_permit_would_tell() {
    let world = watchable(3);
    plant(&world, 1..=2);
    let _first = lock(&world, patient(2));
    sleep(A_WHILE).await;
    let asked = world.asked(Verb::Acquire).len();
    let second = lock(&world, every(ms(100), 2, 100));
    sleep(A_WHILE).await;
    assert_eq!(world.asked(Verb::Acquire).len(), asked, "each would");
    // The second one is free from now on, but two nodes grant nothing: no release will be told.
    world.scripted[..2].iter().for_each(|node| node.become_(Behaviour::Refused));
    world.scripted.iter().for_each(|node| node.wipe(&key(2)));
    sleep(A_WHILE).await;
    assert!(!second.is_finished());
    world.all_become(Behaviour::Ok);
    let (outcome, elapsed) = timed(second).await;
    assert_eq!(permit_of(&held(outcome.unwrap()).value), 2);
    assert!(elapsed <= ms(100), "{elapsed:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_was_heard_of_one_permit_ends_no_call_that_another_could_serve() {
    for seed in 0..4 {
        let world = Rc::new(World::seeded(&[Behaviour::Slow(SLOW); 3], seed));
        plant(&world, 1..=2);
        let first = lock(&world, patient(2));
        let second = lock(&world, every(SLOW + ms(50), 2, 2));
        let nodes = world.clone();
        // While the first one is being told of its permit, of which it looks no further, the other is released.
        after(SLOW / 2, move || {
            let asked = asked_for(&nodes, Verb::Acquire);
            let other = (1..=2).find(|permit| !asked.contains(permit)).unwrap();
            nodes.scripted.iter().for_each(|node| node.wipe(&key(other)));
        });
        held(second.await.unwrap());
        assert!(!first.is_finished());
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_was_heard_of_many_permits_ends_no_call_that_another_could_serve() {
    let world = Rc::new(World::of(&[Behaviour::Ok; 3]));
    plant(&world, 1..=40);
    let first = lock(&world, every(ms(100), 40, 1000));
    let second = lock(&world, every(ms(150), 40, 2));
    let nodes = world.clone();
    // The first one has looked at a part of them.
    after(ms(120), move || {
        let mut known = asked_for(&nodes, Verb::Acquire);
        known.extend(asked_for(&nodes, Verb::Owner));
        let other = (1..=40).find(|permit| !known.contains(permit)).unwrap();
        nodes.scripted.iter().for_each(|node| node.wipe(&key(other)));
    });
    held(second.await.unwrap());
    assert!(!first.is_finished());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_attempt_for_one_permit_keeps_nobody_from_asking_for_another() {
    let world = World::of(&[Behaviour::Ok; 3]);
    plant(&world, 1..=2);
    let late = ValueSource::Ask(Rc::new(|_| {
        Box::pin(async {
            sleep(ms(50)).await;
            Ok("late".to_owned())
        })
    }));
    let first = lock(&world, Options { values: late, ..every(ms(100), 2, 10) });
    let prompt = lock(&world, every(ms(100), 2, 10));
    let permits = world.scripted.clone();
    // Behind the first attempt of either.
    after(ms(60), move || permits.iter().for_each(|node| node.wipe(&key(1))));
    let (outcome, elapsed) = timed(prompt).await;
    held(outcome.unwrap());
    assert_eq!(elapsed, ms(100), "it asks on its schedule, though the head has asked meanwhile");
    assert!(!first.is_finished());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn several_permits_are_asked_for_side_by_side() {
    let world = World::of(&[Behaviour::Slow(SLOW); 3]);
    let calls: Vec<_> = (0..8).map(|_| lock(&world, patient(8))).collect();
    let (values, elapsed) = timed(async {
        let mut values = BTreeSet::new();
        for call in calls {
            values.insert(held(call.await.unwrap()).value);
        }
        values
    })
    .await;
    assert_eq!(values.len(), 8);
    assert_eq!(elapsed, 2 * SLOW, "one round trip for the first, and one for all others");
    assert_eq!(world.asked(Verb::Acquire).len(), 8 * 3, "no permit was asked for twice");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_call_that_is_cancelled_leaves_its_permit_to_the_next() {
    let world = World::of(&[Behaviour::Slow(SLOW); 3]);
    let cancel = CancellationToken::new();
    let given_up: Vec<_> =
        (0..2).map(|_| cancellable(&world, permits(2, 10), cancel.clone())).collect();
    let next: Vec<_> = (0..2).map(|_| lock(&world, permits(2, 10))).collect();
    sleep(SLOW / 2).await;
    cancel.cancel();
    for call in given_up {
        assert_eq!(call.await.unwrap(), Err(Error::Cancelled));
    }
    for call in next {
        held(call.await.unwrap());
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_mutex_of_the_name_has_the_first_permit() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let mutex = world.mutex(tries(1)).try_lock(&CancellationToken::new()).await.unwrap();
    let other = try_lock(&world, 2).await.unwrap();
    assert_eq!(world.scripted[0].store.get(&key(2)).unwrap(), *other);
    assert!(try_lock(&world, 2).await.is_err());
    world.mutex(tries(1)).unlock(mutex.value).await.unwrap();
    try_lock(&world, 2).await.unwrap();
    assert!(matches!(try_lock(&world, 1).await, Err(Error::Taken { .. })));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_looks_like_a_permit_in_a_value_of_a_mutex_is_none() {
    let world = World::of(&[Behaviour::Ok; 3]);
    world.scripted.iter().for_each(|node| node.plant(KEY, "mine#p=2"));
    world.mutex(tries(1)).unlock(Value::from("mine#p=2")).await.unwrap();
    // And one of no permit that there is.
    plant(&world, [1]);
    for value in ["mine#p=3", "mine#p=0", "mine#p=", "mine#p=99999999999", "mine#p=+2"] {
        let unlocked = world.mutex(permits(2, 1)).unlock(Value::from(value)).await;
        assert!(matches!(unlocked, Err(Error::Taken { .. })), "{value}: of the first permit");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn which_permit_is_asked_for_first_is_left_to_luck() {
    let mut picked = BTreeSet::new();
    for seed in 0..50 {
        let world = World::seeded(&[Behaviour::Ok], seed);
        picked.insert(permit_of(&try_lock(&world, 4).await.expect("free")));
    }
    assert_eq!(picked, BTreeSet::from([1, 2, 3, 4]));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_asks_on_schedule_looks_for_another_permit() {
    for seed in 0..10 {
        let world = Rc::new(World::seeded(&[Behaviour::Ok; 3], seed)); // which do not tell
        plant(&world, 1..=2);
        let freed = world.clone();
        after(ms(150), move || freed.scripted.iter().for_each(|node| node.wipe(&key(2))));
        let (lock, elapsed) = timed(lock(&world, every(ms(100), 2, 100))).await;
        assert_eq!(permit_of(&held(lock.unwrap()).value), 2);
        assert_eq!(elapsed, ms(200), "seed {seed}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_permit_that_was_just_asked_for_is_not_looked_at() {
    let world = World::of(&[Behaviour::Ok; 3]);
    plant(&world, 1..=3);
    try_lock(&world, 3).await.unwrap_err();
    let (asked, looked) = (asked_for(&world, Verb::Acquire), asked_for(&world, Verb::Owner));
    assert_eq!((asked.len(), looked.len()), (1, 2));
    assert!(asked.is_disjoint(&looked));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_was_heard_of_all_permits_ends_a_call() {
    let world = World::of(&[Behaviour::Ok; 3]); // which do not tell
    plant(&world, 1..=2);
    let first = lock(&world, every(ms(100), 2, 1000));
    let second = lock(&world, every(ms(101), 2, 2));
    let outcome = second.await.unwrap();
    assert!(matches!(outcome, Err(Error::Taken { attempts: 2, .. })), "{outcome:?}");
    assert_eq!(world.asked(Verb::Acquire).len(), 3 + 1, "by the first, who asks one node later on");
    first.abort();
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_several_can_hold_is_not_asked_for_again_and_again() {
    let write = Kind::Write { sign: Duration::from_secs(1), renews: false };
    for (kind, permits, often) in
        [(Kind::Mutex, 1, true), (Kind::Mutex, 2, false), (Kind::Read, 1, false), (write, 1, false)]
    {
        let world = World::of(&[Behaviour::Ok]); // which does not tell
        plant(&world, 1..=2);
        let options = Options { kind, permits, tries: u64::MAX, ..Options::default() };
        let waiting = lock(&world, options);
        sleep(ms(10_000)).await;
        let asked = world.asked(Verb::Acquire).len();
        assert_eq!(asked > 10_000 / 50, often, "{kind:?}: {asked}");
        waiting.abort();
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_permit_that_was_released_takes_no_memory() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let names = keys(&["another"]);
    let mutex = Mutex::new(world.redsync.clone(), names.clone(), permits(2, 2));
    let lock = held(mutex.lock(&CancellationToken::new()).await);
    mutex.unlock(lock.value).await.unwrap();
    drop(mutex);
    assert_eq!(Rc::strong_count(&names), 1, "whatever remembers it has its names");
}
