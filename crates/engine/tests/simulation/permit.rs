//! Where a lock is stored: each permit of a name has a key of its own, and is a lock like any other.

use redsync_engine::{Keys, Value};

use crate::client::NAMES;

/// More permits than that nobody asks for.
pub const MOST: u16 = 4;

/// Every key that a lock can have.
pub const KEYS: [&str; 8] = [
    NAMES[0],
    "a:permit:2",
    "a:permit:3",
    "a:permit:4",
    NAMES[1],
    "b:permit:2",
    "b:permit:3",
    "b:permit:4",
];

/// Where a writer leaves the sign that he waits for each name.
pub const SIGNS: [&str; 2] = ["a:sign", "b:sign"];

/// Which keys those are, one bit each.
pub fn bits(keys: &[Box<str>]) -> u8 {
    let bit = |key: &str| KEYS.iter().position(|known| *known == key);
    keys.iter().filter_map(|key| bit(key)).fold(0, |bits, bit| bits | 1 << bit)
}

/// What each of so many permits of these names has, one bit a key. Of several names there is one.
pub fn bits_of_each(names: &[Box<str>], permits: u16) -> Vec<u8> {
    let first = bits(names);
    (0..permits).map(|permit| first << permit).collect()
}

/// What the value of one who has locked these names is stored under.
pub fn keys_of(names: &Keys, value: &Value) -> Keys {
    match (&names[..], value.split_once("#p=")) {
        ([name], Some((_, permit))) => Keys::from([format!("{name}:permit:{permit}").into()]),
        _ => names.clone(),
    }
}
