//! What the head of a line does next, decided by what is known of the nodes. Nothing here acts.

use std::time::Duration;

use tokio::time::Instant;

use crate::quorum::Quorum;
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
                until: if is_our_turn { self.paused_until } else { Some(since + self.moment) },
                watch: self.gate().into_iter().collect(),
                chance_since: Some(since),
            }
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
        let is_over = |since| self.now >= since + self.moment;
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

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
