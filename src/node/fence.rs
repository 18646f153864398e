//! Where a node keeps the last fencing token of a name.

/// The key of the last token that was granted on this key. In a cluster it is in the slot of the key, and
/// elsewhere it begins as the key does, so that what an ACL allows of the one it allows of the other.
pub fn fence_key(key: &str, is_of_cluster: bool) -> String {
    if is_of_cluster && tag_of(key).is_none() {
        format!("{{{key}}}:fence")
    } else {
        format!("{key}:fence")
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
        for (key, expected) in [
            ("job", "{job}:fence"),
            ("app:job", "{app:job}:fence"),
            ("{a}job", "{a}job:fence"),
            ("job{a}", "job{a}:fence"),
            ("a{b{c}d}", "a{b{c}d}:fence"),
            ("a{b", "{a{b}:fence"),
        ] {
            assert_eq!(fence_key(key, true), expected);
            assert_eq!(fence_key(key, false), format!("{key}:fence"));
        }
    }
}
