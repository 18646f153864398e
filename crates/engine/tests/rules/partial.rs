//! What was stored on some nodes, or under some names, and came to nothing.

use std::rc::Rc;

use redsync_engine::{CancellationToken, Error, Mutex, Options, Verb};
use tokio::time::sleep;

use crate::support::{A_WHILE, Behaviour, FOREIGN, KEY, World, after, keys, ms, tries};

const OTHER: &str = "the other lock";

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_script_that_was_refused_half_way_is_released() {
    for tries_in_all in [1, 2] {
        let world = World::of(&[Behaviour::Halfway; 3]);
        let mutex = Mutex::new(world.redsync.clone(), keys(&[KEY, OTHER]), tries(tries_in_all));
        let outcome = mutex.lock(&CancellationToken::new()).await;
        assert!(matches!(outcome, Err(Error::Failed { .. })), "{outcome:?}");
        assert!(world.stored().iter().all(Option::is_some), "the first name was stored");
        world.all_become(Behaviour::Ok);
        sleep(A_WHILE).await;
        world.assert_clean(&tries_in_all);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_refused_about_one_name_stores_nothing_and_is_not_released() {
    let world = World::of(&[Behaviour::Halfway; 3]);
    // It is the same to the engine: one name is stored or not, whatever the node makes of it.
    world.mutex(tries(1)).lock(&CancellationToken::new()).await.unwrap_err();
    assert_eq!(world.asked(Verb::Release), []);
}

/// The first of five nodes is somebody else's and the others are free, so they are asked as well;
/// meanwhile two of them go.
#[tokio::test(flavor = "local", start_paused = true)]
async fn what_the_others_have_stored_when_the_first_was_taken_is_released() {
    let far = Behaviour::Far(ms(10));
    let world = Rc::new(World::of(&[far; 5]));
    world.scripted.iter().for_each(|node| node.plant(KEY, FOREIGN));
    let mutex = world.mutex(Options { delay: redsync_engine::Delay::Fixed(ms(100)), ..tries(2) });
    // Attempt 2 is made at 110 ms: the first node is asked until 120, the others looked at until 130.
    let (order, free) = (contended_order(5).await, world.clone());
    after(ms(50), {
        let others = order.clone();
        move || others[1..].iter().for_each(|&node| free.scripted[node].wipe(KEY))
    });
    let (others, gone) = (order.clone(), world.clone());
    after(ms(135), move || {
        others[3..].iter().for_each(|&node| gone.scripted[node].plant(KEY, FOREIGN))
    });
    mutex.lock(&CancellationToken::new()).await.unwrap_err();
    let asked = world.asked(Verb::Acquire).len();
    assert_eq!(asked, 5 + 1 + 4, "all; the first, and the others as well");
    sleep(A_WHILE).await;
    world.assert_clean(&"released where it was granted");
}

/// The nodes in the order in which contenders ask them.
pub async fn contended_order(size: usize) -> Vec<usize> {
    let world = World::of(&vec![Behaviour::Taken; size]);
    world.mutex(tries(2)).lock(&CancellationToken::new()).await.expect_err("taken");
    let first = world.asked(Verb::Acquire)[size].node;
    (first..size).chain(0..first).collect()
}
