//! Which fencing tokens are proposed, and which of them a node grants.

use std::cell::Cell;
use std::time::Duration;

use crate::token::Token;
use crate::vote::Bound;

/// How far tokens may be from a node's clock, and for how long it remembers the last one that it has granted.
///
/// It may forget it as long as `memory` is at least twice the `window`: what it granted was at most a window
/// ahead of its clock, and what it grants later is at most a window behind. The rest is for a clock that jumps.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Tokens are granted up to so far from the node's clock.
    pub window: Duration,
    /// Since it was granted.
    pub memory: Duration,
}

impl Default for Window {
    fn default() -> Self {
        Self { window: Duration::from_secs(3600), memory: Duration::from_secs(3 * 3600) }
    }
}

impl Window {
    /// What is wrong with a token, on a node whose clock shows `now` and whose last token was `last`.
    ///
    /// One that is out of the window is answered with the time, and not with the edge of the window: other
    /// nodes, whose clocks are not quite the same, would not grant a token at the edge.
    pub(crate) fn refusal(self, token: Token, last: u64, now: Duration) -> Option<Bound> {
        let (token, window) = (token.get(), self.window.as_micros() as u64);
        let now = now.as_micros() as u64;
        if token <= now.saturating_sub(window) {
            Some(Bound::Above(Token::nearest(last.max(now))))
        } else if token <= last {
            Some(Bound::Above(Token::nearest(last)))
        } else if token > (now + window).max(last + 1) {
            Some(Bound::UpTo(Token::nearest(now.max(last + 1))))
        } else {
            None
        }
    }
}

/// What a clock may be ahead of the nodes' tokens to be gone by: a second, in microseconds.
const NEAR: u64 = 1_000_000;

/// Makes the tokens to propose on one set of nodes: the time, set right by what the nodes wanted instead.
#[derive(Default)]
pub(crate) struct Proposals {
    /// Microseconds that the nodes' tokens are ahead of our clock.
    offset: Cell<i64>,
    last: Cell<u64>,
}

impl Proposals {
    /// The next one, when the wall clock shows `wall`, for who was told to keep to that.
    pub(crate) fn next(&self, wall: Duration, bound: Option<Bound>) -> Token {
        let time = (wall.as_micros() as u64).saturating_add_signed(self.offset.get());
        match bound {
            // Exactly: a node whose last token is ahead of its clock grants the next number only.
            Some(Bound::UpTo(token)) => token,
            // The time, if it may be right: others go by it, too.
            Some(Bound::Above(token)) => {
                let least = token.get() + 1;
                Token::nearest(if time.saturating_sub(least) < NEAR {
                    time.max(least)
                } else {
                    least
                })
            }
            None => {
                let token = Token::nearest(time.max(self.last.get() + 1));
                self.last.set(token.get());
                token
            }
        }
    }

    /// A quorum has granted a token that kept to this. Only that teaches: what is wanted of one name in vain must not
    /// spoil the others.
    pub(crate) fn learn(&self, token: Token, bound: Bound, wall: Duration) {
        let offset = token.get() as i64 - wall.as_micros() as i64;
        match bound {
            Bound::Above(_) => {
                self.offset.set(self.offset.get().max(offset));
                self.last.set(self.last.get().max(token.get()));
            }
            Bound::UpTo(_) => {
                self.offset.set(self.offset.get().min(offset));
                self.last.set(self.last.get().min(token.get()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000;
    const NOW: u64 = 1_790_000_000_000_000;

    fn token(number: u64) -> Token {
        Token::new(number).expect("a token")
    }

    #[test]
    fn a_node_grants_what_is_greater_and_near_its_clock() {
        let refusal = |number, last| {
            Window::default().refusal(token(number), last, Duration::from_micros(NOW))
        };
        assert_eq!(refusal(NOW, 0), None);
        assert_eq!(refusal(NOW, NOW - 1), None);
        assert_eq!(refusal(NOW, NOW), Some(Bound::Above(token(NOW))));
        assert_eq!(refusal(NOW, NOW + 7), Some(Bound::Above(token(NOW + 7))));
        assert_eq!(refusal(NOW - HOUR, 0), Some(Bound::Above(token(NOW))));
        assert_eq!(refusal(NOW - HOUR, NOW - 2 * HOUR), Some(Bound::Above(token(NOW))));
        assert_eq!(refusal(NOW - HOUR + 1, 0), None);
        assert_eq!(refusal(NOW + HOUR, 0), None);
        assert_eq!(refusal(NOW + HOUR + 1, 0), Some(Bound::UpTo(token(NOW))));
        assert_eq!(refusal(NOW + HOUR + 1, NOW + 7), Some(Bound::UpTo(token(NOW + 8))));
        // One that was granted can always be exceeded, however far ahead it was.
        assert_eq!(refusal(NOW + 2 * HOUR + 1, NOW + 2 * HOUR), None);
        assert_eq!(refusal(NOW + HOUR, NOW + 2 * HOUR), Some(Bound::Above(token(NOW + 2 * HOUR))));
        let at_zero = Window::default().refusal(token(1), 0, Duration::ZERO);
        assert_eq!(at_zero, None, "a clock that begins at 1970");
        let no_more =
            Window::default().refusal(token(Token::MAX), Token::MAX, Duration::from_micros(NOW));
        assert_eq!(no_more, Some(Bound::Above(token(Token::MAX))));
    }

    #[test]
    fn the_time_is_proposed_where_it_may_be_right() {
        let (proposals, wall) = (Proposals::default(), Duration::from_micros(NOW));
        let above = |last| proposals.next(wall, Some(Bound::Above(token(last)))).get();
        assert_eq!(above(NOW - 10), NOW);
        assert_eq!(above(NOW - NEAR), NOW);
        assert_eq!(above(NOW - NEAR - 1), NOW - NEAR, "our clock may be ahead");
    }

    #[test]
    fn proposals_grow_and_keep_to_what_the_nodes_have_granted() {
        let (proposals, wall) = (Proposals::default(), Duration::from_micros(NOW));
        let later = wall + Duration::from_micros(100);
        let propose = |wall| proposals.next(wall, None).get();
        assert_eq!([propose(wall), propose(wall)], [NOW, NOW + 1]);
        let above = Bound::Above(token(NOW + 500));
        assert_eq!(proposals.next(wall, Some(above)).get(), NOW + 501);
        assert_eq!(propose(wall), NOW + 2, "what was not granted teaches nothing");
        proposals.learn(token(NOW + 501), above, wall);
        let behind = [propose(wall), propose(later)];
        assert_eq!(behind, [NOW + 502, NOW + 601], "the clock is that far behind");
        let up_to = Bound::UpTo(token(NOW - 7));
        assert_eq!(proposals.next(later, Some(up_to)).get(), NOW - 7, "no greater, however late");
        proposals.learn(token(NOW - 7), up_to, wall);
        assert_eq!([propose(wall), propose(wall)], [NOW - 6, NOW - 5]);
        let earlier = wall.saturating_sub(Duration::from_secs(60));
        assert_eq!(propose(earlier), NOW - 4, "a clock that was set back");
        let most = Bound::Above(token(Token::MAX));
        assert_eq!(
            proposals.next(wall, Some(most)).get(),
            Token::MAX,
            "no further than JavaScript counts"
        );
    }
}
