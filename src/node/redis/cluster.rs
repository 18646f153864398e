//! A Redis Cluster as one node: every lock lives on the master of its slot.
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::{Rc, Weak};
use std::time::Duration;

use redsync_engine::{Answer, Detail, Guard, NodeError, Page, Verb};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::super::script::THE_END;
use super::super::side_keys::tag_of;
use super::address::{Access, Endpoint};
use super::command::Redirect;
use super::link::{Link, OnLogin, OnRedirect};
use super::question::Question;
use super::route::Route;
use super::server::Server;
use super::slot::{Slot, undecided};
use super::turn::{End, Turn};
use super::watch::Watch;

/// Servers that are remembered: a cluster has at most 1000 masters.
const MAX_SERVERS: usize = 2000;

/// How often one command may be sent elsewhere: for three seconds, if somebody waits for so long.
const MAX_REDIRECTS: u8 = 64;

/// So often it is sent at once. A way that is longer leads to and fro between servers that have to
/// hear yet of a slot that was moved.
const REDIRECTS_AT_ONCE: u8 = 5;

/// The pause before another redirect is followed; the first ones are shorter.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Routes questions to the masters.
///
/// There is no map of the slots to fetch and to keep: any server answers with a redirect to the right
/// one, which is remembered for the slot. So is what a failover or a moved slot changes, and where the
/// known master of a slot is down another server is asked, who says when there is a new one.
pub struct Cluster {
    access: Access,
    on_login: Option<OnLogin>,
    /// The seeds first, then those that have been heard of, for as long as there is a slot that knows
    /// them.
    servers: RefCell<Vec<Rc<Server>>>,
    /// Those that were asked about. Looked up only, so that no order matters.
    slots: RefCell<HashMap<u16, Rc<Slot>>>,
    /// One for each server that was watched.
    watches: RefCell<Vec<Rc<Watch>>>,
    /// Those that a walk over the keys goes to, in their order: as `HOST:PORT`, and known since the latest has begun.
    masters: RefCell<BTreeSet<String>>,
    /// Who is told of changes to the keys of held locks.
    guard: RefCell<Option<Weak<dyn Guard>>>,
    itself: Weak<Self>,
}

impl Cluster {
    /// A cluster that is reached through any of the seeds.
    pub fn new(seeds: Vec<Endpoint>, access: Access, on_login: Option<OnLogin>) -> Rc<Self> {
        let cluster = Rc::new_cyclic(|itself| Self {
            access,
            on_login,
            servers: RefCell::default(),
            slots: RefCell::default(),
            watches: RefCell::default(),
            masters: RefCell::default(),
            guard: RefCell::default(),
            itself: itself.clone(),
        });
        for seed in seeds {
            cluster.add(seed, true);
        }
        cluster
    }

    /// Asks the master of the slot; as long as it is not known, or down, any server that is up. A walk over the keys
    /// goes from master to master.
    pub fn ask(&self, question: Question) {
        if question.verb == Verb::Scan {
            return self.walk(question);
        }
        let slot = self.slot(&question.request.keys[0]);
        slot.join(question);
        self.advance(&slot);
    }

    /// Asks what may be asked now of what stands in line.
    fn advance(&self, slot: &Rc<Slot>) {
        while let Some((server, mut question, number)) = slot.next(|it| self.choose(it)) {
            question.turn = Some(self.turn(slot, &question, number));
            server.link.ask(question);
        }
    }

    /// Asks the master that the walk has come to: where it goes on is said as `CURSOR HOST:PORT`.
    fn walk(&self, question: Question) {
        let from = question.request.value.clone();
        match from.split_once(' ') {
            Some((THE_END, last)) => self.walk_on(question, Some(last)),
            Some((cursor, server)) => self.walk_over(question, cursor, server),
            None => {
                let cluster = self.itself.clone();
                spawn_local(async move {
                    let Some(cluster) = cluster.upgrade() else { return };
                    match cluster.find_masters(question.request.timeout).await {
                        Ok(()) => cluster.walk_on(question, None),
                        Err(error) => question.fail(&error),
                    }
                });
            }
        }
    }

