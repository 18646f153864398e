//! What the head of a line does next, decided by what is known of the nodes. Nothing here acts.

use std::time::Duration;

use crate::quorum::Quorum;
use crate::time::Instant;
use crate::view::{Known, View, Watch};

/// All that the decision goes by.
pub(crate) struct Situation<'a> {
    pub(crate) now: Instant,
    pub(crate) quorum: Quorum,
    /// One entry a node.
    pub(crate) views: &'a [View],
    /// The nodes in the order in which contenders ask them.
    pub(crate) order: &'a [usize],
    /// How long it takes others to take what is free.
    pub(crate) moment: Duration,
    /// How long a chance is left to others.
    pub(crate) room: Duration,
    /// When to ask again for what is taken, if no node tells of changes.
    pub(crate) ask_again: Option<Instant>,
    /// Since when there has been a chance that was left to others.
    pub(crate) chance_since: Option<Instant>,
    pub(crate) is_our_turn: bool,
    /// Until when no chance is taken, for those with whom the votes were split.
    pub(crate) paused_until: Option<Instant>,
    /// When something was last heard of the lock.
    pub(crate) last_news: Option<Instant>,
    /// Until when this process has the lock itself.
    pub(crate) held_until: Option<Instant>,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Ask the nodes, this one first.
    Ask { first: usize },
    /// Look again at that time, or when a node tells something.
    Wait(Wait),
}

/// What to do meanwhile.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) until: Option<Instant>,
    /// The nodes to be watched that are not.
    pub(crate) watch: Vec<usize>,
    /// Since when there has been a chance that is left to others.
    pub(crate) chance_since: Option<Instant>,
}

impl Situation<'_> {
    pub(crate) fn decide(&self) -> Decision {
        let mut wait = if self.is_chance() {
            let since = self.chance_since.unwrap_or(self.now);
            let is_our_turn = self.is_our_turn || self.stood_back_for_nobody();
            if is_our_turn && self.paused_until.is_none() {
                return Decision::Ask { first: self.first_free() };
            }
            // See whether somebody takes it.
            Wait {
                until: if is_our_turn { self.paused_until } else { Some(since + self.room) },
                watch: self.gate().into_iter().collect(),
                chance_since: Some(since),
            }
        } else if self.ask_again.is_some_and(|again| again <= self.now) {
            return Decision::Ask { first: self.order.first().copied().unwrap_or_default() };
        } else {
            self.wait_for_change()
        };
        wait.watch.retain(|&node| self.views[node].watch == Watch::Off);
        wait.watch.dedup();
        wait.until = earliest(wait.until, self.held_until);
        Decision::Wait(wait)
    }

    /// Was there a chance that was left to others, and nobody took it?
    pub(crate) fn stood_back_for_nobody(&self) -> bool {
        let is_over = |since| self.now >= since + self.room;
        !self.is_our_turn && self.is_chance() && self.chance_since.is_some_and(is_over)
    }

    /// Can the lock be had, as far as is known?
    fn is_chance(&self) -> bool {
        let is_free = self.quorum.is_reached(self.count(Known::Free));
        let refusing = self.count(Known::Taken) + self.count(Known::Down);
        let is_possible = !self.quorum.is_out_of_reach(refusing);
        let gate_is_free = self.gate().is_some_and(|gate| self.views[gate].known == Known::Free);
        is_free || gate_is_free && is_possible
    }

    /// Most locks are held for a short time, and released on all nodes at once: one node tells enough.
    /// For a longer one a quorum is watched.
    fn wait_for_change(&self) -> Wait {
        let settled = self.last_news.unwrap_or(self.now) + self.moment;
        let is_long = self.now >= settled;
        let next_end = self.views.iter().filter_map(|view| view.ends).min();
        let until = earliest(next_end, (!is_long).then_some(settled));
        let until = earliest(until, self.ask_again);
        let mut watch = Vec::new();
        if is_long || self.held_until.is_none() {
            watch.extend(self.gate());
        }
        if is_long || self.gate().is_some_and(|gate| self.views[gate].known != Known::Taken) {
            let mut watched = self.views.iter().filter(|view| view.is_watched_taken()).count();
            for &node in self.order {
                if self.quorum.is_reached(watched) {
                    break;
                }
                let View { watch: state, known, .. } = self.views[node];
                let can_watch = matches!(state, Watch::Off | Watch::Asked);
                if can_watch && (is_long || known == Known::Taken) {
                    watch.push(node);
                    watched += 1;
                }
            }
        }
        Wait { until, watch, chance_since: None }
    }

    /// The node whose changes are counted as turns: the first that can be watched.
    pub(crate) fn gate(&self) -> Option<usize> {
        self.order.iter().copied().find(|&node| self.views[node].watch != Watch::Refused)
    }

    fn first_free(&self) -> usize {
        let mut order = self.order.iter().copied();
        order.find(|&node| self.views[node].known == Known::Free).unwrap_or_default()
    }

    fn count(&self, known: Known) -> usize {
        self.views.iter().filter(|view| view.known == known).count()
    }
}

