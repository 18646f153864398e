//! The command by which a newer server releases a lock of one name without a script.

/// Deletes a key if it stores a value: answers 1, or 0 where the key is absent or stores another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// `DELIFEQ key value`: <https://valkey.io/commands/delifeq/>
    DelIfEq,
    /// `DELEX key IFEQ value`: <https://redis.io/docs/latest/commands/delex/>
    DelEx,
}

impl Deletion {
    /// The one that a server of these versions has. (Valkey also names the Redis that it is like.)
    pub fn of(valkey: Option<&str>, redis: Option<&str>) -> Option<Self> {
        let (version, first, deletion) = match valkey {
            Some(version) => (version, [9, 0], Self::DelIfEq),
            None => (redis?, [8, 4], Self::DelEx),
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
        for (valkey, redis, deletion) in [
            (None, Some("8.4.0"), Some(Deletion::DelEx)),
            (None, Some("8.10.1"), Some(Deletion::DelEx)),
            (None, Some("9.0"), Some(Deletion::DelEx)),
            (None, Some("8.3.224"), None),
            (None, Some("7.0.15"), None),
            (Some("9.0.0"), Some("7.2.4"), Some(Deletion::DelIfEq)),
            (Some("10.0.0"), Some("7.2.4"), Some(Deletion::DelIfEq)),
            (Some("8.1.1"), Some("9.9.9"), None),
            (Some("x"), Some("8.4.0"), None),
            (None, Some("df-1.2"), None),
            (None, Some("9"), None),
            (None, Some(""), None),
            (None, None, None),
        ] {
            assert_eq!(Deletion::of(valkey, redis), deletion, "{valkey:?}, {redis:?}");
        }
    }
}
