//! What runs on a server: the table of `redis/scripts/*.lua`, and how what they tell is read.

use std::sync::OnceLock;
use std::time::Duration;

use redsync_engine::{Found, Page};

/// A Lua script.
pub struct Script {
    /// As JavaScript knows it, which runs it over a pool.
    pub name: &'static str,
    pub source: &'static str,
    /// Its name in the server's script cache.
    sha1: OnceLock<String>,
    /// A bit that no other has.
    pub bit: u32,
}

/// The text of a script, with what it shares with others before it.
macro_rules! source {
    ($($file:literal),+) => { concat!($(include_str!(concat!("redis/scripts/", $file, ".lua"))),+) };
}

pub static ACQUIRE: Script = Script::new(0, "acquire", source!("acquire"));
/// For pools: a link writes many commands at no more cost than one.
pub static ACQUIRE_MANY: Script = Script::new(22, "acquireMany", source!("acquire-many"));
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
pub static SCRIPTS: [&Script; 23] = [
    &ACQUIRE,
    &ACQUIRE_MANY,
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

    /// Made by whoever needs it first.
    pub fn sha1(&self, hash: impl FnOnce(&str) -> String) -> &str {
        self.sha1.get_or_init(|| hash(self.source))
    }
}

/// How a server refuses a command on a key of another type.
pub const WRONG_TYPE: &str = "WRONGTYPE";

/// The longest cursor: a number, and that of a server before it, if a pool leads to several.
const MAX_CURSOR: usize = 32;

/// What a server says for the end of its keys, and is told for their beginning.
pub const THE_END: &str = "0";

/// What a look has found: `5200 the value`.
pub fn found(text: &str) -> Option<Found> {
    let (left, value) = text.split_once(' ')?;
    let left: i64 = left.parse().ok()?;
    // -1: it does not expire.
    let remaining = u64::try_from(left).ok().map(Duration::from_millis);
    Some(Found { value: value.to_owned(), remaining })
}

/// What a walk over the keys tells: the next cursor, a line break and the keys in JSON.
pub fn page(text: &str) -> Option<Page> {
    let (next, keys) = text.split_once('\n')?;
    let is_cursor = matches!(next.len(), 1..=MAX_CURSOR)
        && next.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    if !is_cursor || !keys.starts_with('[') {
        return None;
    }
    let next = if next == THE_END { "" } else { next };
    Some(Page { next: next.to_owned(), keys: keys.to_owned() })
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
