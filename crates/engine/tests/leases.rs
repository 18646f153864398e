//! Held locks: when they are extended, when they are lost, and that nothing is left of them.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{
    CancellationToken, Extension, Held, Holder, Loss, Mutex, Options, Redsync, ValueSource, Verb,
};
use support::{A_WHILE, Behaviour, FOREIGN, KEY, World, after, held, keys, ms, tries};
use tokio::task::yield_now;
use tokio::time::sleep;

const EXTEND: Verb = Verb::Extend { recreate: false };
const RECREATE: Verb = Verb::Extend { recreate: true };
const DOWN: Behaviour = Behaviour::Error { applied: false };
const HUNG: Behaviour = Behaviour::Never { applied: false };

const INTERVAL: Duration = ms(2500);
/// Of the default options: 8 s less the drift.
const VALIDITY: Duration = ms(8000 - 82);
/// A loss is told so much before the lock is over.
const MARGIN: Duration = ms(2);

const KEPT: Extension =
    Extension { interval: INTERVAL, max_hold: Duration::MAX, max_stall: Duration::MAX };

/// Who holds a lock, and what he is told.
struct Listener {
    redsync: Rc<Redsync>,
    start: Duration,
    /// When he stopped living; `None`: he lives.
    stalled: Cell<Option<Duration>>,
    until: Cell<Duration>,
    lost: RefCell<Vec<(Duration, Loss)>>,
}

impl Listener {
    fn new(world: &World) -> Rc<Self> {
        Rc::new(Self {
            redsync: world.redsync.clone(),
            start: world.redsync.now(),
            stalled: Cell::default(),
            until: Cell::default(),
            lost: RefCell::default(),
        })
    }

    /// Until when he has been told that he holds the lock, from the start of the test.
    fn until(&self) -> Duration {
        self.until.get().saturating_sub(self.start)
    }

    /// Each loss that he was told, and when, from the start of the test.
    fn lost(&self) -> Vec<(Duration, Loss)> {
        self.lost.borrow().clone()
    }
}

impl Holder for Listener {
    fn last_alive(&self, now: Duration) -> Duration {
        self.stalled.get().unwrap_or(now)
    }

    fn extended(&self, until: Duration) {
        self.until.set(until);
    }

    fn lost(&self, why: Loss) {
        self.lost.borrow_mut().push((self.redsync.now() - self.start, why));
    }
}

/// A lock that is held, its mutex and its holder.
struct Lease {
    mutex: Mutex,
    held: Held,
    listener: Rc<Listener>,
}

impl Lease {
    async fn of(mutex: Mutex, world: &World, extension: Option<Extension>) -> Self {
        let held = held(mutex.lock(&CancellationToken::new()).await);
        let listener = Listener::new(world);
        world.redsync.leases.begin(mutex.hold(&held), extension, listener.clone());
        Self { mutex, held, listener }
    }

    async fn on(world: &World, extension: Extension) -> Self {
        Self::of(world.mutex(tries(1)), world, Some(extension)).await
    }

    async fn recreating(world: &World) -> Self {
        let options = Options { recreate_on_extend: true, ..tries(1) };
        Self::of(world.mutex(options), world, Some(KEPT)).await
    }

    /// On nodes that tell of changes, with somebody who listens for the loss. It was looked at for the first time.
    async fn guarded(world: &World) -> Self {
        world.scripted.iter().for_each(|node| node.is_watchable.set(true));
        let lease = Self::on(world, KEPT).await;
        world.redsync.leases.guard(&keys(&[KEY]), &lease.held.value);
        sleep(ms(1000)).await;
        lease
    }

    async fn unlock(&self) -> Result<(), redsync_engine::Error> {
        self.mutex.unlock(self.held.value.clone()).await
    }

    /// Asserts that the loss was told once, then and for this reason, and that nobody asks any more.
    async fn assert_lost(&self, world: &World, when: Duration, why: Loss) {
        assert_eq!(self.listener.lost(), [(when, why)]);
        let asked = world.asked(EXTEND).len();
        sleep(ms(60_000)).await;
        assert_eq!(self.listener.lost(), [(when, why)], "once");
        assert_eq!(world.asked(EXTEND).len(), asked, "extended no more");
    }
}

fn named(world: &World, name: &str, options: Options) -> Mutex {
    Mutex::new(world.redsync.clone(), keys(&[name]), options)
}

