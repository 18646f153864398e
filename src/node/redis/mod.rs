//! A node over one link to a Redis server.
//!
//! | file | noun |
//! |---|---|
//! | `address` | where the server is, and the socket to it |
//! | `link` | the connection: made in the background, made again when lost, one pipeline per tick |
//! | `command` | verbs to commands, replies to votes |
//! | `greeting` | login, and what the server says of itself |
//! | `scripts/*.lua` | what runs on the server |

mod address;
mod command;
mod greeting;
mod link;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use redsync_engine::{Health, Node, Reply, Request, Verb};

pub use address::Address;
use link::Link;

/// One Redis server. Connects when it is first asked for something.
pub struct RedisNode {
    link: Rc<Link>,
}

impl RedisNode {
    /// A node at this address. Does no I/O yet.
    pub fn new(address: Address) -> Self {
        Self { link: Link::new(address) }
    }
}

impl Node for RedisNode {
    fn ask(&self, verb: Verb, request: &Rc<Request>, reply: Reply) {
        self.link.ask(link::Question { verb, request: request.clone(), reply });
    }

    fn health(&self, limit: Duration) -> Pin<Box<dyn Future<Output = Health>>> {
        Box::pin(self.link.clone().health(limit))
    }

    fn close(&self) {
        self.link.close();
    }
}
