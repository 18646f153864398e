//! What one node says.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use crate::token::Token;

/// The code of the error of a node that wants another token.
pub(crate) const TOKEN_REFUSED: &str = "ETOKEN";

/// What a node says to any verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done: acquired, released, extended; or, to the question for the owner, "you".
    Granted,
    /// Somebody else's value is stored.
    Taken,
    /// Nothing is stored.
    Absent,
}

/// What an answer brings beside itself, for who needs it: no vote is counted by it.
#[derive(Clone, PartialEq, Eq)]
pub enum Detail {
    /// To [`Verb::Inspect`](crate::Verb::Inspect): what the node stores.
    Found(Found),
    /// To an acquisition with a fencing token: another token might have been granted. The answer is `Absent`.
    Bound(Bound),
    /// To a writer's acquisition: readers are in the way, or anybody if he renews his sign. If it leaves a sign, the node
    /// has it. The answer is `Taken`.
    Readers,
    /// To [`Verb::Scan`](crate::Verb::Scan): some of the keys.
    Page(Page),
}

/// What a node would grant, which did not grant a token for its number's sake. It has stored nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A greater one than this, which it has granted or which is the time of its clock.
    Above(Token),
    /// This one at most, which is the next after that it has granted or the time of its clock.
    UpTo(Token),
}

impl Detail {
    fn bound(&self) -> Option<Bound> {
        match self {
            Self::Bound(bound) => Some(*bound),
            Self::Found(_) | Self::Readers | Self::Page(_) => None,
        }
    }
}

impl Bound {
    /// What nodes would grant, by what they have brought: those that want greater tokens, or those that want smaller
    /// ones, whichever are more; the nearest first. Of as many, those that want smaller ones: a node whose last token is
    /// years ahead would have the others asked for the next one again and again.
    pub(crate) fn of_most(details: &[(usize, Detail)]) -> Vec<Self> {
        let bounds = details.iter().filter_map(|(_, detail)| detail.bound());
        let (mut above, mut up_to): (Vec<_>, Vec<_>) =
            bounds.partition(|bound| matches!(bound, Self::Above(_)));
        above.sort_unstable_by_key(|bound| bound.token());
        up_to.sort_unstable_by_key(|bound| Reverse(bound.token()));
        if above.len() > up_to.len() { above } else { up_to }
    }

    fn token(self) -> Token {
        match self {
            Self::Above(token) | Self::UpTo(token) => token,
        }
    }

    /// What is told of a node with which an attempt has failed.
    pub(crate) fn error(self) -> NodeError {
        let message = match self {
            Self::Above(_) => "the node wants a greater fencing token",
            Self::UpTo(_) => "the fencing token is too far ahead of the node's clock",
        };
        NodeError::new(TOKEN_REFUSED, message).with(Fate::Refused)
    }
}

/// What a node stores under a key, for people who look.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// The ownership value.
    pub value: String,
    /// How long it will be there; `None` for ever.
    pub remaining: Option<Duration>,
}

/// Some of the keys of a node that may be locks. What a node keeps beside a name, its last fencing token for one, is
/// none.
#[derive(Clone, PartialEq, Eq)]
pub struct Page {
    /// Where to go on; `""` at the end.
    pub next: String,
    /// The keys, as an array in JSON.
    pub keys: String,
}

impl Page {
    /// A page with these keys.
    pub fn of(keys: &[&str], next: &str) -> Self {
        let quoted: Vec<_> = keys.iter().map(|key| quoted(key)).collect();
        Self { next: next.to_owned(), keys: format!("[{}]", quoted.join(",")) }
    }
}

fn quoted(key: &str) -> String {
    let mut text = String::with_capacity(key.len() + 2);
    text.push('"');
    for c in key.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\0'..=' ' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => text.push(c),
        }
    }
    text.push('"');
    text
}

/// An answer, or why there was none.
pub type Vote = Result<Answer, NodeError>;

/// What is known of a command that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has not left for the node, and never will.
    Unsent,
    /// It may have been applied, or may still be.
    Unknown,
    /// The node refused it, and may accept it later.
    Refused,
    /// The node refused it, and will do so again.
    Denied,
}

/// Why a node gave no answer that counts.
///
/// Neither field may hold a password, a URL, an ownership value or text of unbounded length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeError {
    /// Stable and short: the server's own code (`OOM`, `WRONGPASS`) or an errno's name.
    pub code: Cow<'static, str>,
    /// What happened, for people.
    pub message: Cow<'static, str>,
    /// What became of the command.
    pub fate: Fate,
}

impl NodeError {
    /// An error with a stable code and a sentence for people, after which nothing is known of the
    /// command.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), message: message.into(), fate: Fate::Unknown }
    }

    /// The same, where more is known.
    pub fn with(self, fate: Fate) -> Self {
        Self { fate, ..self }
    }

    /// The node did not answer within its time.
    pub fn timed_out() -> Self {
        Self::new("ETIMEDOUT", "no answer within the node timeout")
    }

    /// The connection was lost, with whatever was on its way.
    pub fn lost() -> Self {
        Self::new("ECONNRESET", "the connection was lost")
    }

    /// What the node said is no answer to what it was asked.
    pub fn protocol() -> Self {
        Self::new("EPROTO", "the server's reply makes no sense")
    }

    /// The node may have forgotten locks, and is not asked for new ones for so long.
    pub fn abstaining(left: Duration) -> Self {
        let message =
            format!("the server has just started, and abstains for {} ms", left.as_millis());
        Self::new("EABSTAINED", message).with(Fate::Refused)
    }

    /// The node was closed before it answered.
    pub fn closed() -> Self {
        Self::new("ECLOSED", "the connection was closed")
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for NodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_an_array_in_json() {
        let page = Page::of(&["a b", "\"\\\n", "\u{e9}"], "next");
        assert_eq!(page.keys, r#"["a\u0020b","\"\\\u000a","\u{e9}"]"#.replace("\\u{e9}", "\u{e9}"));
        assert_eq!((&*page.next, &*Page::of(&[], "").keys), ("next", "[]"));
    }

    #[test]
    fn a_node_that_is_years_ahead_is_not_followed_where_another_cannot_go() {
        let token = |number| Token::new(number).expect("a token");
        let (above, up_to) = (|it| Bound::Above(token(it)), |it| Bound::UpTo(token(it)));
        let of_most = |bounds: &[Bound]| {
            let details = bounds.iter().map(|bound| (0, Detail::Bound(*bound)));
            Bound::of_most(&details.collect::<Vec<_>>())
        };
        let far = above(Token::MAX);
        for bounds in [[far, up_to(5)], [up_to(5), far]] {
            assert!(of_most(&bounds) == [up_to(5)]);
        }
        assert!(of_most(&[far, up_to(5), above(7)]) == [above(7), far], "the nearest first");
        assert!(of_most(&[up_to(5), far, up_to(7)]) == [up_to(7), up_to(5)]);
        assert!(of_most(&[]).is_empty());
    }
}
