//! What is decided before a schedule begins.

use std::time::Duration;

use redsync_engine::Window;

use crate::chance::Chance;
use crate::permit::MOST;
use crate::way::longest_sign;

/// What the company of a schedule is drawn from, with its seed.
const COMPANY: u64 = 0x5e75_0f00;

/// The longest pause between two attempts, but for those who are told.
const LONGEST_PAUSE: u64 = 500;

/// What its tokens and quarantine are drawn from, with its seed.
const FENCING: u64 = 0xfe4c_e000;

/// What its semaphores are drawn from, with its seed.
const PERMITS: u64 = 0x9e27_1150;

/// What its readers and writers are drawn from, with its seed.
const MODES: u64 = 0x4ead_0000;

/// What the longest waits of calls are drawn from, with its seed.
const WAITS: u64 = 0x3a17_0000;

/// What its locks that rest are drawn from, with its seed.
const RESTS: u64 = 0x4e57_0000;

/// What its worse days are drawn from, with its seed.
const WORSE: u64 = 0xbad0_da75;

/// The drift factor where clocks of nodes run unsteadily.
const UNSTEADY: f64 = 0.05;

/// More than so many tokens are not granted within one microsecond of a node's clock, which the memory of tokens has
/// to make up for.
const GRAIN: Duration = Duration::from_millis(10);

/// Which assumptions a schedule keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// All of them: no violation may be found.
    Sound,
    /// A node that loses its data is back before the locks that it had granted are over.
    ForgetfulNodes,
    /// Clocks differ by more than the drift factor.
    WildClocks,
    /// The clock of a node is set forward by more than the drift factor allows.
    SetClocks,
    /// A node fails over to a replica that has not received everything.
    Failovers,
    /// The clock of a node jumps so far that it forgets fencing tokens that it would grant again.
    JumpingClocks,
    /// A replica is promoted while the node lives on: some clients ask the one, and some the other.
    SplitBrains,
}

/// The world of one seed.
///
/// Each schedule has only some kinds of faults, and these more often: a fault that needs quiet
/// around it is found as well as one that needs others.
#[derive(Debug)]
pub struct Schedule {
    /// Print what happens.
    pub is_told: bool,
    pub profile: Profile,
    pub names: usize,
    /// The rate of each node's clock.
    pub nodes: Vec<f64>,
    /// The rate of each client's clock.
    pub clients: Vec<f64>,
    /// Calls at once in one client.
    pub tasks: usize,
    /// Locks that each task goes for.
    pub rounds: u64,
    pub drift_factor: f64,
    pub timeout_factor: f64,
    pub expiry: u64,
    /// The longest way of a message to and from each node.
    pub distances: Vec<u64>,
    /// Percent of the messages that are lost.
    pub loss: u32,
    /// Percent of the messages that take up to an expiry.
    pub spikes: u32,
    /// Percent of the commands that a node refuses.
    pub refusals: u32,
    /// The pause between two faults, at most; none without it.
    pub fault_pause: Option<u64>,
    pub resets: bool,
    /// Commands of a link that was reset may still arrive.
    pub stragglers: bool,
    pub node_pauses: bool,
    pub crashes: bool,
    pub forgetting: bool,
    pub client_pauses: bool,
    pub kills: bool,
    pub closes: bool,
    /// Percent of the acquisitions that are aborted.
    pub aborts: u32,
    /// Nodes tell of keys that change.
    pub watches: bool,
    /// Pauses between attempts of a few milliseconds.
    pub eager: bool,
    /// When everything is healed.
    pub healing: u64,
    /// Nothing is lost, late or down, and only calls are aborted and processes ended: what fails, or
    /// does not come in time, is the engine's doing.
    pub orderly: bool,
    /// The nodes objects of one process, which share its queues.
    pub sets: usize,
    /// The calls of every set but the first have an expiry that is too short for the way to the nodes.
    pub hasty: bool,
    /// Percent of the calls that have to wait for their values or pauses.
    pub slow_sources: u32,
    /// How many permits a name has, as each client knows it.
    pub permits: Vec<u16>,
    /// Some read, and some write.
    pub shares: bool,
    /// Percent of the calls that end after a time, whatever their tries.
    pub waits: u32,
    /// Percent of the locks of a mutex that keep others off for a while after their release.
    pub rests: u32,
    /// Percent of the calls that want a fencing token.
    pub fenced: u32,
    /// For fencing tokens.
    pub window: Window,
    /// How far the wall clock of each node and of each client is ahead, in milliseconds.
    pub node_walls: Vec<i64>,
    pub client_walls: Vec<i64>,
    /// Nodes that have just started have no vote on new locks.
    pub quarantine: bool,
    /// By how many milliseconds a replica lags, if there are any.
    pub lag: Option<u64>,
    /// By how many milliseconds the clocks of nodes jump, if they do.
    pub jump: Option<i64>,
    /// By how much the rate of a node's clock may be off one, if it changes.
    pub unsteady: Option<f64>,
    /// By how many milliseconds a node's clock is set, once in the longest life of a lock; none if 0.
    pub step: u64,
    /// Nodes stand still for a moment, as behind a slow disk.
    pub stutters: bool,
    /// Percent of the grants that a node forgets at once, where clients have a quarantine.
    pub amnesia: u32,
    /// Percent of the commands that clients send twice, as they do after a connection has ended.
    pub repeats: u32,
    /// Percent of the commands that others of their link may overtake: a client with several connections, or a slot
    /// that moves from server to server.
    pub strays: u32,
}

