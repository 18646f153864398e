//! One schedule, from its seed to its end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Once;
use std::task::{Context, Poll};
use std::time::Duration;

use redsync_engine::{Delay, Options};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::client::{Client, NAMES};
use crate::faults::{Fault, Injected};
use crate::message::What;
use crate::node::State;
use crate::schedule::{Profile, Schedule};
use crate::script::{self, Running};
use crate::violation::Violation;
use crate::way::{Mode, Way};
use crate::world::World;

/// A node that is back is asked again after the longest pause of the clean-up, and a little; the
/// round before that pause may still have to time out.
const CLEANED_UP: u64 = 2_500;

/// Contenders for a free lock need a few attempts, 250 ms apart at most.
const NOT_FORGOTTEN: u64 = 60_000;

/// So often in one millisecond something happens only if it never ends.
const MOST_TURNS: u32 = 10_000;

/// What became of a schedule.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub trace: u64,
    pub found: BTreeSet<Violation>,
    pub injected: Injected,
    pub acquired: u64,
    /// Milliseconds that passed in it.
    pub simulated: u64,
}

/// Runs the schedule of a seed.
pub fn run(seed: u64, profile: Profile) -> Outcome {
    play(seed, profile, false)
}

/// Runs it, and prints what happens if `is_told`.
pub fn play(seed: u64, profile: Profile, is_told: bool) -> Outcome {
    notice_panics();
    HAS_PANICKED.set(false);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let mut run = Run::of(seed, profile, is_told);
            run.until_over().await;
            let mut outcome = run.outcome();
            let world = Rc::downgrade(&run.world);
            run.world.forget_what_is_on_its_way();
            drop(run);
            if HAS_PANICKED.get() {
                outcome.found.insert(Violation::Panicked);
            }
            if world.strong_count() > 0 {
                outcome.found.insert(Violation::NodesLeaked);
            }
            outcome
        })
    }));
    ran.unwrap_or_else(|_| Outcome {
        trace: 0,
        found: BTreeSet::from([Violation::Panicked]),
        injected: Injected::default(),
        acquired: 0,
        simulated: 0,
    })
}

thread_local!(static HAS_PANICKED: Cell<bool> = const { Cell::new(false) });

/// A task that panics only ends, and nobody else hears of it.
fn notice_panics() {
    static BEFORE: Once = Once::new();
    BEFORE.call_once(|| {
        let tell = take_hook();
        set_hook(Box::new(move |panic| {
            HAS_PANICKED.set(true);
            tell(panic);
        }));
    });
}

/// What is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The tasks are at work.
    Working,
    /// All is healed, and clean-up has its time.
    CleaningUp,
    /// Every client goes for every lock.
    Trying,
    /// The longest expiry passes.
    Expiring,
    Over,
}

struct Run {
    start: Instant,
    world: Rc<World>,
    chance: Chance,
    clients: Vec<Rc<Client>>,
    /// The tasks of each client; `None` once it is killed.
    processes: Vec<Option<LocalSet>>,
    working: Rc<Cell<usize>>,
    phase: Phase,
}

impl Run {
    fn of(seed: u64, profile: Profile, is_told: bool) -> Self {
        let schedule = Schedule::of(seed, profile, is_told);
        let mut chance = Chance::of(!seed);
        let world = World::new(schedule, chance.split());
        let handed_over = Rc::new(RefCell::default());
        let working = Rc::new(Cell::new(0));
        let mut clients = Vec::new();
        let mut processes = Vec::new();
        for index in 0..world.schedule.clients.len() {
            let aside = Chance::of(seed.rotate_left(17) ^ index as u64);
            let handed_over = Rc::clone(&handed_over);
            let client = Client::new(world.clone(), index, handed_over, &mut chance, aside);
            let process = LocalSet::new();
            for _ in 0..world.schedule.tasks {
                let (client, chance) = (client.clone(), chance.split());
                let running = Running::new(&working);
                process.spawn_local(async move {
                    script::run(client, chance).await;
                    drop(running);
                });
            }
            if world.schedule.orderly && world.schedule.closes && index > 0 && client.percent(50) {
                let after = client.aside.borrow_mut().within(0..=8);
                world.closings[index].set(Some(after));
            }
            clients.push(client);
            processes.push(Some(process));
        }
        world.plan(world.schedule.healing, What::Healing);
        if let Some(pause) = world.schedule.fault_pause {
            world.plan(chance.within(0..=pause), What::Fault);
        }
        let start = Instant::now();
        Self { start, world, chance, clients, processes, working, phase: Phase::Working }
    }