    /// Asks the next master, if there is one.
    fn walk_on(&self, question: Question, last: Option<&str>) {
        let comes_next = |it: &&String| last.is_none_or(|last| it.as_str() > last);
        let next = self.masters.borrow().iter().find(comes_next).cloned();
        match next {
            Some(server) => self.walk_over(question, THE_END, &server),
            None => {
                question.reply.bring(Detail::Page(Page::of(&[], "")));
                question.reply.send(Ok(Answer::Granted));
            }
        }
    }

    /// Asks a master for a page.
    fn walk_over(&self, mut question: Question, cursor: &str, server: &str) {
        let Some(endpoint) = endpoint(server) else {
            return question.fail(&NodeError::protocol());
        };
        let mut request = (*question.request).clone();
        // Where the page ends is told with the server.
        request.keys = Rc::from([request.keys[0].clone(), server.into()]);
        request.value = cursor.into();
        question.request = Rc::new(request);
        let server = self.server(endpoint);
        let link = server.link.clone();
        // Whoever is being asked is not forgotten.
        question.turn = Some(Turn::new(0, move |_| drop(server)));
        link.ask(question);
    }

    /// Asks any server which ones are the masters, by a connection of its own.
    async fn find_masters(&self, limit: Duration) -> Result<(), NodeError> {
        let links = self.links();
        let found = async {
            let mut why = NodeError::closed();
            for link in links {
                match link.masters().await {
                    Ok(masters) => return Ok(masters),
                    Err(error) => why = error,
                }
            }
            Err(why)
        };
        let masters = timeout(limit, found).await.map_err(|_| NodeError::timed_out())??;
        self.masters.replace(masters);
        Ok(())
    }

    fn turn(&self, slot: &Rc<Slot>, question: &Question, number: u64) -> Turn {
        let (cluster, slot) = (self.itself.clone(), slot.clone());
        let keys = question.request.keys.clone();
        Turn::new(number, move |end| {
            if matches!(end, End::Settled { has_left: true }) {
                slot.drop_overtaken(number, &keys);
            }
            let is_awaited = slot.settle() && !matches!(end, End::SentOn);
            if let Some(cluster) = cluster.upgrade().filter(|_| is_awaited) {
                // Not at once: whoever drops a question is in the middle of something.
                spawn_local(async move { cluster.advance(&slot) });
            }
        })
    }

    /// The watch over the master of the slot of this key.
    pub fn watch(&self, key: &str) -> Rc<Watch> {
        let master = self.slot(key).master();
        self.watch_over(&self.choose(master.as_ref()).link)
    }

    /// The watch over a server that is up.
    pub fn any_watch(&self) -> Rc<Watch> {
        self.watch_over(&self.any())
    }

    /// A server that is up, or may come up; the first seed if none is.
    pub fn any(&self) -> Rc<Link> {
        self.choose(None).link.clone()
    }

    /// From now on every server tells of changes to the keys of held locks.
    pub fn tell_of_changes(&self, guard: Weak<dyn Guard>) {
        for server in self.servers.borrow().iter() {
            server.link.tell_of_changes(guard.clone());
        }
        *self.guard.borrow_mut() = Some(guard);
    }

    /// To its servers, the seeds first.
    pub fn links(&self) -> Vec<Rc<Link>> {
        self.servers.borrow().iter().map(|it| it.link.clone()).collect()
    }

    pub fn close(&self) {
        for server in self.servers.borrow().iter() {
            server.link.close();
        }
    }

    fn slot(&self, key: &str) -> Rc<Slot> {
        self.slots.borrow_mut().entry(slot_of(key)).or_default().clone()
    }

    /// The master, or any server that is up.
    fn choose(&self, master: Option<&Rc<Server>>) -> Rc<Server> {
        let servers = self.servers.borrow();
        let is_up = |server: &&Rc<Server>| !server.link.is_down();
        if let Some(up) = master.filter(is_up).or_else(|| servers.iter().find(is_up)) {
            if let Some(master) = master.filter(|master| !Rc::ptr_eq(master, up)) {
                master.link.want();
            }
            return up.clone();
        }
        servers.iter().for_each(|server| server.link.want());
        servers[0].clone()
    }

