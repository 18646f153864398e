//! One of the locks that a line waits for, and what is known of it: a mutex is one lock, a semaphore one for
//! each permit.

use std::rc::Rc;

use crate::node::Keys;
use crate::quorum::Quorum;
use crate::time::Instant;
use crate::value::Value;
use crate::view::{Known, View, Watch};
use crate::vote::Vote;

/// The keys of a permit of these keys, counted from 0: the first is the lock of the name itself, so that a
/// mutex of the name holds it.
pub(crate) fn keys_of(keys: &Keys, permit: usize) -> Keys {
    match (permit, &keys[..]) {
        (1.., [name]) => Rc::from([format!("{name}:permit:{}", permit + 1).into()]),
        _ => keys.clone(),
    }
}

/// The keys of which these are a permit, counted from 0.
pub(crate) fn keys_of_all(keys: &Keys, permit: usize) -> Keys {
    let name = |key: &str| key.strip_suffix(&format!(":permit:{}", permit + 1)).map(Box::from);
    match (permit, &keys[..]) {
        (1.., [key]) => name(key).map_or_else(|| keys.clone(), |name| Rc::from([name])),
        _ => keys.clone(),
    }
}

/// What is known of a permit.
#[derive(Default)]
pub(crate) struct Permit {
    /// One entry a node, once somebody has to wait.
    pub(crate) views: Vec<View>,
    /// The node whose changes are counted as turns.
    pub(crate) gate: usize,
    /// The lock that this process has, as far as is known.
    pub(crate) held: Option<(Value, Instant)>,
    /// Attempts of this process that are under way.
    pub(crate) attempts: usize,
    /// Since when there has been a chance that was left to others.
    pub(crate) chance_since: Option<Instant>,
    /// How many chances in a row brought some votes, but too few.
    pub(crate) splits: u32,
    /// Until when no chance is taken, for those with whom the votes were split.
    pub(crate) paused_until: Option<Instant>,
    /// It was asked for since this process had it last.
    pub(crate) was_asked_for: bool,
    /// Others were seen to have it, and nobody has asked since.
    pub(crate) is_taken_anew: bool,
    /// When something was last heard of the lock.
    pub(crate) last_news: Option<Instant>,
    /// Since when others have been found to have it, whenever this process asked.
    pub(crate) taken_since: Option<Instant>,
    /// When to ask again, if no node tells of changes.
    pub(crate) ask_again: Option<Instant>,
}

impl Permit {
    pub(crate) fn held_until(&self, now: Instant) -> Option<Instant> {
        self.held.as_ref().map(|(_, until)| *until).filter(|until| now < *until)
    }

    pub(crate) fn is_held_here(&self, now: Instant) -> bool {
        self.held_until(now).is_some()
    }

    /// Forgets what was seen of all nodes, and what is still to be told of them.
    pub(crate) fn see_all_as(&mut self, known: Known) {
        for view in &mut self.views {
            let watch = if view.watch == Watch::Refused { Watch::Refused } else { Watch::Off };
            *view = View { known, watch, ..View::default() };
        }
        self.was_asked_for = false;
        self.last_news = Some(Instant::now());
    }

    /// What nobody waits for a node need not tell.
    pub(crate) fn forget_watches(&mut self) {
        for view in self.views.iter_mut().filter(|view| view.watch != Watch::Refused) {
            *view = View { watch: Watch::Off, ..View::default() };
        }
    }

    /// What was known of nodes that are not watched is not true any more when another has changed.
    pub(crate) fn forget_unwatched(&mut self, changed: usize) {
        for (node, view) in self.views.iter_mut().enumerate() {
            if node != changed && view.watch == Watch::Off {
                view.known = Known::Nothing;
            }
        }
    }

    /// Is nothing known of it, not even that this process has it or has asked for it?
    pub(crate) fn is_unknown(&self) -> bool {
        self.held.is_none()
            && !self.was_asked_for
            && self.views.iter().all(|view| view.known == Known::Nothing)
    }

    /// Is that known of any node?
    pub(crate) fn is_known(&self, known: Known) -> bool {
        self.views.iter().any(|view| view.known == known)
    }

    /// This process has the lock of this value, until then.
    pub(crate) fn won(&mut self, value: &Value, until: Instant) {
        (self.taken_since, self.ask_again) = (None, None);
        self.held = Some((value.clone(), until));
        self.go_on();
        self.see_all_as(Known::Nothing);
    }

    /// Until when to pause, if that is to come.
    pub(crate) fn pause_left(&self, now: Instant) -> Option<Instant> {
        self.paused_until.filter(|until| now < *until)
    }

    /// There is no reason to pause any more.
    pub(crate) fn go_on(&mut self) {
        self.splits = 0;
        self.paused_until = None;
    }

    /// What the nodes have said to an attempt.
    pub(crate) fn hear(&mut self, votes: &[Option<Vote>], now: Instant) {
        self.views.resize(votes.len(), View::default());
        self.forget_unwatched(usize::MAX);
        for (view, vote) in self.views.iter_mut().zip(votes) {
            if let Some(vote) = vote {
                view.hear(vote);
            }
        }
        self.last_news = Some(now);
        self.is_taken_anew = false;
        self.taken_since = self.is_known(Known::Taken).then(|| self.taken_since.unwrap_or(now));
        self.ask_again = None;
    }

