//! Which scripts a server knows, and what it can do without.

use std::cell::Cell;

use super::super::script::{EXTEND, EXTEND_GUARDED, EXTEND_MANY, EXTEND_MANY_GUARDED, Script};
use super::deletion::Deletion;

/// The scripts that this link has sent in full. The first use of each is an EVAL, which also leaves
/// it in the server's cache: no SCRIPT LOAD, no permission for it, and the commands keep their order.
#[derive(Default)]
pub struct KnownScripts {
    sent: Cell<u32>,
    /// The server tells of changes, and has to be kept at that.
    is_guarded: Cell<bool>,
    /// How it releases a lock without a script.
    deletion: Cell<Option<Deletion>>,
}

impl KnownScripts {
    /// Those of a server that can do so without, or cannot.
    pub fn beside(deletion: Option<Deletion>) -> Self {
        Self { deletion: Cell::new(deletion), ..Self::default() }
    }

    /// How a lock is released without a script.
    pub fn deletion(&self) -> Option<Deletion> {
        self.deletion.get()
    }

    /// The server does not do that: it has to be a script.
    pub fn forget_deletion(&self) {
        self.deletion.set(None);
    }

    /// The server has answered NOSCRIPT: send the full bodies again.
    pub fn forget(&self) {
        self.sent.set(0);
    }

    /// From here on the server tells of changes to keys that were read.
    pub fn guard(&self) {
        self.is_guarded.set(true);
    }

    /// Does it tell?
    pub fn is_guarded(&self) -> bool {
        self.is_guarded.get()
    }

    /// What extends a lock.
    pub fn extend(&self) -> &'static Script {
        if self.is_guarded.get() { &EXTEND_GUARDED } else { &EXTEND }
    }

    /// What extends many.
    pub fn extend_many(&self) -> &'static Script {
        if self.is_guarded.get() { &EXTEND_MANY_GUARDED } else { &EXTEND_MANY }
    }

    /// How to call a script: by name if the server knows it already.
    pub fn call(&self, script: &'static Script) -> [&'static str; 2] {
        let known = self.sent.get() & script.bit != 0;
        self.sent.set(self.sent.get() | script.bit);
        if known { ["EVALSHA", script.sha1(hash)] } else { script.in_full() }
    }
}

/// What a server knows it by.
pub fn hash(source: &str) -> String {
    redis::Script::new(source).get_hash().to_owned()
}