pub(crate) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Known::{Down, Free, Nothing, Taken};

    const MOMENT: Duration = Duration::from_millis(10);

    /// What is known of each node, and whether it tells of changes: `F` free, `T` taken, `D` down, `?` nothing;
    /// `+` it is watched, `!` it cannot be, ` ` it is not.
    fn views(text: &str) -> Vec<View> {
        let nodes = text.as_bytes().chunks(2);
        nodes
            .map(|node| View {
                known: match node[0] {
                    b'F' => Free,
                    b'T' => Taken,
                    b'D' => Down,
                    _ => Nothing,
                },
                watch: match node[1] {
                    b'+' => Watch::On,
                    b'!' => Watch::Refused,
                    _ => Watch::Off,
                },
                ..View::default()
            })
            .collect()
    }

    /// The situation of these views, the last news of which is from now, in our turn and with nothing held.
    fn situation(views: &[View], now: Instant) -> Situation<'_> {
        Situation {
            now,
            quorum: Quorum::of(views.len()),
            views,
            order: &[0, 1, 2],
            moment: MOMENT,
            room: MOMENT,
            ask_again: None,
            chance_since: None,
            is_our_turn: true,
            paused_until: None,
            last_news: Some(now),
            held_until: None,
        }
    }

    #[test]
    fn a_chance_is_taken_and_what_is_taken_is_watched() {
        let ask = |first| Decision::Ask { first };
        let watch =
            |nodes: &[usize]| Decision::Wait(Wait { watch: nodes.to_vec(), ..Wait::default() });
        // The nodes, and the decision: but for the time, of which nothing is asked here.
        let soon = [
            // The first node is free, and the others may be.
            ("F ? ? ", ask(0)),
            ("F T ? ", ask(0)),
            ("F D ? ", ask(0)),
            // A quorum is out of reach.
            ("F T D ", watch(&[0, 1])),
            ("F T T ", watch(&[0, 1, 2])),
            // A quorum is free.
            ("T F F ", ask(1)),
            ("D F F ", ask(1)),
            // The first node that can be watched stands for the first.
            ("T!F ? ", ask(1)),
            ("T!T ? ", watch(&[1])),
            // Nothing is known: whoever asks first is told by the first node.
            ("? ? ? ", watch(&[0])),
            // One node that tells is enough for a lock that is held for a moment.
            ("T ? ? ", watch(&[0])),
            ("T+T T ", watch(&[])),
            ("T!T!T!", watch(&[])),
        ];
        for (text, expected) in soon {
            let views = views(text);
            let now = Instant::now();
            let decision = match situation(&views, now).decide() {
                Decision::Wait(wait) => {
                    Decision::Wait(Wait { watch: wait.watch, ..Wait::default() })
                }
                ask => ask,
            };
            assert_eq!(decision, expected, "{text}");
        }
    }

    #[test]
    fn a_lock_that_is_held_for_long_is_watched_on_a_quorum() {
        let now = Instant::now();
        for (text, watched) in [
            ("T+? ? ", vec![1]),
            ("? ? ? ", vec![0, 1]),
            ("T+T+T ", vec![]),
            ("T!T T ", vec![1, 2]),
        ] {
            let views = views(text);
            let later = Situation { now: now + MOMENT, ..situation(&views, now) };
            let Decision::Wait(wait) = later.decide() else { panic!("{text}") };
            assert_eq!(wait.watch, watched, "{text}");
            assert_eq!(wait.until, None, "{text}: until a node tells something");
        }
    }

    #[test]
    fn when_it_is_another_processes_turn_a_chance_is_left_for_a_moment() {
        let (views, now) = (views("F F F "), Instant::now());
        let others_turn = |since: Option<Instant>, now| Situation {
            now,
            is_our_turn: false,
            chance_since: since,
            ..situation(&views, now)
        };
        let Decision::Wait(wait) = others_turn(None, now).decide() else { panic!("it asks") };
        assert_eq!((wait.until, wait.chance_since), (Some(now + MOMENT), Some(now)));
        assert_eq!(wait.watch, [0], "whether somebody takes it");
        let over = others_turn(Some(now), now + MOMENT);
        assert!(over.stood_back_for_nobody());
        assert_eq!(over.decide(), Decision::Ask { first: 0 });
    }

    #[test]
    fn no_chance_is_taken_in_a_pause_and_none_while_this_process_holds_the_lock() {
        let (free, now) = (views("F F F "), Instant::now());
        let later = now + MOMENT;
        let paused = Situation { paused_until: Some(later), ..situation(&free, now) };
        let Decision::Wait(wait) = paused.decide() else { panic!("it asks") };
        assert_eq!((wait.until, wait.chance_since), (Some(later), Some(now)));
        let taken = views("T T T ");
        let soon = now + MOMENT / 2;
        let held = Situation { held_until: Some(soon), ..situation(&taken, now) };
        let Decision::Wait(wait) = held.decide() else { panic!("it asks") };
        assert_eq!(wait.until, Some(soon));
        assert!(wait.watch.is_empty(), "it is this process that will tell");
    }

    #[test]
    fn where_no_node_tells_it_is_asked_again_when_it_is_time() {
        let (views, now) = (views("T!T!T!"), Instant::now());
        let again = |at| Situation { ask_again: Some(at), ..situation(&views, now) }.decide();
        assert_eq!(again(now), Decision::Ask { first: 0 });
        let soon = now + MOMENT / 2;
        assert_eq!(again(soon), Decision::Wait(Wait { until: Some(soon), ..Wait::default() }));
    }

    #[test]
    fn who_has_no_chance_has_left_none_to_others() {
        let (taken, free, now) = (views("T T T "), views("F F F "), Instant::now());
        for (views, is_our_turn) in [(&taken, false), (&taken, true), (&free, true)] {
            let since = Some(now - MOMENT);
            let it = Situation { is_our_turn, chance_since: since, ..situation(views, now) };
            assert!(!it.stood_back_for_nobody());
        }
    }
}
