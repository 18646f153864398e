//! A place in the line for a lock: what one call that waits knows and does.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::chance::earliest;
use crate::line::Means;
use crate::nodes::Nodes;
use crate::options::LONGEST_PAUSE;
use crate::permit::Permit;
use crate::queue::{Chance, Next, Queue, Queues, Wanted};
use crate::signs::Signs;
use crate::time::{Instant, timeout_at};
use crate::value::Value;
use crate::view::Known;
use crate::vote::{Answer, TOKEN_REFUSED, Vote};

/// The release that made the first node free may not have reached the others yet. That can be so more
/// than once in a row, but not often.
const ORDINARY_MISSES: u32 = 2;

/// So often the pause is doubled.
const MOST_DOUBLED: u32 = 7;

/// A place in a queue. Dropping it leaves the queue, and the next one moves up.
pub(crate) struct Place {
    queues: Rc<Queues>,
    queue: Rc<Queue>,
    ticket: u64,
    standing: Cell<Standing>,
    means: Means,
    habits: Habits,
}

/// How a call asks.
#[derive(Clone, Copy)]
pub(crate) struct Habits {
    /// Its attempts keep readers off who come later.
    pub(crate) leaves_signs: bool,
    /// It may ask more often than its schedule says where no node tells of changes.
    pub(crate) may_repeat: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Present,
    SteppedOut,
    Gone,
}

impl Place {
    /// Joins the end of the line.
    pub(crate) fn join(queues: &Rc<Queues>, wanted: Wanted, means: Means, habits: Habits) -> Self {
        let queue = queues.queue(wanted);
        let ticket = queue.line.join(means);
        let standing = Cell::new(Standing::Present);
        let place = Self { queues: queues.clone(), queue, ticket, standing, means, habits };
        if place.may_do_better() {
            place.queue.prefer_better();
        }
        place
    }

    /// Is nobody before it?
    pub(crate) fn is_first(&self) -> bool {
        self.queue.line.is_head(self.ticket)
    }

    /// What its attempts, and those of others in the line, have left on the nodes.
    pub(crate) fn signs(&self) -> &Signs {
        &self.queue.signs
    }

    /// The permit to ask for, if there is reason to ask at once, without a look at the nodes.
    pub(crate) fn may_ask(&self, nodes: &Nodes) -> Option<usize> {
        let queue = &self.queue;
        let is_our_turn = || !queue.has_met_others.get() || queue.is_our_turn();
        let is_possible = self.is_first() && is_our_turn();
        if is_possible { queue.pick(nodes) } else { None }
    }

    /// The permit to ask for, whatever is known.
    pub(crate) fn pick(&self, nodes: &Nodes) -> usize {
        self.queue.pick(nodes).unwrap_or_default()
    }

    /// Have others failed because the nodes did not answer them in time, who could not wait for as long
    /// as this one?
    fn may_do_better(&self) -> bool {
        self.queue.failed.get().is_some_and(|(_, failed)| self.means.exceed(failed))
    }

    /// Is it known, without asking, what an attempt would be told? By the nodes, which would tell of a
    /// release; or by an attempt of another since that time, unless it failed with less means, or asked for one permit
    /// of several and did not look for another.
    ///
    /// The `last` attempt ends the call, so that the others have to be from a moment ago.
    pub(crate) fn is_informed(&self, nodes: &Nodes, since: Instant, last: bool) -> bool {
        let queue = &self.queue;
        let now = Instant::now();
        let is_recent = |when| since < when && (!last || now < when + queue.moment());
        let is_answered = queue.answered.get().is_some_and(is_recent);
        let has_failed = queue.failed.get().is_some_and(|(when, _)| is_recent(when));
        self.all_are_watched(nodes) || is_answered || has_failed && !self.may_do_better()
    }

    /// Are there others elsewhere who want the lock, so that votes could be split?
    pub(crate) fn is_contended(&self) -> bool {
        self.queue.has_met_others.get()
    }

    /// Is a quorum known to store the permit, and watched?
    pub(crate) fn is_watched(&self, nodes: &Nodes, permit: usize) -> bool {
        self.queue.permit(permit).is_watched(nodes.quorum())
    }