impl Schedule {
    pub fn of(seed: u64, profile: Profile, is_told: bool) -> Self {
        let mut chance = Chance::of(seed);
        let drift_factor = chance.pick(&[0.01, 0.02]);
        let timeout_factor = chance.pick(&[0.05, 0.1, 0.25]);
        let expiry = chance.pick(&[60, 100, 300, 1000, 1000, 3000, 10_000, 10_000]);
        let timeout = (expiry as f64 * timeout_factor) as u64;
        let (nodes, clients) = rates(&mut chance, drift_factor, profile);
        let far = [0, 1, 1, 3, timeout / 4, timeout / 2, timeout, timeout * 2];
        let mut maybe = |percent| chance.percent(percent);
        let (resets, node_pauses, crashes) = (maybe(40), maybe(30), maybe(30));
        let (forgetting, client_pauses) = (maybe(25), maybe(40));
        let (kills, closes, stragglers) = (maybe(15), maybe(15), maybe(50));
        let (eager, single, watches) = (maybe(30), maybe(60), maybe(60));
        let has_faults =
            resets || node_pauses || crashes || forgetting || client_pauses || kills || closes;
        let schedule = Self {
            is_told,
            profile,
            names: if single { 1 } else { 2 },
            distances: nodes.iter().map(|_| chance.pick(&far)).collect(),
            tasks: chance.pick(&[1, 1, 1, 2]),
            rounds: chance.pick(&[1, 1, 2, 3]),
            loss: chance.pick(&[0, 0, 3, 15]),
            spikes: chance.pick(&[0, 0, 2, 10]),
            refusals: chance.pick(&[0, 0, 0, 5]),
            fault_pause: has_faults.then(|| 1 + chance.pick(&[timeout, expiry / 2, expiry])),
            aborts: chance.pick(&[0, 0, 20, 60]),
            healing: chance.within(expiry..=expiry * 4),
            nodes,
            clients,
            drift_factor,
            timeout_factor,
            expiry,
            resets,
            stragglers,
            node_pauses,
            crashes,
            forgetting,
            client_pauses,
            kills,
            closes,
            eager,
            watches,
            orderly: false,
            sets: 1,
            hasty: false,
            slow_sources: 0,
            permits: Vec::new(),
            shares: false,
            waits: 0,
            rests: 0,
            fenced: 0,
            window: Window::default(),
            node_walls: Vec::new(),
            client_walls: Vec::new(),
            quarantine: false,
            lag: None,
            jump: None,
            unsteady: None,
            step: 0,
            stutters: false,
            amnesia: 0,
            repeats: 0,
            strays: 0,
        };
        schedule
            .with_company(Chance::of(seed ^ COMPANY))
            .with_fencing(Chance::of(seed ^ FENCING))
            .with_permits(Chance::of(seed ^ PERMITS))
            .with_modes(Chance::of(seed ^ MODES))
            .with_waits(Chance::of(seed ^ WAITS))
            .with_rests(Chance::of(seed ^ RESTS))
            .with_worse(Chance::of(seed ^ WORSE))
    }

    /// What only some days bring, and then several at once; drawn apart, too.
    fn with_worse(mut self, mut chance: Chance) -> Self {
        let is_set = self.profile == Profile::SetClocks;
        if self.orderly || !is_set && !chance.percent(30) {
            return self;
        }
        if is_set || self.profile == Profile::Sound && chance.percent(40) {
            self.with_unsteady_clocks(&mut chance);
        }
        if is_set {
            self.step = self.expiry / 2;
        }
        self.stutters = chance.percent(40);
        if self.quarantine && self.forgetting {
            self.amnesia = chance.pick(&[0, 5, 30]);
        }
        self.repeats = chance.pick(&[0, 0, 5, 25]);
        self.strays = chance.pick(&[0, 0, 5, 25]);
        if self.stutters || self.unsteady.is_some() {
            let often = 1 + self.timeout(self.expiry).as_millis() as u64;
            self.fault_pause = Some(self.fault_pause.map_or(often, |pause| pause.min(often)));
        }
        self
    }

