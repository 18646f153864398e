//! What is known of the keys of a lock, node by node, while somebody waits for it.

use crate::notice::Sight;
use crate::time::Instant;
use crate::vote::{Answer, Fate, Vote};

/// What is known of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Known {
    #[default]
    Nothing,
    /// Free, or presumably so.
    Free,
    Taken,
    /// It did not answer the last attempt.
    Down,
}

/// Whether a node tells of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Watch {
    #[default]
    Off,
    Asked,
    On,
    /// It cannot, as far as is known.
    Refused,
}

/// One node as the head of a queue sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) known: Known,
    pub(crate) watch: Watch,
    /// It refused the last attempt, and would do so again: that the lock is free is no reason to ask.
    pub(crate) refuses: bool,
    /// When what is taken expires.
    pub(crate) ends: Option<Instant>,
    /// What is taken was seen to have no expiry.
    pub(crate) is_endless: bool,
    /// When it was last asked.
    pub(crate) asked: Option<Instant>,
    /// The notice that counts.
    pub(crate) number: u64,
    /// How often in a row it told that it is free, and answered that it is taken. Somebody may have been quicker.
    pub(crate) contradictions: u32,
}

impl View {
    pub(crate) fn see(&mut self, sight: Sight) {
        self.watch = Watch::On;
        self.is_endless = sight == Sight::Taken { life: None };
        (self.known, self.ends) = match sight {
            Sight::Free => (self.known_free(), None),
            Sight::Taken { life } => {
                self.contradictions = 0;
                (Known::Taken, life.and_then(|life| Instant::now().checked_add(life)))
            }
        };
    }

    /// What was taken was released, or extended; what was free was taken.
    pub(crate) fn change(&mut self) {
        self.watch = Watch::Off;
        self.ends = None;
        self.is_endless = false;
        self.known = if self.known == Known::Taken { self.known_free() } else { Known::Nothing };
    }

    fn known_free(&self) -> Known {
        if self.refuses { Known::Down } else { Known::Free }
    }

    /// What the node has just said to an attempt.
    pub(crate) fn hear(&mut self, vote: &Vote) {
        if self.watch == Watch::On && self.known != Known::Taken {
            // What was seen is over, and the notice of it is on its way: it is not the next one.
            self.watch = Watch::Off;
            self.contradictions += u32::from(*vote == Ok(Answer::Taken));
        }
        if *vote == Ok(Answer::Granted) {
            self.contradictions = 0;
        }
        self.refuses =
            matches!(vote, Err(error) if matches!(error.fate, Fate::Refused | Fate::Denied));
        self.known = match vote {
            // Released by now, and perhaps somebody else's already.
            Ok(Answer::Granted) => Known::Nothing,
            Ok(Answer::Taken) => Known::Taken,
            Ok(Answer::Absent) => Known::Free,
            // Another may have been too impatient: what the node tells by itself is more than that.
            Err(_) if self.watch == Watch::On => self.known,
            Err(_) => Known::Down,
        };
        self.is_endless &= self.known == Known::Taken;
    }

    /// Is the end of its life over?
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.ends.is_some_and(|ends| ends <= now) {
            self.change();
        }
    }

    /// Is it sure to tell when what it stores is released?
    pub(crate) fn is_watched_taken(&self) -> bool {
        self.watch == Watch::On && self.known == Known::Taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::vote::NodeError;

    #[test]
    fn what_has_no_end_is_known_until_it_changes() {
        let mut view = View::default();
        for (sight, is_endless) in [
            (Sight::Taken { life: None }, true),
            (Sight::Taken { life: Some(Duration::MAX) }, false),
            (Sight::Taken { life: None }, true),
            (Sight::Free, false),
        ] {
            view.see(sight);
            assert_eq!(view.is_endless, is_endless, "{sight:?}");
        }
        view.see(Sight::Taken { life: None });
        view.change();
        assert!(!view.is_endless);
    }

    #[test]
    fn what_an_attempt_hears_counts_less_than_what_the_node_tells_by_itself() {
        let late: Vote = Err(NodeError::timed_out());
        let seen = |sight, vote: &Vote| {
            let mut view = View::default();
            view.see(sight);
            view.hear(vote);
            (view.known, view.watch, view.is_endless)
        };
        let endless = Sight::Taken { life: None };
        assert_eq!(seen(endless, &late), (Known::Taken, Watch::On, true));
        assert_eq!(seen(endless, &Ok(Answer::Taken)), (Known::Taken, Watch::On, true));
        assert_eq!(seen(endless, &Ok(Answer::Absent)), (Known::Free, Watch::On, false));
        // What is free tells of no release: it is to be watched anew.
        assert_eq!(seen(Sight::Free, &late), (Known::Down, Watch::Off, false));
        assert_eq!(seen(Sight::Free, &Ok(Answer::Taken)), (Known::Taken, Watch::Off, false));
    }

    #[test]
    fn who_tells_that_it_is_free_and_answers_that_it_is_taken_contradicts_itself() {
        let mut view = View::default();
        let mut is_told = |sight: Option<Sight>, answer| {
            sight.into_iter().for_each(|sight| view.see(sight));
            view.hear(&Ok(answer));
            view.contradictions
        };
        let taken = Sight::Taken { life: Some(Duration::MAX) };
        assert_eq!(is_told(None, Answer::Taken), 0, "it has told nothing");
        assert_eq!(is_told(Some(Sight::Free), Answer::Taken), 1);
        assert_eq!(is_told(None, Answer::Taken), 1, "nothing since then");
        assert_eq!(is_told(Some(Sight::Free), Answer::Taken), 2);
        assert_eq!(is_told(Some(taken), Answer::Taken), 0);
        assert_eq!(is_told(Some(Sight::Free), Answer::Taken), 1);
        assert_eq!(is_told(Some(Sight::Free), Answer::Granted), 0);
        assert_eq!(is_told(Some(Sight::Free), Answer::Absent), 0);
    }

    #[test]
    fn a_change_frees_what_was_taken_and_may_have_taken_what_was_free() {
        let mut view = View::default();
        view.see(Sight::Taken { life: None });
        view.change();
        assert_eq!((view.known, view.watch), (Known::Free, Watch::Off));
        view.see(Sight::Free);
        view.change();
        assert_eq!((view.known, view.watch), (Known::Nothing, Watch::Off));
    }
}