    /// Is each permit this process's own, or one that would tell of its release?
    fn all_are_watched(&self, nodes: &Nodes) -> bool {
        let now = Instant::now();
        let is_watched =
            |permit: &Permit| permit.is_held_here(now) || permit.is_watched(nodes.quorum());
        self.queue.permits().iter().all(is_watched)
    }

    /// Resolves when it is first in line and it is worth asking.
    pub(crate) async fn chance(&self, nodes: &Nodes) -> Chance {
        let queue = &self.queue;
        let wake = queue.line.wake_of(self.ticket);
        loop {
            let mut until = None;
            if self.is_first() {
                let is_better = self.may_do_better() && queue.heard.borrow().is_none();
                if (is_better || queue.has_untried())
                    && let Some(permit) = queue.pick(nodes)
                {
                    return Chance { permit, first: Some(nodes.order_of(&queue.wanted.keys)[0]) };
                }
                match queue.decide(nodes, self.habits.may_repeat) {
                    Next::Ask(chance) => return chance,
                    Next::Wait(time) => until = time,
                }
                // Readers who take turns leave no other chance: it takes a sign to keep them off.
                if self.habits.leaves_signs && queue.permit(0).is_taken_anew {
                    let mut permit = queue.permit(0);
                    match permit.pause_left(Instant::now()) {
                        None => {
                            permit.is_taken_anew = false;
                            return Chance { permit: 0, first: Some(permit.gate) };
                        }
                        pause => until = earliest(until, pause),
                    }
                }
            }
            match until {
                None => wake.notified().await,
                Some(until) => {
                    let _ = timeout_at(until, wake.notified()).await;
                }
            }
        }
    }

    /// Lets others go first until [`Place::step_in`]: it waits for something else than the lock.
    pub(crate) fn step_out(&self) {
        if self.standing.replace(Standing::SteppedOut) == Standing::Present {
            self.queue.line.step_out(self.ticket);
        }
    }

    /// Takes its place again.
    pub(crate) fn step_in(&self) {
        if self.standing.replace(Standing::Present) == Standing::SteppedOut {
            self.queue.line.step_in(self.ticket, self.means);
        }
    }

    /// Leaves the line for good.
    pub(crate) fn leave(&self) {
        if self.standing.replace(Standing::Gone) != Standing::Gone {
            self.queue.last_used.set(Some(Instant::now()));
            self.queue.line.leave(self.ticket);
            self.queue.forget_watches_of_nobody();
        }
    }

    /// Nodes that could not be watched may be able to by now, and may grant what they refused.
    pub(crate) fn try_watching_again(&self) {
        self.queue.permits().iter_mut().for_each(Permit::forget_refusals);
    }

