//! Is a quorum there? Asked of all nodes at once; one that hangs holds up nobody.

use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{Error, NodeError, Status};

use crate::support::node::broken;
use crate::support::{Behaviour, World, after, granted, ms, timed, timed_out};

const UP: Behaviour = Behaviour::Ok;
const DOWN: Behaviour = Behaviour::Error { applied: false };
const HUNG: Behaviour = Behaviour::Never { applied: false };
const LIMIT: Duration = ms(1000);

#[tokio::test(flavor = "local", start_paused = true)]
async fn ready_as_soon_as_a_quorum_is_up() {
    let slow = Behaviour::Slow;
    for (behaviours, ready_after) in [
        (vec![UP], ms(0)),
        (vec![UP, UP, HUNG], ms(0)),
        (vec![HUNG, HUNG, UP, UP, UP], ms(0)),
        (vec![DOWN, UP, UP], ms(0)),
        (vec![UP, slow(ms(30)), HUNG], ms(30)),
        (vec![slow(ms(90)), slow(ms(60)), slow(ms(30))], ms(60)),
        (vec![UP, UP, slow(ms(40)), HUNG], ms(40)),
    ] {
        let world = World::of(&behaviours);
        let (outcome, elapsed) = timed(world.redsync.ready(LIMIT)).await;
        assert_eq!((outcome, elapsed), (Ok(()), ready_after), "{behaviours:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn ready_notices_nodes_that_come_up_later() {
    let world = Rc::new(World::of(&[DOWN, Behaviour::Closed, HUNG]));
    for (node, comes_up) in [(0, ms(70)), (1, ms(120))] {
        let world = world.clone();
        after(comes_up, move || world.scripted[node].become_(UP));
    }
    let (outcome, elapsed) = timed(world.redsync.ready(LIMIT)).await;
    assert_eq!(outcome, Ok(()));
    assert!((ms(120)..=ms(170)).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn not_ready_in_time_it_says_which_node_is_why() {
    let world = World::of(&[UP, DOWN, HUNG, Behaviour::Closed]);
    let (outcome, elapsed) = timed(world.redsync.ready(LIMIT)).await;
    assert_eq!(elapsed, LIMIT);
    let votes = vec![granted(), Some(Err(broken())), timed_out(), Some(Err(NodeError::closed()))];
    assert_eq!(outcome, Err(Error::Failed { votes, attempts: 1 }));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn half_of_an_even_number_is_not_ready() {
    let world = World::of(&[UP, UP, DOWN, DOWN]);
    assert!(world.redsync.ready(LIMIT).await.is_err());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nobody_is_asked_any_more_once_it_is_ready() {
    let world = World::of(&[UP, UP, DOWN]);
    world.redsync.ready(LIMIT).await.unwrap();
    // Had the watch on node 2 gone on, it would keep the world's nodes alive.
    tokio::task::yield_now().await;
    assert_eq!(Rc::strong_count(&world.scripted[2]), 2, "held by the test and the engine only");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn health_asks_all_nodes_at_once_and_tells_in_their_order() {
    let world = World::of(&[Behaviour::Slow(ms(300)), HUNG, UP, DOWN]);
    let (health, elapsed) = timed(world.redsync.health(LIMIT)).await;
    assert_eq!(elapsed, LIMIT, "as long as the slowest, and no longer than the limit");
    let told: Vec<_> =
        health.iter().map(|node| (node.status, node.latency, node.error.clone())).collect();
    let expected = [
        (Status::Up, Some(ms(300)), None),
        (Status::Down, None, Some(NodeError::timed_out())),
        (Status::Up, Some(ms(0)), None),
        (Status::Down, None, Some(broken())),
    ];
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn health_tells_whether_a_node_that_is_up_tells_of_changes() {
    let world = World::of(&[UP, UP, DOWN]);
    world.scripted[1].is_watchable.set(true);
    let health = world.redsync.health(LIMIT).await;
    let watches: Vec<_> = health.iter().map(|node| node.watches).collect();
    assert_eq!(watches, [Some(false), Some(true), None]);
}
