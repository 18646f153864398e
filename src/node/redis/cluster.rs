//! A Redis Cluster as one node: every lock lives on the master of its slot.
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use redsync_engine::NodeError;
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::address::{Access, Endpoint};
use super::command::Redirect;
use super::link::{Link, OnRedirect};
use super::question::Question;
use super::route::Route;
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
    /// The servers that are known, the seeds first.
    links: RefCell<Vec<(Endpoint, Rc<Link>)>>,
    /// The master of a slot, as far as it is known. Looked up only, so that no order matters.
    masters: RefCell<HashMap<u16, Rc<Link>>>,
    /// One for each server that was watched.
    watches: RefCell<Vec<Rc<Watch>>>,
    itself: Weak<Self>,
}

impl Cluster {
    /// A cluster that is reached through any of the seeds.
    pub fn new(seeds: Vec<Endpoint>, access: Access) -> Rc<Self> {
        let cluster = Rc::new_cyclic(|itself| Self {
            access,
            links: RefCell::default(),
            masters: RefCell::default(),
            watches: RefCell::default(),
            itself: itself.clone(),
        });
        for seed in seeds {
            cluster.link(seed);
        }
        cluster
    }

    /// Asks the master of the slot; as long as it is not known, or down, any server that is up.
    pub fn ask(&self, question: Question) {
        self.link_of(&question.request.keys[0]).ask(question);
    }

    /// The watch over the master of the slot of this key.
    pub fn watch(&self, key: &str) -> Rc<Watch> {
        self.watch_over(self.link_of(key))
    }

    /// The watch over a server that is up.
    pub fn any_watch(&self) -> Rc<Watch> {
        self.watch_over(self.any())
    }

    fn link_of(&self, key: &str) -> Rc<Link> {
        let master = self.masters.borrow().get(&slot(key)).filter(|link| !link.is_down()).cloned();
        master.unwrap_or_else(|| self.any())
    }

    fn watch_over(&self, link: Rc<Link>) -> Rc<Watch> {
        let mut watches = self.watches.borrow_mut();
        if let Some(watch) = watches.iter().find(|watch| Rc::ptr_eq(watch.link(), &link)) {
            return watch.clone();
        }
        let watch = Watch::new(link);
        watches.push(watch.clone());
        watch
    }

    /// A server that is up, or may come up; the first seed if none is.
    pub fn any(&self) -> Rc<Link> {
        let links = self.links.borrow();
        let up = links.iter().find(|(_, link)| !link.is_down());
        up.unwrap_or(&links[0]).1.clone()
    }

    pub fn close(&self) {
        for (_, link) in self.links.borrow().iter() {
            link.close();
        }
    }

    fn link(&self, endpoint: Endpoint) -> Rc<Link> {
        let mut links = self.links.borrow_mut();
        if let Some((_, link)) = links.iter().find(|(known, _)| *known == endpoint) {
            return link.clone();
        }
        let redirects = Redirects { cluster: self.itself.clone(), from: endpoint.clone() };
        let route = Route::Fixed(endpoint.clone());
        let link = Link::new(route, self.access.clone(), Some(Rc::new(redirects)));
        links.push((endpoint, link.clone()));
        link
    }
}

/// The redirects of one server.
struct Redirects {
    cluster: Weak<Cluster>,
    from: Endpoint,
}

impl OnRedirect for Redirects {
    fn redirect(&self, mut question: Question, redirect: Redirect) {
        let Some(cluster) = self.cluster.upgrade() else { return };
        let (host, port) = redirect.to;
        // No host means the one that answered.
        let host = match &self.from {
            Endpoint::Tcp { host, .. } if redirect.host_is_its_own => host.clone(),
            _ => host,
        };
        let link = cluster.link(Endpoint::Tcp { host, port });
        if redirect.is_moved {
            let slot = slot(&question.request.keys[0]);
            cluster.masters.borrow_mut().insert(slot, link.clone());
        } else {
            question.is_asking = true;
        }
        question.redirects += 1;
        if question.redirects > MAX_REDIRECTS || cluster.links.borrow().len() > MAX_SERVERS {
            let why = "the cluster does not agree on who has the slot";
            return question.fail(&NodeError::new("MOVED", why));
        }
        let further = question.redirects.saturating_sub(REDIRECTS_AT_ONCE);
        if further == 0 {
            return follow(&link, question);
        }
        let pause = Duration::from_millis(2_u64.saturating_pow(further.into())).min(LONGEST_PAUSE);
        spawn_local(async move {
            sleep(pause).await;
            follow(&link, question);
        });
    }
}

/// What nobody waits for must not arrive behind its own release, which may know the way by now.
fn follow(link: &Rc<Link>, question: Question) {
    if question.is_wanted() {
        link.ask(question);
    }
}

/// The slot of a key: CRC16 of what stands between the first braces, if anything does, else of it all.
fn slot(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty());
    crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(key).as_bytes()) % 16384
}