    /// The nodes are being asked for a permit, until this is dropped. Meanwhile the next in line may ask, too, if
    /// nobody can lose by that.
    pub(crate) fn asks(&self, permit: usize) -> Asking<'_> {
        let queue = &self.queue;
        let is_own = queue.permit(permit).is_held_here(Instant::now());
        // Who asks for what this process has itself is the next to have it.
        if queue.goes_on() && !is_own {
            self.step_out();
        }
        let mut asked = queue.permit(permit);
        asked.was_asked_for = true;
        asked.attempts += usize::from(!queue.wanted.is_shared());
        Asking { place: self, permit }
    }

    /// An attempt has lost the permit to somebody else, with these votes.
    pub(crate) fn lost(&self, permit: usize, votes: &[Option<Vote>], is_taken: bool) {
        self.hear(permit, votes);
        self.queue.answered();
        if votes.iter().flatten().all(|vote| *vote == Ok(Answer::Taken)) {
            // It is somebody's, whoever has split votes with others or was refused.
            self.queue.permit(permit).go_on();
        }
        if self.queue.wanted.permits == 1 {
            self.hear_of_all(votes, is_taken);
        }
    }

    /// These are the votes on a lock of which nothing else can be had either.
    pub(crate) fn hear_of_all(&self, votes: &[Option<Vote>], is_taken: bool) {
        let is_known = is_taken && votes.iter().all(Option::is_some);
        *self.queue.heard.borrow_mut() = is_known.then(|| (votes.to_vec(), self.means));
    }

    /// An attempt has looked for whichever permit is free.
    pub(crate) fn looked(&self) {
        self.queue.looked();
    }

    /// An attempt has failed, because too few nodes answered in time. Those go first who may do better.
    pub(crate) fn failed(&self, permit: usize, votes: &[Option<Vote>]) {
        self.hear(permit, votes);
        let queue = &self.queue;
        let (_, failed) = queue.failed.get().unwrap_or((Instant::now(), Means::default()));
        let failed = failed.or_more(self.means);
        queue.failed.set(Some((Instant::now(), failed)));
        // Who could wait for longer may still be right.
        queue.heard.borrow_mut().take_if(|(_, means)| !means.exceed(failed));
        queue.prefer_better();
    }

    /// What the nodes have said of a permit.
    pub(crate) fn hear(&self, permit: usize, votes: &[Option<Vote>]) {
        let queue = &self.queue;
        let now = Instant::now();
        let mut permit = queue.permit(permit);
        if votes.contains(&Some(Ok(Answer::Taken))) && !permit.is_held_here(now) {
            queue.has_met_others.set(true);
            queue.turns.borrow_mut().found_taken(now);
        }
        // What the head goes by is its own; where others may ask beside it, they go by what each has heard.
        if self.is_first() || queue.wanted.has_several() {
            permit.hear(votes, now);
        }
    }

    /// A chance was taken for nothing: with some votes, or with none.
    ///
    /// Votes can be split again and again with those who want other keys too, and begin at another node
    /// with that list. So each pauses at random, but not for long: to a process that does not know of
    /// this one yet, whoever is not there in the moment that it leaves wants nothing. Only where so many
    /// fail again and again that the others are no quorum, each pause is longer: for a fencing token's sake no holder is
    /// that much quicker, and a node that is free and refuses all the same may do so for long. So may one that tells of
    /// a replica, which has not heard that the lock is taken.
    pub(crate) fn missed(&self, nodes: &Nodes, permit: usize, votes: &[Option<Vote>]) {
        let moment = self.queue.moment();
        let mut permit = self.queue.permit(permit);
        let wants_another =
            |vote: &Option<Vote>| matches!(vote, Some(Err(error)) if error.code == TOKEN_REFUSED);
        let failed = votes.iter().filter(|vote| matches!(vote, Some(Err(_)))).count();
        let has_failed = nodes.quorum().is_out_of_reach(failed);
        let is_split = has_failed
            || votes.iter().any(wants_another)
            || votes.contains(&Some(Ok(Answer::Granted)));
        let contradictions = permit.views.iter().map(|view| view.contradictions).max().unwrap_or(0);
        permit.splits = if is_split { permit.splits + 1 } else { 0 };
        let misses = permit.splits.max(contradictions);
        permit.paused_until = (misses > ORDINARY_MISSES).then(|| {
            let is_lasting = has_failed || contradictions > permit.splits;
            let doubled = if is_lasting { (misses - ORDINARY_MISSES).min(MOST_DOUBLED) } else { 0 };
            let longest = (moment * (1 << doubled)).min(LONGEST_PAUSE.max(moment));
            Instant::now() + nodes.random_duration(Duration::ZERO, longest)
        });
    }

    /// It holds the permit, for so long.
    pub(crate) fn won(&self, permit: usize, value: &Value, left: Duration) {
        let queue = &self.queue;
        let now = Instant::now();
        queue.heard.take();
        queue.answered();
        if queue.wanted.is_shared() {
            return queue.permit(permit).see_all_as(Known::Free); // for others, too
        }
        let mut permit = queue.permit(permit);
        match permit.is_untold() {
            true => queue.turns.borrow_mut().own_untold(now),
            false => queue.turns.borrow_mut().own(now),
        }
        permit.won(value, now + left);
    }

    /// The nodes that were seen to store a key without an expiry. Not of a semaphore: each of its permits has a key.
    pub(crate) fn endless(&self) -> Vec<usize> {
        let permits = self.queue.permits();
        let [permit] = &permits[..] else { return Vec::new() };
        let views = permit.views.iter().enumerate();
        views.filter(|(_, view)| view.is_endless).map(|(node, _)| node).collect()
    }

    /// What was heard of the nodes last, if it is that the lock is taken, and nothing was heard since.
    pub(crate) fn heard(&self) -> Option<Vec<Option<Vote>>> {
        self.queue.heard.borrow().as_ref().map(|(votes, _)| votes.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
        self.queues.tidy(&self.queue);
    }
}