    /// The clocks of nodes run now faster, now slower, and are set now and then: by no more in the life of a lock than
    /// the drift factor allows.
    fn with_unsteady_clocks(&mut self, chance: &mut Chance) {
        self.drift_factor = UNSTEADY;
        // Clocks that go far apart are no matter of tokens.
        self.window = Window::default();
        let off = |rate: &f64| (rate - 1.0).abs();
        let of_clients = self.clients.iter().map(off).fold(0.0, f64::max);
        let shortest = self.expiry / 4;
        // A rest may be so short that no step is small beside it.
        let steps = self.rests == 0 && chance.percent(50);
        let of_steps = if steps { UNSTEADY / 3.0 } else { 0.0 };
        self.step = (shortest as f64 * of_steps) as u64;
        self.unsteady = Some(UNSTEADY - of_clients - of_steps);
    }

    /// Locks that rest, drawn apart, too.
    fn with_rests(mut self, mut chance: Chance) -> Self {
        self.rests = if chance.percent(15) { 50 } else { 0 };
        self
    }

    /// Calls with a longest wait, drawn apart, too.
    fn with_waits(mut self, mut chance: Chance) -> Self {
        self.waits = if chance.percent(15) { 50 } else { 0 };
        self
    }

    /// Readers and writers, drawn apart, too.
    fn with_modes(mut self, mut chance: Chance) -> Self {
        if self.permits.iter().all(|permits| *permits == 1) && chance.percent(25) {
            self.shares = true;
            self.tasks += chance.index(2);
        }
        self
    }

    /// Semaphores, which have no tokens, drawn apart, too.
    fn with_permits(mut self, mut chance: Chance) -> Self {
        self.permits = vec![1; self.clients.len()];
        if self.fenced == 0 && chance.percent(40) {
            let (limit, is_one) = (chance.pick(&[2, 2, 3, MOST]), chance.percent(70));
            // Who knows another limit shares the first permits with the others.
            let mut limit =
                || if is_one { limit } else { chance.within(1..=u64::from(MOST)) as u16 };
            self.permits.fill_with(&mut limit);
            // Enough for more of them than there are permits.
            self.tasks += chance.index(2);
        }
        self
    }

    /// Tokens and quarantine, drawn apart, too.
    fn with_fencing(mut self, mut chance: Chance) -> Self {
        self.fenced = chance.pick(&[0, 0, 50, 100, 100]);
        self.quarantine = chance.percent(if self.forgetting { 60 } else { 5 });
        // One that begins after the last token was forgotten needs some time of its own.
        let life = if self.forgetting { self.longest_life() } else { self.expiry };
        // What a call was told is of use in its next attempt.
        let life = life.max(LONGEST_PAUSE);
        let short = Duration::from_millis(life);
        if chance.percent(50) {
            // As short as it may be, or not.
            self.window = Window { window: short, memory: short * chance.pick(&[2, 2, 3]) + GRAIN };
        }
        // What a node has forgotten comes later than what others have granted.
        let window = self.window.window.as_millis() as u64;
        let keeps_near = self.forgetting && self.profile != Profile::ForgetfulNodes;
        let most = if keeps_near { self.expiry / 4 } else { window * 7 / 20 };
        let skew = chance.pick(&[0, 5, self.expiry / 4, most]).min(most);
        let is_wild = skew < most && !self.forgetting && chance.percent(40);
        match self.profile {
            Profile::Sound => {}
            // Without it: that is the assumption.
            Profile::ForgetfulNodes => self.quarantine = false,
            Profile::WildClocks | Profile::SetClocks => {}
            Profile::Failovers | Profile::SplitBrains => {
                self.lag = Some(chance.within(1..=self.expiry));
            }
            Profile::JumpingClocks => {
                self.fenced = 100;
                self.window = Window { window: short, memory: short * 2 + GRAIN };
                self.jump = Some(short.as_millis() as i64 * 2);
            }
        }
        if self.lag.is_some() || self.jump.is_some() {
            self.fault_pause = self.fault_pause.or(Some(self.expiry));
        }
        let around = |chance: &mut Chance| chance.within(0..=2 * skew) as i64 - skew as i64;
        self.node_walls = self.nodes.iter().map(|_| around(&mut chance)).collect();
        // A client whose clock is far from those of all nodes is told so.
        let far = window as i64 * 3;
        let wild = |chance: &mut Chance| if is_wild { chance.pick(&[-far, 0, far]) } else { 0 };
        let walls = self.clients.iter().map(|_| around(&mut chance) + wild(&mut chance));
        self.client_walls = walls.collect();
        self
    }

