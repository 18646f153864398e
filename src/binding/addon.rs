//! What JavaScript sees. `lib/calls.js` is the only caller.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use napi::bindgen_prelude::{Float64ArraySlice, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Error, Result};
use napi_derive::napi;

use super::crossing::{self, First};
use super::event_loop::EventLoop;
use super::host::{Message, NodeAddress};
use super::outbox::Outbox;
use super::thread;
use super::wire::{milliseconds, to_milliseconds};
use crate::clock;
use crate::node::redis::{Access, Endpoint, RedisPlace, Sentinels, Tls, TlsOptions};
use crate::node::script::SCRIPTS;

/// The number of the next `Redsync` of the process that the engine thread serves, and of the next that an event loop does.
static NEXT_CLIENT: AtomicU32 = AtomicU32::new(First::ThreadClient as u32);
static NEXT_LOOP_CLIENT: AtomicU32 = AtomicU32::new(First::LoopClient as u32);

/// The number of the next clock for tests of the process.
static NEXT_CLOCK: AtomicU32 = AtomicU32::new(1);

/// Wakes the environment's event loop, without keeping it alive.
type Wake = ThreadsafeFunction<(), (), (), napi::Status, false, true, 0>;

/// A server's place.
#[napi(object)]
pub struct Place {
    pub host: String,
    pub port: u16,
}

/// Certificates in PEM, the name to verify, or what is pinned instead.
#[napi(object)]
pub struct TlsSpec {
    pub ca: Option<String>,
    /// As `AA:BB:...`, and sorted.
    pub fingerprint256: Option<Vec<String>>,
    pub cert: Option<String>,
    pub key: Option<String>,
    pub servername: Option<String>,
}

/// Where a node is and how to get in; `lib/nodes.js` makes it.
#[napi(object)]
#[derive(Default)]
pub struct NodeSpec {
    /// `redis`, `sentinel`, `cluster`, `memory` or `pool`.
    pub kind: String,
    /// Of a memory node that is shared.
    pub name: Option<String>,
    /// Of a memory node for tests: its clock, and how far that is ahead in milliseconds.
    pub clock: Option<u32>,
    pub ahead: Option<f64>,
    pub host: Option<String>,
    pub port: Option<u16>,
    /// Of a Unix socket.
    pub path: Option<String>,
    /// Sentinels, or servers of a cluster.
    pub seeds: Option<Vec<Place>>,
    pub master_name: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub sentinel_username: Option<String>,
    pub sentinel_password: Option<String>,
    pub db: Option<u32>,
    /// Milliseconds.
    pub connect_timeout: Option<f64>,
    pub client_name: Option<String>,
    pub tls: Option<TlsSpec>,
    /// For the quarantine of servers that have just started.
    pub asks_uptime: Option<bool>,
    /// Of a pool: whether keys that are used together have to be in one slot.
    pub is_cluster: Option<bool>,
}

impl From<Place> for Endpoint {
    fn from(place: Place) -> Self {
        Self::Tcp { host: place.host, port: place.port }
    }
}

impl From<TlsSpec> for Tls {
    fn from(spec: TlsSpec) -> Self {
        Self::new(TlsOptions {
            ca: spec.ca,
            pins: spec.fingerprint256,
            identity: spec.cert.zip(spec.key),
            servername: spec.servername,
        })
    }
}

impl TryFrom<NodeSpec> for NodeAddress {
    type Error = Error;

    fn try_from(spec: NodeSpec) -> Result<Self> {
        let access = Access {
            username: spec.username,
            password: spec.password,
            db: spec.db.unwrap_or_default(),
            connect_timeout: spec.connect_timeout.map_or(Duration::from_secs(1), milliseconds),
            client_name: spec.client_name.unwrap_or_default(),
            tls: spec.tls.map(Tls::from),
            asks_uptime: spec.asks_uptime.unwrap_or_default(),
        };
        let seeds = spec.seeds.unwrap_or_default().into_iter().map(Endpoint::from).collect();
        Ok(match spec.kind.as_str() {
            "memory" => {
                let ahead = spec.ahead.map_or(Duration::ZERO, milliseconds);
                Self::Memory { name: spec.name, clock: spec.clock.map(|clock| (clock, ahead)) }
            }
            "pool" => Self::Pool { is_cluster: spec.is_cluster.unwrap_or_default() },
            "cluster" => Self::Redis(Box::new(RedisPlace::Cluster(seeds, access))),
            "sentinel" => {
                let of_sentinels = Access {
                    username: spec.sentinel_username,
                    password: spec.sentinel_password,
                    db: 0,
                    asks_uptime: false,
                    ..access.clone()
                };
                let sentinels = Sentinels {
                    sentinels: seeds,
                    master_name: required(spec.master_name, "masterName")?,
                    access: of_sentinels,
                };
                Self::Redis(Box::new(RedisPlace::Master(sentinels, access)))
            }
            "redis" => {
                let endpoint = match spec.path {
                    Some(path) => Endpoint::Unix(path),
                    None => Endpoint::Tcp {
                        host: required(spec.host, "host")?,
                        port: required(spec.port, "port")?,
                    },
                };
                Self::Redis(Box::new(RedisPlace::Server(endpoint, access)))
            }
            _ => return Err(Error::from_reason("the kind of a node is unknown")),
        })
    }
}

fn required<T>(field: Option<T>, name: &str) -> Result<T> {
    field.ok_or_else(|| Error::from_reason(format!("a node has no {name}")))
}

