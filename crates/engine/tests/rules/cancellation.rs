//! Cancellation: at any point, with nothing left behind and without a long wait.

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{CancellationToken, Delay, Error, Options, ValueSource, Verb};
use tokio::time::sleep;

use crate::support::{A_WHILE, Behaviour, SLOW, TIMEOUT, World, after, held, ms, timed, tries};

fn cancelled_after(delay: Duration) -> CancellationToken {
    let token = CancellationToken::new();
    after(delay, {
        let token = token.clone();
        move || token.cancel()
    });
    token
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn cancelled_before_it_asks_nobody() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let token = CancellationToken::new();
    token.cancel();
    let (outcome, elapsed) = timed(world.mutex(tries(3)).lock(&token)).await;
    assert_eq!((outcome, elapsed), (Err(Error::Cancelled), Duration::ZERO));
    assert_eq!(world.log(), []);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn cancelled_during_the_round_it_returns_when_its_keys_are_gone() {
    let at = ms(50);
    let slow = Behaviour::Slow(SLOW);
    // The release is on its way at once, and waited for as long as any command.
    for (third, returns_after) in [
        (Behaviour::Ok, at + SLOW),
        (Behaviour::Taken, at + SLOW),
        // Behind the acquisition that is still under way.
        (Behaviour::Far(SLOW), at + SLOW),
        (Behaviour::Far(ms(200)), at + ms(200)),
        // Not released for sure: asked again, but behind the caller's back.
        (Behaviour::Error { applied: true }, at + SLOW),
        (Behaviour::Never { applied: true }, at + TIMEOUT),
        (Behaviour::Slow(2 * TIMEOUT), at + TIMEOUT),
    ] {
        for tries_in_all in [1, 5] {
            let world = World::of(&[Behaviour::Ok, slow, third]);
            let token = cancelled_after(at);
            let (outcome, elapsed) = timed(world.mutex(tries(tries_in_all)).lock(&token)).await;
            assert_eq!(outcome, Err(Error::Cancelled), "{third:?}");
            assert_eq!(elapsed, returns_after, "{third:?}");
            world.assert_clean(&third);
            assert_eq!(world.asked(Verb::Acquire).len(), 3, "{third:?}: no more attempts");
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_command_that_arrives_after_the_cancellation_leaves_no_key() {
    // The acquisition takes longer to arrive than anybody waits; the release is right behind it.
    let world = World::of(&[Behaviour::Far(2 * TIMEOUT); 3]);
    let token = cancelled_after(ms(1));
    let (outcome, elapsed) = timed(world.mutex(tries(3)).lock(&token)).await;
    assert_eq!((outcome, elapsed), (Err(Error::Cancelled), ms(1) + TIMEOUT));
    sleep(2 * TIMEOUT).await;
    assert_eq!(world.stored(), [None, None, None]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn cancelled_between_attempts_it_returns_at_once() {
    let error = Behaviour::Error { applied: true };
    let world = World::of(&[Behaviour::Ok, error, error]);
    let options = Options { delay: Delay::Fixed(ms(200)), ..tries(10) };
    let token = cancelled_after(ms(450));
    let (outcome, elapsed) = timed(world.mutex(options).lock(&token)).await;
    assert_eq!((outcome, elapsed), (Err(Error::Cancelled), ms(450)));
    assert_eq!(world.asked(Verb::Acquire).len(), 9, "attempts at 0, 200 and 400 ms");
    assert_eq!(world.stored(), [None, None, None]);
    sleep(A_WHILE).await;
    assert_eq!(world.asked(Verb::Acquire).len(), 9);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn cancelled_while_a_function_is_asked_it_returns_at_once() {
    let values = ValueSource::Ask(Rc::new(|_| Box::pin(pending())));
    let world = World::of(&[Behaviour::Ok; 3]);
    let token = cancelled_after(ms(30));
    let (outcome, elapsed) = timed(world.mutex(Options { values, ..tries(3) }).lock(&token)).await;
    assert_eq!((outcome, elapsed), (Err(Error::Cancelled), ms(30)));
    assert_eq!(world.log(), [], "there was no value to store");

    let delay = Delay::Ask(Rc::new(|_| Box::pin(pending())));
    let world = World::of(&[Behaviour::Taken; 3]);
    let token = cancelled_after(ms(30));
    let (outcome, elapsed) = timed(world.mutex(Options { delay, ..tries(3) }).lock(&token)).await;
    assert_eq!((outcome, elapsed), (Err(Error::Cancelled), ms(30)));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_acquisition_that_nobody_waits_for_is_told_so() {
    // A node that still queues it need not send it any more.
    let hung = Behaviour::Never { applied: false };
    let is_wanted = |world: &World| world.scripted[2].unanswered.borrow()[0].is_wanted();

    // Given up by the caller …
    let world = World::of(&[hung; 3]);
    let token = CancellationToken::new();
    let mutex = world.mutex(tries(1));
    let cancel = async {
        sleep(ms(10)).await;
        assert!(is_wanted(&world));
        token.cancel();
    };
    let (outcome, ()) = tokio::join!(mutex.lock(&token), cancel);
    assert_eq!(outcome, Err(Error::Cancelled));
    assert!(!is_wanted(&world));

    // … out of time …
    let world = World::of(&[hung; 3]);
    world.mutex(tries(1)).lock(&CancellationToken::new()).await.unwrap_err();
    assert!(!is_wanted(&world));

    // … but not where it was granted without it: another vote does no harm.
    let world = World::of(&[Behaviour::Ok, Behaviour::Ok, hung]);
    let options = Options { fail_fast: true, ..tries(1) };
    held(world.mutex(options).lock(&CancellationToken::new()).await);
    assert!(is_wanted(&world));
}