    /// Some schedules have several sets of nodes in a process, and some of them no faults: drawn apart,
    /// so that a seed of the others keeps its schedule.
    fn with_company(mut self, mut chance: Chance) -> Self {
        match chance.within(0..=11) {
            0..=1 => self.into_orderly(chance),
            2 => {
                self.sets = 2;
                self.slow_sources = chance.pick(&[0, 20]);
                self
            }
            _ => self,
        }
    }

    fn into_orderly(self, mut chance: Chance) -> Self {
        let expiry = chance.pick(&[1000, 3000, 10_000]);
        let (hasty, closes) = (chance.percent(40), chance.percent(40));
        let near: &[u64] = if hasty { &[4, 6, 10] } else { &[0, 1, 1, 3, 10] };
        Self {
            orderly: true,
            expiry,
            hasty,
            sets: if hasty { 2 } else { chance.pick(&[1, 1, 2]) },
            slow_sources: chance.pick(&[0, 25, 40]),
            distances: self.nodes.iter().map(|_| chance.pick(near)).collect(),
            tasks: chance.pick(&[1, 1, 2, 3]),
            fault_pause: (self.kills || closes).then_some(expiry),
            closes,
            healing: chance.within(expiry..=expiry * 4),
            loss: 0,
            spikes: 0,
            refusals: 0,
            resets: false,
            stragglers: false,
            node_pauses: false,
            crashes: false,
            forgetting: false,
            client_pauses: false,
            ..self
        }
    }

    /// Of how many permits a lock of these names is one, as this client knows it.
    pub fn permits_of(&self, client: usize, names: &[Box<str>]) -> u16 {
        if names.len() == 1 { self.permits[client] } else { 1 }
    }

    /// Can each client rely on it that the nodes tell?
    pub fn is_told_of_changes(&self) -> bool {
        self.orderly && self.watches
    }

    /// The longest that a round takes where nothing is lost or late.
    pub fn round_trip(&self) -> u64 {
        2 * self.distances.iter().max().copied().unwrap_or(0) + 2
    }

    /// The shortest way of a message that can take this long.
    pub fn nearest(&self, longest: u64) -> u64 {
        if self.hasty { longest / 2 } else { 0 }
    }

    /// An expiry of which the node timeout is over before any answer can be there.
    pub fn hasty_expiry(&self) -> u64 {
        (3.0 / self.timeout_factor) as u64
    }

    /// Milliseconds after which no key lives that was stored or extended before.
    pub fn longest_life(&self) -> u64 {
        self.longest_expiry() * 5 / 4 + 5
    }

    /// The same of whatever there is: signs as well.
    pub fn longest_rest(&self) -> u64 {
        if self.shares {
            self.longest_life().max(longest_sign() * 5 / 4 + 5)
        } else {
            self.longest_life()
        }
    }

    /// For how long a node has no vote on new locks when it has just started.
    pub fn quarantine(&self) -> Option<Duration> {
        self.quarantine.then(|| Duration::from_millis(self.longest_expiry()))
    }

    /// When every client is sure that it votes again, in milliseconds after its start.
    pub fn longest_quarantine(&self) -> u64 {
        if self.quarantine { self.longest_life() + 4000 } else { 0 }
    }

    /// Of the expiries in use.
    pub fn longest_expiry(&self) -> u64 {
        self.expiry * 2
    }

    /// Of a call with this expiry.
    pub fn timeout(&self, expiry: u64) -> Duration {
        redsync_engine::node_timeout(Duration::from_millis(expiry), self.timeout_factor)
    }

    /// Whether every client's clock runs as its timers do: then a loss must be told on time.
    pub fn clients_are_exact(&self) -> bool {
        self.clients.iter().all(|&rate| rate == 1.0)
    }
}

/// How fast the clocks run. What counts is how far a node's clock is from the client's: the drift
/// factor is the share of an expiry by which the node may be early. So either the clients' clocks
/// run true and the nodes' are off by all of it, or each by half.
fn rates(chance: &mut Chance, drift_factor: f64, profile: Profile) -> (Vec<f64>, Vec<f64>) {
    let nodes = chance.pick(&[1, 2, 3, 3, 3, 4, 5, 5, 6, 7]);
    let clients = chance.pick(&[2, 2, 3, 4]);
    let (of_node, of_client) = if chance.percent(50) {
        (drift_factor, 0.0)
    } else {
        (drift_factor / 2.0, drift_factor / 2.0)
    };
    let of_node = if profile == Profile::WildClocks { of_node * 8.0 } else { of_node };
    let mut around = |off: f64| chance.between(1.0 - off, 1.0 + off);
    let nodes = (0..nodes).map(|_| around(of_node)).collect();
    let clients = (0..clients).map(|_| around(of_client)).collect();
    (nodes, clients)
}
