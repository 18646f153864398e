//! How long a call waits at most: then it makes its last attempt, however many are left.

use std::time::Duration;

use redsync_engine::{CancellationToken, Delay, Error, Options, Verb};
use tokio::time::sleep;

use crate::support::{Behaviour, TIMEOUT, World, held, lock, ms, release, taken, timed, tries};

/// Pauses that play no part.
const LATER: Duration = Duration::from_secs(600);

fn patient(wait: Duration) -> Options {
    Options { wait, delay: Delay::Fixed(LATER), ..tries(u64::MAX) }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_call_ends_when_it_has_waited_for_so_long_and_leaves_nothing() {
    for wait in [1, 700, 60_000].map(ms) {
        let world = taken(3);
        let (outcome, elapsed) = timed(lock(&world, patient(wait))).await;
        assert!(matches!(outcome.unwrap(), Err(Error::Taken { attempts: 2, .. })), "{wait:?}");
        assert_eq!(elapsed, wait);
        assert!(world.is_clean());
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_last_attempt_may_still_be_the_one() {
    let world = taken(3);
    // Nobody tells of the release.
    world.scripted.iter().for_each(|node| node.is_watchable.set(false));
    let waiting = lock(&world, patient(ms(700)));
    sleep(ms(500)).await;
    release(&world);
    let (outcome, elapsed) = timed(waiting).await;
    held(outcome.unwrap());
    assert_eq!(elapsed, ms(200));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn without_time_to_wait_it_makes_one_attempt() {
    let world = taken(3);
    let _head = lock(&world, patient(Duration::MAX));
    sleep(ms(10)).await;
    let asked = world.asked(Verb::Acquire).len();
    let outcome = world.mutex(patient(Duration::ZERO)).lock(&CancellationToken::new()).await;
    assert!(matches!(outcome, Err(Error::Taken { attempts: 1, .. })), "{outcome:?}");
    assert_eq!(world.asked(Verb::Acquire).len(), asked + 3);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_has_used_up_its_tries_does_not_wait_for_longer() {
    let world = taken(3);
    let options = Options { wait: LATER, delay: Delay::Fixed(ms(50)), ..tries(3) };
    let (outcome, elapsed) = timed(lock(&world, options)).await;
    assert!(matches!(outcome.unwrap(), Err(Error::Taken { attempts: 3, .. })));
    assert_eq!(elapsed, ms(100));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nodes_that_do_not_answer_prolong_it_by_two_attempts_at_most() {
    let world = World::of(&[Behaviour::Never { applied: false }; 3]);
    let outcome = timed(lock(&world, patient(ms(10)))).await;
    assert!(matches!(outcome.0.unwrap(), Err(Error::Failed { attempts: 2, .. })));
    assert!(outcome.1 <= 2 * TIMEOUT, "{:?}", outcome.1);
}
