//! Attempts: how many, how far apart, with which value, and what they report.

use std::cell::RefCell;
use std::collections::HashSet;
use std::future::ready;
use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{
    Answer, CancellationToken, Delay, Error, Mutex, NodeError, Options, Refused, ValueSource, Verb,
};
use tokio::time::sleep;

use crate::support::node::broken;
use crate::support::{
    A_WHILE, Behaviour, FOREIGN, KEY, TIMEOUT, World, granted, held, keys, ms, timed, timed_out,
    tries,
};

const TAKEN: [Behaviour; 3] = [Behaviour::Taken; 3];
const BROKEN: Behaviour = Behaviour::Error { applied: false };

fn never() -> CancellationToken {
    CancellationToken::new()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn every_attempt_has_a_fresh_value() {
    let world = World::of(&[BROKEN; 3]);
    world.mutex(tries(5)).lock(&never()).await.unwrap_err();
    let asked = world.asked(Verb::Acquire);
    let values: Vec<_> = asked.chunks(3).map(|attempt| attempt[0].value.clone()).collect();
    for (attempt, value) in asked.chunks(3).zip(&values) {
        assert!(attempt.iter().all(|asked| asked.value == *value), "one value for all nodes");
    }
    assert_eq!(values.iter().collect::<HashSet<_>>().len(), 5, "{values:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_late_release_of_one_attempt_spares_the_next() {
    let world = Rc::new(World::of(&[BROKEN; 3]));
    // Attempt 1 fails and so does its release, which is tried again behind attempt 2.
    let heal = world.clone();
    crate::support::after(ms(5), move || heal.all_become(Behaviour::Ok));
    let lock = held(world.mutex(tries(2)).lock(&never()).await);
    let acquired = world.redsync.now();
    sleep(A_WHILE).await;

    let late = world.asked(Verb::Release).into_iter().filter(|asked| asked.at > acquired);
    let late: Vec<_> = late.collect();
    assert_eq!(late.len(), 3, "the release came late, on every node");
    assert!(late.iter().all(|asked| asked.value != *lock.value));
    assert_eq!(world.stored(), vec![Some(lock.value.to_string()); 3]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_late_grant_counts_neither_for_its_attempt_nor_for_the_next() {
    // Nodes 1 and 2 answer attempt 1 while attempt 2 waits for them in vain.
    let late = Behaviour::Slow(TIMEOUT + ms(100));
    let world = Rc::new(World::of(&[BROKEN, late, late]));
    let hang = world.clone();
    crate::support::after(TIMEOUT + ms(5), move || {
        hang.scripted[1].become_(Behaviour::Never { applied: true });
        hang.scripted[2].become_(Behaviour::Never { applied: true });
    });
    let error = world.mutex(tries(2)).lock(&never()).await.unwrap_err();
    let votes = vec![Some(Err(broken())), timed_out(), timed_out()];
    assert_eq!(error, Error::Failed { votes, attempts: 2 });
    assert_eq!(world.asked(Verb::Acquire).len(), 6);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_still_has_an_old_value_of_ours_does_not_vote_for_us() {
    // The release of attempt 1 got lost: for attempt 2 these nodes are taken.
    let world = World::of(&[Behaviour::Ok, Behaviour::Error { applied: true }, BROKEN]);
    for node in &world.scripted {
        node.release_like(BROKEN);
    }
    let error = world.mutex(tries(2)).lock(&never()).await.unwrap_err();
    assert_eq!(error.votes()[0], Some(Ok(Answer::Taken)));
    assert_eq!(error.votes()[1], Some(Err(broken())));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn tries_are_made_and_reported_and_try_lock_makes_one() {
    for (made, asked) in [(1, 1), (2, 2), (7, 7)] {
        let world = World::of(&TAKEN);
        let error = world.mutex(tries(made)).lock(&never()).await.unwrap_err();
        assert!(matches!(error, Error::Taken { .. }), "{error:?}");
        assert_eq!(error.attempts(), made);
        // Once it is known to be taken one node is asked, and the others are looked at.
        assert_eq!(world.asked(Verb::Acquire).len(), 3 + (asked - 1));
        assert_eq!(world.asked(Verb::Owner).len(), 2 * (asked - 1));

        let world = World::of(&TAKEN);
        let error = world.mutex(tries(made)).try_lock(&never()).await.unwrap_err();
        assert_eq!(error.attempts(), 1);
        assert_eq!(world.asked(Verb::Acquire).len(), 3);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_last_attempt_is_the_one_reported() {
    let world = Rc::new(World::of(&[BROKEN; 3]));
    let switch = world.clone();
    crate::support::after(ms(5), move || {
        switch.scripted[0].become_(Behaviour::Taken);
        switch.scripted[1].become_(Behaviour::Taken);
        switch.scripted[2].become_(Behaviour::Closed);
    });
    let error = world.mutex(tries(2)).lock(&never()).await.unwrap_err();
    let taken = Some(Ok(Answer::Taken));
    let votes = vec![taken.clone(), taken, Some(Err(NodeError::closed()))];
    assert_eq!(error, Error::Taken { votes, attempts: 2 });
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_even_split_has_failed_for_nobody_has_a_quorum() {
    for half in 1..=4 {
        let behaviours = [vec![Behaviour::Ok; half], vec![Behaviour::Taken; half]].concat();
        for fail_fast in [false, true] {
            let world = World::of(&behaviours);
            let options = Options { fail_fast, ..tries(3) };
            let (outcome, elapsed) = timed(world.mutex(options).lock(&never())).await;
            let error = outcome.unwrap_err();
            assert!(matches!(error, Error::Failed { attempts: 3, .. }), "{half}: {error:?}");
            assert_eq!(elapsed, ms(20), "tried again after each delay, and settled");
            world.assert_clean(&half);
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_default_delay_is_random_between_50_and_250_ms() {
    let world = World::of(&[BROKEN; 3]);
    let start = world.redsync.now();
    let options = Options { tries: 200, ..Options::default() };
    world.mutex(options).lock(&never()).await.unwrap_err();
    let times = world.times(Verb::Acquire, start);
    let delays: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // The timer rounds up to the next millisecond.
    assert!(delays.iter().all(|delay| (ms(50)..=ms(250)).contains(delay)), "{delays:?}");
    assert!(delays.iter().min() < Some(&ms(60)) && delays.iter().max() > Some(&ms(240)));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_fixed_delay_is_kept() {
    let world = World::of(&[BROKEN; 3]);
    let start = world.redsync.now();
    let options = Options { delay: Delay::Fixed(ms(70)), ..tries(4) };
    world.mutex(options).lock(&never()).await.unwrap_err();
    assert_eq!(world.times(Verb::Acquire, start), [ms(0), ms(70), ms(140), ms(210)]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_delay_function_is_asked_after_each_attempt_but_the_last() {
    let world = World::of(&[BROKEN; 3]);
    let start = world.redsync.now();
    let asked = Rc::new(RefCell::new(Vec::new()));
    let seen = asked.clone();
    let delay = Delay::Ask(Rc::new(move |attempts| {
        seen.borrow_mut().push(attempts);
        Box::pin(ready(Ok(ms(10) * attempts as u32)))
    }));
    world.mutex(Options { delay, ..tries(4) }).lock(&never()).await.unwrap_err();
    assert_eq!(*asked.borrow(), [1, 2, 3]);
    assert_eq!(world.times(Verb::Acquire, start), [ms(0), ms(10), ms(30), ms(60)]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_value_function_is_asked_before_each_attempt_and_its_value_is_stored() {
    let world = World::of(&[BROKEN; 3]);
    let name = |attempt: u64| format!("value {attempt}");
    let values = ValueSource::Ask(Rc::new(move |attempt| Box::pin(ready(Ok(name(attempt))))));
    world.mutex(Options { values: values.clone(), ..tries(3) }).lock(&never()).await.unwrap_err();
    let stored: Vec<_> = world.asked(Verb::Acquire).into_iter().map(|asked| asked.value).collect();
    let expected: Vec<_> = (1..=3).flat_map(|attempt| vec![name(attempt); 3]).collect();
    assert_eq!(stored, expected);

    let world = World::of(&[Behaviour::Ok; 3]);
    let lock = held(world.mutex(Options { values, ..tries(3) }).lock(&never()).await);
    assert_eq!(&*lock.value, "value 1");
    assert_eq!(world.stored(), vec![Some("value 1".to_string()); 3]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_function_that_refuses_ends_the_call_and_leaves_nothing() {
    // Attempt 1 stores on one node of three in either case.
    let behaviours = [Behaviour::Ok, BROKEN, BROKEN];
    let delay = Delay::Ask(Rc::new(|_| Box::pin(ready(Err(Refused)))));
    let values = ValueSource::Ask(Rc::new(|attempt| {
        let value = if attempt == 1 { Ok("first".to_string()) } else { Err(Refused) };
        Box::pin(ready(value))
    }));
    for options in [Options { delay, ..tries(5) }, Options { values, ..tries(5) }] {
        let world = World::of(&behaviours);
        let outcome = world.mutex(options).lock(&never()).await;
        assert_eq!(outcome, Err(Error::Refused));
        assert_eq!(world.asked(Verb::Acquire).len(), 3, "no second attempt");
        sleep(A_WHILE).await;
        assert_eq!(world.stored(), [None, None, None]);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn several_names_are_locked_all_or_none() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let mutex = Mutex::new(world.redsync.clone(), keys(&[KEY, "b", "c"]), tries(1));
    let stored =
        |key: &str| -> Vec<_> { world.scripted.iter().map(|node| node.store.get(key)).collect() };
    let all = |value: Option<&str>| vec![value.map(str::to_string); 3];

    // One name is somebody else's on a quorum.
    world.scripted[0].plant("c", FOREIGN);
    world.scripted[2].plant("c", FOREIGN);
    assert!(matches!(mutex.lock(&never()).await, Err(Error::Taken { .. })));
    assert_eq!((stored(KEY), stored("b")), (all(None), all(None)));

    // On a minority: held by the other two, and the third keeps what it has.
    world.scripted[0].wipe("c");
    let lock = held(mutex.lock(&never()).await);
    for key in [KEY, "b", "c"] {
        assert_eq!(stored(key)[..2], all(Some(&lock.value))[..2], "{key}");
    }
    assert_eq!((&stored(KEY)[2], stored("c")[2].as_deref()), (&None, Some(FOREIGN)));
    assert_eq!(mutex.valid(lock.value.clone()).await, Ok(true));
    mutex.unlock(lock.value).await.unwrap();
    assert_eq!((stored(KEY), stored("b")), (all(None), all(None)));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nodes_are_asked_in_order_or_shuffled_and_each_once() {
    let order = |world: &World| -> Vec<Vec<usize>> {
        let asked: Vec<_> = world.asked(Verb::Acquire).iter().map(|asked| asked.node).collect();
        asked.chunks(5).map(<[usize]>::to_vec).collect()
    };
    let world = World::of(&[BROKEN; 5]);
    world.mutex(tries(20)).lock(&never()).await.unwrap_err();
    assert!(order(&world).iter().all(|asked| *asked == [0, 1, 2, 3, 4]));

    let world = World::of(&[BROKEN; 5]);
    world.mutex(Options { shuffle: true, ..tries(20) }).lock(&never()).await.unwrap_err();
    let orders = order(&world);
    let distinct: HashSet<_> = orders.iter().collect();
    assert!(distinct.len() > 10, "{orders:?}");
    let sorted = |asked: &Vec<usize>| asked.iter().copied().collect::<HashSet<_>>().len() == 5;
    assert!(orders.iter().all(sorted), "{orders:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_minority_that_is_down_never_slows_the_lock_beyond_the_timeout() {
    let dead = Behaviour::Never { applied: false };
    for (fail_fast, expected) in [(false, TIMEOUT), (true, Duration::ZERO)] {
        let world = World::of(&[dead, Behaviour::Ok, Behaviour::Ok, dead, Behaviour::Ok]);
        let mutex = world.mutex(Options { fail_fast, ..tries(32) });
        let (outcome, elapsed) = timed(mutex.lock(&never())).await;
        held(outcome);
        assert_eq!(elapsed, expected);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_error_says_node_by_node_what_happened() {
    let hung = Behaviour::Never { applied: false };
    let world = World::of(&[Behaviour::Ok, Behaviour::Taken, BROKEN, hung]);
    let error = world.mutex(tries(1)).lock(&never()).await.unwrap_err();
    assert_eq!(error.votes()[0], granted());
    let text = "no quorum; node 1: taken; node 2: out of order (EBROKEN); \
                node 3: no answer within the node timeout (ETIMEDOUT)";
    assert_eq!(error.to_string(), text);
}