    async fn until_over(&mut self) {
        let mut pause = pin!(sleep(Duration::ZERO));
        let start = self.start;
        poll_fn(|cx| {
            let mut turns = 0;
            loop {
                self.turn(cx);
                turns += 1;
                if turns > MOST_TURNS {
                    self.world.witness.report(Violation::Livelock);
                    self.phase = Phase::Over;
                }
                if self.phase == Phase::Over {
                    return Poll::Ready(());
                }
                // What the tasks have done may have planned something for this very millisecond.
                let next = self.world.next().unwrap_or(u64::MAX >> 20);
                if next <= self.world.now() {
                    continue;
                }
                pause.as_mut().reset(start + Duration::from_millis(next));
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// What is due happens, every process runs as far as it can, and the invariants are looked at.
    fn turn(&mut self, cx: &mut Context<'_>) {
        self.world.time.set(self.start.elapsed().as_millis() as u64);
        while let Some(event) = self.world.take_due() {
            self.happen(event.what);
        }
        for (index, process) in self.processes.iter_mut().enumerate() {
            if let Some(process) = process
                && !self.world.paused[index].get()
            {
                let _ = pin!(process).poll(cx);
            }
        }
        let world = &self.world;
        let exact = world.schedule.clients_are_exact();
        let is_paused = |client: usize| world.paused[client].get();
        world.witness.look(&world.nodes, is_paused, exact, world.now());
        if world.schedule.orderly {
            let (now, trip) = (world.now(), world.schedule.round_trip());
            world.witness.look_at_leases();
            // Whoever does not wait for a node does not know whether his sign is gone when he is closed.
            let is_hasty =
                |client: usize| world.schedule.hasty && self.clients[client].is_closed.get();
            let is_writing =
                |client| is_hasty(client) || world.waiters.is_writing(client, now, 2 * trip + 20);
            world.report_left(world.witness.find_stray(&world.nodes, now, trip, is_writing));
        }
        let (now, quarantine) = (world.now(), world.schedule.longest_quarantine());
        world.waiters.look(&world.nodes, now, world.is_calm(), quarantine);
        if !world.is_calm() {
            let failures = world.faults.failures();
            world.waiters.look_in_disorder(&world.nodes, is_paused, now, quarantine, failures);
        }
        for found in world.waiters.take_found() {
            world.tell(format_args!("VIOLATION: {found}"));
            world.witness.report(found);
        }
        self.proceed(cx);
    }

    fn happen(&mut self, what: What) {
        let world = &self.world;
        match what {
            What::Arrival(command) => world.arrive(command),
            What::Answer(answered) => world.answer(answered),
            What::Watch(watching) => world.begin_to_watch(watching),
            What::Told(link, connection, key) => world.told(link, connection, key.as_deref()),
            What::Fault => self.fault(),
            What::NodeResumes(node) => {
                world.nodes[node].resume().into_iter().for_each(|command| world.arrive(command));
            }
            What::NodeRestarts(node) => {
                if world.nodes[node].restart() {
                    world.disconnect(node);
                }
            }
            What::Jump(node, millis) => world.nodes[node].clock.jump(millis),
            What::Reunion(node) => self.reunite(node),
            What::ClientResumes(client) => self.resume(client),
            What::Close(client) => self.close(client),
            What::Abort(cancel) => cancel.cancel(),
            What::Healing => self.heal(),
            What::Look => {}
            What::Continue => self.next_phase(),
            What::GiveUp => self.give_up(),
        }
    }

    fn fault(&mut self) {
        let (world, schedule) = (&self.world, &self.world.schedule);
        let (Some(pause), false) = (schedule.fault_pause, world.is_healed.get()) else { return };
        world.plan(world.now() + self.chance.within(1..=pause), What::Fault);
        let faults = [
            (schedule.resets, Fault::Reset),
            (schedule.node_pauses, Fault::NodePaused),
            (schedule.crashes, Fault::NodeCrashed),
            (schedule.forgetting, Fault::NodeForgot),
            (schedule.profile == Profile::Failovers, Fault::FailedOver),
            (schedule.profile == Profile::SplitBrains, Fault::Split),
            (schedule.jump.is_some(), Fault::Jumped),
            (schedule.unsteady.is_some(), Fault::Paced),
            (schedule.step > 0, Fault::Stepped),
            (schedule.stutters, Fault::Stuttered),
            (schedule.client_pauses, Fault::ClientPaused),
            (schedule.kills, Fault::ClientKilled),
            (schedule.closes, Fault::Closed),
        ];
        let mut possible = faults.iter().filter(|(is_on, _)| *is_on);
        let which = self.chance.index(possible.clone().count());
        let Some((_, fault)) = possible.nth(which) else { return };
        self.inject(*fault);
    }

    fn inject(&mut self, fault: Fault) {
        let world = self.world.clone();
        let schedule = &world.schedule;
        let node = self.chance.index(world.nodes.len());
        let client = self.chance.index(self.clients.len());
        let some_time = world.now() + self.chance.within(1..=schedule.expiry * 3 / 2);
        match fault {
            Fault::Reset => {
                let link = self.chance.index(world.links.len());
                world.reset(link, schedule.stragglers && self.chance.percent(70));
            }
            Fault::NodePaused | Fault::Stuttered if world.nodes[node].state.get() == State::Up => {
                let timeout = schedule.timeout(schedule.expiry).as_millis() as u64;
                let until = if fault == Fault::Stuttered {
                    world.now() + self.chance.within(1..=timeout * 3 / 2)
                } else {
                    some_time
                };
                world.nodes[node].state.set(State::Paused);
                world.plan(until, What::NodeResumes(node));
            }
            Fault::Paced => {
                let off = schedule.unsteady.unwrap_or_default();
                world.nodes[node].clock.run(self.chance.between(1.0 - off, 1.0 + off));
            }
            Fault::Stepped
                if world.now() > world.nodes[node].stepped.get() + schedule.longest_life() =>
            {
                let step = schedule.step as i64;
                world.nodes[node].stepped.set(world.now());
                world.nodes[node].clock.step(self.chance.pick(&[step, -step]));
            }
            Fault::Split if !world.nodes[node].is_down() && !world.nodes[node].is_split.get() => {
                world.nodes[node].split();
                world.disconnect(node);
                world.plan(some_time, What::Reunion(node));
            }
            Fault::NodeCrashed | Fault::NodeForgot if !world.nodes[node].is_down() => {
                let forgets = fault == Fault::NodeForgot;
                world.nodes[node].crash(forgets);
                world.disconnect(node);
                let is_away = forgets && schedule.profile != Profile::ForgetfulNodes;
                let gone = world.now() + schedule.longest_life();
                let back = if is_away && !schedule.quarantine { gone } else { some_time };
                if is_away && schedule.quarantine {
                    world.nodes[node].shield_until(gone);
                }
                world.plan(back, What::NodeRestarts(node));
            }
            Fault::FailedOver if !world.nodes[node].is_down() => {
                world.nodes[node].fail_over();
                world.disconnect(node);
            }
            Fault::Jumped => {
                let jump = schedule.jump.unwrap_or_default();
                world.nodes[node].clock.jump(jump);
                world.plan(some_time, What::Jump(node, -jump));
            }
            Fault::ClientPaused if !world.paused[client].replace(true) => {
                let since = world.now();
                world.lost_time[client].set(world.lost_time[client].get() + some_time - since);
                world.plan(some_time, What::ClientResumes(client));
            }
            // One stays, to see in what state the others leave the locks.
            Fault::ClientKilled if client > 0 && self.processes[client].is_some() => {
                world.witness.leaves(client);
                self.processes[client] = None;
                let (count, links) = (world.links_of_client(), &world.links);
                links[client * count..(client + 1) * count].iter().for_each(|link| link.abandon());
            }
            Fault::Closed if client > 0 => return self.close(client), // counted there
            _ => return,
        }
        world.tell(format_args!("{fault:?} (node {node}, client {client}) until {some_time}"));
        world.faults.count(fault);
    }

    fn close(&self, client: usize) {
        if let Some(process) = &self.processes[client]
            && !self.clients[client].is_closed.get()
        {
            process.spawn_local(self.clients[client].close());
        }
    }

    /// Everybody knows which of its lives is the node, and the other one becomes its replica.
    fn reunite(&self, node: usize) {
        let world = &self.world;
        if world.nodes[node].is_split.get() {
            world.nodes[node].fail_over();
            world.disconnect(node);
        }
    }

    fn resume(&mut self, client: usize) {
        let world = &self.world;
        world.paused[client].set(false);
        let is_first = self.chance.percent(50);
        for answered in world.inboxes[client].take() {
            if is_first {
                world.answer(answered);
            } else {
                // Its timers get ahead of what waits in its sockets.
                world.plan(world.now() + 1, What::Answer(answered));
            }
        }
    }

    /// From now on everything works. Nodes that have lost their data come back when it is time.
    fn heal(&mut self) {
        let world = &self.world;
        world.is_healed.set(true);
        let quiet_from = world.links.iter().map(|link| link.quiet_from()).max();
        world.quiet_from.set(quiet_from.unwrap_or_default());
        world.tell(format_args!("all is healed"));
        for client in 0..self.clients.len() {
            world.plan(world.now(), What::ClientResumes(client));
        }
        for (index, node) in world.nodes.iter().enumerate() {
            self.reunite(index);
            match node.state.get() {
                State::Up | State::Down { forgot: true } => {}
                State::Paused => world.plan(world.now(), What::NodeResumes(index)),
                State::Down { forgot: false } => {
                    world.plan(world.now(), What::NodeRestarts(index));
                }
            }
        }
    }

    fn proceed(&mut self, cx: &mut Context<'_>) {
        let world = self.world.clone();
        match self.phase {
            Phase::Working if self.working.get() == 0 && world.is_healed.get() => {
                self.phase = Phase::CleaningUp;
                // Until every node is back, what is on its way has come, and each was asked again.
                let mut back = world.links.iter().map(|link| link.quiet_from()).max().unwrap_or(0);
                if world.nodes.iter().any(|node| node.is_down()) {
                    back = back.max(world.now() + world.schedule.longest_life());
                }
                let schedule = &world.schedule;
                let timeout = schedule.timeout(schedule.longest_expiry()).as_millis() as u64;
                world.plan(back.max(world.now()) + timeout + CLEANED_UP, What::Continue);
            }
            Phase::Trying if self.working.get() == 0 => {
                self.phase = Phase::Expiring;
                // A slow link may have left something behind for long.
                let stragglers = world.links.iter().map(|link| link.last_straggler.get());
                let last = stragglers.max().unwrap_or_default().max(world.now());
                world.plan(last + world.schedule.longest_rest(), What::Continue);
            }
            Phase::Expiring | Phase::Working | Phase::CleaningUp | Phase::Trying => {}
            Phase::Over => {
                world.witness.look_at_the_end(&world.nodes);
                for process in self.processes.iter_mut().flatten() {
                    if pin!(process).poll(cx).is_pending() {
                        world.witness.report(Violation::TaskLeft);
                    }
                }
            }
        }
    }

    fn next_phase(&mut self) {
        self.world.tell(format_args!("the end of {:?}", self.phase));
        match self.phase {
            Phase::CleaningUp => {
                let world = &self.world;
                world.report_left(world.witness.find_leftover(&world.nodes, world.now()));
                self.phase = Phase::Trying;
                self.try_all();
            }
            Phase::Expiring => self.phase = Phase::Over,
            Phase::Working | Phase::Trying | Phase::Over => {}
        }
    }

    /// Every client that is left takes every lock in turn, however long the others hold it.
    fn try_all(&mut self) {
        let schedule = &self.world.schedule;
        for (client, process) in self.clients.iter().zip(&self.processes) {
            let Some(process) = process else { continue };
            if client.is_closed.get() {
                continue;
            }
            let (client, running) = (client.clone(), Running::new(&self.working));
            let options = Options {
                expiry: Duration::from_millis(schedule.expiry),
                tries: u64::MAX,
                delay: Delay::Random,
                drift_factor: schedule.drift_factor,
                timeout_factor: schedule.timeout_factor,
                shuffle: true,
                // A short window is one for a short time: the clocks of nodes go apart by more in the end.
                fencing: schedule.fenced > 0
                    && schedule.window.window > Duration::from_millis(NOT_FORGOTTEN),
                quarantine: schedule.quarantine(),
                ..Options::default()
            };
            let names = schedule.names;
            process.spawn_local(async move {
                for name in &NAMES[..names] {
                    let target = client.target(Rc::new([(*name).into()]));
                    let fencing = options.fencing && target.mode != Mode::Read;
                    let options = Options { fencing, ..options.clone() };
                    let way = Way::of(client.sets[0].clone(), target, options);
                    let _busy = way.redsync.busy();
                    if let Ok(held) = client.acquire(&way, u64::MAX, &client.stop).await {
                        let _ = way.mutex.unlock(held.value).await;
                    }
                }
                drop(running);
            });
        }
        // What was dropped without unlock is in the way until it expires.
        let limit = self.world.now() + schedule.longest_rest() + NOT_FORGOTTEN;
        self.world.plan(limit, What::GiveUp);
    }

    fn give_up(&mut self) {
        if self.phase == Phase::Trying {
            self.world.witness.report(Violation::Forgotten);
            self.phase = Phase::Over;
        }
    }

    fn outcome(&self) -> Outcome {
        let world = &self.world;
        Outcome {
            trace: world.trace.hash(),
            found: world.witness.found(),
            injected: world.faults.injected(),
            acquired: world.witness.acquired.get(),
            simulated: world.now(),
        }
    }
}