    fn watch_over(&self, link: &Rc<Link>) -> Rc<Watch> {
        let mut watches = self.watches.borrow_mut();
        if let Some(watch) = watches.iter().find(|watch| Rc::ptr_eq(watch.link(), link)) {
            return watch.clone();
        }
        let watch = Watch::new(link.clone());
        watches.push(watch.clone());
        watch
    }

    /// The server that is there.
    fn server(&self, endpoint: Endpoint) -> Rc<Server> {
        let known = self.servers.borrow().iter().find(|it| it.endpoint == endpoint).cloned();
        known.unwrap_or_else(|| {
            if self.servers.borrow().len() >= MAX_SERVERS {
                self.slots.borrow().values().for_each(|slot| drop(slot.set_master(None)));
                self.forget_strangers();
            }
            self.add(endpoint, false)
        })
    }

    fn add(&self, endpoint: Endpoint, is_seed: bool) -> Rc<Server> {
        let redirects = Redirects { cluster: self.itself.clone(), from: endpoint.clone() };
        let route = Route::Fixed(endpoint.clone());
        let redirects: Rc<dyn OnRedirect> = Rc::new(redirects);
        let link = Link::new(route, self.access.clone(), Some(redirects), self.on_login.clone());
        self.guard.borrow().iter().for_each(|guard| link.tell_of_changes(guard.clone()));
        let server = Rc::new(Server { endpoint, is_seed, link });
        self.servers.borrow_mut().push(server.clone());
        server
    }

    /// Whoever was not given, has no slot that is known, and is not being asked has left the cluster,
    /// or might have: the login is not for who comes to its address next.
    fn forget_strangers(&self) {
        self.servers.borrow_mut().retain(|server| {
            // The slots hold those that they know.
            let is_known = server.is_seed || Rc::strong_count(server) > 1;
            if !is_known {
                server.link.close();
                self.watches.borrow_mut().retain(|it| !Rc::ptr_eq(it.link(), &server.link));
            }
            is_known
        });
    }
}

/// The redirects of one server.
struct Redirects {
    cluster: Weak<Cluster>,
    from: Endpoint,
}

impl OnRedirect for Redirects {
    fn redirect(&self, mut question: Question, redirect: Redirect) {
        if question.verb == Verb::Scan {
            return question.fail(&NodeError::protocol()); // it is about no slot
        }
        let Some(cluster) = self.cluster.upgrade() else { return };
        let Some(number) = question.turn.take().map(Turn::sent_on) else { return };
        let slot = cluster.slot(&question.request.keys[0]);
        let (host, port) = redirect.to;
        // No host means the one that answered.
        let host = match &self.from {
            Endpoint::Tcp { host, .. } if redirect.host_is_its_own => host.clone(),
            _ => host,
        };
        let server = cluster.server(Endpoint::Tcp { host, port });
        question.redirects += 1;
        let redirects = question.redirects;
        if redirects > MAX_REDIRECTS {
            question.fail(&undecided());
        } else {
            let to = (!redirect.is_moved).then(|| server.clone());
            slot.put_back(question, number, to);
        }
        if redirect.is_moved && slot.set_master(Some(server)).is_some() {
            cluster.forget_strangers();
        }
        let further = redirects.saturating_sub(REDIRECTS_AT_ONCE);
        if further == 0 || redirects > MAX_REDIRECTS {
            return cluster.advance(&slot);
        }
        if slot.begin_pause() {
            let pause = Duration::from_millis(2_u64.saturating_pow(further.into()));
            spawn_local(async move {
                sleep(pause.min(LONGEST_PAUSE)).await;
                slot.end_pause();
                cluster.advance(&slot);
            });
        }
    }
}

/// Reads `HOST:PORT`.
fn endpoint(server: &str) -> Option<Endpoint> {
    let (host, port) = server.rsplit_once(':')?;
    Some(Endpoint::Tcp { host: host.to_owned(), port: port.parse().ok()? })
}

