//! A node that is a Redis or Valkey server: standalone, behind sentinels, or a cluster.
//!
//! | file | noun |
//! |---|---|
//! | `link` | the link to one server: made in the background, made again when lost, one pipeline per tick |
//! | `command` | verbs to commands, replies to votes |
//! | `known` | which of the scripts of `node::script` a server knows |
//! | `deletion` | the command by which a newer server releases a lock without one |
//! | `tracking` | how a link has a server tell of changes to the keys of held locks |
//! | `watch` | the second connection, on which a server tells of keys that change |
//! | `question` | a verb on its way, and where its vote goes |
//! | `batch` | the questions of one tick: which go together, and whose reply is whose |
//! | `connection` | a socket with commands and replies on their way, and the login |
//! | `replies` | what a server may say, and how much |
//! | `stream`, `tls` | the socket |
//! | `failure` | what goes wrong, told without secrets |
//! | `address`, `place`, `route` | where a server is, and a node; how to get in, and who is the master |
//! | `sentinel`, `cluster` | the two ways in which a node is more than one server |
//! | `server`, `slot`, `turn` | one of a cluster; who has a slot, and the line of what is asked about it; who has left that line |
//! | `news` | the sentinels' news that the master has changed |
//! | `conversation` | tests of a login, a link, a watch and a cluster, against servers that they play |
//! | `fuzz` | what must hold whatever a server says; in no build but that of the tests and fuzzers |

mod address;
mod batch;
mod cluster;
mod command;
mod connection;
mod conversation;
mod deletion;
mod failure;
#[cfg(any(test, fuzzing))]
#[path = "../../../fuzz/src/redis.rs"]
pub mod fuzz;
mod known;
mod link;
mod news;
mod place;
mod question;
mod replies;
mod route;
mod sentinel;
mod server;
mod slot;
mod stream;
mod tls;
mod tracking;
mod turn;
mod watch;

use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use redsync_engine::{Guard, Health, Keys, Kind, Node, Notice, Replies, Reply, Request, Verb};

pub use address::{Access, Endpoint};
use cluster::Cluster;
use link::Link;
pub use link::OnLogin;
pub use place::{RedisIdentity, RedisPlace};
use question::{Group, Question};
use route::Route;
pub use sentinel::Sentinels;
pub use tls::{Tls, TlsOptions};
use watch::Watch;

/// What locks that are held are asked about.
const OF_HELD: [Verb; 2] = [Verb::Extend { recreate: false }, Verb::Owner];

/// One independent Redis: it connects when it is first asked for something.
pub enum RedisNode {
    Server(Rc<Link>, Rc<Watch>),
    Cluster(Rc<Cluster>),
}

impl RedisNode {
    /// The node of that place: a server, the master that sentinels name, or a cluster that is known by some of its
    /// servers.
    pub fn at(place: RedisPlace, on_login: Option<OnLogin>) -> Self {
        match place {
            RedisPlace::Server(endpoint, access) => {
                Self::of(Link::new(Route::Fixed(endpoint), access, None, on_login))
            }
            RedisPlace::Master(sentinels, access) => {
                Self::of(Link::new(Route::Master(sentinels), access, None, on_login))
            }
            RedisPlace::Cluster(seeds, access) => {
                Self::Cluster(Cluster::new(seeds, access, on_login))
            }
        }
    }

    fn of(link: Rc<Link>) -> Self {
        Self::Server(link.clone(), Watch::new(link))
    }

    fn put(&self, question: Question) {
        match self {
            Self::Server(link, _) => link.ask(question),
            Self::Cluster(cluster) => cluster.ask(question),
        }
    }
}

impl Node for RedisNode {
    fn ask(&self, verb: Verb, request: &Rc<Request>, reply: Reply) {
        self.put(Question::new(verb, request, reply));
    }

    fn ask_each(&self, verb: Verb, requests: &Rc<[Rc<Request>]>, replies: Replies) {
        let group = Group::new(verb, requests, replies);
        match self {
            // Ahead of what waits. Anything else keeps its place, and to the rules of its verb.
            Self::Server(link, _) if OF_HELD.contains(&verb) => link.ask_group(group),
            _ => group.into_questions().for_each(|question| self.put(question)),
        }
    }

    fn health(&self, limit: Duration) -> Pin<Box<dyn Future<Output = Health>>> {
        match self {
            Self::Server(link, _) => Box::pin(link.clone().health(limit)),
            Self::Cluster(cluster) => Box::pin(cluster.any().health(limit)),
        }
    }

    fn watch(&self, keys: &Keys, kind: Kind, notice: Notice) {
        match self {
            Self::Server(_, watch) => watch.look(keys, kind, notice),
            Self::Cluster(cluster) => cluster.watch(&keys[0]).look(keys, kind, notice),
        }
    }

    fn watches(&self, limit: Duration) -> Pin<Box<dyn Future<Output = Option<bool>>>> {
        match self {
            Self::Server(_, watch) => Box::pin(watch.clone().works(limit)),
            Self::Cluster(cluster) => Box::pin(cluster.any_watch().works(limit)),
        }
    }

    fn tell_of_changes(&self, guard: Weak<dyn Guard>) {
        match self {
            Self::Server(link, _) => link.tell_of_changes(guard),
            Self::Cluster(cluster) => cluster.tell_of_changes(guard),
        }
    }

    fn close(&self) {
        match self {
            Self::Server(link, _) => link.close(),
            Self::Cluster(cluster) => cluster.close(),
        }
    }
}