/// An attempt is under way.
pub(crate) struct Asking<'a> {
    place: &'a Place,
    permit: usize,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let queue = &self.place.queue;
        queue.permit(self.permit).attempts -= usize::from(!queue.wanted.is_shared());
        self.place.step_in();
        queue.line.wake_head();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use crate::notice::Sight;
    use crate::testing::nodes;
    use crate::view::View;
    use crate::vote::NodeError;

    /// Two nodes, and a place in a line for that.
    fn place(permits: u16, kind: Kind) -> (Rc<Nodes>, Place) {
        let place = another(&Rc::default(), permits, kind, SOME);
        place.queue.permits().iter_mut().for_each(|it| it.views = vec![View::default(); 2]);
        (nodes(2, |_| {}), place)
    }

    fn another(queues: &Rc<Queues>, permits: u16, kind: Kind, means: Means) -> Place {
        let wanted = Wanted::new(Rc::from(["name".into()]), permits, kind);
        Place::join(queues, wanted, means, Habits { leaves_signs: false, may_repeat: false })
    }

    const SOME: Means = Means { timeout: Duration::from_millis(10), expiry: Duration::ZERO };
    const MORE: Means = Means { timeout: Duration::from_millis(20), expiry: Duration::ZERO };
    const TAKEN: [Option<Vote>; 2] = [Some(Ok(Answer::Taken)), Some(Ok(Answer::Taken))];

    #[test]
    fn who_comes_does_not_ask_at_once_in_the_turn_of_others() {
        let (nodes, place) = place(1, Kind::Mutex);
        let now = Instant::now();
        place.queue.turns.borrow_mut().another();
        place.queue.turns.borrow_mut().own(now);
        assert_eq!(place.may_ask(&nodes), Some(0), "nobody else was met here");
        place.queue.has_met_others.set(true);
        assert_eq!(place.may_ask(&nodes), None);
        place.queue.turns.borrow_mut().another();
        assert_eq!(place.may_ask(&nodes), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_was_told_counts_if_it_is_news_and_for_the_last_attempt_for_a_moment() {
        let (nodes, place) = place(1, Kind::Mutex);
        let since = Instant::now();
        place.queue.answered.set(Some(since));
        assert!(!place.is_informed(&nodes, since, false));
        let when = since + Duration::from_millis(1);
        place.queue.answered.set(Some(when));
        tokio::time::advance(when - since + place.queue.moment()).await;
        assert!(place.is_informed(&nodes, since, false));
        assert!(!place.is_informed(&nodes, since, true));
        place.queue.answered.set(Some(when + Duration::from_millis(1)));
        assert!(place.is_informed(&nodes, since, true));
    }

    #[test]
    fn a_permit_is_watched_if_a_quorum_would_tell() {
        let (nodes, place) = place(1, Kind::Mutex);
        for (count, is_watched) in [(0, false), (1, false), (2, true)] {
            let mut permit = place.queue.permit(0);
            permit.views[..count].iter_mut().for_each(|view| view.see(Sight::Taken { life: None }));
            drop(permit);
            assert_eq!(place.is_watched(&nodes, 0), is_watched, "{count}");
        }
    }

    #[test]
    fn what_has_no_end_is_told_of_a_lock_and_not_of_a_permit() {
        for (permits, endless) in [(1, vec![1]), (2, vec![])] {
            let (_, place) = place(permits, Kind::Mutex);
            place.queue.permit(0).views[1].see(Sight::Taken { life: None });
            assert_eq!(place.endless(), endless);
        }
    }

    #[test]
    fn what_is_lost_to_others_is_heard_if_there_is_nothing_else_to_have() {
        for (permits, votes, is_taken, is_heard) in [
            (1, &TAKEN[..], true, true),
            (1, &[None, Some(Ok(Answer::Taken))], true, false),
            (1, &TAKEN, false, false),
            (2, &TAKEN, true, false),
        ] {
            let (_, place) = place(permits, Kind::Mutex);
            place.lost(0, votes, is_taken);
            assert_eq!(place.heard().is_some(), is_heard, "{permits} {votes:?}");
        }
    }

    #[test]
    fn who_could_wait_for_longer_may_still_be_right_when_another_fails() {
        for (means, is_kept) in [(MORE, true), (SOME, false)] {
            let (_, place) = place(1, Kind::Mutex);
            *place.queue.heard.borrow_mut() = Some((TAKEN.to_vec(), means));
            place.failed(0, &[Some(Err(NodeError::timed_out())), None]);
            assert_eq!(place.heard().is_some(), is_kept);
        }
    }

    #[test]
    fn what_the_first_goes_by_is_his_own_unless_several_can_have_it() {
        for (permits, kind, counts) in
            [(1, Kind::Mutex, false), (2, Kind::Mutex, true), (1, Kind::Read, true)]
        {
            let queues = Rc::default();
            let [first, second] = [(); 2].map(|()| another(&queues, permits, kind, SOME));
            second.hear(0, &TAKEN);
            assert_eq!(first.queue.permit(0).is_known(Known::Taken), counts);
            first.hear(0, &TAKEN);
            assert!(first.queue.permit(0).is_known(Known::Taken));
        }
    }

    #[test]
    fn a_lock_that_was_won_is_held_here_but_for_a_reader_s() {
        for (kind, is_held) in [(Kind::Mutex, true), (Kind::Read, false)] {
            let (_, place) = place(1, kind);
            let now = Instant::now();
            *place.queue.heard.borrow_mut() = Some((TAKEN.to_vec(), SOME));
            place.queue.failed.set(Some((now, SOME)));
            place.won(0, &"ours".into(), Duration::from_secs(8));
            assert_eq!(place.queue.permit(0).is_held_here(now), is_held);
            assert_eq!(place.queue.permit(0).is_known(Known::Free), !is_held, "for others, too");
            assert!(place.heard().is_none() && place.queue.failed.get().is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_an_attempt_wakes_the_head() {
        let (_, place) = place(1, Kind::Mutex);
        let wake = place.queue.line.wake_of(place.ticket);
        let asking = place.asks(0);
        assert_eq!(place.queue.permit(0).attempts, 1);
        drop(asking);
        assert_eq!(place.queue.permit(0).attempts, 0);
        assert!(tokio::time::timeout(Duration::from_millis(1), wake.notified()).await.is_ok());
    }

    #[test]
    fn a_line_that_was_left_is_remembered() {
        let (_, place) = place(1, Kind::Mutex);
        assert!(place.queue.last_used.get().is_none());
        place.leave();
        assert!(place.queue.last_used.get().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_only_where_no_quorum_can_be_had() {
        let (nodes, place) = place(1, Kind::Mutex);
        let moment = place.queue.moment();
        let longest = |splits, votes: &[Option<Vote>]| {
            let pauses = (0..200).map(|_| {
                place.queue.permit(0).splits = splits;
                place.missed(&nodes, 0, votes);
                place.queue.permit(0).pause_left(Instant::now())
            });
            pauses.flatten().max().map(|until| until - Instant::now())
        };
        let split = [Some(Ok(Answer::Granted)), Some(Ok(Answer::Taken))];
        let failed = [Some(Err(NodeError::lost())), Some(Err(NodeError::lost()))];
        assert_eq!(longest(ORDINARY_MISSES - 1, &failed), None);
        assert_eq!(longest(20, &TAKEN), None, "nothing was split");
        for (splits, votes, times) in
            [(2, &split, 1), (20, &split, 1), (2, &failed, 2), (4, &failed, 8)]
        {
            let longest = longest(splits, votes).expect("a pause");
            assert!(longest <= times * moment && longest > times * moment / 2, "{longest:?}");
        }
        assert!(longest(20, &failed).is_some_and(|longest| longest <= LONGEST_PAUSE));
        // One that has told so often that it is free.
        place.queue.permit(0).views = vec![View { contradictions: 3, ..View::default() }];
        let longest = longest(0, &TAKEN).expect("a pause");
        assert!(longest <= 2 * moment && longest > moment, "{longest:?}");
    }
}
