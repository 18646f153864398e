//! Fencing tokens: what is proposed, what nodes grant, and what an attempt makes of a refusal.

use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{CancellationToken, Error, Mutex, Options, Token, ValueSource, Verb};

use crate::partial::contended_order;
use crate::support::{
    A_WHILE, Behaviour, FOREIGN, KEY, WALL, World, after, held, keys, ms, timed, tries,
};

const FENCE: &str = "the lock:fence";
const HOUR: u64 = 3_600_000_000;

fn never() -> CancellationToken {
    CancellationToken::new()
}

fn fenced(count: u64) -> Options {
    Options { fencing: true, ..tries(count) }
}

/// Microseconds that the wall clock shows.
fn now(world: &World) -> u64 {
    (WALL + world.redsync.now() - Duration::from_secs(3600)).as_micros() as u64
}

fn plant_all(world: &World, last: u64) {
    world.scripted.iter().for_each(|node| node.plant(FENCE, &last.to_string()));
}

async fn token_of(world: &World, options: Options) -> u64 {
    let mutex = world.mutex(options);
    let lock = held(mutex.try_lock(&never()).await);
    mutex.unlock(lock.value.clone()).await.expect("released");
    lock.token.expect("a token").get()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn each_holder_has_a_greater_one_and_the_value_carries_it() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let start = now(&world);
    let mut last = 0;
    for _ in 0..5 {
        let mutex = world.mutex(fenced(1));
        let lock = held(mutex.try_lock(&never()).await);
        let token = lock.token.unwrap();
        assert!(token.get() > last && token.get() < start + 10, "{token}");
        last = token.get();
        assert_eq!(lock.value.token(), lock.token);
        assert!(lock.value.ends_with(&format!("==#t={token}")), "{}", &*lock.value);
        let extended = held(mutex.extend(lock.value.clone()).await);
        assert_eq!(extended.token, lock.token);
        mutex.unlock(lock.value.clone()).await.unwrap();
        for node in &world.scripted {
            assert_eq!(node.store.get(FENCE), Some(last.to_string()));
        }
    }
    assert_eq!(world.asked(Verb::Acquire).len(), 15, "one round each");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn without_the_option_there_is_none() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lock = held(world.mutex(tries(1)).try_lock(&never()).await);
    assert_eq!((lock.token, lock.value.token()), (None, None));
    assert_eq!(world.scripted[0].store.get(FENCE), None);
    let mutex = world.mutex(tries(1));
    let value = redsync_engine::Value::from("mine#t=7");
    assert_eq!(mutex.extend(value).await.unwrap_err().attempts(), 1, "not held");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_greater_token_is_proposed_at_once_and_that_is_no_other_attempt() {
    for ahead in [0, 1, 500_000, HOUR / 2] {
        let world = World::of(&[Behaviour::Ok; 3]);
        let last = now(&world) + ahead;
        plant_all(&world, last);
        let (token, elapsed) = timed(token_of(&world, fenced(1))).await;
        assert_eq!((token, elapsed), (last + 1, Duration::ZERO), "{ahead}");
        assert_eq!(world.asked(Verb::Acquire).len(), 6, "two rounds");
        // The clock is known to be that far behind from then on.
        assert!(token_of(&world, fenced(1)).await > token);
        assert_eq!(world.asked(Verb::Acquire).len(), 9);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn whoever_returns_early_waits_for_what_a_quorum_wants() {
    use Behaviour::{Closed, Slow};
    for nodes in [
        // As many as have no quorum without the first to answer.
        &[Slow(ms(1)), Slow(ms(3))][..],
        &[Slow(ms(1)), Slow(ms(1)), Slow(ms(3)), Slow(ms(3))],
        // One node fails, and the first two that want another token are no quorum yet.
        &[Closed, Slow(ms(1)), Slow(ms(1)), Slow(ms(3)), Slow(ms(3))],
    ] {
        let world = World::of(nodes);
        plant_all(&world, now(&world) + HOUR / 2);
        let options = Options { fail_fast: true, ..fenced(1) };
        let lock = world.mutex(options).try_lock(&never()).await;
        assert_eq!(lock.map(|lock| lock.token.is_some()), Ok(true), "{nodes:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn beyond_the_window_it_is_the_next_number() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let last = now(&world) + 2 * HOUR;
    plant_all(&world, last);
    for number in 1..4 {
        assert_eq!(token_of(&world, fenced(1)).await, last + number);
        tokio::time::sleep(ms(10)).await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn one_node_that_nobody_can_keep_to_is_passed_over_by_those_who_wait() {
    // Whichever the contenders ask first.
    for (bad, ahead) in
        [(0, 2 * HOUR), (1, 2 * HOUR), (2, 2 * HOUR), (0, 9000 * HOUR), (1, 9000 * HOUR)]
    {
        let world = World::of(&[Behaviour::Ok; 3]);
        world.scripted[bad].plant(FENCE, &(now(&world) + ahead).to_string());
        world.scripted.iter().for_each(|node| node.plant(KEY, FOREIGN));
        let waiting = world.mutex(fenced(1000));
        let lock = tokio::task::spawn_local(async move { waiting.lock(&never()).await });
        tokio::time::sleep(ms(300)).await;
        world.scripted.iter().for_each(|node| node.wipe(KEY));
        tokio::time::sleep(ms(600)).await;
        assert!(lock.is_finished(), "node {bad}");
        held(lock.await.expect("no panic"));
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_wanted_of_one_name_in_vain_does_not_spoil_the_others() {
    let world = World::of(&[Behaviour::Ok; 3]);
    plant_all(&world, Token::MAX);
    world.mutex(fenced(3)).lock(&never()).await.unwrap_err();
    let before = world.asked(Verb::Acquire).len();
    let other = Mutex::new(world.redsync.clone(), keys(&["another"]), fenced(1));
    let token = held(other.try_lock(&never()).await).token.expect("a token");
    assert!(token.get() < now(&world) + 1000, "{token}");
    assert_eq!(world.asked(Verb::Acquire).len(), before + 3, "in one round");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_has_not_granted_the_last_one_does_not_matter() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let last = now(&world) + 1000;
    world.scripted[..2].iter().for_each(|node| node.plant(FENCE, &last.to_string()));
    assert!(token_of(&world, fenced(1)).await > last, "two of three have");
    let world = World::of(&[Behaviour::Ok; 3]);
    world.scripted[0].plant(FENCE, &(now(&world) + 1000).to_string());
    assert!(token_of(&world, fenced(1)).await <= now(&world) + 1, "a quorum has not");
    assert_eq!(world.asked(Verb::Acquire).len(), 3, "nothing was asked again for the third");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn one_node_far_in_the_future_does_not_take_the_others_with_it() {
    let world = World::of(&[Behaviour::Ok; 3]);
    world.scripted[0].plant(FENCE, &(now(&world) + 1000 * HOUR).to_string());
    world.scripted[1].plant(FENCE, &(now(&world) + 7).to_string());
    world.scripted[2].plant(FENCE, &(now(&world) + 9).to_string());
    assert_eq!(token_of(&world, fenced(1)).await, now(&world) + 10);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_no_token_stays_and_nothing_is_granted() {
    let world = World::of(&[Behaviour::Ok; 3]);
    world.scripted.iter().for_each(|node| node.plant(FENCE, "somebody's lock"));
    let error = world.mutex(fenced(2)).lock(&never()).await.unwrap_err();
    assert!(matches!(error, Error::Failed { attempts: 2, .. }), "{error}");
    assert!(error.to_string().contains("ETOKEN"), "{error}");
    tokio::time::sleep(A_WHILE).await;
    for node in &world.scripted {
        assert_eq!(node.store.get(FENCE).as_deref(), Some("somebody's lock"));
        assert_eq!(node.store.get(KEY), None);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lock_that_is_taken_is_taken_whatever_the_token() {
    let world = World::of(&[Behaviour::Taken; 3]);
    plant_all(&world, now(&world) + HOUR / 2);
    let error = world.mutex(fenced(1)).try_lock(&never()).await.unwrap_err();
    assert!(matches!(error, Error::Taken { .. }), "{error}");
    assert_eq!(world.asked(Verb::Acquire).len(), 3, "asked once");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn of_several_names_it_is_greater_than_all_before() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let last = now(&world) + 12_345;
    world.scripted.iter().for_each(|node| node.plant("b:fence", &last.to_string()));
    let mutex = Mutex::new(world.redsync.clone(), keys(&["a", "b"]), fenced(1));
    let lock = held(mutex.try_lock(&never()).await);
    assert_eq!(lock.token.map(Token::get), Some(last + 1));
    for name in ["a:fence", "b:fence"] {
        assert_eq!(world.scripted[0].store.get(name), Some((last + 1).to_string()));
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_value_of_the_caller_carries_it_too() {
    let world = World::of(&[Behaviour::Ok; 3]);
    plant_all(&world, now(&world) + 50);
    let asked = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = asked.clone();
    let values = ValueSource::Ask(std::rc::Rc::new(move |_| {
        count.set(count.get() + 1);
        Box::pin(std::future::ready(Ok("mine".to_owned())))
    }));
    let lock = held(world.mutex(Options { values, ..fenced(1) }).try_lock(&never()).await);
    assert_eq!(&*lock.value, format!("mine#t={}", lock.token.unwrap()));
    assert_eq!(asked.get(), 2, "a value for each round");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn from_then_on_it_keeps_to_the_clocks_of_the_nodes() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let of_nodes = now(&world) + HOUR / 2;
    plant_all(&world, of_nodes);
    assert_eq!(token_of(&world, fenced(1)).await, of_nodes + 1);
    tokio::time::sleep(ms(10)).await;
    assert_eq!(token_of(&world, fenced(1)).await, of_nodes + 1 + 10_000);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_node_that_wants_another_token_is_passed_over_until_they_are_a_quorum() {
    let order: [usize; 5] = contended_order(5).await.try_into().expect("five");
    for refusing in 0..=3 {
        // The first attempt asks all of them at once.
        let world = Rc::new(World::of(&[Behaviour::Ok; 5]));
        world.scripted.iter().for_each(|node| node.plant(KEY, FOREIGN));
        for &node in &order[..refusing] {
            world.scripted[node].plant(FENCE, &Token::MAX.to_string());
        }
        let freed = world.clone();
        after(ms(5), move || freed.scripted.iter().for_each(|node| node.wipe(KEY)));
        let lock = world.mutex(fenced(2)).lock(&never()).await;
        let asked: Vec<_> = world.asked(Verb::Acquire)[5..].iter().map(|it| it.node).collect();
        if refusing < 3 {
            assert!(lock.is_ok(), "{refusing}");
            assert_eq!(asked, order, "{refusing}");
            continue;
        }
        assert_eq!(asked[..4], [order[0], order[1], order[2], order[0]], "proposed again");
        assert_eq!(world.asked(Verb::Owner).len(), 2, "the others are looked at in the end");
        // What was only looked at has refused nothing.
        let Err(Error::Failed { votes, .. }) = lock else { panic!("{lock:?}") };
        assert_eq!(order.map(|node| votes[node].is_some()), [true, true, true, false, false]);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_comes_after_one_that_wants_another_token_has_a_time_of_his_own() {
    let order = contended_order(5).await;
    let world = Rc::new(World::of(&[Behaviour::Ok; 5]));
    world.scripted.iter().for_each(|node| node.plant(KEY, FOREIGN));
    for &node in &order[..2] {
        world.scripted[node].plant(FENCE, &Token::MAX.to_string());
    }
    let (freed, slow) = (world.clone(), ms(190)); // three of them are more than a node timeout
    after(ms(5), move || {
        freed.scripted.iter().for_each(|node| node.wipe(KEY));
        freed.all_become(Behaviour::Slow(slow));
    });
    let start = world.redsync.now() + ms(10);
    held(world.mutex(fenced(2)).lock(&never()).await);
    let times: Vec<_> = world.asked(Verb::Acquire)[5..].iter().map(|it| it.at - start).collect();
    assert_eq!(times, [0, 1, 2, 3, 3].map(|answers| answers * slow));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_nodes_wanted_of_an_attempt_that_failed_is_what_the_next_one_proposes() {
    let down = Behaviour::Error { applied: false };
    let world = Rc::new(World::of(&[Behaviour::Ok, down, down]));
    let last = now(&world) + HOUR / 2;
    plant_all(&world, last);
    let healed = world.clone();
    after(ms(5), move || healed.all_become(Behaviour::Ok));
    let lock = held(world.mutex(fenced(2)).lock(&never()).await);
    assert_eq!(lock.token, Token::new(last + 1));
    assert_eq!(world.asked(Verb::Acquire).len(), 6, "one round each");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn no_other_token_is_proposed_where_it_would_not_be_granted() {
    for others in [Behaviour::Taken, Behaviour::Error { applied: false }] {
        let world = World::of(&[Behaviour::Ok, others, others]);
        plant_all(&world, now(&world) + HOUR / 2);
        world.mutex(fenced(1)).try_lock(&never()).await.unwrap_err();
        assert_eq!(world.asked(Verb::Acquire).len(), 3, "{others:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_was_stored_with_a_token_that_was_too_small_is_released() {
    let world = World::of(&[Behaviour::Ok; 3]);
    for node in &world.scripted[1..] {
        node.plant(FENCE, &(now(&world) + HOUR / 2).to_string());
    }
    let lock = held(world.mutex(fenced(1)).try_lock(&never()).await);
    assert_eq!(world.stored(), vec![Some(lock.value.to_string()); 3]);
}
