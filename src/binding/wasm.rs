//! The engine as a WebAssembly module, for pools and nodes in memory. `lib/wasm.js` is the only caller: it puts numbers and
//! texts into the memory of the module where `numbers()` and `text()` say, and finds there what comes out.
//!
//! A module has one JavaScript environment and one thread.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::crossing::{self, First};
use super::event_loop::EventLoop;
use super::host::{Message, NodeAddress};
use super::outbox::Outbox;
use super::wire::{milliseconds, to_milliseconds};
use crate::clock;
use crate::node::script::SCRIPTS;

struct Module {
    outbox: Arc<Outbox>,
    event_loop: EventLoop,
    clients: Cell<u32>,
    clocks: Cell<u32>,
    numbers: RefCell<Vec<f64>>,
    text: RefCell<Vec<u8>>,
}

thread_local! {
    static MODULE: Module = Module {
        outbox: Arc::new(Outbox::new(Box::new(|| {}))),
        event_loop: EventLoop::default(),
        clients: Cell::new(First::LoopClient as u32),
        clocks: Cell::new(1),
        numbers: RefCell::default(),
        text: RefCell::default(),
    };
}

impl Module {
    /// The text that JavaScript has left.
    fn take_text(&self) -> String {
        String::from_utf8_lossy(&self.text.take()).into_owned()
    }

    fn address(&self, node: &[f64], text: &mut &str) -> Option<NodeAddress> {
        let &[kind, clock, ahead, name] = node else { return None };
        Some(match kind as u32 {
            0 | 1 => NodeAddress::Pool { is_cluster: kind == 1.0 },
            _ => {
                let (name, rest) = text.split_at_checked(name as usize)?;
                *text = rest;
                let name = (!name.is_empty()).then(|| name.to_owned());
                let clock = (clock > 0.0).then(|| (clock as u32, milliseconds(ahead)));
                NodeAddress::Memory { name, clock }
            }
        })
    }
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// To be called once, before all others.
// SAFETY: no other symbol of the module has this name, nor that of one of those below.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: the linker makes it, for a module to call it once. It would call it around each of those below if nobody did.
    unsafe { __wasm_call_ctors() }
}

/// Room for so many numbers, which stand there until the next call.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn numbers(count: usize) -> *mut f64 {
    MODULE.with(|module| {
        let mut numbers = module.numbers.borrow_mut();
        numbers.resize(count, 0.0);
        numbers.as_mut_ptr()
    })
}

/// Room for so many bytes.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn text(length: usize) -> *mut u8 {
    MODULE.with(|module| {
        let mut text = module.text.borrow_mut();
        text.resize(length, 0);
        text.as_mut_ptr()
    })
}

/// The length of the text that has come out, in bytes.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn text_length() -> usize {
    MODULE.with(|module| module.text.borrow().len())
}

/// Opens a `Redsync` over nodes, of four numbers each: 0 for a pool, 1 for one of a cluster, 2 for one in memory; and of the
/// last, its clock and how far that is ahead, and the length of its name. The text: their names, and the owner if it has
/// one.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn open(has_owner: u32) -> u32 {
    MODULE.with(|module| {
        let (numbers, text) = (module.numbers.take(), module.take_text());
        let mut text = text.as_str();
        let nodes = numbers.chunks_exact(4).filter_map(|node| module.address(node, &mut text));
        let nodes = nodes.collect();
        let owner = (has_owner != 0).then(|| text.to_owned());
        let client = module.clients.replace(module.clients.get() + 1);
        let outbox = module.outbox.clone();
        module.event_loop.tell(Message::Open { client, outbox, nodes, owner });
        client
    })
}

/// As `Engine.run` of the addon, with the records that stand there.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn run() -> f64 {
    MODULE.with(|module| {
        let (numbers, text) = (module.numbers.take(), module.take_text());
        let left = module.event_loop.run(&numbers, &text, &module.outbox);
        module.numbers.replace(numbers);
        left
    })
}

/// As `Engine.drain` of the addon, into so many numbers.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn drain(count: usize) -> *const f64 {
    MODULE.with(|module| {
        let mut numbers = module.numbers.borrow_mut();
        numbers.resize(count.max(1), 0.0);
        module.text.replace(module.outbox.drain(&mut numbers).into_bytes());
        numbers.as_ptr()
    })
}

/// As `Engine.until` of the addon.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn until(lease: u32) -> f64 {
    MODULE.with(|module| module.outbox.until(lease))
}

/// As `Engine.takeUntil` of the addon.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn take_until(lease: u32) -> f64 {
    MODULE.with(|module| module.outbox.take_until(lease))
}

/// As `now` of the addon.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn now() -> f64 {
    to_milliseconds(clock::now())
}

/// As `newClock` of the addon.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn new_clock() -> u32 {
    MODULE.with(|module| module.clocks.replace(module.clocks.get() + 1))
}

/// As `crossing` of the addon: the text has a line for each number, `set name number`.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn crossing() {
    let sets = crossing::sets();
    let lines = sets.iter().flat_map(|(set, numbers)| {
        numbers.iter().map(move |(name, number)| format!("{set} {name} {number}\n"))
    });
    leave(lines.collect());
}

/// As `scripts` of the addon: the text has a name and a source in turn, each behind a zero.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn scripts() {
    leave(SCRIPTS.iter().map(|script| format!("\0{}\0{}", script.name, script.source)).collect());
}

fn leave(text: String) {
    MODULE.with(|module| module.text.replace(text.into_bytes()));
}
