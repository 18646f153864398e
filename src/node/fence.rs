//! Where a node keeps the last fencing token of a name.

/// The key of the last token that was granted on this key. In a cluster it is in the slot of the key, and
/// elsewhere it begins as the key does, so that what an ACL allows of the one it allows of the other.
pub fn fence_key(key: &str, is_of_cluster: bool) -> String {
    if is_of_cluster && !has_tag(key) { format!("{{{key}}}:fence") } else { format!("{key}:fence") }
}

/// Is there a part in braces that alone decides about the slot?
/// <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags>
fn has_tag(key: &str) -> bool {
    let behind = key.split_once('{').and_then(|(_, behind)| behind.split_once('}'));
    behind.is_some_and(|(tag, _)| !tag.is_empty())
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
