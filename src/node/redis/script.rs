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
    bit: u32,
}

/// The text of a script, with what it shares with others before it.
macro_rules! source {
    ($($file:literal),+) => { concat!($(include_str!(concat!("scripts/", $file, ".lua"))),+) };
}

pub static ACQUIRE: Script = Script::new(0, "acquire", source!("acquire"));
pub static ACQUIRE_FENCED: Script =
    Script::new(7, "acquireFenced", source!("token", "acquire-fenced"));
pub static ACQUIRE_FENCED_MANY: Script =
    Script::new(8, "acquireFencedMany", source!("acquire-fenced-many"));
pub static RELEASE: Script = Script::new(1, "release", source!("release"));
pub static RELEASE_MANY: Script = Script::new(2, "releaseMany", source!("release-many"));
pub static EXTEND: Script = Script::new(3, "extend", source!("prolong", "extend"));
pub static EXTEND_MANY: Script = Script::new(4, "extendMany", source!("prolong", "extend-many"));
pub static EXTEND_GUARDED: Script =
    Script::new(17, "extendGuarded", source!("prolong-guarded", "extend"));
pub static EXTEND_MANY_GUARDED: Script =
    Script::new(18, "extendManyGuarded", source!("prolong-guarded", "extend-many"));
pub static SHORTEN: Script = Script::new(20, "shorten", source!("shorten"));
pub static OWNER: Script = Script::new(5, "owner", source!("owner"));
pub static OWNER_MANY: Script = Script::new(19, "ownerMany", source!("owner-many"));
pub static INSPECT: Script = Script::new(6, "inspect", source!("inspect"));
pub static ACQUIRE_READ: Script = Script::new(9, "acquireRead", source!("readers", "acquire-read"));
pub static EXTEND_READ: Script = Script::new(10, "extendRead", source!("readers", "extend-read"));
pub static RELEASE_READ: Script =
    Script::new(11, "releaseRead", source!("readers", "release-read"));
pub static OWNER_READ: Script = Script::new(12, "ownerRead", source!("readers", "owner-read"));
pub static ACQUIRE_WRITE: Script =
    Script::new(13, "acquireWrite", source!("writer", "acquire-write"));
pub static ACQUIRE_WRITE_FENCED: Script =
    Script::new(14, "acquireWriteFenced", source!("token", "writer", "acquire-write-fenced"));
pub static RELEASE_WRITE: Script = Script::new(15, "releaseWrite", source!("release-write"));
pub static WATCH_READ: Script = Script::new(16, "watchRead", source!("watch-read"));
pub static SCAN: Script = Script::new(21, "scan", source!("scan"));

/// All of them.
pub static SCRIPTS: [&Script; 22] = [
    &ACQUIRE,
    &ACQUIRE_FENCED,
    &ACQUIRE_FENCED_MANY,
    &RELEASE,
    &RELEASE_MANY,
    &EXTEND,
    &EXTEND_MANY,
    &EXTEND_GUARDED,
    &EXTEND_MANY_GUARDED,
    &SHORTEN,
    &OWNER,
    &OWNER_MANY,
    &INSPECT,
    &ACQUIRE_READ,
    &EXTEND_READ,
    &RELEASE_READ,
    &OWNER_READ,
    &ACQUIRE_WRITE,
    &ACQUIRE_WRITE_FENCED,
    &RELEASE_WRITE,
    &WATCH_READ,
    &SCAN,
];

impl Script {
    const fn new(bit: u32, name: &'static str, source: &'static str) -> Self {
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
pub struct KnownScripts {
    sent: Cell<u32>,
    /// The server tells of changes, and has to be kept at that.
    is_guarded: Cell<bool>,
}

impl KnownScripts {
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
        if known { ["EVALSHA", script.sha1()] } else { script.in_full() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_bit_of_its_own() {
        let bits = SCRIPTS.iter().fold(0, |bits, script| bits | script.bit);
        assert_eq!(bits.count_ones() as usize, SCRIPTS.len());
    }

    #[test]
    fn the_mark_of_readers_is_that_of_the_engine() {
        let quoted = format!("'{}'", redsync_engine::READERS);
        for script in [&ACQUIRE_READ, &EXTEND_READ, &RELEASE_READ, &OWNER_READ] {
            assert!(script.source.contains(&quoted), "{}", script.name);
        }
        for script in [&ACQUIRE_WRITE, &ACQUIRE_WRITE_FENCED, &WATCH_READ] {
            assert!(script.source.contains(&quoted), "{}", script.name);
        }
    }
}