/// The slot of a key: CRC16 of what stands between the first braces, if anything does, else of it all.
fn slot_of(key: &str) -> u16 {
    let hashed = tag_of(key).unwrap_or(key);
    crc16::State::<crc16::XMODEM>::calculate(hashed.as_bytes()) % 16384
}

#[cfg(test)]
mod tests {
    use super::super::conversation::on_a_paused_clock;
    use super::super::fuzz::open_to_all;
    use super::super::link::FORGETS_AFTER;
    use super::*;

    struct Deaf;

    impl Guard for Deaf {
        fn changed(&self, _key: Option<&str>) {}
    }

    fn of(seeds: &[&str]) -> Rc<Cluster> {
        let seeds = seeds.iter().map(|path| Endpoint::Unix((*path).to_owned())).collect();
        Cluster::new(seeds, open_to_all(), None)
    }

    fn at(port: u16) -> Endpoint {
        Endpoint::Tcp { host: "host".to_owned(), port }
    }

    async fn goes_down(link: Rc<Link>) {
        link.clone().health(Duration::from_secs(1)).await;
        assert!(link.is_down());
    }

    #[test]
    fn a_server_that_is_down_is_tried_as_long_as_somebody_asks_for_its_slot() {
        on_a_paused_clock(async || {
            let cluster = of(&["/nowhere", "/elsewhere"]);
            let links = cluster.links();
            let slot = cluster.slot("name");
            slot.set_master(Some(cluster.servers.borrow()[0].clone()));
            goes_down(links[0].clone()).await;
            for _ in 0..FORGETS_AFTER.as_secs() * 2 {
                let chosen = cluster.choose(slot.master().as_ref());
                assert!(Rc::ptr_eq(&chosen.link, &links[1]), "the one that may be up is asked");
                sleep(Duration::from_secs(1)).await;
            }
            assert!(links[0].is_down());
            // Nobody asks any more.
            sleep(2 * FORGETS_AFTER).await;
            assert!(!links[0].is_down());
            assert!(Rc::ptr_eq(&cluster.choose(slot.master().as_ref()).link, &links[0]));
            // Where all are down, each may be the first to be back.
            for link in &links {
                goes_down(link.clone()).await;
            }
            for _ in 0..FORGETS_AFTER.as_secs() * 2 {
                assert!(Rc::ptr_eq(&cluster.any(), &links[0]));
                sleep(Duration::from_secs(1)).await;
            }
            assert!(links.iter().all(|link| link.is_down()));
            cluster.close();
            assert!(links.iter().all(|link| link.is_closed()));
        });
    }

    #[test]
    fn servers_that_were_heard_of_are_kept_while_there_is_room() {
        let cluster = of(&["/seed"]);
        let seed = cluster.any();
        let guard: Rc<dyn Guard> = Rc::new(Deaf);
        cluster.tell_of_changes(Rc::downgrade(&guard));
        assert_eq!(Rc::weak_count(&guard), 2, "the seed and the cluster");
        let first = cluster.server(at(0));
        assert_eq!(Rc::weak_count(&guard), 3);
        let watch = cluster.watch_over(&first.link);
        assert!(Rc::ptr_eq(&watch, &cluster.watch_over(&first.link)));
        assert!(!Rc::ptr_eq(&watch, &cluster.watch_over(&seed)));
        cluster.slot("name").set_master(Some(first.clone()));
        let link = first.link.clone();
        drop(first);
        for port in 1..MAX_SERVERS - 1 {
            let server = cluster.server(at(port as u16));
            assert!(Rc::ptr_eq(&server, &cluster.server(at(port as u16))));
        }
        assert_eq!(cluster.links().len(), MAX_SERVERS);
        assert!(!link.is_closed());
        let last = cluster.server(at(u16::MAX));
        let left = cluster.links();
        assert_eq!(left.len(), 2);
        assert!(Rc::ptr_eq(&left[0], &seed) && Rc::ptr_eq(&left[1], &last.link));
        assert!(link.is_closed() && !seed.is_closed());
        assert_eq!(cluster.watches.borrow().len(), 1, "that over the seed");
    }
}
