//! Contenders on faulty nodes: one seed replays one run, and no two hold the lock at once.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use redsync_engine::{CancellationToken, Delay, Options};
use support::{Asked, Behaviour, World, ms};
use tokio::task::JoinSet;
use tokio::time::sleep;

const CONTENDERS: usize = 4;
const NODES: usize = 5;
const CYCLES: usize = 12;
/// Short enough for work to outlast locks: expiry plays a part, not only release. And longer than a node
/// that is back has to wait for its release.
const EXPIRY: Duration = ms(4000);
const NODE_TIMEOUT: Duration = ms(50);
/// The longest pause of the clean-up, with a round before it that times out.
const CLEANED_UP: Duration = ms(2000 + 2 * 50);

/// What is asked, in order; and who held from when to when.
struct Trace {
    log: Vec<Asked>,
    held: Vec<(Duration, Duration)>,
}

fn any_behaviour(rng: &mut StdRng) -> Behaviour {
    let delay = ms(rng.random_range(1..=2 * NODE_TIMEOUT.as_millis() as u64));
    let applied = rng.random_bool(0.5);
    match rng.random_range(0..10) {
        0 => Behaviour::Error { applied },
        1 => Behaviour::Never { applied },
        2 => Behaviour::Closed,
        3 | 4 => Behaviour::Slow(delay),
        5 | 6 => Behaviour::Far(delay),
        _ => Behaviour::Ok,
    }
}

async fn run(seed: u64) -> Trace {
    let world = Rc::new(World::seeded(&[Behaviour::Ok; NODES], seed));
    let held = Rc::new(RefCell::new(Vec::new()));
    let mut chaos = StdRng::seed_from_u64(seed ^ 0xc4a05);
    let faults = tokio::task::spawn_local({
        let world = world.clone();
        async move {
            loop {
                let node = chaos.random_range(0..NODES);
                world.scripted[node].become_(any_behaviour(&mut chaos));
                sleep(ms(chaos.random_range(1..40))).await;
            }
        }
    });

    let mut contenders = JoinSet::new();
    for contender in 0..CONTENDERS {
        let (world, held) = (world.clone(), held.clone());
        contenders.spawn_local(async move {
            let mut rng = StdRng::seed_from_u64(seed ^ (contender as u64 + 1) << 32);
            let mutex = world.mutex(Options {
                expiry: EXPIRY,
                timeout_factor: NODE_TIMEOUT.as_secs_f64() / EXPIRY.as_secs_f64(),
                tries: 80,
                delay: Delay::Random,
                shuffle: true,
                fail_fast: rng.random_bool(0.5),
                ..Options::default()
            });
            for _ in 0..CYCLES {
                let cancel = CancellationToken::new();
                if rng.random_bool(0.2) {
                    let (cancel, patience) = (cancel.clone(), ms(rng.random_range(0..500)));
                    support::after(patience, move || cancel.cancel());
                }
                let Ok(lock) = mutex.lock(&cancel).await else { continue };
                let from = world.redsync.now();
                // Some work outlives its lock; the lock is given up at `until` then.
                sleep(ms(rng.random_range(0..6000))).await;
                held.borrow_mut().push((from, world.redsync.now().min(lock.until)));
                let _ = mutex.unlock(lock.value).await;
            }
        });
    }
    contenders.join_all().await;
    faults.abort();

    // Every node answers again: what was stored last has to go sooner than by its expiry.
    world.all_become(Behaviour::Ok);
    let deadline = world.redsync.now() + CLEANED_UP;
    while !world.is_clean() && world.redsync.now() < deadline {
        sleep(ms(10)).await;
    }
    world.assert_clean(&seed);
    Trace { log: world.log(), held: held.take() }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn no_two_contenders_hold_the_lock_at_once() {
    let mut total = 0;
    for seed in 0..30 {
        let mut held = run(seed).await.held;
        held.sort();
        for pair in held.windows(2) {
            let [(_, end), (begin, _)] = pair else { unreachable!() };
            assert!(end <= begin, "seed {seed}: held until {end:?}, and again from {begin:?}");
        }
        total += held.len();
    }
    assert!(total > 300, "the locks are there to be had: {total}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn one_seed_replays_one_run() {
    for seed in [1, 2, 3] {
        let (once, again) = (run(seed).await, run(seed).await);
        assert!(once.log.len() > 200, "seed {seed}: {} questions", once.log.len());
        assert_eq!(once.log, again.log, "seed {seed}");
        assert_eq!(once.held, again.held, "seed {seed}");
    }
    assert_ne!(run(4).await.log, run(5).await.log, "and another seed another");
}
