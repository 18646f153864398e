//! The command by which a newer server releases a lock of one name without a script.

use redis::Value;

use super::connection::{info_field, text};

/// Deletes a key if it stores a value: answers 1, or 0 where the key is absent or stores another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// `DELIFEQ key value`: <https://valkey.io/commands/delifeq/>
    DelIfEq,
    /// `DELEX key IFEQ value`: <https://redis.io/docs/latest/commands/delex/>
    DelEx,
}

impl Deletion {
    /// The one that the server has, by what it answers to INFO. (Valkey also names the Redis that it is like.)
    pub fn by(info: &Value) -> Option<Self> {
        let info = text(info)?;
        let (version, first, deletion) = match info_field(&info, "valkey_version") {
            Some(version) => (version, [9, 0], Self::DelIfEq),
            None => (info_field(&info, "redis_version")?, [8, 4], Self::DelEx),
        };
        let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
        let version = [numbers.next()?, numbers.next()?];
        (version >= first).then_some(deletion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_that_of_the_version() {
        let by = |lines: &[&str]| Deletion::by(&Value::BulkString(lines.join("\r\n").into()));
        for (lines, deletion) in [
            (&["redis_version:8.4.0"][..], Some(Deletion::DelEx)),
            (&["# Server", "redis_version:8.10.1", "redis_mode:cluster"], Some(Deletion::DelEx)),
            (&["redis_version:9.0"], Some(Deletion::DelEx)),
            (&["redis_version:8.3.224"], None),
            (&["redis_version:7.0.15"], None),
            (&["redis_version:7.2.4", "valkey_version:9.0.0"], Some(Deletion::DelIfEq)),
            (&["redis_version:7.2.4", "valkey_version:10.0.0"], Some(Deletion::DelIfEq)),
            (&["redis_version:9.9.9", "valkey_version:8.1.1"], None),
            (&["redis_version:df-1.2"], None),
            (&["redis_version:9"], None),
            (&["redis_version:"], None),
            (&["valkey_version:x", "redis_version:8.4.0"], None),
            (&[""], None),
        ] {
            assert_eq!(by(lines), deletion, "{lines:?}");
        }
        assert_eq!(Deletion::by(&Value::Nil), None);
    }
}
