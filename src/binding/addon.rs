//! What JavaScript sees. `lib/calls.js` is the only caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use napi::bindgen_prelude::{Float64ArraySlice, Function};
use napi::{Env, Error, Result};
use napi_derive::napi;

use super::host::{self, Message, NodeAddress};
use super::outbox::Outbox;
use super::wire::{milliseconds, to_milliseconds};
use crate::clock;
use crate::node::redis::Address;

/// The number of the next `Redsync` of the process.
static NEXT_CLIENT: AtomicU32 = AtomicU32::new(1);

/// Where a node is; `lib/nodes.js` makes it.
#[napi(object)]
pub struct NodeSpec {
    /// `redis` or `memory`.
    pub kind: String,
    pub name: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub path: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub db: Option<u32>,
    /// Milliseconds.
    pub connect_timeout: Option<f64>,
    pub client_name: Option<String>,
}

impl From<NodeSpec> for NodeAddress {
    fn from(spec: NodeSpec) -> Self {
        if spec.kind == "memory" {
            return Self::Memory(spec.name);
        }
        Self::Redis(Address {
            host: spec.host.unwrap_or_default(),
            port: spec.port.unwrap_or(6379),
            path: spec.path,
            username: spec.username,
            password: spec.password,
            db: spec.db.unwrap_or_default(),
            connect_timeout: spec.connect_timeout.map_or(Duration::from_secs(1), milliseconds),
            client_name: spec.client_name.unwrap_or_default(),
        })
    }
}

/// One JavaScript environment's way to the engine thread.
#[napi]
pub struct Engine {
    outbox: Arc<Outbox>,
}

#[napi]
impl Engine {
    /// `wake` is called when completions are ready to be drained. It never keeps the process alive.
    #[napi(constructor, catch_unwind)]
    pub fn new(env: Env, wake: Function<'_, (), ()>) -> Result<Self> {
        let wake = wake.build_threadsafe_function().weak::<true>().build_callback(|_| Ok(()))?;
        let outbox = Arc::new(Outbox::new(wake));
        env.add_env_cleanup_hook(outbox.clone(), |outbox| {
            // There is nobody left to tell if this fails.
            let _ = host::send(Message::Gone { outbox });
        })?;
        Ok(Self { outbox })
    }

    /// Opens a `Redsync` over these nodes and returns its number. Nothing connects yet.
    #[napi(catch_unwind)]
    pub fn open(&self, nodes: Vec<NodeSpec>) -> Result<u32> {
        let client = NEXT_CLIENT.fetch_add(1, Ordering::Relaxed);
        let nodes = nodes.into_iter().map(NodeAddress::from).collect();
        send(Message::Open { client, outbox: self.outbox.clone(), nodes })?;
        Ok(client)
    }

    /// Hands over the records in the first `used` numbers, with their texts.
    #[napi(catch_unwind)]
    pub fn submit(&self, records: Float64ArraySlice<'_>, used: u32, text: String) -> Result<()> {
        let records: &[f64] = &records;
        let numbers = records.get(..used as usize).unwrap_or(records).to_vec();
        send(Message::Calls { outbox: self.outbox.clone(), numbers, text })
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
#[cfg_attr(test, expect(dead_code, reason = "exports are not made for tests"))]
pub fn now() -> f64 {
    to_milliseconds(clock::now())
}

fn send(message: Message) -> Result<()> {
    host::send(message).map_err(|error| {
        Error::from_reason(format!("the engine could not start: {}", error.kind()))
    })
}
