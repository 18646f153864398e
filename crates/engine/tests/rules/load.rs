//! How much is under way: what those go by who take in calls, and who drives the engine.

use std::rc::Rc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use redsync_engine::{
    CancellationToken, Extension, Holder, Load, Loss, Mutex, Node, Options, Redsync, Value,
};
use tokio::task::{spawn_local, yield_now};

use crate::support::{Behaviour, KEY, TokioClock, World, held, keys, ms, timed};

/// One node that takes 100 ms, and the load of its rounds.
fn loaded() -> (Rc<Redsync>, Rc<Load>) {
    let (world, load) = (World::of(&[Behaviour::Slow(ms(100))]), Rc::<Load>::default());
    let members = world.scripted.iter().map(|node| node.clone() as Rc<dyn Node>).collect();
    let (clock, rng) = (TokioClock::start(), Box::new(StdRng::seed_from_u64(1)));
    let redsync = Redsync::sharing(load.clone(), Rc::default(), members, clock, rng, None);
    (redsync, load)
}

/// Begins a round after that time, and another 50 ms later.
fn begin_two(redsync: &Rc<Redsync>) {
    for pause in [ms(0), ms(50)] {
        let mutex = Mutex::new(redsync.clone(), keys(&[KEY]), Options::default());
        spawn_local(async move {
            tokio::time::sleep(pause).await;
            mutex.valid(Value::from("a value")).await
        });
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_takes_in_calls_waits_until_fewer_rounds_are_under_way() {
    for (limit, wait) in [(3, ms(0)), (2, ms(50)), (1, ms(100))] {
        let (redsync, _) = loaded();
        begin_two(&redsync);
        tokio::time::sleep(ms(50)).await;
        yield_now().await;
        let ((), waited) = timed(redsync.room(limit)).await;
        assert_eq!(waited, wait, "{limit}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_keeps_locks_alive_is_in_no_call_s_way() {
    let (redsync, load) = loaded();
    let mutex = Mutex::new(redsync.clone(), keys(&[KEY]), Options::default());
    let held = held(mutex.try_lock(&CancellationToken::new()).await);
    let extension =
        Extension { interval: ms(1000), max_hold: Duration::MAX, max_stall: Duration::MAX };
    redsync.leases.begin(mutex.hold(&held), Some(extension), Rc::new(Nobody));
    tokio::time::sleep(ms(1050)).await;
    assert_eq!(load.rounds(), 1, "it is being extended");
    assert_eq!(timed(redsync.room(1)).await.1, Duration::ZERO);
}

/// Listens to nothing.
struct Nobody;

impl Holder for Nobody {
    fn last_alive(&self, now: Duration) -> Duration {
        now
    }

    fn extended(&self, _until: Duration) {}

    fn lost(&self, _why: Loss) {}
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_phase_lasts_from_the_first_round_to_the_end_of_the_last() {
    let (redsync, load) = loaded();
    assert_eq!((load.phase(), load.rounds()), (0, 0));
    begin_two(&redsync);
    let ((), idle) = timed(load.end_of(0)).await;
    assert_eq!((idle, load.phase(), load.rounds()), (Duration::ZERO, 1, 1));
    let ((), busy) = timed(load.end_of(1)).await;
    assert_eq!((busy, load.phase(), load.rounds()), (ms(150), 2, 0));
    let ((), past) = timed(load.end_of(1)).await;
    assert_eq!(past, Duration::ZERO);
}
