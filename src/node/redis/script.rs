//! What runs on the server.

use std::cell::Cell;
use std::sync::OnceLock;

/// A Lua script.
pub struct Script {
    /// As JavaScript knows it, which runs it over a pool.
    pub name: &'static str,
    pub source: &'static str,
    /// Its name in the server's script cache.
    sha1: OnceLock<String>,
    /// Its bit in [`KnownScripts`].
    bit: u16,
}

pub static ACQUIRE: Script = Script::new(0, "acquire", include_str!("scripts/acquire.lua"));
pub static ACQUIRE_FENCED: Script =
    Script::new(7, "acquireFenced", include_str!("scripts/acquire-fenced.lua"));
pub static ACQUIRE_FENCED_MANY: Script =
    Script::new(8, "acquireFencedMany", include_str!("scripts/acquire-fenced-many.lua"));
pub static RELEASE: Script = Script::new(1, "release", include_str!("scripts/release.lua"));
pub static RELEASE_MANY: Script =
    Script::new(2, "releaseMany", include_str!("scripts/release-many.lua"));
pub static EXTEND: Script = Script::new(3, "extend", include_str!("scripts/extend.lua"));
pub static EXTEND_MANY: Script =
    Script::new(4, "extendMany", include_str!("scripts/extend-many.lua"));
pub static OWNER: Script = Script::new(5, "owner", include_str!("scripts/owner.lua"));
pub static INSPECT: Script = Script::new(6, "inspect", include_str!("scripts/inspect.lua"));

/// All of them.
pub static SCRIPTS: [&Script; 9] = [
    &ACQUIRE,
    &ACQUIRE_FENCED,
    &ACQUIRE_FENCED_MANY,
    &RELEASE,
    &RELEASE_MANY,
    &EXTEND,
    &EXTEND_MANY,
    &OWNER,
    &INSPECT,
];

impl Script {
    const fn new(bit: u16, name: &'static str, source: &'static str) -> Self {
        Self { name, source, sha1: OnceLock::new(), bit: 1 << bit }
    }

    /// A rare script that can store a key is always sent in full. Called by a name that the server has forgotten it
    /// would be asked again later, behind a release that was to follow it. (That of fencing tokens is not rare, and is
    /// asked again only if no release can have followed yet.)
    pub fn in_full(&self) -> [&'static str; 2] {
        ["EVAL", self.source]
    }

    fn sha1(&self) -> &str {
        self.sha1.get_or_init(|| redis::Script::new(self.source).get_hash().to_owned())
    }
}

/// The scripts that this link has sent in full. The first use of each is an EVAL, which also leaves
/// it in the server's cache: no SCRIPT LOAD, no permission for it, and the commands keep their order.
#[derive(Default)]
pub struct KnownScripts(Cell<u16>);

impl KnownScripts {
    /// The server has answered NOSCRIPT: send the full bodies again.
    pub fn forget(&self) {
        self.0.set(0);
    }

    /// How to call a script: by name if the server knows it already.
    pub fn call(&self, script: &'static Script) -> [&'static str; 2] {
        let known = self.0.get() & script.bit != 0;
        self.0.set(self.0.get() | script.bit);
        if known { ["EVALSHA", script.sha1()] } else { script.in_full() }
    }
}
