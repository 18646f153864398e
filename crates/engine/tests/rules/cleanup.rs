//! Clean-up: behind the caller's back, until the node answers or the key has expired, and no longer.

use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{CancellationToken, Error, Options, Verb};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::support::{
    Behaviour, FOREIGN, KEY, TIMEOUT, World, after, held, lock, ms, timed, tries,
};

const BROKEN: Behaviour = Behaviour::Error { applied: false };
const HUNG: Behaviour = Behaviour::Never { applied: false };
const EXPIRY: Duration = ms(8000);

/// A world where our key is left on node 0 by a failed attempt, whose release fails like this.
async fn left_behind(release: Behaviour) -> Rc<World> {
    let world = World::of(&[Behaviour::Ok, Behaviour::Taken, Behaviour::Taken]);
    world.scripted[0].release_like(release);
    let outcome = world.mutex(tries(1)).lock(&CancellationToken::new()).await;
    assert!(outcome.is_err() && world.stored()[0].is_some(), "the release did not come through");
    Rc::new(world)
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_release_is_tried_again_until_the_node_answers() {
    for release in [BROKEN, HUNG, Behaviour::Closed] {
        let world = left_behind(release).await;
        sleep(ms(1500)).await;
        assert!(world.stored()[0].is_some());
        world.scripted[0].become_(Behaviour::Ok);
        sleep(ms(2000)).await;
        assert_eq!(world.stored()[0], None, "{release:?}: gone, long before it expires");

        let asked = world.log().len();
        sleep(2 * EXPIRY).await;
        assert_eq!(world.log().len(), asked, "{release:?}: and that was all");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_pauses_between_releases_grow_to_two_seconds() {
    let world = World::of(&[BROKEN]);
    let start = world.redsync.now();
    world.mutex(tries(1)).lock(&CancellationToken::new()).await.unwrap_err();
    sleep(3 * EXPIRY).await;
    let times = world.times(Verb::Release, start);
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let doubling = [ms(50), ms(100), ms(200), ms(400), ms(800), ms(1600)];
    assert_eq!(pauses[..6], doubling);
    assert!(pauses[6..].iter().all(|pause| *pause == ms(2000)), "{pauses:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn clean_up_gives_up_once_the_key_has_expired_by_itself() {
    for release in [BROKEN, HUNG] {
        let world = left_behind(release).await;
        sleep(EXPIRY).await;
        assert_eq!(world.stored()[0], None, "expired");
        // One more pause and one more round may be under way.
        sleep(TIMEOUT + ms(2000) + TIMEOUT).await;
        let asked = world.log().len();
        sleep(10 * EXPIRY).await;
        assert_eq!(world.log().len(), asked, "{release:?}: nobody asks any more");
        let ((), elapsed) = timed(world.redsync.close()).await;
        assert_eq!(elapsed, Duration::ZERO, "{release:?}: and nothing is under way");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_failed_call_does_not_wait_for_nodes_that_did_not_answer() {
    let world = World::of(&[Behaviour::Ok, HUNG, HUNG]);
    let mutex = world.mutex(tries(1));
    let (outcome, elapsed) = timed(mutex.lock(&CancellationToken::new())).await;
    outcome.unwrap_err();
    assert_eq!(elapsed, TIMEOUT, "they have had their time");
    assert_eq!(world.stored()[0], None, "but what was granted is released");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn only_nodes_that_may_hold_the_value_are_asked_to_release_it() {
    let world = World::of(&[Behaviour::Ok, Behaviour::Taken, BROKEN, Behaviour::Taken]);
    world.mutex(tries(1)).lock(&CancellationToken::new()).await.unwrap_err();
    let mut released: Vec<_> = world.asked(Verb::Release).iter().map(|asked| asked.node).collect();
    released.sort();
    assert_eq!(released, [0, 2], "not where somebody else's value is");

    let world = World::of(&[Behaviour::Ok; 3]);
    let mutex = world.mutex(tries(1));
    let lock = held(mutex.lock(&CancellationToken::new()).await);
    mutex.unlock(lock.value).await.unwrap();
    assert_eq!(world.log().len(), 6, "one question a node to lock, and one to unlock");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_value_that_a_repeated_question_met_is_released() {
    for (tries_in_all, behaviours) in [
        (1, [Behaviour::Twice; 3]),
        (3, [Behaviour::Twice; 3]),
        (1, [Behaviour::Twice, Behaviour::Twice, BROKEN]),
    ] {
        let world = World::of(&behaviours);
        let outcome = world.mutex(tries(tries_in_all)).lock(&CancellationToken::new()).await;
        assert!(matches!(outcome, Err(Error::Taken { .. })), "{behaviours:?}: {outcome:?}");
        sleep(ms(1)).await;
        assert_eq!(world.stored()[..2], [None, None], "{behaviours:?}: long before it expires");

        world.all_become(Behaviour::Ok);
        let mutex = world.mutex(tries(1));
        let (outcome, elapsed) = timed(mutex.lock(&CancellationToken::new())).await;
        held(outcome);
        assert_eq!(elapsed, Duration::ZERO, "{behaviours:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_may_repeat_a_question_keeps_what_is_somebody_elses() {
    let world = World::of(&[Behaviour::Twice; 3]);
    for node in &world.scripted {
        node.plant(KEY, FOREIGN);
    }
    world.mutex(tries(1)).lock(&CancellationToken::new()).await.unwrap_err();
    sleep(ms(1)).await;
    assert!(world.stored().iter().all(|stored| stored.as_deref() == Some(FOREIGN)));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_unlock_that_a_node_missed_is_made_up_for() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let mutex = world.mutex(tries(1));
    let lock = held(mutex.lock(&CancellationToken::new()).await);
    world.scripted[1].become_(HUNG);
    let (outcome, elapsed) = timed(mutex.unlock(lock.value)).await;
    assert_eq!((outcome, elapsed), (Ok(()), TIMEOUT), "a hung node is not waited for for ever");
    world.scripted[1].become_(Behaviour::Ok);
    sleep(TIMEOUT + ms(100)).await;
    assert_eq!(world.stored(), [None, None, None]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_unlock_that_is_decided_early_asks_each_node_once() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let mutex = world.mutex(Options { fail_fast: true, ..tries(1) });
    let lock = held(mutex.lock(&CancellationToken::new()).await);
    world.scripted[2].become_(Behaviour::Far(ms(200)));
    let (released, elapsed) = timed(mutex.unlock(lock.value)).await;
    assert_eq!((released, elapsed), (Ok(()), Duration::ZERO));
    sleep(EXPIRY).await;
    assert_eq!(world.asked(Verb::Release).len(), 3);

    // One that does not answer is asked again, as ever.
    world.scripted[2].become_(Behaviour::Ok);
    let lock = held(mutex.lock(&CancellationToken::new()).await);
    world.scripted[2].become_(HUNG);
    mutex.unlock(lock.value).await.unwrap();
    sleep(TIMEOUT + ms(10)).await;
    world.scripted[2].become_(Behaviour::Ok);
    sleep(ms(2000)).await;
    assert_eq!(world.stored()[2], None);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn close_lets_clean_up_try_once_more_and_then_closes_the_nodes() {
    for release in [BROKEN, HUNG] {
        let world = left_behind(release).await;
        sleep(ms(3000)).await;
        let asked = world.log().len();
        let ((), elapsed) = timed(world.redsync.close()).await;
        assert!(elapsed <= ms(2000) + TIMEOUT, "{release:?}: {elapsed:?}");
        assert!(world.log().len() <= asked + 1, "{release:?}: one release more at most");
        assert!(world.scripted.iter().all(|node| node.is_closed.get()), "{release:?}");
        // Nothing is under way that would need the nodes.
        let World { redsync, scripted, .. } = Rc::into_inner(world).expect("nobody else's");
        drop(redsync);
        yield_now().await;
        assert_eq!(Rc::strong_count(&scripted[0]), 1, "{release:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_was_missed_while_closing_is_not_made_up_for() {
    let world = World::of(&[HUNG]);
    let (first, second) = (lock(&world, tries(1)), lock(&world, tries(1)));
    sleep(ms(100)).await;
    let third = lock(&world, tries(1));
    for call in [first, second, third] {
        call.await.unwrap().unwrap_err();
    }
    let asked = world.log().len();
    let ((), elapsed) = timed(world.redsync.close()).await;
    assert_eq!(elapsed, TIMEOUT, "the first release of each is waited for");
    sleep(EXPIRY).await;
    assert_eq!(world.log().len(), asked);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_has_missed_several_is_asked_one_at_a_time() {
    let world = World::of(&[BROKEN]);
    let start = world.redsync.now();
    for _ in 0..2 {
        world.mutex(tries(1)).lock(&CancellationToken::new()).await.unwrap_err();
    }
    sleep(ms(800)).await;
    let pauses = [0, 0, 50, 150, 350, 750].map(ms);
    assert_eq!(world.times(Verb::Release, start), pauses, "two releases, and looks from then on");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_key_that_has_just_expired_is_not_released() {
    let world = World::of(&[BROKEN]);
    let start = world.redsync.now();
    let options = Options { expiry: ms(350), ..tries(1) };
    world.mutex(options).lock(&CancellationToken::new()).await.unwrap_err();
    sleep(EXPIRY).await;
    assert_eq!(world.times(Verb::Release, start), [0, 50, 150].map(ms));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn close_waits_for_what_is_under_way() {
    let world = Rc::new(World::of(&[Behaviour::Ok; 3]));
    let call = world.redsync.busy();
    let other = world.redsync.busy();
    after(ms(10), move || drop(other));
    let watched = world.clone();
    after(ms(20), move || {
        assert!(!watched.scripted[0].is_closed.get());
        drop(call);
    });
    let ((), elapsed) = timed(world.redsync.close()).await;
    assert_eq!(elapsed, ms(20));
    assert!(world.scripted[0].is_closed.get());
    assert_eq!(timed(world.redsync.close()).await.1, Duration::ZERO, "again, and nothing to do");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn close_may_be_called_twice_at_a_time() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let call = world.redsync.busy();
    after(ms(10), move || drop(call));
    let both = async { tokio::join!(world.redsync.close(), world.redsync.close()) };
    timeout(ms(100), both).await.expect("neither waits for ever");
}