/// One JavaScript environment's way to the engine.
#[napi]
pub struct Engine {
    outbox: Arc<Outbox>,
    event_loop: EventLoop,
}

#[napi]
impl Engine {
    /// `wake` is called when completions are ready to be drained. It never keeps the process alive.
    // Strictly: napi-rs loses some bytes where what is to be called is no function.
    #[napi(constructor, strict, catch_unwind)]
    pub fn new(env: Env, wake: Function<'_, (), ()>) -> Result<Self> {
        let wake: Wake =
            wake.build_threadsafe_function().weak::<true>().build_callback(|_| Ok(()))?;
        let outbox = Arc::new(Outbox::new(Box::new(move || {
            // An environment that is being torn down refuses: nobody is left to be told.
            wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        })));
        env.add_env_cleanup_hook(outbox.clone(), |outbox| {
            thread::send_if_started(Message::Gone { outbox });
        })?;
        Ok(Self { outbox, event_loop: EventLoop::default() })
    }

    /// Opens a `Redsync` over these nodes and returns its number. Nothing connects yet. Its random values name
    /// the owner. One whose nodes are all pools gets a number from `FIRST.LOOP_CLIENT` on.
    #[napi(catch_unwind)]
    pub fn open(&self, nodes: Vec<NodeSpec>, owner: Option<String>) -> Result<u32> {
        let nodes: Vec<_> = nodes.into_iter().map(NodeAddress::try_from).collect::<Result<_>>()?;
        let is_of_loop = nodes.iter().all(|node| matches!(node, NodeAddress::Pool { .. }));
        let next = if is_of_loop { &NEXT_LOOP_CLIENT } else { &NEXT_CLIENT };
        let client = next.fetch_add(1, Ordering::Relaxed);
        let message = Message::Open { client, outbox: self.outbox.clone(), nodes, owner };
        if is_of_loop {
            self.event_loop.tell(message);
        } else {
            send(message)?;
        }
        Ok(client)
    }

    /// Runs the engine of the event loop with the records in the first `used` numbers, of clients from
    /// `FIRST.LOOP_CLIENT` on, with their texts; with none when its alarm has rung. What comes out of it is to be drained
    /// then. Returns in how many milliseconds the alarm is to ring instead; a negative number if it stays as it is.
    #[napi(catch_unwind)]
    pub fn run(&self, records: Float64ArraySlice<'_>, used: u32, text: String) -> f64 {
        let records: &[f64] = &records;
        let numbers = records.get(..used as usize).unwrap_or(records);
        self.event_loop.run(numbers, &text, &self.outbox)
    }

    /// Hands over the records in the first `used` numbers, of clients of the engine thread, with their texts.
    #[napi(catch_unwind)]
    pub fn submit(&self, records: Float64ArraySlice<'_>, used: u32, text: String) -> Result<()> {
        self.outbox.turn();
        let records: &[f64] = &records;
        let numbers = records.get(..used as usize).unwrap_or(records).to_vec();
        send(Message::Calls { outbox: self.outbox.clone(), numbers, text })
    }

    /// When the lock of a lease is over, in milliseconds on the clock of `now`; 0 when it has ended.
    #[napi(catch_unwind)]
    pub fn until(&self, lease: u32) -> f64 {
        self.outbox.until(lease)
    }

    /// The same, of a lease that the caller lets go: its end is no news to him.
    #[napi(catch_unwind)]
    pub fn take_until(&self, lease: u32) -> f64 {
        self.outbox.take_until(lease)
    }

    /// Fills `records` with a count and that many completions; returns their texts.
    #[napi(catch_unwind)]
    pub fn drain(&self, mut records: Float64ArraySlice<'_>) -> Result<String> {
        if records.is_empty() {
            return Err(Error::from_reason("drain needs room for a count"));
        }
        // SAFETY: the array belongs to `lib/calls.js`, which does nothing else with it during this
        // synchronous call, and shares it with no other thread.
        let records = unsafe { records.as_mut() };
        Ok(self.outbox.drain(records))
    }
}

/// Milliseconds on the clock that `until` is measured on: it counts suspended time and ignores
/// changes of the wall clock.
#[napi(catch_unwind)]
#[cfg_attr(test, allow(dead_code, reason = "the macro exports nothing in a test build"))]
pub fn now() -> f64 {
    to_milliseconds(clock::now())
}

/// The number of a new clock for tests.
#[napi(catch_unwind)]
#[cfg_attr(test, allow(dead_code, reason = "the macro exports nothing in a test build"))]
pub fn new_clock() -> u32 {
    NEXT_CLOCK.fetch_add(1, Ordering::Relaxed)
}

/// The names and numbers of all that crosses, by set: `lib/crossing.js` takes them from here.
#[napi(catch_unwind)]
#[cfg_attr(test, allow(dead_code, reason = "the macro exports nothing in a test build"))]
pub fn crossing() -> HashMap<&'static str, HashMap<&'static str, i32>> {
    crossing::sets()
}

/// What the nodes of this addon run on a server, by name, for the clients that run it on their behalf.
#[napi(catch_unwind)]
#[cfg_attr(test, allow(dead_code, reason = "the macro exports nothing in a test build"))]
pub fn scripts() -> HashMap<&'static str, &'static str> {
    SCRIPTS.iter().map(|script| (script.name, script.source)).collect()
}

fn send(message: Message) -> Result<()> {
    thread::send(message).map_err(|error| {
        Error::from_reason(format!("the engine could not start: {}", error.kind()))
    })
}
