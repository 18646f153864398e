//! A lock that is released, and keeps others off for the rest of a time.

use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{CancellationToken, Delay, Error, Extension, Holder, Loss, Options, Verb};
use tokio::time::sleep;

use crate::support::{Behaviour, KEY, World, held, lock, ms, timed, tries};

const HUNG: Behaviour = Behaviour::Never { applied: false };
const REST: Duration = ms(700);
/// What is added for clocks that are fast.
const DRIFT: Duration = ms(7 + 2);
const LATER: Duration = Duration::from_secs(60);

/// Tries with a schedule that plays no part.
fn patient() -> Options {
    Options { delay: Delay::Fixed(LATER), expiry: LATER, ..tries(10) }
}

fn world(behaviours: &[Behaviour]) -> World {
    let world = World::of(behaviours);
    world.scripted.iter().for_each(|node| node.is_watchable.set(true));
    world
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_waits_is_woken_at_its_end() {
    for size in [1, 3, 4] {
        let world = world(&vec![Behaviour::Ok; size]);
        let first = held(lock(&world, patient()).await.unwrap());
        let waiting = lock(&world, patient());
        sleep(ms(500)).await;
        let when = world.redsync.now() + REST;
        world.mutex(patient()).unlock_at(first.value, when).await.unwrap();
        assert_eq!(world.asked(Verb::Release), []);
        let asked = world.asked(Verb::Acquire).len();
        let (next, elapsed) = timed(waiting).await;
        held(next.unwrap());
        assert_eq!(elapsed, REST + DRIFT, "{size} nodes");
        // The change of its life is news, as an extension is: it may have been a release.
        assert!(world.asked(Verb::Acquire).len() <= asked + 2 * size, "asked once in vain");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn when_the_time_is_over_it_is_a_plain_release() {
    let world = world(&[Behaviour::Ok; 3]);
    let first = held(lock(&world, patient()).await.unwrap());
    let now = world.redsync.now();
    world.mutex(patient()).unlock_at(first.value, now).await.unwrap();
    assert_eq!(world.asked(Verb::Shorten), []);
    assert_eq!(world.stored(), [None, None, None]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nodes_that_do_not_hear_of_it_keep_others_off_for_longer() {
    let rest = 10 * REST; // longer than the nodes get to answer
    for (hung, is_released) in [(1, true), (2, false)] {
        let world = world(&[Behaviour::Ok; 3]);
        let first = held(lock(&world, patient()).await.unwrap());
        let when = world.redsync.now() + rest;
        world.scripted[..hung].iter().for_each(|node| node.become_(HUNG));
        let released = world.mutex(patient()).unlock_at(first.value, when).await;
        assert_eq!(released.is_ok(), is_released);
        assert!(is_released || matches!(released, Err(Error::Failed { .. })));
        world.all_become(Behaviour::Ok);
        sleep(when + 10 * DRIFT - world.redsync.now()).await;
        let stored = world.stored();
        assert!(stored[..hung].iter().all(Option::is_some) && stored[2].is_none(), "{hung}");
        sleep(LATER).await;
        assert_eq!(world.stored(), [None, None, None], "its expiry");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_another_s_or_gone_is_told_as_by_a_release() {
    let world = world(&[Behaviour::Ok; 3]);
    let first = held(lock(&world, patient()).await.unwrap());
    let release = || async {
        let when = world.redsync.now() + REST;
        world.mutex(patient()).unlock_at(first.value.clone(), when).await
    };
    world.scripted.iter().for_each(|node| node.wipe(KEY));
    assert!(matches!(release().await, Err(Error::Expired { .. })));
    world.scripted.iter().for_each(|node| node.plant(KEY, "other"));
    assert!(matches!(release().await, Err(Error::Taken { .. })));
    assert!(world.stored().iter().all(|stored| stored.as_deref() == Some("other")));
}

struct Nobody;

impl Holder for Nobody {
    fn last_alive(&self, now: Duration) -> Duration {
        now
    }

    fn extended(&self, _until: Duration) {}

    fn lost(&self, why: Loss) {
        panic!("lost: {why:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nothing_extends_it_any_more() {
    let world = world(&[Behaviour::Ok; 3]);
    let mutex = world.mutex(Options { expiry: ms(900), ..tries(1) });
    let first = held(mutex.lock(&CancellationToken::new()).await);
    let extension = Extension { interval: ms(100), max_hold: LATER, max_stall: LATER };
    world.redsync.leases.begin(mutex.hold(&first), Some(extension), Rc::new(Nobody));
    sleep(ms(250)).await;
    let when = world.redsync.now() + REST;
    mutex.unlock_at(first.value, when).await.unwrap();
    assert!(world.redsync.leases.is_empty());
    sleep(REST).await;
    assert!(world.stored().iter().all(Option::is_some));
    sleep(DRIFT).await;
    assert_eq!(world.stored(), [None, None, None]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_permit_is_asked_for_again_when_its_time_is_over() {
    for seed in 0..10 {
        let world = World::seeded(&[Behaviour::Ok; 3], seed);
        let both = Options { permits: 2, ..patient() };
        let first = held(lock(&world, both.clone()).await.unwrap());
        held(lock(&world, both.clone()).await.unwrap());
        let mutex = world.mutex(both);
        mutex.unlock_at(first.value, world.redsync.now() + REST).await.unwrap();
        sleep(REST + 2 * DRIFT).await;
        let asked = world.asked(Verb::Acquire).len();
        held(mutex.try_lock(&CancellationToken::new()).await);
        assert_eq!(world.asked(Verb::Acquire).len(), asked + 3, "and the other one is not");
    }
}
