//! Validity: counted from before the question, whatever the answers took.

use std::time::Duration;

use redsync_engine::{CancellationToken, Error, Options};
use tokio::time::sleep;

use crate::support::{A_WHILE, Behaviour, World, granted, held, ms, timed, tries};

fn never() -> CancellationToken {
    CancellationToken::new()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn slow_nodes_make_the_validity_smaller_by_what_they_took() {
    for slow in [ms(0), ms(1), ms(100), ms(399)] {
        for behaviour in [Behaviour::Slow(slow), Behaviour::Far(slow)] {
            let world = World::of(&[behaviour; 3]);
            let start = world.redsync.now();
            let lock = held(world.mutex(tries(1)).lock(&never()).await);
            assert_eq!(lock.until, start + ms(8000) - ms(80) - ms(2), "{behaviour:?}");
            assert_eq!(lock.until - world.redsync.now(), ms(8000 - 82) - slow, "{behaviour:?}");
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_later_attempt_counts_from_its_own_start() {
    let world = std::rc::Rc::new(World::of(&[Behaviour::Taken; 3]));
    let freed = world.clone();
    crate::support::after(ms(15), move || {
        freed.all_become(Behaviour::Ok);
        freed.scripted.iter().for_each(|node| node.wipe(crate::support::KEY));
    });
    let start = world.redsync.now();
    let lock = held(world.mutex(tries(3)).lock(&never()).await);
    assert_eq!(lock.until, start + ms(20) + ms(8000 - 82), "attempt 3 was at 20 ms");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_drift_factor_is_the_callers() {
    for (factor, drift) in [(0.0, ms(0)), (0.01, ms(80)), (0.25, ms(2000))] {
        let world = World::of(&[Behaviour::Ok]);
        let start = world.redsync.now();
        let options = Options { drift_factor: factor, ..tries(1) };
        let lock = held(world.mutex(options).lock(&never()).await);
        assert_eq!(lock.until, start + ms(8000) - drift - ms(2), "{factor}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_round_slower_than_the_validity_is_not_held_and_leaves_nothing() {
    // A node timeout beyond the expiry: nothing else would stop this round in time.
    let options = Options { expiry: ms(1000), timeout_factor: 2.0, ..tries(1) };
    let validity = ms(1000 - 10 - 2);
    for (round, is_held) in [(validity - ms(1), true), (validity, false), (ms(995), false)] {
        let world = World::of(&[Behaviour::Slow(round); 3]);
        let (outcome, elapsed) = timed(world.mutex(options.clone()).lock(&never())).await;
        if is_held {
            let lock = held(outcome);
            assert_eq!(lock.until - world.redsync.now(), ms(1));
        } else {
            // All have granted, and yet nobody may rely on it.
            let votes = vec![granted(); 3];
            assert_eq!(outcome, Err(Error::Failed { votes, attempts: 1 }), "{round:?}");
            assert_eq!(elapsed, 2 * round, "as long again for the release");
            assert_eq!(world.stored(), [None, None, None], "{round:?}");
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lock_is_there_on_a_quorum_until_its_validity_ends() {
    // The slowest way to the nodes is still within what the validity allows for.
    let far = Behaviour::Far(ms(300));
    let world = World::of(&[Behaviour::Ok, far, Behaviour::Taken]);
    let lock = held(world.mutex(tries(1)).lock(&never()).await);
    sleep(lock.until - world.redsync.now()).await;
    assert_eq!(world.stored()[..2], vec![Some(lock.value.to_string()); 2]);
    sleep(A_WHILE).await;
    assert_eq!(world.stored()[..2], [None, None]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_may_take_its_share_of_the_expiry_and_no_more() {
    for (factor, limit) in [(0.05, ms(400)), (0.5, ms(4000)), (0.001, ms(8))] {
        let options = Options { timeout_factor: factor, ..tries(1) };
        let just_in_time = Behaviour::Slow(limit - ms(1));
        let world = World::of(&[just_in_time]);
        held(world.mutex(options.clone()).lock(&never()).await);

        let world = World::of(&[Behaviour::Slow(limit + ms(1))]);
        let (outcome, elapsed) = timed(world.mutex(options).lock(&never())).await;
        assert!(outcome.is_err(), "{factor}");
        assert_eq!(elapsed, limit + Duration::ZERO, "{factor}");
    }
}
