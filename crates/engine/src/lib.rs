//! The quorum engine of redsync: Redlock over any set of nodes that can acquire, release and extend.
//!
//! A lock is a key with the lock's name and a random *ownership value* on a quorum of N independent
//! nodes, floor(N / 2) + 1 of them, each with an expiry. The algorithm is the one of
//! <https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/>, its options and
//! defaults are go-redsync's, and where it leaves go-redsync on purpose the place says why.
//!
//! The engine knows neither Redis nor Node.js. Time and randomness come in from outside
//! ([`Clock`] and [`rand::Rng`]), it spawns its detached work on the current-thread runtime that
//! drives it, and it never asks for anything whose order depends on a hash or on luck: one seed
//! replays one run.
//!
//! # Layout
//!
//! | file | noun |
//! |---|---|
//! | `mutex` | lock, try_lock, unlock, extend, valid: start here |
//! | `acquire` | attempts and the wait between them: it reads like the paper |
//! | `look` | which permit of a semaphore they are for |
//! | `round` | one question to all nodes, answered by each or timed out |
//! | `tally` | the votes of a round while they come in, and the handle that casts one |
//! | `cleanup` | releases that outlive the call they belong to |
//! | `vote` | what one node says: an answer or an error |
//! | `quorum`, `validity` | the arithmetic: votes that decide, drift, `until` |
//! | `queue` | those who want the same keys, and what is known of their lock |
//! | `line` | who is first among them |
//! | `permit` | one of the locks that they wait for, and what is known of it |
//! | `chance` | what the first does next: a decision by what is known of each node |
//! | `view` | what is known of one node |
//! | `turns` | fairness between processes |
//! | `place` | the place of one call in the line |
//! | `lease`, `leases` | a lock that is held: kept alive, and its loss told; all of them |
//! | `guarded`, `schedule` | the locks of whose keys nodes tell that they have changed; leases by when to see to them |
//! | `nodes` | the set of nodes |
//! | `redsync` | what the mutexes of one set of nodes share |
//! | `load` | how much is under way, for who drives the engine |
//! | `time` | deadlines: of the runtime, or of a host that has none |
//! | `token`, `fencing` | a number that grows with every holder; which are proposed, and which a node grants |
//! | `kind` | what is acquired: by which rule a node grants |
//! | `node` | the trait that a backend implements |
//! | `notice` | how a node tells what becomes of keys |
//! | `memory` | a node in this process |
//! | `readers` | what it does with readers and writers |
//! | `signs` | what a writer who waits has left on the nodes |
//! | `health` | is a quorum there? |
//! | `inspect` | who holds a lock, node by node |
//! | `scan` | which keys may be locks |
//! | `report` | what a call saw, for those who watch from outside |
//! | `options`, `value`, `clock`, `error` | what goes in and what comes out |

mod acquire;
mod chance;
mod cleanup;
mod clock;
mod error;
mod fencing;
mod guarded;
mod health;
mod inspect;
mod kind;
mod lease;
mod leases;
mod line;
mod load;
mod look;
mod memory;
mod mutex;
mod node;
mod nodes;
mod notice;
mod options;
mod permit;
mod place;
mod queue;
mod quorum;
mod readers;
mod redsync;
mod report;
mod round;
mod scan;
mod schedule;
mod signs;
mod tally;
#[cfg(test)]
mod testing;
pub mod time;
mod token;
mod turns;
mod validity;
mod value;
mod view;
mod vote;

pub use clock::Clock;
pub use error::{Error, Refused};
pub use fencing::Window;
pub use kind::Kind;
pub use lease::{Extension, Hold, Holder, Loss};
pub use leases::Leases;
pub use load::Load;
pub use memory::MemoryNode;
pub use mutex::{Held, Mutex};
pub use node::{Health, Keys, Node, Request, Status, Verb};
pub use nodes::Busy;
pub use notice::{Guard, Notice, Sight};
pub use options::{Asked, Delay, Options, ValueSource};
pub use queue::Queues;
pub use quorum::Quorum;
pub use readers::READERS;
pub use redsync::Redsync;
pub use report::Report;
pub use tally::{Replies, Reply};
pub use token::Token;
pub use tokio_util::sync::CancellationToken;
pub use validity::{CLOCK_GRANULARITY, drift, node_timeout, quarantine, until};
pub use value::Value;
pub use vote::{Answer, Bound, Detail, Fate, Found, NodeError, Page, Vote};
