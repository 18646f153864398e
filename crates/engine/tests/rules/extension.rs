//! Extension: never shorter, and again where the key has vanished only if asked to.

use std::rc::Rc;

use redsync_engine::{Answer, CancellationToken, Error, Held, Kind, Options};
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::support::{Behaviour, FOREIGN, KEY, SLOW, World, granted, held, ms, tries};

const BROKEN: Behaviour = Behaviour::Error { applied: false };

async fn locked(world: &World) -> Held {
    held(world.mutex(tries(1)).lock(&CancellationToken::new()).await)
}

fn recreating() -> Options {
    Options { recreate_on_extend: true, ..tries(1) }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_extended_lock_lives_for_another_expiry() {
    let world = World::of(&[Behaviour::Ok, Behaviour::Slow(SLOW), BROKEN]);
    let lock = locked(&world).await;
    sleep(ms(7000)).await;
    let before = world.redsync.now();
    let extended = held(world.mutex(tries(1)).extend(lock.value.clone()).await);
    assert_eq!(extended.value, lock.value);
    assert_eq!(extended.until, before + ms(8000 - 82), "from before it was asked for");
    // At its end the key is still there on the nodes that promised it.
    sleep(extended.until - world.redsync.now()).await;
    assert_eq!(world.stored()[..2], vec![Some(lock.value.to_string()); 2]);
    sleep(ms(82)).await;
    assert_eq!(world.stored()[0], None);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_extension_never_shortens_what_the_node_has() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lock = locked(&world).await;
    let shorter = Options { expiry: ms(1000), ..tries(1) };
    let extended = held(world.mutex(shorter).extend(lock.value.clone()).await);
    assert!(extended.until < lock.until, "what is promised is what was asked for");
    sleep(ms(7900)).await;
    assert_eq!(world.stored(), vec![Some(lock.value.to_string()); 3], "the old promise holds");
    sleep(ms(100)).await;
    assert_eq!(world.stored(), [None, None, None]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_expired_lock_is_not_extended() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lock = locked(&world).await;
    sleep(ms(8000)).await;
    let error = world.mutex(tries(1)).extend(lock.value).await.unwrap_err();
    assert_eq!(error, Error::NotExtended { votes: vec![Some(Ok(Answer::Absent)); 3] });
    assert_eq!(world.stored(), [None, None, None]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_expired_lock_is_taken_again_on_demand_if_it_is_free() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lock = locked(&world).await;
    sleep(ms(8000)).await;
    let start = world.redsync.now();
    let extended = held(world.mutex(recreating()).extend(lock.value.clone()).await);
    assert_eq!(extended.until, start + ms(8000 - 82));
    assert_eq!(world.stored(), vec![Some(lock.value.to_string()); 3]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lock_that_somebody_else_has_is_not_taken_back() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lock = locked(&world).await;
    sleep(ms(8000)).await;
    world.scripted[0].plant(KEY, FOREIGN);
    world.scripted[1].plant(KEY, FOREIGN);
    let error = world.mutex(recreating()).extend(lock.value).await.unwrap_err();
    let taken = Some(Ok(Answer::Taken));
    assert_eq!(error, Error::NotExtended { votes: vec![taken.clone(), taken, granted()] });
    assert_eq!(world.stored()[..2], vec![Some(FOREIGN.to_string()); 2], "theirs stays");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_still_being_released_is_not_taken_again() {
    for is_writer in [false, true] {
        let world = World::of(&[Behaviour::Ok; 3]);
        let kind =
            if is_writer { Kind::Write { sign: ms(1000), renews: false } } else { Kind::Mutex };
        let mutex = world.mutex(Options { kind, ..recreating() });
        let lock = held(mutex.lock(&CancellationToken::new()).await);
        sleep(ms(8000)).await;
        world.scripted[..2].iter().for_each(|node| node.plant(KEY, FOREIGN));
        world.scripted[2].release_like(Behaviour::Error { applied: false });
        mutex.extend(lock.value.clone()).await.unwrap_err();
        world.scripted[..2].iter().for_each(|node| node.wipe(KEY));
        let error = mutex.extend(lock.value.clone()).await.unwrap_err();
        let absent = Some(Ok(Answer::Absent));
        assert_eq!(error, Error::NotExtended { votes: vec![absent.clone(), absent, granted()] });
        world.all_become(Behaviour::Ok);
        sleep(ms(2000)).await;
        assert_eq!(world.stored(), [None, None, None], "what was left is released");
        // Nobody is asked any more to release it.
        sleep(ms(14_000)).await;
        held(mutex.extend(lock.value).await);
        sleep(ms(7000)).await;
        assert!(world.stored().iter().all(Option::is_some));
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_released_while_it_is_taken_again_is_not_held() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let mutex = Rc::new(world.mutex(recreating()));
    let lock = held(mutex.lock(&CancellationToken::new()).await);
    sleep(ms(8000)).await;
    world.scripted[..2].iter().for_each(|node| node.plant(KEY, FOREIGN));
    world.all_become(Behaviour::Slow(ms(20)));
    let extend = || {
        let (mutex, value) = (mutex.clone(), lock.value.clone());
        spawn_local(async move { mutex.extend(value).await })
    };
    let first = extend();
    sleep(ms(10)).await;
    world.scripted[..2].iter().for_each(|node| node.wipe(KEY));
    let second = extend();
    assert!(first.await.unwrap().is_err() && second.await.unwrap().is_err());
    sleep(ms(100)).await;
    assert_eq!(world.stored(), [None, None, None]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_extension_that_outlasts_its_own_validity_is_none() {
    // A node timeout beyond the expiry: nothing else would stop this round in time.
    let options = || Options { expiry: ms(100), timeout_factor: 2.0, ..tries(1) };
    for (round, is_held) in [(ms(96), true), (ms(97), false)] {
        let world = World::of(&[Behaviour::Ok; 3]);
        let lock = locked(&world).await;
        world.all_become(Behaviour::Slow(round));
        let outcome = world.mutex(options()).extend(lock.value).await;
        assert_eq!(outcome.is_ok(), is_held, "until is 100 - 1 - 2 ms: {round:?}");
    }
}