    /// Nodes that could not be watched may be able to by now, and may grant what they refused.
    pub(crate) fn forget_refusals(&mut self) {
        for view in &mut self.views {
            view.refuses = false;
            if view.watch == Watch::Refused {
                view.watch = Watch::Off;
            }
        }
    }

    /// Does no node tell of changes?
    pub(crate) fn is_untold(&self) -> bool {
        let mut watches = self.views.iter().map(|view| view.watch);
        !self.views.is_empty() && watches.all(|watch| watch == Watch::Refused)
    }

    /// Is a quorum known to be taken, and watched?
    pub(crate) fn is_watched(&self, quorum: Quorum) -> bool {
        quorum.is_reached(self.views.iter().filter(|view| view.is_watched_taken()).count())
    }

    /// Does somebody wait for this notice?
    pub(crate) fn awaits(&self, node: usize, number: u64) -> bool {
        self.views.get(node).is_some_and(|view| {
            view.number == number && matches!(view.watch, Watch::Asked | Watch::On)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::notice::Sight;
    use crate::vote::Answer;

    const TAKEN: Sight = Sight::Taken { life: None };

    /// A permit of three nodes, of which those with a sight tell of changes.
    fn permit(sights: [Option<Sight>; 3]) -> Permit {
        let mut permit = Permit { views: vec![View::default(); 3], ..Permit::default() };
        for (view, sight) in permit.views.iter_mut().zip(sights) {
            sight.into_iter().for_each(|sight| view.see(sight));
        }
        permit
    }

    fn known(permit: &Permit) -> Vec<Known> {
        permit.views.iter().map(|view| view.known).collect()
    }

    #[test]
    fn the_keys_of_a_permit_tell_of_which_keys() {
        let name: Keys = Rc::from(["name".into()]);
        for permit in [0, 1, 12] {
            assert_eq!(keys_of_all(&keys_of(&name, permit), permit), name);
        }
        assert_eq!(*keys_of(&name, 1), ["name:permit:2".into()]);
        let two: Keys = Rc::from(["a:permit:2".into(), "b".into()]);
        assert_eq!(keys_of_all(&keys_of(&two, 1), 1), two, "of several keys there is one permit");
    }

    #[test]
    fn a_change_spoils_what_is_known_of_nodes_that_do_not_tell() {
        let mut permit = permit([Some(TAKEN), None, None]);
        permit.views[1].known = Known::Taken;
        permit.views[2].known = Known::Taken;
        permit.forget_unwatched(1);
        assert_eq!(known(&permit), [Known::Taken, Known::Taken, Known::Nothing]);
        let now = Instant::now();
        permit.is_taken_anew = true;
        permit.hear(&[None, None, Some(Ok(Answer::Taken))], now);
        assert_eq!(known(&permit), [Known::Taken, Known::Nothing, Known::Taken]);
        assert_eq!((permit.last_news, permit.is_taken_anew), (Some(now), false));
    }

    #[test]
    fn it_is_unknown_until_something_is_heard_of_it_and_when_it_was_released() {
        let mut permit = permit([None; 3]);
        assert!(permit.is_unknown());
        permit.views[2].known = Known::Free;
        assert!(!permit.is_unknown());
        permit.see_all_as(Known::Nothing);
        permit.was_asked_for = true;
        assert!(!permit.is_unknown());
        permit.see_all_as(Known::Nothing);
        assert!(permit.is_unknown());
        permit.won(&Value::from("a value"), Instant::now());
        assert!(!permit.is_unknown());
    }

    #[test]
    fn a_pause_ends_at_its_time_and_when_it_was_won() {
        let mut permit = permit([None; 3]);
        let now = Instant::now();
        let later = now + Duration::from_millis(1);
        (permit.splits, permit.paused_until) = (3, Some(later));
        assert_eq!((permit.pause_left(now), permit.pause_left(later)), (Some(later), None));
        permit.won(&Value::from("a value"), later);
        assert_eq!((permit.splits, permit.paused_until), (0, None));
    }

    #[test]
    fn a_node_that_has_refused_may_do_better() {
        let mut permit = permit([None, Some(Sight::Free), None]);
        permit.views[0].watch = Watch::Refused;
        permit.views.iter_mut().for_each(|view| view.refuses = true);
        permit.forget_refusals();
        assert!(permit.views.iter().all(|view| !view.refuses));
        let watches: Vec<_> = permit.views.iter().map(|view| view.watch).collect();
        assert_eq!(watches, [Watch::Off, Watch::On, Watch::Off]);
    }

    #[test]
    fn only_the_last_notice_of_a_node_is_awaited_and_only_once() {
        let mut permit = permit([Some(TAKEN), None, None]);
        permit.views[0].number = 7;
        assert!(permit.awaits(0, 7));
        assert!(!permit.awaits(0, 6) && !permit.awaits(1, 0) && !permit.awaits(3, 0));
        permit.views[0].change();
        assert!(!permit.awaits(0, 7));
    }
}
