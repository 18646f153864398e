//! The line: whoever leaves it lets the next one on, and what this process knows of its own lock ends
//! with that lock.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{CancellationToken, Delay, Error, Options, Value, ValueSource, Verb};
use tokio::time::sleep;

use crate::support::{
    A_WHILE, Behaviour, FOREIGN, KEY, TIMEOUT, World, cancellable, held, lock, ms, release, taken,
    timed, tries,
};

/// Long after the rest of a test.
const LATER: Duration = Duration::from_secs(600);

/// Pauses that play no part.
fn patient() -> Options {
    Options { delay: Delay::Fixed(LATER), ..tries(10) }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_next_in_line_sees_to_a_lock_that_is_left_to_its_expiry() {
    let world = taken(3);
    let first = lock(&world, patient());
    sleep(ms(10)).await;
    let second = lock(&world, patient());
    sleep(ms(10)).await;
    release(&world);
    let lock = held(first.await.unwrap());
    let (outcome, elapsed) = timed(second).await;
    held(outcome.unwrap());
    let left = lock.until - (world.redsync.now() - elapsed);
    assert!(elapsed > left && elapsed < left + A_WHILE, "{elapsed:?}, when it expires: {left:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lock_that_has_expired_keeps_nobody_from_asking() {
    // Somebody else wanted it as well, which is remembered; and the nodes tell of nothing.
    let world = taken(3);
    world.scripted.iter().for_each(|node| node.is_watchable.set(false));
    let first = lock(&world, Options { delay: Delay::Fixed(ms(50)), ..tries(10) });
    sleep(ms(10)).await;
    release(&world);
    let first = held(first.await.unwrap());
    sleep(first.until - world.redsync.now() + A_WHILE).await;
    let (outcome, elapsed) = timed(lock(&world, patient())).await;
    held(outcome.unwrap());
    assert_eq!(elapsed, Duration::ZERO, "asked when it came");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_release_of_another_value_is_no_reason_to_ask() {
    let world = taken(3);
    let first = lock(&world, patient());
    sleep(ms(10)).await;
    let second = lock(&world, patient());
    sleep(ms(10)).await;
    release(&world);
    let lock = held(first.await.unwrap());
    sleep(A_WHILE).await;
    let asked = world.asked(Verb::Acquire).len();
    for _ in 0..10 {
        world.mutex(tries(1)).unlock(Value::from("an old one")).await.unwrap_err();
        sleep(ms(50)).await;
    }
    assert_eq!(world.asked(Verb::Acquire).len(), asked);
    assert!(!second.is_finished());
    world.mutex(tries(1)).unlock(lock.value).await.unwrap();
    let (outcome, elapsed) = timed(second).await;
    held(outcome.unwrap());
    assert!(elapsed <= ms(10), "{elapsed:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_another_was_told_a_while_ago_ends_no_call() {
    let world = taken(3);
    world.scripted.iter().for_each(|node| node.is_watchable.set(false));
    let every = |delay, count| Options { delay: Delay::Fixed(ms(delay)), ..tries(count) };
    let first = lock(&world, every(100, 10));
    sleep(ms(10)).await;
    let second = lock(&world, every(280, 2));
    sleep(ms(250)).await;
    release(&world);
    held(second.await.unwrap());
    first.abort();
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_is_asked_behind_the_first_node_has_the_whole_timeout() {
    let world = taken(3);
    let waiting = lock(&world, Options { delay: Delay::Fixed(ms(100)), ..tries(20) });
    sleep(ms(10)).await;
    world.all_become(Behaviour::Slow(TIMEOUT * 3 / 4));
    release(&world);
    let (outcome, elapsed) = timed(waiting).await;
    held(outcome.unwrap());
    assert!(elapsed <= 2 * TIMEOUT, "{elapsed:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nodes_that_are_free_and_refuse_all_the_same_are_asked_less_and_less() {
    let world = taken(3);
    let waiting = lock(&world, patient());
    sleep(ms(10)).await;
    world.all_become(Behaviour::Error { applied: false });
    release(&world);
    sleep(ms(5000)).await;
    let asked = world.asked(Verb::Acquire).len();
    assert!(asked < 200, "{asked} times in five seconds");
    world.all_become(Behaviour::Ok);
    let (outcome, elapsed) = timed(waiting).await;
    held(outcome.unwrap());
    assert!(elapsed < ms(1000), "{elapsed:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_pause_ends_when_the_nodes_say_that_the_lock_is_taken() {
    let world = taken(3);
    for _ in 0..20 {
        let cancel = CancellationToken::new();
        let refused = cancellable(&world, patient(), cancel.clone());
        sleep(ms(10)).await;
        world.all_become(Behaviour::Error { applied: false });
        release(&world);
        sleep(ms(5000)).await;
        cancel.cancel();
        assert!(matches!(refused.await.unwrap(), Err(Error::Cancelled)));
        world.all_become(Behaviour::Ok);
        world.scripted.iter().for_each(|node| node.plant(KEY, FOREIGN));
        // It is told so at once, and has no reason to go on with the pause of the other.
        let waiting = lock(&world, patient());
        sleep(ms(1)).await;
        release(&world);
        let (outcome, elapsed) = timed(waiting).await;
        let lock = held(outcome.unwrap());
        assert!(elapsed < ms(20), "{elapsed:?}");
        world.mutex(patient()).unlock(lock.value).await.unwrap();
        world.scripted.iter().for_each(|node| node.plant(KEY, FOREIGN));
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_comes_behind_another_is_asked_for_a_value_when_it_is_his_turn() {
    let world = taken(3);
    let _first = lock(&world, patient());
    let asked = Rc::new(Cell::new(0));
    let counted = asked.clone();
    let values = ValueSource::Ask(Rc::new(move |_| {
        counted.set(counted.get() + 1);
        Box::pin(std::future::ready(Ok("a value".to_owned())))
    }));
    let _second = lock(&world, Options { values, ..patient() });
    sleep(A_WHILE).await;
    assert_eq!(asked.get(), 0);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_is_not_first_asks_one_node_on_his_schedule_and_looks_at_the_others() {
    let world = World::of(&[Behaviour::Ok; 3]); // which do not tell
    held(lock(&world, patient()).await.unwrap());
    let _first = lock(&world, patient());
    let _second = lock(&world, Options { delay: Delay::Fixed(ms(100)), ..tries(10) });
    sleep(ms(99)).await;
    let before = world.asked(Verb::Acquire).len();
    sleep(ms(2)).await;
    assert_eq!(world.asked(Verb::Acquire).len() - before, 1);
    assert_eq!(world.asked(Verb::Owner).len(), 2);
}