async fn sleep_until(world: &World, lease: &Lease, when: Duration) {
    sleep((lease.listener.start + when).saturating_sub(world.redsync.now())).await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lock_is_extended_every_interval() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::on(&world, KEPT).await;
    sleep(ms(60_001)).await;
    let times: Vec<_> = (1..=24).map(|i| INTERVAL * i).collect();
    assert_eq!(world.times(EXTEND, lease.listener.start), times);
    assert_eq!(world.asked(EXTEND).len(), 3 * times.len(), "every node");
    assert_eq!(lease.listener.until(), ms(60_000) + VALIDITY);
    assert_eq!(world.stored(), vec![Some(lease.held.value.to_string()); 3]);
    assert_eq!(lease.listener.lost(), []);
    lease.unlock().await.unwrap();
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_minority_that_is_down_changes_nothing() {
    for sick in [DOWN, HUNG, Behaviour::Closed] {
        let world = World::of(&[Behaviour::Ok, Behaviour::Ok, sick]);
        let lease = Lease::on(&world, KEPT).await;
        sleep(ms(60_000)).await;
        assert_eq!(lease.listener.lost(), [], "{sick:?}");
        assert!(lease.listener.until() > ms(60_000), "{sick:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_extension_that_fails_is_tried_again_until_the_lock_is_over() {
    // One of three is a partial extension: it is worth nothing.
    for sick in [[DOWN; 3], [Behaviour::Ok, DOWN, DOWN]] {
        let world = World::of(&[Behaviour::Ok; 3]);
        let lease = Lease::on(&world, KEPT).await;
        for (node, behaviour) in world.scripted.iter().zip(sick) {
            node.become_(behaviour);
        }
        sleep(VALIDITY).await;
        let times = world.times(EXTEND, lease.listener.start);
        let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(times[0], INTERVAL);
        assert_eq!(pauses[..6], [ms(50), ms(100), ms(200), ms(400), ms(800), ms(1600)]);
        let last = *times.last().unwrap();
        assert!(last > VALIDITY - ms(100), "to the end: {last:?}");
        assert!(times.len() < 20, "{times:?}");
        assert_eq!(lease.listener.until(), Duration::ZERO, "never extended");
        lease.assert_lost(&world, VALIDITY - MARGIN, Loss::Expired).await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_quorum_that_is_back_in_time_keeps_the_lock() {
    for back_at in [ms(2600), ms(4000), ms(6000), ms(7700)] {
        let world = Rc::new(World::of(&[Behaviour::Ok; 3]));
        let lease = Lease::on(&world, KEPT).await;
        world.all_become(DOWN);
        let healed = world.clone();
        after(back_at, move || healed.all_become(Behaviour::Ok));
        sleep(ms(30_000)).await;
        assert_eq!(lease.listener.lost(), [], "{back_at:?}");
        assert!(lease.listener.until() > ms(30_000), "{back_at:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_loss_is_told_in_time_also_while_nodes_are_silent() {
    for sick in [HUNG, Behaviour::Slow(ms(390)), Behaviour::Far(ms(390)), Behaviour::Slow(ms(500))]
    {
        let world = World::of(&[Behaviour::Ok; 3]);
        let lease = Lease::on(&world, KEPT).await;
        // The last extension that can succeed is under way when the lock is over.
        sleep(ms(2000)).await;
        world.all_become(DOWN);
        sleep_until(&world, &lease, VALIDITY - ms(150)).await;
        world.all_become(sick);
        sleep_until(&world, &lease, VALIDITY).await;
        lease.assert_lost(&world, VALIDITY - MARGIN, Loss::Expired).await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_interval_begins_with_the_answer() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let extension = Extension { interval: ms(100), ..KEPT };
    let lease = Lease::on(&world, extension).await;
    world.all_become(Behaviour::Slow(ms(300)));
    sleep(ms(10_000)).await;
    let times = world.times(EXTEND, lease.listener.start);
    assert_eq!(times[..3], [ms(100), ms(500), ms(900)]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lock_that_a_quorum_has_lost_is_lost_at_the_next_extension() {
    let (taken, free) = (Some(FOREIGN), None);
    for (theirs, why) in [
        ([taken, taken, taken], Loss::Taken),
        ([taken, taken, free], Loss::Taken),
        ([taken, free, free], Loss::Deleted),
        ([free, free, free], Loss::Deleted),
    ] {
        // With the option to store it again, too: that is for a minority.
        for recreate in [false, true] {
            let world = World::of(&[Behaviour::Ok; 3]);
            let options = Options { recreate_on_extend: recreate, ..tries(1) };
            let lease = Lease::of(world.mutex(options), &world, Some(KEPT)).await;
            sleep(ms(100)).await;
            for (node, stored) in world.scripted.iter().zip(theirs) {
                node.wipe(KEY);
                stored.into_iter().for_each(|value| node.plant(KEY, value));
            }
            sleep(INTERVAL).await;
            lease.assert_lost(&world, INTERVAL, why).await;
            let stored: Vec<_> = theirs.iter().map(|value| value.map(str::to_string)).collect();
            assert_eq!(world.stored(), stored, "{why:?}: nothing of theirs is touched");
            assert_eq!(world.asked(RECREATE), [], "{why:?}: nothing is stored again");
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_a_minority_still_stores_of_a_lost_lock_is_released() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::on(&world, KEPT).await;
    world.scripted[0].wipe(KEY);
    world.scripted[1].plant(KEY, FOREIGN);
    world.scripted[1].wipe(KEY);
    sleep(INTERVAL + A_WHILE).await;
    assert_eq!(world.stored(), [None, None, None]);
    lease.assert_lost(&world, INTERVAL, Loss::Deleted).await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_left_of_a_lock_that_nodes_forgot_keeps_others_from_it_until_it_is_over() {
    // Who forgot abstains: the lock would be free as soon as the rest of it is released.
    for (quarantine, left) in [(None, 0), (Some(ms(8000)), 1)] {
        let world = World::of(&[Behaviour::Ok; 3]);
        let options = Options { quarantine, ..tries(1) };
        let lease = Lease::of(world.mutex(options), &world, Some(KEPT)).await;
        world.scripted[..2].iter().for_each(|node| node.wipe(KEY));
        sleep(INTERVAL + A_WHILE).await;
        assert_eq!(lease.listener.lost(), [(INTERVAL, Loss::Deleted)]);
        assert_eq!(world.stored().iter().flatten().count(), left, "{quarantine:?}");
        sleep(VALIDITY).await;
        assert_eq!(world.stored().iter().flatten().count(), 0);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_key_that_a_minority_has_lost_is_stored_again_once_a_quorum_has_confirmed() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::recreating(&world).await;
    world.scripted[1].wipe(KEY);
    world.scripted[2].become_(DOWN);
    sleep(INTERVAL + ms(100)).await;
    assert_eq!(world.asked(RECREATE), [], "one of three confirms nothing");
    world.scripted[2].become_(Behaviour::Ok);
    sleep(INTERVAL).await;
    assert_eq!(world.stored(), vec![Some(lease.held.value.to_string()); 3]);
    assert!(world.asked(RECREATE).iter().all(|asked| asked.node == 1), "nobody else is asked");
    assert_eq!(lease.listener.lost(), []);
    lease.unlock().await.unwrap();
    world.assert_clean(&"unlocked");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn it_is_not_stored_again_unless_asked_for() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::on(&world, KEPT).await;
    world.scripted[1].wipe(KEY);
    sleep(ms(60_000)).await;
    assert_eq!(world.stored()[1], None);
    assert_eq!(lease.listener.lost(), []);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn it_is_held_for_max_hold_and_what_is_left_then() {
    for (max_hold, last_extension) in
        [(ms(1), ms(0)), (ms(2500), ms(0)), (ms(6000), ms(5000)), (ms(7501), ms(7500))]
    {
        let world = World::of(&[Behaviour::Ok; 3]);
        let lease = Lease::on(&world, Extension { max_hold, ..KEPT }).await;
        sleep(ms(20_000)).await;
        let over = last_extension + VALIDITY;
        lease.assert_lost(&world, over - MARGIN, Loss::MaxHold).await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn it_is_extended_no_more_for_a_holder_who_stalls() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::on(&world, Extension { max_stall: ms(6000), ..KEPT }).await;
    lease.listener.stalled.set(Some(lease.listener.start));
    sleep(ms(20_000)).await;
    let times = world.times(EXTEND, lease.listener.start);
    assert_eq!(times, [ms(2500), ms(5000)]);
    lease.assert_lost(&world, ms(5000) + VALIDITY - MARGIN, Loss::MaxStall).await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn whoever_has_stalled_for_just_that_long_has_stalled() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::on(&world, Extension { max_stall: INTERVAL, ..KEPT }).await;
    lease.listener.stalled.set(Some(lease.listener.start));
    sleep(ms(20_000)).await;
    lease.assert_lost(&world, VALIDITY - MARGIN, Loss::MaxStall).await;
    assert_eq!(world.asked(EXTEND), []);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_pauses_after_failures_begin_anew_when_one_has_come_through() {
    let world = World::of(&[Behaviour::Ok]);
    let lease = Lease::on(&world, KEPT).await;
    let mut down = Duration::ZERO;
    for _ in 0..2 {
        world.all_become(DOWN);
        sleep_until(&world, &lease, down + INTERVAL + ms(500)).await;
        world.all_become(Behaviour::Ok);
        // After 50, 100, 200 and 400 ms.
        down += INTERVAL + ms(750);
        sleep_until(&world, &lease, down + ms(1)).await;
    }
    let of_one = [0, 50, 150, 350, 750].map(|after| INTERVAL + ms(after));
    let again = of_one.map(|after| of_one[4] + after);
    assert_eq!(world.times(EXTEND, lease.listener.start), [of_one, again].concat());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_permit_that_is_kept_is_asked_for_no_more_until_it_is_over() {
    for seed in 0..10 {
        let world = World::seeded(&[Behaviour::Ok; 3], seed);
        let options = Options { permits: 2, ..tries(2) };
        let first = Lease::of(world.mutex(options.clone()), &world, Some(KEPT)).await;
        let asked = || world.asked(Verb::Acquire).len();
        sleep(ms(20_000)).await;
        let _second = Lease::of(world.mutex(options.clone()), &world, Some(KEPT)).await;
        assert_eq!(asked(), 2 * 3, "the other one, at once");
        let keys = first.mutex.hold(&first.held).keys().clone();
        world.redsync.leases.let_expire(&keys, &first.held.value);
        sleep(ms(8001)).await;
        held(world.mutex(options).try_lock(&CancellationToken::new()).await);
        assert_eq!(asked(), 3 * 3, "it is free, and the other one is not");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn it_is_kept_for_a_holder_who_comes_back_to_life_in_time() {
    for back_at in [ms(7510), ms(9000), ms(12_800)] {
        let world = World::of(&[Behaviour::Ok; 3]);
        let lease = Lease::on(&world, Extension { max_stall: ms(6000), ..KEPT }).await;
        lease.listener.stalled.set(Some(lease.listener.start));
        let listener = lease.listener.clone();
        after(back_at, move || listener.stalled.set(None));
        sleep(ms(40_000)).await;
        assert_eq!(lease.listener.lost(), [], "{back_at:?}");
        let times = world.times(EXTEND, lease.listener.start);
        let pause = times[2] - back_at;
        assert!(pause <= ms(50), "{back_at:?}: extended {pause:?} after");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn closing_ends_every_lease_and_leaves_the_keys() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let kept = Lease::on(&world, KEPT).await;
    let watched = Lease::of(named(&world, "another", tries(1)), &world, None).await;
    sleep(ms(1000)).await;
    world.redsync.close().await;
    assert_eq!(world.stored(), vec![Some(kept.held.value.to_string()); 3]);
    kept.assert_lost(&world, ms(1000), Loss::Closed).await;
    watched.assert_lost(&world, ms(1000), Loss::Closed).await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lease_that_was_ended_is_neither_extended_nor_lost() {
    // The release fails, too: the keys stay, and the holder has given up.
    for nodes in [Behaviour::Ok, DOWN, HUNG] {
        let world = World::of(&[Behaviour::Ok; 3]);
        let lease = Lease::on(&world, KEPT).await;
        sleep(ms(100)).await;
        world.all_become(nodes);
        let _ = lease.unlock().await;
        sleep(ms(20_000)).await;
        assert_eq!(world.asked(EXTEND), [], "{nodes:?}");
        assert_eq!(lease.listener.lost(), [], "{nodes:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_unlock_around_an_extension_leaves_no_key() {
    for delay in [ms(0), ms(1), ms(2), ms(5), ms(10)] {
        let two = [Behaviour::Slow(delay), Behaviour::Far(delay)];
        for nodes in [[two[0]; 3], [two[1]; 3], [Behaviour::Ok, two[0], two[1]]] {
            for (point, recreate) in (0..30).flat_map(|point| [(point, false), (point, true)]) {
                let case = format!("{nodes:?} {point} {recreate}");
                let world = World::of(&[Behaviour::Ok; 3]);
                let options = Options { recreate_on_extend: recreate, ..tries(1) };
                let lease = Lease::of(world.mutex(options), &world, Some(KEPT)).await;
                // A node has lost the key, and would be told to store it again.
                world.scripted[1].wipe(KEY);
                for (node, behaviour) in world.scripted.iter().zip(nodes) {
                    node.become_(behaviour);
                }
                sleep(INTERVAL - ms(3) + ms(point)).await;
                assert_eq!(lease.unlock().await, Ok(()), "{case}");
                world.assert_clean(&case);
                sleep(A_WHILE).await;
                world.assert_clean(&case);
                assert_eq!(lease.listener.lost(), [], "{case}");
            }
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_locks_of_about_the_same_time_are_asked_for_together() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let mut leases = Vec::new();
    for i in 0..100 {
        let mutex = named(&world, &i.to_string(), tries(1));
        leases.push(Lease::of(mutex, &world, Some(KEPT)).await);
        if i % 5 == 4 {
            sleep(ms(1)).await;
        }
    }
    sleep(INTERVAL).await;
    let asked = world.asked(EXTEND);
    assert_eq!(asked.len(), 300);
    assert!(asked.iter().all(|one| one.at == asked[0].at), "in one tick");
    assert_eq!(asked[0].at - leases[0].listener.start, INTERVAL, "when the first is due");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn locks_of_other_times_are_asked_for_in_their_time() {
    let world = World::of(&[Behaviour::Ok]);
    let first = Lease::on(&world, KEPT).await;
    sleep(INTERVAL / 2).await;
    let _second = Lease::of(named(&world, "another", tries(1)), &world, Some(KEPT)).await;
    sleep(3 * INTERVAL).await;
    let halves: Vec<_> = (2..=6).map(|half| INTERVAL / 2 * half).collect();
    assert_eq!(world.times(EXTEND, first.listener.start)[..5], halves);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nodes_are_not_asked_for_more_than_they_can_answer_in_time() {
    let world = World::of(&[Behaviour::Ok]);
    let mut leases = Vec::new();
    for i in 0..10_000 {
        let mutex = named(&world, &i.to_string(), tries(1));
        leases.push(Lease::of(mutex, &world, Some(KEPT)).await);
    }
    world.all_become(Behaviour::Slow(ms(100)));
    sleep(INTERVAL + ms(1)).await;
    let at_first = world.asked(EXTEND).len();
    assert_eq!(at_first, 4096);
    // Whoever is released while it waits is not asked for any more.
    for (i, lease) in leases.iter().enumerate().skip(9000) {
        world.redsync.leases.end(&keys(&[&i.to_string()]), &lease.held.value);
    }
    sleep(ms(500)).await;
    assert_eq!(world.asked(EXTEND).len(), 9000);
    assert!(leases[..9000].iter().all(|lease| lease.listener.until() > VALIDITY));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn no_number_of_calls_holds_up_an_extension() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::on(&world, KEPT).await;
    world.scripted[2].become_(HUNG);
    // Each waits for the node that hangs, for longer than the lock lives.
    let patient = Options { expiry: Duration::from_secs(600), ..tries(1) };
    for number in 0..6000 {
        let name = format!("name {number}");
        let mutex = Mutex::new(world.redsync.clone(), keys(&[&name]), patient.clone());
        tokio::task::spawn_local(async move { mutex.lock(&CancellationToken::new()).await });
    }
    sleep(3 * VALIDITY).await;
    assert_eq!(lease.listener.lost(), []);
    assert!(lease.listener.until() > 3 * VALIDITY);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lock_that_waits_long_for_a_node_holds_up_no_other() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let patient = Options { expiry: ms(3_600_000), ..tries(1) };
    let slow = Lease::of(named(&world, "slow", patient), &world, Some(KEPT)).await;
    let quick = Lease::on(&world, KEPT).await;
    world.scripted[2].become_(HUNG);
    sleep(INTERVAL + ms(401)).await;
    assert_eq!(quick.listener.until(), INTERVAL + VALIDITY);
    assert_eq!(slow.listener.until(), Duration::ZERO, "it waits for three minutes");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lock_that_is_only_watched_is_lost_in_time() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::of(world.mutex(tries(1)), &world, None).await;
    sleep(ms(20_000)).await;
    assert_eq!(world.asked(EXTEND), []);
    lease.assert_lost(&world, VALIDITY - MARGIN, Loss::Expired).await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lock_that_is_over_when_it_is_to_be_watched_is_lost_at_once() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let mutex = world.mutex(tries(1));
    let held = held(mutex.lock(&CancellationToken::new()).await);
    sleep(VALIDITY).await;
    let listener = Listener::new(&world);
    world.redsync.leases.begin(mutex.hold(&held), None, listener.clone());
    sleep(ms(1)).await;
    assert_eq!(listener.lost(), [(ms(0), Loss::Expired)]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_extension_by_the_holder_counts() {
    for extension in [None, Some(KEPT)] {
        let world = World::of(&[Behaviour::Ok; 3]);
        let lease = Lease::of(world.mutex(tries(1)), &world, extension).await;
        sleep(ms(2000)).await;
        held(lease.mutex.extend(lease.held.value.clone()).await);
        assert_eq!(lease.listener.until(), ms(2000) + VALIDITY);
        world.all_become(DOWN);
        sleep(ms(20_000)).await;
        lease.assert_lost(&world, ms(2000) + VALIDITY - MARGIN, Loss::Expired).await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_shorter_extension_by_the_holder_shortens_nothing() {
    for extension in [None, Some(Extension { interval: ms(20_000), ..KEPT })] {
        let world = World::of(&[Behaviour::Ok; 3]);
        let lease = Lease::of(world.mutex(tries(1)), &world, extension).await;
        sleep(ms(2000)).await;
        let shorter = world.mutex(Options { expiry: ms(1000), ..tries(1) });
        held(shorter.extend(lease.held.value.clone()).await);
        assert_eq!(lease.listener.until(), VALIDITY, "told what holds");
        sleep(ms(20_000)).await;
        lease.assert_lost(&world, VALIDITY - MARGIN, Loss::Expired).await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_extension_that_comes_too_late_is_none_and_is_soon_tried_again() {
    // A node timeout beyond the expiry, and an extension by the holder that lasts for longer.
    let options = Options { expiry: ms(1000), timeout_factor: 2.0, ..tries(1) };
    let world = World::of(&[Behaviour::Ok; 3]);
    let extension = Extension { interval: ms(600), ..KEPT };
    let lease = Lease::of(world.mutex(options), &world, Some(extension)).await;
    held(world.mutex(tries(1)).extend(lease.held.value.clone()).await);
    // What is promised from 600 ms on is over at 1588 ms.
    world.all_become(Behaviour::Slow(ms(1100)));
    sleep(ms(1800)).await;
    assert_eq!(world.times(EXTEND, lease.listener.start), [ms(0), ms(600), ms(1700 + 50)]);
    assert_eq!(lease.listener.lost(), []);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_extension_that_comes_when_it_is_over_is_none() {
    let options = Options { expiry: ms(1000), timeout_factor: 2.0, ..tries(1) };
    let world = World::of(&[Behaviour::Ok; 3]);
    let extension = Extension { interval: ms(600), ..KEPT };
    let lease = Lease::of(world.mutex(options), &world, Some(extension)).await;
    held(world.mutex(tries(1)).extend(lease.held.value.clone()).await);
    world.all_become(Behaviour::Slow(ms(1000 - 10 - 2)));
    sleep(ms(1700)).await;
    assert_eq!(world.times(EXTEND, lease.listener.start), [ms(0), ms(600), ms(1588 + 50)]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn of_two_leases_of_one_lock_the_second_counts() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let first = Lease::on(&world, KEPT).await;
    sleep(ms(1000)).await;
    let second = Listener::new(&world);
    world.redsync.leases.begin(first.mutex.hold(&first.held), Some(KEPT), second.clone());
    sleep(ms(10_100)).await;
    assert_eq!(first.listener.until(), Duration::ZERO, "the first is told nothing any more");
    let times: Vec<_> = (1..=4).map(|i| ms(1000) + INTERVAL * i).collect();
    assert_eq!(world.times(EXTEND, first.listener.start), times, "extended once an interval");
    first.unlock().await.unwrap();
    sleep(ms(20_000)).await;
    assert_eq!((first.listener.lost(), second.lost()), (vec![], vec![]));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lock_that_is_let_expire_is_lost_in_time() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::on(&world, KEPT).await;
    sleep(INTERVAL + ms(10)).await;
    world.redsync.leases.let_expire(&keys(&[KEY]), &lease.held.value);
    sleep(ms(20_000)).await;
    assert_eq!(world.stored(), [None, None, None]);
    lease.assert_lost(&world, INTERVAL + VALIDITY - MARGIN, Loss::Expired).await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_extension_under_way_when_it_is_let_expire_counts() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::on(&world, KEPT).await;
    world.all_become(Behaviour::Slow(ms(100)));
    sleep(INTERVAL + ms(10)).await;
    world.redsync.leases.let_expire(&keys(&[KEY]), &lease.held.value);
    sleep(ms(20_000)).await;
    lease.assert_lost(&world, INTERVAL + VALIDITY - MARGIN, Loss::Expired).await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn locks_of_one_value_on_several_names_are_kept_apart() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let mut leases = Vec::new();
    for name in ["one", "other"] {
        let values = ValueSource::Ask(Rc::new(|_| Box::pin(async { Ok("mine".to_string()) })));
        let mutex = named(&world, name, Options { values, ..tries(1) });
        leases.push(Lease::of(mutex, &world, Some(KEPT)).await);
    }
    leases[0].unlock().await.unwrap();
    sleep(ms(20_000)).await;
    assert_eq!(leases[1].listener.lost(), []);
    assert!(leases[1].listener.until() > ms(20_000));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_mutex_is_kept_again_and_again() {
    let world = World::of(&[Behaviour::Ok; 3]);
    for _ in 0..3 {
        let lease = Lease::on(&world, KEPT).await;
        sleep(ms(10_001)).await;
        assert_eq!(lease.listener.until(), ms(10_000) + VALIDITY);
        lease.unlock().await.unwrap();
        // Longer than the engine looks after leases that are none.
        sleep(ms(1000)).await;
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn leases_that_are_ended_take_no_memory() {
    let world = World::of(&[Behaviour::Ok; 3]);
    // One that stays: without any there would be nothing to look after.
    let _kept = Lease::on(&world, KEPT).await;
    let names = keys(&["another"]);
    for _ in 0..1000 {
        let mutex = Mutex::new(world.redsync.clone(), names.clone(), tries(1));
        let lease = Lease::of(mutex, &world, Some(KEPT)).await;
        for _ in 0..2 {
            world.redsync.leases.guard(&names, &lease.held.value);
        }
        lease.unlock().await.unwrap();
    }
    sleep(ms(101)).await; // the first look
    assert_eq!(Rc::strong_count(&names), 1, "whatever remembers a lock has its names");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lock_that_is_only_watched_or_left_to_expire_can_be_kept_alive_after_all() {
    for extension in [None, Some(KEPT)] {
        let world = World::of(&[Behaviour::Ok; 3]);
        let mutex = world.mutex(tries(1));
        let lease = Lease::of(mutex, &world, extension).await;
        let (lock, value) = (keys(&[KEY]), lease.held.value.clone());
        world.redsync.leases.let_expire(&lock, &value);
        let holder = world.redsync.leases.holder(&lock, &value).expect("it is watched");
        assert!(Rc::ptr_eq(&holder, &(lease.listener.clone() as Rc<dyn Holder>)));
        assert!(!world.redsync.leases.is_empty());
        sleep(ms(5000)).await;
        assert_eq!(world.asked(EXTEND), [], "not yet");
        world.redsync.leases.keep_alive(lease.mutex.hold(&lease.held), KEPT);
        sleep(ms(60_000)).await;
        assert_eq!(lease.listener.lost(), []);
        let times: Vec<_> = (1..=24).map(|i| ms(5000) + INTERVAL * i).collect();
        assert_eq!(world.times(EXTEND, lease.listener.start), times[..times.len() - 1]);
        lease.unlock().await.unwrap();
        assert!(world.redsync.leases.holder(&lock, &value).is_none());
        assert!(world.redsync.leases.is_empty());
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn asked_again_to_be_kept_alive_while_it_is_extended_it_is_extended_as_often_as_before() {
    let world = World::of(&[Behaviour::Slow(ms(100)); 3]);
    let lease = Lease::on(&world, KEPT).await;
    for _ in 0..5 {
        // The extension is under way now, and then it is not.
        for pause in [INTERVAL + ms(50), ms(200)] {
            sleep(pause).await;
            let held = held(lease.mutex.extend(lease.held.value.clone()).await);
            world.redsync.leases.keep_alive(lease.mutex.hold(&held), KEPT);
        }
    }
    let before = world.asked(EXTEND).len();
    sleep(ms(60_000)).await;
    let asked = (world.asked(EXTEND).len() - before) / 3;
    assert!((20..=24).contains(&asked), "{asked} extensions in a minute");
    assert_eq!(lease.listener.lost(), []);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn asked_to_be_kept_alive_while_it_waits_for_room_it_is_extended_as_often_as_before() {
    let world = World::of(&[Behaviour::Ok]);
    let mut leases = Vec::new();
    for i in 0..4200 {
        let mutex = named(&world, &i.to_string(), tries(1));
        leases.push(Lease::of(mutex, &world, Some(KEPT)).await);
    }
    world.all_become(Behaviour::Slow(ms(100)));
    sleep(INTERVAL + ms(50)).await;
    // The last ones wait until others have been extended.
    for lease in &leases {
        world.redsync.leases.keep_alive(lease.mutex.hold(&lease.held), KEPT);
    }
    sleep(ms(100)).await;
    let before = world.asked(EXTEND).len();
    sleep(4 * INTERVAL).await;
    assert!(leases.iter().all(|lease| lease.listener.lost().is_empty()));
    assert_eq!(world.asked(EXTEND).len() - before, 3 * leases.len());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn kept_alive_with_another_expiry_it_is_not_lost() {
    let short = Extension { interval: ms(300), ..KEPT };
    let long = Extension { interval: ms(3000), ..KEPT };
    let expiring = |expiry| {
        let drift_factor = if expiry == ms(10_000) { 0.1 } else { 0.01 };
        Options { expiry, drift_factor, ..tries(1) }
    };
    for (first, then) in
        [((ms(1000), short), (ms(10_000), long)), ((ms(10_000), long), (ms(1000), short))]
    {
        let world = World::of(&[Behaviour::Ok; 3]);
        let lease = Lease::of(world.mutex(expiring(first.0)), &world, Some(first.1)).await;
        let mutex = world.mutex(expiring(then.0));
        let held = held(mutex.extend(lease.held.value.clone()).await);
        world.redsync.leases.keep_alive(mutex.hold(&held), then.1);
        sleep(ms(60_100)).await;
        assert_eq!(lease.listener.lost(), [], "{first:?} {then:?}");
        let longer = ms(60_000 + 10_000 - 1000 - 2);
        assert_eq!(lease.listener.until(), longer, "{first:?} {then:?}");
        lease.unlock().await.unwrap();
        world.assert_clean(&"released");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lease_that_has_ended_lets_its_holder_go_at_once() {
    let world = World::of(&[Behaviour::Slow(ms(100)); 3]);
    let lease = Lease::on(&world, KEPT).await;
    // An extension is under way.
    sleep(INTERVAL + ms(50)).await;
    let before = Rc::strong_count(&lease.listener);
    world.redsync.leases.end(&keys(&[KEY]), &lease.held.value);
    assert_eq!(Rc::strong_count(&lease.listener), before - 1);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nodes_that_tell_of_changes_are_asked_at_once_whether_it_is_lost() {
    for deleted in [vec![], vec![0], vec![1], vec![0, 2], vec![1, 2], vec![2, 1, 0]] {
        for thief in [None, Some(FOREIGN)] {
            let world = World::of(&[Behaviour::Far(ms(10)); 3]);
            let lease = Lease::guarded(&world).await;
            let start = world.redsync.now();
            for &node in &deleted {
                world.scripted[node].wipe(KEY);
                thief.iter().for_each(|thief| world.scripted[node].plant(KEY, thief));
                sleep(ms(2)).await;
            }
            sleep(ms(30)).await;
            let lost = lease.listener.lost();
            if deleted.len() < 2 {
                assert_eq!(lost, [], "{deleted:?}");
                let later = world.redsync.now() - start + 3 * INTERVAL;
                sleep(later).await;
                assert_eq!(lease.listener.lost(), [], "{deleted:?}: a minority");
                continue;
            }
            let [(when, why)] = lost[..] else { panic!("{deleted:?}: {lost:?}") };
            let since = when + lease.listener.start - start;
            assert!(since <= ms(2 + 2 + 10), "{deleted:?}: a round trip, not {since:?}");
            let expected = if thief.is_some() { Loss::Taken } else { Loss::Deleted };
            assert_eq!(why, expected, "{deleted:?}");
            lease.assert_lost(&world, when, why).await;
        }
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nothing_is_looked_at_whose_keys_nobody_else_changes() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::guarded(&world).await;
    let other = Lease::of(named(&world, "another", tries(1)), &world, Some(KEPT)).await;
    let again = named(&world, "a third", tries(1));
    sleep(20 * INTERVAL + ms(500)).await;
    held(lease.mutex.extend(lease.held.value.clone()).await);
    // Nobody listens for the loss of this one.
    world.scripted.iter().for_each(|node| node.wipe("another"));
    // Nor is it this process's to look after this one.
    world.scripted.iter().for_each(|node| node.plant("a third", FOREIGN));
    sleep(ms(100)).await;
    assert_eq!(world.times(Verb::Owner, lease.listener.start), [ms(100)], "the first look");
    assert_eq!(other.listener.lost(), []);
    assert!(again.lock(&CancellationToken::new()).await.is_err());
    assert_eq!(lease.unlock().await, Ok(()));
    sleep(3 * INTERVAL).await;
    assert_eq!(world.asked(Verb::Owner).len(), 3, "nor when it was released");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn whoever_changes_a_key_all_the_time_makes_nobody_look_all_the_time() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::guarded(&world).await;
    let before = world.asked(Verb::Owner).len();
    let value = lease.held.value.to_string();
    for _ in 0..8000 {
        world.scripted[1].wipe(KEY);
        world.scripted[1].plant(KEY, &value);
        sleep(ms(1)).await;
    }
    // Twice for each node in each twelfth of its expiry.
    let looks = (world.asked(Verb::Owner).len() - before) / 3;
    assert!((60..=12 * 6 + 1).contains(&looks), "{looks} looks");
    assert_eq!(lease.listener.lost(), []);
    sleep(ms(8000)).await;
    world.scripted.iter().for_each(|node| node.wipe(KEY));
    sleep(ms(1)).await;
    assert_eq!(lease.listener.lost().len(), 1, "it is looked at again when he has rested");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn where_all_keys_may_have_changed_all_locks_are_looked_at_but_not_all_at_once() {
    let world = World::of(&[Behaviour::Ok]);
    world.scripted[0].is_watchable.set(true);
    let mut leases = Vec::new();
    for i in 0..6000 {
        let name = i.to_string();
        let options = Options { expiry: ms(3_600_000), ..tries(1) };
        let lease = Lease::of(named(&world, &name, options), &world, None).await;
        world.redsync.leases.guard(&keys(&[&name]), &lease.held.value);
        leases.push(lease);
    }
    world.all_become(Behaviour::Slow(ms(100)));
    for _ in 0..100 {
        world.scripted[0].store.forget_watchers();
    }
    sleep(ms(21)).await;
    let at_first = world.asked(Verb::Owner).len();
    assert!((4096..6000).contains(&at_first), "{at_first}");
    sleep(ms(500)).await;
    assert_eq!(world.asked(Verb::Owner).len(), 6000, "each once");
    assert!(leases.iter().all(|lease| lease.listener.lost().is_empty()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn kept_alive_anew_it_is_what_it_was() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::recreating(&world).await;
    sleep(INTERVAL + ms(1)).await;
    // With what was known when it was acquired, by somebody who would not store it again.
    world.redsync.leases.keep_alive(world.mutex(tries(1)).hold(&lease.held), KEPT);
    world.scripted[0].wipe(KEY);
    sleep(INTERVAL + ms(1)).await;
    assert_eq!(world.asked(RECREATE).len(), 1);
    world.redsync.leases.keep_alive(world.mutex(tries(1)).hold(&lease.held), KEPT);
    world.all_become(DOWN);
    sleep(ms(60_000)).await;
    let until = 2 * INTERVAL + ms(1) + VALIDITY;
    assert_eq!(lease.listener.lost(), [(until - MARGIN, Loss::Expired)]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn kept_alive_anew_it_is_guarded_if_it_was() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::guarded(&world).await;
    world.redsync.leases.keep_alive(lease.mutex.hold(&lease.held), KEPT);
    sleep(ms(500)).await;
    world.scripted.iter().for_each(|node| node.wipe(KEY));
    sleep(ms(1)).await;
    assert_eq!(lease.listener.lost(), [(ms(1500), Loss::Deleted)]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_listens_for_a_loss_is_told_soon_whenever_he_begins_and_the_nodes_are_asked_once() {
    let world = World::of(&[Behaviour::Ok]);
    let lease = Lease::on(&world, KEPT).await;
    sleep(ms(50)).await;
    for _ in 0..2 {
        world.redsync.leases.guard(&keys(&[KEY]), &lease.held.value);
        sleep(ms(500)).await;
    }
    assert_eq!(world.times(Verb::Owner, lease.listener.start), [ms(150)]);
    assert_eq!(world.scripted[0].guards.get(), 1);
}

/// Writes down which of several locks was lost.
struct Nth(usize, Rc<RefCell<Vec<usize>>>);

impl Holder for Nth {
    fn last_alive(&self, now: Duration) -> Duration {
        now
    }

    fn extended(&self, _until: Duration) {}

    fn lost(&self, _why: Loss) {
        self.1.borrow_mut().push(self.0);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn one_task_looks_after_all_and_closing_tells_them_in_their_order() {
    let world = World::of(&[Behaviour::Ok]);
    let leases = world.redsync.leases.clone();
    let before = Rc::strong_count(&leases);
    let lost = Rc::<RefCell<Vec<usize>>>::default();
    for i in 0..50 {
        let mutex = named(&world, &i.to_string(), tries(1));
        let held = held(mutex.lock(&CancellationToken::new()).await);
        assert_eq!(mutex.hold(&held).until(), held.until);
        leases.begin(mutex.hold(&held), Some(KEPT), Rc::new(Nth(i, lost.clone())));
    }
    sleep(ms(1)).await;
    assert_eq!(Rc::strong_count(&leases), before + 1);
    world.redsync.close().await;
    assert_eq!(*lost.borrow(), Vec::from_iter(0..50));
    yield_now().await;
    assert_eq!(Rc::strong_count(&leases), before, "it has ended with them");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn of_very_many_locks_of_one_value_each_has_its_own_lease() {
    let world = World::of(&[Behaviour::Ok]);
    let options = || {
        let ask =
            ValueSource::Ask(Rc::new(|_| Box::pin(std::future::ready(Ok("one value".to_owned())))));
        Options { values: ask, ..tries(1) }
    };
    let mut listeners = Vec::new();
    for i in 0..1000 {
        let lease = Lease::of(named(&world, &i.to_string(), options()), &world, None).await;
        listeners.push(lease.listener);
    }
    for (i, listener) in listeners.into_iter().enumerate() {
        let found = world.redsync.leases.holder(&keys(&[&i.to_string()]), &"one value".into());
        assert!(Rc::ptr_eq(&found.expect("a lease"), &(listener as Rc<dyn Holder>)), "{i}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn each_lock_that_is_looked_at_has_its_own_time() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let quick = Options { expiry: ms(1000), ..tries(1) };
    let quick = Lease::of(named(&world, "quick", quick), &world, None).await;
    world.redsync.leases.guard(&keys(&["quick"]), &quick.held.value);
    let lease = Lease::on(&world, KEPT).await;
    world.redsync.leases.guard(&keys(&[KEY]), &lease.held.value);
    // Slower than the quick one waits for.
    world.all_become(Behaviour::Slow(ms(100)));
    world.scripted.iter().for_each(|node| node.wipe(KEY));
    sleep(ms(201)).await;
    assert_eq!(lease.listener.lost(), [(ms(200), Loss::Deleted)]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_a_look_has_found_is_nothing_to_a_lock_that_was_released_meanwhile() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::guarded(&world).await;
    world.all_become(Behaviour::Slow(ms(100)));
    for node in &world.scripted[..2] {
        node.wipe(KEY);
        node.plant(KEY, FOREIGN);
    }
    sleep(ms(50)).await;
    lease.unlock().await.unwrap_err();
    sleep(ms(1000)).await;
    assert_eq!(lease.listener.lost(), []);
    assert_eq!(world.asked(Verb::Release).len(), 3, "by its holder");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_key_that_is_stored_again_is_waited_for() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let _lease = Lease::recreating(&world).await;
    world.all_become(Behaviour::Slow(ms(100)));
    world.scripted[0].wipe(KEY);
    sleep(INTERVAL + ms(50)).await;
    world.scripted[0].become_(HUNG);
    sleep(ms(100)).await;
    assert_eq!(world.asked(RECREATE).len(), 1);
    assert!(world.scripted[0].unanswered.borrow()[0].is_wanted(), "or it would not be sent");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_first_look_is_soon_for_the_first_and_at_all_others_with_it() {
    let world = World::of(&[Behaviour::Ok]);
    let lease = Lease::on(&world, KEPT).await;
    let other = Lease::of(named(&world, "another", tries(1)), &world, Some(KEPT)).await;
    world.redsync.leases.guard(&keys(&[KEY]), &lease.held.value);
    sleep(ms(50)).await;
    world.redsync.leases.guard(&keys(&["another"]), &other.held.value);
    sleep(ms(1000)).await;
    assert_eq!(world.times(Verb::Owner, lease.listener.start), [ms(100); 2]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_key_that_changes_while_it_is_looked_at_is_looked_at_again() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::guarded(&world).await;
    for node in &world.scripted[..2] {
        node.wipe(KEY);
        for _ in 0..10 {
            yield_now().await;
        }
    }
    assert_eq!(lease.listener.lost(), [(ms(1000), Loss::Deleted)]);
    assert_eq!(world.asked(Verb::Owner).len(), 3 * 3);
}

/// Of three nodes one changes a key so often that the next look is some time away.
async fn changed_often(world: &World, lease: &Lease) {
    let value = lease.held.value.to_string();
    for _ in 0..10 {
        world.scripted[1].wipe(KEY);
        world.scripted[1].plant(KEY, &value);
        sleep(ms(1)).await;
    }
    assert_eq!(
        world.asked(Verb::Owner).len(),
        3 * (1 + 6),
        "the first look, and two for each node"
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_look_that_is_planned_ends_with_the_lease() {
    let world = World::of(&[Behaviour::Ok; 3]);
    let lease = Lease::guarded(&world).await;
    changed_often(&world, &lease).await;
    let names = lease.mutex.hold(&lease.held).keys().clone();
    let before = Rc::strong_count(&names);
    world.redsync.leases.end(&names, &lease.held.value);
    assert_eq!(Rc::strong_count(&names), before - 1, "nothing else remembers it");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn where_all_keys_may_have_changed_a_look_that_is_planned_is_made_with_the_others() {
    for is_deleted in [false, true] {
        let world = World::of(&[Behaviour::Ok; 3]);
        let lease = Lease::guarded(&world).await;
        changed_often(&world, &lease).await;
        let looks = || world.asked(Verb::Owner).len() / 3;
        world.scripted[0].store.forget_watchers();
        sleep(ms(21)).await;
        assert_eq!(looks(), 1 + 6 + 1);
        if is_deleted {
            world.scripted.iter().for_each(|node| node.wipe(KEY));
        }
        sleep(ms(8000 / 12)).await;
        assert_eq!(looks(), 1 + 6 + 1 + usize::from(is_deleted));
        assert_eq!(lease.listener.lost().len(), usize::from(is_deleted));
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn all_locks_are_looked_at_in_their_order_and_once_a_second() {
    let world = World::of(&[Behaviour::Ok]);
    world.scripted[0].is_watchable.set(true);
    let mut values = Vec::new();
    for i in 0..50 {
        let name = i.to_string();
        let lease = Lease::of(named(&world, &name, tries(1)), &world, None).await;
        world.redsync.leases.guard(&keys(&[&name]), &lease.held.value);
        values.push(lease.held.value.to_string());
    }
    sleep(ms(100)).await;
    let start = world.redsync.now();
    // The second is on its way with the first, and the third has to wait.
    for pause in [ms(10), ms(90), ms(2000)] {
        world.scripted[0].store.forget_watchers();
        sleep(pause).await;
    }
    let looks = world.asked(Verb::Owner).split_off(50);
    let of = |looks: &[support::Asked]| {
        let values: Vec<_> = looks.iter().map(|asked| asked.value.clone()).collect();
        (looks[0].at - start, values)
    };
    assert_eq!(looks.len(), 2 * 50);
    assert_eq!(of(&looks[..50]), (ms(20), values.clone()));
    assert_eq!(of(&looks[50..]), (ms(1020), values));
}
