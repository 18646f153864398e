//! What a node keeps beside a name, and under which keys.

use redsync_engine::{Kind, Request, Verb};

/// The last fencing token that was granted on the name.
pub const FENCE: &str = "fence";
/// Those who read what the name stands for.
pub const READERS: &str = "readers";
/// The sign of a writer who waits for readers to leave.
pub const SIGN: &str = "sign";

/// Such a key of a name. In a cluster it is in the slot of the name, and elsewhere it begins as the name does, so that
/// what an ACL allows of the one it allows of the other.
pub fn side_key(name: &str, what: &str, is_of_cluster: bool) -> String {
    if is_of_cluster && tag_of(name).is_none() {
        format!("{{{name}}}:{what}")
    } else {
        format!("{name}:{what}")
    }
}

/// What the script of a verb is given of that, behind the names and in this order.
pub fn sides(verb: Verb, request: &Request) -> &'static [&'static str] {
    match (request.kind, verb) {
        (Kind::Mutex, Verb::Acquire) if request.token.is_some() => &[FENCE],
        (Kind::Write { .. }, Verb::Acquire) if request.token.is_some() => &[FENCE, SIGN],
        (Kind::Write { .. }, Verb::Acquire | Verb::Release) => &[SIGN],
        (Kind::Read, Verb::Acquire | Verb::Extend { .. }) => &[READERS, SIGN],
        (Kind::Read, Verb::Release | Verb::Owner) => &[READERS],
        (Kind::Mutex | Kind::Write { .. }, _) | (_, Verb::Inspect | Verb::Scan | Verb::Shorten) => {
            &[]
        }
    }
}

/// The part in braces that alone decides about the slot of a key.
/// <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags>
pub fn tag_of(key: &str) -> Option<&str> {
    let (tag, _) = key.split_once('{')?.1.split_once('}')?;
    Some(tag).filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_cluster_it_is_in_the_slot_of_the_key() {
        for (name, expected) in [
            ("job", "{job}:fence"),
            ("app:job", "{app:job}:fence"),
            ("{a}job", "{a}job:fence"),
            ("job{a}", "job{a}:fence"),
            ("a{b{c}d}", "a{b{c}d}:fence"),
            ("a{b", "{a{b}:fence"),
        ] {
            assert_eq!(side_key(name, FENCE, true), expected);
            assert_eq!(side_key(name, FENCE, false), format!("{name}:fence"));
        }
    }
}
